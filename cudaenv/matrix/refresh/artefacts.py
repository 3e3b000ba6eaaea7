"""What surveys read. Whoever fetches it implements `Artefacts`; here is nothing but its shape."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

RawRow = Mapping[str, str]
"""A row as its file has it: texts by column, no empty ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFile:
    """A file of a project on a package index, as the project's page lists it.

    `sha256` and `uploaded` (a date, `2026-10-28`) are empty where the page does not state them;
    `has_metadata`: the page says that METADATA lies beside the file (PEP 658).
    """

    name: str
    url: str
    sha256: str = ""
    requires_python: str = ""
    yanked: bool = False
    uploaded: str = ""
    has_metadata: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a page: its text, and its address with the fragment cut off."""

    text: str
    url: str
    sha256: str = ""


class Wheel(Protocol):
    """A wheel that is read where it lies."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """The unpacked size of each member in bytes, by name, in the order of the archive."""

    def read(self, name: str, limit: int) -> bytes:
        """All of a member. ValueError where there is none, or it is larger than `limit` bytes."""

    def needed(self, name: str) -> tuple[str, ...]:
        """The libraries that an ELF member asks the loader for; empty for what is no shared object."""


class Artefacts(Protocol):
    """Everything that a survey may ask of the world. Failures to fetch are FetchErrors."""

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        """The files of a project on the default index, PyPI."""

    def links(self, url: str) -> tuple[Link, ...] | None:
        """The links of an HTML page; None where there is no such page."""

    def document(self, url: str) -> object:
        """A JSON document, parsed."""

    def metadata(self, file: ProjectFile) -> bytes:
        """The METADATA of a wheel."""

    def measured(
        self, file: ProjectFile, method: str, measure: Callable[[Wheel], Mapping[str, str]]
    ) -> Mapping[str, str]:
        """What `measure` makes of a wheel, remembered by the wheel's hash and the name of the method."""

    def run(self, file: ProjectFile, member: str, arguments: Collection[str]) -> str:
        """The output of a program that a wheel carries, run here; FetchError where it cannot be run."""

    def records(
        self, channel: str, platform: str, names: Collection[str]
    ) -> tuple[Mapping[str, object], ...]:
        """Records of packages in a conda channel, as its repodata have them."""

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """The results of a function for all items, in their order, several at a time."""

    def say(self, line: str) -> None:
        """Tell the user what is going on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What of a table is to be measured: releases of a day or later, all by default."""

    since: str = ""

    def wants(self, uploaded: str) -> bool:
        """Whether a file of that day is measured; one of an unknown day always is."""
        return not uploaded or uploaded >= self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How rows of one table are measured.

    `place` names what is read (`pypi`, `pytorch`, `openmmlab`, `conda`, `images`); rows that it yields have
    all the columns that they can have from it, `source` and `basis` among them. `owns` says whether a row
    of the table is one that this survey would find if it still existed. `sources`: name, artefact and what
    it says, of sources that rows cite and that a table need not have before.
    """

    table: str
    place: str
    measure: Callable[[Artefacts, Scope], Iterable[RawRow]]
    owns: Callable[[RawRow], bool]
    sources: tuple[tuple[str, str, str], ...] = ()
