"""Installing what conda supplies of a locked environment, without any conda."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cudaenv.lock.document import LockDocument
from cudaenv.model.names import lock_name
from cudaenv.system.conda import CondaNetwork, install_conda
from cudaenv.system.conda_lock_file import read_conda_lock
from cudaenv.system.prefix import being_installed
from cudaenv.workflow.checking import locked_text
from cudaenv.workflow.project import Project


def install_conda_part(
    project: Project,
    document: LockDocument,
    environment: Mapping[str, Any],
    prefix: Path,
    network: CondaNetwork,
) -> None:
    """Install the locked conda packages of an environment, in its JSON form, into a prefix.

    A prefix that an interrupted run left is begun anew. DriftError where the lock is not the one that
    was locked, SpecError where the prefix is no environment of conda packages.
    """
    name = lock_name(document.apart(environment))
    lock, _ = read_conda_lock(locked_text(project, document, name), name)
    with being_installed(prefix):
        install_conda(lock.records, str(environment["platform"]), prefix, network)
