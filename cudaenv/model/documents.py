"""Strict reading of parsed TOML and YAML: types are checked, unknown keys refused, all problems kept."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


@dataclass(slots=True)
class Problems:
    """The problems of one document, collected so that its author sees them all at once."""

    origin: str
    lines: list[str] = field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        """Note a problem at a dotted key path."""
        self.lines.append(f"{path}: {text}" if path else text)


def nearest(word: str, known: Iterable[str]) -> str:
    """A `did you mean` clause for a mistyped word, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{found[0]}`?" if found else ""


def member(kind: type[E], noun: str) -> Callable[[str], E]:
    """A parser of the words of an enumeration; its ValueError names the nearest, or all of them."""

    def parse(text: str) -> E:
        try:
            return kind(text)
        except ValueError as error:
            names = [str(item) for item in kind]
            hint = nearest(text, names) or f" (known: {', '.join(names)})"
            raise ValueError(f"unknown {noun} `{text}`{hint}") from error

    return parse


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping at a key path; every reader returns None after noting a problem."""

    data: Mapping[str, Any]
    path: str
    problems: Problems

    def at(self, key: str) -> str:
        """The dotted path of a key in this section."""
        return f"{self.path}.{key}" if self.path else key

    def only(self, *known: str) -> None:
        """Refuse keys that are not known, naming the nearest that is."""
        for key in self.data:
            if key not in known:
                hint = nearest(str(key), known) or f" (known: {', '.join(known)})"
                self.problems.add(self.at(str(key)), f"unknown key{hint}")

    def read(self, key: str, kind: type[T], wanted: str) -> T | None:
        """The value of a key if it is there and of this type; True is not an int here."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            hint = ", in quotes" if kind is str and isinstance(value, int | float) else ""
            self.problems.add(self.at(key), f"expected {wanted}{hint}, got {value!r}")
            return None
        return value

    def table(self, key: str) -> Section:
        """The table at a key, empty where there is none."""
        return Section(self.read(key, dict, "a table") or {}, self.at(key), self.problems)

    def text(self, key: str) -> str | None:
        """The string at a key."""
        return self.read(key, str, "a string")

    def texts(self, key: str) -> tuple[str, ...] | None:
        """The strings at a key, which may be one string or a list of them."""
        value = self.data.get(key)
        if isinstance(value, str):
            return (value,)
        items = self.read(key, list, "a string or a list of strings")
        if items is None:
            return None
        if not all(isinstance(item, str) for item in items):
            self.problems.add(self.at(key), f"expected a list of strings, got {items!r}")
            return None
        return tuple(items)

    def parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        """The string at a key, parsed; a ValueError of `parse` is noted."""
        text = self.text(key)
        return None if text is None else self.attempt(key, text, parse)

    def attempt(self, key: str, text: str, parse: Callable[[str], T]) -> T | None:
        """Parse a text that came from a key; a ValueError is noted as a problem there."""
        try:
            return parse(text)
        except ValueError as error:
            self.problems.add(self.at(key), str(error))
            return None
