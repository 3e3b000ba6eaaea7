"""The releases that the files of a project on an index make up, and the wheels of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from packaging.utils import canonicalize_name, parse_sdist_filename
from packaging.version import Version

from cudaenv.matrix.refresh.artefacts import ProjectFile
from cudaenv.matrix.refresh.wheel_names import WheelName
from cudaenv.model.machine import Platform
from cudaenv.model.versions import GlibcVersion, PythonVersion


@dataclass(frozen=True, slots=True)
class NamedWheel:
    """A wheel on an index, and what its name says."""

    file: ProjectFile
    name: WheelName

    def pythons(self, newest: PythonVersion) -> tuple[PythonVersion, ...]:
        """The CPython lines that install it, by its tags and the Requires-Python of its page."""
        return self.name.pythons(newest, self.file.requires_python)


@dataclass(frozen=True, slots=True)
class ReleaseFiles:
    """The files of one release: its wheels in the order of the page, and its source distributions."""

    version: Version
    wheels: tuple[NamedWheel, ...]
    sdists: tuple[ProjectFile, ...]

    @property
    def uploaded(self) -> str:
        """The day of the earliest file; empty where the page states none."""
        days = (file.uploaded for file in (*self.sdists, *(wheel.file for wheel in self.wheels)))
        return min((day for day in days if day), default="")

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that its wheels are for."""
        found = {platform for wheel in self.wheels for platform in wheel.name.platforms}
        return tuple(platform for platform in Platform if platform in found)

    def pythons(self, newest: PythonVersion) -> tuple[PythonVersion, ...]:
        """The CPython lines that any of its wheels for our platforms serves."""
        ours = (wheel for wheel in self.wheels if wheel.name.platforms)
        return tuple(sorted({line for wheel in ours for line in wheel.pythons(newest)}))

    def wheels_for(self, platform: Platform) -> tuple[NamedWheel, ...]:
        """The wheels that a platform installs."""
        return tuple(wheel for wheel in self.wheels if platform in wheel.name.platforms)

    def glibc(self, platform: Platform) -> GlibcVersion | None:
        """The oldest glibc that all its wheels for a platform run with; None where none of them says it."""
        floors = (wheel.name.glibc for wheel in self.wheels_for(platform))
        return max((floor for floor in floors if floor is not None), default=None)


def releases(project: str, files: Iterable[ProjectFile]) -> tuple[ReleaseFiles, ...]:
    """Group the files of a project by public version, oldest first.

    Yanked files, pre-releases, wheels for Python 2 or free-threaded CPython alone, and what is named as no
    installer accepts are left out.
    """
    wheels: dict[Version, list[NamedWheel]] = {}
    sdists: dict[Version, list[ProjectFile]] = {}
    own = canonicalize_name(project)
    for file in files:
        if file.yanked:
            continue
        try:
            if file.name.endswith(".whl"):
                name = WheelName.parse(file.name)
                if name.project == own and name.is_for_cpython:
                    wheels.setdefault(name.version, []).append(NamedWheel(file, name))
            else:
                found, version = parse_sdist_filename(file.name)
                if found == own:
                    sdists.setdefault(version, []).append(file)
        except ValueError:
            continue
    stable = sorted(version for version in {*wheels, *sdists} if not version.is_prerelease)
    return tuple(
        ReleaseFiles(version, tuple(wheels.get(version, ())), tuple(sdists.get(version, ())))
        for version in stable
    )


@contextmanager
def naming(wheel: NamedWheel) -> Iterator[None]:
    """Put the name of a wheel before what a ValueError says about it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{wheel.file.name}: {error}") from error


def newest_python(found: Iterable[ReleaseFiles]) -> PythonVersion:
    """Return the newest CPython line that a wheel names: where open-ended tags end.

    ValueError where none names any.
    """
    lines = {line for release in found for wheel in release.wheels for line in wheel.name.named_pythons}
    if not lines:
        raise ValueError("no wheel is tagged for a CPython line")
    return max(lines)
