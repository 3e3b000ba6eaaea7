"""What must not be in the files: pieces of text, and a few shapes of sentences that are understood.

    PIECE with NAME VERSION     a file of requirements has both
    PIECE as the build stage    the image that a Dockerfile builds in, the first FROM
    PIECE in extra              an extra of a pyproject.toml requires it

Everything else is a piece of text, spaces or not.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping

from tests.cases.outcome import Outcome
from tests.cases.words import contains

NO_REQUIREMENTS = re.compile(r"Dockerfile.*|cudaenv\.lock")
"""Files that hold more than the requirements of one environment."""


def found_in(item: str, outcome: Outcome) -> list[str]:
    """The files that have what they must not have, by name or by text."""
    for shape, places in SENTENCES.items():
        match = shape.fullmatch(item)
        if match is not None:
            return list(places(*match.groups(), outcome.files))
    return [name for name, text in outcome.files.items() if contains(item, f"{name}\n{text}")]


def _together(piece: str, name: str, version: str, files: Mapping[str, str]) -> Iterator[str]:
    """Files of requirements with a piece and a release of a package, comments apart: they tell why."""
    pinned = re.compile(
        rf"(?<![\w.-]){re.escape(name)}(?:\[[^\]\n]*\])? *={{1,3}} *{re.escape(version)}(?!\d)"
    )
    for file, whole in files.items():
        text = "\n".join(line for line in whole.splitlines() if not line.startswith("#"))
        if not NO_REQUIREMENTS.fullmatch(file) and contains(piece, text) and pinned.search(text):
            yield file


def _build_stage(piece: str, files: Mapping[str, str]) -> Iterator[str]:
    """Dockerfiles whose first stage begins with an image that has a piece in its name."""
    for file, text in files.items():
        if file.startswith("Dockerfile") and contains(piece, first_image(text)):
            yield file


def first_image(dockerfile: str) -> str:
    """The image of the first FROM, with the defaults of ARGs put in; empty where there is none."""
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, flags=re.MULTILINE))
    match = re.search(r"^FROM (?:--\S+ +)*(\S+)", dockerfile, flags=re.MULTILINE)
    image = match[1] if match else ""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: arguments.get(found[1], found[0]), image)


def _in_extra(piece: str, files: Mapping[str, str]) -> Iterator[str]:
    """TOML files with an extra that requires a piece."""
    for file, text in files.items():
        extras = _extras(text) if file.endswith(".toml") else {}
        for extra, requirements in extras.items():
            if any(contains(piece, requirement) for requirement in requirements):
                yield f"{file}: {extra}"


def _extras(text: str) -> Mapping[str, list[str]]:
    extras: Mapping[str, list[str]] = tomllib.loads(text).get("project", {}).get("optional-dependencies", {})
    return extras


SENTENCES: dict[re.Pattern[str], Callable[..., Iterator[str]]] = {
    re.compile(r"(\S+) with (\S+) (\d\S*)"): _together,
    re.compile(r"(\S+) as (?:the|a) build stage"): _build_stage,
    re.compile(r"(\S+) in (?:an |the )?extras?"): _in_extra,
}
