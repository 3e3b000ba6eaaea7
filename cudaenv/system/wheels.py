"""Facts about remote wheels, read from a few kilobytes of each and remembered on disk."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import urlsplit

from cudaenv.errors import FetchError
from cudaenv.lock.elf import needed
from cudaenv.lock.wheel_facts import Member, Remembered, WheelFacts, linked_majors, parse_requires
from cudaenv.system.addresses import shown
from cudaenv.system.http import Client

# `fetch(start, end)`: the bytes from `start` up to but not including `end`.
Parts = Callable[[int, int], bytes]

# Directory, METADATA and RECORD of most wheels are in this many bytes at the end.
TAIL = 128 << 10
# A read elsewhere fetches this much; when reading goes on where it ended, four times as much, up to the last.
BLOCK, LAST_BLOCK = 256 << 10, 4 << 20
MAX_READ = 32 << 20  # bytes in one piece: a directory of some 300,000 members
MAX_METADATA = 4 << 20
MAX_WHEEL = 4 << 30  # bytes; only fetched whole where the server does not serve parts
MAX_CACHE_FILE = 16 << 20

# What storage servers say of files that they do not have, besides 404.
_NO_METADATA = {403, 404, 405, 410}
# Ranges not satisfiable, not implemented.
_NO_RANGES = {416, 501}
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
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_CHUNK = 1 << 20


def read_wheel_facts(
    url: str, sha256: str, client: Client, cache: Path | None, *, want_cudart: bool
) -> WheelFacts:
    """Return requirements and linked CUDA majors of the wheel at `url`, which has this `sha256`.

    The requirements come from the `.metadata` file beside the wheel (https://peps.python.org/pep-0658/),
    else from a read of the wheel's tail, else from the whole file, which then has to have that hash. Parts
    of a file cannot be checked against its hash: who installs the wheel does that. `cudart` is empty if
    it is not wanted. What was read is kept below `cache`, and nothing is asked for twice.

    FetchError where the wheel or its server is not as it should be, ValueError for a malformed hash.
    """
    remembered = _recall(cache, sha256)
    if remembered.requires is None or (want_cudart and remembered.cudart is None):
        remembered = _read(remembered, url, sha256, client, want_cudart=want_cudart)
        _remember(cache, sha256, remembered)
    return WheelFacts(remembered.requires or (), (remembered.cudart or ()) if want_cudart else ())


def _read(known: Remembered, url: str, sha256: str, client: Client, *, want_cudart: bool) -> Remembered:
    requires, cudart = known.requires, known.cudart
    if requires is None:
        requires = _published_requires(url, client)
    with contextlib.ExitStack() as stack:
        if requires is None or (want_cudart and cudart is None):
            archive = stack.enter_context(_archive(url, sha256, client))
            with _readable(url):
                requires = _archived_requires(archive) if requires is None else requires
                if want_cudart and cudart is None:
                    cudart = _archived_cudart(archive)
    return Remembered(requires, cudart)


def _published_requires(url: str, client: Client) -> tuple[str, ...] | None:
    parts = urlsplit(url)
    beside = parts._replace(path=f"{parts.path}.metadata").geturl()
    answer = client.get(beside, limit=MAX_METADATA, allow=_NO_METADATA)
    if answer.status != 200:
        return None
    try:
        return parse_requires(answer.body)
    except ValueError:
        return None  # a page that says "not found" with status 200


@contextlib.contextmanager
def _readable(url: str) -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        text = str(error) or type(error).__name__
        raise FetchError(
            f"`{shown(url)}` is not a wheel that can be read", [ascii(text)[1:-1][:300]]
        ) from error


@contextlib.contextmanager
def _archive(url: str, sha256: str, client: Client) -> Iterator[zipfile.ZipFile]:
    """Open the wheel where it is, or a temporary copy where its server does not serve parts."""
    with contextlib.ExitStack() as stack:
        tail = client.get(url, suffix=TAIL, limit=TAIL, allow=_NO_RANGES)
        if tail.status == 206 and tail.total is not None:
            file = LazyFile(_remote_parts(url, tail.total, client), tail.total, tail.body)
        else:
            copy = stack.enter_context(tempfile.TemporaryFile())
            file = _downloaded(url, sha256, client, copy)
        with _readable(url):
            archive = stack.enter_context(zipfile.ZipFile(file))
        yield archive


def _remote_parts(url: str, total: int, client: Client) -> Parts:
    def fetch(start: int, end: int) -> bytes:
        answer = client.get(url, start=start, end=end, limit=end - start)
        if answer.status != 206 or answer.total != total:
            raise FetchError(f"`{shown(url)}` changed while it was read")
        return answer.body

    return fetch


def _downloaded(url: str, sha256: str, client: Client, copy: BinaryIO) -> LazyFile:
    found = client.download(url, copy, limit=MAX_WHEEL)
    if found != sha256:
        raise FetchError(
            f"`{shown(url)}` is not the file that it should be",
            [f"expected sha256 {sha256}", f"found sha256 {found}"],
            "the index or something on the way to it gave another file; nothing of it was used",
        )

    def fetch(start: int, end: int) -> bytes:
        copy.seek(start)
        return copy.read(end - start)

    return LazyFile(fetch, copy.seek(0, os.SEEK_END))


class LazyFile:
    """A file that is fetched in blocks as it is read: what `zipfile` needs of a file to read one.

    `fetch` returns exactly the bytes from a start up to but not including an end; `tail` are the last ones,
    if they are here already. No single read returns more than MAX_READ bytes: directories state their size.
    """

    def __init__(self, fetch: Parts, size: int, tail: bytes = b"") -> None:
        self._fetch = fetch
        self._size = size
        self._blocks = {size - len(tail): tail}
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
        self._blocks[at] = self._fetch(at, stop)
        self._fetched_to = stop
        return self._blocks[at][: end - at]


def _archived_requires(archive: zipfile.ZipFile) -> tuple[str, ...]:
    found = [info for info in archive.infolist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", info.filename)]
    if len(found) != 1 or found[0].file_size > MAX_METADATA:
        raise ValueError(f"{len(found)} METADATA files of at most {MAX_METADATA} bytes")
    with _opened(archive, found[0]) as member:
        text = member.read(found[0].file_size)
    if len(text) != found[0].file_size:
        raise ValueError("METADATA is shorter than the directory says")
    return parse_requires(text)


def _archived_cudart(archive: zipfile.ZipFile) -> tuple[int, ...]:
    infos = {_member(info): info for info in archive.infolist() if info.compress_type in _COMPRESSIONS}

    def needed_by(member: Member) -> tuple[str, ...]:
        with _opened(archive, infos[member]) as stream:
            try:
                return needed(_Unpacked(stream, member.unpacked).read)
            except ValueError:
                return ()  # a linker script, a library for another kind of machine, a stub

    return linked_majors(infos, needed_by)


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(info.filename, info.compress_size, info.file_size, info.CRC)


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.compress_type not in _COMPRESSIONS:
        raise ValueError(f"a member is compressed by method {info.compress_type}")
    return archive.open(info)


class _Unpacked:
    """A member of known size, unpacked as far as somebody reads: deflate has no way to skip."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._size = size
        self._data = bytearray()

    def read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self._size)
        while len(self._data) < end:
            chunk = self._stream.read(min(_CHUNK, end - len(self._data)))
            if not chunk:
                break
            self._data += chunk
        return bytes(self._data[offset:end])


def _cache_file(cache: Path | None, sha256: str) -> Path | None:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"not a sha256 in lower-case hexadecimal: {sha256!r}")
    return None if cache is None else cache / "wheels" / f"{sha256}.json"


def _recall(cache: Path | None, sha256: str) -> Remembered:
    file = _cache_file(cache, sha256)
    if file is None:
        return Remembered()
    try:
        with file.open("rb") as source:
            return Remembered.load(source.read(MAX_CACHE_FILE).decode())
    except (OSError, ValueError):
        return Remembered()


def _remember(cache: Path | None, sha256: str, remembered: Remembered) -> None:
    """Replace the cache file in one step; a cache that cannot be written is none."""
    file = _cache_file(cache, sha256)
    if file is None:
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=file.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as target:
                target.write(remembered.dump())
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
