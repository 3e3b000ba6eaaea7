"""The survey of container images, on a fake Docker Hub; and the tables of images and systems as they ship."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from cudaenv.matrix.document import Document, dump_document, read_document
from cudaenv.matrix.load import columns_of, typed_rows
from cudaenv.matrix.places import Image, System
from cudaenv.matrix.refresh.artefacts import Artefacts, RawRow, Scope
from cudaenv.matrix.refresh.images import (
    FLAVOURS,
    HUB,
    IMAGE,
    IMAGES,
    MOST_PAGES,
    PAGE_SIZE,
    RULES_SOURCE,
    SOURCE,
    SYSTEMS,
    images_survey,
)
from cudaenv.matrix.tables import CudaLine
from cudaenv.model.documents import Problems
from cudaenv.model.machine import Platform
from cudaenv.model.versions import CudaVersion

FOLDER = Path(__file__).parents[2] / "matrix"
BOTH = ("amd64", "arm64")
Entry = Mapping[str, object]


class Hub:
    """What the survey asks of its Artefacts: pages of an address that is written down, and nothing else."""

    def __init__(self, pages: Sequence[object], hub: str = HUB) -> None:
        self.pages, self.hub, self.asked = pages, hub, 0

    def document(self, url: str) -> object:
        self.asked += 1
        assert url == f"{self.hub}/v2/repositories/nvidia/cuda/tags?page_size={PAGE_SIZE}&page={self.asked}"
        return self.pages[self.asked - 1]


def tag(name: str, architectures: Iterable[str] = BOTH) -> dict[str, object]:
    """A tag in the shape of Docker Hub's answers, an attestation beside the image of each architecture."""
    images = [
        {
            "architecture": architecture,
            "os": system,
            "variant": None,
            "digest": "sha256:0",
            "status": "active",
        }
        for known in architectures
        for architecture, system in ((known, "linux"), ("unknown", "unknown"))
    ]
    return {"name": name, "images": images, "tag_status": "active", "media_type": "", "digest": "sha256:0"}


def tags(
    release: str, os: str, flavours: str = "base runtime devel", architectures: Iterable[str] = BOTH
) -> list[Entry]:
    return [tag(f"{release}-{flavour}-{os}", architectures) for flavour in flavours.split()]


def page(entries: Sequence[object], following: object = None) -> dict[str, object]:
    return {"count": len(entries), "next": following, "previous": None, "results": list(entries)}


def measured(*pages: object) -> list[RawRow]:
    return list(IMAGES.measure(cast(Artefacts, Hub(pages)), Scope()))


def test_a_row_has_all_that_the_tags_of_its_release_say() -> None:
    entries = tags("13.4.2", "ubuntu26.04", "cudnn-devel runtime base devel cudnn-runtime")
    [row] = measured(page(entries))
    assert row == {
        "image": IMAGE,
        "release": "13.4.2",
        "os": "ubuntu26.04",
        "cuda": "13.4",
        "flavours": "base runtime devel cudnn-runtime cudnn-devel",
        "require_cuda": "13.4",
        "platforms": "linux-64 linux-aarch64",
        "source": SOURCE,
        "basis": "measured",
        "note": f"require_cuda: source {RULES_SOURCE}",
    }


@pytest.mark.parametrize("spelling", ["cudnn8", "cudnn9", "cudnn"])
def test_flavours_keep_the_cudnn_spelling_of_their_line(spelling: str) -> None:
    [row] = measured(page(tags("12.3.2", "ubi9", f"base {spelling}-runtime {spelling}-devel")))
    assert row["flavours"] == f"base {spelling}-runtime {spelling}-devel"


def test_the_newest_point_release_of_a_line_is_taken_with_its_own_flavours_only() -> None:
    older = tags("12.8.1", "ubuntu22.04", "base runtime devel cudnn-runtime cudnn-devel")
    newest, oldest = tags("12.8.10", "ubuntu22.04"), tags("12.8.9", "ubuntu22.04", "base cudnn-devel")
    [row] = measured(page(older + newest + oldest))
    assert (row["release"], row["flavours"]) == ("12.8.10", "base runtime devel")


def test_lines_and_systems_have_rows_of_their_own_the_newest_first() -> None:
    entries = [
        *tags("9.2.0", "ubuntu22.04"),
        *tags("10.2.0", "ubuntu20.04"),
        *tags("11.0.3", "ubuntu20.04"),
        *tags("12.9.2", "rockylinux9"),
        *tags("12.10.0", "rockylinux9"),
        *tags("13.2.2", "ubuntu24.04"),
        *tags("13.2.1", "rockylinux10"),
    ]
    rows = measured(page(entries))
    assert [(row["release"], row["os"]) for row in rows] == [
        ("13.2.2", "ubuntu24.04"),
        ("13.2.1", "rockylinux10"),
        ("12.10.0", "rockylinux9"),
        ("12.9.2", "rockylinux9"),
        ("11.0.3", "ubuntu20.04"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "latest",
        "13.4.2-devel-ubuntu26.04-ngc",
        "13.3.1-tensorrt-devel-ubuntu24.04",
        "13.3.1-cudnn-base-ubuntu24.04",
        "13.3.1-cudnn10-devel-ubuntu24.04",
        "13.3-devel-ubuntu24.04",
        "13.3.1-devel",
        "13.3.1-devel-ubuntu24.10",
        "13.3.1-devel-centos7",
        "13.3.1-devel-ubuntu24.04\n",
        "١٣.3.1-devel-ubuntu24.04",
        "13.3.1-devel-ubuntu24.04/../../etc",
        "13.3.1-devel-ubuntu24.04 && true",
        "13.3.1-" + "devel" * 5000,
        "",
    ],
)
def test_tags_of_another_form_are_left_out(name: str) -> None:
    [row] = measured(page([tag(name), *tags("13.3.0", "ubuntu24.04")]))
    assert (row["release"], row["flavours"]) == ("13.3.0", "base runtime devel")


def test_a_row_has_the_platforms_of_all_its_flavours() -> None:
    entries = tags("11.0.3", "ubi8", "base") + tags("11.0.3", "ubi8", "devel", ("ppc64le", "amd64"))
    assert [row["platforms"] for row in measured(page(entries))] == ["linux-64"]


def test_a_tag_without_an_image_for_a_platform_of_ours_is_no_flavour() -> None:
    foreign = tags("12.9.1", "ubi9", "devel", ()) + tags("12.9.2", "ubi9", "base", ("ppc64le",))
    [row] = measured(page([*tags("12.9.1", "ubi9", "base"), *foreign]))
    assert (row["release"], row["flavours"]) == ("12.9.1", "base")


def test_images_of_other_systems_are_none() -> None:
    windows = {"name": "12.9.1-devel-ubi9", "images": [{"architecture": "arm64", "os": "windows"}]}
    [row] = measured(page([*tags("12.9.1", "ubi9", "base"), windows]))
    assert row["flavours"] == "base"


def test_flavours_that_share_no_platform_are_an_error() -> None:
    entries = tags("12.9.1", "ubi9", "base", ("arm64",)) + tags("12.9.1", "ubi9", "devel", ("amd64",))
    with pytest.raises(ValueError, match=r"12\.9\.1 on ubi9 have no platform in common"):
        measured(page(entries))


def test_pages_are_counted_and_their_next_addresses_not_followed() -> None:
    hub = Hub(
        [
            page(
                tags("13.4.2", "ubuntu26.04"),
                "https://elsewhere.example/v2/repositories/nvidia/cuda/tags?page=9",
            ),
            page(tags("12.9.2", "ubuntu24.04"), "file:///etc/passwd"),
            page([]),
        ]
    )
    rows = list(IMAGES.measure(cast(Artefacts, hub), Scope()))
    assert hub.asked == 3
    assert [row["release"] for row in rows] == ["13.4.2", "12.9.2"]


def test_the_address_of_the_api_can_be_another() -> None:
    hub = Hub([page(tags("13.4.2", "ubuntu26.04"))], hub="http://127.0.0.1:8080")
    rows = list(images_survey("http://127.0.0.1:8080").measure(cast(Artefacts, hub), Scope()))
    assert [row["os"] for row in rows] == ["ubuntu26.04"]


def test_a_list_without_an_end_is_an_error() -> None:
    hub = Hub([page(tags("13.4.2", "ubuntu26.04"), "again")] * (MOST_PAGES + 5))
    with pytest.raises(ValueError, match=f"more than {MOST_PAGES} pages"):
        list(IMAGES.measure(cast(Artefacts, hub), Scope()))
    assert hub.asked == MOST_PAGES


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "results",
        {"message": "httperror 404: object not found"},
        {"results": {}, "next": None},
        {"results": [None], "next": None},
        {"results": [{"images": []}], "next": None},
        {"results": [{"name": 1, "images": []}], "next": None},
        {"results": [{"name": "latest"}], "next": None},
        {"results": [{"name": "latest", "images": None}], "next": None},
        {"results": [{"name": "13.4.2-base-ubi9", "images": ["amd64"]}], "next": None},
        {"results": [{"name": "13.4.2-base-ubi9", "images": [{"os": "linux"}]}], "next": None},
        {
            "results": [{"name": "13.4.2-base-ubi9", "images": [{"os": "linux", "architecture": {}}]}],
            "next": None,
        },
        {"results": tags("13.4.2", "ubi9")},
        {"results": tags("13.4.2", "ubi9"), "next": 2},
    ],
)
def test_what_is_no_page_of_tags_is_an_error(answer: object) -> None:
    with pytest.raises(ValueError, match=r"not as expected|without `|whether a page follows"):
        measured(page(tags("13.4.2", "ubuntu26.04"), "more"), answer)


@pytest.mark.parametrize("entries", [[], [tag("latest")], tags("10.2.0", "ubuntu20.04")])
def test_a_list_without_tags_of_the_form_is_an_error(entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match="no tags of nvidia/cuda"):
        measured(page(entries))


def test_the_survey_owns_the_rows_of_its_image_only() -> None:
    assert (IMAGES.table, IMAGES.place) == ("images", "images")
    assert IMAGES.owns({"image": IMAGE, "release": "11.0.3"})
    assert not IMAGES.owns({"image": "python"})


# The tables as they ship.


def document_of(name: str) -> Document:
    problems = Problems("the tables")
    document = read_document(name, (FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), problems)
    assert problems.lines == []
    return document


def rows_of(name: str, kind: type[Any]) -> tuple[Any, ...]:
    problems = Problems("the tables")
    rows = typed_rows(document_of(name), kind, problems)
    assert problems.lines == []
    return rows


def images() -> tuple[Image, ...]:
    return rows_of("images", Image)


def systems() -> tuple[System, ...]:
    return rows_of("systems", System)


@pytest.mark.parametrize("name", ["images", "systems"])
def test_the_tables_are_written_in_the_canonical_form(name: str) -> None:
    document = document_of(name)
    assert dump_document(document, columns_of(document)) == (FOLDER / f"{name}.yaml").read_text(
        encoding="utf-8"
    )
    assert all(len(line) <= 140 for line in document.head.splitlines())


@pytest.mark.parametrize("name", ["images", "systems"])
def test_rows_and_sources_of_the_tables_belong_together(name: str) -> None:
    document = document_of(name)
    cited = {row["source"] for row in document.rows}
    cited |= {
        source for row in document.rows for source in re.findall(r"source ([\w-]+)", row.get("note", ""))
    }
    assert cited == set(document.sources)
    assert all(row["basis"] != "inferred" or row.get("note") for row in document.rows)


def test_measured_rows_fit_the_table_and_name_its_sources() -> None:
    document = document_of("images")
    rows = measured(page(tags("13.4.2", "ubuntu26.04", "base cudnn-devel")))
    problems = Problems("the tables")
    fresh = Document("images", sections={"rows": tuple(rows)})
    [row] = typed_rows(fresh, Image, problems)
    assert problems.lines == []
    assert (row.cuda, row.require_cuda) == (CudaVersion(13, 4), CudaVersion(13, 4))
    assert RULES_SOURCE in document.sources
    assert [name for name, _, _ in IMAGES.sources] == [SOURCE]


def test_each_image_is_listed_once_and_of_a_known_system() -> None:
    keys = [row.key for row in images()]
    assert len(set(keys)) == len(keys) > 100
    assert {row.os for row in images()} <= {row.os for row in systems()}
    assert set(SYSTEMS) <= {row.os for row in systems()}


def test_cuda_images_are_the_newest_point_releases_that_the_survey_would_find() -> None:
    rows = [row for row in images() if row.image == IMAGE]
    assert len({(row.cuda, row.os) for row in rows}) == len(rows)
    entries = [
        tag(
            f"{row.release}-{flavour}-{row.os}",
            [BOTH[platform != Platform.LINUX_64] for platform in row.platforms],
        )
        for row in reversed(rows)
        for flavour in reversed(row.flavours)
    ]
    told = [
        (found["release"], found["os"], found["flavours"], found["platforms"])
        for found in measured(page(entries))
    ]
    listed = [(row.release, row.os, " ".join(row.flavours), " ".join(row.platforms)) for row in rows]
    assert sorted(told) == sorted(listed)


def test_cuda_images_ask_for_their_own_line_and_it_is_a_line_of_cuda() -> None:
    lines = {line.cuda for line in rows_of("cuda", CudaLine)}
    for row in images():
        if row.image != IMAGE:
            assert (row.cuda, row.require_cuda, row.flavours) == (None, None, ())
            continue
        assert row.cuda in lines
        assert row.require_cuda == row.cuda == CudaVersion.parse(row.release)
        assert Platform.LINUX_64 in row.platforms


def test_flavours_of_the_table_are_of_the_grammar_and_cudnn_is_spelled_as_its_line_does() -> None:
    spelled: dict[bool, Callable[[CudaVersion], str]] = {
        True: lambda cuda: "cudnn8" if cuda < CudaVersion(12, 3) else "cudnn9",
        False: lambda _: "cudnn",
    }
    for row in images():
        plain = [flavour for flavour in row.flavours if "-" not in flavour]
        dressed = {flavour.partition("-")[0] for flavour in row.flavours if "-" in flavour}
        assert set(plain) <= set(FLAVOURS)
        assert row.cuda is None or plain
        if dressed:
            assert row.cuda is not None
            assert dressed == {spelled[row.cuda < CudaVersion(12, 4)](row.cuda)}


def test_known_gaps_of_the_list_stay_gaps() -> None:
    by_tag = {(row.release, row.os): row for row in images()}
    assert by_tag["12.8.2", "ubuntu22.04"].flavours == FLAVOURS
    assert by_tag["12.5.1", "ubuntu24.04"].flavours == FLAVOURS
    assert by_tag["11.0.3", "ubuntu20.04"].platforms == (Platform.LINUX_64,)
    assert {row.os for row in images() if row.cuda == CudaVersion(13, 3)}.isdisjoint(
        {"rockylinux10", "ubuntu20.04"}
    )
    assert not [row for row in images() if row.cuda in {CudaVersion(11, 3), CudaVersion(12, 7)}]


def test_python_images_name_their_python_and_their_debian() -> None:
    codenames = {"bookworm": "debian12", "trixie": "debian13"}
    rows = [row for row in images() if row.image == "python"]
    assert {row.os for row in rows} == set(codenames.values())
    for row in rows:
        version, _, codename = row.release.partition("-slim-")
        assert (str(row.python), row.os) == (version, codenames[codename])


def test_images_of_a_system_itself_are_spelled_as_the_system_is() -> None:
    own = [row for row in images() if row.image in {"ubuntu", "debian"}]
    assert [f"{row.image}{row.release.removesuffix('-slim')}" for row in own] == [row.os for row in own]
    assert len(own) == 7


def test_compilers_of_systems_are_major_versions() -> None:
    assert all(re.fullmatch(r"\d{1,2}", row.gcc) for row in systems())
    by_os = {row.os: (str(row.glibc), row.gcc) for row in systems()}
    assert by_os["ubuntu24.04"] == ("2.39", "13")
    assert by_os["debian13"] == ("2.41", "14")
    assert by_os["ubi8"] == by_os["rockylinux8"] == ("2.28", "8")
