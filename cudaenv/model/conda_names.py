"""The names of the files that conda's packages are locked in."""

from __future__ import annotations


def lock_name(environment: str) -> str:
    """The name of an environment's conda-lock.yml; `environment` is empty where there is one only.

    mamba and micromamba take a lock by the end of its name, `-lock.yml`, so of several environments
    the name stands before it: `cu126-lock.yml`.
    """
    return f"{environment or 'conda'}-lock.yml"


def explicit_name(platform: str) -> str:
    """The name that conda-lock gives the explicit file of a platform."""
    return f"conda-{platform}.lock"
