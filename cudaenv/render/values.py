"""Values as they may stand in rendered files; ValueError for those that must not."""

from __future__ import annotations

import json
import re
from typing import Final

from packaging.markers import Marker
from packaging.requirements import Requirement

from cudaenv.model.plan import Environment, Plan, PlannedPackage

# What a Dockerfile holds unquoted is checked although it comes from our own types: they are made of
# a matrix and a spec that others write.
NAME: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
FILE_NAME: Final = re.compile(r"[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*")
PYTHON: Final = re.compile(r"[0-9]\.[0-9]{1,2}")


def comment(text: str) -> str:
    """Return a text as one comment line, whatever line breaks it holds."""
    return f"# {''.join(char if char.isprintable() else ' ' for char in text)}".rstrip()


def line_comment(text: str) -> str:
    """Return a text as one comment line of JSON with comments, whatever line breaks it holds."""
    return f"//{comment(text)[1:]}"


def toml_string(text: str) -> str:
    """Return a text as a TOML string; ValueError where it holds what is no printable character."""
    if not text.isprintable():
        raise ValueError(f"not a text for a file: {text!r}")
    is_literal = '"' in text and "'" not in text
    return f"'{text}'" if is_literal else json.dumps(text, ensure_ascii=False)


def checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    """Return a text that matches the pattern; ValueError for any other."""
    if not pattern.fullmatch(text):
        raise ValueError(f"not {what}: {text!r}")
    return text


def requirement_text(text: str, extra_marker: str = "") -> str:
    """Return a requirement, for the given marker besides its own; ValueError where it has a URL."""
    requirement = Requirement(text)
    if extra_marker:
        own = f"({requirement.marker}) and " if requirement.marker else ""
        requirement.marker = Marker(f"{own}{extra_marker}")
    if requirement.url is not None or not str(requirement).isprintable():
        raise ValueError(f"not a requirement for a file: {text!r}")
    return str(requirement)


URL: Final = re.compile(r"(?:git\+)?https://[A-Za-z0-9.-]+(?::\d{1,5})?/[A-Za-z0-9._~%+/@-]+")
"""A plain URL of a wheel or a repository: nothing that a shell or a Dockerfile would read as more."""

VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")
VALUE: Final = re.compile(r"(?:\$(?:VIRTUAL_ENV|CONDA_PREFIX))?[A-Za-z0-9._/;=+-]*")


def yaml_string(text: str) -> str:
    """Return a text as a quoted YAML string; ValueError where it holds what is no printable character.

    JSON's strings are YAML's (https://yaml.org/spec/1.2.2/#chapter-1-introduction-to-yaml).
    """
    if not text.isprintable():
        raise ValueError(f"not a text for a file: {text!r}")
    return json.dumps(text, ensure_ascii=False)


def package_text(package: PlannedPackage) -> str:
    """Return the requirement of a planned package; what no index lists is named by a checked URL."""
    url = package.git or (package.index_url if package.requirement.endswith(package.index_url) else "")
    if url and "@" in package.requirement:
        checked(URL, url, "a URL of a package")
        return f"{requirement_text(package.name)} @ {url}"
    return requirement_text(package.requirement)


def environment_file(plan: Plan, environment: Environment, name: str) -> str:
    """Return the name of a file of an environment; ValueError for a name that is none."""
    checked(NAME, environment.name, "a name of an environment")
    return checked(FILE_NAME, plan.file_name(environment, name), "a file name")
