"""`cudaenv.toml`, or `[tool.cudaenv]` of a pyproject.toml, read strictly into a Spec."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from cudaenv.errors import SpecError
from cudaenv.model.addresses import is_loopback
from cudaenv.model.documents import Problems, Section, member, nearest
from cudaenv.model.machine import Gpu, Platform
from cudaenv.model.machine_reader import parse_platform, read_machines
from cudaenv.model.markers import marker_environment
from cudaenv.model.spec import CudaRequest, PackageRequest, Provider, PythonRequest, Spec
from cudaenv.model.target_reader import read_targets
from cudaenv.model.versions import PythonVersion

KEYS = (
    *("target", "targets", "python", "platforms", "provider", "cuda", "packages", "machine"),
    *("indexes", "channels"),
)
PYPROJECT_KEYS = (*KEYS, "extras", "groups")

PACKAGE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]+\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a spec may name, and how a GPU's name becomes a GPU.

    `find_gpu` takes a product name or a compute capability and raises ValueError, with the nearest
    products in its text, where there is none or more than one.
    """

    targets: tuple[str, ...]
    indexes: tuple[str, ...]
    find_gpu: Callable[[str], Gpu]
    components: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


def read_spec(data: Mapping[str, Any], origin: str, known: Known) -> Spec:
    """Read the parsed `cudaenv.toml`. SpecError names every problem with its key path."""
    problems = Problems(origin)
    section = Section(data, "", problems)
    section.only(*KEYS)
    spec = _spec(section, known, _packages(section))
    _raise(problems)
    return spec


def read_pyproject(data: Mapping[str, Any], origin: str, known: Known) -> Spec:
    """Read a parsed pyproject.toml: `[tool.cudaenv]`, with `[project]` dependencies as packages.

    `extras` and `groups` in `[tool.cudaenv]` name the optional dependencies and the dependency
    groups (PEP 735, https://peps.python.org/pep-0735/) to add; `requires-python` counts where
    `python` is not given. SpecError names every problem with its key path.
    """
    problems = Problems(origin)
    top = Section(data, "", problems)
    section, project = top.table("tool").table("cudaenv"), top.table("project")
    section.only(*PYPROJECT_KEYS)
    packages = (*_project_packages(top, project, section), *_packages(section))
    spec = _spec(section, known, packages)
    if spec.python is None:
        spec = replace(spec, python=project.parsed("requires-python", PythonRequest.parse))
    _raise(problems)
    return spec


def _raise(problems: Problems) -> None:
    if problems.lines:
        count = len(problems.lines)
        noun = "problem" if count == 1 else "problems"
        raise SpecError(
            f"`{problems.origin}` has {count} {noun}",
            problems.lines,
            hint="The keys and their spellings are in the README under `The spec`",
        )


def _spec(section: Section, known: Known, packages: tuple[PackageRequest, ...]) -> Spec:
    platforms = _platforms(section)
    targets = read_targets(section, known.components)
    cuda, variants = _cuda(section)
    return Spec(
        target=_target(section, (*known.targets, *(target.name for target in targets))),
        targets=targets,
        python=section.parsed("python", PythonRequest.parse),
        platforms=platforms,
        provider=section.parsed("provider", member(Provider, "provider")) or Provider.AUTO,
        cuda=cuda,
        variants=variants,
        packages=packages,
        machines=read_machines(section, known.find_gpu, platforms),
        indexes=_mirrors(section, "indexes", (*known.indexes, "default"), "index"),
        channels=_mirrors(section, "channels", known.channels, "channel"),
        origin=section.problems.origin,
    )


def _cuda(section: Section) -> tuple[CudaRequest, tuple[CudaRequest, ...]]:
    """The CUDA that is asked for; a list of several asks for an environment for each."""
    if not isinstance(section.data.get("cuda"), list):
        return section.parsed("cuda", CudaRequest.parse) or CudaRequest("any"), ()
    texts = section.texts("cuda") or ()
    found = [section.attempt("cuda", text, CudaRequest.parse) for text in dict.fromkeys(texts)]
    requests = tuple(request for request in found if request is not None)
    return (requests[0], ()) if len(requests) == 1 else (CudaRequest("any"), requests)


def _target(section: Section, known: tuple[str, ...]) -> str:
    target = section.text("target")
    if target is None:
        return "run-only"
    if target not in known:
        hint = nearest(target, known) or f" (known: {', '.join(known)})"
        section.problems.add(section.at("target"), f"unknown target `{target}`{hint}")
    return target


def _platforms(section: Section) -> tuple[Platform, ...]:
    names = section.texts("platforms") or ()
    found = (section.attempt("platforms", name, parse_platform) for name in names)
    return tuple(dict.fromkeys(platform for platform in found if platform is not None))


def _packages(section: Section) -> tuple[PackageRequest, ...]:
    table = section.read("packages", dict, "a table of package names and version specifiers")
    found = []
    for key, value in (table or {}).items():
        path = f"packages.{key}"
        if not isinstance(value, str):
            section.problems.add(section.at(path), f"expected a version specifier in quotes, got {value!r}")
        elif not PACKAGE_KEY.fullmatch(key):
            section.problems.add(section.at(path), "not a package name")
        else:
            found.append(section.attempt(path, key, _package_parser(section.at(path), value)))
    return tuple(package for package in found if package is not None)


def _package_parser(origin: str, value: str) -> Callable[[str], PackageRequest]:
    def parse(name: str) -> PackageRequest:
        try:
            SpecifierSet("" if value.strip() == "*" else value)
        except InvalidSpecifier as error:
            raise ValueError(f"not a PEP 440 specifier: {value!r} (expected `*` or `>=2.8`)") from error
        return parse_package(name if value.strip() == "*" else f"{name}{value}", origin)

    return parse


def parse_package(text: str, origin: str) -> PackageRequest:
    """Read a PEP 508 requirement such as `torch>=2.8` or `diffusers[torch]`.

    ValueError for anything else, and for URLs: what has no index cannot be locked with a hash.
    """
    try:
        requirement = Requirement(text)
    except (InvalidRequirement, RecursionError) as error:
        raise ValueError(f"not a requirement: {text!r} (expected for example `torch>=2.8`)") from error
    try:
        if requirement.marker is not None:
            requirement.marker.evaluate(marker_environment(Platform.LINUX_64, PythonVersion(3, 12)))
    except (ValueError, KeyError) as error:  # a comparison or a variable that installers do not know
        raise ValueError(f"not a requirement: the condition of {text!r} has no meaning") from error
    if requirement.url is not None:
        raise ValueError(
            f"`{requirement.name}` is asked for by URL, which cannot be locked by version and hash"
        )
    return PackageRequest(
        name=canonicalize_name(requirement.name),
        specifier=requirement.specifier,
        extras=tuple(sorted(canonicalize_name(extra) for extra in requirement.extras)),
        marker=requirement.marker,
        origin=origin,
    )


def _project_packages(top: Section, project: Section, section: Section) -> tuple[PackageRequest, ...]:
    optional, groups = project.table("optional-dependencies"), top.table("dependency-groups")
    found = [*_requirements(project, "dependencies")]
    for extra in section.texts("extras") or ():
        if extra not in optional.data:
            text = f"no extra `{extra}` in [project.optional-dependencies]{nearest(extra, optional.data)}"
            section.problems.add(section.at("extras"), text)
        found += _requirements(optional, extra)
    for group in section.texts("groups") or ():
        found += _group(groups, group, section, ())
    return tuple(found)


def _requirements(
    section: Section, key: str, skip: Callable[[object], bool] = lambda _: False
) -> Iterator[PackageRequest]:
    """The requirements of a list in a pyproject.toml."""
    for index, item in enumerate(section.read(key, list, "a list of requirements") or []):
        if skip(item):
            continue
        if isinstance(item, str):
            found = section.attempt(f"{key}[{index}]", item, lambda text: parse_package(text, text))
            yield from [found] if found else []
        else:
            section.problems.add(section.at(f"{key}[{index}]"), f"expected a requirement, got {item!r}")


def _group(groups: Section, name: str, section: Section, seen: tuple[str, ...]) -> Iterator[PackageRequest]:
    """The requirements of a dependency group, the groups it includes among them."""
    if name in seen or name not in groups.data:
        known = nearest(name, groups.data)
        problem = "includes itself" if name in seen else f"is not in [dependency-groups]{known}"
        section.problems.add(section.at("groups"), f"group `{name}` {problem}")
        return
    yield from _requirements(groups, name, skip=_is_include)
    items = groups.data[name]
    for item in items if isinstance(items, list) else []:
        if _is_include(item):
            yield from _group(groups, item["include-group"], section, (*seen, name))


def _is_include(item: object) -> bool:
    return (
        isinstance(item, dict) and item.keys() == {"include-group"} and isinstance(item["include-group"], str)
    )


def _mirrors(section: Section, key: str, names: tuple[str, ...], noun: str) -> dict[str, str]:
    table = section.read(key, dict, f"a table of {noun} names and URLs") or {}
    mirrors = Section(table, section.at(key), section.problems)
    mirrors.only(*names)
    found = {name: mirrors.parsed(name, parse_index_url) for name in table if name in names}
    return {name: url for name, url in sorted(found.items()) if url is not None}


def parse_index_url(text: str) -> str:
    """Read an index's URL: https, or http on this machine; ValueError otherwise.

    Credentials in it are refused, since they would end in files; the installer takes them from
    `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD`, a keyring or .netrc.
    """
    parts = urlsplit(text)
    is_local = is_loopback(parts.hostname or "")
    if parts.username or parts.password:
        raise ValueError("credentials do not belong in a file; set UV_INDEX_<NAME>_USERNAME and _PASSWORD")
    if not (parts.scheme == "https" or (parts.scheme == "http" and is_local)) or not parts.hostname:
        raise ValueError(f"not an https URL: {text!r}")
    if parts.query or parts.fragment or re.search(r"[\s'\"\\`$]", text):
        raise ValueError(f"not a plain URL: {text!r}")
    return text.rstrip("/")
