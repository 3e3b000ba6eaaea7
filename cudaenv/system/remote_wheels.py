"""Wheels that are read where they lie: a few kilobytes of each, or a checked copy where that cannot be."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, BinaryIO

from cudaenv.errors import FetchError
from cudaenv.lock.elf import needed
from cudaenv.system.addresses import printable, shown
from cudaenv.system.http import Client

# `fetch(start, end)`: the bytes from `start` up to but not including `end`.
Parts = Callable[[int, int], bytes]

# Directory, METADATA and RECORD of most wheels are in this many bytes at the end.
TAIL = 128 << 10
# A read elsewhere fetches this much; when reading goes on where it ended, four times as much, up to the last.
BLOCK, LAST_BLOCK = 256 << 10, 4 << 20
MAX_KEPT = 64 << 20  # bytes of one file that are kept besides its tail
MAX_READ = 32 << 20  # bytes in one piece: a directory of some 300,000 members
MAX_WHEEL = 4 << 30  # bytes; only fetched whole where the server does not serve parts

# Ranges not satisfiable, not implemented.
NO_RANGES = {416, 501}
# What `zipfile` raises on files that are none, and on features that wheels do not use (encryption).
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
    struct.error,
)
# Others (bzip2, LZMA) are unpacked by `zipfile` without a bound.
COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_CHUNK = 1 << 20
_MAX_PAGES = 32  # pieces of a library that are kept while its names are read; real ones need a few


@contextlib.contextmanager
def readable(url: str) -> Iterator[None]:
    """Turn what `zipfile` raises on files that are no wheels into a FetchError that names the address."""
    try:
        yield
    except _ZIP_ERRORS as error:
        text = str(error) or type(error).__name__
        raise FetchError(
            f"`{shown(url)}` is not a wheel that can be read", [ascii(text)[1:-1][:300]]
        ) from error


@contextlib.contextmanager
def open_archive(url: str, sha256: str, client: Client) -> Iterator[zipfile.ZipFile]:
    """Open the wheel where it is, or a temporary copy where its server does not serve parts.

    A copy has to have the hash, unless that is empty: not known. Parts cannot be checked against it.
    """
    with contextlib.ExitStack() as stack:
        tail = client.get(url, suffix=TAIL, limit=TAIL, allow=NO_RANGES)
        if tail.status == 206 and tail.total is not None:
            file = LazyFile(_remote_parts(url, tail.total, client), tail.total, tail.body)
        else:
            copy = stack.enter_context(tempfile.TemporaryFile())
            download(url, sha256, client, copy)
            file = LazyFile(_local_parts(copy), copy.seek(0, os.SEEK_END))
        with readable(url):
            archive = stack.enter_context(zipfile.ZipFile(file))
        yield archive


def download(url: str, sha256: str, client: Client, copy: BinaryIO) -> None:
    """Fetch all of a wheel; FetchError where it has another hash, unless that is empty: not known."""
    found = client.download(url, copy, limit=MAX_WHEEL)
    if sha256 and found != sha256:
        raise FetchError(
            f"`{shown(url)}` is not the file that it should be",
            [f"expected sha256 {sha256}", f"found sha256 {found}"],
            "the index or something on the way to it gave another file; nothing of it was used",
        )


def _remote_parts(url: str, total: int, client: Client) -> Parts:
    def fetch(start: int, end: int) -> bytes:
        answer = client.get(url, start=start, end=end, limit=end - start)
        if answer.status != 206 or answer.total != total:
            raise FetchError(f"`{shown(url)}` changed while it was read")
        return answer.body

    return fetch


def _local_parts(copy: BinaryIO) -> Parts:
    def fetch(start: int, end: int) -> bytes:
        copy.seek(start)
        return copy.read(end - start)

    return fetch


class LazyFile:
    """A file that is fetched in blocks as it is read: what `zipfile` needs of a file to read one.

    `fetch` returns exactly the bytes from a start up to but not including an end; `tail` are the last ones,
    if they are here already. No single read returns more than MAX_READ bytes: directories state their size.
    Of what was read, the last MAX_KEPT bytes are kept.
    """

    def __init__(self, fetch: Parts, size: int, tail: bytes = b"") -> None:
        self._fetch = fetch
        self._size = size
        self._tail = size - len(tail)
        self._blocks = {self._tail: tail}
        self._position = 0
        self._fetched_to, self._step = -1, BLOCK

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, which may lie behind the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the file")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer at the end; all that is left by default."""
        end = self._size if size < 0 else min(self._position + size, self._size)
        if end - self._position > MAX_READ:
            raise zipfile.BadZipFile(f"a part of {end - self._position} bytes")
        pieces = []
        while self._position < end:
            pieces.append(self._piece(end))
            self._position += len(pieces[-1])
        return b"".join(pieces)

    def _piece(self, end: int) -> bytes:
        """Return bytes from the position on, not beyond `end`, at least one."""
        at = self._position
        for start, block in self._blocks.items():
            if start <= at < start + len(block):
                return block[at - start : end - start]
        self._step = min(self._step * 4, LAST_BLOCK) if at == self._fetched_to else BLOCK
        later = (start for start in self._blocks if start > at)
        stop = min(max(at + self._step, end), self._size, *later)
        block = self._blocks[at] = self._fetch(at, stop)
        self._fetched_to = stop
        self._forget()
        return block[: end - at]

    def _forget(self) -> None:
        """Drop the oldest blocks where there are too many."""
        kept = sum(map(len, self._blocks.values()))
        for start in [start for start in self._blocks if start != self._tail]:
            if kept <= MAX_KEPT:
                return
            kept -= len(self._blocks.pop(start))


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """Open a member whose unpacking can be bounded; ValueError for others."""
    if info.compress_type not in COMPRESSIONS:
        raise ValueError(f"a member is compressed by method {info.compress_type}")
    return archive.open(info)


class RemoteWheel:
    """A wheel that is read where it lies, see `cudaenv.matrix.refresh.artefacts.Wheel`.

    FetchError where the archive itself is damaged, so that nobody takes that for a missing member.
    """

    def __init__(self, url: str, archive: zipfile.ZipFile) -> None:
        """ValueError for an archive that has a name twice: tools differ in which one they take."""
        self._url = url
        self._archive = archive
        members = [info for info in archive.infolist() if not info.is_dir()]
        self._members = {info.filename: info for info in members}
        if len(self._members) < len(members):
            raise ValueError(f"{len(members) - len(self._members)} members have the names of others")
        self._sizes = {name: info.file_size for name, info in self._members.items()}

    @property
    def sizes(self) -> Mapping[str, int]:
        """The unpacked size of each member in bytes, by name, in the order of the archive."""
        return self._sizes

    def read(self, name: str, limit: int) -> bytes:
        """All of a member. ValueError where there is none, or it is larger than `limit` bytes."""
        size = self._member(name).file_size
        if size > limit:
            raise ValueError(f"{_shown(name)} has {size} bytes, expected are at most {limit}")
        return self._start(name, size)

    def _start(self, name: str, size: int) -> bytes:
        """The first `size` bytes of a member, all of a smaller one."""
        info = self._member(name)
        wanted = min(size, info.file_size)
        with readable(self._url), open_member(self._archive, info) as stream:
            found = stream.read(wanted)
            if len(found) != wanted:
                raise ValueError(f"{_shown(name)} is shorter than the directory says")
        return found

    def needed(self, name: str) -> tuple[str, ...]:
        """The libraries that an ELF member asks the loader for; empty for what is no shared object.

        ValueError where there is no such member, or it is a shared object that cannot be read.
        """
        head = self._start(name, _ELF_HEAD.size)
        if len(head) < _ELF_HEAD.size or _ELF_HEAD.unpack(head) != _SHARED_OBJECT:
            return ()
        info = self._member(name)
        try:
            with readable(self._url), open_member(self._archive, info) as stream:
                return needed_libraries(stream, info.file_size)
        except MalformedError as error:
            raise ValueError(f"{_shown(name)}: {error}") from error

    def _member(self, name: str) -> zipfile.ZipInfo:
        info = self._members.get(name)
        if info is None:
            raise ValueError(f"there is no member {_shown(name)}")
        return info


# Magic, class 64-bit, data little-endian, version 1; the type after the rest of the identification.
_ELF_HEAD = struct.Struct("<7s9xH")
_SHARED_OBJECT = (b"\x7fELF\x02\x01\x01", 3)


class MalformedError(Exception):
    """A shared object is not as it should be, whereas its archive is."""


def needed_libraries(stream: IO[bytes], size: int) -> tuple[str, ...]:
    """The libraries that the opened member of that size asks the loader for.

    MalformedError for what is no shared object that can be read within the bounds of this module.
    """
    pages: dict[int, bytes] = {}

    def page(number: int) -> bytes:
        """A piece of the member; what was skipped on the way to it is unpacked, but not kept."""
        if len(pages) == _MAX_PAGES:
            raise ValueError("what the loader reads of it is scattered all over it")
        if number not in pages:
            stream.seek(number * _CHUNK)
            pages[number] = stream.read(_CHUNK)
        return pages[number]

    def read(offset: int, length: int) -> bytes:
        end = min(offset + length, size)
        numbers = range(offset // _CHUNK, -(-end // _CHUNK))
        found = b"".join(page(number) for number in numbers)
        return found[offset % _CHUNK :][: max(end - offset, 0)]

    try:
        return needed(read)
    except ValueError as error:
        raise MalformedError(str(error)) from error


def _shown(name: str) -> str:
    return f"`{printable(name)[:200]}`"
