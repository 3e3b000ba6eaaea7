"""Bytes to download for an image to run torch in, beside one of the same wheels on NVIDIA's devel image.

Wheels are as PyPI states them. The slim base is as docker-library's repo-info had it
(repos/python/remote/3.14-slim-trixie.md, amd64, read 2026-11-25). What `nvidia/cuda:13.2.1-devel-ubuntu24.04`
weighs only its registry tells; it has nvcc, the libraries and their headers, for which NVIDIA's own wheels of
the same release stand as a lower bound: the image has static libraries, NCCL and Ubuntu besides.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from cudaenv.workflow.locking import Wishes, lock_project
from cudaenv.workflow.project import Project
from cudaenv.workflow.sizes import download_sizes

SLIM = 43_437_809
APART = ("nvidia-cudnn", "nvidia-cusparselt", "nvidia-nccl", "nvidia-nvshmem")
"""Wheels of NVIDIA that torch needs and no toolkit has."""

MB = 1_000_000
SPEC = """python = "3.14"
provider = "pip"
[packages]
torch = "==2.15.0"
"cuda-toolkit[all]" = "==13.2.*"
[[machine]]
name = "server"
gpu = "H100"
driver = "595.71.05"
platform = "linux-64"
"""


def sizes(spec: str) -> dict[str, int]:
    """The size of each wheel that is locked, by package."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), {**os.environ, "CUDAENV_REGISTRY": ""}, draft=spec)
        locked = lock_project(project, Wishes(upgrade=True))
    (lock,) = locked.environments
    found = {}
    for wheel in lock.wheels:
        (size,) = download_sizes(project, replace(locked, environments=(replace(lock, wheels=(wheel,)),)))
        assert size is not None, wheel.name
        found[wheel.name] = size
    return found


def main() -> None:
    """Print the figures."""
    wheels = sum(
        sizes("".join(SPEC.splitlines(keepends=True)[:4] + SPEC.splitlines(keepends=True)[5:])).values()
    )
    everything = sizes(SPEC)
    nvidia = {name: size for name, size in everything.items() if name.startswith("nvidia-")}
    toolkit = sum(size for name, size in nvidia.items() if not name.startswith(APART))
    rows = {
        "wheels of torch 2.15.0": wheels,
        "slim base": SLIM,
        "run-only image": wheels + SLIM,
        "toolkit of CUDA 13.2, at least": toolkit,
        "the same wheels on a devel image, at least": wheels + toolkit,
    }
    for name, size in rows.items():
        print(f"{name:<44} {size / MB:7.0f} MB")
    print(f"{'ratio, at least':<44} {(wheels + toolkit) / (wheels + SLIM):7.2f}")


if __name__ == "__main__":
    main()
