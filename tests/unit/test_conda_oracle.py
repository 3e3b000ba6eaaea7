"""The conda inside of conda-lock as a second solver and installer, on the loopback alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.channel_server import ChannelServer
from tests.support.conda_oracle import Oracle
from tests.support.solving import Solve, solve_all

LINUX = {"__glibc": "2.28", "__cuda": "13.0", "__archspec": "1 x86_64"}
SPECS = ("python=3.12.*", "cuda-version=13.0", "pytorch=2.12.0=cuda130_*")


@pytest.fixture
def oracle(channel_server: ChannelServer, tmp_path: Path) -> Oracle:
    return Oracle(tmp_path / "oracle", channel_server.url)


def conda_lock(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "conda_lock", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("platform", ["linux-64", "win-64"])
def test_it_solves_as_py_rattler_does(platform: str, oracle: Oracle, channel_server: ChannelServer) -> None:
    request = Solve(["conda-forge"], [*SPECS, "cuda-nvcc", "cxx-compiler"], platform, LINUX)
    (expected,) = solve_all(channel_server.url, [request])
    found = oracle.solve(request)
    assert not found.error
    assert found.builds() == expected.builds()
    assert {record["url"] for record in found.records} == {record["url"] for record in expected.records}


def test_it_refuses_what_cannot_be(oracle: Oracle) -> None:
    found = oracle.solve(Solve(["conda-forge"], SPECS, "linux-64", {"__glibc": "2.28"}))
    assert "__cuda" in found.error


@pytest.mark.skipif(sys.platform != "linux", reason="the Python of the packages runs on Linux")
def test_conda_lock_locks_and_installs_with_it(
    oracle: Oracle, channel_server: ChannelServer, tmp_path: Path
) -> None:
    environment = {"channels": ["conda-forge"], "platforms": ["linux-64"], "dependencies": list(SPECS)}
    (tmp_path / "environment.yml").write_text(yaml.safe_dump(environment))
    virtual = {"subdirs": {"linux-64": {"packages": LINUX}}}
    (tmp_path / "virtual.yml").write_text(yaml.safe_dump(virtual))
    (tmp_path / "mapping.json").write_text("{}")
    conda = ["--conda", str(oracle.executable())]
    files = ["-f", "environment.yml", "--virtual-package-spec", "virtual.yml"]
    conda_lock(tmp_path, "lock", *conda, *files, "--pypi_to_conda_lookup_file", "mapping.json")
    packages = yaml.safe_load((tmp_path / "conda-lock.yml").read_text())["package"]
    assert {package["url"].rsplit("/", 2)[0] for package in packages} == {
        "https://conda.anaconda.org/conda-forge"
    }
    prefix = tmp_path / "prefix"
    conda_lock(tmp_path, "install", *conda, "--prefix", str(prefix), "conda-lock.yml")
    code = "import torch; print(torch.__version__, torch.version.cuda)"
    done = subprocess.run(
        [prefix / "bin" / "python", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "2.12.0 13.0\n"
    assert len(channel_server.downloads()) == len(packages)


def test_it_reaches_nothing_but_the_loopback(oracle: Oracle) -> None:
    found = oracle.solve(Solve(["https://conda.example/forge"], ["python"], "linux-64", LINUX))
    assert "is not on the loopback" in found.error
    assert not found.records
