"""Placing: which release of each known package goes with a stack, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import Release, TorchBuild
from cudaenv.matrix.tables import DEFAULT_INDEX
from cudaenv.model.machine import Platform
from cudaenv.model.plan import PlannedPackage
from cudaenv.model.spec import PackageRequest, Provider
from cudaenv.model.versions import CudaBinding, PythonVersion
from cudaenv.planner.building import build_picks
from cudaenv.planner.conda_picks import conda_picks
from cudaenv.planner.offers import admits, allows_torch, applies, rows_of
from cudaenv.planner.picks import Pick
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.stacks import Stack, planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Packages placed beside a stack, what they need besides, and the Pythons that all have wheels for.

    `missing` names packages that nothing was found for.
    """

    picks: tuple[Pick, ...] = ()
    pythons: tuple[PythonVersion, ...] = ()
    needs: tuple[Requirement, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Search:
    """What stays the same while packages are placed beside one stack."""

    problem: Problem
    stack: Stack
    requests: Mapping[str, list[PackageRequest]]
    building: frozenset[str]

    def picks(
        self, name: str, needs: tuple[Requirement, ...], pythons: tuple[PythonVersion, ...]
    ) -> Iterator[Pick]:
        """What can be had of a package, the best first."""
        requests = self.requests.get(name, [])
        bounds = [need.specifier for need in needs if need.name == name]
        found = picks_of(name, requests, self.stack, pythons, self.problem)
        if name in self.building:
            found = build_picks(name, requests, self.stack, self.problem)
        return (
            pick for pick in found if all(bound.contains(pick.version, prereleases=True) for bound in bounds)
        )


def place(
    problem: Problem, stack: Stack, pythons: tuple[PythonVersion, ...], building: frozenset[str] = frozenset()
) -> Placement:
    """Place all that is asked for beside a stack; packages in `building` are built from source."""
    requests = {
        name: [item for item in asked if applies(item, stack.platform, pythons)]
        for name, asked in problem.requests.items()
    }
    groups = tuple(
        group for group in problem.groups if requests.get(group[0]) or not problem.requests.get(group[0])
    )
    search = _Search(problem, stack, requests, building)
    found = _placed(search, groups, (), (), pythons)
    if found is not None:
        return found
    alone = [group for group in groups if _placed(search, (group,), (), (), pythons) is None]
    missing = [group[0] for group in alone] or [group[0] for group in groups]
    rest = _placed(search, tuple(group for group in groups if group[0] not in missing), (), (), pythons)
    return replace(rest or Placement(pythons=pythons), missing=tuple(dict.fromkeys(missing)))


def _placed(
    search: _Search,
    groups: tuple[tuple[str, ...], ...],
    picks: tuple[Pick, ...],
    needs: tuple[Requirement, ...],
    pythons: tuple[PythonVersion, ...],
) -> Placement | None:
    """All groups placed, the newest releases that go together; None where there are none."""
    if not groups:
        return Placement(picks=picks, pythons=pythons, needs=needs)
    group, rest = groups[0], groups[1:]
    there = {pick.name: pick for pick in picks}
    if any(name in there for name in group):
        return _placed(search, rest, picks, needs, pythons)
    for name in group:
        if _has_alternative(name, there, search.problem):
            continue
        for pick in search.picks(name, needs, pythons):
            known = [need for need in pick.needs if search.problem.is_known(need.name)]
            left = tuple(python for python in pythons if python in pick.pythons)
            if not left or any(
                need.name in there and not need.specifier.contains(there[need.name].version, prereleases=True)
                for need in known
            ):
                continue
            wanted = tuple((need.name,) for need in known if need.name not in there)
            found = _placed(search, (*wanted, *rest), (*picks, pick), (*needs, *pick.needs), left)
            if found is not None:
                return found
    return None


def _has_alternative(name: str, there: Mapping[str, Pick], problem: Problem) -> bool:
    """Whether an alternative to a package is placed already: they install the same module.

    So do `mmcv` and `mmcv-full`, of which OpenMMLab says not to install both
    (https://mmcv.readthedocs.io/en/v1.7.0/get_started/installation.html).
    """
    return any(
        name in group and any(other in there for other in group if other != name)
        for group in problem.target.packages
    )


def picks_of(
    name: str,
    requests: list[PackageRequest],
    stack: Stack,
    pythons: tuple[PythonVersion, ...],
    problem: Problem,
) -> Iterator[Pick]:
    """The releases of a package that go with a stack without a build, the best first."""
    if stack.provider is Provider.CONDA:
        yield from conda_picks(name, requests, stack, problem)
        yield from (pick for pick in _wheel_picks(name, requests, stack, pythons, problem) if pick.is_free)
        return
    found = list(_wheel_picks(name, requests, stack, pythons, problem))
    # The newest, but of the same variant before another of the same CUDA major.
    yield from sorted(found, key=lambda pick: pick.package.variant not in {"", stack.variant})


def _wheel_picks(
    name: str,
    requests: list[PackageRequest],
    stack: Stack,
    pythons: tuple[PythonVersion, ...],
    problem: Problem,
) -> Iterator[Pick]:
    matrix = problem.matrix
    extras = tuple(sorted({extra for request in requests for extra in request.extras}))
    meaning = matrix.package_of(name)
    if meaning is None:
        return
    package, variant = meaning
    for row in _wheels_beside(package, stack, problem):
        if variant and row.variant != variant:
            continue
        if not _suits(row, stack, problem) or not (set(row.pythons or pythons) & set(pythons)):
            continue
        found = _located(row, stack, matrix, extras)
        label = found.variant if found is not None and row.released_with is not None else ""
        if found is not None and all(admits(item, row.version, label) for item in requests):
            yield Pick(
                name=name,
                package=found,
                version=row.version,
                pythons=row.pythons or pythons,
                row=row,
                needs=row.needs,
                is_free=not row.cuda
                and row.released_with is None
                and not {name for name, _ in row.extras} & set(extras),
            )


def _wheels_beside(package: str, stack: Stack, problem: Problem) -> list[Release]:
    """The releases with wheels for a platform that allow a torch, the newest first; found once.

    Hundreds of rows share a few requirements on torch, so each requirement is asked, and not each row.
    """
    torch = stack.version if stack.name == TORCH else None
    key = ("wheels", package, stack.platform, torch)
    memory = problem.matrix.memory
    if key not in memory:
        rows = _by_requirement(package, stack.platform, problem)
        fitting = [
            placed
            for specifier, placed in rows
            if not specifier or (torch is not None and allows_torch(specifier, torch, problem))
        ]
        memory[key] = [row for _, row in sorted((item for part in fitting for item in part), key=_first)]
    found: list[Release] = memory[key]
    return found


def _first(item: tuple[int, Release]) -> int:
    return item[0]


def _by_requirement(
    package: str, platform: Platform, problem: Problem
) -> list[tuple[SpecifierSet, list[tuple[int, Release]]]]:
    """The releases with wheels for a platform, with their place in the order, by requirement on torch."""
    key = ("requirements", package, platform)
    memory = problem.matrix.memory
    if key not in memory:
        found: dict[int, tuple[SpecifierSet, list[tuple[int, Release]]]] = {}
        for place, row in enumerate(rows_of(package, problem)):
            if "wheel" in row.files and platform in row.platforms:
                found.setdefault(id(row.torch), (row.torch, []))[1].append((place, row))
        memory[key] = list(found.values())
    grouped: list[tuple[SpecifierSet, list[tuple[int, Release]]]] = memory[key]
    return grouped


def _suits(row: Release, stack: Stack, problem: Problem) -> bool:
    """Whether a release is for a stack's CUDA and C++ ABI."""
    if (row.abi and row.abi != stack.abi) or (row.variant == "cpu" and stack.cuda is not None):
        return False
    if row.released_with is not None:
        return stack.name == TORCH
    if row.extras and not row.cuda and stack.name != TORCH and stack.cuda is not None:
        return bool(_cuda_extra(row, stack, ()))  # without the extra it would find no CUDA at all
    if not row.cuda or stack.cuda is None:
        return not row.cuda
    lines = row.cuda_lines
    if len(lines) > 1 or (problem.matrix.is_flat(row.index) and lines):
        return stack.cuda in lines
    return stack.cuda.major in row.cuda_majors


def _located(row: Release, stack: Stack, matrix: Matrix, extras: tuple[str, ...]) -> PlannedPackage | None:
    """A package from where its build for this stack lies; None where it has none of its CUDA major."""
    if row.released_with is not None:
        sibling = _sibling(row.released_with, stack, matrix)
        return None if sibling is None else planned(row.package, row.version, sibling, matrix, extras)
    index = matrix.index(row.index) if row.index else None
    own = row.variant if row.index else ""
    torch = stack.version if stack.name == TORCH else None
    return PlannedPackage(
        name=row.project,
        version=row.version,
        variant=own or next((cuda.variant for cuda in row.cuda_lines if len(row.cuda_lines) == 1), ""),
        index=row.index,
        index_url=matrix.index_url(row.index, row.variant, torch) if index and not index.is_direct else "",
        listing=index.files if index else "",
        cuda_major=min(row.cuda_majors, default=None) if len(row.cuda_majors) == 1 else None,
        extras=tuple(dict.fromkeys((*extras, *_cuda_extra(row, stack, extras)))),
    )


def _cuda_extra(row: Release, stack: Stack, asked: tuple[str, ...]) -> tuple[str, ...]:
    """The extra that installs the stack's CUDA, where nothing else brings one."""
    if stack.name == TORCH or stack.cuda is None or {name for name, _ in row.extras} & set(asked):
        return ()
    fitting = [name for name, cuda in row.extras if CudaBinding.parse(cuda).major == stack.cuda.major]
    return (min(fitting, key=len),) if fitting else ()


def _sibling(release: Version, stack: Stack, matrix: Matrix) -> TorchBuild | Stack | None:
    """The build of a torch release whose variant a companion should have beside a stack.

    The same variant if there is one; else another of the same CUDA major, from the default index
    before others, the newest CUDA first; a CPU build goes with CPU builds only.
    """
    if stack.labelled and stack.version == release:
        return stack
    builds = [
        other
        for other in matrix.builds(stack.platform)
        if other.version == release and (other.cuda and other.cuda.major) == (stack.cuda and stack.cuda.major)
    ]
    return min(
        builds,
        key=lambda other: (
            other.variant != stack.variant,
            other.index != DEFAULT_INDEX,
            [-part for part in (other.cuda.major, other.cuda.minor)] if other.cuda else [],
        ),
        default=None,
    )
