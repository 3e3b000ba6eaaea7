"""`cudaenv run`."""

from __future__ import annotations

from pathlib import Path

import click

from cudaenv.cli.options import folder_option, installed_options, project


@click.command(context_settings={"allow_interspersed_args": False})
@folder_option
@installed_options
@click.argument("command_line", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
@click.pass_context
def command(
    context: click.Context, folder: Path, name: str | None, prefix: Path | None, command_line: tuple[str, ...]
) -> None:
    r"""Run a command with the programs and variables of the installed environment.

    \b
    cudaenv run -- nvcc kernel.cu -o kernel

    It ends as the command ends, with its exit status.
    """
    from cudaenv.system.process import become
    from cudaenv.workflow.activating import activate

    here = project(folder, {})
    found = activate(here, name=name, prefix=prefix and prefix.resolve())
    status = become(
        command_line, env=here.environ, path=found.path, variables=found.variables, unset=found.unset
    )
    context.exit(status)
