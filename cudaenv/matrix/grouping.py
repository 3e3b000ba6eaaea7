"""Grouping: rows by what they have in common, so that a question looks at those alone that can answer it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from cudaenv.matrix.tables import Row

R = TypeVar("R", bound=Row)
K = TypeVar("K", bound=Hashable)


def grouped(rows: Iterable[R], key: Callable[[R], K]) -> dict[K, list[R]]:
    """Rows by a key, each group in the order of the rows."""
    found: dict[K, list[R]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found
