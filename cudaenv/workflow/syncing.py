"""Sync: install a locked environment on this machine and see that it is what was planned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version

from cudaenv.errors import NoPlanError, SpecError, ToolError
from cudaenv.lock.document import LockDocument
from cudaenv.lock.pylock import fetchable
from cudaenv.model.machine import Machine
from cudaenv.model.names import file_name
from cudaenv.planner.fit import misfits
from cudaenv.system.process import run
from cudaenv.system.uv import install_wheels, interpreter, sync_environment
from cudaenv.workflow.building import build_phases, look_ahead
from cudaenv.workflow.checking import locked_text, require_lock
from cudaenv.workflow.conda_syncing import install_conda_part
from cudaenv.workflow.installed import is_of_conda, lock_digest, mark, prefix_of
from cudaenv.workflow.origins import Origin, origin_of
from cudaenv.workflow.project import Project
from cudaenv.workflow.workshop import complete_toolkit

PROBE = """
import json, torch
flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)
archs = torch.cuda.get_arch_list() or (flags() or "").split()
usable = torch.cuda.is_available()
print(json.dumps({
    "version": torch.__version__,
    "cuda": torch.version.cuda,
    "archs": archs,
    "usable": usable,
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if usable else [],
}))
"""
"""What the installed torch says of itself; without a GPU the list of architectures is empty in older
releases, and the flags it was compiled with hold the same."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What was installed where, and what the installed torch says of itself."""

    environment: Mapping[str, Any]
    prefix: Path
    torch: Mapping[str, Any]
    notes: tuple[str, ...]


def sync_project(
    project: Project, *, name: str | None, prefix: Path | None, anyway: bool, bundle: Path | None = None
) -> Synced:
    """Install the environment that fits this machine, or the one named, and verify it.

    From a `bundle` alone, where one is given. NoPlanError where none fits, unless `anyway`; DriftError
    where the lockfile is not the one that was locked; ToolError where installing fails or the result is
    not what was planned.
    """
    document = require_lock(project)
    machine = project.machine
    environment = _choose(document, machine, project, name, anyway=anyway)
    target = prefix_of(project, prefix, is_of_conda(environment))
    pylock = _pylock(project, document, environment)
    look_ahead(project, document, environment, target, pylock)
    project.talk(f"installing {environment['name']} into {target}")
    with origin_of(project, bundle) as origin:
        if is_of_conda(environment):
            install_conda_part(project, document, environment, target, origin.network)
        if pylock is not None:
            _install_wheels(project, environment, target, pylock, origin)
        complete_toolkit(project, environment, target)
        mark(target, environment, lock_digest(document, environment))
        built = build_phases(project, document, environment, target, origin)
    if "torch" not in environment["packages"]:
        return Synced(environment, target, {}, ("there is no torch in it to look at", *built))
    project.talk("importing torch to see what it is")
    torch = inspect_torch(target, project.environ)
    _compare(environment, torch)
    notes = (*_notes(environment, machine, torch), *built)
    return Synced(environment, target, torch, notes)


def _install_wheels(
    project: Project, environment: Mapping[str, Any], prefix: Path, pylock: str, origin: Origin
) -> None:
    """Install the locked wheels, from where the origin says; beside conda's packages where there are such."""
    install = install_wheels if is_of_conda(environment) else sync_environment
    install(
        fetchable(pylock, origin.to_fetch),
        prefix,
        environment["python"],
        project.environ,
        indexes=origin.indexes(environment),
    )


def _pylock(project: Project, document: LockDocument, environment: Mapping[str, Any]) -> str | None:
    """The pylock of an environment; None where only conda installs something."""
    name = file_name("pylock.toml", document.apart(environment))
    if is_of_conda(environment) and name not in document.files:
        return None
    return locked_text(project, document, name)


def _choose(
    document: LockDocument, machine: Machine, project: Project, name: str | None, *, anyway: bool
) -> Mapping[str, Any]:
    """The environment asked for, or the newest torch among those that fit."""
    environments = {str(item["name"]): item for item in document.environments}
    if name is not None and name not in environments:
        raise SpecError(
            f"the lock has no environment `{name}`", [f"it has {', '.join(sorted(environments))}"]
        )
    asked = [environments[name]] if name else list(environments.values())
    against = {str(item["name"]): misfits(item, machine, project.matrix) for item in asked}
    fitting = [item for item in asked if not against[str(item["name"])]]
    if not fitting and anyway and len(asked) == 1:
        return asked[0]
    if not fitting:
        raise NoPlanError(
            "no locked environment fits this machine",
            [f"{name}: {reason.text}" for name, reasons in against.items() for reason in reasons],
            hint="`cudaenv sync --env NAME --anyway` installs one all the same; "
            "`cudaenv machine` shows what was found here",
        )
    if not machine.gpus and len(fitting) > 1:
        cpu = [item for item in fitting if item["cuda"] is None]
        if len(cpu) != 1:
            raise NoPlanError(
                "there is no GPU here to choose an environment by",
                [f"{item['name']}: for {', '.join(item['machines'])}" for item in fitting],
                hint="`cudaenv sync --env NAME` names it",
            )
        return cpu[0]
    return max(fitting, key=_torch_release)


def _torch_release(environment: Mapping[str, Any]) -> tuple[int, ...]:
    torch = environment["packages"].get("torch")
    return Version(torch["version"]).release if torch else ()


def inspect_torch(prefix: Path, environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Import torch of an environment in a process of its own. ToolError where that fails."""
    python = interpreter(prefix)
    kept = {
        key: value
        for key, value in environ.items()
        if key not in {"LD_LIBRARY_PATH", "LD_PRELOAD"} and not key.startswith("PYTHON")
    }
    done = run([str(python), "-I", "-c", PROBE], env=kept, timeout_s=600)
    lines = done.stdout.strip().splitlines()
    if done.status != 0 or not lines:
        raise ToolError("the installed torch cannot be imported", done.stderr.strip().splitlines()[-12:])
    answer = json.loads(lines[-1])
    return dict(answer)


def _compare(environment: Mapping[str, Any], torch: Mapping[str, Any]) -> None:
    """The installed torch is the planned one: version, CUDA and list of architectures."""
    planned = str(environment["packages"]["torch"]["version"]).split("+", maxsplit=1)[0]
    problems = []
    if str(torch["version"]).split("+", maxsplit=1)[0] != planned:
        problems.append(f"torch.__version__ is {torch['version']}, planned is {planned}")
    if torch["cuda"] != environment["cuda"]:
        problems.append(f"torch.version.cuda is {torch['cuda']}, planned is {environment['cuda']}")
    missing = set(_sms(environment["arch_list"])) - set(torch["archs"])
    if environment["cuda"] is not None and missing:
        problems.append(
            f"it has no machine code for {' '.join(sorted(missing))}, which the matrix says it has"
        )
    if problems:
        raise ToolError("the installed torch is not what was planned", problems)


def _sms(capabilities: Sequence[str]) -> list[str]:
    return [f"sm_{capability.replace('.', '')}" for capability in capabilities]


def _notes(environment: Mapping[str, Any], machine: Machine, torch: Mapping[str, Any]) -> list[str]:
    if torch["usable"]:
        return [f"usable GPU: {name}" for name in torch["devices"]]
    if environment["cuda"] is None:
        return ["a CPU build, as planned"]
    if not machine.gpus:
        return ["no GPU can be used here: none was found on this machine"]
    return ["torch cannot use the GPU of this machine", *machine.notes]
