"""Detection: the real `pynvml` against a fake library, fake `nvidia-smi` programs, and samples of texts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaenv.model.machine import Fact, Gpu, Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion
from cudaenv.system.findings import Findings, grouped
from cudaenv.system.host import (
    HostFiles,
    has_nvidia_device,
    is_jetson_board,
    is_wsl_kernel,
    parse_board,
    parse_driver_file,
    parse_os_name,
    parse_platform,
    read_glibc,
    read_os,
)
from cudaenv.system.nvidia_smi import (
    FIELDS,
    OLD_FIELDS,
    SmiReading,
    nvidia_smi_findings,
    parse_banner,
    parse_rows,
    read_nvidia_smi,
)
from cudaenv.system.nvml import NvmlDevice, NvmlReading, NvmlState, nvml_findings
from cudaenv.system.probe import visibility_notes
from tests.support.nvml import (
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    GPU_IS_LOST,
    KNOWN_PRODUCTS,
    LIBRARY_NOT_FOUND,
    MISMATCH,
    NOT_SUPPORTED,
    FakeGpu,
    build_fake_nvml,
    fake_nvml_env,
    probe,
    write_fake_nvidia_smi,
)

RTX_4090 = FakeGpu("NVIDIA GeForce RTX 4090", (8, 9))
H100 = FakeGpu("NVIDIA H100 80GB HBM3", (9, 0), 81_559, mig=False)
V100 = FakeGpu("Tesla V100-SXM2-32GB", (7, 0), 32_510)

OPEN_MODULE = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build  (dvs-builder@U16-I3-B03)
GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)
"""
PROPRIETARY_MODULE = """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.171.04  Tue Mar 19 20:30:00 UTC 2024
GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)
"""
JETPACK_5_MODULE = """\
NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  35.3.1  Release Build  (buildbrain@mobile)
GCC version:  gcc version 9.3.0 (Buildroot 2020.08)
"""
WSL_KERNEL = "Linux version 5.15.153.1-microsoft-standard-WSL2 (root@941d701f84f1) #1 SMP\n"
SERVER_KERNEL = "Linux version 6.8.0-45-generic (buildd@lcy02-amd64-115) #45-Ubuntu SMP\n"
JETSON_KERNEL = "Linux version 5.15.148-tegra (buildbrain@mobile-u64) #1 SMP PREEMPT\n"

# The first lines of plain `nvidia-smi`, one for each generation of the program.
BANNER_470_ON_580 = (
    "| NVIDIA-SMI 470.256.02   Driver Version: 580.95.05    CUDA Version: 13.0     |\n"
    "|-------------------------------+----------------------+----------------------+\n"
)
BANNER_570 = (
    "Tue Mar  4 12:00:00 2025       \n"
    "+-----------------------------------------------------------------------------------------+\n"
    "| NVIDIA-SMI 570.86.10              Driver Version: 570.86.10      CUDA Version: 12.8     |\n"
)
BANNER_610 = "| NVIDIA-SMI 610.43.02              KMD Version: 610.43.02     CUDA UMD Version: 13.3     |\n"
BANNER_WSL = "| NVIDIA-SMI 550.60.01              Driver Version: 551.78         CUDA Version: 12.4     |\n"
BANNER_WSL_BROKEN = (
    "| NVIDIA-SMI 545.46                 Driver Version: 546.80       CUDA Version: ERR!     |\n"
)
BANNER_JETSON = "| NVIDIA-SMI 540.4.0                Driver Version: 540.4.0      CUDA Version: N/A      |\n"
BANNER_390 = "| NVIDIA-SMI 390.157                Driver Version: 390.157                   |\n"

QUERY = f"--query-gpu={','.join(FIELDS)}"
OLD_QUERY = f"--query-gpu={','.join(OLD_FIELDS)}"
MIG_QUERY = "--query-gpu=mig.mode.current"


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fake_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fake_nvml(tmp_path_factory.mktemp("old-nvml"), old_driver=True)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def capability_of(name: str) -> ComputeCapability | None:
    return ComputeCapability.parse(KNOWN_PRODUCTS[name]) if name in KNOWN_PRODUCTS else None


# NVML, in new processes


def test_nvml_tells_driver_and_equal_gpus(library: Path, tmp_path: Path) -> None:
    machine = probe(fake_nvml_env(library, RTX_4090, RTX_4090), tmp_path)
    assert machine["driver"] == {"value": "570.86.10", "origin": "NVML"}
    assert machine["driver_api"] == {"value": "12.8", "origin": "NVML"}
    assert machine["gpus"] == [
        {
            "value": {
                "name": "NVIDIA GeForce RTX 4090",
                "capability": "8.9",
                "memory_mb": 24_564,
                "count": 2,
                "mig": False,
            },
            "origin": "NVML",
        }
    ]
    assert machine["notes"] == []
    assert machine["name"] == "this machine"


def test_gpus_of_several_kinds_keep_the_drivers_order(library: Path, tmp_path: Path) -> None:
    machine = probe(fake_nvml_env(library, V100, RTX_4090, V100), tmp_path)
    assert [(gpu["value"]["name"], gpu["value"]["count"]) for gpu in machine["gpus"]] == [
        (V100.name, 2),
        (RTX_4090.name, 1),
    ]


def test_no_gpu_is_an_answer(library: Path, tmp_path: Path) -> None:
    machine = probe(fake_nvml_env(library), tmp_path)
    assert machine["gpus"] == []
    assert machine["driver"]["value"] == "570.86.10"
    assert machine["notes"] == []


def test_old_driver_without_newer_functions(old_library: Path, tmp_path: Path) -> None:
    machine = probe(fake_nvml_env(old_library, V100, RTX_4090, driver="396.26"), tmp_path)
    assert machine["driver"] == {"value": "396.26", "origin": "NVML"}
    assert machine["driver_api"] is None
    [gpu] = machine["gpus"]
    assert gpu["value"]["name"] == V100.name
    assert gpu["value"]["capability"] == "7.0"
    assert gpu["origin"] == "NVML, compute capability by name"
    assert "NVML does not tell the driver API version (Function Not Found)" in machine["notes"]
    assert "NVML does not tell enough of 1 of 2 GPUs to list them" in machine["notes"]


@pytest.mark.parametrize(
    ("function", "note"),
    [
        ("nvmlDeviceGetMemoryInfo", None),
        ("nvmlDeviceGetMigMode", None),
        ("nvmlDeviceGetName", "NVML does not tell the name of GPU 0 (Not Supported)"),
        ("nvmlSystemGetDriverVersion", "NVML does not tell the driver version (Not Supported)"),
        ("nvmlSystemGetCudaDriverVersion", "NVML does not tell the driver API version (Not Supported)"),
    ],
)
def test_one_call_that_fails_costs_one_fact(
    library: Path, tmp_path: Path, function: str, note: str | None
) -> None:
    machine = probe(fake_nvml_env(library, H100, errors={function: NOT_SUPPORTED}), tmp_path)
    gpu = machine["gpus"][0]["value"]
    found = {
        "nvmlSystemGetDriverVersion": machine["driver"] and machine["driver"]["value"],
        "nvmlSystemGetCudaDriverVersion": machine["driver_api"] and machine["driver_api"]["value"],
        "nvmlDeviceGetName": gpu["name"],
        "nvmlDeviceGetMemoryInfo": gpu["memory_mb"],
        "nvmlDeviceGetMigMode": gpu["mig"],
    }
    whole = {
        "nvmlSystemGetDriverVersion": "570.86.10",
        "nvmlSystemGetCudaDriverVersion": "12.8",
        "nvmlDeviceGetName": H100.name,
        "nvmlDeviceGetMemoryInfo": H100.memory_mb,
        "nvmlDeviceGetMigMode": False,
    }
    # A GPU without a name goes by its compute capability, as in cudaenv.toml.
    without = {"nvmlDeviceGetName": "9.0", "nvmlDeviceGetMigMode": False}
    assert found == {**whole, function: without.get(function)}
    assert gpu["capability"] == "9.0"
    assert machine["notes"] == ([note] if note else [])


def test_lost_gpu_is_noted_and_the_rest_listed(library: Path, tmp_path: Path) -> None:
    errors = {"nvmlDeviceGetHandleByIndex_v2#1": GPU_IS_LOST}
    machine = probe(fake_nvml_env(library, H100, H100, H100, errors=errors), tmp_path)
    assert machine["gpus"][0]["value"]["count"] == 2
    assert machine["notes"][0] == "NVML does not tell GPU 1 (GPU is lost)"


def test_gpus_without_any_capability_are_unknown_not_absent(library: Path, tmp_path: Path) -> None:
    machine = probe(fake_nvml_env(library, FakeGpu("NVIDIA Next", (0, 0))), tmp_path)
    assert machine["gpus"] is None
    assert machine["notes"] == ["NVML does not tell enough of 1 of 1 GPUs to list them"]


def test_name_that_is_not_utf8_costs_only_the_name(library: Path, tmp_path: Path) -> None:
    machine = probe(fake_nvml_env(library, FakeGpu("\udcf8\udcff", (8, 9))), tmp_path)
    assert machine["gpus"][0]["value"]["name"] == "8.9"
    assert machine["notes"][0].startswith("NVML does not tell the name of GPU 0 (")


def test_quietly_failed_driver_api_is_unknown(library: Path, tmp_path: Path) -> None:
    assert probe(fake_nvml_env(library, H100, cuda=0), tmp_path)["driver_api"] is None


def test_driver_updated_without_reboot(library: Path, tmp_path: Path) -> None:
    write(tmp_path, "proc/driver/nvidia/version", PROPRIETARY_MODULE)
    smi = write_fake_nvidia_smi(
        tmp_path, [("", 18, "Failed to initialize NVML: Driver/library version mismatch")]
    )
    machine = probe(fake_nvml_env(library, H100, errors={"nvmlInit": MISMATCH}) | smi, tmp_path)
    assert machine["gpus"] is None
    assert machine["driver"] == {"value": "535.171.04", "origin": "/proc/driver/nvidia/version"}
    [note] = machine["notes"]
    assert "rebooted" in note


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (DRIVER_NOT_LOADED, "its kernel module is not loaded"),
        (FUNCTION_NOT_FOUND, "NVML says `Function Not Found`"),
        (777, "NVML says `Fake Error 777`"),
    ],
)
def test_driver_that_does_not_start_leaves_gpus_unknown(
    library: Path, tmp_path: Path, code: int, says: str
) -> None:
    machine = probe(fake_nvml_env(library, H100, errors={"nvmlInit": code}), tmp_path)
    assert machine["gpus"] is None
    assert machine["driver"] is None
    [note] = machine["notes"]
    assert says in note


def test_mig_is_noted(library: Path, tmp_path: Path) -> None:
    split = FakeGpu(H100.name, (9, 0), H100.memory_mb, mig=True)
    machine = probe(fake_nvml_env(library, split, H100), tmp_path)
    assert [gpu["value"]["mig"] for gpu in machine["gpus"]] == [True, False]
    [note] = machine["notes"]
    assert note.startswith("MIG is on for 1 of 2 GPUs")


def test_hidden_gpus_are_listed_and_noted(library: Path, tmp_path: Path) -> None:
    env = fake_nvml_env(library, RTX_4090, RTX_4090) | {"CUDA_VISIBLE_DEVICES": "1"}
    machine = probe(env, tmp_path)
    assert machine["gpus"][0]["value"]["count"] == 2
    [note] = machine["notes"]
    assert "hides 1 of 2 GPUs from programs (0: NVIDIA GeForce RTX 4090)" in note


# No library: the host's files


def no_library(library: Path) -> dict[str, str]:
    """An environment without NVML, also where the tests run beside a real driver."""
    return fake_nvml_env(library, errors={"nvmlInit": LIBRARY_NOT_FOUND})


def test_nothing_of_nvidia_means_no_gpu(library: Path, tmp_path: Path) -> None:
    machine = probe(no_library(library), tmp_path)
    assert (machine["gpus"], machine["driver"], machine["notes"]) == ([], None, [])


def test_driver_without_library_leaves_gpus_unknown(library: Path, tmp_path: Path) -> None:
    write(tmp_path, "proc/driver/nvidia/version", OPEN_MODULE)
    machine = probe(no_library(library), tmp_path)
    assert machine["gpus"] is None
    assert machine["driver"] == {"value": "570.86.10", "origin": "/proc/driver/nvidia/version"}
    assert "container started without GPUs" in machine["notes"][0]


def test_gpu_without_driver_leaves_gpus_unknown(library: Path, tmp_path: Path) -> None:
    write(tmp_path, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    write(tmp_path, "sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n")
    machine = probe(no_library(library), tmp_path)
    assert machine["gpus"] is None
    assert machine["notes"] == ["there is an NVIDIA GPU, but no NVIDIA driver is installed"]


def test_wsl(library: Path, tmp_path: Path) -> None:
    write(tmp_path, "proc/version", WSL_KERNEL)
    machine = probe(fake_nvml_env(library, RTX_4090, driver="551.78", cuda=12040), tmp_path)
    assert machine["uses_windows_driver"] is True
    assert machine["driver"]["value"] == "551.78"


def test_jetson_gpu_is_known_by_the_board(library: Path, tmp_path: Path) -> None:
    write(tmp_path, "proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    write(tmp_path, "proc/driver/nvidia/version", JETPACK_5_MODULE)
    machine = probe(no_library(library), tmp_path)
    assert machine["is_jetson"] is True
    assert machine["driver"] is None
    [gpu] = machine["gpus"]
    assert (gpu["value"]["name"], gpu["value"]["capability"]) == ("NVIDIA Jetson AGX Orin", "8.7")
    assert gpu["origin"] == "/proc/device-tree/model"


def test_unknown_jetson_board_is_not_a_machine_without_gpu(library: Path, tmp_path: Path) -> None:
    write(tmp_path, "etc/nv_tegra_release", "# R36 (release), REVISION: 4.3\n")
    machine = probe(no_library(library), tmp_path)
    assert machine["is_jetson"] is True
    assert machine["gpus"] is None
    assert "not known" in machine["notes"][-1]


# nvidia-smi


def test_nvidia_smi_answers_where_nvml_does_not(library: Path, tmp_path: Path) -> None:
    smi = write_fake_nvidia_smi(
        tmp_path,
        [
            (
                QUERY,
                0,
                "NVIDIA H100 80GB HBM3, 9.0, 81559, 570.86.10\nNVIDIA H100 80GB HBM3, 9.0, 81559, 570.86.10",
            ),
            (MIG_QUERY, 0, "Enabled\nDisabled"),
            ("", 0, BANNER_570),
        ],
    )
    machine = probe(no_library(library) | smi, tmp_path)
    assert machine["driver"] == {"value": "570.86.10", "origin": "nvidia-smi"}
    assert machine["driver_api"] == {"value": "12.8", "origin": "nvidia-smi"}
    assert [(gpu["value"]["count"], gpu["value"]["mig"]) for gpu in machine["gpus"]] == [
        (1, True),
        (1, False),
    ]
    assert machine["gpus"][0]["value"]["memory_mb"] == 81_559


def test_nvidia_smi_completes_nvml(old_library: Path, tmp_path: Path) -> None:
    smi = write_fake_nvidia_smi(tmp_path, [(QUERY, 0, "X, 7.0, 1, 450.80.02"), ("", 0, BANNER_570)])
    machine = probe(fake_nvml_env(old_library, V100) | smi, tmp_path)
    assert machine["driver"]["origin"] == "NVML"
    assert machine["driver_api"] == {"value": "12.8", "origin": "nvidia-smi"}
    assert machine["gpus"][0]["value"]["name"] == V100.name


def test_failing_nvidia_smi_leaves_gpus_unknown(library: Path, tmp_path: Path) -> None:
    text = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    smi = write_fake_nvidia_smi(tmp_path, [("", 9, text)])
    machine = probe(no_library(library) | smi, tmp_path)
    assert machine["gpus"] is None
    assert machine["notes"] == [f"`nvidia-smi` failed with exit status 9 and says `{text}`"]


def test_nvidia_smi_without_devices_means_no_gpu(library: Path, tmp_path: Path) -> None:
    smi = write_fake_nvidia_smi(tmp_path, [("", 6, "No devices were found")])
    assert probe(no_library(library) | smi, tmp_path)["gpus"] == []


def test_old_nvidia_smi_is_asked_again_without_compute_cap(tmp_path: Path) -> None:
    env = write_fake_nvidia_smi(
        tmp_path,
        [
            (QUERY, 2, 'Field "compute_cap" is not a valid field to query.\n'),
            (OLD_QUERY, 0, "Tesla V100-SXM2-32GB, 32510, 470.182.03\nGeForce Unheard, 8192, 470.182.03"),
            (MIG_QUERY, 2, 'Field "mig.mode.current" is not a valid field to query.'),
            ("", 0, BANNER_470_ON_580),
        ],
    )
    reading = read_nvidia_smi(env)
    assert reading is not None
    found = nvidia_smi_findings(reading, capability_of)
    assert found.driver == Fact(DriverVersion.parse("470.182.03"), "nvidia-smi")
    assert found.driver_api == Fact(CudaVersion(13, 0), "nvidia-smi")
    assert found.gpus == (
        Gpu(
            name="Tesla V100-SXM2-32GB",
            capability=ComputeCapability(7, 0),
            memory_mb=32_510,
            origin="nvidia-smi, compute capability by name",
        ),
    )
    assert found.notes == ("the GPU `GeForce Unheard` is of unknown compute capability and not listed",)


def test_hanging_nvidia_smi_is_given_up(tmp_path: Path) -> None:
    env = write_fake_nvidia_smi(tmp_path, [])
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    reading = read_nvidia_smi(env, timeout_s=0.2)
    assert reading == SmiReading(failure="`nvidia-smi` did not answer within 0.2 s")


def test_unreadable_nvidia_smi_is_a_note(tmp_path: Path) -> None:
    env = write_fake_nvidia_smi(tmp_path, [])
    (tmp_path / "nvidia-smi").write_text("#!/no/such/interpreter\n")
    reading = read_nvidia_smi(env)
    assert reading is not None
    assert reading.failure == "`nvidia-smi` does not start: No such file or directory"


def test_no_nvidia_smi(tmp_path: Path) -> None:
    assert read_nvidia_smi({"PATH": str(tmp_path)}) is None
    assert read_nvidia_smi({}) is None


@pytest.mark.parametrize(
    ("banner", "driver", "api"),
    [
        (BANNER_470_ON_580, "580.95.05", "13.0"),
        (BANNER_570, "570.86.10", "12.8"),
        (BANNER_610, "610.43.02", "13.3"),
        (BANNER_WSL, "551.78", "12.4"),
        (BANNER_WSL_BROKEN, "546.80", None),
        (BANNER_JETSON, "540.4.0", None),
        (BANNER_390, "390.157", None),
        ("", None, None),
    ],
)
def test_banners(banner: str, driver: str | None, api: str | None) -> None:
    assert parse_banner(banner) == (driver, api)


def test_fields_without_a_value_are_not_facts() -> None:
    reading = SmiReading(gpus="NVIDIA GB10, 12.1, [N/A], [Unknown Error]\n", banner=BANNER_570)
    found = nvidia_smi_findings(reading, capability_of)
    assert found.gpus == (Gpu(name="NVIDIA GB10", capability=ComputeCapability(12, 1), origin="nvidia-smi"),)
    assert found.driver == Fact(DriverVersion.parse("570.86.10"), "nvidia-smi")


def test_gpus_that_need_a_reset_are_unknown() -> None:
    reading = SmiReading(gpus="[GPU requires reset], [N/A], [N/A], [N/A]\n")
    assert nvidia_smi_findings(reading, capability_of).gpus is None


def test_names_may_hold_commas() -> None:
    [row] = parse_rows("NVIDIA A100, engineering sample, 8.0, 40960, 570.86.10", FIELDS)
    assert row["name"] == "NVIDIA A100, engineering sample"


def test_garbage_from_nvidia_smi_is_unknown_with_a_note() -> None:
    found = nvidia_smi_findings(SmiReading(gpus="<html>proxy error</html>"), capability_of)
    assert found.gpus is None
    assert found.notes


# The host


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        (OPEN_MODULE, "570.86.10"),
        (PROPRIETARY_MODULE, "535.171.04"),
        (OPEN_MODULE.replace("x86_64  570.86.10", "aarch64  540.4.0"), "540.4.0"),
        (JETPACK_5_MODULE, None),
        ("GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0)\n", None),
        ("", None),
    ],
)
def test_driver_file(text: str, driver: str | None) -> None:
    fact = parse_driver_file(text)
    assert (fact and str(fact.value)) == driver


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\n', "Ubuntu 24.04.1 LTS"),
        ("PRETTY_NAME=Alpine\n", "Alpine"),
        ("PRETTY_NAME='Rocky Linux 9.4 (Blue Onyx)'\n", "Rocky Linux 9.4 (Blue Onyx)"),
        ('PRETTY_NAME="A \\"quoted\\" one"\n', 'A "quoted" one'),
        ("ID=ubuntu\n", None),
    ],
)
def test_os_name(text: str, name: str | None) -> None:
    assert parse_os_name(text) == name


@pytest.mark.parametrize(
    ("board", "kernel", "is_jetson"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", "", True),
        ("NVIDIA Orin Nano Developer Kit", "", True),
        ("NVIDIA Jetson AGX Thor Developer Kit", "", True),
        ("", JETSON_KERNEL, True),
        ("Raspberry Pi 5 Model B Rev 1.0", SERVER_KERNEL, False),
        ("", WSL_KERNEL, False),
    ],
)
def test_jetson(board: str, kernel: str, is_jetson: bool) -> None:
    assert is_jetson_board(board, kernel) is is_jetson


def test_wsl_kernels() -> None:
    assert is_wsl_kernel(WSL_KERNEL)
    assert is_wsl_kernel("Linux version 4.4.0-19041-Microsoft")
    assert not is_wsl_kernel(SERVER_KERNEL)


def test_platforms() -> None:
    for platform in Platform:
        assert parse_platform(platform.sys_platform, platform.machine) is platform
    assert parse_platform("linux", "ppc64le") is None
    assert parse_platform("darwin", "x86_64") is None


def test_host_without_files_still_has_a_name(tmp_path: Path) -> None:
    assert read_os(HostFiles(tmp_path)).origin == "platform"
    assert not has_nvidia_device(HostFiles(tmp_path))


def test_audio_of_a_gpu_is_no_gpu(tmp_path: Path) -> None:
    write(tmp_path, "sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n")
    write(tmp_path, "sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n")
    assert not has_nvidia_device(HostFiles(tmp_path))


def test_glibc_is_a_fact_or_nothing() -> None:
    fact = read_glibc()
    assert fact is None or fact.origin == "confstr"


# CUDA_VISIBLE_DEVICES


def gpus(*names: str) -> tuple[Gpu, ...]:
    return tuple(Gpu(name=name, capability=ComputeCapability(8, 9)) for name in names)


@pytest.mark.parametrize(
    ("env", "names", "says"),
    [
        ({}, "AA", None),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, "AA", None),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "", None),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "AA", "hides 1 of 2 GPUs from programs (1: A)"),
        ({"CUDA_VISIBLE_DEVICES": "1, 7, 0"}, "AAA", "hides 2 of 3 GPUs from programs (0: A, 2: A)"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "AA", "hides all GPUs"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "AA", "hides all GPUs"),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "AA", "hides all GPUs"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}, "AA", "hides the GPUs that it does not name"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "AB", "which ones depends on CUDA's own order"),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "AB", "(1: B)"),
    ],
)
def test_visibility(env: dict[str, str], names: str, says: str | None) -> None:
    notes = visibility_notes(env, gpus(*names))
    if says is None:
        assert notes == ()
    else:
        [note] = notes
        assert says in note


# Laws

FRAGMENTS = [
    OPEN_MODULE,
    BANNER_570,
    BANNER_610,
    "PRETTY_NAME=",
    '"',
    "NVRM version: Kernel Module  ",
    "570.",
]
FRAGMENTS += [", ", "[N/A]", "9.0", "99999999999999999999", "\n", "\0", "٣", "NVIDIA", " Jetson", "Enabled"]
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=8).map("".join)


@given(text=texts, other=texts, fields=st.sampled_from([FIELDS, OLD_FIELDS]))
def test_parsers_never_raise(text: str, other: str, fields: tuple[str, ...]) -> None:
    parse_driver_file(text)
    parse_os_name(text)
    parse_banner(text)
    is_wsl_kernel(text)
    is_jetson_board(parse_board(text), other)
    reading = SmiReading(gpus=text, fields=fields, banner=other, mig=other)
    found = nvidia_smi_findings(reading, capability_of)
    assert found.gpus is None or found.gpus or re.search("no devices", text, re.IGNORECASE)


devices = st.builds(
    NvmlDevice,
    name=st.none() | st.text(max_size=8) | st.sampled_from(list(KNOWN_PRODUCTS)),
    capability=st.none() | st.tuples(st.integers(0, 20), st.integers(0, 9)),
    memory=st.none() | st.integers(0, 2**40),
    mig=st.booleans(),
)
readings = st.builds(
    NvmlReading,
    state=st.sampled_from(NvmlState),
    error=texts,
    driver=st.none() | texts,
    driver_api=st.none() | st.integers(-(2**31), 2**31 - 1),
    devices=st.none() | st.lists(devices, max_size=4).map(tuple),
)


@given(readings)
def test_nvml_answers_never_raise_and_never_hide_that_there_are_gpus(reading: NvmlReading) -> None:
    found = nvml_findings(reading, capability_of)
    if found.gpus == ():
        assert reading.devices == ()
    assert all(gpu.capability.major > 0 for gpu in found.gpus or ())


@given(text=texts, count=st.integers(0, 4))
def test_any_visibility_is_at_most_one_note(text: str, count: int) -> None:
    assert len(visibility_notes({"CUDA_VISIBLE_DEVICES": text}, gpus(*"A" * count))) <= 1


@given(st.lists(st.sampled_from("ABC"), max_size=9))
def test_grouping_keeps_the_number_of_gpus(names: list[str]) -> None:
    kinds = grouped(gpus(*names))
    assert sum(gpu.count for gpu in kinds) == len(names)
    assert len({gpu.name for gpu in kinds}) == len(kinds)


def test_first_answer_wins() -> None:
    first = Findings(driver=Fact(DriverVersion.parse("570.86.10"), "NVML"), gpus=())
    second = Findings(
        driver=Fact(DriverVersion.parse("535.171.04"), "nvidia-smi"),
        driver_api=Fact(CudaVersion(12, 2), "nvidia-smi"),
        gpus=gpus("A"),
    )
    both = first.or_else(second)
    assert (both.driver, both.driver_api, both.gpus) == (first.driver, second.driver_api, ())
