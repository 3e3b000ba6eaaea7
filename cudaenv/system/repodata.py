"""Records of conda channels, read by py-rattler in a process of its own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cudaenv.errors import FetchError
from cudaenv.system.addresses import printable, shown
from cudaenv.system.rattler import RattlerError, ask, harmless

# https://conda.org/learn/ceps/cep-0026/, a little wider
_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,127}")
_PLATFORM = re.compile(r"[a-z0-9]+(-[a-z0-9]+)?")
_SHAPE: Mapping[str, tuple[type | None, ...]] = {
    "name": (str,),
    "version": (str,),
    "build": (str,),
    "build_number": (int,),
    "depends": (list,),
    "constrains": (list,),
    "subdir": (str,),
    "timestamp": (int, None),
    "md5": (str, None),
    "sha256": (str, None),
}


def read_records(
    channel: str, platform: str, names: Collection[str], cache: Path | None
) -> tuple[Mapping[str, object], ...]:
    """Return the records of packages in the channel at an address, by name, version and build.

    `platform` is a subdirectory of the channel (`linux-64`, `noarch`). A record has `name`, `version`,
    `build`, `build_number`, `depends`, `constrains`, `subdir`, `timestamp` (milliseconds), `md5` and
    `sha256`; the last three are None where they are not stated. Repodata are kept below `cache`.

    FetchError where the channel cannot be read, ValueError for what is no name or platform.
    """
    for pattern, texts in ((_NAME, names), (_PLATFORM, [platform])):
        for text in texts:
            if not pattern.fullmatch(text):
                raise ValueError(f"no name of a conda package or platform: {text!r}")
    with tempfile.TemporaryDirectory(prefix="cudaenv-", ignore_cleanup_errors=True) as folder:
        place = Path(folder) if cache is None else cache / "conda"
        request = {"do": "query", "channel": channel, "platform": platform, "names": sorted(names)}
        what = f"the conda channel `{harmless(shown(channel))}`"
        try:
            return _checked(ask({**request, "cache": str(place), "mirrors": {}}), what)
        except RattlerError as error:
            raise FetchError(f"{what} cannot be read", error.lines) from error


def _checked(found: Any, what: str) -> tuple[Mapping[str, Any], ...]:
    for record in found:
        for key, kinds in _SHAPE.items():
            value = record[key]
            if (None if value is None else type(value)) not in kinds:
                raise FetchError(f"{what} has a record without `{key}`", [printable(str(record.get("name")))])
    return tuple(found)
