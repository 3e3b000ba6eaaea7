"""pylock.toml (PEP 751) and the requirements.lock derived from it.

https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import tomli_w
from packaging.pylock import Pylock, PylockValidationError
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import BuildTag, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from cudaenv.errors import ToolError
from cudaenv.lock.mirrors import Mirrors
from cudaenv.model.plan import Environment
from cudaenv.model.versions import PythonVersion


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """One locked wheel; `sha256` is empty where the index gave none."""

    name: str
    version: Version
    url: str
    sha256: str
    size: int | None = None

    @property
    def file_name(self) -> str:
        """Its file name."""
        return self.url.rsplit("/", 1)[-1].replace("%2B", "+")

    @property
    def is_pure(self) -> bool:
        """Whether it runs on every platform, and so holds no compiled code."""
        return self.file_name.endswith("-none-any.whl")


@dataclass(frozen=True, slots=True)
class LockedEnvironment:
    """The wheels of one environment, by name, and the text of its pylock.toml."""

    wheels: tuple[LockedWheel, ...]
    text: str

    def find(self, name: str) -> LockedWheel | None:
        """The wheel of a package, if it is locked."""
        return next((wheel for wheel in self.wheels if wheel.name == name), None)


def read_pylock(text: str) -> LockedEnvironment:
    """Read a pylock.toml. ToolError where it is not valid, or holds anything but one wheel a package."""
    wheels = []
    _, lock = _parsed(text)
    for package in lock.packages:
        if package.version is None or not package.wheels or len(package.wheels) != 1:
            raise ToolError(
                f"the pylock holds something other than one wheel for `{package.name}`",
                hint="Every package needs a wheel for the planned Python and platform",
            )
        wheel = package.wheels[0]
        wheels.append(
            LockedWheel(
                name=canonicalize_name(package.name),
                version=package.version,
                url=str(wheel.url),
                sha256=str(wheel.hashes.get("sha256", "")),
                size=wheel.size,
            )
        )
    return LockedEnvironment(tuple(wheels), text)


def _parsed(text: str) -> tuple[dict[str, Any], Pylock]:
    """A pylock as plain data and as what the data mean."""
    try:
        document = tomllib.loads(text)
        return document, Pylock.from_dict(document)
    except (tomllib.TOMLDecodeError, PylockValidationError) as error:
        raise ToolError("the pylock is not valid", [str(error)]) from error


def canonical_pylock(text: str, environment: Environment, mirrors: Mirrors) -> LockedEnvironment:
    """The resolver's pylock with canonical URLs, the index of each placed package, and its one target."""
    document, _ = _parsed(text)
    indexes = {package.name: package.index_url for package in environment.packages if package.index_url}
    canonical = {
        "lock-version": document["lock-version"],
        "environments": [
            f"sys_platform == '{environment.platform.sys_platform}' "
            f"and platform_machine == '{environment.platform.machine}'"
        ],
        "requires-python": f"=={environment.python}.*",
        "created-by": "cudaenv",
        "packages": [
            _package(package, indexes, mirrors, environment.python)
            for package in sorted(document.get("packages", []), key=lambda package: str(package["name"]))
        ],
    }
    return read_pylock(tomli_w.dumps(canonical))


def _package(
    package: Mapping[str, Any], indexes: Mapping[str, str], mirrors: Mirrors, python: PythonVersion
) -> dict[str, Any]:
    """One package; markers go, since the file is for one platform and one Python."""
    index = indexes.get(package["name"])
    return {
        "name": package["name"],
        "version": package["version"],
        **({"index": index} if index else {}),
        "wheels": [
            {**wheel, "url": mirrors.to_canonical(wheel["url"])}
            for wheel in _chosen(package.get("wheels", []), python)
        ],
    }


def _chosen(wheels: Sequence[Mapping[str, Any]], python: PythonVersion) -> list[Mapping[str, Any]]:
    """Of several wheels of a release the one that installers choose; all of them fit the target.

    That for exactly this Python comes before that for its stable ABI, and this before one for any machine;
    then the newest platform that fits, and the highest build number.
    https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/#use
    https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention
    """
    order = _order(python)

    def rank(wheel: Mapping[str, Any]) -> tuple[int, tuple[int, ...], BuildTag]:
        _, _, build, tags = parse_wheel_filename(unquote(wheel["url"].rsplit("/", 1)[-1]))
        places = [order.get((tag.interpreter, tag.abi, tag.platform == "any"), len(order)) for tag in tags]
        newest = max(tuple(map(int, re.findall(r"_(\d+)(?=_)", tag.platform))) for tag in tags)
        return -min(places), newest, build

    return [max(wheels, key=rank)] if wheels else []


@functools.cache
def _order(python: PythonVersion) -> dict[tuple[str, str, bool], int]:
    """The places of interpreter and ABI among a Python's tags, and whether a tag is for any machine."""
    release, platforms = (python.major, python.minor), ["machine"]
    tags = (*cpython_tags(release, platforms=platforms), *compatible_tags(release, platforms=platforms))
    found: dict[tuple[str, str, bool], int] = {}
    for tag in tags:
        found.setdefault((tag.interpreter, tag.abi, tag.platform == "any"), len(found))
    return found


def fetchable(text: str, to_fetch: Callable[[str], str]) -> str:
    """A pylock with the URLs that its wheels are fetched from, which `to_fetch` makes of the locked ones."""
    document = tomllib.loads(text)
    for package in document["packages"]:
        for wheel in package.get("wheels", []):
            wheel["url"] = to_fetch(wheel["url"])
    return tomli_w.dumps(document)


def requirements_lock(locked: LockedEnvironment, environment: Environment) -> str:
    """The same wheels as requirements with URL and hash, for pips that do not read pylock.toml."""
    lines = [
        f"# For Python {environment.python} on {environment.platform}, made from the pylock beside it.",
        "# pip install --no-deps --require-hashes -r THIS-FILE",
    ]
    for wheel in locked.wheels:
        lines += [f"{wheel.name} @ {wheel.url} \\", f"    --hash=sha256:{wheel.sha256}"]
    return "\n".join(lines) + "\n"
