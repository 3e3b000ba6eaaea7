"""By which of the ways that cases name an environment gets its CUDA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def strategies(environment: Mapping[str, Any]) -> set[str]:
    """All names that fit an environment; `-only` means that there is nothing to compile with.

    pip-wheels: wheels bring the runtime. conda-cudatoolkit: conda does, up to CUDA 11, and
    conda-cudatoolkit-dev has a compiler from conda beside it. conda-forge: conda does, from CUDA 12 on.
    system-toolkit: the compiler is on the machine or in the image. container: there is a base image;
    container-devel: one of NVIDIA's with a compiler.
    """
    return {*_runtime(environment), *_toolkit(environment), *_image(environment)}


def _runtime(environment: Mapping[str, Any]) -> list[str]:
    name = {"pip": "pip-wheels", "conda": _conda(environment)}.get(environment["provider"])
    if name is None:
        return []
    return [name] if environment["toolkit"] else [name, f"{name}-only"]


def _conda(environment: Mapping[str, Any]) -> str:
    return "conda-cudatoolkit" if 0 < _major(environment) < 12 else "conda-forge"


def _major(environment: Mapping[str, Any]) -> int:
    """The CUDA major, 0 for a CPU build."""
    return int((environment["cuda"] or "0").split(".")[0])


def _toolkit(environment: Mapping[str, Any]) -> list[str]:
    provider = (environment["toolkit"] or {}).get("provider")
    if provider == "conda" and _major(environment) < 12:
        return ["conda-cudatoolkit-dev"]
    return ["system-toolkit"] if provider == "system" else []


def _image(environment: Mapping[str, Any]) -> list[str]:
    images = [image for image in environment["base_image"].values() if image]
    build = environment["base_image"]["build"] or ""
    is_devel = "nvidia/cuda:" in build and "-devel" in build
    return ["container"] * bool(images) + ["container-devel"] * is_devel
