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
def command(folder: Path, force: bool, **given: Any) -> None:
    """Write requirements.txt, Dockerfile and a uv snippet from the plan; print their names."""
    from cudaenv.workflow.planning import Refused, plan_project, read_lock, rendered, write_files

    here = project(folder, given)
    plan, spec, _ = plan_project(here, None if given_any(given) else read_lock(here))
    if plan.refusal is not None:
        raise Refused(plan)
    files = rendered(here, plan, spec)
    write_files(here, files, force=force)
    click.echo("\n".join(files))
