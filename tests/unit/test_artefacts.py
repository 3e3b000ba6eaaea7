"""What surveys read, against servers on the loopback: each way to it, nothing twice, nothing hostile."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import struct
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cudaenv.errors import FetchError, UnreachableError
from cudaenv.matrix.refresh.artefacts import Artefacts, Link, ProjectFile
from cudaenv.matrix.refresh.artefacts import Wheel as ReadableWheel
from cudaenv.system import programs, remote_wheels
from cudaenv.system.artefacts import RemoteArtefacts
from cudaenv.system.cache import recall, remember
from cudaenv.system.http import Client
from cudaenv.system.remote_wheels import TAIL, LazyFile, RemoteWheel
from cudaenv.system.repodata import read_records
from tests.support.index import IndexServer, write_index
from tests.support.wheels import Wheel, compiled_wheel, elf_library, torch_wheel

TAG = "cp312-cp312-manylinux_2_28_x86_64"
REQUIRES = ("numpy", "torch==2.11.0; python_version >= '3.10'")
LIBRARY = "torchvision/_C.so"


def vision(cuda: int | None = 13, *, padding: int = 0, compression: int = zipfile.ZIP_DEFLATED) -> Wheel:
    return compiled_wheel(
        "torchvision", "0.26.0+cu130", TAG, cuda, REQUIRES, padding=padding, compression=compression
    )


@dataclass
class Bench:
    """A server, a client and a cache for one test."""

    server: IndexServer
    client: Client
    folder: Path
    cache: Path | None
    said: list[str] = field(default_factory=list)
    channels: dict[str, str] = field(default_factory=dict)

    def artefacts(self) -> RemoteArtefacts:
        """A new run: nothing is in memory."""
        return RemoteArtefacts(self.client, self.server.url, self.cache, self.channels, self.said.append)

    def put(self, *wheels: Wheel, **options: Any) -> ProjectFile:
        """The first of these wheels, as a new run finds it on the index."""
        write_index(self.folder, wheels, **options)
        return next(
            file for file in self.artefacts().files(wheels[0].project) if file.name == wheels[0].filename
        )

    def put_bytes(self, data: bytes, *, hashed: bool = True) -> ProjectFile:
        """Any bytes under the name of a wheel."""
        (self.folder / "x-1-py3-none-any.whl").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest() if hashed else ""
        url = f"{self.server.url}/x-1-py3-none-any.whl"
        return ProjectFile(name="x-1-py3-none-any.whl", url=url, sha256=sha256)

    def asked(self) -> list[str]:
        """The kinds of requests since the last call: pages, metadata, parts or whole wheels."""
        kinds = [
            "metadata" if path.endswith(".metadata") else "page" if path.endswith("/") else part and "part"
            for _, path, part in self.server.requests
        ]
        self.server.requests.clear()
        return [kind or "whole" for kind in kinds]

    @property
    def cached(self) -> list[Path]:
        assert self.cache is not None
        return sorted(path for path in self.cache.rglob("*") if path.is_file())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    folder = tmp_path / "served"
    folder.mkdir()
    with IndexServer(folder) as server, Client(timeout=5, pauses=(0, 0, 0)) as client:
        yield Bench(server, client, folder, tmp_path / "cache")


def test_it_is_what_surveys_ask(bench: Bench) -> None:
    artefacts: Artefacts = bench.artefacts()
    artefacts.say("measuring torch")
    assert bench.said == ["measuring torch"]


# Pages.


def test_files_of_a_project_from_either_form_of_its_page(bench: Bench) -> None:
    old = compiled_wheel("torchvision", "0.25.0+cu130", "cp312-cp312-win_amd64", 13, requires_python=">=3.10")
    wheels = [vision(), old, torch_wheel("2.11.0", "cu130", "cp312", "win_amd64")]
    found = []
    for pages in ("html", "json", "both"):
        write_index(bench.folder, wheels, pages=pages, yanked=[wheels[0].filename])
        found.append(bench.artefacts().files("TorchVision"))
    assert found[0] == found[1] == found[2]
    file, other = found[0]
    assert (file.name, file.sha256, file.yanked) == (vision().filename, vision().sha256, True)
    assert file.url == f"{bench.server.url}/torchvision/{file.name.replace('+', '%2B')}"
    assert (other.sha256, other.requires_python, other.yanked) == (old.sha256, ">=3.10", False)
    assert [request.path for request in bench.server.requests] == ["/torchvision/"] * 3


def test_the_page_is_asked_for_as_json(bench: Bench) -> None:
    """A page of each form that says something else: the server chooses by what the client accepts."""
    write_index(bench.folder, [vision()], pages="both", yanked=[vision().filename])
    html = bench.folder / "torchvision" / "index.html"
    html.write_text(html.read_text().replace("data-yanked", "data-other"))
    assert [file.yanked for file in bench.artefacts().files("torchvision")] == [True]


def test_pages_of_another_index(bench: Bench) -> None:
    write_index(bench.folder / "whl" / "cu130", [vision()])
    for address in ("whl/cu130/", "whl/cu130"):
        artefacts = RemoteArtefacts(
            bench.client, f"{bench.server.url}/{address}", None, {}, bench.said.append
        )
        assert len(artefacts.files("torchvision")) == 1
    assert bench.asked() == ["page", "page"]
    with pytest.raises(FetchError, match="cannot fetch"):
        bench.artefacts().files("torchvision")


def test_pages_are_fetched_once_however_many_ask(bench: Bench) -> None:
    write_index(bench.folder, [vision()])
    bench.server.slow("/torchvision/", 0.1)
    artefacts = bench.artefacts()
    found = artefacts.each(lambda _: artefacts.files("torchvision"), range(20))
    assert len(set(found)) == 1
    assert bench.asked() == ["page"]


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (b"<html><body>Sign in</body></html>", "the page of torchvision lists no files"),
        (b"<html><body><a href='x'>", "the page is incomplete"),
        (b"<a href='x-1-py3-none-any.whl'>x-1-py3-none-any.whl</a>", "no file of torchvision"),
        (b"<a href='file:///x.whl'>x.whl</a>", "not http or https"),
        (b"\xff\xfe<\0a\0", "not UTF-8"),
        (b"", "the page is empty"),
    ],
)
def test_hostile_pages_are_errors_that_name_the_page(bench: Bench, page: bytes, told: str) -> None:
    bench.server.replace("/torchvision/", page)
    (bench.folder / "torchvision").mkdir()
    (bench.folder / "torchvision" / "index.html").touch()
    artefacts = bench.artefacts()
    for _ in range(2):
        with pytest.raises(FetchError, match="/torchvision/` is not what was expected there") as caught:
            artefacts.files("torchvision")
        assert told in caught.value.details[0]
        assert caught.value.hint
    assert bench.asked() == ["page"]


def test_huge_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cudaenv.system.artefacts.MAX_PAGE", 1000)
    write_index(bench.folder, [vision()])
    (bench.folder / "torchvision" / "index.html").write_bytes(b" " * 1001)
    artefacts = bench.artefacts()
    url = f"{bench.server.url}/torchvision/"
    for ask in (lambda: artefacts.files("torchvision"), lambda: artefacts.links(url)):
        with pytest.raises(FetchError, match="larger than what is expected"):
            ask()
    with pytest.raises(FetchError, match="larger than what is expected"):
        artefacts.document(f"{url}index.html")


def test_truncated_pages(bench: Bench) -> None:
    write_index(bench.folder, [vision()])
    bench.server.truncate("/torchvision/", 100)
    with pytest.raises(FetchError, match="cannot fetch"):
        bench.artefacts().files("torchvision")


def test_links(bench: Bench) -> None:
    page = bench.folder / "mmcv.html"
    page.write_text(
        "<html><body><a href='./mmcv-2.2.0%2Bx.whl#sha256=" + "0" * 64 + "'>mmcv</a></body></html>"
    )
    artefacts = bench.artefacts()
    for _ in range(2):
        (link,) = artefacts.links(f"{bench.server.url}/mmcv.html") or ()
    assert (link.text, link.url) == ("mmcv", f"{bench.server.url}/mmcv-2.2.0%2Bx.whl")
    assert len(bench.server.requests) == 1
    assert artefacts.links(f"{bench.server.url}/none.html") is None
    bench.server.fail("/forbidden.html", 403)
    assert artefacts.links(f"{bench.server.url}/forbidden.html") is None
    bench.server.fail("/broken.html", 500)
    with pytest.raises(UnreachableError, match="cannot fetch"):
        artefacts.links(f"{bench.server.url}/broken.html")
    page.write_text("<a href='https://elsewhere.example/x.whl'>x</a>")
    with pytest.raises(FetchError, match=r"mmcv\.html` is not what was expected"):
        bench.artefacts().links(f"{bench.server.url}/mmcv.html")


def test_links_to_other_hosts_of_the_same_files(bench: Bench) -> None:
    (bench.folder / "page.html").write_text("<a href='https://other.example/x.whl'>x.whl</a>")
    url = f"{bench.server.url}/page.html"
    for own, is_allowed in ((urlsplit(url).netloc, True), ("index.example", False)):
        artefacts = RemoteArtefacts(
            bench.client, url, None, {}, bench.said.append, served_by={own: ["other.example"]}
        )
        if is_allowed:
            assert artefacts.links(url) == (Link("x.whl", "https://other.example/x.whl"),)
        else:
            with pytest.raises(FetchError, match="not what was expected"):
                artefacts.links(url)


def test_documents(bench: Bench) -> None:
    (bench.folder / "tags.json").write_text('{"tags": ["13.0.2"]}')
    artefacts = bench.artefacts()
    for _ in range(2):
        assert artefacts.document(f"{bench.server.url}/tags.json") == {"tags": ["13.0.2"]}
    assert len(bench.server.requests) == 1
    for content in (b"", b'{"tags": [', b"<html>", b"\xff", b"[" * 100_000):
        (bench.folder / "tags.json").write_bytes(content)
        with pytest.raises(FetchError, match=r"tags\.json` is not what was expected there"):
            bench.artefacts().document(f"{bench.server.url}/tags.json")


# METADATA.


@pytest.mark.parametrize("way", ["beside", "not announced", "announced in vain", "a page beside", "no parts"])
def test_metadata_by_each_way(bench: Bench, way: str) -> None:
    wheel = vision(padding=1 << 20)
    file = bench.put(wheel, core_metadata=way in {"beside", "announced in vain", "a page beside"})
    path = f"/torchvision/{wheel.filename}"
    if way == "announced in vain":
        bench.server.fail(f"{path}.metadata", 404)
    if way == "a page beside":
        bench.server.replace(f"{path}.metadata", b"<html>no such file, but status 200</html>")
    if way == "no parts":
        bench.server.drop_ranges()
    bench.asked()
    assert bench.artefacts().metadata(file) == wheel.metadata
    asked = bench.asked()
    expected = {
        "beside": ["metadata"],
        "not announced": ["part"],
        "announced in vain": ["metadata", "part"],
        "a page beside": ["metadata", "part"],
        "no parts": ["part", "whole"],
    }
    assert asked == expected[way]
    artefacts = bench.artefacts()
    assert artefacts.metadata(file) == artefacts.metadata(file) == wheel.metadata
    assert bench.asked() == []


def test_metadata_without_a_cache_are_fetched_once_a_run(bench: Bench) -> None:
    file = bench.put(vision(), core_metadata=False)
    bench.cache = None
    bench.asked()
    artefacts = bench.artefacts()
    assert artefacts.metadata(file) == artefacts.metadata(file) == vision().metadata
    assert bench.asked() == ["part"]
    assert bench.artefacts().metadata(replace(file, sha256="")) == vision().metadata


def test_metadata_without_a_hash_are_not_remembered(bench: Bench) -> None:
    file = replace(bench.put(vision()), sha256="")
    assert bench.artefacts().metadata(file) == vision().metadata
    assert bench.cached == []


@pytest.mark.parametrize("change", ["cut off", "other bytes", "empty", "another wheel", "huge", "a folder"])
def test_metadata_in_a_cache_that_was_tampered_with(bench: Bench, change: str) -> None:
    file = bench.put(vision())
    bench.artefacts().metadata(file)
    (kept,) = bench.cached
    assert kept.parts[-3:] == ("metadata", file.sha256[:2], f"{file.sha256}.txt")
    content = kept.read_bytes()
    other = Wheel("other", "1", TAG).metadata
    changes = {
        "cut off": content[:-10],
        "other bytes": content.replace(b"numpy", b"other"),
        "empty": b"",
        "another wheel": hashlib.sha256(other).hexdigest().encode() + b"\n" + other,
        "huge": content + bytes(5 << 20),
    }
    kept.unlink()
    if change == "a folder":
        kept.mkdir()
    else:
        kept.write_bytes(changes[change])
    bench.asked()
    assert bench.artefacts().metadata(file) == vision().metadata
    assert bench.asked() == ["metadata"]
    if change != "a folder":
        assert kept.read_bytes() == content


def test_metadata_of_another_project_inside_a_wheel(bench: Bench) -> None:
    file = bench.put(vision(), core_metadata=False)
    other = Wheel("other", "1", TAG)
    bench.server.replace(f"/torchvision/{file.name}", other.data)
    with pytest.raises(FetchError, match="not what was expected there") as caught:
        bench.artefacts().metadata(file)
    assert caught.value.details == ("it is the METADATA of `other-1`",)


def test_a_source_distribution_has_no_metadata(bench: Bench) -> None:
    (bench.folder / "x-1.tar.gz").write_bytes(b"\x1f\x8b" + bytes(1000))
    file = ProjectFile(name="x-1.tar.gz", url=f"{bench.server.url}/x-1.tar.gz")
    with pytest.raises(FetchError, match="not a wheel that can be read"):
        bench.artefacts().metadata(file)


# Measuring.


def linked(wheel: ReadableWheel) -> dict[str, str]:
    return {name: " ".join(wheel.needed(name)) for name in wheel.sizes if name.endswith(".so")}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_wheel_is_read_where_it_lies(bench: Bench, compression: int, *, has_ranges: bool) -> None:
    wheel = vision(padding=8 << 20, compression=compression)
    file = bench.put(wheel)
    if not has_ranges:
        bench.server.drop_ranges()
    bench.asked()

    def measure(found: ReadableWheel) -> dict[str, str]:
        sizes = found.sizes
        assert list(sizes)[:2] == ["torchvision/__init__.py", LIBRARY]
        assert sizes["torchvision/ballast.bin"] == 8 << 20
        text = found.read("torchvision/__init__.py", 100)
        assert text == b"__version__ = '0.26.0+cu130'\n"
        assert found.needed("torchvision/__init__.py") == ()
        return linked(found)

    expected = {LIBRARY: "libc10.so libtorch_cpu.so libcudart.so.13 libtorch_cuda.so libc.so.6"}
    assert bench.artefacts().measured(file, "linked-1", measure) == expected
    assert bench.asked() == (["part", "part"] if has_ranges else ["part", "whole"])


def test_what_was_measured_is_remembered_by_hash_and_method(bench: Bench) -> None:
    file = bench.put(vision())
    first = bench.artefacts().measured(file, "linked-1", linked)
    bench.asked()
    artefacts = bench.artefacts()
    assert artefacts.measured(file, "linked-1", lambda _: {}) == first
    assert bench.asked() == []
    (kept,) = bench.cached
    assert kept.parts[-3:] == ("measured", file.sha256[:2], f"{file.sha256}-linked-1.json")
    assert json.loads(kept.read_text()) == first
    assert artefacts.measured(file, "linked-2", lambda _: {"other": "1"}) == {"other": "1"}
    assert artefacts.measured(file, "linked-2", lambda _: {}) == {"other": "1"}
    assert bench.asked() == ["part"]
    assert len(bench.cached) == 2


def test_what_was_measured_of_an_unknown_file_is_not_remembered(bench: Bench) -> None:
    file = replace(bench.put(vision()), sha256="")
    artefacts = bench.artefacts()
    bench.asked()
    assert artefacts.measured(file, "linked-1", linked) == artefacts.measured(file, "linked-1", linked)
    assert bench.asked() == ["part"]
    bench.server.drop_ranges()
    assert bench.artefacts().measured(file, "linked-1", linked)
    assert bench.cached == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"null", b'{"a": 1}', b'{"a": ["b"]}', b'{"a": null}', b"[" * 50_000],
)
def test_measurements_in_a_cache_that_was_tampered_with(bench: Bench, content: bytes) -> None:
    file = bench.put(vision())
    expected = bench.artefacts().measured(file, "linked-1", linked)
    (kept,) = bench.cached
    kept.write_bytes(content)
    assert bench.artefacts().measured(file, "linked-1", linked) == expected
    assert json.loads(kept.read_text()) == expected


def test_a_cache_that_cannot_be_used(bench: Bench) -> None:
    file = bench.put(vision())
    assert bench.cache is not None
    bench.cache.write_text("a file where the folder should be")
    assert bench.artefacts().measured(file, "linked-1", linked)
    assert bench.artefacts().metadata(file)


def test_a_remembered_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    remember(tmp_path / "new" / "file", b"abc")
    assert recall(tmp_path / "new" / "file", 3) == b"abc"
    assert recall(tmp_path / "new" / "file", 2) is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


@pytest.mark.parametrize("method", ["", "../x", "A", "a/b", "a_b", "a" * 62, "a\n"])
def test_methods_become_no_path(bench: Bench, method: str) -> None:
    with pytest.raises(ValueError, match="no name of a method"):
        bench.artefacts().measured(bench.put(vision()), method, linked)


def test_a_wheel_that_is_not_as_a_survey_expects(bench: Bench) -> None:
    file = bench.put(vision())
    surveys: list[tuple[Any, str]] = [
        (lambda wheel: wheel.read("none", 10), "there is no member `none`"),
        (lambda wheel: wheel.read("no\x1b[2Jne", 10), "there is no member `no?[2Jne`"),
        (lambda wheel: wheel.needed("none"), "there is no member `none`"),
        (lambda wheel: wheel.read(LIBRARY, 10), f"`{LIBRARY}` has "),
        (lambda _: int("x"), "invalid literal"),
        (lambda _: b"\xff".decode(), "codec can't decode"),
    ]
    for number, (measure, told) in enumerate(surveys):
        with pytest.raises(FetchError, match="is not what was expected there") as caught:
            bench.artefacts().measured(file, f"x-{number}", measure)
        assert file.name.replace("+", "%2B") in caught.value.message
        assert told in caught.value.details[0]
    assert bench.cached == []


def test_a_file_that_is_not_the_one_the_index_lists(bench: Bench) -> None:
    file = bench.put(vision())
    bench.server.drop_ranges()
    bench.server.replace(f"/torchvision/{file.name}", vision(12).data)
    with pytest.raises(FetchError, match="not the file that it should be"):
        bench.artefacts().measured(file, "linked-1", linked)
    assert bench.cached == []


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, content in members:
            target.writestr(name, content)
    return buffer.getvalue()


def in_directory(data: bytes, at: int, code: str, value: int) -> bytes:
    """Overwrite a field of the last member's entry in the directory (APPNOTE.TXT 4.3.12)."""
    copy = bytearray(data)
    struct.pack_into(code, copy, data.rindex(b"PK\1\2") + at, value)
    return bytes(copy)


GOOD = archive(("folder/", b""), ("x/_C.so", elf_library(["libcudart.so.13"])))
BOMB = archive(("x/_C.so", bytes(20 << 20)))


def everything(wheel: ReadableWheel) -> dict[str, str]:
    return {name: str(len(wheel.read(name, 1 << 20))) for name in wheel.sizes} | linked(wheel)


def test_folders_are_no_members(bench: Bench) -> None:
    assert bench.artefacts().measured(bench.put_bytes(GOOD), "x", everything) == {
        "x/_C.so": "libcudart.so.13"
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        GOOD[:-30],
        GOOD[60:],
        archive(("a.so", b"1"), ("b.so", b"2")).replace(b"b.so", b"a.so"),
        archive(("x/_C.so", b"x"), compression=zipfile.ZIP_LZMA),
        archive(("x/_C.so", b"x"), compression=zipfile.ZIP_BZIP2),
        in_directory(GOOD, 8, "<H", 1),
        in_directory(GOOD, 16, "<I", 0),
        in_directory(GOOD, 20, "<I", 5),
        in_directory(GOOD, 24, "<I", 5),
        in_directory(GOOD, 24, "<I", 500_000),
        in_directory(GOOD, 24, "<I", 0xFFFFFFFE),
        in_directory(GOOD, 42, "<I", 0),
        in_directory(GOOD, 42, "<I", 0xFFFFFFF0),
        in_directory(BOMB, 24, "<I", 1000),
        BOMB,
    ],
)
@pytest.mark.parametrize("has_ranges", [True, False])
def test_archives_that_play_tricks(bench: Bench, data: bytes, *, has_ranges: bool) -> None:
    if not has_ranges:
        bench.server.drop_ranges()
    with pytest.raises(FetchError, match=r"x-1-py3-none-any\.whl") as caught:
        bench.artefacts().measured(bench.put_bytes(data), "x", everything)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert bench.cached == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(bench: Bench) -> None:
    data = archive(("x/_C.so", b"1"), ("x/_C.so", b"2"))
    with pytest.raises(FetchError, match="not what was expected") as caught:
        bench.artefacts().measured(bench.put_bytes(data), "x", lambda _: {})
    assert caught.value.details == ("1 members have the names of others",)


ELF = elf_library(["libcudart.so.13"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ",
        b"/* GNU ld script */",
        ELF[:17],
        b"\x7fELF\x01" + ELF[5:],
        b"\x7fELF\x02\x02" + ELF[6:],
        ELF[:16] + b"\x02" + ELF[17:],
    ],
)
def test_what_is_no_shared_object_needs_nothing(bench: Bench, content: bytes) -> None:
    """Texts, libraries for Windows, of 32 bits or big-endian, programs."""
    data = archive(("x/_C.so", content))
    assert bench.artefacts().measured(bench.put_bytes(data), "x", linked) == {"x/_C.so": ""}


@pytest.mark.parametrize("content", [ELF[:300], ELF[:18] + b"\xff" * 500, ELF[:40]])
def test_a_damaged_shared_object_is_an_error(bench: Bench, content: bytes) -> None:
    data = archive(("x/_C.so", content))
    with pytest.raises(FetchError, match="not what was expected") as caught:
        bench.artefacts().measured(bench.put_bytes(data), "x", linked)
    assert caught.value.details[0].startswith("`x/_C.so`: ")


def library_with_names_at_its_end(size: int) -> bytes:
    """A library whose dynamic section and names lie behind `size` bytes of something else."""
    plain = bytearray(ELF)
    moved = len(plain) + size
    table = struct.unpack_from("<Q", plain, 32)[0]
    for number in range(2):  # the segment that is loaded, the dynamic section
        at = table + number * 56
        kind, flags, offset, address, physical, length, memory, alignment = struct.unpack_from(
            "<IIQQQQQQ", plain, at
        )
        if kind == 1:
            length = memory = moved + len(ELF)
        else:
            offset += moved
        struct.pack_into(
            "<IIQQQQQQ", plain, at, kind, flags, offset, address, physical, length, memory, alignment
        )
    return bytes(plain) + bytes(size) + ELF


def test_large_libraries_are_not_kept_in_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names come before the dynamic section here: what lies between is unpacked, and dropped."""
    data = archive(("x/_C.so", library_with_names_at_its_end(30 << 20)))
    reads: list[int] = []
    read = zipfile.ZipExtFile.read

    def spy(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        reads.append(n or 0)
        return read(self, n)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", spy)
    assert bench.artefacts().measured(bench.put_bytes(data), "x", linked) == {"x/_C.so": "libcudart.so.13"}
    assert sum(size == 1 << 20 for size in reads) <= 3


def test_names_scattered_all_over_a_library(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_wheels, "_MAX_PAGES", 1)
    data = archive(("x/_C.so", library_with_names_at_its_end(30 << 20)))
    with pytest.raises(FetchError, match="not what was expected") as caught:
        bench.artefacts().measured(bench.put_bytes(data), "x", linked)
    assert "scattered" in caught.value.details[0]


def test_of_a_large_file_only_the_last_blocks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_wheels, "MAX_KEPT", 10 << 20)
    size = 60 << 20
    asked: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> bytes:
        asked.append((start, end))
        return bytes(end - start)

    file = LazyFile(fetch, size, bytes(TAIL))
    for start in range(0, size // 2, 1 << 20):
        file.seek(start)
        assert len(file.read(1 << 20)) == 1 << 20
        assert sum(map(len, file._blocks.values())) <= (10 << 20)
    count = len(asked)
    file.seek(size - TAIL)
    file.read()
    file.seek(size // 2 - 1)
    file.read(1)
    assert len(asked) == count
    file.seek(0)
    file.read(1)
    assert len(asked) == count + 1


# Side by side.


def test_results_come_in_the_order_of_the_items(bench: Bench) -> None:
    def late(number: int) -> int:
        time.sleep(0.02 * (number % 3 == 0))
        return number * 2

    assert bench.artefacts().each(late, iter(range(30))) == [number * 2 for number in range(30)]
    assert bench.artefacts().each(late, []) == []


def test_several_at_a_time_and_no_more_than_eight(bench: Bench) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    bench.artefacts().each(work, range(50))
    assert 2 <= most <= 9  # the one that waits works, too


def test_nested_calls_do_not_wait_for_each_other(bench: Bench) -> None:
    artefacts = bench.artefacts()

    def deep(depth: int) -> int:
        return 1 if depth == 0 else sum(artefacts.each(deep, [depth - 1] * 6))

    assert deep(4) == 6**4


def test_the_first_failure_is_raised_when_all_has_ended(bench: Bench) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 3:
            raise FetchError("no")
        time.sleep(0.02)
        done.append(number)

    with pytest.raises(FetchError, match="no"):
        bench.artefacts().each(work, range(1000))
    count = len(done)
    time.sleep(0.1)
    assert count == len(done) < 100


def test_many_threads_measure_one_wheel_once(bench: Bench) -> None:
    file = bench.put(vision())
    bench.asked()
    calls: list[int] = []

    def slowly(wheel: ReadableWheel) -> Mapping[str, str]:
        calls.append(1)
        time.sleep(0.05)
        return linked(wheel)

    artefacts = bench.artefacts()
    found = artefacts.each(lambda _: artefacts.measured(file, "x", slowly), range(20))
    assert all(item == found[0] for item in found)
    assert (len(calls), bench.asked()) == (1, ["part"])


# Programs.

needs_posix = pytest.mark.skipif(os.name != "posix", reason="a script stands in for the program")
PTXAS = "nvidia/cu13/bin/ptxas"


def program(text: str, member: str = PTXAS) -> Wheel:
    script = f"#!{sys.executable}\n{text}\n".encode()
    return Wheel("nvidia-cuda-nvcc", "13.0.88", TAG, files={member: script})


@needs_posix
def test_a_program_is_run_with_its_arguments_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    text = "import os, sys; print(sys.argv[1:], sorted(os.environ), os.listdir()); sys.exit('done')"
    file = bench.put(program(text))
    artefacts = bench.artefacts()
    bench.asked()
    output = artefacts.run(file, PTXAS, ["--help; ls", "$HOME"])
    assert output == "['--help; ls', '$HOME'] ['LC_ALL', 'PATH', 'TMPDIR'] []\ndone\n"
    assert artefacts.run(file, PTXAS, ["--version"]).startswith("['--version']")
    assert bench.asked() == ["whole"]
    again = bench.artefacts()
    assert again.run(file, PTXAS, ["--help; ls", "$HOME"]) == output
    assert bench.asked() == []


@needs_posix
def test_the_folder_of_programs_goes_with_the_run(bench: Bench) -> None:
    artefacts = bench.artefacts()
    artefacts.run(bench.put(program("")), PTXAS, [])
    folder = artefacts._folder
    assert folder.is_dir()
    del artefacts
    assert not folder.exists()


@needs_posix
def test_many_programs_at_a_time(bench: Bench) -> None:
    """One that is just being written cannot be run, and a child that just starts has all files open."""
    bench.cache = None
    file = bench.put(program("print(1)"))
    artefacts = bench.artefacts()
    assert artefacts.each(lambda number: artefacts.run(file, PTXAS, [str(number)]), range(12)) == ["1\n"] * 12


@pytest.mark.parametrize("sha256", ["", "0" * 64])
def test_only_the_file_that_the_index_lists_is_run(bench: Bench, tmp_path: Path, sha256: str) -> None:
    ran = tmp_path / "ran"
    file = bench.put(program(f"open({str(ran)!r}, 'w')"))
    with pytest.raises(FetchError, match=r"no sha256|not the file"):
        bench.artefacts().run(replace(file, sha256=sha256), PTXAS, [])
    assert not ran.exists()


@pytest.mark.parametrize("member", ["nvidia/cu13/bin/nvcc", "ptxas/x", "ptxas.exe", "", "ptxas/.."])
def test_other_programs_are_not_run(bench: Bench, member: str) -> None:
    file = bench.put(program("", member or "x"))
    bench.asked()
    with pytest.raises(ValueError, match="not a program that may be run"):
        bench.artefacts().run(file, member, [])
    assert bench.asked() == []


def test_a_wheel_without_the_program(bench: Bench) -> None:
    with pytest.raises(FetchError, match="not a wheel that can be read") as caught:
        bench.artefacts().run(bench.put(program("")), "other/ptxas", [])
    assert caught.value.details == ("there is no member `other/ptxas`",)


@pytest.mark.parametrize(
    "content", [b"MZ for another system", b"\x7fELF" + bytes(100), b"#!/no/such/program\n"]
)
def test_a_program_that_cannot_be_run_here(bench: Bench, content: bytes) -> None:
    wheel = Wheel("nvidia-cuda-nvcc", "13.0.88", TAG, files={PTXAS: content})
    with pytest.raises(FetchError, match=r"`ptxas` of `.*nvidia_cuda_nvcc.*` cannot be run here") as caught:
        bench.artefacts().run(bench.put(wheel), PTXAS, [])
    assert "another operating system or processor" in caught.value.hint


@needs_posix
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import time; time.sleep(60)", "did not end within 0 s"),
        ("import os; os.close(1); os.close(2); import time; time.sleep(60)", "did not end within 0 s"),
        ("while True: print('x' * 1000)", "prints more than"),
        ("import os; os.kill(os.getpid(), 9)", "cannot be run here"),
    ],
)
def test_programs_that_misbehave(bench: Bench, monkeypatch: pytest.MonkeyPatch, text: str, told: str) -> None:
    monkeypatch.setattr(programs, "TIMEOUT_S", 0.4)
    with pytest.raises(FetchError, match=told):
        bench.artefacts().run(bench.put(program(text)), PTXAS, [])
    assert bench.cached == []


# Records of conda channels.

RECORD = {
    "name": "pytorch",
    "version": "2.10.0",
    "build": "cuda129_mkl_py312_h0_300",
    "build_number": 300,
    "depends": ["__cuda", "cuda-version >=12.9,<13"],
    "constrains": ["pytorch-cpu <0.0a0"],
    "subdir": "linux-64",
    "timestamp": 1767225600123,
    "md5": "0" * 31 + "1",
    "sha256": "0" * 63 + "2",
}
OLD = RECORD | {"version": "2.9.1", "build": "cpu_0", "build_number": 0, "constrains": []}


def write_channel(folder: Path, *records: dict[str, Any]) -> None:
    for platform in ("linux-64", "noarch"):
        own = [record for record in records if record["subdir"] == platform]
        packages = {"{name}-{version}-{build}.conda".format_map(record): record for record in own}
        document = {"info": {"subdir": platform}, "packages": {}, "packages.conda": packages}
        (folder / platform).mkdir(parents=True)
        (folder / platform / "repodata.json").write_text(json.dumps(document))


def test_records_of_a_channel(bench: Bench) -> None:
    stated = {"name": "numpy", "version": "2.0", "build": "0", "build_number": 0, "depends": []}
    bare = stated | {"subdir": "linux-64"}
    depended = bare | {"name": "cuda-version", "version": "12.9"}
    write_channel(bench.folder / "forge", OLD, bare, RECORD, depended)
    unstated: dict[str, Any] = {"constrains": [], "timestamp": None, "md5": None, "sha256": None}
    served = f"{bench.server.url}/forge"
    for base in ((bench.folder / "forge").as_uri(), f"{served}/", served):
        bench.channels["conda-forge"] = base
        artefacts = bench.artefacts()
        assert artefacts.records("conda-forge", "linux-64", ["pytorch", "none"]) == (RECORD, OLD)
        assert artefacts.records("conda-forge", "linux-64", ["numpy"]) == (bare | unstated,)
        found = artefacts.records("conda-forge", "linux-64", ["pytorch", "numpy", "cuda-version"])
        assert found == (depended | unstated, bare | unstated, RECORD, OLD)
        assert artefacts.records("conda-forge", "linux-64", {"none"}) == ()
    bench.server.requests.clear()
    assert artefacts.records("conda-forge", "linux-64", ["none", "pytorch"]) == (RECORD, OLD)
    assert bench.server.requests == []


def test_a_channel_that_is_not_there(bench: Bench) -> None:
    bench.channels = {"conda-forge": f"{bench.server.url}/none", "broken": f"{bench.server.url}/broken"}
    with pytest.raises(FetchError, match="channel `other` is not known"):
        bench.artefacts().records("other", "linux-64", ["pytorch"])
    with pytest.raises(FetchError, match=r"conda channel `http://.*/none` cannot be read") as caught:
        bench.artefacts().records("conda-forge", "linux-64", ["pytorch"])
    assert caught.value.details == ("there are no packages for linux-64",)
    write_channel(bench.folder / "broken")
    (bench.folder / "broken" / "linux-64" / "repodata.json").write_text('{"packages": {"x')
    with pytest.raises(FetchError, match="/broken` cannot be read") as caught:
        bench.artefacts().records("broken", "linux-64", ["pytorch"])
    assert all(line.isprintable() for line in caught.value.details)


def test_a_channel_that_does_not_answer(bench: Bench) -> None:
    """That is another failure than one that answers nonsense: it may go away by itself."""
    with IndexServer(bench.folder) as gone:
        bench.channels = {"gone": f"{gone.url}/forge", "down": f"{bench.server.url}/forge"}
    bench.server.fail("/forge/linux-64/repodata.json.zst", 503)
    for name in bench.channels:
        with pytest.raises(UnreachableError, match="cannot fetch"):
            bench.artefacts().records(name, "linux-64", ["pytorch"])
    bench.server.fail("/forge/linux-64/repodata.json.zst", 404)
    with pytest.raises(FetchError, match="cannot be read") as caught:
        bench.artefacts().records("down", "linux-64", ["pytorch"])
    assert not isinstance(caught.value, UnreachableError)


def test_messages_about_channels_keep_secrets(bench: Bench) -> None:
    address = f"{bench.server.url.replace('//', '//user:secret@')}/t/secret/none"
    with pytest.raises(FetchError, match="cannot be read") as caught:
        read_records(address, "noarch", ["x"], None)
    assert "secret" not in str(caught.value)
    assert "/t/.../none" in caught.value.message


@pytest.mark.parametrize("name", ["", "Torch", "pytorch >=2", "a::b", "*", "x[build=*]", "--x", "a\n"])
def test_names_that_are_none(bench: Bench, name: str) -> None:
    bench.channels["conda-forge"] = bench.server.url
    with pytest.raises(ValueError, match="no name of a conda package"):
        bench.artefacts().records("conda-forge", "linux-64", [name])
    with pytest.raises(ValueError, match="no name of a conda package"):
        bench.artefacts().records("conda-forge", name or "../x", ["pytorch"])


# Credentials.


def test_messages_bear_no_credentials(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the index go to it and into no message; an index that asks for some gets a hint."""
    bench.server.require_auth("/", "user", "secret")
    write_index(bench.folder, [vision()])
    with pytest.raises(FetchError, match="cannot fetch") as refused:
        bench.artefacts().files("torchvision")
    assert "netrc" in refused.value.hint
    bench.client = Client(credentials=lambda _: ("user", "secret"), pauses=())
    (bench.folder / "torchvision" / "index.html").write_text("<html>")
    with pytest.raises(FetchError, match="not what was expected") as caught:
        bench.artefacts().files("torchvision")
    token = base64.b64encode(b"user:secret").decode()
    assert "secret" not in str(caught.value)
    assert token not in str(caught.value)
    bench.client.close()


def test_a_wheel_is_one_of_the_kind_that_surveys_read() -> None:
    with zipfile.ZipFile(io.BytesIO(GOOD)) as opened:
        wheel: ReadableWheel = RemoteWheel("https://files.example/x.whl", opened)
        assert dict(wheel.sizes) == {"x/_C.so": len(ELF)}
