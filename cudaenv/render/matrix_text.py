"""A table of the matrix as text and as JSON, each row with its source and basis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from cudaenv.errors import SpecError
from cudaenv.matrix.gpus import GpuRow
from cudaenv.matrix.load import Tables
from cudaenv.matrix.matrix import all_rows
from cudaenv.matrix.tables import Row
from cudaenv.model.documents import nearest

HIDDEN = {"package"}


def tables_lines(tables: Tables) -> list[str]:
    """The names of the tables and how many rows each has."""
    rows = all_rows(tables)
    width = max(len(name) for name in rows)
    return [f"{name:<{width}}  {len(items):>4} rows" for name, items in rows.items()]


def table_lines(tables: Tables, name: str) -> list[str]:
    """The rows of a table in columns, then its sources. SpecError for an unknown table."""
    name = _full_name(tables, name)
    shown = [_cells(row) for row in all_rows(tables)[name]]
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
    name = _full_name(tables, name)
    return {
        "schema": 1,
        "table": name,
        "sources": {
            source.name: {"where": source.where, "says": source.says, "read": source.read}
            for source in tables.sources[name].values()
        },
        "rows": [_cells(row) for row in all_rows(tables)[name]],
    }


def _full_name(tables: Tables, name: str) -> str:
    """The name of a table; `torch` stands for `packages/torch`."""
    names = list(all_rows(tables))
    found = next((known for known in (name, f"packages/{name}") if known in names), None)
    if found is None:
        raise SpecError(f"there is no table `{name}`{nearest(name, names)}", [f"tables: {', '.join(names)}"])
    return found


def _cells(row: Row | GpuRow) -> dict[str, str]:
    """The columns of a row as texts; source, basis and note last."""
    last = ("source", "published", "basis", "note")
    names = [field.name for field in fields(row) if field.name not in HIDDEN]
    ordered = [*(name for name in names if name not in last), *(name for name in last if name in names)]
    return {name: text for name in ordered for text in [_cell(getattr(row, name))] if text}


def _cell(value: object) -> str:
    if value is None or value is False:
        return ""
    if isinstance(value, Iterable) and not isinstance(value, str) and type(value) is tuple:
        return " ".join(str(item) for item in value)
    return "yes" if value is True else str(value)
