"""`cudaenv render`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cudaenv.cli.options import folder_option, force_option, project, spec_options
from cudaenv.cli.plan import given_any


@click.command()
@spec_options
@folder_option
@force_option
@click.option("--compose", is_flag=True, help="Write compose.yaml, too, with a service for each Dockerfile.")
@click.option("--apptainer", is_flag=True, help="Write a definition for Apptainer beside each Dockerfile.")
def command(folder: Path, force: bool, compose: bool, apptainer: bool, **given: Any) -> None:
    """Write requirements.txt, Dockerfile and a uv snippet from the plan; print their names."""
    from cudaenv.render.container_tools import APPTAINER, COMPOSE
    from cudaenv.workflow.planning import Refused, plan_project, read_lock, rendered, write_files

    here = project(folder, given)
    document = read_lock(here)
    plan, spec, _ = plan_project(here, None if given_any(given) else document)
    if plan.refusal is not None:
        raise Refused(plan)
    also = [name for name, asked in ((COMPOSE, compose), (APPTAINER, apptainer)) if asked]
    files = rendered(here, plan, spec, document.images if document else {}, also)
    write_files(here, files, force=force)
    click.echo("\n".join(files))
