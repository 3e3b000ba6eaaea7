"""Building from source: which releases can be built for a stack, and what that needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.version import Version

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import Release, SourceBuild
from cudaenv.model.plan import How, Phase, PlannedPackage
from cudaenv.model.spec import PackageRequest
from cudaenv.model.versions import ComputeCapability, PythonVersion
from cudaenv.planner.picks import Pick
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.stacks import Stack

NEWEST = Version("0")
"""The version of what is built from the newest commit of a repository: none is known."""

SMALLEST_PATCH = 40


def can_be_built(name: str, problem: Problem) -> bool:
    """Whether the matrix knows how a package is built."""
    return any(row.requires or row.git or row.components for row in problem.matrix.source_builds(name))


Buildable = tuple[Version, Release | None, tuple[SourceBuild, ...]]
"""What can be built: a version, its row where it has a source distribution, and the rows on building it."""


def build_picks(name: str, requests: list[PackageRequest], stack: Stack, problem: Problem) -> Iterator[Pick]:
    """The releases of a package that can be built for a stack, the newest first."""
    asked = _Asked(name, requests, stack, problem)
    about = {id(row): row for row in asked.rows if _is_about(row, stack)}
    if not asked.is_whole([row for row in about.values() if not row.broken]):
        return
    for version, release, rows in _buildable(asked):
        if release is None or all(item.specifier.contains(version, prereleases=True) for item in requests):
            yield from _pick(asked, version, release, [row for row in rows if id(row) in about])


@dataclass(frozen=True, slots=True)
class _Asked:
    """A package that is to be built for a stack."""

    name: str
    requests: Sequence[PackageRequest]
    stack: Stack
    problem: Problem

    @property
    def rows(self) -> Sequence[SourceBuild]:
        """All that is known of building it."""
        return self.problem.matrix.source_builds(self.name)

    def is_whole(self, recipe: Sequence[SourceBuild]) -> bool:
        """Whether enough is known to build a release: what it requires, if rows say it of other releases."""
        if any(row.requires for row in self.rows):
            return any(row.requires for row in recipe)
        return any(row.git or row.components for row in recipe)


def _buildable(asked: _Asked) -> Sequence[Buildable]:
    """The releases that can be built at all, the newest first; found once.

    Of what is in a repository alone the release that is pinned, else the newest commit.
    """
    sources = asked.problem.matrix.sources(asked.name)
    if not sources:
        pinned = [part.version for item in asked.requests for part in item.specifier if part.operator == "=="]
        version = Version(pinned[0]) if pinned else NEWEST
        return [(version, None, _about_release(asked, version))]
    memory, key = asked.problem.matrix.memory, ("buildable", asked.name)
    if key not in memory:
        memory[key] = [(row.version, row, _about_release(asked, row.version)) for row in sources]
    found: Sequence[Buildable] = memory[key]
    return found


def _about_release(asked: _Asked, version: Version) -> tuple[SourceBuild, ...]:
    return tuple(
        row
        for row in asked.rows
        if version == NEWEST or not row.versions or row.versions.contains(version, prereleases=True)
    )


def late_builds(version: Version, stack: Stack, rows: Sequence[SourceBuild]) -> tuple[SourceBuild, ...]:
    """What a wheel of a release needs to compile its code when it is first imported; nothing for most."""
    return tuple(
        row
        for row in rows
        if row.late and _is_about(row, stack) and (not row.versions or row.versions.contains(version))
    )


def _is_about(row: SourceBuild, stack: Stack) -> bool:
    """Whether a row is about a stack's torch and CUDA."""
    return (stack.name != TORCH or not row.torch or row.torch.contains(stack.version, prereleases=True)) and (
        stack.cuda is None or not row.cuda or row.cuda.contains(str(stack.cuda))
    )


def _pick(
    asked: _Asked, version: Version, release: Release | None, rows: Sequence[SourceBuild]
) -> Iterator[Pick]:
    """A release as a pick, where the rows about it and the stack say all that a build needs."""
    recipe = tuple(row for row in rows if not row.broken and not row.late)
    if not asked.is_whole(recipe):
        return
    broken = [row for row in rows if row.broken]
    stack, matrix = asked.stack, asked.problem.matrix
    pythons = tuple(
        python for python in stack.pythons if not any(_fails_on(python, row, matrix) for row in broken)
    )
    if not pythons:
        return
    family = matrix.family - {TORCH}
    yield Pick(
        name=asked.name,
        package=PlannedPackage(
            name=asked.name,
            version=version,
            variant="",
            index="",
            index_url="",
            cuda_major=stack.cuda.major if stack.cuda else None,
            extras=tuple(sorted({extra for request in asked.requests for extra in request.extras})),
            how=How.BUILD,
            git="" if release is not None else _git(recipe, version),
        ),
        version=version,
        pythons=pythons,
        row=release or recipe[0],
        needs=tuple(need for row in recipe for need in row.requires if need.name in family),
        builds=recipe,
    )


def _git(rows: Sequence[SourceBuild], version: Version) -> str:
    """What pip installs from a repository: a tag where one is asked for and releases are tags."""
    text = next(row.git for row in rows if row.git)
    if version == NEWEST:
        return text.partition("@")[0] if "{version}" in text else text
    return text.format(version=version)


def _fails_on(python: PythonVersion, row: SourceBuild, matrix: Matrix) -> bool:
    """Whether a broken build is so with some patch release of a Python line; asked once of each pair."""
    key = ("fails", id(row), python)
    if key not in matrix.memory:
        patches = (f"{python}.{patch}" for patch in (0, SMALLEST_PATCH))
        matrix.memory[key] = not row.python or any(row.python.contains(patch) for patch in patches)
    return bool(matrix.memory[key])


def in_order(picks: Sequence[Pick]) -> Iterator[Pick]:
    """Packages that are built, each after those of them that its build requires.

    Else they keep their order, that of the user. Where they require each other in a circle, the first goes
    first.
    """
    left = list(picks)
    while left:
        waiting = [{other.name for other in left if other is not pick} & _required(pick) for pick in left]
        yield left.pop(next((place for place, names in enumerate(waiting) if not names), 0))


def _required(pick: Pick) -> set[str]:
    return {need.name for row in pick.builds for need in row.requires}


def phase(pick: Pick, sms: Sequence[ComputeCapability], home: str, planned: frozenset[str]) -> Phase:
    """How a package is built: without isolation, after what it needs, with its variables set.

    Values of variables name the SM architectures by `{sms}` (`8.6;9.0`) or, for packages with code for a
    major version each, by `{archs}` (`80;90`); the number of compilers at a time by `{jobs}` and the toolkit
    by `{cuda_home}`. `planned` are the packages that are there before.
    """
    values = {
        "sms": ";".join(str(sm) for sm in sms),
        "archs": ";".join(str(major) for major in dict.fromkeys(sm.major * 10 for sm in sms)),
        "jobs": JOBS,
        "cuda_home": home,
    }
    env = {key: value.format(**values) for row in pick.builds for key, value in row.env}
    minutes = [int(row.minutes) for row in pick.builds if row.minutes]
    return Phase(
        install=(pick.package.requirement,),
        builds=True,
        components=tuple(sorted(components([pick]))),
        requires=tuple(
            dict.fromkeys(
                str(need) for row in pick.builds for need in row.requires if need.name not in planned
            )
        ),
        env=tuple(sorted(env.items())),
        minutes=max(minutes) * max(len(sms), 1) if minutes else None,
        notes=tuple(dict.fromkeys(row.breaks for row in pick.builds if row.breaks)),
    )


JOBS = "4"
"""Compilers at a time: nvcc takes up to some gigabytes of memory each, and four fit into a usual machine."""


def components(picks: Sequence[Pick]) -> frozenset[str]:
    """The parts of a toolkit that building these packages needs."""
    return frozenset(part for pick in picks for row in pick.builds for part in row.components)
