"""A table of the matrix as text and as JSON, each row with its source and basis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cudaenv.matrix.load import Tables, full_name, shape_of
from cudaenv.matrix.tables import Row


def tables_lines(tables: Tables) -> list[str]:
    """The names of the tables and how many rows each has."""
    rows = tables.by_name
    width = max(len(name) for name in rows)
    return [f"{name:<{width}}  {len(items):>4} rows" for name, items in rows.items()]


def table_lines(tables: Tables, name: str) -> list[str]:
    """The rows of a table in columns, then its sources. SpecError for an unknown table."""
    name = full_name(name, tables.by_name)
    shown = [_cells(row) for row in tables.by_name[name]]
    columns = [
        key for key in dict.fromkeys(key for row in shown for key in row) if any(r.get(key) for r in shown)
    ]
    widths = {key: max(len(key), *(len(row.get(key, "")) for row in shown)) for key in columns}
    lines = ["  ".join(f"{key:<{widths[key]}}" for key in columns).rstrip()]
    lines += ["  ".join(f"{row.get(key, ''):<{widths[key]}}" for key in columns).rstrip() for row in shown]
    lines += ["", "sources"]
    for source in tables.sources[name].values():
        lines += [f"  {source.name}: {source.where} (read {source.read})", f"    {source.says}"]
    return lines


def table_json(tables: Tables, name: str) -> dict[str, Any]:
    """A table as plain data. SpecError for an unknown one."""
    name = full_name(name, tables.by_name)
    return {
        "schema": 1,
        "table": name,
        "sources": {
            source.name: {"where": source.where, "says": source.says, "read": source.read}
            for source in tables.sources[name].values()
        },
        "rows": [_cells(row) for row in tables.by_name[name]],
    }


def _cells(row: Row) -> dict[str, str]:
    """The columns of a row as texts; source, basis and note last."""
    columns = shape_of(type(row)).columns
    return {name: text for name in columns for text in [_cell(getattr(row, name))] if text}


def _cell(value: object) -> str:
    if value is None or value is False:
        return ""
    if isinstance(value, Iterable) and not isinstance(value, str) and type(value) is tuple:
        return " ".join("=".join(item) if isinstance(item, tuple) else str(item) for item in value)
    return "yes" if value is True else str(value)
