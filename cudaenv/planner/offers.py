"""What releases there are of a package, and which a request allows."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.matrix.packages import Release
from cudaenv.matrix.tables import DEFAULT_INDEX
from cudaenv.model.machine import Platform
from cudaenv.model.markers import marker_environment
from cudaenv.model.spec import PackageRequest
from cudaenv.model.versions import PythonVersion
from cudaenv.planner.problem import Problem
from cudaenv.planner.stacks import Stack


def applies(request: PackageRequest, platform: Platform, pythons: Iterable[PythonVersion]) -> bool:
    """Whether a request's environment marker holds on a platform for one of the Pythons."""
    marker = request.marker
    return marker is None or any(marker.evaluate(marker_environment(platform, python)) for python in pythons)


def admits(request: PackageRequest, version: Version, variant: str) -> bool:
    """Whether a request allows a release in a variant: a label, as in `==2.14.1+cu126`, asks for that one."""
    if variant and any("+" in part.version for part in request.specifier):
        version = Version(f"{version}+{variant}")
    return request.specifier.contains(version, prereleases=True)


def admitting_pythons(stack: Stack, requests: Iterable[PackageRequest]) -> tuple[PythonVersion, ...]:
    """The Pythons of a stack for which no request excludes it: a request's marker may be about Python."""
    against = [item for item in requests if not admits(item, stack.version, stack.variant)]
    if not against:
        return stack.pythons
    if any(item.marker is None for item in against):
        return ()
    return tuple(
        python
        for python in stack.pythons
        if not any(applies(item, stack.platform, [python]) for item in against)
    )


def rows_of(package: str, problem: Problem) -> list[Release]:
    """The releases of a package, the newest first; sorted once."""
    key = ("rows", package)
    memory = problem.matrix.memory
    if key not in memory:
        memory[key] = sorted(problem.matrix.releases(package), key=_preference, reverse=True)
    found: list[Release] = memory[key]
    return found


def _preference(row: Release) -> tuple[object, ...]:
    """Rises with the release; of one release the default index wins, then no CUDA, then the newest CUDA."""
    cuda = [(binding.major, binding.minor or 0) for binding in row.cuda]
    return row.version, row.index == DEFAULT_INDEX, not cuda, cuda


def allows_torch(specifier: SpecifierSet, version: Version, problem: Problem) -> bool:
    """Whether a requirement of the tables on torch allows a release; asked once of each pair."""
    # Equal specifiers of the tables are one object, and hashing one is slower than asking it.
    key = (id(specifier), version)
    memory = problem.matrix.memory
    if key not in memory:
        memory[key] = specifier.contains(version, prereleases=True)
    return bool(memory[key])
