"""A channel blown up to the size of conda-forge: made-up records that no request needs, around real ones."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from tests.support.conda_package import TIMESTAMP, unzstd, zstd

EACH = 40
"""How many records a made-up package has: about as many as one of conda-forge on average."""

Records = dict[str, dict[str, Any]]
Named = Iterator[tuple[str, Records]]


def inflate(channel: Path, subdir: str, count: int, *, older: int = 40, sharded: bool = True) -> None:
    """Have the repodata of a platform list `count` records, most of them of packages that do not exist.

    The channel was indexed before, and what it had is still found; each package of it gets so many `older`
    versions, which are read whenever it is needed. Written are shards alone, or whole repodata alone.
    """
    folder = channel / subdir
    names = _by_name(folder)
    for file in ("repodata.json", "repodata.json.zst", "repodata_shards.msgpack.zst"):
        (folder / file).unlink(missing_ok=True)
    if sharded:
        _write_shards(folder, subdir, _inflated(names, subdir, count, older))
    else:
        _write_whole(folder, subdir, _inflated(names, subdir, count, older))


def _by_name(folder: Path) -> dict[str, Records]:
    document = json.loads(unzstd((folder / "repodata.json.zst").read_bytes()))
    names: dict[str, Records] = defaultdict(dict)
    for file, record in chain(document["packages"].items(), document["packages.conda"].items()):
        names[record["name"]][file] = record
    return names


def _inflated(
    names: Mapping[str, Records], subdir: str, count: int, older: int
) -> Iterator[tuple[str, Records]]:
    """The records of each name, until there are enough."""
    for name, records in names.items():
        some = next(iter(records.values()))
        more = dict(_made_up(some, name, subdir, f"0.0.{number}") for number in range(older))
        yield name, {**records, **more}
        count -= len(records) + len(more)
    some = {"depends": ["python >=3.9", "numpy >=1.23,<3", "libgcc >=14"]}
    for number in range(-(-count // EACH)):
        name = f"made-up-{number}"
        left = min(EACH, count - number * EACH)
        yield name, dict(_made_up(some, name, subdir, f"1.{minor}.0") for minor in range(left))


def _made_up(like: Mapping[str, Any], name: str, subdir: str, version: str) -> tuple[str, dict[str, Any]]:
    digest = hashlib.sha256(f"{name} {version} {subdir}".encode()).hexdigest()
    build = f"h{digest[:7]}_0"
    record = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": like["depends"],
        "constrains": [],
        "subdir": subdir,
        "timestamp": TIMESTAMP,
        "size": 1_000_000,
        "license": "MIT",
        "md5": digest[:32],
        "sha256": digest,
    }
    return f"{name}-{version}-{build}.conda", record


def _write_shards(folder: Path, subdir: str, names: Named) -> None:
    """Write an index and a file for each name, as https://conda.org/learn/ceps/cep-0016/ has them."""
    import msgpack  # type: ignore[import-untyped]  # conda-lock brings it

    (folder / "shards").mkdir(exist_ok=True)
    shards = {}
    for name, records in names:
        packed: dict[str, Any] = {"packages": {}, "packages.conda": {}, "removed": []}
        for file, record in records.items():
            kind = "packages" if file.endswith(".tar.bz2") else "packages.conda"
            hashes = {key: bytes.fromhex(record[key]) for key in ("md5", "sha256")}
            packed[kind][file] = {**record, **hashes}
        data = zstd(msgpack.packb(packed))
        digest = hashlib.sha256(data)
        shards[name] = digest.digest()
        (folder / "shards" / f"{digest.hexdigest()}.msgpack.zst").write_bytes(data)
    made = datetime.fromtimestamp(TIMESTAMP / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    info = {"subdir": subdir, "base_url": "", "shards_base_url": "./shards/", "created_at": made}
    index = {"info": info, "shards": shards}
    (folder / "repodata_shards.msgpack.zst").write_bytes(zstd(msgpack.packb(index)))


def _write_whole(folder: Path, subdir: str, names: Named) -> None:
    """Both kinds of packages go where those of the newer kind belong: a file's name says what it is."""
    import zstandard

    info = json.dumps({"subdir": subdir})
    with (
        (folder / "repodata.json.zst").open("wb") as file,
        zstandard.ZstdCompressor(level=1).stream_writer(file) as stream,
    ):
        stream.write(f'{{"info": {info}, "packages": {{}}, "packages.conda": {{'.encode())
        comma = ""
        for _, records in names:
            text = json.dumps(records)[1:-1]
            stream.write(f"{comma}{text}".encode())
            comma = ", "
        stream.write(b"}}")
