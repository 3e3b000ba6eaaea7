"""The search: the fewest environments that cover all machines, the best of them by stated preferences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count

from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import Level, Reason
from cudaenv.model.spec import Spec
from cudaenv.model.versions import PythonVersion
from cudaenv.planner import ranking
from cudaenv.planner.candidates import Candidate, candidates
from cudaenv.planner.machine_rules import BESIDE_RULES, STACK_RULES, MachineRule
from cudaenv.planner.problem import Problem
from cudaenv.planner.ranking import Rank
from cudaenv.planner.rules import allowed_pythons, machine_rejections, spec_rejections
from cudaenv.planner.stacks import Stack

UNKNOWN_MACHINE = "any machine"
"""The name of the machine that is planned for where the user states none."""

Covering = tuple[Candidate, frozenset[int]]


@dataclass(frozen=True, slots=True)
class MachineKind:
    """Machines that the planner cannot tell apart, by a representative with at most one kind of GPU.

    `members` are names of machines, each with the GPU that is meant where the machine has several
    kinds: an environment may serve one GPU of a machine and another environment the other.
    """

    machine: Machine
    members: tuple[tuple[str, str], ...]


def kinds_by_platform(spec: Spec) -> dict[Platform, tuple[MachineKind, ...]]:
    """The kinds of machines on each platform that is planned.

    The platforms are those of the spec, else those that machines state, else linux-64. A platform
    without machines gets one of which nothing is known.
    """
    stated = [machine.platform.value for machine in spec.machines if machine.platform]
    homes: dict[Platform, list[Machine]] = {platform: [] for platform in spec.platforms or stated}
    for machine in spec.machines:
        for platform in [machine.platform.value] if machine.platform else _unsaid(spec, stated):
            homes.setdefault(platform, []).append(_taken_for(platform, machine))
    if not homes:
        homes[Platform.LINUX_64] = []
    return {
        platform: _kinds(machines or [Machine(name=UNKNOWN_MACHINE)]) for platform, machines in homes.items()
    }


def _unsaid(spec: Spec, stated: Sequence[Platform]) -> Sequence[Platform]:
    """The platforms of a machine that does not say its own.

    Those of the spec that no other machine states; where there is none, linux-64 or the spec's first.
    """
    left = [platform for platform in spec.platforms if platform not in stated]
    if left or not spec.platforms:
        return left or [Platform.LINUX_64]
    return [Platform.LINUX_64 if Platform.LINUX_64 in spec.platforms else spec.platforms[0]]


def _taken_for(platform: Platform, machine: Machine) -> Machine:
    """A machine that does not say its platform has the drivers of the one it is planned for."""
    if machine.platform is None and platform is Platform.WIN_64:
        return replace(machine, uses_windows_driver=True)
    return machine


def _kinds(machines: Sequence[Machine]) -> tuple[MachineKind, ...]:
    found: dict[tuple[object, ...], list[tuple[Machine, str]]] = {}
    for machine in machines:
        for unit, gpu in units(machine):
            found.setdefault(unit.kind(), []).append((unit, gpu))
    return tuple(
        MachineKind(group[0][0], tuple((unit.name, gpu) for unit, gpu in group)) for group in found.values()
    )


def units(machine: Machine) -> list[tuple[Machine, str]]:
    """A machine once for each kind of GPU in it, with the GPU's name; as it is where it has one kind."""
    kinds = {gpu.capability: gpu for gpu in machine.gpus or ()}
    if len(kinds) < 2:
        return [(machine, "")]
    return [(replace(machine, gpus=(gpu,)), gpu.name) for gpu in kinds.values()]


@dataclass(frozen=True)
class Assessment:
    """All candidates of a platform with what stands against each, for every kind of machine."""

    platform: Platform
    kinds: tuple[MachineKind, ...]
    problem: Problem

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every candidate, the ones that the spec excludes among them."""
        return tuple(candidates(self.problem, self.platform, self._runs_on))

    @cached_property
    def possible(self) -> tuple[Covering, ...]:
        """The candidates that the spec allows, with the kinds of machines, by position, that each runs on."""
        return tuple(
            (candidate, self._covered(candidate))
            for candidate in self.candidates
            if not candidate.is_excluded and not any(True for _ in spec_rejections(candidate, self.problem))
        )

    def _covered(self, candidate: Candidate) -> frozenset[int]:
        """The kinds that a candidate runs on, among those that its stack does."""
        places = self._runs_on(candidate.stack)
        if not (candidate.picks or candidate.toolkit):
            return places
        return frozenset(
            place
            for place in places
            for against in [self._against(candidate, place, BESIDE_RULES)]
            if not any(True for _ in against)
        )

    def _runs_on(self, stack: Stack) -> frozenset[int]:
        """The kinds that a stack by itself runs on."""
        if stack not in self._stacks:
            alone = Candidate(stack=stack)
            self._stacks[stack] = frozenset(
                place
                for place in range(len(self.kinds))
                for against in [self._against(alone, place, STACK_RULES)]
                if not any(True for _ in against)
            )
        return self._stacks[stack]

    @cached_property
    def _stacks(self) -> dict[Stack, frozenset[int]]:
        return {}

    def _against(self, candidate: Candidate, place: int, rules: Sequence[MachineRule]) -> Iterator[Reason]:
        return machine_rejections(candidate, self.kinds[place].machine, self.problem, rules)

    @cached_property
    def tiers(self) -> dict[int, tuple[bool, bool]]:
        """The best tier in which each kind of machine, by position, can be served at all."""
        found: dict[int, tuple[bool, bool]] = {}
        for candidate, covered in self.possible:
            for index in covered:
                found[index] = min(candidate.tier, found.get(index, candidate.tier))
        return found

    @cached_property
    def coverage(self) -> tuple[Covering, ...]:
        """The candidates with the kinds that each is meant for: those with nothing of a better tier.

        So nothing is built for a machine that a wheel serves, and what becomes of a machine does not hang
        on the others.
        """
        meant = (
            (candidate, frozenset(index for index in covered if self.tiers[index] == candidate.tier))
            for candidate, covered in self.possible
        )
        return tuple((candidate, covered) for candidate, covered in meant if covered)

    @property
    def is_coverable(self) -> bool:
        """Whether every kind of machine can be covered."""
        return len(self.tiers) == len(self.kinds)

    def rejections(self, candidate: Candidate, kinds: Sequence[MachineKind]) -> Iterator[Reason]:
        """All that stands against a candidate, for the spec and some kinds of machines."""
        on_machines = (machine_rejections(candidate, kind.machine, self.problem) for kind in kinds)
        return chain(spec_rejections(candidate, self.problem), chain.from_iterable(on_machines))

    def level(self, candidate: Candidate, kinds: Sequence[MachineKind]) -> Level:
        """How the drivers run a candidate: see `ranking.level`."""
        return ranking.level(candidate, [kind.machine for kind in kinds], self.problem)

    def rank(self, candidate: Candidate, kinds: Sequence[MachineKind]) -> Rank:
        """The order of preference, the best first: see `ranking.PREFERENCES`."""
        return ranking.rank(candidate, [kind.machine for kind in kinds], self.problem)


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate and the kinds of machines it is for."""

    candidate: Candidate
    kinds: tuple[MachineKind, ...]
    assessment: Assessment
    python: PythonVersion


def assessments(problem: Problem) -> list[Assessment]:
    """One assessment for each platform of the problem."""
    return [
        Assessment(platform, kinds, problem) for platform, kinds in kinds_by_platform(problem.spec).items()
    ]


def solve(problem: Problem) -> tuple[Choice, ...] | None:
    """The choices that cover every machine, or None where one cannot be covered.

    Where several CUDAs are asked for, there are choices for each.
    """
    if problem.spec.variants:
        found = [solve(one) for one in variants(problem)]
        return None if None in found else tuple(choice for part in found for choice in part or ())
    covers = []
    for assessment in assessments(problem):
        if not assessment.is_coverable:
            return None
        covers += [(assessment, candidate, group) for candidate, group in _cover(assessment)]
    common = _common_python([candidate for _, candidate, _ in covers], problem)
    return tuple(
        Choice(candidate, group, assessment, common or max(allowed_pythons(candidate, problem)))
        for assessment, candidate, group in covers
    )


def variants(problem: Problem) -> list[Problem]:
    """The problem once for each CUDA that is asked for; as it is where one is."""
    spec = problem.spec
    return [problem.with_spec(replace(spec, cuda=cuda, variants=())) for cuda in spec.variants] or [problem]


def is_plannable(problem: Problem) -> bool:
    """Whether every machine can be covered; cheaper than a solution."""
    if problem.spec.variants:
        return all(is_plannable(one) for one in variants(problem))
    return all(assessment.is_coverable for assessment in assessments(problem))


def _common_python(chosen: Sequence[Candidate], problem: Problem) -> PythonVersion | None:
    """The newest Python that all environments have wheels for, so that a team has one.

    Where it is not known for which Pythons a package has wheels, the middle one of torch's: it is the
    likeliest, and locking tells.
    """
    common = set.intersection(*(set(allowed_pythons(candidate, problem)) for candidate in chosen))
    if common and any(candidate.has_unknown_pythons for candidate in chosen):
        return sorted(common)[(len(common) - 1) // 2]
    return max(common, default=None)


def _cover(assessment: Assessment) -> list[tuple[Candidate, tuple[MachineKind, ...]]]:
    """The fewest candidates that cover all kinds, and the best of those covers."""
    frontier = _frontier(assessment)
    everything = frozenset(range(len(assessment.kinds)))
    covers = next(
        found for size in count(1) for found in [list(_covers(frontier, everything, size))] if found
    )
    options = [_assign(assessment, cover) for cover in covers]
    return min(options, key=lambda groups: sorted(assessment.rank(c, kinds) for c, kinds in groups))


def _frontier(assessment: Assessment) -> list[Covering]:
    """The candidates worth considering: none that a better one covers all the machines of."""
    rated = []
    for place, (candidate, covered) in enumerate(assessment.coverage):
        kinds = [assessment.kinds[index] for index in sorted(covered)]
        rated.append((assessment.rank(candidate, kinds), place))
    frontier: list[Covering] = []
    for _, place in sorted(rated):
        candidate, covered = assessment.coverage[place]
        if covered and not any(covered <= better for _, better in frontier):
            frontier.append((candidate, covered))
    return frontier


def _covers(
    frontier: Sequence[Covering], open_kinds: frozenset[int], size: int
) -> Iterator[tuple[Covering, ...]]:
    """All sets of `size` candidates that cover the open kinds: exactly, by the lowest open one."""
    if not open_kinds:
        yield ()
        return
    if size == 0:
        return
    lowest = min(open_kinds)
    for item in frontier:
        if lowest in item[1]:
            for others in _covers(frontier, open_kinds - item[1], size - 1):
                yield (item, *others)


def _assign(
    assessment: Assessment, cover: Sequence[Covering]
) -> list[tuple[Candidate, tuple[MachineKind, ...]]]:
    """Each kind goes to the best candidate of a cover that runs on it; then each group gets its own best.

    The second step matters where a candidate was ranked by machines that another one now serves.
    """
    groups: dict[int, list[int]] = {}
    for index, kind in enumerate(assessment.kinds):
        serving = [place for place, (_, covered) in enumerate(cover) if index in covered]
        best = min(serving, key=lambda place: assessment.rank(cover[place][0], [kind]))
        groups.setdefault(best, []).append(index)
    assigned = []
    for place in sorted(groups):
        kinds = tuple(assessment.kinds[index] for index in groups[place])
        serving_all = [c for c, covered in assessment.coverage if frozenset(groups[place]) <= covered]
        best_candidate = min(serving_all, key=lambda c: assessment.rank(c, kinds))
        assigned.append((best_candidate, kinds))
    return assigned
