"""`cudaenv check`."""

from __future__ import annotations

from pathlib import Path

import click

from cudaenv.cli.options import folder_option, project


@click.command()
@folder_option
@click.option("--artifacts", is_flag=True, help="Fetch every file that the lock names and compare its hash.")
def command(folder: Path, artifacts: bool) -> None:
    """Say whether the lock is still what the spec and the files say, offline. Exit status 4 where not."""
    from cudaenv.workflow.checking import check_project
    from cudaenv.workflow.conda_checking import check_conda

    here = project(folder, {})
    check_conda(here, check_project(here))
    if artifacts:
        from cudaenv.workflow.artifacts import check_artifacts

        click.echo(f"{check_artifacts(here)} files are what was locked")
    click.echo("up to date")
