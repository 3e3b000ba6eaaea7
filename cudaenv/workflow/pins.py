"""Pins: what earlier locks say, to be kept where it can be."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.pylock import Pylock, PylockValidationError
from packaging.utils import canonicalize_name

from cudaenv.errors import SpecError
from cudaenv.lock.conda import CondaLock
from cudaenv.lock.document import LockDocument
from cudaenv.lock.pylock import read_pylock
from cudaenv.model.names import file_name
from cudaenv.model.plan import Environment, Plan
from cudaenv.workflow.conda_locking import locked_conda
from cudaenv.workflow.project import Project

IMAGES = "image"
"""What `--upgrade` calls the digests of container images."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What environments keep, by their names: pylocks and conda packages; and what is renewed nonetheless."""

    pylocks: Mapping[str, str]
    conda: Mapping[str, CondaLock]
    renew: Sequence[str]

    def urls(self, environment: Environment) -> list[str]:
        """The URLs of the conda packages that an environment keeps."""
        names = {package.conda_name: package.name for package in environment.packages if package.conda_name}
        lock = self.conda.get(environment.name)
        return [
            record.url
            for record in (lock.records if lock else ())
            if canonicalize_name(names.get(record.name, record.name)) not in self.renew
        ]

    def check_names(self, plan: Plan) -> None:
        """SpecError for packages to renew that are neither locked nor planned."""
        planned = {canonicalize_name(item.name) for each in plan.environments for item in each.packages}
        wheels = {wheel.name for text in self.pylocks.values() for wheel in read_pylock(text).wheels}
        conda = {canonicalize_name(record.name) for lock in self.conda.values() for record in lock.records}
        unknown = [name for name in self.renew if name not in planned | wheels | conda]
        if unknown:
            raise SpecError(
                f"nothing is locked by the name of {', '.join(f'`{name}`' for name in unknown)}",
                hint=f"`--upgrade` takes a package of the lock, or `{IMAGES}`; alone it renews everything",
            )


def read_pins(project: Project, plan: Plan, document: LockDocument | None, renew: Sequence[str]) -> Pins:
    """What the locks of a folder say of a plan's environments. SpecError for a pylock that is none."""
    return Pins(_pylocks(project, plan, document), locked_conda(project, plan, document), renew)


def _pylocks(project: Project, plan: Plan, document: LockDocument | None) -> dict[str, str]:
    """The pylock whose versions each environment keeps, by its name; SpecError where it is none.

    That is its own, or where it has none, because environments came or went, one that was locked.
    """
    locked = sorted(name for name in document.files if name.startswith("pylock.")) if document else []
    found = {}
    for environment in plan.resolved:
        for name in (
            plan.file_name(environment, "pylock.toml"),
            file_name("pylock.toml", environment.name),
            *locked,
        ):
            text = project.read(name)
            if text is not None:
                _check_pylock(name, text)
                found[environment.name] = text
                break
    return found


def _check_pylock(name: str, text: str) -> None:
    try:
        Pylock.from_dict(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, PylockValidationError) as error:
        raise SpecError(
            f"`{name}` cannot be read, so its versions cannot be kept",
            [str(error)],
            hint="Put it right, or make it anew with `cudaenv lock --upgrade --force`",
        ) from error
