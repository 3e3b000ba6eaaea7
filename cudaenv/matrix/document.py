"""The files of the matrix as text: read strictly, written in one canonical form.

Head comments, `schema`, `sources`, an optional `measure`, then sections of rows, one row a line.
Reading a file and writing it again gives the same bytes.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from cudaenv.matrix.tables import Source, SourceKind, cited_in
from cudaenv.model.documents import Problems

SCHEMA: Final = 1
ROWS: Final = "rows"
BUILDS: Final = "builds"
SECTIONS: Final = (ROWS, BUILDS)
LAST_COLUMNS: Final = ("source", "published", "basis", "read", "note")
TRUE: Final = "true"
"""How a row says yes; it is the only cell without quotes."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file as read: its head, its sources, how it is measured, and the raw rows of its sections.

    A raw row has texts by column; `true` stands for itself.
    """

    name: str
    head: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict)
    measure: tuple[Mapping[str, str], ...] = ()
    sections: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[Mapping[str, str], ...]:
        """The rows of the main section."""
        return self.sections.get(ROWS, ())


def read_document(name: str, text: str, problems: Problems) -> Document:
    """Parse one file; what is wrong with it is noted in `problems`."""
    # Here, because tables that were checked before are read without YAML.
    from cudaenv.matrix.yaml_text import parse_yaml

    try:
        data = parse_yaml(text)
    except ValueError as error:
        problems.add(name, f"not YAML: {error}")
        return Document(name)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        problems.add(name, f"expected `schema: {SCHEMA}`")
        return Document(name)
    for key in set(data) - {"schema", "sources", "measure", *SECTIONS}:
        problems.add(name, f"unknown key `{key}`")
    head = text[: text.index("schema:")] if "schema:" in text else ""
    return Document(
        name,
        head=head,
        sources=_sources(name, data.get("sources"), problems),
        measure=_measures(name, data.get("measure"), problems),
        sections={
            section: _rows(f"{name} {section}", data.get(section), problems)
            for section in SECTIONS
            if section == ROWS or section in data
        },
    )


def _sources(name: str, data: object, problems: Problems) -> dict[str, Source]:
    found = {}
    for key, item in (data if isinstance(data, dict) else {}).items():
        given = [kind for kind in SourceKind if isinstance(item, dict) and kind in item]
        expected = {*given, "says", "read"}
        if len(given) != 1 or set(item) != expected or not all(isinstance(item[part], str) for part in item):
            problems.add(f"{name} sources.{key}", "expected url or artefact, says and read, each quoted")
            continue
        found[str(key)] = Source(str(key), given[0], item[given[0]], item["says"], item["read"])
    return found


def _measures(name: str, data: object, problems: Problems) -> tuple[Mapping[str, str], ...]:
    items = data if isinstance(data, list) else [] if data is None else [data]
    for item in items:
        if not isinstance(item, dict) or not all(isinstance(text, str) for text in chain(*item.items())):
            problems.add(f"{name} measure", "expected a mapping of texts, or a list of such")
            return ()
    return tuple(items)


def _rows(where: str, data: object, problems: Problems) -> tuple[Mapping[str, str], ...]:
    if not isinstance(data, list):
        problems.add(where, "expected a list of rows")
        return ()
    return tuple(
        row
        for index, item in enumerate(data)
        for row in [_row(f"{where}[{index}]", item, problems)]
        if row is not None
    )


def _row(where: str, item: object, problems: Problems) -> Mapping[str, str] | None:
    if not isinstance(item, dict):
        problems.add(where, f"expected a row, got {_shown(item)}")
        return None
    row = {}
    for key, value in item.items():
        if value is True:
            row[str(key)] = TRUE
        elif isinstance(value, str):
            row[str(key)] = value
        else:
            hint = "; put versions in quotes" if isinstance(value, int | float) else ""
            problems.add(f"{where}.{key}", f"expected a quoted text, got {_shown(value)}{hint}")
    return row


def _shown(value: object) -> str:
    """A value in a message: aliases make a few lines of YAML larger than anything."""
    return reprlib.repr(value)[:100]


def cited(document: Document) -> set[str]:
    """The names of the sources that rows cite, and notes and the head by the words `source NAME`."""
    rows = [row for rows in document.sections.values() for row in rows]
    named = {row.get(column, "") for row in rows for column in ("source", "published")}
    notes = [document.head, *(row.get("note", "") for row in rows)]
    return named | {name for note in notes for name in cited_in(note)}


def dump_document(document: Document, columns: Mapping[str, Sequence[str]]) -> str:
    """Write a file; `columns` are the columns of each section in their order."""
    lines = [f"{document.head}schema: {SCHEMA}\n"]
    if document.sources:
        lines.append("sources:\n")
    for source in document.sources.values():
        lines.append(f"  {source.name}:\n    {source.kind}: {_quoted(source.where)}\n")
        lines.append(f"    says: {_quoted(source.says)}\n    read: {_quoted(source.read)}\n")
    if len(document.measure) == 1:
        lines.append(f"measure: {_flow(document.measure[0])}\n")
    elif document.measure:
        lines.append("measure:\n")
        lines += [f"- {_flow(item)}\n" for item in document.measure]
    for section, rows in document.sections.items():
        lines.append(f"{section}:\n" if rows else f"{section}: []\n")
        order = {column: place for place, column in enumerate(columns[section])}
        lines += [f"- {_flow(dict(sorted(row.items(), key=lambda cell: order[cell[0]])))}\n" for row in rows]
    return "".join(lines)


def _flow(cells: Mapping[str, str]) -> str:
    texts = (f"{key}: {TRUE if value == TRUE else _quoted(value)}" for key, value in cells.items())
    return f"{{{', '.join(texts)}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
