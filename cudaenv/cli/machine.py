"""`cudaenv machine`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cudaenv.cli.options import json_option, project


@click.command()
@json_option
@click.option("--toml", "as_toml", is_flag=True, help="Print a [[machine]] table for cudaenv.toml.")
def command(as_json: bool, as_toml: bool) -> None:
    """Show what can be told of this machine: driver, GPUs, glibc, each with who said so."""
    from cudaenv.render.machine_text import machine_json, machine_lines, machine_toml

    machine = project(Path(), {}).machine
    if as_json:
        click.echo(json.dumps(machine_json(machine), indent=2, ensure_ascii=False))
    elif as_toml:
        click.echo(machine_toml(machine), nl=False)
    else:
        click.echo("\n".join(machine_lines(machine)))
