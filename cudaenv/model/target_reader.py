"""The user's own targets, `[targets.NAME]` of a spec, read strictly."""

from __future__ import annotations

import re

from packaging.utils import canonicalize_name

from cudaenv.model.documents import Section, nearest
from cudaenv.model.spec import Provider, Target

KEYS = ("title", "packages", "components", "providers", "why")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
RUNTIME = "runtime"


def read_targets(section: Section, components: tuple[str, ...]) -> tuple[Target, ...]:
    """The targets that a spec defines; what is wrong with one is noted.

    `packages` are names, or alternatives as in `mmcv|mmcv-full`; `components` are `runtime` and those of
    the matrix (`components`); `providers` are `pip`, `conda` and `system`, the preferred first.
    """
    table = section.table("targets")
    found = []
    for name in table.data:
        if not NAME.fullmatch(name):
            table.problems.add(table.at(name), "not a name of a target (small letters, digits, dashes)")
        else:
            found.append(_target(name, table.table(name), components))
    return tuple(found)


def _target(name: str, section: Section, components: tuple[str, ...]) -> Target:
    section.only(*KEYS)
    packages = section.texts("packages") or ()
    wanted = section.texts("components") or (RUNTIME,)
    providers = section.texts("providers") or (str(Provider.PIP),)
    for component in wanted:
        if component not in {RUNTIME, *components}:
            hint = nearest(component, components) or f" (known: {', '.join((RUNTIME, *components))})"
            section.problems.add(section.at("components"), f"unknown component `{component}`{hint}")
    allowed = [str(provider) for provider in Provider if provider is not Provider.AUTO]
    for provider in providers:
        if provider not in allowed:
            text = f"unknown provider `{provider}` (known: {', '.join(allowed)})"
            section.problems.add(section.at("providers"), text)
    return Target(
        name=name,
        title=section.text("title") or name,
        packages=tuple(tuple(canonicalize_name(part) for part in text.split("|")) for text in packages),
        components=tuple(wanted),
        providers=tuple(Provider(provider) for provider in providers if provider in allowed),
        why=section.text("why") or "the order that the spec states",
        origin=section.path,
    )
