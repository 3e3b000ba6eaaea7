"""Cases that a primary source contradicts: which of their keys are left out, and why (answers.yaml)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ANSWERS = Path(__file__).with_name("answers.yaml")


@dataclass(frozen=True)
class Answer:
    """The keys of `expected` that do not hold, why, and the page or artefact that says so."""

    keys: frozenset[str]
    because: str
    source: str


def read_answers(text: str) -> dict[str, Answer]:
    """The answers by the id of their case. ValueError where one has no keys, reason or source."""
    return {case: _answer(case, entry) for case, entry in (yaml.safe_load(text) or {}).items()}


def _answer(case: str, entry: Mapping[str, object]) -> Answer:
    keys, because, source = (entry.get(name) for name in ("keys", "because", "source"))
    if entry.keys() != {"keys", "because", "source"} or not (keys and because and source):
        raise ValueError(f"{case}: an answer has `keys`, `because` and `source`")
    listed = keys if isinstance(keys, list) else [keys]
    return Answer(frozenset(map(str, listed)), str(because), str(source))


def unanswered(found: Mapping[str, list[str]], answer: Answer | None) -> dict[str, list[str]]:
    """The mismatches that no answer speaks of, and the answers that nothing needs (any longer)."""
    answered = answer.keys if answer else frozenset()
    left = {key: texts for key, texts in found.items() if key not in answered}
    stale = {key: ["answered, but as expected: take it out of the answer"] for key in answered - found.keys()}
    return left | stale
