"""Locking: from a plan to resolved, verified lockfiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from cudaenv.errors import ToolError
from cudaenv.lock.document import NAME, LockDocument, make_document
from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import LockedEnvironment, LockedWheel, canonical_pylock, requirements_lock
from cudaenv.lock.resolution import resolution
from cudaenv.lock.verify import Evidence, needs_library, verify, wheels_to_read
from cudaenv.lock.wheel_facts import WheelFacts
from cudaenv.model.plan import Environment, Plan
from cudaenv.model.stamp import stamped
from cudaenv.planner.plan import make_plan
from cudaenv.system.files import cache_folder
from cudaenv.system.http import Client
from cudaenv.system.uv import compile_pylock, uv_version
from cudaenv.system.wheels import read_wheel_facts
from cudaenv.workflow.planning import Refused, plan_project, read_lock, rendered, with_brought_in
from cudaenv.workflow.project import Project

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 4
"""Resolutions and downloads of metadata that run side by side; more only wait for the network."""

MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What a lock run made: the plan, the locked environments in its order, and all files by name."""

    plan: Plan
    environments: tuple[LockedEnvironment, ...]
    document: LockDocument
    files: Mapping[str, str]


def lock_project(project: Project, *, upgrade: bool = False) -> Locked:
    """Plan and resolve all environments and verify them; nothing is written yet.

    Existing pins are kept unless `upgrade`. NoPlanError, ToolError and FetchError say what failed.
    """
    document = read_lock(project)
    plan, spec, machines_from = plan_project(project, None if upgrade else document)
    mirrors = Mirrors.of(project.matrix.tables.indexes, spec.indexes)
    brought_in: tuple[str, ...] = () if upgrade or document is None else document.brought_in
    for _ in range(MOST_ROUNDS):
        if plan.refusal is not None:
            break
        locked = _resolve(project, plan, mirrors, upgrade=upgrade)
        more = _family_members(plan, locked, project.matrix.family)
        if not more:
            _verify(project, plan, locked, mirrors)
            files = {**rendered(project, plan, spec), **_lock_files(plan, locked)}
            document = make_document(
                plan,
                spec,
                machines_from=machines_from,
                brought_in=brought_in,
                solver={"uv": uv_version(project.environ)},
                files=files,
            )
            return Locked(
                plan=plan, environments=locked, document=document, files={**files, NAME: document.text()}
            )
        project.talk(f"planning again with {', '.join(more)}, which your packages depend on")
        brought_in = tuple(sorted({*brought_in, *more}))
        spec = with_brought_in(spec, brought_in)
        plan = make_plan(spec, project.matrix)
    raise Refused(plan)


def side_by_side(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Apply a function to items, a few at a time; the first failure is raised."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, items))


def _resolve(
    project: Project, plan: Plan, mirrors: Mirrors, *, upgrade: bool
) -> tuple[LockedEnvironment, ...]:
    def one(environment: Environment) -> LockedEnvironment:
        project.talk(f"resolving {environment.name}: torch {environment.torch.version}")
        text = compile_pylock(
            resolution(environment, mirrors),
            project.environ,
            existing=project.read(plan.file_name(environment, "pylock.toml")),
            upgrade=upgrade,
        )
        return canonical_pylock(text, environment, mirrors)

    return tuple(side_by_side(one, plan.environments))


def _family_members(
    plan: Plan, locked: Sequence[LockedEnvironment], family: frozenset[str]
) -> tuple[str, ...]:
    """Packages of torch's family in a lock that the plan did not place."""
    found = {
        wheel.name
        for environment, lock in zip(plan.environments, locked, strict=True)
        for wheel in lock.wheels
        if wheel.name in family - {package.name for package in environment.packages}
    }
    return tuple(sorted(found))


def _verify(project: Project, plan: Plan, locked: Sequence[LockedEnvironment], mirrors: Mirrors) -> None:
    wheels = {wheel.file_name: wheel for lock in locked for wheel in wheels_to_read(lock)}
    facts = _read_facts(project, tuple(wheels.values()), mirrors)
    problems = [
        f"{environment.name}: {problem}"
        for environment, lock in zip(plan.environments, locked, strict=True)
        for problem in verify(
            Evidence(
                environment=environment,
                locked=lock,
                mirrors=mirrors,
                family=project.matrix.family,
                facts=facts,
            )
        )
    ]
    if problems:
        raise ToolError(
            "the resolver's answer is not what was planned, so nothing was locked",
            problems,
            hint="Either the index has changed since the matrix was made, or it is not the one you mean",
        )


def _read_facts(project: Project, wheels: Sequence[LockedWheel], mirrors: Mirrors) -> dict[str, WheelFacts]:
    client = Client()
    cache = cache_folder(project.environ)
    family = project.matrix.family

    def one(wheel: LockedWheel) -> WheelFacts:
        url = mirrors.to_fetch(wheel.url)
        facts = read_wheel_facts(url, wheel.sha256, client, cache, want_cudart=False)
        if needs_library(wheel, facts.requires, family):
            facts = read_wheel_facts(url, wheel.sha256, client, cache, want_cudart=True)
        return facts

    found = side_by_side(one, wheels)
    return {wheel.file_name: facts for wheel, facts in zip(wheels, found, strict=True)}


def _lock_files(plan: Plan, locked: Sequence[LockedEnvironment]) -> dict[str, str]:
    files = {}
    for environment, lock in zip(plan.environments, locked, strict=True):
        files[plan.file_name(environment, "pylock.toml")] = stamped(lock.text)
        files[plan.file_name(environment, "requirements.lock")] = stamped(
            requirements_lock(lock, environment)
        )
    return files
