"""DT_NEEDED: libraries made for tests, hostile ones, and those that this Python runs with."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaenv.lock.elf import MAX_DYNAMIC, MAX_NAME, Read, needed
from tests.support.wheels import elf_library

READELF = shutil.which("readelf")
NEEDED = ("libcudart.so.13", "libc10_cuda.so", "libc.so.6")
LIBRARY = elf_library(NEEDED, soname="lib_C.so")
# Where the 64-bit header keeps what the tests overwrite.
TYPE, SEGMENTS_AT, SEGMENT_SIZE, SEGMENT_COUNT = 16, 32, 54, 56
FIRST_SEGMENT, SECOND_SEGMENT = 64, 120


def reader(image: bytes) -> Read:
    return lambda offset, size: image[offset : offset + size]


def libraries_of_this_python() -> list[Path]:
    modules = Path(sysconfig.get_config_var("DESTSHARED") or ".")
    found = {path.resolve() for path in modules.glob("*.so")}
    maps = Path("/proc/self/maps")
    if maps.exists():
        loaded = re.findall(r"(/\S+\.so(?:\.\d+)*)$", maps.read_text(), re.MULTILINE)
        found |= {Path(path).resolve() for path in loaded if Path(path).exists()}
    return sorted(found)


def apart(names: Sequence[str], *, gap: int, shift: int) -> bytes:
    """A library as patchelf leaves it: the names behind everything else, loaded `shift` bytes farther up."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    dynamic_at = 64 + 3 * 56
    offsets = [strings.index(name.encode() + b"\0") for name in names]
    entries = [(1, offset) for offset in offsets]
    strings_at = dynamic_at + (len(entries) + 3) * 16 + gap
    entries += [(5, strings_at + shift), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    end = dynamic_at + len(dynamic)
    segments = [
        (1, 4, 0, 0, 0, end, end, 4096),
        (1, 6, strings_at, strings_at + shift, 0, len(strings), len(strings), 4096),
        (2, 6, dynamic_at, dynamic_at, 0, len(dynamic), len(dynamic), 8),
    ]
    table = b"".join(struct.pack("<IIQQQQQQ", *segment) for segment in segments)
    return header + table + dynamic + bytes(gap) + strings


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_names_in_their_order(machine: str) -> None:
    assert needed(reader(elf_library(NEEDED, soname="lib_C.so", machine=machine))) == NEEDED


def test_library_that_needs_nothing() -> None:
    assert needed(reader(elf_library([]))) == ()


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
    )
)
def test_any_names(names: list[str]) -> None:
    assert needed(reader(elf_library(names))) == tuple(names)


@pytest.mark.parametrize("shift", [0, 0x1000, 0x200000])
def test_string_table_at_the_end_loaded_elsewhere(shift: int) -> None:
    assert needed(reader(apart(NEEDED, gap=5000, shift=shift))) == NEEDED


def test_little_of_a_large_library_is_read() -> None:
    image = apart(NEEDED, gap=50 << 20, shift=0x1000)
    sizes = []

    def read(offset: int, size: int) -> bytes:
        sizes.append(size)
        return image[offset : offset + size]

    assert needed(read) == NEEDED
    assert sum(sizes) < 20_000


def test_every_truncation_is_an_error_until_nothing_needed_is_missing() -> None:
    outcomes = []
    for size in range(len(LIBRARY)):
        try:
            outcomes.append(needed(reader(LIBRARY[:size])) == NEEDED)
        except ValueError:
            outcomes.append(False)
    assert outcomes == sorted(outcomes)
    assert True in outcomes


def overwritten(at: int, code: str, value: int, image: bytes = LIBRARY) -> bytes:
    copy = bytearray(image)
    struct.pack_into(code, copy, at, value)
    return bytes(copy)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (b"", "ends"),
        (b"MZ" + LIBRARY[2:], "not a 64-bit"),
        (overwritten(4, "B", 1), "not a 64-bit"),
        (overwritten(5, "B", 2), "not a 64-bit"),
        (overwritten(TYPE, "<H", 2), "shared object"),
        (overwritten(TYPE, "<H", 1), "shared object"),
        (overwritten(SEGMENT_SIZE, "<H", 55), "program headers"),
        (overwritten(SEGMENT_COUNT, "<H", 0xFFFF), "program headers"),
        (overwritten(SEGMENT_COUNT, "<H", 0), "dynamic sections"),
        (overwritten(SEGMENTS_AT, "<Q", 2**64 - 1), "no byte"),
        (overwritten(SEGMENTS_AT, "<Q", 2**62), "ends"),
        (overwritten(FIRST_SEGMENT, "<I", 2), "2 dynamic sections"),
        (overwritten(FIRST_SEGMENT, "<I", 7), "string table"),
        (overwritten(FIRST_SEGMENT + 32, "<Q", 10), "string table"),
        (overwritten(SECOND_SEGMENT + 8, "<Q", 2**64 - 16), "no byte"),
        (overwritten(SECOND_SEGMENT + 32, "<Q", MAX_DYNAMIC + 16), "dynamic section of"),
        (overwritten(SECOND_SEGMENT + 32, "<Q", 2**64 - 1), "dynamic section of"),
        (overwritten(SECOND_SEGMENT + 32, "<Q", 17), "dynamic section of"),
        (overwritten(SECOND_SEGMENT + 32, "<Q", 16), "no end"),
        (apart(("lib" + "x" * MAX_NAME,), gap=0, shift=0), "a name has no end"),
        (apart(("liba.so",), gap=0, shift=0)[:-1] + b"o", "a name has no end"),
        (overwritten(64 + 3 * 56 + 8, "<Q", 10_000, apart(("a",), gap=0, shift=0)), "outside"),
        (apart(("liba.so",), gap=0, shift=0).replace(b"liba", b"\xff\xfeba"), "utf-8"),
    ],
)
def test_malformed_libraries(image: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        needed(reader(image))


def outcome(image: bytes) -> tuple[str, ...] | None:
    """The names, None for a ValueError; anything else fails the test that asks."""
    try:
        return needed(reader(image))
    except ValueError:
        return None


@given(st.binary(max_size=400))
def test_noise_is_refused(noise: bytes) -> None:
    assert outcome(noise) is None
    outcome(LIBRARY[:16] + noise)
    outcome(LIBRARY[:64] + noise)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(LIBRARY) - 8),
            st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])),
        ),
        max_size=6,
    )
)
def test_altered_libraries_raise_nothing_else(changes: list[tuple[int, int]]) -> None:
    image = LIBRARY
    for at, value in changes:
        image = overwritten(at, "<Q", value, image)
    outcome(image)


def test_what_the_reader_raises_passes_through() -> None:
    def read(offset: int, size: int) -> bytes:
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        needed(read)


@pytest.mark.skipif(READELF is None, reason="needs readelf")
def test_libraries_of_this_python_as_readelf_reads_them() -> None:
    paths = libraries_of_this_python()
    for path in paths:
        text = subprocess.run(
            [READELF or "", "-dW", str(path)], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
        ).stdout
        expected = re.findall(r"\(NEEDED\)\s+Shared library: \[(.*)\]", text)
        assert list(needed(reader(path.read_bytes()))) == expected, path
    assert paths or not Path("/proc/self/maps").exists()
