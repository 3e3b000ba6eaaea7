"""Check: is a lock still what the spec, the plan, the matrix and the files say? Offline, no resolving."""

from __future__ import annotations

from collections.abc import Mapping

from cudaenv.errors import DriftError, SpecError
from cudaenv.lock.difference import differences
from cudaenv.lock.document import NAME, LockDocument, digest, make_document
from cudaenv.workflow.planning import is_own, plan_project, read_lock
from cudaenv.workflow.project import Project

HINT = "`cudaenv lock` brings it up to date and keeps the pins; `cudaenv lock --upgrade` renews them"


def require_lock(project: Project) -> LockDocument:
    """The lock of a project. SpecError where there is none."""
    document = read_lock(project)
    if document is None:
        raise SpecError(f"there is no `{NAME}` here", hint="`cudaenv lock` makes one")
    return document


def locked_text(project: Project, document: LockDocument, name: str) -> str:
    """The text of a file of the lock. DriftError where it is not the one that was locked."""
    text = project.read(name)
    if text is None or digest(text) != document.files.get(name):
        raise DriftError(
            f"`{name}` is {'missing' if text is None else 'not the one that was locked'}",
            hint="`cudaenv check` shows what differs; `cudaenv lock` makes it anew",
        )
    return text


def is_current(project: Project) -> bool:
    """Whether there is a lock and nothing differs from it, so that there is nothing to resolve."""
    try:
        check_project(project)
    except (DriftError, SpecError):
        return False
    return True


def check_project(project: Project) -> LockDocument:
    """Compare a lock with what would be planned now and with the files beside it.

    DriftError lists every difference.
    """
    document = require_lock(project)
    plan, spec, machines_from = plan_project(project, document)
    if plan.refusal is not None:
        raise DriftError(f"`{NAME}` is of another spec: {plan.refusal.text}", hint=HINT)
    now = make_document(
        plan,
        spec,
        machines_from=machines_from,
        brought_in=document.brought_in,
        bounds=document.bounds,
        images=document.images,
        solver=document.solver,
        files={},
    )
    found = differences(document, now, _digests(project, document.files))
    if found:
        count = f"{len(found)} difference" + ("" if len(found) == 1 else "s")
        raise DriftError(f"`{NAME}` is out of date: {count}", found, HINT)
    return document


def _digests(project: Project, files: Mapping[str, str]) -> dict[str, str | None]:
    texts = {name: project.read(name) for name in files if is_own(name)}
    return {name: None if text is None else digest(text) for name, text in texts.items()}
