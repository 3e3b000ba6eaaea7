"""Whether a text holds what a case names: a word for a reader, or a piece of a file."""

from __future__ import annotations

import re

NUMBER = re.compile(r"\d+(\.\d+)*")
ACRONYM = re.compile(r"[A-Z]{2,}")
REQUIREMENT = re.compile(r"([A-Za-z][\w.-]*)(==|>=|<=|~=|!=|<|>)(\d[\w.]*)")
ALTERNATIVES = "|"


def mentions(item: str, text: str) -> bool:
    """Whether a text for people says a word, or one of several (`6.0|Pascal`).

    Numbers and acronyms stand alone: 12.0 does not mention 2.0, and PCI does not mention CI. All else is
    found inside words and however it is capitalised; where a line breaks says nothing.
    """
    flat = " ".join(text.split())
    return any(_mentions(word, flat) for word in item.split(ALTERNATIVES))


def _mentions(word: str, text: str) -> bool:
    if NUMBER.fullmatch(word):
        return re.search(_number(word), text) is not None
    if ACRONYM.fullmatch(word):
        return re.search(rf"(?<![A-Za-z]){word}(?![A-Za-rt-z])", text) is not None
    return " ".join(word.split()).lower() in text.lower()


def contains(item: str, text: str) -> bool:
    """Whether a file has a piece of text, or one of several (`A|B`).

    Numbers stand alone. A requirement (`numpy<2`) is also found among other clauses (`numpy>=1.21,<2`), and
    is not one that merely begins alike (`numpy<2.3`). The stars of a match spec (`pytorch=*=cuda*`) stand for
    anything. A piece that begins with a line break is the beginning of a line, whatever list sign stands
    before it. All else is found as it is written.
    """
    return any(_contains(piece, text) for piece in item.split(ALTERNATIVES))


def _contains(piece: str, text: str) -> bool:
    requirement = REQUIREMENT.fullmatch(piece)
    if NUMBER.fullmatch(piece):
        pattern = _number(piece)
    elif requirement is not None:
        pattern = _requirement(*requirement.groups())
    elif "=*=" in piece:
        pattern = re.escape(piece).replace(r"\*", r"[^\s\"',=]*")
    elif piece.startswith("\n"):
        pattern = rf"(?m)^[ \t\"'-]*{re.escape(piece.strip())}"
    else:
        return piece in text
    return re.search(pattern, text) is not None


def _number(text: str) -> str:
    return rf"(?<!\d)(?<!\d\.){re.escape(text)}(?!\d)"


def _requirement(name: str, operator: str, version: str) -> str:
    before = r"(?:\[[^\]\n]*\])? *(?:[<>=!~]+ *[\w.*+!]+ *, *)*"
    return rf"(?<![\w.-]){re.escape(name)}{before}{operator} *{re.escape(version)}(?![\w])(?!\.\w)"
