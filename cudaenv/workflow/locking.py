"""Locking: from a plan to resolved, verified lockfiles."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from packaging.utils import canonicalize_name

from cudaenv.errors import NoPlanError, SpecError
from cudaenv.lock.conda import CondaLock
from cudaenv.lock.document import NAME, LockDocument, make_document
from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import LockedEnvironment, canonical_pylock, requirements_lock
from cudaenv.lock.resolution import resolution
from cudaenv.model.images import Digests
from cudaenv.model.plan import Environment, Plan
from cudaenv.model.spec import Spec
from cudaenv.model.spec_json import spec_json
from cudaenv.model.stamp import stamped
from cudaenv.planner.plan import make_plan
from cudaenv.render.plan_text import plan_summary
from cudaenv.system.uv import compile_pylock, find_uv, uv_version
from cudaenv.workflow.conda_locking import NEXT as CONDA_NEXT
from cudaenv.workflow.conda_locking import conda_files, solve_environments, supplied_packages
from cudaenv.workflow.images import Registries
from cudaenv.workflow.parallel import AT_ONCE
from cudaenv.workflow.pins import IMAGES, Pins, read_pins
from cudaenv.workflow.planning import (
    Refused,
    heeding,
    plan_project,
    read_lock,
    rendered,
    with_bounds,
    with_brought_in,
)
from cudaenv.workflow.project import Project

MOST_ROUNDS = 3
"""How often a plan is made again for bounds that the resolver ran into."""

NEXT = ("cudaenv.workflow.verifying", "cudaenv.render.files", "jinja2")
"""Modules that are needed once wheels are resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What a lock run made: the plan, the locked environments in its order, and all files by name."""

    plan: Plan
    environments: tuple[LockedEnvironment, ...]
    document: LockDocument
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How to lock.

    Existing pins are kept unless `upgrade`, or for the packages that `renew` names; `IMAGES` in it asks for
    the digests of images again. `solver` names a conda, mamba or micromamba, on PATH or by its path, that
    solves what conda installs, instead of the embedded solver. Wheels of `built_wheels` are locked in place
    of what would be built.
    """

    upgrade: bool = False
    renew: Collection[str] = ()
    solver: str = ""
    built_wheels: Path | None = None


def lock_project(project: Project, wishes: Wishes) -> Locked:
    """Plan and resolve all environments and verify them; nothing is written yet.

    SpecError where a wish names what is not there; NoPlanError, ToolError and FetchError say what failed.
    """
    registries = Registries(project, _known_images(project), renew=wishes.upgrade or IMAGES in wishes.renew)
    packages = sorted({canonicalize_name(name) for name in wishes.renew} - {IMAGES})
    document = None if wishes.upgrade else _last_lock(project)
    plan, spec, machines_from = plan_project(project, document)
    mirrors = Mirrors.of(project.matrix.tables.indexes, spec.indexes)
    brought_in = document.brought_in if document else ()
    bounds = document.bounds if document else ()
    # Each round more than the first places a further member of torch's family or heeds a further bound.
    for _ in range(len(project.matrix.family) + MOST_ROUNDS):
        if plan.refusal is not None:
            break
        pins = Pins({}, {}, packages) if wishes.upgrade else read_pins(project, plan, document, packages)
        pins.check_names(plan)
        try:
            solve = partial(solve_environments, project, plan, pins.urls, wishes.solver)
            locked, files, solvers = _resolve(
                project, plan, spec, mirrors, pins=pins, registries=registries, solving=solve
            )
        except NoPlanError:
            new = _new_bounds(project, plan, mirrors, bounds)
            if not new:
                raise
            bounds = (*bounds, *new)
            spec = with_bounds(spec, new)
            plan = make_plan(spec, project.matrix)
            continue
        more = _family_members(plan, locked, project.matrix.family)
        if not more:
            builds = _build_locks(project, plan, mirrors, wishes.built_wheels, document)
            files |= {name: stamped(text) for name, text in builds.items()}
            document = make_document(
                plan,
                spec,
                machines_from=machines_from,
                brought_in=brought_in,
                bounds=bounds,
                images=registries.known(plan),
                solver=solvers,
                files=files,
            )
            importlib.import_module(NEXT[0]).verify_locks(project, plan, locked, mirrors)
            return Locked(
                plan=plan, environments=locked, document=document, files=files | {NAME: document.text()}
            )
        project.talk(f"planning again with {', '.join(more)}, which your packages depend on")
        brought_in = tuple(sorted({*brought_in, *more}))
        spec = with_brought_in(spec, brought_in)
        plan = make_plan(spec, project.matrix)
    raise Refused(plan)


def _build_locks(
    project: Project, plan: Plan, mirrors: Mirrors, built_wheels: Path | None, document: LockDocument | None
) -> dict[str, str]:
    from cudaenv.workflow.built import built_locks
    from cudaenv.workflow.sources import build_locks

    return build_locks(project, plan, mirrors) | built_locks(project, plan, built_wheels, document)


def _last_lock(project: Project) -> LockDocument | None:
    """The lock that is there, as far as it still counts."""
    document = read_lock(project)
    # A lock records the packages with what it found beside them.
    if (
        document is None
        or document.spec.get("packages") == spec_json(heeding(project.spec, document))["packages"]
    ):
        return document
    # Whether other packages still bring them in shows when they are resolved.
    return replace(document, brought_in=(), bounds=())


def _new_bounds(project: Project, plan: Plan, mirrors: Mirrors, known: Sequence[str]) -> tuple[str, ...]:
    """What the user's other packages require of planned ones and is not heeded yet; each is said."""
    from cudaenv.workflow.bounds import torch_bounds

    if len(known) >= MOST_ROUNDS:
        return ()
    new = tuple(text for text in torch_bounds(project, plan, mirrors) if text not in known)
    for text in new:
        by, _, requirement = text.partition(": ")
        project.talk(f"planning again: {by} requires {requirement}")
    return new


def _known_images(project: Project) -> Digests:
    """The digests of the last lock; none where there is none that can be read."""
    try:
        document = read_lock(project)
    except SpecError:
        return {}
    return document.images if document else {}


def _resolve(
    project: Project,
    plan: Plan,
    spec: Spec,
    mirrors: Mirrors,
    *,
    pins: Pins,
    registries: Registries,
    solving: Callable[[], Mapping[str, CondaLock]],
) -> tuple[tuple[LockedEnvironment, ...], dict[str, str], dict[str, str]]:
    """The locked environments, all files made of them, and the solvers' versions.

    While the resolvers wait for the network, registries are asked and what comes next is imported.
    """
    find_uv()
    registries.ask(plan)
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def compiling(environment: Environment, conda: CondaLock | None) -> Future[str]:
            supplied = supplied_packages(project, conda, environment) if conda else ()
            return pool.submit(
                compile_pylock,
                resolution(environment, mirrors, supplied),
                project.environ,
                existing=pins.pylocks.get(environment.name),
                renew=pins.renew,
            )

        solved = pool.submit(solving)
        for environment in plan.environments:
            project.talk(f"resolving {plan_summary(environment)}")
        pending = {item.name: compiling(item, None) for item in plan.resolved if item.conda is None}
        version = pool.submit(uv_version, project.environ)
        has_conda = any(environment.conda for environment in plan.environments)
        verifying, *_ = map(importlib.import_module, (*NEXT, *(CONDA_NEXT if has_conda else ())))
        # Wheels on top of conda's packages are resolved for what conda then has.
        conda = solved.result()
        pending |= {item.name: compiling(item, conda[item.name]) for item in plan.resolved if item.conda}
        try:
            locked = tuple(
                canonical_pylock(pending[environment.name].result(), environment, mirrors)
                for environment in plan.resolved
            )
        except NoPlanError:
            # uv takes an index that wants credentials for one that lacks the package.
            verifying.ask_indexes(project, plan, mirrors)
            raise
    files = rendered(project, plan, spec, registries.found(plan))
    files |= conda_files(plan, conda, files) | _lock_files(plan, locked)
    solvers = {"uv": version.result()} | dict(lock.solver.split() for lock in conda.values())
    return locked, files, solvers


def _family_members(
    plan: Plan, locked: Sequence[LockedEnvironment], family: frozenset[str]
) -> tuple[str, ...]:
    """Packages of torch's family in a lock that the plan did not place."""
    found = {
        wheel.name
        for environment, lock in zip(plan.resolved, locked, strict=True)
        for wheel in lock.wheels
        if wheel.name in family - {package.name for package in environment.packages}
    }
    return tuple(sorted(found))


def _lock_files(plan: Plan, locked: Sequence[LockedEnvironment]) -> dict[str, str]:
    files = {}
    for environment, lock in zip(plan.resolved, locked, strict=True):
        files[plan.file_name(environment, "pylock.toml")] = stamped(lock.text)
        files[plan.file_name(environment, "requirements.lock")] = stamped(
            requirements_lock(lock, environment)
        )
    return files
