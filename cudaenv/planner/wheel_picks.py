"""Wheels beside torch: which release of a package goes with a stack, and from which index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import Release, TorchBuild
from cudaenv.matrix.tables import DEFAULT_INDEX
from cudaenv.model.machine import Platform
from cudaenv.model.plan import PlannedPackage
from cudaenv.model.spec import PackageRequest
from cudaenv.model.versions import CudaBinding
from cudaenv.planner.building import late_builds
from cudaenv.planner.offers import admits, allows_torch, rows_of
from cudaenv.planner.picks import Pick
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.stacks import Stack, planned

Placed = tuple[int, Release]
"""A release with its place in the order of preference."""


def wheel_picks(name: str, requests: list[PackageRequest], stack: Stack, problem: Problem) -> Iterator[Pick]:
    """The releases of a package with a wheel that goes with a stack, the best first.

    That is the newest, but of the stack's own variant before another of the same CUDA major.
    """
    others = []
    for row in _rows(name, stack, problem, lambda row: _suits(row, stack, problem.matrix)):
        if _variant(row, stack, problem.matrix) in {"", stack.variant}:
            yield from _pick(name, row, requests, stack, problem.matrix)
        else:
            others.append(row)
    for row in others:
        yield from _pick(name, row, requests, stack, problem.matrix)


def free_picks(name: str, requests: list[PackageRequest], stack: Stack, problem: Problem) -> Iterator[Pick]:
    """The releases with a wheel that is bound to no CUDA and brings none, the newest first."""
    asked = {extra for request in requests for extra in request.extras}

    def is_free(row: Release) -> bool:
        is_bound = row.cuda or row.released_with is not None or asked & {name for name, _ in row.extras}
        return not is_bound and _suits(row, stack, problem.matrix)

    for row in _rows(name, stack, problem, is_free):
        yield from _pick(name, row, requests, stack, problem.matrix)


def _pick(
    name: str, row: Release, requests: list[PackageRequest], stack: Stack, matrix: Matrix
) -> Iterator[Pick]:
    """A release as a pick, where the user's requests allow it and it is there for this stack."""
    label = _variant(row, stack, matrix) if row.released_with is not None else ""
    if label is None or not all(admits(item, row.version, label) for item in requests):
        return
    extras = tuple(sorted({extra for request in requests for extra in request.extras}))
    yield Pick(
        name=name,
        package=_located(row, stack, matrix, extras),
        version=row.version,
        pythons=row.pythons or stack.pythons,
        row=row,
        needs=row.needs,
        builds=late_builds(row.version, stack, matrix.source_builds(row.package)),
    )


def _rows(name: str, stack: Stack, problem: Problem, suits: Callable[[Release], bool]) -> list[Release]:
    """The releases with wheels for a stack's platform and torch that suit it, the newest first.

    Hundreds of rows share a few requirements on torch and a few CUDAs, so each of these is asked, and not
    each row.
    """
    meaning = problem.matrix.package_of(name)
    if meaning is None:
        return []
    package, variant = meaning
    torch = stack.version if stack.name == TORCH else None
    found = (rows for rows in _beside_torch(package, stack.platform, torch, problem) if suits(rows[0][1]))
    in_order = sorted(chain.from_iterable(found), key=_first)
    return [row for _, row in in_order if not variant or row.variant == variant]


def _first(item: Placed) -> int:
    return item[0]


def _beside_torch(
    package: str, platform: Platform, torch: Version | None, problem: Problem
) -> Sequence[Sequence[Placed]]:
    """The releases that allow a torch, by all that `_suits` asks; found once for all builds of it."""
    key = ("beside", package, platform, torch)
    memory = problem.matrix.memory
    if key not in memory:
        memory[key] = [
            rows
            for specifier, alike in _by_requirement(package, platform, problem)
            if not specifier or (torch is not None and allows_torch(specifier, torch, problem))
            for rows in alike
        ]
    found: Sequence[Sequence[Placed]] = memory[key]
    return found


def _by_requirement(
    package: str, platform: Platform, problem: Problem
) -> list[tuple[SpecifierSet, Sequence[Sequence[Placed]]]]:
    """The releases with wheels for a platform by requirement on torch, and then by all that `_suits` asks."""
    key = ("requirements", package, platform)
    memory = problem.matrix.memory
    if key not in memory:
        found: dict[int, tuple[SpecifierSet, dict[object, list[Placed]]]] = {}
        for place, row in enumerate(rows_of(package, problem)):
            if "wheel" in row.files and platform in row.platforms:
                # Equal specifiers of the tables are one object.
                _, alike = found.setdefault(id(row.torch), (row.torch, {}))
                asked = (row.variant, row.index, row.abi, row.cuda, row.extras, row.released_with is None)
                alike.setdefault(asked, []).append((place, row))
        memory[key] = [(specifier, list(alike.values())) for specifier, alike in found.values()]
    grouped: list[tuple[SpecifierSet, Sequence[Sequence[Placed]]]] = memory[key]
    return grouped


def _suits(row: Release, stack: Stack, matrix: Matrix) -> bool:
    """Whether a release is for a stack's CUDA and C++ ABI; `_by_requirement` sorts by what it asks."""
    if (row.abi and row.abi != stack.abi) or (row.variant == "cpu" and stack.cuda is not None):
        return False
    if row.released_with is not None:
        return stack.name == TORCH
    if row.extras and not row.cuda and stack.name != TORCH and stack.cuda is not None:
        return bool(_cuda_extra(row, stack, ()))  # without the extra it would find no CUDA at all
    if not row.cuda or stack.cuda is None:
        return not row.cuda
    lines = row.cuda_lines
    if len(lines) > 1 or (matrix.is_flat(row.index) and lines):
        return stack.cuda in lines
    return stack.cuda.major in row.cuda_majors


def _variant(row: Release, stack: Stack, matrix: Matrix) -> str | None:
    """The variant in which a release lies beside a stack, empty for none; None where there is no build."""
    if row.released_with is not None:
        sibling = _sibling(row.released_with, stack, matrix)
        return None if sibling is None else sibling.variant
    own = row.variant if row.index else ""
    return own or next((cuda.variant for cuda in row.cuda_lines if len(row.cuda_lines) == 1), "")


def _located(row: Release, stack: Stack, matrix: Matrix, extras: tuple[str, ...]) -> PlannedPackage:
    """A package from where its build for this stack lies; `_variant` has told that there is one."""
    if row.released_with is not None:
        sibling = _sibling(row.released_with, stack, matrix)
        assert sibling is not None  # noqa: S101
        return planned(row.package, row.version, sibling, matrix, extras)
    index = matrix.index(row.index) if row.index else None
    torch = stack.version if stack.name == TORCH else None
    return PlannedPackage(
        name=row.project,
        version=row.version,
        variant=_variant(row, stack, matrix) or "",
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
    major = stack.cuda and stack.cuda.major
    builds = [
        other
        for other in matrix.builds(stack.platform, release)
        if (other.cuda and other.cuda.major) == major
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
