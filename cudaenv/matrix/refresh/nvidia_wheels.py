"""Families of `nvidia-*` wheels on PyPI: where they put what, and for which platforms there are any."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Final

from cudaenv.matrix.refresh.artefacts import Artefacts, RawRow, Scope, Survey, Wheel
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.matrix.refresh.release_files import NamedWheel, ReleaseFiles, releases
from cudaenv.model.machine import Platform

SOURCE: Final = "nvidia-wheels"
"""The source that measured rows name."""

_CUDA_11 = (
    "cublas cuda-cccl cuda-cupti cuda-cuxxfilt cuda-nvcc cuda-nvrtc cuda-profiler-api cuda-runtime"
    " cuda-sanitizer-api cufft curand cusolver cusparse npp nvjpeg nvml-dev nvtx"
)
_CUDA_12 = f"{_CUDA_11} cuda-opencl cufile nvfatbin nvjitlink"
_CUDA_13 = (
    f"{_CUDA_12} cuda-crt cuda-culibos cuda-cuobjdump cuda-nvdisasm cuda-tileiras cudla nvptxcompiler nvvm"
)

PROJECTS: Final = tuple(
    f"nvidia-{name}{suffix}"
    for suffix, names in (
        ("-cu11", f"{_CUDA_11} cudnn nccl"),
        ("-cu12", f"{_CUDA_12} cudnn cusparselt nccl nvshmem"),
        ("-cu13", "cudnn cusparselt nccl nvshmem"),
        ("", _CUDA_13),
    )
    for name in sorted(names.split())
)
"""Projects with wheels: what extras of `cuda-toolkit` install, and the libraries torch wants beside it."""

_METHOD = "nvidia-wheel-1"
_MAJOR = re.compile(r"\bcu(\d\d)\b")
_ROOT = re.compile(r"(nvidia/\w{1,40})/.+")
_OUTSIDE = re.compile(r"[^/]+\.dist-info/.+|nvidia/__init__\.py|.*/")
_PROGRAM = re.compile(r"(?:nvvm/)?bin/(\w[\w+-]*)")
_LIBRARY = re.compile(r"lib[\w+.-]*(?:\.so(?:\.\d+)+|\.a)")


def read_contents(wheel: Wheel) -> dict[str, str]:
    """Return the columns `prefix`, `programs` and `libraries` of a wheel for Linux.

    ValueError where it puts files into several directories below `nvidia`, or outside of it.
    """
    inside = [name for name in wheel.sizes if not _OUTSIDE.fullmatch(name)]
    roots = {match[1] if (match := _ROOT.fullmatch(name)) else name for name in inside}
    if len(roots) != 1 or not all(_ROOT.fullmatch(name) for name in inside):
        raise ValueError(f"files in {ascii(words(sorted(roots)))[:200]}, not in one directory below nvidia")
    (prefix,) = roots
    paths = [PurePosixPath(name).relative_to(prefix) for name in inside]
    programs = {match[1] for path in paths if (match := _PROGRAM.fullmatch(str(path)))}
    libraries = {path.name for path in paths if _LIBRARY.fullmatch(path.name)}
    cells = {"prefix": prefix, "programs": words(sorted(programs)), "libraries": words(sorted(libraries))}
    return filled(cells)


def cuda_major(project: str, prefix: str) -> str:
    """Return the CUDA major of a wheel, by the project's suffix or by the directory that it fills.

    ValueError where neither names one: a name without suffix goes on to the next major.
    """
    match = _MAJOR.search(project) or _MAJOR.search(prefix)
    if match is None:
        raise ValueError(f"neither {project} nor {prefix} names a CUDA major")
    return match[1]


@dataclass(frozen=True, slots=True)
class _Project:
    """A project, its oldest release that has wheels for Linux, its newest, and a wheel of that."""

    name: str
    first: ReleaseFiles
    last: ReleaseFiles
    wheel: NamedWheel


def measure_wheels(artefacts: Artefacts, scope: Scope) -> Iterable[RawRow]:
    """Measure the newest release of every project."""
    projects = artefacts.each(partial(_project, artefacts), PROJECTS)
    wanted = [project for project in projects if scope.wants(project.last.uploaded)]
    return artefacts.each(partial(_row, artefacts), wanted)


def _project(artefacts: Artefacts, name: str) -> _Project:
    found = [
        (release, wheel)
        for release in releases(name, artefacts.files(name))
        for wheel in [_linux_wheel(release)]
        if wheel is not None  # others only hold the name (`0.0.1`)
    ]
    if not found:
        raise ValueError(f"{name} has no wheels for Linux")
    return _Project(name, found[0][0], *found[-1])


def _linux_wheel(release: ReleaseFiles) -> NamedWheel | None:
    """Return the wheel for Linux that runs with the oldest glibc, for x86_64 if there is any."""
    for platform in (Platform.LINUX_64, Platform.LINUX_AARCH64):
        wheels = [
            (wheel.name.glibc, wheel.file.name, wheel)
            for wheel in release.wheels_for(platform)
            if wheel.name.glibc is not None
        ]
        if wheels:
            return min(wheels)[-1]
    return None


def _row(artefacts: Artefacts, project: _Project) -> RawRow:
    contents = artefacts.measured(project.wheel.file, _METHOD, read_contents)
    return {
        "wheel": project.name,
        "major": cuda_major(project.name, contents["prefix"]),
        "first": str(project.first.version),
        "last": str(project.last.version),
        **contents,
        "platforms": words(project.last.platforms),
        "glibc": str(project.wheel.name.glibc),
        "source": SOURCE,
        "basis": "measured",
    }


SURVEY: Final = Survey(
    table="nvidia-wheels", place="pypi", measure=measure_wheels, owns=lambda row: row.get("source") == SOURCE
)
"""All rows of nvidia-wheels.yaml."""
