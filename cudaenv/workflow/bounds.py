"""Bounds: what packages that the matrix does not know require of torch, found where the resolver refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cudaenv.errors import NoPlanError
from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import LockedEnvironment, LockedWheel, canonical_pylock
from cudaenv.lock.resolution import resolution
from cudaenv.model.markers import marker_environment
from cudaenv.model.plan import Environment, Plan
from cudaenv.model.requirements import parse_requirement
from cudaenv.system.files import cache_folder
from cudaenv.system.uv import compile_pylock
from cudaenv.system.wheels import read_wheel_facts
from cudaenv.workflow.project import Project
from cudaenv.workflow.verifying import client_for


def torch_bounds(project: Project, plan: Plan, mirrors: Mirrors) -> tuple[str, ...]:
    """The requirements that exclude planned packages, each as `NAME VERSION: REQUIREMENT`.

    The user's other packages are resolved by themselves; what they then require of planned packages, by
    their own metadata, is held against the plan. Empty where that tells nothing.
    """
    found: list[str] = []
    for environment in plan.resolved:
        if environment.rest:
            found += _bounds(project, plan, environment, mirrors)
    return tuple(dict.fromkeys(found))


def _bounds(project: Project, plan: Plan, environment: Environment, mirrors: Mirrors) -> Iterator[str]:
    alone = replace(environment, packages=(), toolkit=None, phases=())
    try:
        text = compile_pylock(resolution(alone, mirrors), project.environ, existing=None)
    except NoPlanError:
        return  # they exclude each other by themselves, and the resolver has said so
    locked = canonical_pylock(text, alone, mirrors)
    planned = {package.name: package.version for package in environment.packages}
    for wheel, requirement in _required(project, plan, locked, mirrors):
        name = canonicalize_name(requirement.name)
        version = planned.get(name)
        if version is None or wheel.name in planned or not _applies(requirement, environment):
            continue
        if not requirement.specifier.contains(Version(version.public), prereleases=True):
            yield f"{wheel.name} {wheel.version}: {name}{requirement.specifier}"


def _required(
    project: Project, plan: Plan, locked: LockedEnvironment, mirrors: Mirrors
) -> Iterator[tuple[LockedWheel, Requirement]]:
    """The requirements of all locked wheels but NVIDIA's, by their metadata."""
    cache = cache_folder(project.environ)
    with client_for(project, plan, mirrors) as client:
        for wheel in locked.wheels:
            if not wheel.name.startswith("nvidia-"):
                url = mirrors.to_fetch(wheel.url)
                facts = read_wheel_facts(url, wheel.sha256, client, cache, want_cudart=False)
                for text in facts.requires:
                    yield wheel, parse_requirement(text)


def _applies(requirement: Requirement, environment: Environment) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(
        marker_environment(environment.platform, environment.python, "")
    )
