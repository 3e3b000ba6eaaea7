"""Packages beside torch in the channels of conda."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from cudaenv.matrix.places import CondaBuild
from cudaenv.matrix.tables import Row
from cudaenv.model.plan import How, PlannedPackage
from cudaenv.model.spec import PackageRequest
from cudaenv.model.versions import PythonVersion
from cudaenv.planner.offers import admits, allows_torch, rows_of
from cudaenv.planner.picks import Pick
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.stacks import Stack


def conda_picks(name: str, requests: list[PackageRequest], stack: Stack, problem: Problem) -> Iterator[Pick]:
    """The builds of a package in the stack's channels; of torch's siblings those that the solver finds."""
    channels = stack.era.channels if stack.era else ()
    rows = [
        row
        for row in problem.matrix.conda_builds(name)
        if row.channel in channels and (stack.cuda is None) == (row.variant == "cpu")
    ]
    fitting = [row for row in rows if row.platform is stack.platform and row.variant == stack.variant]
    for row in sorted(fitting, key=lambda row: row.version, reverse=True):
        if (stack.name != TORCH or not row.torch or allows_torch(row.torch, stack.version, problem)) and all(
            admits(item, row.version, "") for item in requests
        ):
            yield _conda_pick(name, row.version, row, stack, row.pythons or stack.pythons)
    if rows:
        return
    for release in rows_of(name, problem):
        beside = release.released_with is not None and allows_torch(release.torch, stack.version, problem)
        if beside and all(admits(item, release.version, "") for item in requests):
            yield _conda_pick(name, release.version, release, stack, stack.pythons)


def _conda_pick(
    name: str, version: Version, row: Row, stack: Stack, pythons: tuple[PythonVersion, ...]
) -> Pick:
    known = isinstance(row, CondaBuild)
    return Pick(
        name=name,
        package=PlannedPackage(
            name=name,
            version=version,
            variant=stack.variant if known else "",
            index="",
            index_url="",
            cuda_major=stack.cuda.major if stack.cuda and known else None,
            how=How.CONDA,
            channel=stack.channel,
            build=row.build if isinstance(row, CondaBuild) else "",
        ),
        version=version,
        pythons=pythons,
        row=row,
    )
