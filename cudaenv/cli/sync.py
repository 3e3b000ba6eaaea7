"""`cudaenv sync`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cudaenv.cli.options import folder_option, installed_options, json_option, project


@click.command()
@folder_option
@json_option
@installed_options
@click.option(
    "--from-bundle",
    "bundle",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Fetch nothing: take every file from a folder that `cudaenv bundle` made.",
)
@click.option("--anyway", is_flag=True, help="Install even if the environment does not fit this machine.")
def command(
    *,
    folder: Path,
    as_json: bool,
    name: str | None,
    prefix: Path | None,
    bundle: Path | None,
    anyway: bool,
) -> None:
    """Install the locked environment that fits this machine, and verify it by importing torch.

    The environment then holds exactly what is locked; other packages in it are removed.
    """
    from cudaenv.workflow.syncing import sync_project

    here = project(folder, {})
    synced = sync_project(
        here,
        name=name,
        prefix=prefix and prefix.resolve(),
        anyway=anyway,
        bundle=bundle and bundle.resolve(),
    )
    if as_json:
        answer = {
            "schema": 1,
            "environment": synced.environment["name"],
            "prefix": str(synced.prefix),
            "torch": dict(synced.torch),
            "notes": list(synced.notes),
        }
        click.echo(json.dumps(answer, indent=2))
        return
    torch = synced.torch
    click.echo(f"installed   {synced.environment['name']} in {synced.prefix}")
    if torch:
        click.echo(f"torch       {torch['version']}, CUDA {torch['cuda'] or 'none'}, as planned")
    if torch.get("archs"):
        click.echo(f"code for    {' '.join(torch['archs'])}")
    for note in synced.notes:
        click.echo(f"GPU         {note}")
