"""`cudaenv env`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cudaenv.cli.options import folder_option, installed_options, json_option, project


@click.command()
@folder_option
@installed_options
@json_option
@click.option(
    "--shell",
    type=click.Choice(["sh", "fish", "powershell"]),
    default="sh",
    show_default=True,
    help="The shell that is to read it; sh is for bash and zsh, too.",
)
def command(folder: Path, name: str | None, prefix: Path | None, as_json: bool, shell: str) -> None:
    r"""Print the variables of the installed environment, for a shell to evaluate.

    \b
    eval "$(cudaenv env)"
    cudaenv env --shell fish | source
    cudaenv env --shell powershell | Out-String | Invoke-Expression
    """
    from cudaenv.render.shells import commands
    from cudaenv.workflow.activating import activate

    found = activate(project(folder, {}), name=name, prefix=prefix and prefix.resolve())
    if as_json:
        answer = {
            "schema": 1,
            "environment": found.environment,
            "prefix": str(found.prefix),
            "path": list(found.path),
            "variables": dict(found.variables),
            "unset": list(found.unset),
        }
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo("\n".join(commands(shell, found.variables, found.path, found.unset)))
