"""The conda channels of the tests: what is planned can be solved on them, and what is installed runs."""

from __future__ import annotations

import fnmatch
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cudaenv.model.plan import Plan
from cudaenv.workflow.syncing import PROBE
from tests.support.channel import Channels
from tests.support.index import IndexServer
from tests.support.planning import ROOT, machine, plan_for
from tests.support.registry import rows_of
from tests.support.solving import Solve, install, solve_all

HERE = "linux-aarch64" if platform.machine() == "aarch64" else "linux-64"


@pytest.fixture
def mirror(channels: Channels) -> Iterator[IndexServer]:
    with IndexServer(channels.folder) as server:
        yield server


def planned(platform: str = "linux-64", gpu: str = "RTX 4090", driver: str = "", **asked: Any) -> Plan:
    newest = "581.15" if platform == "win-64" else "580.95.05"
    glibc = "" if platform == "win-64" else "2.28"
    lab = machine("lab", [gpu], driver or newest, glibc=glibc, platform=platform)
    return plan_for(lab, platforms=[platform], provider="conda", **asked)


def requests(*plans: Plan) -> list[Solve]:
    found = []
    for plan in plans:
        (environment,) = plan.environments
        part = environment.conda
        assert part is not None
        virtual = dict(part.virtual_packages)
        found.append(Solve(part.channels, part.specs, str(environment.platform), virtual))
    return found


def test_what_is_planned_for_any_target_and_platform_can_be_solved(mirror: IndexServer) -> None:
    asked = requests(
        *(
            planned(platform, target=target, python=python)
            for platform in ("linux-64", "linux-aarch64", "win-64")
            for target in ("run-only", "develop-kernels", "mmcv-full", "xformers")
            for python in ("3.11", "3.12")
        )
    )
    for request, solution in zip(asked, solve_all(mirror.url, asked), strict=True):
        assert not solution.error, (request, solution.error)
        assert {record["url"].split("/")[2] for record in solution.records} == {"conda.anaconda.org"}
        (torch,) = (build for name, _, build in solution.builds() if name == "pytorch")
        assert torch.startswith("cuda")


def test_eras_before_components_can_be_solved(mirror: IndexServer) -> None:
    v100 = "Tesla V100-SXM2-32GB"
    old = "470.82.01"
    asked = requests(
        planned(packages=["torch==1.13.1"], python="3.10"),
        planned(packages=["torch<2.4"], cuda="12.1", python="3.11"),
        planned("win-64", packages=["torch<2.4"], cuda="12.1", python="3.11"),
        planned(packages=["torch<2.2"], cuda="11.8", python="3.11"),
        planned(gpu=v100, packages=["torch==1.12.1"], python="3.10"),
        planned(gpu=v100, packages=["mmcv-full"], python="3.10"),
        planned(gpu=v100, driver=old, target="develop-kernels", python="3.9"),
        planned(gpu=v100, driver=old, target="develop-kernels", python="3.11"),
    )
    wanted = ("cuda11.7", "cuda12.1", "cuda12.1", "cuda118", "cuda11.6", "cuda112", "cuda11.3", "cuda11.8")
    for request, solution, cuda in zip(asked, solve_all(mirror.url, asked), wanted, strict=True):
        assert not solution.error, (request, solution.error)
        (torch,) = (build for name, _, build in solution.builds() if name == "pytorch")
        assert cuda in torch


def test_the_compiler_holds_the_host_compiler_back(mirror: IndexServer) -> None:
    def asked(line: str) -> Solve:
        return Solve(["conda-forge"], [f"cuda-version={line}", "cuda-nvcc"], "linux-64", {"__glibc": "2.28"})

    found = solve_all(mirror.url, [asked(line) for line in ("12.0", "12.6", "12.9", "13.0")])
    gcc = [solution.version("gcc_impl_linux-64").split(".")[0] for solution in found]
    assert gcc == ["12", "13", "14", "15"]


def test_without_a_driver_there_is_no_cuda_and_with_an_old_one_no_new_cuda(mirror: IndexServer) -> None:
    linux = {"__glibc": "2.28"}
    none, silent, old = solve_all(
        mirror.url,
        [
            Solve(["conda-forge"], ["python=3.12", "pytorch=*=cuda*"], "linux-64", linux),
            Solve(["conda-forge"], ["python=3.12", "pytorch"], "linux-64", linux),
            Solve(["conda-forge"], ["cuda-version=13.0"], "linux-64", {**linux, "__cuda": "12.9"}),
        ],
    )
    assert "__cuda" in none.error
    assert any(build.startswith("cpu_") for name, _, build in silent.builds() if name == "pytorch")
    assert re.search(r"cuda-version 13.0 would constrain\W+__cuda >=13", old.error)


def test_the_order_of_channels_decides_about_upstream_torch(mirror: IndexServer) -> None:
    def asked(*channels: str) -> Solve:
        specs = ["python=3.10", "pytorch=1.13.1=*cuda11.7*", "pytorch-cuda=11.7"]
        return Solve(channels, specs, "linux-64", {"__glibc": "2.28", "__cuda": "12.0"})

    right, wrong = solve_all(
        mirror.url, [asked("pytorch", "nvidia", "conda-forge"), asked("conda-forge", "pytorch", "nvidia")]
    )
    assert not right.error
    assert "strict channel priority" in wrong.error


def test_shards_and_whole_repodata_say_the_same(mirror: IndexServer) -> None:
    asked = requests(planned(python="3.12"))
    (sharded,) = solve_all(mirror.url, asked)
    assert any("/shards/" in request.path for request in mirror.requests)
    mirror.requests.clear()
    (whole,) = solve_all(mirror.url, asked, sharded=False)
    assert any(request.path.endswith("/repodata.json.zst") for request in mirror.requests)
    assert not any("shards" in request.path for request in mirror.requests)
    assert sharded.records == whole.records


def test_every_build_of_the_matrix_has_a_package_of_its_pattern(channels: Channels) -> None:
    """That of the channel pytorch is left to the newest of each minor version."""
    packages = channels.packages["conda-forge"]
    for row in rows_of(ROOT / "matrix", "conda-builds"):
        known = {"pytorch", "mmcv", "mmcv-full", "xformers"}
        if row["channel"] == "conda-forge" and row["package"] in known and row.get("pythons") != "3.14":
            assert any(
                (package.name, package.version, package.subdir)
                == (row["package"], row["version"], row["platform"])
                and fnmatch.fnmatchcase(package.build, row["build"])
                for package in packages
            ), row


@pytest.mark.skipif(sys.platform != "linux", reason="the Python of the packages runs on Linux")
def test_what_is_installed_runs(mirror: IndexServer, tmp_path: Path) -> None:
    """A Python of this version, and one of another, which still finds what is installed for it."""
    own = "{}.{}".format(*sys.version_info[:2])
    for python in dict.fromkeys([own if own in {"3.11", "3.12", "3.13"} else "3.12", "3.12", "3.11"]):
        prefix = tmp_path / python
        specs = [f"python={python}", "pytorch=2.12.0=cuda130_*", "cuda-version=13.0"]
        virtual = {"__glibc": "2.28", "__cuda": "13.0"}
        solution = install(mirror.url, Solve(["conda-forge"], specs, HERE, virtual), prefix)
        assert not solution.error
        done = subprocess.run(
            [prefix / "bin" / "python", "-I", "-c", f"import sys; print(sys.prefix)\n{PROBE}"],
            capture_output=True,
            text=True,
            check=True,
        )
        where, answer = done.stdout.splitlines()
        assert where == str(prefix)
        torch = json.loads(answer)
        assert (torch["version"], torch["cuda"]) == ("2.12.0", "13.0")
        assert "sm_90" in torch["archs"]


def test_what_mirrors_do_not_have_is_not_there(mirror: IndexServer) -> None:
    (solution,) = solve_all(mirror.url, [Solve(["conda-forge"], ["no-such-package"], "linux-64")])
    assert "no-such-package" in solution.error
