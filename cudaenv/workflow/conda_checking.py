"""Checking what conda installs: the lock's own consistency, which no digest of a file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cudaenv.errors import DriftError
from cudaenv.lock.document import LockDocument
from cudaenv.model.names import file_name, lock_name
from cudaenv.system.conda import what_lacks
from cudaenv.system.conda_lock_file import content_hash, read_conda_lock
from cudaenv.workflow.checking import HINT, locked_text
from cudaenv.workflow.installed import is_of_conda
from cudaenv.workflow.project import Project


def check_conda(project: Project, document: LockDocument) -> None:
    """See that each conda-lock.yml is of the environment.yml beside it, and lacks nothing.

    DriftError lists what does not hold. Offline.
    """
    problems = [
        problem
        for environment in document.environments
        if is_of_conda(environment)
        for problem in _problems(
            project,
            document,
            environment["conda"]["virtual_packages"],
            document.apart(environment),
        )
    ]
    if problems:
        raise DriftError("what is locked of conda's packages does not hold together", problems, HINT)


def _problems(
    project: Project, document: LockDocument, virtual: Mapping[str, str], environment: str
) -> Iterator[str]:
    name = lock_name(environment)
    lock, hashes = read_conda_lock(locked_text(project, document, name), name)
    source = file_name("environment.yml", environment)
    texts = (
        locked_text(project, document, item)
        for item in (source, file_name("virtual-packages.yml", environment))
    )
    if content_hash(*texts) != hashes:
        yield f"`{name}` is not of `{source}`: its content hash is another"
    if lacks := what_lacks(lock.records, virtual):
        yield f"`{name}`: {lacks}"
