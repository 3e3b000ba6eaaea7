"""`cudaenv init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cudaenv.cli.options import folder_option, force_option, project, spec_options
from cudaenv.workflow.project import COMMAND_LINE_MACHINE, Project

if TYPE_CHECKING:
    pass


@click.command()
@spec_options
@folder_option
@force_option
@click.option("--no-lock", is_flag=True, help="Write the spec and the readable files only.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing, even on a terminal.")
def command(folder: Path, force: bool, no_lock: bool, yes: bool, **given: Any) -> None:
    """Write a spec for this project, plan it, render it and lock it.

    On a terminal it asks for what no option says; elsewhere it takes what it can detect.
    """
    from cudaenv.render.plan_text import plan_lines
    from cudaenv.workflow.initialising import initialise

    folder.mkdir(parents=True, exist_ok=True)
    here = project(folder, given)
    if sys.stdin.isatty() and sys.stdout.isatty() and not yes:
        here = _ask(here)
    made = initialise(here, force=force, lock=not no_lock)
    click.echo("\n".join(plan_lines(made.plan, explain=False)))
    if made.locked is not None:
        click.echo("\n".join(["", *_downloads(here, made.locked)]))
    following = "sync" if made.locked is not None else "lock"
    click.echo(
        "\n".join(["", "written", *(f"  {name}" for name in made.files), "", f"next: cudaenv {following}"])
    )


def _ask(here: Project) -> Project:
    """Ask for the target, the machine and Python where no option says them."""
    options = dict(here.options)
    if "target" not in options:
        names = list(here.matrix.target_names)
        options["target"] = click.prompt("What is it for?", type=click.Choice(names), default=names[0])
    if "machine" not in options:
        machine = here.machine
        found = ", ".join(gpu.label for gpu in machine.gpus or ())
        if found:
            click.echo(f"Found here: {found}, driver {machine.driver.value if machine.driver else 'unknown'}")
        if not found or not click.confirm("Is it for this machine?", default=True):
            options |= _ask_machine(here)
    if "python" not in options:
        python = click.prompt("Which Python? (empty: choose for me)", default="", show_default=False)
        options |= {"python": python} if python else {}
    return here.changed(options=options)


def _ask_machine(here: Project) -> dict[str, Any]:
    def gpu(text: str) -> str:
        try:
            here.matrix.find_gpu(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
        return text

    def driver(text: str) -> str:
        from cudaenv.model.versions import DriverVersion

        try:
            return DriverVersion.parse(text).text if text else ""
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    name = click.prompt("Which GPU must it run on? (for example RTX 4090)", value_proc=gpu)
    version = click.prompt(
        "Which NVIDIA driver is there? (empty: not known)", default="", show_default=False, value_proc=driver
    )
    return {
        "machine": [{"name": COMMAND_LINE_MACHINE, "gpu": [name], **({"driver": version} if version else {})}]
    }


def _downloads(here: Project, locked: Any) -> list[str]:
    """How much each environment downloads, where the index tells sizes."""
    from cudaenv.workflow.sizes import download_sizes

    return [
        f"{environment.name}: {len(lock.wheels)} wheels, {size / 1e9:.1f} GB to download"
        if size is not None
        else f"{environment.name}: {len(lock.wheels)} wheels"
        for environment, lock, size in zip(
            locked.plan.resolved, locked.environments, download_sizes(here, locked), strict=True
        )
    ]
