"""The conda channels of the tests: what is planned can be solved on them, and what is installed runs."""

from __future__ import annotations

import fnmatch
import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cudaenv.model.plan import Plan
from cudaenv.workflow.syncing import PROBE
from tests.support.channel import Channels, write_channels
from tests.support.channel_server import ChannelServer
from tests.support.conda_package import CondaPackage, stand_in
from tests.support.inflation import inflate
from tests.support.planning import ROOT, machine, plan_for
from tests.support.registry import rows_of
from tests.support.solving import Solve, install, solve_all

HERE = "linux-aarch64" if platform.machine() == "aarch64" else "linux-64"


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


def test_what_is_planned_for_any_target_and_platform_can_be_solved(channel_server: ChannelServer) -> None:
    asked = requests(
        *(
            planned(platform, target=target, python=python)
            for platform in ("linux-64", "linux-aarch64", "win-64")
            for target in ("run-only", "develop-kernels", "mmcv-full", "xformers")
            for python in ("3.11", "3.12")
        )
    )
    for request, solution in zip(asked, solve_all(channel_server.url, asked), strict=True):
        assert not solution.error, (request, solution.error)
        assert {record["url"].split("/")[2] for record in solution.records} == {"conda.anaconda.org"}
        (torch,) = (build for name, _, build in solution.builds() if name == "pytorch")
        assert torch.startswith("cuda")


def test_eras_before_components_can_be_solved(channel_server: ChannelServer) -> None:
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
    for request, solution, cuda in zip(asked, solve_all(channel_server.url, asked), wanted, strict=True):
        assert not solution.error, (request, solution.error)
        (torch,) = (build for name, _, build in solution.builds() if name == "pytorch")
        assert cuda in torch


def test_the_compiler_holds_the_host_compiler_back(channel_server: ChannelServer) -> None:
    def asked(line: str) -> Solve:
        return Solve(["conda-forge"], [f"cuda-version={line}", "cuda-nvcc"], "linux-64", {"__glibc": "2.28"})

    found = solve_all(channel_server.url, [asked(line) for line in ("12.0", "12.6", "12.9", "13.0")])
    gcc = [solution.version("gcc_impl_linux-64").split(".")[0] for solution in found]
    assert gcc == ["12", "13", "14", "15"]


def test_the_driver_decides_about_cuda(
    channel_server: ChannelServer,
) -> None:
    linux = {"__glibc": "2.28"}
    none, silent, old = solve_all(
        channel_server.url,
        [
            Solve(["conda-forge"], ["python=3.12", "pytorch=*=cuda*"], "linux-64", linux),
            Solve(["conda-forge"], ["python=3.12", "pytorch"], "linux-64", linux),
            Solve(["conda-forge"], ["cuda-version=13.0"], "linux-64", {**linux, "__cuda": "12.9"}),
        ],
    )
    assert "__cuda" in none.error
    assert any(build.startswith("cpu_") for name, _, build in silent.builds() if name == "pytorch")
    assert re.search(r"cuda-version 13.0 would constrain\W+__cuda >=13", old.error)


def test_the_order_of_channels_decides_about_upstream_torch(channel_server: ChannelServer) -> None:
    def asked(*channels: str) -> Solve:
        specs = ["python=3.10", "pytorch=1.13.1=*cuda11.7*", "pytorch-cuda=11.7"]
        return Solve(channels, specs, "linux-64", {"__glibc": "2.28", "__cuda": "12.0"})

    right, wrong = solve_all(
        channel_server.url,
        [asked("pytorch", "nvidia", "conda-forge"), asked("conda-forge", "pytorch", "nvidia")],
    )
    assert not right.error
    assert "strict channel priority" in wrong.error


def test_shards_and_whole_repodata_say_the_same(channel_server: ChannelServer) -> None:
    asked = requests(planned(python="3.12"))
    (sharded,) = solve_all(channel_server.url, asked)
    assert any("/shards/" in request.path for request in channel_server.requests)
    channel_server.requests.clear()
    (whole,) = solve_all(channel_server.url, asked, sharded=False)
    assert any(request.path.endswith("/repodata.json.zst") for request in channel_server.requests)
    assert not any("shards" in request.path for request in channel_server.requests)
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
def test_what_is_installed_runs(channel_server: ChannelServer, tmp_path: Path) -> None:
    """A Python of this version, and one of another, which still finds what is installed for it."""
    own = "{}.{}".format(*sys.version_info[:2])
    for python in dict.fromkeys([own if own in {"3.11", "3.12", "3.13"} else "3.12", "3.12", "3.11"]):
        prefix = tmp_path / python
        specs = [f"python={python}", "pytorch=2.12.0=cuda130_*", "cuda-version=13.0"]
        virtual = {"__glibc": "2.28", "__cuda": "13.0"}
        solution = install(channel_server.url, Solve(["conda-forge"], specs, HERE, virtual), prefix)
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


FAULTS = {
    "another package": "hash mismatch",
    "one byte": "[Cc]hecksum|hash mismatch",
    "missing": "404",
    "basic": "401",
    "bearer": "401",
    "token": "401",
    "shard": "failed to decode",
    "repodata": "hash mismatch",
}
"""What the server does, and what py-rattler says of it."""


def make(fault: str, server: ChannelServer, package: CondaPackage) -> None:
    path = server.channels.path("conda-forge", package)
    if fault == "another package":
        server.tamper("conda-forge", package)
    elif fault == "one byte":
        server.corrupt(path)
    elif fault == "missing":
        server.fail(path, 404)
    elif fault == "basic":
        server.require_auth("/", "ann", "secret")
    elif fault == "bearer":
        server.require_bearer("/conda-forge", "secret")
    elif fault == "token":
        server.require_token("secret")
    elif fault == "shard":
        server.replace(shard(server, package.name), b"no shard")
    else:
        server.rewrite("conda-forge", "noarch", other_hash)


def other_hash(record: dict[str, Any]) -> None:
    record["sha256"] = "0" * 64


def shard(server: ChannelServer, name: str) -> str:
    """The path of the shard of a package without a platform, found by asking for it alone."""
    server.requests.clear()
    solve_all(server.url, [Solve(["conda-forge"], [name], "linux-64")])
    (found,) = {request.path for request in server.requests if "/noarch/shards/" in request.path}
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_the_server_does_what_it_is_told_until_it_is_healed(
    fault: str, channel_server: ChannelServer, tmp_path: Path
) -> None:
    package = channel_server.channels.find("conda-forge", "tzdata-", "noarch")
    asked = Solve(["conda-forge"], ["tzdata"], "linux-64")
    make(fault, channel_server, package)
    failed = install(channel_server.url, asked, tmp_path / "broken")
    assert re.search(FAULTS[fault], failed.error), failed
    channel_server.heal()
    assert not install(channel_server.url, asked, tmp_path / "prefix").error
    assert (tmp_path / "prefix" / "share" / "tzdata" / "VERSION").read_text() == package.version


def test_the_server_counts_what_is_asked_for(channel_server: ChannelServer, tmp_path: Path) -> None:
    package = channel_server.channels.find("conda-forge", "tzdata-", "noarch")
    path = channel_server.channels.path("conda-forge", package)
    channel_server.fail(path, 500, times=1)
    install(channel_server.url, Solve(["conda-forge"], ["tzdata"], "linux-64"), tmp_path / "prefix")
    assert set(channel_server.downloads()) == {package.filename}
    assert channel_server.count(r"/noarch/repodata_shards\.msgpack\.zst$") == 1
    assert channel_server.count(r"/noarch/shards/") == 1


def test_a_token_in_the_path_opens_the_server(channel_server: ChannelServer) -> None:
    channel_server.require_token("secret")
    asked = [Solve(["conda-forge"], ["tzdata"], "linux-64")]
    (found,) = solve_all(f"{channel_server.url}/t/secret", asked)
    assert not found.error
    (found,) = solve_all(f"{channel_server.url}/t/other", asked)
    assert "401" in found.error


def test_a_channel_may_have_no_shards(channel_server: ChannelServer) -> None:
    channel_server.without_shards()
    (found,) = solve_all(channel_server.url, [Solve(["conda-forge"], ["tzdata"], "linux-64")])
    assert found.version("tzdata")
    assert channel_server.count(r"/repodata\.json\.zst$")


@pytest.mark.parametrize("sharded", [True, False])
def test_an_inflated_channel_still_has_what_it_had(sharded: bool, tmp_path: Path) -> None:
    one, two = stand_in("one", "1.0", "linux-64", ("two",)), stand_in("two", "2.0", "linux-64")
    inflated = write_channels(tmp_path, {"conda-forge": [one, two]})
    inflate(tmp_path / "conda-forge", "linux-64", 1000, older=10, sharded=sharded)
    with ChannelServer(inflated) as server:
        asked = [Solve(["conda-forge"], specs, "linux-64") for specs in (["one"], ["two=0.0.9"])]
        asked.append(Solve(["conda-forge"], ["made-up-24=1.17.0"], "linux-64"))
        newest, older, last = solve_all(server.url, asked)
        assert newest.builds() == {("one", "1.0", one.build), ("two", "2.0", two.build)}
        assert older.version("two") == "0.0.9"
        assert "python" in last.error, "there, but what it needs is not"
        assert (server.count("/shards/") > 0) == sharded
        (beyond,) = solve_all(server.url, [Solve(["conda-forge"], ["made-up-24=1.18.0"], "linux-64")])
        assert "No candidates" in beyond.error


def test_real_records_solve_as_they_are_known_to(real_server: ChannelServer) -> None:
    virtual = {
        "__glibc": "2.28",
        "__cuda": "12.9",
        "__archspec": "1 x86_64",
        "__linux": "5.10",
        "__unix": "0",
    }
    torch = ["python=3.12.*", "pytorch=2.10.*=cuda*", "cuda-version=12.9.*"]
    legacy = ["python=3.10.*", "pytorch=1.13.1=*cuda11.7*", "pytorch-cuda=11.7", "mkl<2024.1"]
    run, kernels, old = solve_all(
        real_server.url,
        [
            Solve(["conda-forge"], torch, "linux-64", virtual),
            Solve(["conda-forge"], [*torch, "cuda-nvcc", "cxx-compiler"], "linux-64", virtual),
            Solve(["pytorch", "nvidia", "conda-forge"], legacy, "linux-64", {**virtual, "__cuda": "11.7"}),
        ],
    )
    assert any(build.startswith("cuda129_mkl_py312") for name, _, build in run.builds() if name == "pytorch")
    assert kernels.version("gcc_impl_linux-64").startswith("14.")
    assert (old.version("pytorch"), len(old.records)) == ("1.13.1", 48)
