"""`cudaenv plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cudaenv.cli.options import folder_option, json_option, project, spec_options
from cudaenv.errors import NoPlanError
from cudaenv.model.plan_json import plan_json


@click.command()
@spec_options
@folder_option
@json_option
@click.option(
    "--explain", is_flag=True, help="Show what was better, and which rule with which source forbids it."
)
def command(folder: Path, as_json: bool, explain: bool, **given: Any) -> None:
    """Say which environments fit the machines, and why. Exit status 3 where there is none."""
    from cudaenv.render.plan_text import plan_lines
    from cudaenv.workflow.planning import plan_project, read_lock

    here = project(folder, given)
    plan, _, _ = plan_project(here, None if given_any(given) else read_lock(here))
    if as_json:
        click.echo(json.dumps(plan_json(plan), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(plan_lines(plan, explain=explain)))
    if plan.refusal is not None:
        raise click.exceptions.Exit(NoPlanError.exit_code)


def given_any(given: dict[str, Any]) -> bool:
    """Whether any option of the spec was given."""
    return any(bool(value) for value in given.values())
