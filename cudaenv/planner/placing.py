"""Placing: which release of each known package goes with a stack, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from packaging.requirements import Requirement

from cudaenv.model.spec import PackageRequest, Provider
from cudaenv.model.versions import PythonVersion
from cudaenv.planner.building import build_picks
from cudaenv.planner.conda_picks import conda_picks
from cudaenv.planner.offers import applies
from cudaenv.planner.picks import Pick
from cudaenv.planner.problem import Problem
from cudaenv.planner.stacks import Stack
from cudaenv.planner.wheel_picks import free_picks, wheel_picks


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
    """What stays the same while packages are placed beside one stack.

    `found` are the picks of each package as far as they were looked at, and where more come from.
    """

    problem: Problem
    stack: Stack
    requests: Mapping[str, list[PackageRequest]]
    building: frozenset[str]
    found: dict[str, tuple[list[Pick], Iterator[Pick]]] = field(default_factory=dict)

    def picks(self, name: str, needs: tuple[Requirement, ...]) -> Iterator[Pick]:
        """What can be had of a package, the best first."""
        bounds = [need.specifier for need in needs if need.name == name]
        return (
            pick
            for pick in self._all(name)
            if all(bound.contains(pick.version, prereleases=True) for bound in bounds)
        )

    def _all(self, name: str) -> Iterator[Pick]:
        """The picks of a package, each looked for once and only when it is asked for."""
        if name not in self.found:
            look = build_picks if name in self.building else picks_of
            more = look(name, self.requests.get(name, []), self.stack, self.problem)
            self.found[name] = ([], more)
        known, more = self.found[name]
        for place in count():
            if place == len(known):
                pick = next(more, None)
                if pick is None:
                    return
                known.append(pick)
            yield known[place]


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
    if len(groups) == 1:
        return Placement(pythons=pythons, missing=groups[0][:1])
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
        if search.problem.matrix.rivals(name) & there.keys():
            continue
        for pick in search.picks(name, needs):
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


def picks_of(name: str, requests: list[PackageRequest], stack: Stack, problem: Problem) -> Iterator[Pick]:
    """The releases of a package that go with a stack without a build, the best first."""
    if stack.provider is Provider.CONDA:
        yield from conda_picks(name, requests, stack, problem)
        yield from free_picks(name, requests, stack, problem)
    else:
        yield from wheel_picks(name, requests, stack, problem)
