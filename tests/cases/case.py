"""Cases: people's situations with the answer that would have helped, read from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE_VARIABLE = "CUDAENV_CASES"
BESIDE = "*/cases/plan-render-lock.yaml"
"""Where a file of cases is found without being named: in a folder beside the checkout."""

MODES = ("plan", "render", "lock")
"""What the program can be asked so far; cases of other modes are skipped."""


@dataclass(frozen=True)
class Case:
    """One case: what is known of the machines, what is wanted, and what has to come of it."""

    id: str
    mode: str
    facts: Mapping[str, Any]
    wants: Mapping[str, Any]
    expected: Mapping[str, Any]


class _TextLoader(yaml.SafeLoader):
    """Reads numbers and days as the text that was written: 3.10 is a Python, and 2.5.1 no less than 2.5."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as the base class has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":bool", ":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_cases(text: str) -> tuple[Case, ...]:
    """The cases of a file's text. ValueError where it is no file of cases."""
    document = yaml.load(text, _TextLoader)  # noqa: S506  a SafeLoader with fewer types
    if not isinstance(document, dict) or document.get("schema") != "1":
        raise ValueError("not a file of cases: `schema: 1` and `cases` are expected")
    cases = tuple(_case(entry) for entry in document["cases"])
    twice = sorted({case.id for case in cases if [other.id for other in cases].count(case.id) > 1})
    if twice:
        raise ValueError(f"cases with the same id: {', '.join(twice)}")
    return cases


def _case(entry: Mapping[str, Any]) -> Case:
    return Case(
        id=entry["id"],
        mode=entry["mode"],
        facts=entry.get("facts") or {},
        wants=entry.get("wants") or {},
        expected=entry.get("expected") or {},
    )


def cases_file(environ: Mapping[str, str]) -> Path | None:
    """The file named by the environment, else the one beside the checkout; None where there is neither."""
    named = environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    return next(iter(sorted(ROOT.parent.glob(BESIDE))), None)
