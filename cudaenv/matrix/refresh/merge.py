"""Measured rows into a table: what is new, what changed, what is gone, and nothing else touched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff

from packaging.version import InvalidVersion, Version

from cudaenv.matrix.document import ROWS, Document, cited, dump_document
from cudaenv.matrix.load import columns_of, kind_of
from cudaenv.matrix.refresh.artefacts import RawRow, Survey
from cudaenv.matrix.tables import Basis, Row, Source, SourceKind
from cudaenv.model.machine import Platform

Identity = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What refreshing does to the rows of one table; each entry names rows by their identity."""

    added: tuple[Identity, ...] = ()
    changed: tuple[Identity, ...] = ()
    removed: tuple[Identity, ...] = ()


def merge(
    document: Document, measured: Iterable[RawRow], survey: Survey, date: str, *, whole: bool
) -> tuple[Document, Change]:
    """The document with these rows measured on a day, and what that changes.

    A row that says what it said before stays as it is, with its date. `whole`: everything was measured that
    the survey owns, so that rows of it which were measured before and were not found now are gone; otherwise
    they stay. Rows that nobody measured stay in any case. ValueError where two rows are the same one.
    """
    kind = kind_of(document.name)
    days = {name: date for name, _, _ in survey.sources}
    days |= {name: source.read for name, source in document.sources.items()}
    before = _by_identity(kind, document.rows, f"rows of {document.name}")
    told = _by_identity(kind, measured, f"measured rows of {document.name}")
    found = {key: _dated(kind, row, before.get(key), days, date) for key, row in told.items()}
    gone = {
        key
        for key, row in before.items()
        if whole and key not in found and survey.owns(row) and row.get("basis") == Basis.MEASURED
    }
    rows = {key: row for key, row in {**before, **found}.items() if key not in gone}
    change = Change(
        added=tuple(key for key in found if key not in before),
        changed=tuple(key for key, row in found.items() if key in before and before[key] != row),
        removed=tuple(sorted(gone)),
    )
    ordered = tuple(sorted(rows.values(), key=lambda row: order_of(kind, row)))
    if not (change.added or change.changed or change.removed):
        return document, change
    merged = replace(document, sections={**document.sections, ROWS: ordered})
    return _with_sources(merged, survey, date), change


def _by_identity(kind: type[Row], rows: Iterable[RawRow], what: str) -> dict[Identity, RawRow]:
    found: dict[Identity, RawRow] = {}
    for row in rows:
        key = kind.identity(row)
        if key in found:
            raise ValueError(f"two {what} are {' '.join(filter(None, key))}")
        found[key] = row
    return found


def _with_sources(document: Document, survey: Survey, date: str) -> Document:
    """The document with the sources that it cites and no others: replaced rows take theirs with them."""
    used = cited(document)
    new = {
        name: Source(name, SourceKind.ARTEFACT, artefact, says, date)
        for name, artefact, says in survey.sources
        if name not in document.sources
    }
    sources = {**document.sources, **new}
    return replace(document, sources={name: source for name, source in sources.items() if name in used})


def _dated(kind: type[Row], row: RawRow, old: RawRow | None, days: Mapping[str, str], date: str) -> RawRow:
    """A measured row with what a person wrote into it before, and its day if that is not its source's."""
    kept = {column: old[column] for column in kind.CURATED if old and column in old and column not in row}
    new = {**row, **kept}
    if old is not None and {**new, "read": ""} == {**old, "read": ""}:
        return old
    return new if days.get(row["source"]) == date else {**new, "read": date}


def order_of(kind: type[Row], row: RawRow) -> tuple[object, ...]:
    """What rows of a refreshed table are sorted by: their identity, read as versions and numbers."""
    return tuple(_sortable(row.get(column, "")) for column in kind.ORDER or (*kind.KEY, "torch"))


def _sortable(text: str) -> tuple[object, ...]:
    """Platforms in their usual order, versions as versions, the rest by words and numbers."""
    if text in _PLATFORMS:
        return (0, _PLATFORMS[text])
    try:
        return (1, Version(text))
    except InvalidVersion:
        parts = re.split(r"(\d+)", text)
        return (2, tuple((part.isdecimal(), int(part) if part.isdecimal() else part) for part in parts))


_PLATFORMS: Mapping[str, int] = {platform.value: place for place, platform in enumerate(Platform)}


def difference(before: str, after: str, name: str) -> Sequence[str]:
    """The lines of a unified diff of a table's file, empty where nothing changed."""
    lines = unified_diff(
        before.splitlines(), after.splitlines(), f"a/{name}.yaml", f"b/{name}.yaml", lineterm="", n=0
    )
    return list(lines)


def text_of(document: Document) -> str:
    """The canonical text of a document."""
    return dump_document(document, columns_of(document))
