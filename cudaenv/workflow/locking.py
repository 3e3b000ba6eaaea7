"""Locking: from a plan to resolved, verified lockfiles."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.pylock import Pylock, PylockValidationError

from cudaenv.errors import NoPlanError, SpecError
from cudaenv.lock.document import NAME, LockDocument, make_document
from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import LockedEnvironment, canonical_pylock, requirements_lock
from cudaenv.lock.resolution import resolution
from cudaenv.model.plan import Plan, file_name
from cudaenv.model.spec import Spec
from cudaenv.model.spec_json import spec_json
from cudaenv.model.stamp import stamped
from cudaenv.planner.plan import make_plan
from cudaenv.render.plan_text import plan_summary
from cudaenv.system.uv import compile_pylock, find_uv, uv_version
from cudaenv.workflow.parallel import AT_ONCE
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

VERIFYING = "cudaenv.workflow.verifying"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What a lock run made: the plan, the locked environments in its order, and all files by name."""

    plan: Plan
    environments: tuple[LockedEnvironment, ...]
    document: LockDocument
    files: Mapping[str, str]


def lock_project(project: Project, *, upgrade: bool = False, built_wheels: Path | None = None) -> Locked:
    """Plan and resolve all environments and verify them; nothing is written yet.

    Existing pins are kept unless `upgrade`; wheels of `built_wheels` are locked in place of what would be
    built. NoPlanError, ToolError, FetchError and SpecError say what failed.
    """
    document = None if upgrade else read_lock(project)
    if document is not None and not _asks_for_the_same(project.spec, document):
        # Whether the packages still bring them in shows when they are resolved.
        document = replace(document, brought_in=(), bounds=())
    plan, spec, machines_from = plan_project(project, document)
    mirrors = Mirrors.of(project.matrix.tables.indexes, spec.indexes)
    brought_in = document.brought_in if document else ()
    bounds = document.bounds if document else ()
    # Each round more than the first places a further member of torch's family or heeds a further bound.
    for _ in range(len(project.matrix.family) + MOST_ROUNDS):
        if plan.refusal is not None:
            break
        existing = {} if upgrade else _existing(project, plan, document)
        try:
            locked, files, solver = _resolve(project, plan, spec, mirrors, existing)
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
            from cudaenv.workflow import verifying
            from cudaenv.workflow.built import built_locks
            from cudaenv.workflow.sources import build_locks

            builds = build_locks(project, plan, mirrors)
            builds |= built_locks(project, plan, built_wheels, document)
            files |= {name: stamped(text) for name, text in builds.items()}
            document = make_document(
                plan,
                spec,
                machines_from=machines_from,
                brought_in=brought_in,
                bounds=bounds,
                solver=solver,
                files=files,
            )
            verifying.verify_locks(project, plan, locked, mirrors)
            return Locked(
                plan=plan, environments=locked, document=document, files={**files, NAME: document.text()}
            )
        project.talk(f"planning again with {', '.join(more)}, which your packages depend on")
        brought_in = tuple(sorted({*brought_in, *more}))
        spec = with_brought_in(spec, brought_in)
        plan = make_plan(spec, project.matrix)
    raise Refused(plan)


def _asks_for_the_same(spec: Spec, document: LockDocument) -> bool:
    """Whether the packages are those that were locked; a lock records them with what it found beside them."""
    return bool(document.spec.get("packages") == spec_json(heeding(spec, document))["packages"])


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


def _resolve(
    project: Project, plan: Plan, spec: Spec, mirrors: Mirrors, existing: Mapping[str, str]
) -> tuple[tuple[LockedEnvironment, ...], dict[str, str], dict[str, str]]:
    """The locked environments, all files made of them, and the solver's version.

    While the resolver waits for the network, this process renders and imports what comes next.
    """
    _about_conda(project, plan)
    find_uv()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pending = []
        for environment in plan.resolved:
            project.talk(f"resolving {plan_summary(environment)}")
            pending.append(
                pool.submit(
                    compile_pylock,
                    resolution(environment, mirrors),
                    project.environ,
                    existing=existing.get(environment.name),
                )
            )
        version = pool.submit(uv_version, project.environ)
        files = rendered(project, plan, spec)
        verifying = importlib.import_module(VERIFYING)
        try:
            locked = tuple(
                canonical_pylock(future.result(), environment, mirrors)
                for environment, future in zip(plan.resolved, pending, strict=True)
            )
        except NoPlanError:
            # uv takes an index that wants credentials for one that lacks the package.
            verifying.ask_indexes(project, plan, mirrors)
            raise
    return locked, {**files, **_lock_files(plan, locked)}, {"uv": version.result()}


def _about_conda(project: Project, plan: Plan) -> None:
    """Say what of conda environments is not locked here; SpecError for wheels on top of conda packages.

    Resolved without knowing conda's packages, wheels would bring a second torch and a second CUDA.
    """
    for environment in plan.environments:
        if environment.conda is None:
            continue
        name = plan.file_name(environment, "environment.yml")
        virtual = plan.file_name(environment, "virtual-packages.yml")
        command = f"conda-lock lock -f {name} --virtual-package-spec {virtual}"
        if environment.asked:
            raise SpecError(
                f"`{environment.name}` has wheels on top of conda packages, which cannot be locked yet",
                list(environment.asked),
                hint="Render it, lock conda's part with `conda-lock`, and install the wheels into it; "
                'or take provider = "pip"',
            )
        project.talk(f"{environment.name}: conda's packages are not in this lock; `{command}` locks them")


def _existing(project: Project, plan: Plan, document: LockDocument | None) -> dict[str, str]:
    """The pylock whose versions each environment keeps, by its name; SpecError where it is none.

    That is its own, or where it has none, because environments came or went, one that was locked.
    """
    locked = sorted(name for name in document.files if name.startswith("pylock.")) if document else []
    found = {}
    for environment in plan.resolved:
        for name in (
            plan.file_name(environment, "pylock.toml"),
            file_name("pylock.toml", environment.name),
            *locked,
        ):
            text = project.read(name)
            if text is not None:
                _check_pylock(name, text)
                found[environment.name] = text
                break
    return found


def _check_pylock(name: str, text: str) -> None:
    try:
        Pylock.from_dict(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, PylockValidationError) as error:
        raise SpecError(
            f"`{name}` cannot be read, so its versions cannot be kept",
            [str(error)],
            hint="Put it right, or make it anew with `cudaenv lock --upgrade --force`",
        ) from error


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
