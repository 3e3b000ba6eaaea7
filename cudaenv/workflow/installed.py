"""What a prefix holds: which environment of which lock was installed there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cudaenv.errors import SpecError
from cudaenv.lock.document import LockDocument
from cudaenv.model.names import file_name, lock_name
from cudaenv.system.files import read_if_there, write_together
from cudaenv.system.prefix import META
from cudaenv.workflow.project import Project

FOLDER = ".cudaenv"
"""The folder of cudaenv's own in a prefix."""

MARK = "environment.json"


def prefix_of(project: Project, prefix: Path | None, is_conda: bool) -> Path:
    """Where an environment is installed, if nobody names a place: in the folder that editors look for."""
    return prefix or project.folder / (".conda" if is_conda else ".venv")


def is_of_conda(environment: Mapping[str, Any]) -> bool:
    """Whether conda supplies the runtime of an environment of a lock."""
    return environment["conda"] is not None


def prefix_in_use(project: Project, prefix: Path | None, document: LockDocument, name: str | None) -> Path:
    """Where the environment that is meant is installed: a named one, else the one that is there."""
    kinds = [is_of_conda(item) for item in document.environments if name in (None, item["name"])]
    places = [prefix_of(project, prefix, kind) for kind in dict.fromkeys(kinds or [False])]
    return next((place for place in places if place.exists()), places[0])


def lock_digest(document: LockDocument, environment: Mapping[str, Any]) -> str:
    """What tells the lock files of an environment from others: their digests."""
    several = document.apart(environment)
    names = (lock_name(several), file_name("pylock.toml", several))
    return " ".join(document.files[name] for name in names if name in document.files)


def mark(prefix: Path, environment: Mapping[str, Any], lock: str) -> None:
    """Note which environment a prefix holds, and the digest of the lockfile that it was installed from."""
    text = json.dumps({"environment": environment["name"], "lock": lock}) + "\n"
    folder = prefix / FOLDER
    if read_if_there(folder / MARK) != text:
        folder.mkdir(exist_ok=True)
        write_together(folder, {MARK: text})


def environment_in(prefix: Path, document: LockDocument, name: str | None) -> Mapping[str, Any]:
    """The environment of a lock that a prefix holds, or is taken to hold where nothing was noted.

    SpecError where the prefix is missing or holds another one than `name`, or nobody can tell which.
    """
    if not (is_venv(prefix) or is_conda_prefix(prefix)):
        raise SpecError(
            f"there is no environment in {prefix}",
            hint="`cudaenv sync` installs it; `--prefix FOLDER` names another place",
        )
    environments = {str(item["name"]): item for item in document.environments}
    if name is not None and name not in environments:
        raise SpecError(
            f"the lock has no environment `{name}`", [f"it has {', '.join(sorted(environments))}"]
        )
    noted = noted_in(prefix).get("environment")
    if name is not None and noted not in (None, name):
        raise SpecError(
            f"{prefix} holds the environment `{noted}`, not `{name}`",
            hint=f"`cudaenv sync --env {name} --prefix FOLDER` installs it; name that folder by `--prefix`",
        )
    chosen = name or noted or (next(iter(environments)) if len(environments) == 1 else None)
    if chosen not in environments:
        raise SpecError(
            f"which environment {prefix} holds cannot be told",
            [f"the lock has {', '.join(sorted(environments))}"],
            "`--env NAME` names it; `cudaenv sync` notes what it installs",
        )
    return environments[str(chosen)]


def is_venv(prefix: Path) -> bool:
    """Whether there is a virtual environment in a folder."""
    return (prefix / "pyvenv.cfg").is_file() and not is_conda_prefix(prefix)


def is_conda_prefix(prefix: Path) -> bool:
    """Whether conda's packages are installed in a folder."""
    return (prefix / META).is_dir()


def noted_in(prefix: Path) -> Mapping[str, str]:
    """What `mark` noted in a prefix; empty where there is nothing that can be read."""
    try:
        data = json.loads(read_if_there(prefix / FOLDER / MARK) or "{}")
    except (SpecError, ValueError):
        return {}
    return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}
