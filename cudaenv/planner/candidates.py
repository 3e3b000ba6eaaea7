"""Candidates: every complete set of known packages that exists for a platform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from packaging.version import Version

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import Release, TorchBuild
from cudaenv.matrix.tables import DEFAULT_INDEX
from cudaenv.model.machine import Platform
from cudaenv.model.markers import marker_environment
from cudaenv.model.plan import PlannedPackage
from cudaenv.model.spec import PackageRequest, Provider
from cudaenv.model.versions import PythonVersion
from cudaenv.planner.problem import Problem

UNVERIFIED_NOTE = "no row yet: taken to be built like the newest release of the matrix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A build of torch with the companions that go with it, and the Pythons that all have wheels for.

    `missing` names requested companions of which no release goes with this build.
    """

    build: TorchBuild
    provider: Provider = Provider.PIP
    companions: tuple[tuple[PlannedPackage, Release], ...] = ()
    pythons: tuple[PythonVersion, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_unverified(self) -> bool:
        """Whether its release is newer than the matrix knows."""
        return self.build.note == UNVERIFIED_NOTE


def applies(request: PackageRequest, platform: Platform, pythons: Iterable[PythonVersion]) -> bool:
    """Whether a request's environment marker holds on a platform for one of the Pythons."""
    marker = request.marker
    return marker is None or any(marker.evaluate(marker_environment(platform, python)) for python in pythons)


def candidates(problem: Problem, platform: Platform) -> Iterator[Candidate]:
    """All candidates for a platform, with nothing rejected yet."""
    requests, matrix = problem.requests, problem.matrix
    for build in (*matrix.builds(platform), *_newer_than_matrix(requests["torch"], platform, matrix)):
        pythons = admitting_pythons(build, requests["torch"]) or build.pythons
        wanted = {
            name: applying
            for name, asked in requests.items()
            for applying in [[item for item in asked if applies(item, platform, pythons)]]
            if name != "torch" and (applying or not asked)
        }
        yield _complete(build, pythons, wanted, matrix)


def admits(request: PackageRequest, version: Version, variant: str) -> bool:
    """Whether a request allows a release in a variant: a label, as in `==2.14.1+cu126`, asks for that one."""
    if variant and any("+" in part.version for part in request.specifier):
        version = Version(f"{version}+{variant}")
    return request.specifier.contains(version, prereleases=True)


def admitting_pythons(build: TorchBuild, requests: Iterable[PackageRequest]) -> tuple[PythonVersion, ...]:
    """The Pythons of a build for which no request excludes it: a request's marker may be about Python."""
    against = [item for item in requests if not admits(item, build.version, build.variant)]
    if not against:
        return build.pythons
    return tuple(
        python
        for python in build.pythons
        if not any(applies(item, build.platform, [python]) for item in against)
    )


def _complete(
    build: TorchBuild,
    pythons: tuple[PythonVersion, ...],
    wanted: dict[str, list[PackageRequest]],
    matrix: Matrix,
) -> Candidate:
    found: list[tuple[PlannedPackage, Release]] = []
    missing = []
    for name, requests in wanted.items():
        # The newest, but of the same variant before another of the same CUDA major.
        picks = _companions(name, requests, build, pythons, matrix)
        pick = min(picks, key=lambda pick: pick[0].variant not in {"", build.variant}, default=None)
        if pick is None:
            missing.append(name)
        else:
            found.append(pick)
            pythons = tuple(python for python in pythons if python in pick[1].pythons)
    return Candidate(build=build, companions=tuple(found), pythons=pythons, missing=tuple(missing))


def _companions(
    name: str,
    requests: list[PackageRequest],
    build: TorchBuild,
    pythons: tuple[PythonVersion, ...],
    matrix: Matrix,
) -> Iterator[tuple[PlannedPackage, Release]]:
    """The releases of a companion that go with a build, newest first."""
    extras = tuple(sorted({extra for request in requests for extra in request.extras}))
    for row in sorted(matrix.companions(name), key=_preference, reverse=True):
        fits = build.version in row.torch and build.platform in row.platforms
        if not (fits and set(row.pythons) & set(pythons)):
            continue
        package = _placed(name, row, build, matrix, extras)
        label = package.variant if package is not None and row.released_with is not None else ""
        if package is not None and all(admits(item, row.version, label) for item in requests):
            yield package, row


def _preference(row: Release) -> tuple[object, ...]:
    """Rises with the release; of one release the default index wins, then no CUDA, then the newest CUDA."""
    cuda = [(binding.major, binding.minor or 0) for binding in row.cuda]
    return row.version, row.index == DEFAULT_INDEX, not cuda, cuda


def _placed(
    name: str, row: Release, build: TorchBuild, matrix: Matrix, extras: tuple[str, ...]
) -> PlannedPackage | None:
    """A companion from where its build for this torch lies; None where it has none of torch's CUDA major."""
    if row.released_with is not None:
        sibling = _sibling(row.released_with, build, matrix)
        return None if sibling is None else planned(name, row.version, sibling, matrix, extras)
    majors = row.cuda_majors
    if majors and (build.cuda is None or build.cuda.major not in majors):
        return None
    return PlannedPackage(
        name=name,
        version=row.version,
        variant=row.variant or next((cuda.variant for cuda in row.cuda_lines), ""),
        index=row.index,
        index_url=matrix.index_url(row.index, row.variant),
        cuda_major=min(majors, default=None),
        extras=extras,
    )


def _sibling(release: Version, build: TorchBuild, matrix: Matrix) -> TorchBuild | None:
    """The build of a torch release whose variant a companion should have beside `build`.

    The same variant if there is one; else another of the same CUDA major, from the default index
    before others, the newest CUDA first; a CPU build goes with CPU builds only.
    """
    builds = [
        other
        for other in matrix.builds(build.platform)
        if other.version == release and (other.cuda and other.cuda.major) == (build.cuda and build.cuda.major)
    ]
    return min(
        builds,
        key=lambda other: (
            other.variant != build.variant,
            other.index != DEFAULT_INDEX,
            [-part for part in (other.cuda.major, other.cuda.minor)] if other.cuda else [],
        ),
        default=None,
    )


def planned(
    name: str, version: Version, build: TorchBuild, matrix: Matrix, extras: tuple[str, ...]
) -> PlannedPackage:
    """A package of torch's family at the place and in the variant of a torch build."""
    is_default = build.index == DEFAULT_INDEX
    return PlannedPackage(
        name=name,
        version=version if is_default else Version(f"{version}+{build.variant}"),
        variant=build.variant,
        index=build.index,
        index_url=matrix.index_url(build.index, build.variant),
        cuda_major=build.cuda.major if build.cuda else None,
        extras=extras,
    )


def _newer_than_matrix(
    requests: list[PackageRequest], platform: Platform, matrix: Matrix
) -> Iterator[TorchBuild]:
    """Builds of a release that the user names and the matrix does not know yet, like the newest known."""
    newest = max(build.version for build in matrix.tables.torch)
    named = {
        version
        for request in requests
        for part in request.specifier
        if part.operator in {"==", ">=", "~="}
        for version in [Version(Version(part.version.replace("*", "0")).public)]
        if version > newest
    }
    for version in sorted(named):
        for build in matrix.builds(platform):
            if build.version == newest:
                yield replace(build, version=version, note=UNVERIFIED_NOTE)
