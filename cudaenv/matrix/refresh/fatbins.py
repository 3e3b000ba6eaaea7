"""Fat binaries, in which nvcc lays the code of a file for several architectures into a library.

What `fatbinary` writes begins with a magic number, the version 1, the size of this header and that of all
entries. An entry begins with its kind (1 is PTX, 2 machine code), the sizes of its header and its content;
the capability follows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cudaenv.model.versions import ComputeCapability

_MAGIC = b"\x50\xed\x55\xba\x01\x00\x10\x00"
_HEADER = 16
_ENTRY = struct.Struct("<H2xIQ12xI")
_MACHINE_CODE = 2


def machine_code(library: bytes) -> Iterator[frozenset[ComputeCapability]]:
    """Yield for each fat binary in a library the capabilities that it has machine code for.

    ValueError if one is cut off, or names no compute capability.
    """
    return (frozenset(_capabilities(entries)) for entries in _fatbins(library))


def _fatbins(library: bytes) -> Iterator[bytes]:
    """Yield the entries of each fat binary in a library."""
    end = 0
    while (start := library.find(_MAGIC, end)) >= 0:
        begin = start + _HEADER
        end = begin + int.from_bytes(library[start + len(_MAGIC) : begin], "little")
        if end > len(library):
            raise ValueError("a fat binary is cut off")
        yield library[begin:end]


def _capabilities(entries: bytes) -> Iterator[ComputeCapability]:
    at = 0
    while at + _ENTRY.size <= len(entries):
        kind, header, content, capability = _ENTRY.unpack_from(entries, at)
        if kind == _MACHINE_CODE:
            yield ComputeCapability.parse(f"sm_{capability}")
        at += max(header + content, _ENTRY.size)
