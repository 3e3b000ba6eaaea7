"""`cudaenv check`."""

from __future__ import annotations

from pathlib import Path

import click

from cudaenv.cli.options import folder_option, project


@click.command()
@folder_option
def command(folder: Path) -> None:
    """Say whether the lock is still what the spec and the files say, offline. Exit status 4 where not."""
    from cudaenv.workflow.checking import check_project

    check_project(project(folder, {}))
    click.echo("up to date")
