"""Conda channels for tests: real packages, indexed, in the folders that a mirror of anaconda.org has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.conda_base import base_packages
from tests.support.conda_package import CondaPackage
from tests.support.conda_torch import (
    LABELS,
    conda_forge_builds,
    label_packages,
    nvidia_packages,
    pytorch_builds,
)
from tests.support.planning import ROOT
from tests.support.registry import rows_of

# py-rattler may crash while its interpreter ends (pyo3-async-runtimes issue 40), so it never ends here.
_INDEX = """
import asyncio, os, sys
from rattler.index import index_fs

async def index():
    await asyncio.gather(*(index_fs(folder) for folder in sys.argv[1:]))

asyncio.run(index())
os._exit(0)
"""


@dataclass(frozen=True)
class Channels:
    """Channels below a folder, which a server of the folder serves as `URL/conda-forge`."""

    folder: Path
    packages: Mapping[str, tuple[CondaPackage, ...]]

    def find(self, channel: str, start: str, subdir: str) -> CondaPackage:
        """The newest package of a channel whose file name begins so."""
        found = [
            package
            for package in self.packages[channel]
            if package.subdir == subdir and package.filename.startswith(start)
        ]
        return max(found, key=lambda package: package.filename)

    def path(self, channel: str, package: CondaPackage) -> str:
        """Where a server of the folder has a package, as its methods take it."""
        return f"/{channel}/{package.subdir}/{package.filename}"


def write_channels(folder: Path, packages: Mapping[str, Iterable[CondaPackage]]) -> Channels:
    """Write and index channels by their names: repodata whole and in shards."""
    found = {name: tuple(items) for name, items in packages.items()}
    for name, items in found.items():
        (folder / name / "noarch").mkdir(parents=True, exist_ok=True)
        for package in items:
            package.write(folder / name)
    # A label lies below the channel that it is of, and both are indexed at once.
    subprocess.run(
        [sys.executable, "-c", _INDEX, *(str(folder / name) for name in found)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return Channels(folder, found)


def cuda_channels(folder: Path) -> Channels:
    """Write conda-forge, pytorch, and nvidia with two of its labels: whatever the matrix says there is."""
    rows = rows_of(ROOT / "matrix", "conda-builds")
    return write_channels(
        folder,
        {
            "conda-forge": [*base_packages(), *conda_forge_builds(rows)],
            "pytorch": pytorch_builds(rows),
            "nvidia": nvidia_packages(),
            **{f"nvidia/label/cuda-{release}": label_packages(release) for release in LABELS},
        },
    )
