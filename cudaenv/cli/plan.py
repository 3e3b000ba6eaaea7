"""`cudaenv plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cudaenv.cli.options import folder_option, json_option, project, spec_options, wanted
from cudaenv.errors import NoPlanError
from cudaenv.model.plan_json import plan_json
from cudaenv.workflow.project import Project


@click.command()
@spec_options
@folder_option
@json_option
@click.option(
    "--explain", is_flag=True, help="Show what was better, and which rule with which source forbids it."
)
@click.option(
    "--why-not",
    metavar="WHAT",
    help='Say why it is not another plan: "torch==2.15", "provider=conda", "cuda=12.8", "python=3.12".',
)
def command(folder: Path, as_json: bool, explain: bool, why_not: str | None, **given: Any) -> None:
    """Say which environments fit the machines, and why. Exit status 3 where there is none."""
    from cudaenv.render.plan_text import plan_lines
    from cudaenv.workflow.planning import plan_project, read_lock

    here = project(folder, given)
    if why_not is not None:
        _answer(here, why_not, as_json=as_json)
        return
    plan, _, _ = plan_project(here, None if given_any(given) else read_lock(here))
    if as_json:
        click.echo(json.dumps(plan_json(plan), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(plan_lines(plan, explain=explain)))
    if plan.refusal is not None:
        raise click.exceptions.Exit(NoPlanError.exit_code)


def _answer(here: Project, asked: str, *, as_json: bool) -> None:
    """Print why the plan is not the one that has what is asked for. It is an answer, so the status is 0."""
    from cudaenv.render.plan_text import why_not_lines
    from cudaenv.workflow.planning import why_not

    plan, answer = why_not(here, wanted(asked))
    if as_json:
        data = {
            "asked": asked,
            "plan": plan_json(plan),
            "other": plan_json(answer.other),
            "reason": answer.reason,
        }
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(why_not_lines(asked, plan, answer.other, answer.reason)))


def given_any(given: dict[str, Any]) -> bool:
    """Whether any option of the spec was given."""
    return any(bool(value) for value in given.values())
