"""Cases as specs: every row of the tables, on made-up cases."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.case import Case, read_cases
from tests.cases.translate import machine, spec_document, untranslated


def document(facts: dict[str, Any] | None = None, pin_python: bool = False, **wants: Any) -> dict[str, Any]:
    return spec_document(Case("X-1", "plan", facts or {}, wants, {}), pin_python=pin_python)


@pytest.mark.parametrize(
    ("said", "target"),
    [
        ("run", "run-only"),
        ("kernels", "develop-kernels"),
        ("mmcv", "mmcv-full"),
        ("xformers", "xformers"),
        ("something-else", "something-else"),
    ],
)
def test_targets(said: str, target: str) -> None:
    assert document(target=said)["target"] == target


@pytest.mark.parametrize("manager", ["conda", "conda-forge", "pixi", "mamba"])
def test_who_works_with_conda_wants_cuda_from_there(manager: str) -> None:
    assert document(manager=manager)["provider"] == "conda"
    assert document({"manager": manager})["provider"] == "conda"


@pytest.mark.parametrize("manager", ["pip", "uv", "docker", None])
def test_all_others_leave_it_to_the_planner(manager: str | None) -> None:
    assert "provider" not in document(manager=manager)


@pytest.mark.parametrize(
    ("name", "versions", "key", "value"),
    [
        ("torch", ">=2.0,<2.1", "torch", ">=2.0,<2.1"),
        ("torch", "*", "torch", "*"),
        ("torch", None, "torch", "*"),
        ("torch", "==2.10.*", "torch", "==2.10.*"),
        ("torch", [">=2.0", "<2.1"], "torch", ">=2.0,<2.1"),
        ("pytorch", "==2.3.0", "torch", "==2.3.0"),
        ("jax", "==0.4.30 [cuda12]", "jax[cuda12]", "==0.4.30"),
        ("jax", "[cuda12]", "jax[cuda12]", "*"),
        ("jax", "[cuda12]>=0.4", "jax[cuda12]", ">=0.4"),
        ("nccl", "2.18", "nccl", "==2.18.*"),
        ("nccl", "=2.18.1", "nccl", "==2.18.1.*"),
    ],
)
def test_packages(name: str, versions: Any, key: str, value: str) -> None:
    assert document(packages={name: versions})["packages"] == {key: value}


def test_packages_may_be_a_list_of_requirements() -> None:
    found = document(packages=["torch>=2.0", "jax[cuda12]==0.4.30", "numpy"])["packages"]
    assert found == {"torch": ">=2.0", "jax[cuda12]": "==0.4.30", "numpy": "*"}
    with pytest.raises(ValueError, match="not a requirement"):
        document(packages=["==2.0"])
    assert "packages" not in document()


@pytest.mark.parametrize(
    ("said", "cuda"),
    [("11.8", "11.8"), ("cu118", "11.8"), ("cu92", "9.2"), ("cpu", "cpu"), (">=12.6,<13", ">=12.6,<13")],
)
def test_cuda(said: str, cuda: str) -> None:
    assert document(cuda=said)["cuda"] == cuda
    assert document(variants=["cpu", said])["cuda"] == ["cpu", cuda]


def test_python_is_pinned_where_it_is_fixed_or_wanted() -> None:
    there = {"python": "3.10"}
    assert "python" not in document(there)
    assert document(there, python_fixed=True)["python"] == "==3.10.*"
    assert document(there, pin_python=True)["python"] == "==3.10.*"
    assert document({"python": "3.10.12"}, python_fixed=True)["python"] == "==3.10.*"
    assert document(python="3.11")["python"] == "==3.11.*"
    assert document(python=">=3.11")["python"] == ">=3.11"
    assert "python" not in document(python_fixed=True)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, {"platform": "linux-64"}),
        ({"os": "linux"}, {"platform": "linux-64"}),
        ({"os": "linux", "arch": "aarch64"}, {"platform": "linux-aarch64"}),
        ({"arch": "sbsa"}, {"platform": "linux-aarch64"}),
        ({"os": "Ubuntu-20.04", "arch": "amd64"}, {"platform": "linux-64", "os": "ubuntu-20.04"}),
        ({"os": "debian"}, {"platform": "linux-64"}),
        ({"os": "centos-7.9"}, {"platform": "linux-64", "os": "centos-7.9"}),
        ({"os": "windows-11"}, {"platform": "win-64"}),
        ({"os": "windows-11-wsl2"}, {"platform": "linux-64", "wsl": True}),
        ({"os": "windows-10-docker"}, {"platform": "linux-64", "wsl": True}),
        ({"os": "ubuntu-22.04", "wsl": True}, {"platform": "linux-64", "os": "ubuntu-22.04", "wsl": True}),
        ({"os": "macos-arm64"}, {"platform": "osx-arm64"}),
        ({"os": "macos", "arch": "x86_64"}, {"platform": "macos-x86_64"}),
        ({"os": "linux", "arch": "ppc64le"}, {"platform": "linux-ppc64le"}),
    ],
)
def test_systems(facts: dict[str, Any], expected: dict[str, Any]) -> None:
    assert machine(facts) == expected


@pytest.mark.parametrize(
    ("facts", "gpu"),
    [
        ({"gpus": [{"name": "odd name", "cc": "8.6"}, {"name": "another", "cc": "8.6"}]}, ["8.6"]),
        ({"gpus": [{"name": "RTX 4090"}]}, ["RTX 4090"]),
        ({"gpus": ["RTX 4090", "sm_90"]}, ["RTX 4090", "9.0"]),
        ({"gpus": [{"cc": "sm_120"}]}, ["12.0"]),
        ({"gpus": []}, ["none"]),
        ({"gpu": "none"}, ["none"]),
        ({"gpu": False}, ["none"]),
        ({"gpu": True}, None),
        ({}, None),
        ({"name": "K40", "cc": "3.5"}, ["3.5"]),
    ],
)
def test_gpus(facts: dict[str, Any], gpu: list[str] | None) -> None:
    assert machine(facts).get("gpu") == gpu


@pytest.mark.parametrize(
    ("facts", "driver", "api"),
    [
        ({"driver": "470.86", "driver_cuda": "11.4"}, "470.86", None),
        ({"driver": "470.86", "driver_cuda": "11.4", "driver_is_inferred": True}, None, "11.4"),
        ({"driver": "470.86", "driver_is_inferred": True}, "470.86", None),
        ({"driver_cuda": "found version 11060"}, None, "found version 11060"),
        ({"driver_cuda": "CUDA Version: 12.4"}, None, "12.4"),
        ({"driver": "535.183.01 (open)"}, "535.183.01", None),
        ({}, None, None),
    ],
)
def test_drivers(facts: dict[str, Any], driver: str | None, api: str | None) -> None:
    found = machine(facts)
    assert (found.get("driver"), found.get("driver-api")) == (driver, api)


def test_what_is_there_to_compile_with() -> None:
    assert machine({"nvcc": "11.7", "gcc": "9.4"}) == {"platform": "linux-64", "toolkit": "11.7", "gcc": "9"}
    assert machine({"toolkit": "12.6"})["toolkit"] == "12.6"
    assert machine({"nvcc": "V11.7.99"})["toolkit"] == "11.7"
    assert "toolkit" not in machine({"nvcc": None})


def test_boards_counts_and_glibc() -> None:
    found = machine({"jetson": "JetPack 5", "glibc": "2.31", "count": "40", "arch": "aarch64"})
    assert found == {"platform": "linux-aarch64", "jetson": True, "glibc": "2.31", "count": 40}


@pytest.mark.parametrize("key", ["nodes", "run_hosts", "team"])
def test_each_host_is_a_machine_with_what_is_said_of_all(key: str) -> None:
    hosts = [{"gpus": [{"name": "A", "cc": "7.0"}], "driver": "470.1"}, {"name": "B", "cc": "9.0"}]
    found = document({key: hosts, "driver": "550.1", "os": "linux"})["machine"]
    assert found == [
        {"platform": "linux-64", "gpu": ["7.0"], "driver": "470.1"},
        {"platform": "linux-64", "gpu": ["9.0"], "driver": "550.1"},
    ]


def test_a_team_may_have_macs_and_machines_without_gpus() -> None:
    team = [{"os": "linux", "gpu": True}, {"os": "linux", "gpu": False}, {"os": "macos-arm64"}]
    assert document({"team": team})["machine"] == [
        {"platform": "linux-64"},
        {"platform": "linux-64", "gpu": ["none"]},
        {"platform": "osx-arm64"},
    ]


def test_where_no_machine_is_described_the_platform_is_said() -> None:
    assert document({"ci": {"gpu": "none"}}) == {"platforms": ["linux-64"]}
    assert document({"lock_platforms": ["osx-arm64"], "lock_host": {"os": "macos"}}) == {
        "platforms": ["osx-arm64"]
    }
    assert document({"os": "windows"}) == {"machine": [{"platform": "win-64"}]}


def test_what_is_planned_for_is_the_target_host() -> None:
    facts = {"online_host": {"os": "windows"}, "target_host": {"os": "linux", "arch": "aarch64"}}
    assert document(facts) == {"machine": [{"platform": "linux-aarch64"}]}


def test_what_is_not_understood_is_said() -> None:
    facts = {"driver": "1", "rocm": "6", "nodes": [{"cc": "8.0", "fabric": "x"}], "installed": {}}
    found = untranslated(Case("X-1", "plan", facts, {"mirror": "cn", "colour": "red"}, {}))
    assert found == ["facts.rocm", "facts.nodes[].fabric", "wants.colour"]


# --- files of cases

FILE = """
schema: 1
date_of_truth: 2026-11-20
cases:
- id: X-1
  mode: plan
  facts: {python: 3.10, driver: 470.10, nvcc: null, gpu: true}
  wants: {packages: {torch: 2.0}}
  expected: {must_error: false, gcc_max: 8, must_mention: [2.5.1, 3.10]}
"""


def test_numbers_are_read_as_they_are_written() -> None:
    (case,) = read_cases(FILE)
    assert case.facts == {"python": "3.10", "driver": "470.10", "nvcc": None, "gpu": True}
    assert case.wants["packages"] == {"torch": "2.0"}
    assert case.expected == {"must_error": False, "gcc_max": "8", "must_mention": ["2.5.1", "3.10"]}


def test_other_files_are_refused() -> None:
    with pytest.raises(ValueError, match="not a file of cases"):
        read_cases("rows: []")
    with pytest.raises(ValueError, match="same id: X-1"):
        read_cases(FILE + FILE.split("cases:\n")[1])
