"""The lock of wheels that were built elsewhere: paths below the project, each with its hash."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from cudaenv.model.plan import Environment, PlannedPackage
from cudaenv.model.versions import PythonVersion

BUILT_LOCK = "requirements.built.lock"


@dataclass(frozen=True, slots=True)
class BuiltWheel:
    """A wheel in a folder of the project, `wheels/mmcv-2.1.0-….whl`, and its sha256."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The package, by the file name."""
        return canonicalize_name(self.path.rsplit("/", 1)[-1].split("-", maxsplit=1)[0])


def is_build_of(file_name: str, package: PlannedPackage, environment: Environment) -> bool:
    """Whether a file is a wheel of a planned package for its environment's Python and platform.

    Of what is built from a repository's newest commit no version is planned, and any will do.
    """
    try:
        name, version, _, tags = parse_wheel_filename(file_name)
    except InvalidWheelFilename:
        return False
    is_release = bool(package.git) or version.public == package.version.public
    return (
        name == canonicalize_name(package.name)
        and is_release
        and any(_runs(tag, environment) for tag in tags)
    )


def _runs(tag: Tag, environment: Environment) -> bool:
    platform = environment.platform
    here = tag.platform == "any" or (
        tag.platform.startswith(
            {"linux": ("linux_", "manylinux"), "win32": ("win_",)}.get(platform.sys_platform, "macosx")
        )
        and tag.platform.endswith(platform.machine.lower())
    )
    return here and _runs_on(tag, environment.python)


def _runs_on(tag: Tag, python: PythonVersion) -> bool:
    match = re.fullmatch(r"(cp|py)3(\d*)", tag.interpreter)
    if match is None:
        return False
    minor = int(match[2] or 0)
    is_stable = tag.abi in {"abi3", "none"} if match[1] == "cp" else tag.abi == "none"
    exact = match[1] == "cp" and minor == python.minor and tag.abi == f"cp3{python.minor}"
    return exact or (is_stable and minor <= python.minor)


def built_lock(environment: Environment, wheels: Sequence[BuiltWheel]) -> str:
    """The text of the lock, in the order of building."""
    lines = [
        f"# Built for Python {environment.python} on {environment.platform}, {environment.title}; from the",
        "# folder of the project, after requirements.lock:",
        "# pip install --no-deps --require-hashes -r THIS-FILE",
    ]
    for wheel in wheels:
        lines += [f"./{wheel.path} \\", f"    --hash=sha256:{wheel.sha256}"]
    return "\n".join(lines) + "\n"


def read_built(text: str) -> Mapping[str, BuiltWheel]:
    """The wheels of a lock by package."""
    found = re.findall(
        r"^\./((?:[\w+-][\w.+-]*/)*[\w.+-]+\.whl) \\\n +--hash=sha256:([0-9a-f]{64})$", text, re.MULTILINE
    )
    return {wheel.name: wheel for wheel in (BuiltWheel(path, sha256) for path, sha256 in found)}
