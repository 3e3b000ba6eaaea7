"""Wheels that were built elsewhere: recorded in a lock by hash, and installed from where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cudaenv.errors import SpecError, ToolError
from cudaenv.lock.built import BUILT_LOCK, BuiltWheel, built_lock, is_build_of, read_built
from cudaenv.lock.document import LockDocument, digest
from cudaenv.model.names import file_name
from cudaenv.model.plan import Environment, Plan
from cudaenv.model.plan_json import environment_json
from cudaenv.model.stamp import unstamped
from cudaenv.system.files import file_sha256
from cudaenv.workflow.checking import locked_text
from cudaenv.workflow.project import Project

DECIDES = ("platform", "python", "variant", "packages", "toolkit", "phases")
"""What of an environment a built wheel is for; other wheels beside it do not matter."""


def built_locks(
    project: Project, plan: Plan, folder: Path | None, document: LockDocument | None
) -> dict[str, str]:
    """The locks of wheels that were built, by file name: those of a folder, else those locked before.

    What was locked before holds as long as nothing of its environment has changed. SpecError where the
    folder is outside the project or has no wheel of what is to be built.
    """
    if folder is None:
        return _kept(project, plan, document)
    if not folder.resolve().is_relative_to(project.folder.resolve()):
        raise SpecError(
            f"the wheels in {folder} are outside the project, and a lock names no place of one machine",
            hint="Copy them into a folder of the project, such as `wheels`",
        )
    files = {}
    for environment in plan.environments:
        wheels = _wheels(project, environment, folder)
        if wheels:
            text = built_lock(environment, wheels)
            if len(read_built(text)) != len(wheels):
                raise SpecError(
                    f"`{folder}` cannot stand in a requirements file",
                    hint="Give the folder a name of letters, digits and `+-_.` that begins with no dot",
                )
            files[plan.file_name(environment, BUILT_LOCK)] = text
    if not files:
        planned = [package.requirement for item in plan.environments for package in item.built]
        raise SpecError(
            f"there is no wheel in {folder} that was built for this plan",
            [f"to be built: {', '.join(planned) or 'nothing'}"],
        )
    return files


def _wheels(project: Project, environment: Environment, folder: Path) -> list[BuiltWheel]:
    found = []
    for package in environment.built:
        files = [
            path for path in sorted(folder.glob("*.whl")) if is_build_of(path.name, package, environment)
        ]
        if len(files) > 1:
            raise SpecError(
                f"several wheels in {folder} are {package.requirement} for {environment.name}",
                [path.name for path in files],
                "Leave the one that was built for it",
            )
        for path in files:
            place = path.resolve().relative_to(project.folder.resolve()).as_posix()
            found.append(BuiltWheel(place, file_sha256(path)))
    return found


def _kept(project: Project, plan: Plan, document: LockDocument | None) -> dict[str, str]:
    locked = {str(item["name"]): item for item in document.environments} if document else {}
    files = {}
    for environment in plan.environments:
        name = plan.file_name(environment, BUILT_LOCK)
        if document is None or name not in document.files:
            continue
        text = project.read(name)
        before, now = locked.get(environment.name, {}), environment_json(environment)
        is_same = all(before.get(key) == now[key] for key in DECIDES)
        if text is not None and digest(text) == document.files[name] and is_same:
            files[name] = unstamped(text)
        else:
            project.talk(
                f"{environment.name} has changed: `{name}` is left out, what it names was built for it"
            )
    return files


def locked_wheels(
    project: Project, document: LockDocument, environment: Mapping[str, Any]
) -> Mapping[str, BuiltWheel]:
    """The wheels that are locked for an environment, by package. DriftError where the file is another."""
    file = file_name(BUILT_LOCK, document.apart(environment))
    if file not in document.files:
        return {}
    return read_built(locked_text(project, document, file))


def wheel_at(project: Project, wheel: BuiltWheel) -> Path:
    """The file of a locked wheel. ToolError where it is missing, or is not the one that was locked."""
    path = project.folder / wheel.path
    if not path.is_file():
        raise ToolError(
            f"the locked wheel `{wheel.path}` is not here",
            hint="Copy it from where it was built; `cudaenv lock --upgrade` forgets it and builds here",
        )
    found = file_sha256(path)
    if found != wheel.sha256:
        raise ToolError(
            f"`{wheel.path}` is not the wheel that was locked",
            [f"locked: sha256 {wheel.sha256}", f"found: sha256 {found}"],
            "`cudaenv lock --built-wheels FOLDER` locks another one",
        )
    return path
