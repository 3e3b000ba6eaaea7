"""Every GPU, driver branch, target, platform and provider of the matrix: what may be planned runs there.

Plans for one machine each are tens of thousands. What may be planned for all of them is asked at once, and of
drivers one of each class: those that run the same release lines in the same way. The first tests hold that
the planner tells no more of a driver, so that no plan is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

import pytest

from cudaenv.matrix.packages import Release
from cudaenv.matrix.tables import CudaLine
from cudaenv.model.machine import Machine
from cudaenv.model.plan import How, Level
from cudaenv.model.spec import Provider
from cudaenv.model.versions import DriverVersion
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.compatibility import DriverFacts
from cudaenv.planner.problem import Problem
from cudaenv.planner.ranking import Rank
from cudaenv.planner.search import Assessment, assessments, solve
from tests.support.asking import (
    CAPABILITIES,
    LINES,
    PLATFORMS,
    PROVIDERS,
    TARGETS,
    asked,
    compiles_for,
    driver_runs,
    drivers_around_floors,
    has_own_driver,
    lab,
    numbers,
    planned,
    rows,
    runs_machine_code,
)
from tests.support.planning import machine, matrix

# Drivers, and what the planner can tell of them.


@cache
def drivers(platform: str) -> tuple[str, ...]:
    """Every branch of the tables, every floor and what is just below it; the oldest first."""
    branches = {f"{row['branch']}.{release}" for row in rows("driver-branches") for release in (1, 99)}
    floors = drivers_around_floors("windows" if platform == "win-64" else "linux")
    return tuple(sorted({*branches, *floors}, key=numbers))


def lines_of(driver: str, platform: str) -> tuple[tuple[bool, bool], ...]:
    """Whether a driver runs each release line by itself, and whether it runs it at all."""
    return tuple(
        (has_own_driver(cuda, driver, platform), driver_runs(cuda, driver, platform)) for cuda in LINES
    )


@cache
def classes(platform: str) -> tuple[str, ...]:
    """The oldest driver of each class, the oldest first."""
    found: dict[object, str] = {}
    for driver in drivers(platform):
        found.setdefault(lines_of(driver, platform), driver)
    return tuple(found.values())


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_driver_runs_the_lines_that_the_tables_say(platform: str) -> None:
    assert len(drivers(platform)) > 80
    assert len(classes(platform)) > 20
    for driver in drivers(platform):
        facts = DriverFacts.of(machine("lab", ["8.6"], driver, platform=platform), matrix())
        levels = [facts.level(row) for row in matrix().tables.cuda]
        assert [(level is Level.DIRECT, level is not None) for level in levels] == [
            (has_own_driver(str(row.cuda), driver, platform), driver_runs(str(row.cuda), driver, platform))
            for row in matrix().tables.cuda
        ]


@dataclass(frozen=True)
class Blind:
    """A driver of which nothing can be asked but how it runs a release line."""

    facts: DriverFacts
    is_known: bool = True

    @property
    def windows(self) -> bool:
        return self.facts.windows

    def level(self, line: CudaLine) -> Level | None:
        return self.facts.level(line)


class BlindProblem(Problem):
    """A problem whose drivers are seen by what they run alone."""

    def driver(self, machine: Machine) -> DriverFacts:
        blind: object = Blind(super().driver(machine))
        assert not hasattr(blind, "version")
        return blind  # type: ignore[return-value]


@pytest.mark.parametrize("target", TARGETS)
def test_the_planner_tells_drivers_apart_by_the_lines_that_they_run_alone(target: str) -> None:
    chosen = 0
    for gpu, driver, platform in product(("6.1", "8.6", "12.0"), ("470.82.01", "560.35.03"), PLATFORMS):
        spec = asked(lab(gpu, driver, platform), target=target)
        seen, blind = solve(Problem(spec, matrix())), solve(BlindProblem(spec, matrix()))
        assert (seen is None) == (blind is None)
        for one, other in zip(seen or (), blind or (), strict=True):
            chosen += 1
            assert one.candidate.stack is other.candidate.stack
            assert one.candidate.releases == other.candidate.releases
    assert chosen > 3


# Whatever is preferred, what may be chosen runs; and a newer driver never makes it worse.


def assessed(target: str, platform: str, provider: str) -> Assessment:
    """Every GPU with a driver of every class."""
    machines = [
        machine(f"{gpu}/{driver}", [gpu], driver, platform=platform)
        for gpu in CAPABILITIES
        for driver in classes(platform)
    ]
    (assessment,) = assessments(Problem(asked(*machines, target=target, provider=provider), matrix()))
    assert len(assessment.kinds) == len(machines)
    return assessment


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_may_be_planned_breaks_no_floor_reaches_every_gpu_and_is_no_worse_with_a_newer_driver(
    target: str, platform: str
) -> None:
    pairs = 0
    for provider in PROVIDERS:
        assessment = assessed(target, platform, provider)
        hosts = [host(kind.machine.name) for kind in assessment.kinds]
        for candidate, covered in assessment.coverage:
            pairs += len(covered)
            runs = Code.all_of(candidate)
            for gpu, driver in (hosts[place] for place in covered):
                assert driver_runs(str(candidate.stack.cuda), driver, platform), (candidate, driver)
                assert all(code.runs_on(gpu, driver, platform) for code in runs), (candidate.releases, gpu)
                assert candidate.toolkit is None or compiles_for(str(candidate.toolkit.cuda), gpu)
        check_newer_drivers(assessment)
    assert pairs > 2_000


def host(name: str) -> tuple[str, str]:
    gpu, driver = name.split("/")
    return gpu, driver


@dataclass(frozen=True)
class Code:
    """Code of one release line as texts: of torch, or of a package beside it."""

    cuda: str
    sms: tuple[str, ...]
    ptx: tuple[str, ...]
    exact: tuple[str, ...] = ()

    @classmethod
    def all_of(cls, candidate: Candidate) -> Sequence[Code]:
        return tuple(cls._found(candidate))

    @classmethod
    def _found(cls, candidate: Candidate) -> Iterator[Code]:
        stack = candidate.stack
        assert stack.cuda is not None
        assert candidate.toolkit is None or candidate.toolkit.cuda == stack.cuda
        yield cls(str(stack.cuda), texts(stack.sms), texts(stack.ptx))
        # What is built has the code that it is built for.
        for row in (pick.row for pick in candidate.picks if pick.package.how is How.WHEEL):
            if isinstance(row, Release) and (row.sms or row.exact):
                (line,) = row.cuda_lines if row.ptx else ("",)
                yield cls(str(line), texts(row.sms), texts(row.ptx), texts(row.exact))

    def runs_on(self, gpu: str, driver: str, platform: str) -> bool:
        by_ptx = any(numbers(sm) <= numbers(gpu) for sm in self.ptx)
        return (
            runs_machine_code(self.sms, gpu)
            or gpu in self.exact
            or (by_ptx and has_own_driver(self.cuda, driver, platform))
        )


def texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def check_newer_drivers(assessment: Assessment) -> None:
    """The best that may be planned for a GPU never gets worse from a driver to a newer one."""
    best: dict[int, tuple[tuple[bool, bool], Rank]] = {}
    for candidate, covered in assessment.coverage:
        for place in covered:
            rated = (candidate.tier, assessment.rank(candidate, [assessment.kinds[place]]))
            best[place] = min(rated, best.get(place, rated))
    for older, newer in pairwise(range(len(assessment.kinds))):
        same_gpu = len({host(assessment.kinds[place].machine.name)[0] for place in (older, newer)}) == 1
        if same_gpu and older in best:
            assert newer in best, assessment.kinds[newer].machine.name
            assert best[newer] <= best[older], assessment.kinds[newer].machine.name


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_is_planned_for_one_machine_is_among_what_may_be(provider: str) -> None:
    """The law above is about candidates; this ties it to plans, for every target."""
    for target, gpu in product(TARGETS, ("5.2", "7.5", "10.3")):
        for driver in ("470.82.01", "550.54.15", "595.71.05"):
            for item in planned(asked(lab(gpu, driver), target=target, provider=provider)):
                assert item.cuda is not None
                assert driver_runs(str(item.cuda), driver)
                assert item.driver_required is not None
                assert item.driver_required.linux is not None
                assert item.driver_required.linux <= DriverVersion.parse(driver)
                assert Provider(item.provider) in matrix_providers(target)


def matrix_providers(target: str) -> tuple[Provider, ...]:
    return tuple(Provider(word) for word in matrix().target(target).providers)
