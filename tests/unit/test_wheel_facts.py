"""Facts of wheels: from parts of them, hostile ones, servers of every kind, and the cache."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import subprocess
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uv import find_uv_bin

from cudaenv.errors import FetchError
from cudaenv.lock import wheel_facts
from cudaenv.lock.wheel_facts import (
    Member,
    Remembered,
    WheelFacts,
    cudart_majors,
    libraries,
    linked_majors,
    parse_requires,
)
from cudaenv.system.answers import Answer
from cudaenv.system.http import Client
from cudaenv.system.remote_wheels import BLOCK, LAST_BLOCK, MAX_READ, TAIL, LazyFile
from cudaenv.system.wheels import read_wheel_facts
from tests.support.index import IndexServer, write_index
from tests.support.wheels import Wheel, compiled_wheel, elf_library

TAG = "cp312-cp312-manylinux_2_28_x86_64"
REQUIRES = ("numpy", "torch==2.11.0; python_version >= '3.10'")
METADATA = b"Metadata-Version: 2.1\nName: x\nVersion: 1\nRequires-Dist: a\n"
SHA = "0" * 64


def vision(cuda_major: int | None = 13, *, padding: int = 0, compression: int = zipfile.ZIP_STORED) -> Wheel:
    return compiled_wheel(
        "torchvision", "0.26.0", TAG, cuda_major, REQUIRES, padding=padding, compression=compression
    )


@dataclass
class Bench:
    """A server, a client and a cache for one test."""

    server: IndexServer
    client: Client
    folder: Path
    cache: Path
    paths: list[str] = field(default_factory=list)

    def put(self, wheel: Wheel, *, core_metadata: bool = True) -> str:
        write_index(self.folder, [wheel], core_metadata=core_metadata)
        return f"{self.server.url}/{wheel.project}/{wheel.filename}"

    def put_bytes(self, data: bytes) -> str:
        (self.folder / "x-1-py3-none-any.whl").write_bytes(data)
        return f"{self.server.url}/x-1-py3-none-any.whl"

    def read(self, url: str, sha256: str = SHA, *, want_cudart: bool = True) -> WheelFacts:
        return read_wheel_facts(url, sha256, self.client, self.cache, want_cudart=want_cudart)

    @property
    def cache_file(self) -> Path:
        return self.cache / "wheels" / f"{SHA}.json"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "served"
    folder.mkdir()
    with IndexServer(folder) as server, Client(timeout=5, pauses=(0, 0, 0)) as client:
        yield Bench(server, client, folder, tmp_path / "cache")


# The pure part.


def test_requirements_are_kept_as_written() -> None:
    text = (
        b"Metadata-Version: 2.1\r\nName: x\r\nVersion: 1\r\n"
        b"Requires-Dist: torch ==2.11.0\r\nRequires-Dist: pillow!=8.3.*,\r\n  >=5.3.0 ; extra == 'a'\r\n"
        b"\r\nRequires-Dist: no-field-but-description\r\n"
    )
    assert parse_requires(text) == ("torch ==2.11.0", "pillow!=8.3.*, >=5.3.0 ; extra == 'a'")
    assert parse_requires(Wheel("x", "1", TAG).metadata) == ()


@pytest.mark.parametrize(
    "text", [b"", b"<html>Sign in</html>", b"Name: x\n", b"\0\xff", b"Metadata-Version: 2.1\n"]
)
def test_other_texts_are_no_metadata(text: bytes) -> None:
    with pytest.raises(ValueError, match="missing"):
        parse_requires(text)


@given(st.binary(max_size=200))
def test_any_metadata_is_read_or_refused(noise: bytes) -> None:
    for text in (noise, METADATA + noise):
        try:
            assert all(isinstance(line, str) for line in parse_requires(text))
        except ValueError:
            assert text is noise or b"\n" in noise


@pytest.mark.parametrize(
    ("names", "majors"),
    [
        (["libcudart.so.13"], (13,)),
        (["libcudart.so.12"], (12,)),
        (["libcudart.so.11.0"], (11,)),
        (["libcudart.so.10.2"], (10,)),
        (["libcudart-80664282.so.10.2"], (10,)),
        (["libcudart-e409450e.so.11.0"], (11,)),
        (["libcudart.3eda8113.so.13"], (13,)),
        (["libcudart.so.13", "libcudart.so.12", "libcudart.so.13"], (12, 13)),
        (["libc.so.6", "libcublas.so.12", "libtorch_cuda.so"], ()),
        (["libcudart.so", "libcudart.so.", "libcudart.so.x", "libcudart_static.a"], ()),
        (["xlibcudart.so.12", "libcudart.so.12x", "libcudart.so.1234", "libcudart-hip.so.12"], ()),
    ],
)
def test_majors(names: Sequence[str], majors: tuple[int, ...]) -> None:
    assert cudart_majors(names) == majors


optional = st.none() | st.lists(st.text(max_size=9)).map(tuple)


@given(optional, st.none() | st.lists(st.integers()).map(tuple))
def test_memory_survives_its_file(requires: tuple[str, ...] | None, cudart: tuple[int, ...] | None) -> None:
    remembered = Remembered(requires, cudart)
    assert Remembered.load(remembered.dump()) == remembered


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"requires": ["a"], "cudart": [12]}',
        '{"schema": 2, "requires": ["a"], "cudart": [12]}',
        '{"schema": 1, "requires": "a", "cudart": 12}',
        '{"schema": 1, "requires": [1], "cudart": ["12"]}',
        '{"schema": 1, "requires": {"a": 1}, "cudart": [true]}',
    ],
)
def test_other_files_are_no_memory(text: str) -> None:
    assert Remembered.load(text) == Remembered()


def names(members: Sequence[Member]) -> list[str]:
    return [member.name for member in libraries(members)]


def test_which_libraries_are_read_in_which_order() -> None:
    members = [
        Member("torchvision/_C.so", 2_000_000, 9_000_000, 1),
        Member("torchvision/image.cpython-312-x86_64-linux-gnu.so", 100_000, 300_000, 2),
        Member("torchvision/copy.so.12", 2_000_000, 9_000_000, 1),
        Member("torchvision.libs/libjpeg.d33e0c76.so.8", 50_000, 90_000, 3),
        Member("torchvision.libs/libcudart.3eda8113.so.13", 10, 10, 4),
        Member("nvidia/cublas/lib/libcublas.so.12", 10, 10, 5),
        Member("x.data/purelib/nvidia/y.so", 10, 10, 6),
        Member("torchvision/io.py", 10, 10, 7),
        Member("torchvision/x.so.py", 10, 10, 8),
        Member("torchvision/huge.so", 10, wheel_facts.MAX_UNPACKED + 1, 9),
    ]
    assert names(members) == [
        "torchvision/image.cpython-312-x86_64-linux-gnu.so",
        "torchvision/copy.so.12",
        "torchvision.libs/libjpeg.d33e0c76.so.8",
    ]


def test_bounds_of_what_is_read() -> None:
    many = [Member(f"{number:03}.so", 10, 10, number) for number in range(100)]
    assert names(many) == [f"{number:03}.so" for number in range(wheel_facts.MAX_MEMBERS)]
    third = wheel_facts.MAX_PACKED // 3
    large = [Member(f"{number}.so", third + number, third, number) for number in range(5)]
    assert names(large) == ["0.so", "1.so"]


def test_one_library_that_links_settles_it() -> None:
    members = [Member(f"x/{name}.so", size, size, size) for size, name in enumerate(["a", "b", "c"], 1)]
    read = []

    def needed(member: Member) -> tuple[str, ...]:
        read.append(member.name)
        return ("libcudart.so.12",) if member.name == "x/b.so" else ("libc.so.6",)

    assert linked_majors(members, needed) == (12,)
    assert read == ["x/a.so", "x/b.so"]


def test_one_library_for_each_release_line() -> None:
    """As in bitsandbytes: one CUDA major alone would be a conflict with torch that does not exist."""
    releases = {"130": 1, "132": 2, "126": 3, "121": 4, "118": 5}
    members = [
        *(Member(f"b/lib_cuda{name}.so", size, size, size) for name, size in releases.items()),
        Member("b/lib_rocm64.so", 9, 9, 9),
    ]
    read = []

    def needed(member: Member) -> tuple[str, ...]:
        read.append(member.name)
        major = member.name[10:12]
        return (f"libcudart.so.{major}.0",) if major.isdigit() else ()

    assert linked_majors(members, needed) == (11, 12, 13)
    assert read == ["b/lib_cuda130.so", "b/lib_cuda126.so", "b/lib_cuda118.so"]


# Files that are fetched as they are read.


@given(
    st.binary(max_size=5000),
    st.integers(0, 5000),
    st.lists(st.tuples(st.integers(0, 5500), st.integers(-1, 3000))),
)
def test_lazy_files_read_like_files(data: bytes, tail: int, reads: list[tuple[int, int]]) -> None:
    tail = min(tail, len(data))
    lazy = LazyFile(lambda start, end: data[start:end], len(data), data[len(data) - tail :])
    plain = io.BytesIO(data)
    for position, size in reads:
        assert lazy.seek(position) == plain.seek(position) == lazy.tell()
        assert lazy.read(size) == plain.read(size)
        assert lazy.tell() == plain.tell()
    assert lazy.seek(0, os.SEEK_END) == len(data)
    assert lazy.seek(-len(data), os.SEEK_CUR) == 0
    with pytest.raises(ValueError, match="before the file"):
        lazy.seek(-1)


def test_lazy_files_read_ahead_ever_more_and_nothing_twice() -> None:
    size = 30 << 20
    asked: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> bytes:
        asked.append((start, end))
        return bytes(end - start)

    lazy = LazyFile(fetch, size, bytes(100))
    while lazy.tell() < size:
        lazy.read(4096)
    assert [end - start for start, end in asked][:4] == [BLOCK, 4 * BLOCK, LAST_BLOCK, LAST_BLOCK]
    assert [start for start, _ in asked] == [0, *(end for _, end in asked[:-1])]
    assert asked[-1][1] == size - 100
    lazy.seek(5)
    lazy.read(20 << 20)
    assert asked[-1][1] == size - 100


def test_lazy_files_refuse_to_fill_the_memory() -> None:
    lazy = LazyFile(lambda _start, _end: b"", 1 << 40)
    with pytest.raises(zipfile.BadZipFile):
        lazy.read(MAX_READ + 1)
    with pytest.raises(zipfile.BadZipFile):
        lazy.read()


# Reading from servers.


@pytest.mark.parametrize("has_ranges", [True, False])
@pytest.mark.parametrize("core_metadata", [True, False])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("padding", [0, 3 << 20])
def test_facts_from_every_kind_of_server(
    bench: Bench, *, has_ranges: bool, core_metadata: bool, compression: int, padding: int
) -> None:
    wheel = vision(padding=padding, compression=compression)
    url = bench.put(wheel, core_metadata=core_metadata)
    if not has_ranges:
        bench.server.drop_ranges()
    assert bench.read(url, wheel.sha256) == WheelFacts(REQUIRES, (13,))
    whole = [
        request for request in bench.server.requests if request.path.endswith(".whl") and not request.range
    ]
    assert len(whole) == (0 if has_ranges else 1)


def test_a_fragment_is_no_part_of_the_address(bench: Bench) -> None:
    for core_metadata in (True, False):
        wheel = vision(12 + core_metadata)
        url = bench.put(wheel, core_metadata=core_metadata)
        facts = bench.read(f"{url}#sha256={SHA}", wheel.sha256)
        assert facts == WheelFacts(REQUIRES, (12 + core_metadata,))


@pytest.mark.parametrize("major", [None, 11, 12, 13])
def test_majors_of_builds(bench: Bench, major: int | None) -> None:
    wheel = vision(major)
    assert bench.read(bench.put(wheel), wheel.sha256).cudart == ((major,) if major else ())


def test_wheels_without_libraries_for_linux(bench: Bench) -> None:
    for wheel in (Wheel("x", "1", "py3-none-any"), compiled_wheel("y", "1", "cp312-cp312-win_amd64", 13)):
        assert bench.read(bench.put(wheel), wheel.sha256) == WheelFacts((), ())


def test_only_parts_of_a_large_wheel_are_fetched(bench: Bench) -> None:
    wheel = vision(padding=8 << 20)
    bench.read(bench.put(wheel, core_metadata=False), wheel.sha256)
    ranges = [request.range for request in bench.server.requests if request.path.endswith(".whl")]
    assert ranges[0] == f"bytes=-{TAIL}"
    assert len(ranges) == 2
    first, last = map(int, re.findall(r"\d+", ranges[1] or ""))
    assert last - first < BLOCK


def test_metadata_is_enough_where_it_is_served(bench: Bench) -> None:
    wheel = vision()
    assert bench.read(bench.put(wheel), wheel.sha256, want_cudart=False) == WheelFacts(REQUIRES, ())
    assert [request.path for request in bench.server.requests] == [f"/torchvision/{wheel.filename}.metadata"]


@pytest.mark.parametrize("status", [403, 404, 405, 410])
def test_servers_without_metadata(bench: Bench, status: int) -> None:
    wheel = vision()
    url = bench.put(wheel)
    bench.server.fail(f"/torchvision/{wheel.filename}.metadata", status)
    assert bench.read(url, wheel.sha256).requires == REQUIRES


def test_page_in_place_of_metadata(bench: Bench) -> None:
    wheel = vision()
    url = bench.put(wheel)
    bench.server.replace(
        f"/torchvision/{wheel.filename}.metadata", b"<html>no such file, but status 200</html>"
    )
    assert bench.read(url, wheel.sha256).requires == REQUIRES


def test_failures_of_the_server(bench: Bench) -> None:
    wheel = vision(padding=1 << 20)
    url = bench.put(wheel)
    path = f"/torchvision/{wheel.filename}"
    spoilers: list[Callable[[], None]] = [
        lambda: bench.server.fail(f"{path}.metadata", 500),
        lambda: bench.server.fail(path, 500),
        lambda: bench.server.fail(path, 404),
        lambda: bench.server.truncate(path, 1000),
    ]
    for spoil in spoilers:
        spoil()
        with pytest.raises(FetchError, match="torchvision"):
            bench.read(url, wheel.sha256)
        assert not (bench.cache / "wheels").exists()
        bench.server.heal()
    bench.server.fail(path, 502, times=2)
    assert bench.read(url, wheel.sha256) == WheelFacts(REQUIRES, (13,))


@pytest.mark.parametrize("status", [416, 501])
def test_servers_that_refuse_ranges(bench: Bench, status: int) -> None:
    wheel = vision()
    url = bench.put(wheel)
    bench.server.drop_ranges()
    bench.server.fail(f"/torchvision/{wheel.filename}", status, times=1)
    assert bench.read(url, wheel.sha256).cudart == (13,)


def test_slow_server(bench: Bench) -> None:
    wheel = vision()
    url = bench.put(wheel)
    bench.server.slow(f"/torchvision/{wheel.filename}", 30)
    with Client(timeout=0.05, pauses=()) as client, pytest.raises(FetchError) as caught:
        read_wheel_facts(url, wheel.sha256, client, None, want_cudart=True)
    assert caught.value.details == ("timed out",)


def test_another_file_than_expected(bench: Bench) -> None:
    wheel = vision()
    url = bench.put(wheel)
    bench.server.drop_ranges()
    bench.server.replace(f"/torchvision/{wheel.filename}", vision(12).data)
    with pytest.raises(FetchError, match="not the file") as caught:
        bench.read(url, wheel.sha256)
    assert caught.value.details == (
        f"expected sha256 {wheel.sha256}",
        f"found sha256 {vision(12).sha256}",
    )
    assert not (bench.cache / "wheels").exists()


class Swapping(Client):
    """A client whose server exchanges the file after the first part of it."""

    def __init__(self, swap: Callable[[], None]) -> None:
        super().__init__(pauses=())
        self.swap = swap

    def get(self, url: str, **options: Any) -> Answer:
        found = super().get(url, **options)
        if "suffix" in options:
            self.swap()
        return found


def test_file_that_changes_while_it_is_read(bench: Bench) -> None:
    wheel = vision(padding=1 << 20)
    url = bench.put(wheel)
    path = f"/torchvision/{wheel.filename}"
    for swap in (lambda: bench.server.replace(path, wheel.data + b"\0"), bench.server.drop_ranges):
        with Swapping(swap) as client, pytest.raises(FetchError, match="changed while"):
            read_wheel_facts(url, wheel.sha256, client, None, want_cudart=True)
        bench.server.heal()


# The cache.


def test_nothing_is_asked_for_twice(bench: Bench) -> None:
    wheel = vision()
    url = bench.put(wheel)
    first = bench.read(url, wheel.sha256, want_cudart=False)
    bench.server.requests.clear()
    assert bench.read(url, wheel.sha256) == WheelFacts(first.requires, (13,))
    assert not [request for request in bench.server.requests if request.path.endswith(".metadata")]
    bench.server.requests.clear()
    assert bench.read(url, wheel.sha256) == WheelFacts(REQUIRES, (13,))
    assert bench.read(url, wheel.sha256, want_cudart=False) == WheelFacts(REQUIRES, ())
    assert bench.server.requests == []
    assert [path.name for path in (bench.cache / "wheels").iterdir()] == [f"{wheel.sha256}.json"]
    document = json.loads((bench.cache / "wheels" / f"{wheel.sha256}.json").read_text())
    assert document == {"schema": 1, "requires": list(REQUIRES), "cudart": [13]}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b'{"schema": 1}', b"[" * 50_000])
def test_spoiled_cache_is_read_anew(bench: Bench, content: bytes) -> None:
    url = bench.put_bytes(vision().data)
    bench.cache_file.parent.mkdir(parents=True)
    bench.cache_file.write_bytes(content)
    assert bench.read(url) == WheelFacts(REQUIRES, (13,))
    assert json.loads(bench.cache_file.read_text())["cudart"] == [13]


def test_cache_that_cannot_be_used(bench: Bench) -> None:
    url = bench.put_bytes(vision().data)
    bench.cache.write_text("a file where the folder should be")
    assert bench.read(url) == WheelFacts(REQUIRES, (13,))
    bench.cache.unlink()
    bench.cache_file.mkdir(parents=True)
    assert bench.read(url) == WheelFacts(REQUIRES, (13,))
    assert list(bench.cache_file.parent.iterdir()) == [bench.cache_file]


@pytest.mark.parametrize("sha256", ["", "../../x", "0" * 63, "0" * 65, "A" * 64, "0" * 64 + "\n"])
def test_malformed_hashes_become_no_path(bench: Bench, sha256: str) -> None:
    for cache in (None, bench.cache):
        with pytest.raises(ValueError, match="sha256"):
            read_wheel_facts(f"{bench.server.url}/x", sha256, bench.client, cache, want_cudart=False)
    assert bench.server.requests == []


# Hostile files.


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, content in members:
            target.writestr(name, content)
    return buffer.getvalue()


MEMBERS = (("x/_C.so", elf_library(["libcudart.so.13"])), ("x-1.dist-info/METADATA", METADATA))
GOOD = archive(*MEMBERS)


def in_directory(data: bytes, name: str, at: int, code: str, value: int) -> bytes:
    """Overwrite a field of a member's entry in the directory (APPNOTE.TXT 4.3.12)."""
    copy = bytearray(data)
    struct.pack_into(code, copy, data.rindex(name.encode()) - 46 + at, value)
    return bytes(copy)


def at_end(data: bytes, at: int, code: str, value: int) -> bytes:
    """Overwrite a field of the record that ends the archive (4.3.16)."""
    copy = bytearray(data)
    struct.pack_into(code, copy, len(data) - 22 + at, value)
    return bytes(copy)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        GOOD[:-30],
        GOOD[40:],
        b"PK\5\6" + bytes(18),
        archive(("x/_C.so", b"")),
        archive(("x-1.dist-info/METADATA", METADATA), ("y-1.dist-info/METADATA", METADATA)),
        archive(("x-1.dist-info/METADATA", METADATA), ("x-2.dist-info/METADATA", METADATA)).replace(
            b"x-2", b"x-1"
        ),
        archive(("../x-1.dist-info/METADATA", METADATA)),
        archive(("x-1.dist-info/METADATA", b"<html>")),
        archive(("x-1.dist-info/METADATA", METADATA + bytes(5 << 20))),
        archive(*MEMBERS, compression=zipfile.ZIP_LZMA),
        archive(*MEMBERS, compression=zipfile.ZIP_BZIP2),
        at_end(GOOD, 12, "<I", 0xFFFFFFF0),
        at_end(GOOD, 16, "<I", 0xFFFFFFF0),
        in_directory(GOOD, "x-1.dist-info/METADATA", 8, "<H", 1),
        in_directory(GOOD, "x-1.dist-info/METADATA", 6, "<H", 999),
        in_directory(GOOD, "x-1.dist-info/METADATA", 24, "<I", 3 << 20),
        in_directory(GOOD, "x-1.dist-info/METADATA", 24, "<I", 0xFFFFFFFE),
        in_directory(GOOD, "x-1.dist-info/METADATA", 24, "<I", 5),
        in_directory(GOOD, "x-1.dist-info/METADATA", 20, "<I", 5),
        in_directory(GOOD, "x-1.dist-info/METADATA", 42, "<I", 0xFFFFFFF0),
        in_directory(GOOD, "x-1.dist-info/METADATA", 42, "<I", 0),
        in_directory(GOOD, "x-1.dist-info/METADATA", 16, "<I", 0),
        in_directory(GOOD, "x-1.dist-info/METADATA", 28, "<H", 3),
        in_directory(GOOD, "x/_C.so", 20, "<I", 3),
        GOOD.replace(b"PK\1\2", b"PK\1\3"),
    ],
)
@pytest.mark.parametrize("has_ranges", [True, False])
def test_files_that_are_no_wheels(bench: Bench, data: bytes, *, has_ranges: bool) -> None:
    if not has_ranges:
        bench.server.drop_ranges()
    url = bench.put_bytes(data)
    before = sorted(bench.folder.parent.rglob("*"))
    with pytest.raises(FetchError, match=re.escape("x-1-py3-none-any.whl")) as caught:
        bench.read(url, hashlib.sha256(data).hexdigest())
    assert "not a wheel that can be read" in caught.value.message
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert sorted(bench.folder.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "data",
    [
        archive(("x/_C.so", b"MZ"), *MEMBERS[1:]),
        archive(("x/_C.so", b"/* GNU ld script */"), *MEMBERS[1:]),
        archive(("x/_C.so", MEMBERS[0][1][:200]), *MEMBERS[1:]),
        archive(("x/_C.so", MEMBERS[0][1][:16] + b"\xff" * 500), *MEMBERS[1:]),
        in_directory(GOOD, "x/_C.so", 24, "<I", 0xFFFFFFFE),
        in_directory(GOOD, "x/_C.so", 20, "<I", 0xFFFFFFFE),
        in_directory(GOOD, "x/_C.so", 10, "<H", zipfile.ZIP_LZMA),
    ],
)
def test_libraries_that_are_none_link_nothing(bench: Bench, data: bytes) -> None:
    assert bench.read(bench.put_bytes(data)) == WheelFacts(("a",), ())


def test_libraries_that_unpack_to_gigabytes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive(("x/_C.so", MEMBERS[0][1][:16] + bytes(20 << 20)), *MEMBERS[1:])
    # The directory says it is small; what comes out of it counts.
    liar = in_directory(bomb, "x/_C.so", 24, "<I", 1 << 20)
    asked: list[int] = []
    read = zipfile.ZipExtFile.read

    def spy(self: zipfile.ZipExtFile, size: int) -> bytes:
        asked.extend([size] if self.name == "x/_C.so" else [])
        return read(self, size)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", spy)
    monkeypatch.setattr(wheel_facts, "MAX_UNPACKED", 10 << 20)
    assert bench.read(bench.put_bytes(bomb)) == WheelFacts(("a",), ())
    assert asked == []
    bench.cache_file.unlink()
    with pytest.raises(FetchError, match="is not a wheel that can be read"):
        bench.read(bench.put_bytes(liar))
    assert asked == [1 << 20]


def test_zip64(bench: Bench) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in MEMBERS:
            with target.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert bench.read(bench.put_bytes(buffer.getvalue())) == WheelFacts(("a",), (13,))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_altered_wheels_are_read_or_refused(bench: Bench, changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    try:
        facts = read_wheel_facts(bench.put_bytes(bytes(data)), SHA, bench.client, None, want_cudart=True)
    except FetchError:
        return
    assert all(0 <= major < 1000 for major in facts.cudart)


# Real ones.

REAL = {
    "torchvision==0.29.2": 13,
    "torchvision==0.25.0": 12,
    "torchaudio==2.11.0": 13,
    "torchaudio==2.9.1": 12,
    "xformers==0.0.35": 12,
}


def file_on_default_index(requirement: str, folder: Path) -> tuple[str, str]:
    """Return address and hash of the wheel for Linux that uv chooses on its own default index."""
    config = folder / "uv.toml"
    config.write_text("")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_", "PYTHON"))
    } | {"UV_CONFIG_FILE": str(config), "UV_CACHE_DIR": str(folder / "uv"), "UV_PYTHON_DOWNLOADS": "never"}
    (folder / "requirements.in").write_text(requirement)
    options = "--format pylock.toml --only-binary :all: --no-deps -q --python-version 3.12"
    text = subprocess.run(
        [
            find_uv_bin(),
            *("pip", "compile", *options.split(), "--python-platform", "x86_64-manylinux_2_28"),
            "requirements.in",
        ],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    (wheel,) = tomllib.loads(text)["packages"][0]["wheels"]
    return wheel["url"], wheel["hashes"]["sha256"]


@pytest.mark.online
@pytest.mark.parametrize("requirement", REAL)
def test_real_wheels(tmp_path: Path, requirement: str) -> None:
    url, sha256 = file_on_default_index(requirement, tmp_path)
    with Client() as client:
        facts = read_wheel_facts(url, sha256, client, tmp_path, want_cudart=True)
    assert facts.cudart == (REAL[requirement],)
    # torchaudio 2.11.0 says nothing about the torch that it needs.
    has_torch = any(re.match(r"torch\b", text) for text in facts.requires)
    assert has_torch == (requirement != "torchaudio==2.11.0")
    port_that_nobody_opens = "http://127.0.0.1:1/x.whl"
    with Client(pauses=()) as client:
        assert read_wheel_facts(port_that_nobody_opens, sha256, client, tmp_path, want_cudart=True) == facts
