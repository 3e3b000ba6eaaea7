"""The part of a pyproject.toml by which uv installs a plan: dependencies, and the index of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cudaenv.model.machine import Platform
from cudaenv.model.plan import DIRECT, Environment, Plan
from cudaenv.render.values import NAME, checked, package_text, requirement_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a package comes from: one index, or indexes and the extras that use them."""

    package: str
    index: str = ""
    uses: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexView:
    """An index; `format` is `flat` where it is a page of links."""

    name: str
    url: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnippetView:
    """`dependencies` is empty where there are several environments, and `extras` where there is one."""

    requires_python: str
    commands: list[str]
    dependencies: list[str]
    extras: dict[str, list[str]]
    environments: list[str]
    sources: list[Source]
    indexes: list[IndexView]
    default_index: str


def uv_snippet(plan: Plan, default_index: str) -> SnippetView:
    """What the template of the snippet is filled with."""
    extras = {
        checked(NAME, environment.name, "a name of an environment"): _dependencies(plan, environment)
        for environment in plan.environments
    }
    is_single = len(extras) == 1
    platforms = dict.fromkeys(environment.platform for environment in plan.environments)
    return SnippetView(
        requires_python=_requires_python(plan),
        commands=["uv sync"] if is_single else [f"uv sync --extra {name}" for name in extras],
        dependencies=next(iter(extras.values())) if is_single else [],
        extras={} if is_single else extras,
        environments=[_platform_marker(platform) for platform in platforms],
        sources=list(_sources(plan)),
        indexes=list(_indexes(plan)),
        default_index=default_index,
    )


def _dependencies(plan: Plan, environment: Environment) -> list[str]:
    marker = _marker(plan, environment)
    return [_dependency(text, environment, marker) for text in environment.asked]


def _dependency(text: str, environment: Environment, marker: str) -> str:
    """A requirement with a marker; what no index lists keeps its URL."""
    package = next((item for item in environment.wheels if item.requirement == text and " @ " in text), None)
    if package is not None:
        return package_text(package) + (f" ; {marker}" if marker else "")
    labelled = [item for item in environment.wheels if item.variant == CPU and item.index]
    is_cpu = text in {item.requirement for item in labelled}
    return requirement_text(text.replace(f"+{CPU}", "") if is_cpu else text, marker)


CPU = "cpu"
"""The variant whose label is left out: its explicit index has no other, and macOS wheels have no label."""


def _marker(plan: Plan, environment: Environment) -> str:
    """What sets the Python and the platform of an environment apart from others in one project."""
    parts = []
    if len({other.platform for other in plan.environments}) > 1:
        parts.append(_platform_marker(environment.platform))
    if len({other.python for other in plan.environments}) > 1:
        parts.append(f'python_version == "{environment.python}"')
    return " and ".join(parts)


def _platform_marker(platform: Platform) -> str:
    return f"sys_platform == '{platform.sys_platform}' and platform_machine == '{platform.machine}'"


def _requires_python(plan: Plan) -> str:
    pythons = sorted({environment.python for environment in plan.environments})
    if len(pythons) == 1:
        return f"=={pythons[0]}.*"
    return f">={pythons[0]},<{pythons[-1].major}.{pythons[-1].minor + 1}"


def _indexes(plan: Plan) -> Iterator[IndexView]:
    found = {
        package.index_name: package
        for environment in plan.environments
        for package in environment.wheels
        if package.index_url and package.listing != DIRECT
    }
    for name, package in sorted(found.items()):
        flat = "flat" if package.listing else ""
        yield IndexView(name=_index_name(name), url=package.index_url, format=flat)


def _index_name(name: str) -> str:
    return checked(NAME, name, "a name of an index")


def _sources(plan: Plan) -> Iterator[Source]:
    """The index of each package that is not on the default one; the name of an extra tells several apart."""
    found: dict[str, list[tuple[str, str]]] = {}
    for environment in plan.environments:
        for package in environment.wheels:
            if package.index_url and package.listing != DIRECT:
                name = checked(NAME, package.name, "a package name")
                found.setdefault(name, []).append((_index_name(package.index_name), environment.name))
    for name, uses in found.items():
        if len(plan.environments) == 1:
            yield Source(package=name, index=uses[0][0])
        else:
            yield Source(package=name, uses=tuple(uses))
