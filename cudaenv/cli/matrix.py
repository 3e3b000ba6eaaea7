"""`cudaenv matrix`."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from datetime import date as date_type
from pathlib import Path

import click

from cudaenv.cli.options import index_mirror, json_option, project, talk

CENTURY = range(2000, 2100)
"""Years of which the tables have dates."""


@click.group()
def command() -> None:
    """Show, check and refresh the compatibility tables that every plan rests on."""


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
    from cudaenv.matrix.matrix import Matrix
    from cudaenv.workflow.tables import table_texts

    folder, texts = table_texts(os.environ, talk)
    rows = Matrix.from_texts(texts).tables.by_name
    talk(f"tables in {folder}")
    count = sum(len(items) for items in rows.values())
    click.echo(f"{count} rows in {len(rows)} tables: every invariant holds")


@command.command()
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option("--write", is_flag=True, help="Write the tables; without it the difference is only shown.")
@click.option("--since", metavar="DATE", default="", help="Measure releases of that day or later only.")
@click.option("--date", metavar="DATE", default="", help="The day that new rows are dated with; today.")
@click.option(
    "--from",
    "places",
    multiple=True,
    metavar="PLACE",
    help="Measure only what lies at pypi, pytorch, openmmlab, conda or images; may be repeated.",
)
@click.option("--allow-removals", is_flag=True, help="Let rows go whose releases are not found any more.")
@click.option(
    "--index",
    "mirrors",
    multiple=True,
    metavar="NAME=URL",
    help="A mirror of an index, pytorch=URL, or another default index, default=URL; may be repeated.",
)
def refresh(
    tables: tuple[str, ...],
    *,
    write: bool,
    since: str,
    date: str,
    places: tuple[str, ...],
    allow_removals: bool,
    mirrors: tuple[str, ...],
) -> None:
    """Measure the tables anew from wheels, indexes, channels and registries, and show what changes.

    TABLE is for example torch, xformers or toolkits; all that can be measured by default. With --write
    the tables go to the folder that CUDAENV_MATRIX names, else to your own data folder, from where
    every later command takes them.
    """
    from cudaenv.workflow.refreshing import Request, refresh_tables, write_refreshed
    from cudaenv.workflow.tables import table_texts

    request = Request(
        tables=tables,
        places=places,
        since=_day(since, "--since") if since else "",
        date=_day(date, "--date") if date else datetime.now(UTC).date().isoformat(),
    )
    _, texts = table_texts(os.environ, talk)
    refreshed = refresh_tables(texts, request, os.environ, dict(map(index_mirror, mirrors)), talk)
    for lines in refreshed.differences.values():
        click.echo("\n".join(lines))
    for line in refreshed.summary:
        talk(line)
    if write:
        folder = write_refreshed(refreshed, texts, os.environ, allow_removals=allow_removals)
        talk(f"written to {folder}")


def _day(text: str, option: str) -> str:
    try:
        day = date_type.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"a day, for example 2026-10-28: {text!r}", param_hint=option) from error
    if day.year not in CENTURY:
        raise click.BadParameter(f"a day of this century: {text!r}", param_hint=option)
    return day.isoformat()
