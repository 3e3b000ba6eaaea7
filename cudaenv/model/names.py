"""Names: of the files of an environment, of indexes and channels, and hashes."""

from __future__ import annotations

import re
from typing import Final

SHA256: Final = re.compile(r"[0-9a-f]{64}")
"""A sha256 as locks and tables have it."""

CHANNELS: Final = "https://conda.anaconda.org"
"""Where the channels that a plan names lie, as conda's own `channel_alias` has it."""


def file_name(name: str, environment: str) -> str:
    """The name of a file with an environment's name before its last suffix, or at the end without one.

    No name of an environment leaves it as it is.
    """
    if not environment:
        return name
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{environment}.{suffix}" if dot else f"{name}.{environment}"


def index_name(index: str, variant: str) -> str:
    """The name by which uv knows an index, and its credentials `UV_INDEX_<NAME>_USERNAME`."""
    return f"{index}-{variant}"


def lock_name(environment: str) -> str:
    """The name of an environment's conda-lock.yml; `environment` is empty where there is one only.

    mamba and micromamba take a lock by the end of its name, `-lock.yml`, so of several environments
    the name stands before it: `cu126-lock.yml`.
    """
    return f"{environment or 'conda'}-lock.yml"


def explicit_name(platform: str) -> str:
    """The name that conda-lock gives the explicit file of a platform."""
    return f"conda-{platform}.lock"
