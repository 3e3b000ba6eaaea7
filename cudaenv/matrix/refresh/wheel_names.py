"""What the name of a wheel says: its version, and which platforms and Pythons it is for.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention
https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from cudaenv.model.machine import Platform
from cudaenv.model.versions import GlibcVersion, PythonVersion

OLDEST_PYTHON = PythonVersion(3, 6)
"""Where the Pythons of a `py3-none` wheel without Requires-Python begin: no row is about older ones."""

_LATER = PythonVersion(3, 99)

MANYLINUX = {"1": GlibcVersion(2, 5), "2010": GlibcVersion(2, 12), "2014": GlibcVersion(2, 17)}
"""The glibc floors of tags that do not name theirs (https://peps.python.org/pep-0600/#legacy-manylinux-tags)."""

_PLATFORMS = {
    "x86_64": Platform.LINUX_64,
    "aarch64": Platform.LINUX_AARCH64,
}
_LINUX = re.compile(r"(?:linux|manylinux(?:(1|2010|2014)|_(\d+)_(\d+)))_(x86_64|aarch64)")
_MACOS = re.compile(r"macosx_(\d+)_(\d+)_(arm64|universal2)")
_CPYTHON = re.compile(r"cp3(\d{1,2})")
_ANY_PYTHON = re.compile(r"py3(\d{1,2})?")


@dataclass(frozen=True)
class WheelName:
    """The parts of a wheel's file name: the public version, the local label (`cu126`, empty), the tags.

    `build` is the build number with what follows it, empty without one; the greatest wins.
    """

    project: str
    version: Version
    local: str
    build: tuple[()] | tuple[int, str]
    tags: frozenset[Tag]

    @classmethod
    def parse(cls, name: str) -> WheelName:
        """Read `torch-2.14.1+cu126-cp312-cp312-win_amd64.whl`. ValueError for what no installer accepts."""
        project, version, build, tags = parse_wheel_filename(name)
        return cls(str(project), Version(version.public), version.local or "", build, tags)

    @property
    def is_pure(self) -> bool:
        """Whether it has no compiled code: it goes with any platform."""
        return any(tag.platform == "any" for tag in self.tags)

    @cached_property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that it is for, all for a pure one; Intel Macs, musl and others are left out."""
        if self.is_pure:
            return tuple(Platform)
        found = {_platform(tag.platform) for tag in self.tags}
        return tuple(platform for platform in Platform if platform in found)

    @property
    def glibc(self) -> GlibcVersion | None:
        """The oldest glibc that a tag of it promises to run with; None if none does (`linux_x86_64`)."""
        matches = (_LINUX.fullmatch(tag.platform) for tag in self.tags)
        return min((floor for match in matches if match for floor in _floor(match)), default=None)

    @property
    def macos(self) -> str:
        """The oldest macOS (on Apple silicon) that a tag of it names, such as `11.0`; empty without one."""
        matches = (_MACOS.fullmatch(tag.platform) for tag in self.tags)
        versions = [(int(match[1]), int(match[2])) for match in matches if match]
        # Apple silicon begins with macOS 11, whatever a universal2 tag says.
        return "{}.{}".format(*max(min(versions), (11, 0))) if versions else ""

    def pythons(self, newest: PythonVersion, requires_python: str = "") -> tuple[PythonVersion, ...]:
        """The CPython lines that install it, free-threaded builds aside.

        `cp39-abi3` and `py3-none` mean every line from that on: `newest` is where these end.
        `requires_python` is the release's own Requires-Python, a ValueError if it cannot be read.
        """
        specifiers = _specifiers(requires_python)
        lines = {line for tag in self.tags for line in _lines(tag, newest)}
        return tuple(sorted(line for line in lines if _allows(specifiers, line)))

    @property
    def is_for_cpython(self) -> bool:
        """Whether some CPython 3 installs it that is no free-threaded build."""
        return any(True for tag in self.tags for _ in _lines(tag, _LATER))

    @property
    def named_pythons(self) -> tuple[PythonVersion, ...]:
        """The CPython lines that tags of it name one by one (`cp312-cp312`)."""
        tagged = ((tag, _CPYTHON.fullmatch(tag.interpreter)) for tag in self.tags)
        lines = {PythonVersion(3, int(match[1])) for tag, match in tagged if match and _is_exact(tag)}
        return tuple(sorted(lines))


def _platform(tag: str) -> Platform | None:
    linux = _LINUX.fullmatch(tag)
    if linux:
        return _PLATFORMS[linux[4]]
    if tag == "win_amd64":
        return Platform.WIN_64
    return Platform.OSX_ARM64 if _MACOS.fullmatch(tag) else None


def _floor(match: re.Match[str]) -> tuple[GlibcVersion, ...]:
    if match[1]:
        return (MANYLINUX[match[1]],)
    return (GlibcVersion(int(match[2]), int(match[3])),) if match[2] else ()


def _is_exact(tag: Tag) -> bool:
    # CPython up to 3.7 put its `m` (pymalloc) into the ABI tag; `cp313t` is the free-threaded build.
    return tag.abi in {tag.interpreter, f"{tag.interpreter}m", "none"}


def _lines(tag: Tag, newest: PythonVersion) -> Iterable[PythonVersion]:
    cpython = _CPYTHON.fullmatch(tag.interpreter)
    if cpython and _is_exact(tag):
        return (PythonVersion(3, int(cpython[1])),)
    anything = _ANY_PYTHON.fullmatch(tag.interpreter)
    if cpython and tag.abi == "abi3":
        first = int(cpython[1])
    elif anything and tag.abi == "none":
        first = int(anything[1] or OLDEST_PYTHON.minor)
    else:
        return ()
    return (PythonVersion(3, minor) for minor in range(first, newest.minor + 1))


def _specifiers(text: str) -> SpecifierSet:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"Requires-Python is {text[:200]!r}") from error


def _allows(specifiers: SpecifierSet, line: PythonVersion) -> bool:
    # `>=3.6.2` and `!=3.9.7` leave some patches of a line.
    return any(specifiers.contains(f"{line}.{patch}") for patch in range(40))
