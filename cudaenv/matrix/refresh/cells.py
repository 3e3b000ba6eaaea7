"""The cells of raw rows: lists as words, and nothing for what is not known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def words(items: Iterable[object]) -> str:
    """Return a list as cells have it: separated by spaces."""
    return " ".join(str(item) for item in items)


def filled(cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells that are not empty: tables have no others."""
    return {column: text for column, text in cells.items() if text}
