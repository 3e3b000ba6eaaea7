"""Indexes that have what a plan names, and nothing else: one wheel for each package of an environment."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.cases.case import ROOT
from tests.support.index import write_index
from tests.support.wheels import Wheel, compiled_wheel, torch_wheel

Environment = Mapping[str, Any]

DEFAULT = "simple"
PLATFORM_TAGS = {
    "linux-64": "manylinux2014_x86_64.manylinux_2_17_x86_64",
    "linux-aarch64": "manylinux2014_aarch64.manylinux_2_17_aarch64",
    "win-64": "win_amd64",
    "osx-arm64": "macosx_11_0_arm64",
}


def mirrors(url: str) -> dict[str, str]:
    """The `[indexes]` of a spec that lead to a server of this module's folders."""
    return {"default": f"{url}/{DEFAULT}", **{name: f"{url}/{name}" for name in _prefixes()}}


@cache
def _prefixes() -> dict[str, str]:
    """What the URLs of each index of the matrix begin with."""
    rows = yaml.safe_load((ROOT / "matrix" / "indexes.yaml").read_text("utf-8"))["rows"]
    return {row["index"]: row["url"].split("{", maxsplit=1)[0] for row in rows}


def write_indexes(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write below `folder` the indexes that a plan's pip packages come from."""
    (folder / DEFAULT).mkdir(parents=True, exist_ok=True)
    placed: dict[str, dict[str, Wheel]] = {}
    for environment in plan["environments"]:
        for place, wheel in _wheels(environment):
            placed.setdefault(place, {})[wheel.filename] = wheel
    for place, wheels in placed.items():
        if place.endswith(".html"):
            _write_page(folder / place, wheels.values())
        else:
            write_index(folder / place, wheels.values())


def _wheels(environment: Environment) -> Iterator[tuple[str, Wheel]]:
    """The wheels of an environment, each with the folder or page that lists it."""
    for name, package in environment["packages"].items():
        if package["how"] != "conda":
            yield _place(package), planned_wheel(name, package, environment)
    for name, specifier in _free_requirements(environment).items():
        yield DEFAULT, Wheel(name, str(version_for(specifier)), "py3-none-any")


def _free_requirements(environment: Environment) -> dict[str, SpecifierSet]:
    """What else comes from the default index, with all that is asked of each project.

    That is what is resolved freely, the wheels of a toolkit, and what builds need. Projects that the plan
    fixes are served already, and what is asked for by URL comes from elsewhere.
    """
    found: dict[str, SpecifierSet] = {}
    for text in _requirement_texts(environment):
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name not in environment["packages"] and requirement.url is None:
            found[name] = found.get(name, SpecifierSet()) & requirement.specifier
    return found


def _requirement_texts(environment: Environment) -> Iterator[str]:
    toolkit = environment.get("toolkit") or {}
    if environment["provider"] == "conda":
        return  # its requirements are match specs
    yield from environment["requirements"]
    if toolkit.get("provider") == "pip":
        yield from toolkit.get("requirements", ())
    for phase in environment.get("phases", ()):
        yield from phase.get("requires", ())


def _place(package: Mapping[str, Any]) -> str:
    url = package.get("index")
    if not url:
        return DEFAULT
    prefix = _prefixes()[package["source"]]
    if not url.startswith(prefix):
        raise ValueError(f"{url} is not on the index {package['source']}")
    return f"{package['source']}/{url.removeprefix(prefix)}"


def planned_wheel(name: str, package: Mapping[str, Any], environment: Environment) -> Wheel:
    """A wheel for exactly the Python, platform and CUDA of an environment."""
    python = "cp" + environment["python"].replace(".", "")
    platform = PLATFORM_TAGS[environment["platform"]]
    version = Version(package["version"])
    if name == "torch":
        is_labelled = version.local is not None
        variant = environment["variant"]
        return torch_wheel(version.public, variant, python, platform, local=is_labelled, requires_python="")
    cuda = environment["cuda"]
    major = int(cuda.split(".")[0]) if cuda else None
    return compiled_wheel(name, str(version), f"{python}-{python}-{platform}", major)


def version_for(specifier: SpecifierSet) -> Version:
    """A version that a specifier allows. ValueError where none is found."""
    named = [Version(part.version.removesuffix(".*")) for part in specifier]
    above = [Version(f"{version.public}.1") for version in named if not version.is_postrelease]
    tried = [*named, *above, Version("1.0"), Version("0.0.1"), Version("99.0")]
    found = next((version for version in tried if specifier.contains(version, prereleases=True)), None)
    if found is None:
        raise ValueError(f"no version for `{specifier}`")
    return found


def _write_page(page: Path, wheels: Iterable[Wheel]) -> None:
    """One page that lists the wheels of all projects beside it (find-links)."""
    links = []
    for wheel in wheels:
        wheel.write(page.parent)
        href = f"{quote(wheel.filename)}#sha256={wheel.sha256}"
        links.append(f'<a href="{href}">{html.escape(wheel.filename)}</a><br>')
    page.write_text("\n".join(["<html><body>", *links, "</body></html>", ""]), encoding="utf-8")
