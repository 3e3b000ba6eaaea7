"""Locking: from a plan to resolved, verified lockfiles."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

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
from cudaenv.workflow.planning import Refused, plan_project, read_lock, rendered, with_brought_in
from cudaenv.workflow.project import Project

VERIFYING = "cudaenv.workflow.verifying"


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
    document = None if upgrade else read_lock(project)
    if document is not None and document.spec.get("packages") != spec_json(project.spec)["packages"]:
        # Whether the packages still bring them in shows when they are resolved.
        document = replace(document, brought_in=())
    plan, spec, machines_from = plan_project(project, document)
    mirrors = Mirrors.of(project.matrix.tables.indexes, spec.indexes)
    brought_in = document.brought_in if document else ()
    # Each round more than the first places at least one further member of torch's family.
    for _ in project.matrix.family:
        if plan.refusal is not None:
            break
        existing = {} if upgrade else _existing(project, plan, document)
        locked, files, solver = _resolve(project, plan, spec, mirrors, existing)
        more = _family_members(plan, locked, project.matrix.family)
        if not more:
            from cudaenv.workflow import verifying

            document = make_document(
                plan,
                spec,
                machines_from=machines_from,
                brought_in=brought_in,
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


def _resolve(
    project: Project, plan: Plan, spec: Spec, mirrors: Mirrors, existing: Mapping[str, str]
) -> tuple[tuple[LockedEnvironment, ...], dict[str, str], dict[str, str]]:
    """The locked environments, all files made of them, and the solver's version.

    While the resolver waits for the network, this process renders and imports what comes next.
    """
    find_uv()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pending = []
        for environment in plan.environments:
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
                for environment, future in zip(plan.environments, pending, strict=True)
            )
        except NoPlanError:
            # uv takes an index that wants credentials for one that lacks the package.
            verifying.ask_indexes(project, plan, mirrors)
            raise
    return locked, {**files, **_lock_files(plan, locked)}, {"uv": version.result()}


def _existing(project: Project, plan: Plan, document: LockDocument | None) -> dict[str, str]:
    """The pylock whose versions each environment keeps, by its name; SpecError where it is none.

    That is its own, or where it has none, because environments came or went, one that was locked.
    """
    locked = sorted(name for name in document.files if name.startswith("pylock.")) if document else []
    found = {}
    for environment in plan.environments:
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
        for environment, lock in zip(plan.environments, locked, strict=True)
        for wheel in lock.wheels
        if wheel.name in family - {package.name for package in environment.packages}
    }
    return tuple(sorted(found))


def _lock_files(plan: Plan, locked: Sequence[LockedEnvironment]) -> dict[str, str]:
    files = {}
    for environment, lock in zip(plan.environments, locked, strict=True):
        files[plan.file_name(environment, "pylock.toml")] = stamped(lock.text)
        files[plan.file_name(environment, "requirements.lock")] = stamped(
            requirements_lock(lock, environment)
        )
    return files
