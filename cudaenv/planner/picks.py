"""Picks: one release of a package, placed beside a stack."""

from __future__ import annotations

from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.version import Version

from cudaenv.matrix.packages import SourceBuild
from cudaenv.matrix.tables import Row
from cudaenv.model.plan import PlannedPackage
from cudaenv.model.versions import PythonVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A release of a package where it lies, and the row that says so.

    `builds` are the rows on building it, where it is built from source or its wheel compiles its code when it
    is first imported. `needs` are requirements that its
    metadata leave to people.
    """

    name: str
    package: PlannedPackage
    version: Version
    pythons: tuple[PythonVersion, ...]
    row: Row
    needs: tuple[Requirement, ...] = ()
    builds: tuple[SourceBuild, ...] = ()
