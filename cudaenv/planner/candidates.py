"""Candidates: every complete environment that exists for a platform."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from packaging.version import Version

from cudaenv.matrix.packages import Release
from cudaenv.model.machine import Platform
from cudaenv.model.plan import How
from cudaenv.model.spec import COMPILER, Provider
from cudaenv.model.versions import PythonVersion
from cudaenv.planner.building import can_be_built, components
from cudaenv.planner.offers import admitting_pythons
from cudaenv.planner.picks import Pick
from cudaenv.planner.placing import Placement, place
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.stacks import Stack, stacks
from cudaenv.planner.toolkits import Toolkit, toolkits


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A stack with the packages that go with it, a toolkit where one is needed, and the possible Pythons.

    `missing` names packages that are asked for and that nothing was found for; `lacks_toolkit` says that
    one is needed and no allowed provider has it, `is_outdated` that all its Pythons are past their end,
    `is_excluded` that the user's words on torch or CUDA exclude the stack.
    """

    stack: Stack
    placement: Placement = field(default_factory=Placement)
    pythons: tuple[PythonVersion, ...] = ()
    toolkit: Toolkit | None = None
    lacks_toolkit: bool = False
    is_outdated: bool = False
    is_excluded: bool = False

    @property
    def picks(self) -> tuple[Pick, ...]:
        """The packages beside torch."""
        return self.placement.picks

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that nothing was found for."""
        return self.placement.missing

    @cached_property
    def built(self) -> tuple[Pick, ...]:
        """The packages that are built from source."""
        return tuple(pick for pick in self.picks if pick.package.how is How.BUILD)

    @property
    def compiles_late(self) -> bool:
        """Whether some package is a wheel that compiles its code when it is first imported."""
        return any(pick.builds and pick.package.how is How.WHEEL for pick in self.picks)

    @property
    def releases(self) -> dict[str, Version]:
        """The release of each package by its name; torch, where the stack is one of it, is the first."""
        torch = {TORCH: self.stack.version} if self.stack.name == TORCH else {}
        return torch | {pick.name: pick.version for pick in self.picks}

    @property
    def has_unknown_pythons(self) -> bool:
        """Whether some package has wheels for nobody knows which Pythons."""
        return any(
            isinstance(pick.row, Release) and not pick.row.pythons and pick.package.how is How.WHEEL
            for pick in self.picks
        )

    @cached_property
    def provider(self) -> Provider:
        """Who supplies CUDA; the system where it supplies the toolkit beside the runtime of wheels."""
        if self.stack.provider is Provider.PIP and self.toolkit is not None:
            return self.toolkit.provider
        return self.stack.provider

    @cached_property
    def tier(self) -> tuple[bool, bool]:
        """What comes before all else: nothing to build, on a Python that lives; then wheels before conda."""
        is_stale = self.is_outdated and bool(self.picks)
        return bool(self.built) or is_stale, self.stack.provider is Provider.CONDA


def candidates(
    problem: Problem, platform: Platform, runs_on: Callable[[Stack], Collection[int]]
) -> Iterator[Candidate]:
    """All candidates for a platform, with nothing rejected yet.

    Packages and a toolkit are looked for where a stack is of use by itself: where the user's words exclude
    it, or it `runs_on` none of the machines, that says enough.
    """
    for stack in stacks(problem, platform):
        pythons = admitting_pythons(stack, problem.requests.get(TORCH, []))
        excluded = not pythons or _is_excluded(stack, problem)
        if excluded or not runs_on(stack):
            yield Candidate(stack=stack, pythons=stack.pythons, is_excluded=excluded)
            continue
        ready = place(problem, stack, pythons)
        yield from _with_toolkits(problem, stack, ready)
        building = frozenset(name for name in ready.missing if can_be_built(name, problem))
        if building and stack.cuda is not None:
            yield from _with_toolkits(problem, stack, place(problem, stack, pythons, building))


def _is_excluded(stack: Stack, problem: Problem) -> bool:
    """Whether the user's word on CUDA excludes a stack."""
    cuda = problem.spec.cuda
    return not cuda.allows(stack.cuda) if stack.cuda else cuda.specifier is not None


def _with_toolkits(problem: Problem, stack: Stack, placement: Placement) -> Iterator[Candidate]:
    """A candidate for each toolkit that will do, or one without where none is needed."""
    compiled = [pick for pick in placement.picks if pick.builds]
    pythons = placement.pythons
    outdated = not any(problem.matrix.is_supported(python) for python in reversed(pythons))
    wanted = stack.cuda is not None and (
        compiled or _compiles(problem) or problem.spec.provider is Provider.SYSTEM
    )
    if not wanted:
        yield Candidate(stack=stack, placement=placement, pythons=pythons, is_outdated=outdated)
        return
    found: list[Toolkit | None] = [*toolkits(stack, components(compiled), problem)]
    for toolkit in found or [None]:
        yield Candidate(
            stack=stack,
            placement=placement,
            pythons=pythons,
            toolkit=toolkit,
            lacks_toolkit=toolkit is None,
            is_outdated=outdated,
        )


def _compiles(problem: Problem) -> bool:
    """Whether the target needs nvcc: not where only packages are asked for that compile without it.

    Numba and CuPy bring the compiler of their own kernels (NVVM, NVRTC) as libraries.
    """
    if COMPILER not in problem.target.components:
        return False
    if problem.needs_torch:
        return True
    return any(
        COMPILING in row.components
        for name in problem.requests
        for package in [problem.matrix.package_of(name)]
        if package is not None
        for row in problem.matrix.source_builds(package[0])
    )


COMPILING = "nvcc"
"""The part of a toolkit without which nothing is compiled."""
