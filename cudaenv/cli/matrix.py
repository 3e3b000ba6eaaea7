"""`cudaenv matrix`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cudaenv.cli.options import json_option, project


@click.group()
def command() -> None:
    """Show and check the compatibility tables that every plan rests on."""


@command.command()
@click.argument("table", required=False)
@json_option
def show(table: str | None, as_json: bool) -> None:
    """Print a table with its sources, or the list of tables."""
    from cudaenv.render.matrix_text import table_json, table_lines, tables_lines

    tables = project(Path(), {}).matrix.tables
    if table is None:
        click.echo("\n".join(tables_lines(tables)))
    elif as_json:
        click.echo(json.dumps(table_json(tables, table), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(table_lines(tables, table)))


@command.command()
def check() -> None:
    """Read all tables and check every invariant. Exit status 7 where one does not hold."""
    from cudaenv.matrix.matrix import all_rows

    rows = all_rows(project(Path(), {}).matrix.tables)
    count = sum(len(items) for items in rows.values())
    click.echo(f"{count} rows in {len(rows)} tables: every invariant holds")
