"""The surveys of OpenMMLab's packages, on pages as it has them and wheels made in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

import pytest

from cudaenv.matrix.document import read_document
from cudaenv.matrix.refresh.artefacts import Artefacts, Link, ProjectFile, RawRow, Scope, Wheel
from cudaenv.matrix.refresh.merge import merge
from cudaenv.matrix.refresh.openmmlab import FIRST_MMDET, MMDET, wheel_pages
from cudaenv.matrix.refresh.pages import read_links
from cudaenv.model.documents import Problems
from tests.support.opened import OpenedWheel
from tests.support.wheels import Wheel as Made

T = TypeVar("T")
R = TypeVar("R")

URL = "https://download.openmmlab.com/mmcv/dist/{variant}/torch{torch}.0/index.html"
LINUX, WINDOWS = "manylinux1_x86_64", "win_amd64"
CU121_22 = ("cu121", "2.2")


def url(variant: str, torch: str) -> str:
    return URL.format(variant=variant, torch=torch)


def names(project: str, version: str, platform: str, *pythons: str) -> list[str]:
    return [f"{project}-{version}-{python}-{python}-{platform}.whl" for python in pythons]


def anchor(href: str, text: str = "") -> str:
    return f'<a href="{href}">{text or href}</a><br>\n'


def page(*files: str) -> str:
    """As OpenMMLab writes them: nothing but links, each with its address as text."""
    return "".join(anchor(f"./{name}") for name in files)


class Fake(Artefacts):
    """Pages by address, read as real ones are, and wheels by project."""

    def __init__(self, pages: Mapping[str, str] | None = None, wheels: Iterable[Made] = ()) -> None:
        self.pages = dict(pages or {})
        self.wheels = [Made("torch", "2.15.0", "cp315-cp315-win_amd64"), *wheels]
        self.sdists: list[str] = []
        self.asked: list[str] = []
        self.said: list[str] = []

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        found = [wheel.filename for wheel in self.wheels if wheel.project == project]
        found += [name for name in self.sdists if name.startswith(f"{project}-")]
        return tuple(ProjectFile(name=name, url=name) for name in found)

    def links(self, url: str) -> tuple[Link, ...] | None:
        self.asked.append(url)
        if url not in self.pages:
            return None
        return read_links(self.pages[url].encode(), "text/html", url)

    def metadata(self, file: ProjectFile) -> bytes:
        return self._made(file).metadata

    def measured(
        self, file: ProjectFile, method: str, measure: Callable[[Wheel], Mapping[str, str]]
    ) -> Mapping[str, str]:
        assert method == "mmdet-needs-1"
        return measure(OpenedWheel(self._made(file).data))

    def document(self, url: str) -> object:
        raise NotImplementedError

    def run(self, file: ProjectFile, member: str, arguments: Collection[str]) -> str:
        raise NotImplementedError

    def records(
        self, channel: str, platform: str, names: Collection[str]
    ) -> tuple[Mapping[str, object], ...]:
        raise NotImplementedError

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        return [function(item) for item in items]

    def say(self, line: str) -> None:
        self.said.append(line)

    def _made(self, file: ProjectFile) -> Made:
        return next(wheel for wheel in self.wheels if wheel.filename == file.name)


def rows(pages: Mapping[tuple[str, str], str], project: str = "mmcv") -> list[RawRow]:
    survey = wheel_pages(project, URL, pages)
    return list(survey.measure(Fake({url(*line): text for line, text in pages.items()}), Scope()))


# The pages of wheels.


def test_a_page_as_openmmlab_has_it() -> None:
    # cp312 is there for Linux alone, as on the real page of cu121 and torch 2.2.
    found = rows(
        {
            CU121_22: page(
                *names("mmcv", "2.2.0", LINUX, "cp310", "cp311", "cp312", "cp38", "cp39"),
                *names("mmcv", "2.2.0", WINDOWS, "cp310", "cp311", "cp38", "cp39"),
            )
        }
    )
    assert found == [
        {
            "version": "2.2.0",
            "index": "openmmlab",
            "variant": "cu121",
            "torch": "==2.2.*",
            "cuda": "12.1",
            "platforms": "linux-64 win-64",
            "pythons": "3.8 3.9 3.10 3.11",
            "note": "there are also wheels for linux-64: 3.12",
            "source": "wheel-pages",
            "basis": "measured",
        }
    ]


def test_both_packages_are_on_the_same_pages() -> None:
    text = page(
        *names("mmcv", "2.0.0", LINUX, "cp37"),
        *names("mmcv", "2.0.0rc4", LINUX, "cp37", "cp38"),
        "mmcv_full-1.7.0-cp37-cp37m-manylinux1_x86_64.whl",
        "mmcv_full-1.7.1-cp310-cp310-win_amd64.whl",
        "mmcv-2.0.1-cp39-cp39-macosx_11_0_x86_64.whl",
    )
    pages = {("cu117", "1.13"): text}
    assert [(row["version"], row["platforms"], row["pythons"]) for row in rows(pages)] == [
        ("2.0.0", "linux-64", "3.7")
    ]
    assert [(row["version"], row["platforms"], row["pythons"]) for row in rows(pages, "mmcv-full")] == [
        ("1.7.0", "linux-64", "3.7"),
        ("1.7.1", "win-64", "3.10"),
    ]


def test_every_build_is_asked_for_once_and_a_missing_page_is_no_combination() -> None:
    artefacts = Fake({url("cpu", "2.4"): page(*names("mmcv", "2.2.0", LINUX, "cp312"))})
    survey = wheel_pages("mmcv", URL, [("cu128", "2.9"), ("cpu", "2.4"), ("cpu", "2.4"), ("cu102", "1.10")])
    (row,) = survey.measure(artefacts, Scope(since="2099-01-01"))
    assert (row["variant"], row["torch"], row.get("cuda")) == ("cpu", "==2.4.*", None)
    assert artefacts.asked == [url("cu128", "2.9"), url("cpu", "2.4"), url("cu102", "1.10")]


def test_rows_are_in_the_order_of_versions() -> None:
    old, new = (page(*names("mmcv", version, LINUX, "cp38")) for version in ("2.0.0", "2.10.0"))
    pages = {("cu118", "2.1"): new + page(*names("mmcv", "2.9.0", LINUX, "cp38")), ("cu118", "2.0"): old}
    assert [row["version"] for row in rows(pages)] == ["2.0.0", "2.9.0", "2.10.0"]


def test_platforms_without_a_common_python_do_not_share_a_row() -> None:
    (row,) = rows(
        {
            CU121_22: page(
                *names("mmcv", "2.2.0", LINUX, "cp312"), *names("mmcv", "2.2.0", WINDOWS, "cp310", "cp311")
            )
        }
    )
    assert (row["platforms"], row["pythons"]) == ("linux-64", "3.12")
    assert row["note"] == "there are also wheels for win-64: 3.10 3.11"


@pytest.mark.parametrize("build", [("cu12", "2.1"), ("../cu121", "2.1"), ("cu121", "2.1.0"), ("cu121", "2")])
def test_what_is_no_build_has_no_address(build: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="not a variant and a torch line"):
        wheel_pages("mmcv", URL, [build])


GOOD = page(*names("mmcv", "2.2.0", LINUX, "cp310"))
OTHER = "mmcv-2.2.0-cp311-cp311-manylinux1_x86_64.whl"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + anchor(f"https://example.org/mmcv/dist/cu121/torch2.2.0/{OTHER}"), "links to"),
        (GOOD + anchor(f"http://download.openmmlab.com/mmcv/dist/cu121/torch2.2.0/{OTHER}"), "links to"),
        (GOOD + anchor(f"../torch2.1.0/{OTHER}"), "in another place"),
        (GOOD + anchor(f"./evil/../../{OTHER}"), "in another place"),
        (GOOD + anchor(f"./{OTHER}", "./mmcv-2.2.0-cp312-cp312-manylinux1_x86_64.whl"), "that says"),
        (GOOD + anchor(f"./{OTHER}", "./mmcv-2.2.0-cp31"), "that says"),
        (GOOD + anchor("./evil.exe", f"./{OTHER}"), "that says"),
        (GOOD + anchor("./mmcv-2.2.0-cp31"), "half the name"),
        (GOOD + anchor("./mmcv_full-1.7.1"), "half the name"),
        (GOOD[:-30], "incomplete"),
        (GOOD + '<a href="./mmcv-2.2.0-cp311', "incomplete"),
        ("<html><body>under maintenance</body></html>", "lists no wheels"),
        (anchor("./mmcv-2.2.0.tar.gz"), "lists no wheels"),
        (anchor("./mmcv-x.y-cp310-cp310-win_amd64.whl"), "lists no wheels"),
        (" ", "empty"),
    ],
)
def test_a_page_that_is_not_as_expected_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rows({CU121_22: text})


@pytest.mark.parametrize(
    "line",
    [
        anchor("../"),
        anchor("https://download.openmmlab.com/"),
        anchor("./index.html", "this page"),
        anchor("./mmcv-2.1.0.tar.gz"),
        page("mmcv-latest-cp310-cp310-manylinux1_x86_64.whl"),
        page("mmcv-2.1.0-cp310-manylinux1_x86_64.whl"),
        page("mmcv-2.1.0-py2.py3-none-any.whl"),
        page("mmcv-2.1.0-cp310-cp310-musllinux_1_1_x86_64.whl"),
        page("mmdet-3.3.0-cp310-cp310-manylinux1_x86_64.whl"),
    ],
)
def test_what_no_row_is_about_changes_none(line: str) -> None:
    assert rows({CU121_22: GOOD + line}) == rows({CU121_22: GOOD})


def test_a_survey_owns_the_rows_of_its_pages_alone() -> None:
    survey = wheel_pages("mmcv", URL, [CU121_22])
    row = {"version": "2.2.0", "index": "openmmlab", "variant": "cu121", "torch": "==2.2.*"}
    assert (survey.table, survey.place, survey.owns(row)) == ("packages/mmcv", "openmmlab", True)
    for column, text in (("index", ""), ("index", "pytorch"), ("variant", "cu118"), ("torch", "==2.1.*")):
        assert not survey.owns({**row, column: text})
    assert not survey.owns({"version": "2.2.0", "files": "sdist"})
    assert not survey.owns({**row, "torch": ">=2.2"})


def test_a_measured_page_replaces_what_documents_say_and_keeps_the_rest() -> None:
    place = 'version: "2.2.0", index: "openmmlab", torch: "==2.2.*"'
    said = 'source: "json", basis: "documented"'
    text = f"""schema: 1
rows:
- {{version: "2.2.0", files: "sdist", source: "sdists", basis: "measured"}}
- {{{place}, variant: "cu118", {said}}}
- {{{place}, variant: "cu121", {said}}}
"""
    problems = Problems("test")
    survey = wheel_pages("mmcv", URL, [CU121_22, ("cu118", "2.2")])
    measured = list(survey.measure(Fake({url(*CU121_22): GOOD}), Scope()))
    document = read_document(survey.table, text, problems)
    after, change = merge(document, measured, survey, "2026-11-21", whole=True)
    assert not problems.lines
    assert (len(change.added), len(change.changed), len(change.removed)) == (0, 1, 0)
    assert [row["basis"] for row in after.rows] == ["measured", "documented", "measured"]
    assert after.rows[2]["pythons"] == "3.10"


# mmdet.


def code(minimum: str = "2.0.0rc4", maximum: str = "2.2.0", operator: str = "<") -> bytes:
    """`mmdet/__init__.py` as the releases have it."""
    return f"""import mmcv
from .version import __version__

mmcv_minimum_version = '{minimum}'
mmcv_maximum_version = '{maximum}'
mmcv_version = digit_version(mmcv.__version__)

assert (mmcv_version >= digit_version(mmcv_minimum_version)
        and mmcv_version {operator} digit_version(mmcv_maximum_version)), \\
    f'MMCV=={{mmcv.__version__}} is used but incompatible. ' \\
    f'Please install mmcv>={{mmcv_minimum_version}}, <{{mmcv_maximum_version}}.'
""".encode()


def mmdet(
    version: str = "3.3.0",
    requires: Iterable[str] = ('mmcv <2.2.0,>=2.0.0rc4 ; extra == "mim"', "mmengine ; extra == 'mim'"),
    init: bytes = code(),
) -> Made:
    return Made(
        "mmdet",
        version,
        "py3-none-any",
        requires=tuple(requires),
        files={"mmdet/__init__.py": init},
        import_name="",
    )


def measured(*wheels: Made, since: str = "") -> list[RawRow]:
    return list(MMDET.measure(Fake(wheels=wheels), Scope(since=since)))


def test_mmdet_needs_what_metadata_and_its_assertion_say() -> None:
    (row,) = measured(mmdet())
    assert row["needs"] == "mmcv<2.2.0,>=2.0.0rc4 mmengine"
    assert (row["version"], row["files"], row["basis"]) == ("3.3.0", "wheel", "measured")
    assert row["pythons"].endswith("3.15")


def test_the_upper_bound_of_mmdet_2_is_in_its_code_alone() -> None:
    old = mmdet("2.25.1", ['mmcv-full (>=1.3.17) ; extra == "mim"'], code("1.3.17", "1.7.0", "<="))
    assert [row["needs"] for row in measured(old)] == ["mmcv-full<=1.7.0,>=1.3.17"]


def test_requirements_of_other_extras_and_other_packages_are_left_out() -> None:
    wheel = mmdet(
        requires=[
            "numpy",
            "mmcv>=2 ; extra == 'mim'",
            "mmcv-lite ; extra == 'tests'",
            "mmpretrain ; extra == 'mim'",
            "mmengine!=0.9.0",
        ]
    )
    assert [row["needs"] for row in measured(wheel)] == ["mmcv<2.2.0,>=2,>=2.0.0rc4 mmengine!=0.9.0"]


def test_code_without_bounds_leaves_those_of_metadata() -> None:
    assert [row["needs"] for row in measured(mmdet(init=b"import mmcv\n"))] == [
        "mmcv<2.2.0,>=2.0.0rc4 mmengine"
    ]


def test_releases_that_state_nothing_have_no_row() -> None:
    found = measured(mmdet("2.25.0", ["numpy"]), mmdet("3.0.0rc6"), mmdet("3.2.0"), mmdet("3.3.0"))
    assert [row["version"] for row in found] == ["3.2.0", "3.3.0"]
    assert MMDET.owns({"version": str(FIRST_MMDET)})
    assert not MMDET.owns({"version": "2.25.0"})


def test_a_release_without_a_wheel_is_left_out_and_named() -> None:
    artefacts = Fake(wheels=[mmdet()])
    artefacts.sdists = ["mmdet-3.3.0.tar.gz", "mmdet-3.4.0.tar.gz"]
    (row,) = MMDET.measure(artefacts, Scope())
    assert (row["version"], row["files"]) == ("3.3.0", "wheel sdist")
    assert any("mmdet 3.4.0 is left out" in line for line in artefacts.said)


@pytest.mark.parametrize(
    ("wheel", "said"),
    [
        (mmdet(init=code(maximum="two")), "has the bound 'two'"),
        (mmdet(init=code().replace(b"mmcv_maximum_version = ", b"mmcv_maximum = ")), "does not state"),
        (mmdet(init=code().replace(b"digit_version(mmcv_maximum_version)", b"LIMIT")), "does not assert"),
        (mmdet(init=b"#" * (1 << 17)), "at most"),
        (mmdet(init=b"\xff"), "codec"),
        (mmdet(requires=["numpy"]), "name no requirement on mmcv"),
        (mmdet(requires=["mmcv>=2", "mmengine=>1"]), "mmengine=>1"),
        (mmdet(requires=["mmcv>=2", "mmengine" + ">=1," * 700 + ">=1"]), "of 2811 characters"),
        (mmdet(requires=["mmcv>=2 ; python_version < '3.9'"]), "is no extra"),
        (mmdet(requires=["mmcv>=2 ; extra == 'mim' and os_name == 'nt'"]), "is no extra"),
    ],
)
def test_a_wheel_that_is_not_as_expected_is_refused(wheel: Made, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        measured(wheel)
