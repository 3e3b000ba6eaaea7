"""Work side by side: a few threads that wait for the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 4
"""Resolutions and downloads of metadata at a time; more only wait for the network."""


def side_by_side(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Apply a function to items, a few at a time; the first failure is raised."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, items))
