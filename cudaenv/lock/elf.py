"""ELF shared objects: which other libraries one asks the loader for.

https://gabi.xinuos.com/elf/02-eheader.html, https://gabi.xinuos.com/elf/08-dynamic.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

# `read(offset, size)`: the bytes of the file from `offset` on, fewer than `size` where it ends.
Read = Callable[[int, int], bytes]

MAX_SEGMENTS = 1024
MAX_DYNAMIC = 1 << 20  # bytes: 65,536 entries; real libraries have some dozens
MAX_NAME = 4096  # bytes: PATH_MAX on Linux

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<qQ")
# Class 64-bit, data little-endian, version 1.
_IDENT = b"\x7fELF\x02\x01\x01"
_ET_DYN = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 0, 1, 5, 10


class _Segment(NamedTuple):
    kind: int
    flags: int
    offset: int
    address: int
    physical_address: int
    size: int
    memory_size: int
    alignment: int


def needed(read: Read) -> tuple[str, ...]:
    """Return the DT_NEEDED names of a 64-bit little-endian shared object, in the file's order.

    Only headers, the dynamic section and the names themselves are read: some kilobytes, wherever
    they lie. ValueError for anything else or anything malformed; what `read` raises passes through.
    """
    segments = list(_segments(read))
    entries = list(_dynamic_entries(read, segments))
    names = [value for tag, value in entries if tag == _DT_NEEDED]
    if not names:
        return ()
    address, size = _only(entries, _DT_STRTAB), _only(entries, _DT_STRSZ)
    start = _file_offset(segments, address, size)
    return tuple(_string(read, start, size, at) for at in names)


def _segments(read: Read) -> Iterator[_Segment]:
    fields = _HEADER.unpack(_exactly(read, 0, _HEADER.size))
    ident, kind, offset, size, count = fields[0], fields[1], fields[5], fields[9], fields[10]
    if not ident.startswith(_IDENT):
        raise ValueError("not a 64-bit little-endian ELF file")
    if kind != _ET_DYN:
        raise ValueError("not a shared object")
    if size != _SEGMENT.size or count > MAX_SEGMENTS:
        raise ValueError(f"{count} program headers of {size} bytes")
    table = _exactly(read, offset, count * size)
    return (_Segment(*values) for values in _SEGMENT.iter_unpack(table))


def _dynamic_entries(read: Read, segments: list[_Segment]) -> Iterator[tuple[int, int]]:
    """Yield tag and value of each entry up to the null entry, which ends the section."""
    found = [segment for segment in segments if segment.kind == _PT_DYNAMIC]
    if len(found) != 1:
        raise ValueError(f"{len(found)} dynamic sections")
    size = found[0].size
    if size > MAX_DYNAMIC or size % _ENTRY.size:
        raise ValueError(f"a dynamic section of {size} bytes")
    for tag, value in _ENTRY.iter_unpack(_exactly(read, found[0].offset, size)):
        if tag == _DT_NULL:
            return
        yield tag, value
    raise ValueError("the dynamic section has no end")


def _only(entries: list[tuple[int, int]], tag: int) -> int:
    values = [value for own, value in entries if own == tag]
    if len(values) != 1:
        raise ValueError(f"{len(values)} dynamic entries with tag {tag}")
    return values[0]


def _file_offset(segments: list[_Segment], address: int, size: int) -> int:
    """Return where the file has what is loaded to `address`; the entries hold addresses, not offsets."""
    for segment in segments:
        if segment.kind == _PT_LOAD and segment.address <= address:
            inside = address - segment.address
            if inside + size <= segment.size:
                return segment.offset + inside
    raise ValueError("the string table is not in the file")


def _string(read: Read, start: int, size: int, at: int) -> str:
    if at >= size:
        raise ValueError("a name lies outside the string table")
    name, end, _ = _bounded(read, start + at, min(size - at, MAX_NAME)).partition(b"\0")
    if not end:
        raise ValueError("a name has no end")
    return name.decode()


def _exactly(read: Read, offset: int, size: int) -> bytes:
    found = _bounded(read, offset, size)
    if len(found) != size:
        raise ValueError(f"the file ends before byte {offset + size}")
    return found


def _bounded(read: Read, offset: int, size: int) -> bytes:
    # No file is larger than what a signed 64-bit offset reaches, and no `seek` takes more.
    if offset + size >= 1 << 63:
        raise ValueError(f"there is no byte {offset}")
    return read(offset, size)
