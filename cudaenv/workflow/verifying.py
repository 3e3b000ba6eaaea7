"""Verifying: what the resolver found, checked against the plan by what the wheels say themselves."""

from __future__ import annotations

from collections.abc import Sequence

from cudaenv.errors import ToolError
from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import LockedEnvironment, LockedWheel
from cudaenv.lock.verify import Evidence, needs_library, verify, wheels_to_read
from cudaenv.lock.wheel_facts import WheelFacts
from cudaenv.model.plan import Plan
from cudaenv.system.credentials import index_credentials
from cudaenv.system.files import cache_folder
from cudaenv.system.http import Client
from cudaenv.system.wheels import read_wheel_facts
from cudaenv.workflow.parallel import side_by_side
from cudaenv.workflow.project import Project

MAX_PAGE = 64 << 20


def verify_locks(project: Project, plan: Plan, locked: Sequence[LockedEnvironment], mirrors: Mirrors) -> None:
    """Check every locked environment against the plan; ToolError names all that is wrong.

    Metadata and, where only it can tell, compiled code of wheels is read by ranges and remembered.
    """
    wheels = {wheel.file_name: wheel for lock in locked for wheel in wheels_to_read(lock)}
    facts = _read_facts(project, plan, tuple(wheels.values()), mirrors)
    problems = [
        f"{environment.name}: {problem}"
        for environment, lock in zip(plan.resolved, locked, strict=True)
        for problem in verify(
            Evidence(
                environment=environment,
                locked=lock,
                mirrors=mirrors,
                family=project.matrix.family,
                facts=facts,
            )
        )
    ]
    if problems:
        raise ToolError(
            "the resolver's answer is not what was planned, so nothing was locked",
            problems,
            hint="Either the index has changed since the matrix was made, or it is not the one you mean",
        )


def _read_facts(
    project: Project, plan: Plan, wheels: Sequence[LockedWheel], mirrors: Mirrors
) -> dict[str, WheelFacts]:
    cache = cache_folder(project.environ)
    family = project.matrix.family

    def one(wheel: LockedWheel) -> WheelFacts:
        url = mirrors.to_fetch(wheel.url)
        facts = read_wheel_facts(url, wheel.sha256, client, cache, want_cudart=False)
        if needs_library(wheel, facts.requires, family):
            facts = read_wheel_facts(url, wheel.sha256, client, cache, want_cudart=True)
        return facts

    with client_for(project, plan, mirrors) as client:
        found = side_by_side(one, wheels)
    return {wheel.file_name: facts for wheel, facts in zip(wheels, found, strict=True)}


def client_for(project: Project, plan: Plan, mirrors: Mirrors) -> Client:
    """A client that has the credentials of the plan's indexes; close it after use."""
    return Client(credentials=index_credentials(project.environ, mirrors.fetched(plan.indexes)))


def ask_indexes(project: Project, plan: Plan, mirrors: Mirrors) -> None:
    """See that the indexes beside the default one answer for what is planned from them.

    FetchError where one does not; that a package is not there is an answer.
    """
    placed = [package for environment in plan.environments for package in environment.wheels]
    apart = [item for item in placed if item.index_url and not item.listing]
    pages = {f"{mirrors.to_fetch(item.index_url)}/{item.name}/" for item in apart}
    with client_for(project, plan, mirrors) as client:
        for page in sorted(pages):
            client.get(page, limit=MAX_PAGE, allow={404})
