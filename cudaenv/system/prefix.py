"""A folder that conda packages are installed into: begun anew where a run was interrupted in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cudaenv.errors import SpecError

META = "conda-meta"
"""The folder of every environment of conda packages, in which its installers keep their records."""

MARK = "cudaenv-is-installing"


@contextmanager
def being_installed(prefix: Path) -> Iterator[None]:
    """Mark a prefix while something is installed into it.

    A marked one was left half-made, by a run that was killed or failed, and is removed first. SpecError
    where the folder holds something else than an environment of conda packages.
    """
    mark = prefix / META / MARK
    if mark.exists():
        shutil.rmtree(prefix)
    elif prefix.exists() and not (prefix / META).is_dir() and (not prefix.is_dir() or any(prefix.iterdir())):
        raise SpecError(
            f"`{prefix}` is no environment of conda packages, and holds something",
            hint="Give another folder with --prefix, or move what is there",
        )
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    # conda takes a folder for an environment by this file.
    (mark.parent / "history").touch()
    yield
    mark.unlink()
