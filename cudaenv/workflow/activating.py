"""Activating: what a command has to be told so that it runs in an installed environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cudaenv.workflow.checking import require_lock
from cudaenv.workflow.installed import environment_in, is_venv, lock_digest, noted_in, prefix_in_use
from cudaenv.workflow.project import Project
from cudaenv.workflow.workshop import Workshop, programs, workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """The folders that come first on PATH, variables to set, and variables that must not be there."""

    environment: str
    prefix: Path
    path: tuple[str, ...]
    variables: Mapping[str, str]
    unset: tuple[str, ...] = ("PYTHONHOME",)


def activate(project: Project, *, name: str | None, prefix: Path | None) -> Activation:
    """What stands for the environment that is installed in a prefix; what is missing is said.

    LD_LIBRARY_PATH is not among it: wheels find each other, and what is linked meanwhile remembers the
    toolkit's folder. SpecError where there is no lock, or nothing is installed.
    """
    document = require_lock(project)
    target = prefix_in_use(project, prefix, document, name)
    environment = environment_in(target, document, name)
    lock = lock_digest(document, environment)
    if noted_in(target).get("lock", lock) != lock:
        project.talk(f"{target} was installed from another lock: `cudaenv sync` brings it up to date")
    shop = workshop(environment, target, project.environ)
    for text in shop.missing:
        project.talk(f"nothing can be compiled: {text}")
    return Activation(
        environment=str(environment["name"]),
        prefix=target,
        path=programs(target, shop),
        variables=dict(sorted(_variables(target, shop).items())),
    )


def _variables(prefix: Path, shop: Workshop) -> dict[str, str]:
    """The plan's variables, the environment's own, and where to look for libraries when a program starts.

    GNU ld writes LD_RUN_PATH into what it links, unless it is told another path
    (https://sourceware.org/binutils/docs/ld/Options.html, `-rpath`).
    """
    own = {"VIRTUAL_ENV" if is_venv(prefix) else "CONDA_PREFIX": str(prefix)}
    libraries = shop.home / "lib64" if shop.home else prefix
    linked = {"LD_RUN_PATH": str(libraries)} if libraries.is_dir() and libraries != prefix else {}
    return {**shop.variables, **own, **linked}
