"""Machines as text: lines for people, JSON, and a table that cudaenv.toml takes."""

from __future__ import annotations

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from cudaenv.model.machine import Fact, Gpu, Machine, Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion, GlibcVersion
from cudaenv.render.machine_text import machine_json, machine_lines, machine_toml

LAB = Machine(
    name="lab",
    platform=Fact(Platform.LINUX_64, "this Python"),
    gpus=(
        Gpu(
            name="NVIDIA H100 80GB HBM3",
            capability=ComputeCapability(9, 0),
            memory_mb=81_559,
            count=8,
            mig=True,
            origin="NVML",
        ),
        Gpu(name="RTX 5090", capability=ComputeCapability(12, 0)),
    ),
    driver=Fact(DriverVersion.parse("570.86.10"), "NVML"),
    driver_api=Fact(CudaVersion(12, 8), "nvidia-smi"),
    glibc=Fact(GlibcVersion(2, 35), "confstr"),
    os=Fact("Ubuntu 22.04.5 LTS", "/etc/os-release"),
    toolkit=Fact(CudaVersion(12, 6), "/usr/local/cuda"),
    gcc=Fact(11, "g++ 11.4.0"),
    notes=("MIG is on",),
)


def test_lines() -> None:
    assert machine_lines(LAB) == [
        "name          lab",
        "platform      linux-64  (this Python)",
        "OS            Ubuntu 22.04.5 LTS  (/etc/os-release)",
        "glibc         2.35  (confstr)",
        "driver        570.86.10  (NVML)",
        "driver API    12.8  (nvidia-smi)",
        "GPU           8 x NVIDIA H100 80GB HBM3, compute capability 9.0, 81559 MB, MIG  (NVML)",
        "              RTX 5090, compute capability 12.0",
        "toolkit       CUDA 12.6  (/usr/local/cuda)",
        "gcc           11  (g++ 11.4.0)",
        "note          MIG is on",
    ]


def test_lines_tell_unknown_from_none() -> None:
    unknown = machine_lines(Machine(name="somewhere"))
    assert unknown[1:] == [
        f"{label:<14}unknown" for label in ("platform", "OS", "glibc", "driver", "driver API", "GPU")
    ]
    assert "GPU           none" in machine_lines(Machine(name="laptop", gpus=()))


def test_lines_of_special_hosts() -> None:
    wsl = Machine(name="wsl", platform=LAB.platform, uses_windows_driver=True)
    assert "WSL           yes, with the driver of Windows" in machine_lines(wsl)
    assert "Jetson        yes" in machine_lines(Machine(name="board", is_jetson=True))
    windows = Machine(name="pc", platform=Fact(Platform.WIN_64, "this Python"), uses_windows_driver=True)
    assert not [line for line in machine_lines(windows) if line.startswith("WSL")]


def test_json() -> None:
    found = machine_json(LAB)
    assert json.loads(json.dumps(found)) == found
    assert found["schema"] == 1
    assert found["toolkit"] == {"value": "12.6", "origin": "/usr/local/cuda"}
    assert found["gcc"] == {"value": "11", "origin": "g++ 11.4.0"}
    assert machine_json(Machine(name="x"))["toolkit"] is None
    assert found["driver"] == {"value": "570.86.10", "origin": "NVML"}
    assert found["gpus"] == [
        {
            "value": {
                "name": "NVIDIA H100 80GB HBM3",
                "capability": "9.0",
                "memory_mb": 81_559,
                "count": 8,
                "mig": True,
            },
            "origin": "NVML",
        },
        {
            "value": {
                "name": "RTX 5090",
                "capability": "12.0",
                "memory_mb": None,
                "count": 1,
                "mig": False,
            },
            "origin": "",
        },
    ]
    assert machine_json(Machine(name="x"))["gpus"] is None
    assert machine_json(Machine(name="x", gpus=()))["gpus"] == []


def test_toml() -> None:
    text = machine_toml(LAB)
    assert text.startswith("[[machine]]\n")
    assert tomllib.loads(text)["machine"] == [
        {
            "name": "lab",
            "gpu": ["NVIDIA H100 80GB HBM3", "RTX 5090"],
            "driver": "570.86.10",
            "driver-api": "12.8",
            "glibc": "2.35",
            "platform": "linux-64",
            "toolkit": "12.6",
            "gcc": "11",
        }
    ]


def test_toml_leaves_out_what_is_unknown() -> None:
    assert machine_toml(Machine(name="somewhere")) == '[[machine]]\nname = "somewhere"\n'
    assert tomllib.loads(machine_toml(Machine(name="a", gpus=())))["machine"] == [{"name": "a", "gpu": []}]


def test_toml_of_special_hosts() -> None:
    wsl = Machine(name="wsl", platform=LAB.platform, uses_windows_driver=True, count=3)
    assert tomllib.loads(machine_toml(wsl))["machine"][0] == {
        "name": "wsl",
        "platform": "linux-64",
        "wsl": True,
        "count": 3,
    }
    windows = Machine(name="pc", platform=Fact(Platform.WIN_64, "this Python"), uses_windows_driver=True)
    assert tomllib.loads(machine_toml(windows))["machine"] == [{"name": "pc", "platform": "win-64"}]
    [board] = tomllib.loads(machine_toml(Machine(name="board", is_jetson=True)))["machine"]
    assert board["jetson"] is True


@given(st.text(), st.lists(st.text(), max_size=3, unique=True))
def test_toml_holds_any_text(name: str, products: list[str]) -> None:
    gpus = tuple(Gpu(name=product, capability=ComputeCapability(8, 0)) for product in products)
    [table] = tomllib.loads(machine_toml(Machine(name=name, gpus=gpus)))["machine"]
    assert table == {"name": name, "gpu": products}
