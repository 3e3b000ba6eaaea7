"""What compilers and build systems say when a build fails, and why they say it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cudaenv.matrix.tables import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFailure(Row):
    """A failure of a build that its log shows (build-failures.yaml).

    `log`: a regular expression that finds it in a line of the log; `cause`: what it means; `remedy`: what
    helps. A row before another is the more likely cause where both are found.
    """

    TABLE: ClassVar[str] = "build-failures"
    KEY: ClassVar[tuple[str, ...]] = ("failure",)

    failure: str
    log: str
    cause: str
    remedy: str


def causes(failures: Iterable[BuildFailure], log: str) -> tuple[tuple[BuildFailure, str], ...]:
    """The failures that a log shows, the likeliest first, each with the line that shows it from there on."""
    lines = log.splitlines()
    return tuple((row, found) for row in failures for found in _first(row.log, lines))


def _first(pattern: str, lines: Sequence[str]) -> tuple[str, ...]:
    matches = ((re.search(pattern, line), line) for line in lines)
    return next(((line[match.start() :].strip(),) for match, line in matches if match), ())
