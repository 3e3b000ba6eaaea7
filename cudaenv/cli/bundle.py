"""`cudaenv bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from cudaenv.cli.options import folder_option, project


@click.command()
@folder_option
@click.argument("target", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER")
@click.option("--env", "names", multiple=True, metavar="NAME", help="Only this environment; may be repeated.")
def command(folder: Path, target: Path, names: tuple[str, ...]) -> None:
    r"""Put every file that the lock names into a folder, to install from where there is no network.

    Also for another platform than this one. What is there already is not fetched again.

    \b
    cudaenv bundle /media/stick
    cudaenv sync --from-bundle /media/stick
    """
    from cudaenv.workflow.artifacts import make_bundle

    count = make_bundle(project(folder, {}), target.resolve(), names)
    click.echo(f"{count} files")
