"""Building from source: which releases can be built for a stack, and what that needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

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


def build_picks(name: str, requests: list[PackageRequest], stack: Stack, problem: Problem) -> Iterator[Pick]:
    """The releases of a package that can be built for a stack, the newest first."""
    if not can_be_built(name, problem):
        return
    family = problem.matrix.family - {TORCH}
    asked = _Recipe(name, problem.matrix.source_builds(name), requests, family)
    sources = [row for row in problem.matrix.releases(name) if "sdist" in row.files]
    for release in sorted(sources, key=lambda row: row.version, reverse=True):
        if all(item.specifier.contains(release.version, prereleases=True) for item in requests):
            yield from _pick(asked, release.version, release, stack)
    if not sources:
        # In a repository alone: the release that is pinned, else the newest commit.
        pinned = [part.version for item in requests for part in item.specifier if part.operator == "=="]
        yield from _pick(asked, Version(pinned[0]) if pinned else NEWEST, None, stack)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """A package that is to be built: its rows on building, what is asked of it, and torch's family."""

    name: str
    rows: Sequence[SourceBuild]
    requests: Sequence[PackageRequest]
    family: frozenset[str]


def _pick(asked: _Recipe, version: Version, release: Release | None, stack: Stack) -> Iterator[Pick]:
    valid = [row for row in asked.rows if _holds(row, version, stack)]
    pythons = tuple(
        python
        for python in stack.pythons
        if not any(row.broken and allows(row.python, python) for row in valid)
    )
    recipe = tuple(row for row in valid if not row.broken)
    if not pythons or not _is_whole(recipe, asked.rows):
        return
    extras = tuple(sorted({extra for request in asked.requests for extra in request.extras}))
    needed = [Requirement(text) for row in recipe for text in row.requires]
    yield Pick(
        name=asked.name,
        package=PlannedPackage(
            name=asked.name,
            version=version,
            variant="",
            index="",
            index_url="",
            cuda_major=stack.cuda.major if stack.cuda else None,
            extras=extras,
            how=How.BUILD,
            git="" if release is not None else _git(recipe, version),
        ),
        version=version,
        pythons=pythons,
        row=release or recipe[0],
        needs=tuple(need for need in needed if need.name in asked.family),
        builds=recipe,
    )


def _is_whole(recipe: Sequence[SourceBuild], rows: Sequence[SourceBuild]) -> bool:
    """Whether enough is known to build a release: what it requires, if the rows say it of other releases."""
    if any(row.requires for row in rows):
        return any(row.requires for row in recipe)
    return any(row.git or row.components for row in recipe)


def _git(rows: Sequence[SourceBuild], version: Version) -> str:
    """What pip installs from a repository: a tag where one is asked for and releases are tags."""
    text = next(row.git for row in rows if row.git)
    if version == NEWEST:
        return text.partition("@")[0] if "{version}" in text else text
    return text.format(version=version)


def _holds(row: SourceBuild, version: Version, stack: Stack) -> bool:
    """Whether a row is about this release, torch and CUDA."""
    return (
        (version == NEWEST or not row.versions or row.versions.contains(version, prereleases=True))
        and (stack.name != TORCH or row.torch.contains(stack.version, prereleases=True))
        and (stack.cuda is None or row.cuda.contains(str(stack.cuda)))
    )


def allows(specifier: SpecifierSet, python: PythonVersion) -> bool:
    """Whether some patch release of a Python line is in a specifier."""
    return not specifier or any(specifier.contains(f"{python}.{patch}") for patch in (0, SMALLEST_PATCH))


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
                text for row in pick.builds for text in row.requires if Requirement(text).name not in planned
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
