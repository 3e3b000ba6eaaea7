"""Records of conda channels, read by py-rattler in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from cudaenv.errors import FetchError
from cudaenv.system.addresses import printable, shown

TIMEOUT_S: Final = 900.0
"""Enough for the repodata of conda-forge over a slow connection."""

# https://conda.org/learn/ceps/cep-0026/, a little wider
_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,127}")
_PLATFORM = re.compile(r"[a-z0-9]+(-[a-z0-9]+)?")
# A user with a password, and the tokens of channels: https://host/t/TOKEN/channel
_SECRET = re.compile(r"(?<=//)[^/@\s]*@|(?<=/t/)[^/\s]+")
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
        request = {"channel": channel, "platform": platform, "names": sorted(names), "cache": str(place)}
        return _checked(_ask(request, what := f"the conda channel `{_harmless(shown(channel))}`"), what)


def _ask(request: Mapping[str, object], what: str) -> bytes:
    # -P: a module beside the user's files is not taken for one of ours.
    command = [sys.executable, "-P", "-m", "cudaenv.system.rattler_worker"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(f"{what} cannot be read", [printable(str(error))]) from error
    if done.returncode not in {0, 1} or not done.stdout:
        text = done.stderr.decode(errors="replace").strip()
        raise FetchError(
            f"{what} cannot be read", [f"py-rattler ended with {done.returncode}", _harmless(text)]
        )
    return done.stdout


def _checked(output: bytes, what: str) -> tuple[Mapping[str, Any], ...]:
    found = json.loads(output)
    if isinstance(found, dict):
        raise FetchError(f"{what} cannot be read", [_harmless(str(found.get("error")))])
    for record in found:
        for key, kinds in _SHAPE.items():
            value = record[key]
            if (None if value is None else type(value)) not in kinds:
                raise FetchError(f"{what} has a record without `{key}`", [printable(str(record.get("name")))])
    return tuple(found)


def _harmless(text: str) -> str:
    """The end of a message, without what authenticates in its addresses."""
    return printable(_SECRET.sub("...", " ".join(text.split()))[-400:])
