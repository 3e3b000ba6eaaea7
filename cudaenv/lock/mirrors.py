"""Canonical URLs and the mirrors they are fetched from; a lock names the canonical ones only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cudaenv.matrix.tables import Index


@dataclass(frozen=True, slots=True)
class Place:
    """An index: where its files canonically lie, where they are fetched, which prefixes mean the same."""

    name: str
    canonical: str
    fetched: str
    also: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mirrors:
    """The indexes beside the default one, and the default one where the spec names another.

    `default` is empty for the installer's own default index.
    """

    places: tuple[Place, ...]
    default: str = ""

    @classmethod
    def of(cls, indexes: tuple[Index, ...], mirrors: Mapping[str, str]) -> Mirrors:
        """Join the indexes of the matrix with the `[indexes]` of a spec."""
        places = tuple(
            Place(
                name=row.index,
                canonical=_prefix(row.url),
                fetched=mirrors.get(row.index, _prefix(row.url)).rstrip("/") + "/",
                also=tuple(_prefix(url) for url in row.also.split()),
            )
            for row in indexes
        )
        return cls(places, mirrors.get("default", ""))

    def to_fetch(self, url: str) -> str:
        """Where a canonical URL is fetched from."""
        for place in self.places:
            if url.startswith(place.canonical):
                return place.fetched + url.removeprefix(place.canonical)
        return url

    def to_canonical(self, url: str) -> str:
        """The canonical form of a URL that an index page gave; `+` is escaped as indexes want it."""
        for place in self.places:
            for prefix in (place.fetched, *place.also):
                if url.startswith(prefix):
                    return (place.canonical + url.removeprefix(prefix)).replace("+", "%2B")
        return url.replace("+", "%2B")

    def fetched(self, indexes: Mapping[str, str]) -> dict[str, str]:
        """Where indexes, canonical URLs by name, are fetched; the default one where the spec names it."""
        found = {name: self.to_fetch(url) for name, url in indexes.items()}
        return found | ({"default": self.default} if self.default else {})

    def place_of(self, url: str) -> Place | None:
        """The index beside the default one that a canonical URL belongs to."""
        return next((place for place in self.places if url.startswith(place.canonical)), None)


def _prefix(url: str) -> str:
    return url.split("{variant}", maxsplit=1)[0]
