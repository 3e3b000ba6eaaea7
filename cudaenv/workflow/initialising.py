"""Init: the first spec of a project, written so that a team's plan does not hang on who runs it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import tomli_w

from cudaenv.errors import SpecError
from cudaenv.model.plan import Plan
from cudaenv.model.spec import PythonRequest, Spec
from cudaenv.model.versions import PythonVersion
from cudaenv.planner.plan import make_plan
from cudaenv.render.machine_text import machine_toml
from cudaenv.workflow.locking import Locked, Wishes, lock_project
from cudaenv.workflow.planning import Refused, rendered, write_files
from cudaenv.workflow.project import PYPROJECT, SPEC_NAME, Project, with_machines


@dataclass(frozen=True, slots=True)
class Initialised:
    """The plan of a new project, the names of the files written, and the lock if one was made."""

    plan: Plan
    files: tuple[str, ...]
    locked: Locked | None


def initialise(project: Project, *, force: bool, lock: bool) -> Initialised:
    """Write `cudaenv.toml` for the options given, and with it what is rendered and locked from it.

    Nothing is written where there is no plan (Refused) or the lock fails. SpecError where there is a
    spec already, unless `force`.
    """
    if project.spec_name and not force:
        raise SpecError(
            f"there is a spec already: `{project.spec_name}`",
            hint="Edit it and run `cudaenv lock`, or give --force",
        )
    text = draft_spec(project)
    drafted = project.changed(options={}, draft=text)
    if lock:
        locked = lock_project(drafted, Wishes(upgrade=True))
        plan, files = locked.plan, dict(locked.files)
    else:
        locked = None
        spec, _ = with_machines(drafted)
        plan = make_plan(spec, project.matrix)
        files = rendered(drafted, plan, spec, {})
    write_files(drafted, {SPEC_NAME: text, **files}, force=force)
    return Initialised(plan, (SPEC_NAME, *files), locked)


def draft_spec(project: Project) -> str:
    """The text of a `cudaenv.toml` for the options given and what can be detected.

    Refused where there is no plan for them.
    """
    packages = {**_project_packages(project), **project.options.get("packages", {})} or {"torch": "*"}
    asked = project.changed(options={**project.options, "packages": packages}, draft="")
    spec, machines_from = with_machines(asked)
    plan = make_plan(spec, project.matrix)
    if plan.refusal is not None:
        raise Refused(plan)
    python, why = _python(spec, plan, project)
    is_known = any(machine.gpus is not None or machine.driver for machine in spec.machines)
    tables = [machine_toml(machine) for machine in spec.machines] if is_known else []
    return _text(project.options, packages, str(python), why, tables or [_NO_MACHINE.format(machines_from)])


_NO_MACHINE = """# {}
# Describe the machines it must run on (`cudaenv machine` prints this for the one it runs on):
# [[machine]]
# name = "lab"
# gpu = ["RTX 4090"]
# driver = "580.95.05"
"""


def _project_packages(project: Project) -> dict[str, str]:
    """The dependencies of a pyproject.toml in the folder, as a start for `[packages]`."""
    from cudaenv.model.spec_reader import read_pyproject

    data = project.toml(PYPROJECT)
    if "project" not in data:
        return {}
    spec = read_pyproject({"project": data["project"]}, PYPROJECT, project.known)
    return {
        f"{package.name}[{','.join(package.extras)}]" if package.extras else package.name: str(
            package.specifier
        )
        or "*"
        for package in spec.packages
        if package.marker is None
    }


def _python(spec: Spec, plan: Plan, project: Project) -> tuple[PythonVersion, str]:
    """The Python to write down: the one that runs cudaenv if the plan stays as good, else the plan's."""
    planned = plan.environments[0].python
    if project.options.get("python"):
        return planned, "the newest of what you asked for that has all wheels"
    here = PythonVersion(*sys.version_info[:2])
    local = make_plan(replace(spec, python=PythonRequest.parse(str(here))), project.matrix)
    if _torches(local) == _torches(plan):
        return here, f"the one that ran `cudaenv init`; {planned} is the newest that has all wheels"
    return planned, "the newest that has all wheels"


def _torches(plan: Plan) -> list[str]:
    return [environment.label for environment in plan.environments]


def _text(
    options: Mapping[str, Any], packages: Mapping[str, str], python: str, why: str, machines: list[str]
) -> str:
    said = {key: options[key] for key in ("platforms", "provider", "cuda") if options.get(key)}
    mirrors = {key: options[key] for key in ("indexes", "channels") if options.get(key)}
    parts = [
        "# What this environment is for and what it must run on. `cudaenv plan` says what follows.",
        tomli_w.dumps({"target": options.get("target", "run-only")}).rstrip(),
        f"{tomli_w.dumps({'python': python}).rstrip()}  # {why}",
        *([tomli_w.dumps(said).rstrip()] if said else []),
        "",
        "# Versions are PEP 440 specifiers; what goes with torch is planned, the rest is resolved.",
        tomli_w.dumps({"packages": dict(packages)}).rstrip(),
        "",
        *(table.rstrip() + "\n" for table in machines),
        *([tomli_w.dumps(mirrors).rstrip()] if mirrors else []),
    ]
    return "\n".join(parts).rstrip() + "\n"
