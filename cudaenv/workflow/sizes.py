"""How many bytes a lock downloads; indexes that do not say are asked for each file's length."""

from __future__ import annotations

from cudaenv.errors import FetchError
from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import LockedWheel
from cudaenv.workflow.locking import Locked
from cudaenv.workflow.parallel import side_by_side
from cudaenv.workflow.project import Project
from cudaenv.workflow.verifying import client_for


def download_sizes(project: Project, locked: Locked) -> list[int | None]:
    """Bytes to download for each environment; None where one file's length is not to be had."""
    mirrors = Mirrors.of(project.matrix.tables.indexes, project.options.get("indexes", {}))
    wheels = {wheel.url: wheel for lock in locked.environments for wheel in lock.wheels}

    def size(wheel: LockedWheel) -> int | None:
        if wheel.size is not None:
            return wheel.size
        try:
            return client.head(mirrors.to_fetch(wheel.url)).total
        except FetchError:
            return None

    with client_for(project, locked.plan, mirrors) as client:
        sizes = dict(zip(wheels, side_by_side(size, list(wheels.values())), strict=True))
    totals = []
    for lock in locked.environments:
        known = [sizes[wheel.url] for wheel in lock.wheels]
        totals.append(sum(item for item in known if item is not None) if None not in known else None)
    return totals
