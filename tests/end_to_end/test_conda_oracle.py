"""A second conda beside ours finds the same packages for the same request, and installs the same files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from cudaenv.system.conda import CondaNetwork, solve_conda
from tests.support.channel import Channels
from tests.support.channel_server import ChannelServer
from tests.support.conda_oracle import Oracle
from tests.support.conda_project import DESK, CondaProject, conda_project, on_linux_64, prefix_files
from tests.support.project import Project
from tests.support.solving import CANONICAL, Solution, Solve

ARM = {**DESK, "name": "arm", "gpu": "GH200", "platform": "linux-aarch64"}
WINDOWS = {"name": "win", "gpu": "RTX 4090", "driver": "581.15", "platform": "win-64"}

NVCC = (
    *("cuda-nvcc", "cuda-cudart-dev", "cuda-cccl", "libcublas-dev", "libcusparse-dev", "libcusolver-dev"),
    *("libcurand-dev", "ninja"),
)
LINUX = {"__unix": "0", "__linux": "5.10", "__glibc": "2.28"}
REAL = {
    "run-only, linux-64": Solve(
        ("conda-forge",),
        ("python=3.12.*", "cuda-version=12.9", "pytorch=2.10.0=cuda129_*"),
        "linux-64",
        {**LINUX, "__archspec": "1 x86_64", "__cuda": "12.9"},
    ),
    "run-only, linux-aarch64": Solve(
        ("conda-forge",),
        ("python=3.12.*", "cuda-version=12.9", "pytorch=2.10.0=cuda129_*"),
        "linux-aarch64",
        {**LINUX, "__archspec": "1 aarch64", "__cuda": "12.9"},
    ),
    "run-only, win-64": Solve(
        ("conda-forge",),
        ("python=3.12.*", "cuda-version=12.8", "pytorch=2.10.0=cuda128_*"),
        "win-64",
        {"__win": "0", "__archspec": "1 x86_64", "__cuda": "12.8"},
    ),
    "develop-kernels, linux-64": Solve(
        ("conda-forge",),
        ("python=3.12.*", "cuda-version=12.9", "pytorch=2.10.0=cuda129_*", *NVCC),
        "linux-64",
        {**LINUX, "__archspec": "1 x86_64", "__cuda": "12.9"},
    ),
    "develop-kernels, linux-aarch64": Solve(
        ("conda-forge",),
        ("python=3.12.*", "cuda-version=12.9", "pytorch=2.10.0=cuda129_*", "cuda-nvcc", "cuda-cudart-dev"),
        "linux-aarch64",
        {**LINUX, "__archspec": "1 aarch64", "__cuda": "12.9"},
    ),
    "nvcc alone, linux-aarch64": Solve(
        ("conda-forge",),
        ("cuda-version=13.0", "cuda-nvcc", "cuda-cudart-dev", "ninja"),
        "linux-aarch64",
        {**LINUX, "__archspec": "1 aarch64", "__cuda": "13.0"},
    ),
    "develop-kernels, win-64": Solve(
        ("conda-forge",),
        ("python=3.12.*", "cuda-version=12.8", "pytorch=2.10.0=cuda128_*", "cuda-nvcc", "cuda-cudart-dev"),
        "win-64",
        {"__win": "0", "__archspec": "1 x86_64", "__cuda": "12.8"},
    ),
    "torch 1.13, linux-64": Solve(
        ("pytorch", "nvidia", "conda-forge"),
        ("python=3.10.*", "pytorch-cuda=11.7", "pytorch=1.13.1=*_cuda11.7*", "mkl<2024.1"),
        "linux-64",
        {**LINUX, "__archspec": "1 x86_64", "__cuda": "11.7"},
    ),
}
"""What the real records have of each era and platform."""

EQUALLY_VALID: Mapping[str, set[str]] = {
    # pytorch-cuda bounds these from below alone: the one takes those of CUDA 12.4, the other of 12.6, which
    # come with a cuda-version; of two builds of the last two each takes another.
    "torch 1.13, linux-64": {"cuda-version", "libcufile", "libcurand", "libgcc-ng", "libstdcxx-ng"},
}
"""Packages in which the two solvers may differ, for each of them satisfies every bound."""


@pytest.fixture
def conda(project: Project, channels: Channels) -> Iterator[CondaProject]:
    with conda_project(project, channels) as found:
        yield found


@pytest.mark.parametrize("machine", [DESK, ARM, WINDOWS], ids=lambda machine: machine["platform"])
@pytest.mark.parametrize("target", ["run-only", "develop-kernels"])
def test_a_lock_is_what_the_other_solver_finds(
    conda: CondaProject, machine: Mapping[str, str], target: str, tmp_path: Path
) -> None:
    conda.lock(machine, target=target, python="3.12", platforms=[machine["platform"]])
    files = [conda.project.text(name) for name in ("environment.yml", "virtual-packages.yml")]
    asked = Solve.of_files(*map(yaml.safe_load, files))
    found = Oracle(tmp_path / "oracle", conda.server.url).solve(asked)
    assert found.error == ""
    ours = {(name, version, build) for name, (version, build) in conda.versions().items()}
    assert ours == found.builds()


@on_linux_64
def test_the_other_conda_installs_the_same_files(conda: CondaProject, tmp_path: Path) -> None:
    conda.lock()
    conda.sync()
    other = tmp_path / "other"
    oracle = Oracle(tmp_path / "oracle", conda.server.url)
    assert oracle.install(conda.project.folder / "conda-linux-64.lock", other) == ""
    assert prefix_files(other) == prefix_files(conda.project.folder / ".conda")


@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", REAL)
def test_on_real_records_both_solvers_find_the_same(
    name: str, real_server: ChannelServer, tmp_path: Path
) -> None:
    asked, server = REAL[name], real_server.unpacked()
    request = {
        "channels": [f"{CANONICAL}{channel}" for channel in asked.channels],
        "platform": asked.platform,
        "specs": list(asked.specs),
        "virtual": dict(asked.virtual),
        "locked": [],
    }
    network = CondaNetwork(tmp_path / "cache", {CANONICAL: f"{server.url}/"})
    (lock,) = solve_conda([request], network)
    found: Solution = Oracle(tmp_path / "oracle", server.url).solve(asked)
    assert found.error == ""
    ours = {(record.name, record.version, record.build) for record in lock.records}
    differing = {item[0] for item in ours ^ found.builds()}
    assert differing == EQUALLY_VALID.get(name, set()), sorted(ours ^ found.builds())
