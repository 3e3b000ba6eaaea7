"""Locked conda packages: the records of an environment, what a solver is asked, and the @EXPLICIT file.

Explicit files: https://conda.org/learn/ceps/cep-0023/; conda-lock.yml: https://conda.org/learn/ceps/cep-0037/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cudaenv.errors import ToolError
from cudaenv.model.names import CHANNELS
from cudaenv.model.plan import CondaPart, Environment

# https://conda.org/learn/ceps/cep-0026/
_NAME = re.compile(r"_?[a-z0-9][a-z0-9_.-]{0,127}")
_VERSION = re.compile(r"[0-9A-Za-z_.!+-]{1,128}")
_BUILD = re.compile(r"[0-9A-Za-z_.+]{1,128}")
_URL = re.compile(r"https://[!-~]+\.(conda|tar\.bz2)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaRecord:
    """One locked conda package. `requires` are versions by name; `size` is in bytes, where it is stated."""

    name: str
    version: str
    build: str
    subdir: str
    url: str
    md5: str
    sha256: str
    size: int | None = None
    requires: tuple[tuple[str, str], ...] = ()

    @property
    def channel(self) -> str:
        """The canonical URL of the channel it is of."""
        return self.url.rsplit("/", 2)[0]

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class CondaLock:
    """The locked conda packages of one environment, what needs others after them, and the solver."""

    records: tuple[CondaRecord, ...]
    solver: str = ""

    def find(self, name: str) -> CondaRecord | None:
        """The record of a package, if it is locked."""
        return next((record for record in self.records if record.name == name), None)


def record_of(data: Mapping[str, Any]) -> CondaRecord:
    """Read a record that a channel, a solver or a lock gave. ToolError where it is not one.

    Names and URLs end in files that shells and installers read, so nothing unusual passes.
    """
    try:
        record = CondaRecord(
            name=str(data["name"]),
            version=str(data["version"]),
            build=str(data["build"]),
            subdir=str(data["subdir"]),
            url=str(data["url"]),
            md5=str(data["md5"] or ""),
            sha256=str(data["sha256"] or ""),
            size=data.get("size"),
            requires=tuple(sorted((str(key), str(value)) for key, value in data["requires"].items())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ToolError(
            "a conda package's record cannot be read", [f"{type(error).__name__}: {error}"]
        ) from error
    problems = [
        f"{key}: {value[:80]!r}"
        for key, value, pattern in (
            ("name", record.name, _NAME),
            ("version", record.version, _VERSION),
            ("build", record.build, _BUILD),
            ("url", record.url, _URL),
        )
        if not pattern.fullmatch(value)
    ]
    if not record.url.endswith(f"/{record.subdir}/{record.file_name}") or "@" in urlsplit(record.url).netloc:
        problems.append("the URL is not that of a channel's file")
    if problems:
        raise ToolError(f"the record of `{record.name[:80]}` is not one of a conda package", problems)
    return record


def file_parts(url: str) -> tuple[str, str, str]:
    """Name, version and build of a package, by its file name. ValueError where that has no three parts."""
    stem = url.rsplit("/", 1)[-1].removesuffix(".conda").removesuffix(".tar.bz2")
    name, version, build = stem.rsplit("-", 2)
    return name, version, build


def channel_urls(part: CondaPart) -> tuple[str, ...]:
    """The canonical URLs of an environment's channels, in the order of their priority."""
    return tuple(f"{CHANNELS}/{name}" for name in part.channels)


def solve_request(environment: Environment, locked: Sequence[str]) -> dict[str, Any]:
    """What a solver is asked for one environment; `locked` are URLs of packages that it keeps if it can."""
    part = environment.conda
    assert part is not None  # noqa: S101  a programming error, not an input
    return {
        "channels": list(channel_urls(part)),
        "platform": str(environment.platform),
        "specs": list(part.specs),
        "virtual": dict(part.virtual_packages),
        "locked": list(locked),
    }


def explicit_text(records: Iterable[CondaRecord], platform: str) -> str:
    """The @EXPLICIT file: conda installs it without solving.

    With md5, since older condas refuse a line with sha256; that stands in the conda-lock.yml beside it.
    """
    lines = [
        "# conda create --prefix PREFIX --file THIS-FILE",
        f"# platform: {platform}",
        "@EXPLICIT",
        *(f"{record.url}#{record.md5}" for record in records),
    ]
    return "\n".join(lines) + "\n"
