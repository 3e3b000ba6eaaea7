"""Locking what conda installs: solving all environments at once, checking them, writing their files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from cudaenv import __version__
from cudaenv.errors import DriftError, ToolError
from cudaenv.lock.conda import (
    CondaLock,
    explicit_text,
    solve_request,
)
from cudaenv.lock.document import LockDocument
from cudaenv.model.names import CHANNELS, explicit_name, lock_name
from cudaenv.model.plan import Environment, How, Plan
from cudaenv.model.stamp import stamped
from cudaenv.system.conda import CondaNetwork, python_distributions, solve_conda
from cudaenv.system.conda_lock_file import conda_lock_text, read_conda_lock
from cudaenv.system.conda_solver import find_solver, solve_by_program
from cudaenv.system.condarc import condarc_places
from cudaenv.system.files import cache_folder
from cudaenv.system.uv import is_offline
from cudaenv.workflow.project import Project

NEXT = ("conda_lock.lockfile", "conda_lock.src_parser")
"""Modules that are needed once conda's packages are solved; importing them takes half a second."""

PYTHON = {"python", "python_abi"}
"""What a package of Python modules requires."""


def conda_network(project: Project) -> CondaNetwork:
    """How this machine reaches conda's channels: the spec's mirrors, else the user's conda configuration."""
    names = project.matrix.channel_names
    places = condarc_places(project.environ, names) | dict(project.spec.channels)
    mirrors = {f"{CHANNELS}/{name}/": f"{url}/" for name, url in sorted(places.items())}
    return CondaNetwork(cache_folder(project.environ), mirrors, offline=is_offline(project.environ))


def solve_environments(
    project: Project, plan: Plan, kept: Callable[[Environment], Sequence[str]], solver: str = ""
) -> dict[str, CondaLock]:
    """Solve what conda installs of a plan's environments, by their names, and verify it against the plan.

    Packages whose URLs are `kept` of an environment stay where they can, unless another `solver` than the
    embedded one is named. NoPlanError, FetchError and ToolError say what failed.
    """
    environments = [environment for environment in plan.environments if environment.conda is not None]
    if not environments:
        return {}
    requests = [solve_request(item, kept(item)) for item in environments]
    if solver:
        program = find_solver(solver, project.environ)
        locks = solve_by_program(requests, program, project.environ)
    else:
        locks = solve_conda(requests, conda_network(project))
    found = {item.name: lock for item, lock in zip(environments, locks, strict=True)}
    _verify(environments, found)
    return found


def _verify(environments: list[Environment], locks: Mapping[str, CondaLock]) -> None:
    from cudaenv.lock.conda_verify import verify_conda

    problems = [
        f"{environment.name}: {problem}"
        for environment in environments
        for problem in verify_conda(environment, locks[environment.name])
    ]
    if problems:
        raise ToolError(
            "the solver's answer is not what was planned, so nothing was locked",
            problems,
            hint="Either a channel has changed since the matrix was made, or it is not the one you mean",
        )


def locked_conda(project: Project, plan: Plan, document: LockDocument | None) -> dict[str, CondaLock]:
    """The conda packages that a lock has for a plan's environments, by their names.

    Those whose lock is not there, or cannot be read, have none to keep.
    """
    found = {}
    for environment in plan.environments if document else ():
        name = lock_name(plan.apart(environment))
        text = project.read(name) if document and name in document.files else None
        if text is not None:
            with contextlib.suppress(DriftError, ToolError):
                found[environment.name], _ = read_conda_lock(text, name)
    return found


def conda_files(plan: Plan, locks: Mapping[str, CondaLock], rendered: Mapping[str, str]) -> dict[str, str]:
    """The lock files of what conda installs, by name; `rendered` are the readable files of the plan."""
    found = {}
    for environment in plan.environments:
        lock = locks.get(environment.name)
        if lock is None:
            continue
        source = plan.file_name(environment, "environment.yml")
        name = lock_name(plan.apart(environment))
        text = conda_lock_text(
            lock,
            name=name,
            environment=rendered[source],
            virtual=rendered[plan.file_name(environment, "virtual-packages.yml")],
            source=source,
            metadata={"cudaenv": __version__, "target": environment.target},
        )
        found[name] = stamped(text)
        explicit = explicit_text(lock.records, str(environment.platform))
        found[plan.file_name(environment, explicit_name(environment.platform))] = stamped(explicit)
    return found


def supplied_packages(
    project: Project, lock: CondaLock, environment: Environment
) -> tuple[tuple[str, Version], ...]:
    """What conda supplies of Python's distributions, by PyPI's names: for wheels these are there already.

    Packages are asked for what they hold; of those that can only be read whole the name is taken, by
    which nearly all are called alike.
    """
    records = [record for record in lock.records if PYTHON & {name for name, _ in record.requires}]
    held = python_distributions(records, conda_network(project))
    names = {
        package.conda_name or package.name: package.name
        for package in environment.packages
        if package.how is How.CONDA
    }
    found = {}
    for record in records:
        usual = (names.get(record.name, record.name), record.version)
        for name, text in held.get(record.url, (usual,)):
            with contextlib.suppress(InvalidVersion):
                found[canonicalize_name(name)] = Version(text)
    return tuple(sorted(found.items()))
