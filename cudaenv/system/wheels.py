"""Facts about remote wheels, read from a few kilobytes of each and remembered on disk."""

from __future__ import annotations

import contextlib
import re
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from cudaenv.lock.wheel_facts import Member, Remembered, WheelFacts, linked_majors, parse_requires
from cudaenv.model.names import SHA256
from cudaenv.system.cache import recall, remember
from cudaenv.system.http import Client
from cudaenv.system.remote_wheels import (
    COMPRESSIONS,
    MalformedError,
    needed_libraries,
    open_archive,
    open_member,
    readable,
)

MAX_METADATA = 4 << 20
MAX_CACHE_FILE = 16 << 20

# What storage servers say of files that they do not have, besides 404.
NOT_THERE = {403, 404, 405, 410}


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
            archive = stack.enter_context(open_archive(url, sha256, client))
            with readable(url):
                requires = _archived_requires(archive) if requires is None else requires
                if want_cudart and cudart is None:
                    cudart = _archived_cudart(archive)
    return Remembered(requires, cudart)


def published_metadata(url: str, client: Client) -> bytes | None:
    """What lies beside a wheel as its METADATA (https://peps.python.org/pep-0658/); None for nothing.

    It may be something else: some servers say "not found" with status 200.
    """
    parts = urlsplit(url)
    beside = parts._replace(path=f"{parts.path}.metadata").geturl()
    answer = client.get(beside, limit=MAX_METADATA, allow=NOT_THERE)
    return answer.body if answer.status == 200 else None


def _published_requires(url: str, client: Client) -> tuple[str, ...] | None:
    found = published_metadata(url, client)
    try:
        return None if found is None else parse_requires(found)
    except ValueError:
        return None


def _archived_requires(archive: zipfile.ZipFile) -> tuple[str, ...]:
    found = [info for info in archive.infolist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", info.filename)]
    if len(found) != 1 or found[0].file_size > MAX_METADATA:
        raise ValueError(f"{len(found)} METADATA files of at most {MAX_METADATA} bytes")
    with open_member(archive, found[0]) as member:
        text = member.read(found[0].file_size)
    if len(text) != found[0].file_size:
        raise ValueError("METADATA is shorter than the directory says")
    return parse_requires(text)


def _archived_cudart(archive: zipfile.ZipFile) -> tuple[int, ...]:
    infos = {_member(info): info for info in archive.infolist() if info.compress_type in COMPRESSIONS}

    def needed_by(member: Member) -> tuple[str, ...]:
        with open_member(archive, infos[member]) as stream:
            try:
                return needed_libraries(stream, member.unpacked)
            except MalformedError:
                return ()  # a linker script, a library for another kind of machine, a stub

    return linked_majors(infos, needed_by)


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(info.filename, info.compress_size, info.file_size, info.CRC)


def _cache_file(cache: Path | None, sha256: str) -> Path | None:
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"not a sha256 in lower-case hexadecimal: {sha256!r}")
    return None if cache is None else cache / "wheels" / f"{sha256}.json"


def _recall(cache: Path | None, sha256: str) -> Remembered:
    file = _cache_file(cache, sha256)
    if file is None:
        return Remembered()
    text = recall(file, MAX_CACHE_FILE)
    try:
        return Remembered() if text is None else Remembered.load(text.decode())
    except ValueError:
        return Remembered()


def _remember(cache: Path | None, sha256: str, remembered: Remembered) -> None:
    file = _cache_file(cache, sha256)
    if file is not None:
        remember(file, remembered.dump().encode())
