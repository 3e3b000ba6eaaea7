"""A process of its own for py-rattler: a request on standard input, records on standard output.

    python -m cudaenv.system.rattler_worker

The request is a JSON object with `channel` (an address), `platform`, `names` and `cache` (a folder). The
answer is a list of objects with the fields of repodata, or an object with `error`. py-rattler's runtime
crashes now and then while an interpreter shuts down (pyo3-async-runtimes issue 40), so this process
never shuts one down: it ends on the spot.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rattler import RepoDataRecord


async def query(channel: str, platform: str, names: list[str], cache: str) -> list[dict[str, Any]]:
    """Return the records of packages with these names, sorted; those of no other channel or platform.

    LookupError where there is no package at all: py-rattler takes a channel that does not exist for an
    empty one.
    """
    from rattler import Channel, Gateway

    gateway = Gateway(cache_dir=Path(cache))
    platforms: Any = [platform]  # a literal type, which a request cannot have
    found = await gateway.query([Channel(channel)], platforms, names, recursive=False)
    if not any(found) and not await gateway.names([Channel(channel)], platforms):
        raise LookupError(f"there are no packages for {platform}")
    # A channel may refer to others, which are read, too.
    own = f"{channel.rstrip('/')}/{platform}/"
    records = [described(record) for part in found for record in part if record.url.startswith(own)]
    return sorted(records, key=lambda record: (record["name"], record["version"], record["build"]))


def described(record: RepoDataRecord) -> dict[str, Any]:
    """Return the fields of a record as repodata have them: hashes in hexadecimal, milliseconds."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build).strip(),
        "build_number": record.build_number,
        "depends": list(record.depends),
        "constrains": list(record.constrains),
        "subdir": record.subdir,
        "timestamp": None if record.timestamp is None else round(record.timestamp.timestamp() * 1000),
        "md5": None if record.md5 is None else record.md5.hex(),
        "sha256": None if record.sha256 is None else record.sha256.hex(),
    }


def main() -> int:
    """Answer one request; return 0, or 1 where the answer is an error."""
    request = json.load(sys.stdin)
    answer: object
    try:
        answer, status = asyncio.run(query(**request)), 0
    except Exception as error:
        # Whatever py-rattler raises, the process that asked has to explain it.
        answer, status = {"error": str(error) or type(error).__name__}, 1
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    os._exit(main())
