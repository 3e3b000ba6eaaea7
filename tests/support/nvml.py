"""A fake NVML library, compiled from `fake_nvml.c`, and a fake `nvidia-smi`, for machines without a GPU."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")

# NVML's error codes, by the names that the tests use.
NOT_SUPPORTED = 3
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
MISMATCH = 18

# Product names that the fake driver may leave to be looked up.
KNOWN_PRODUCTS = {"Tesla V100-SXM2-32GB": "7.0", "NVIDIA Jetson AGX Orin": "8.7"}

PROBE = """
import json, os, sys
from pathlib import Path
from cudaenv.model.versions import ComputeCapability
from cudaenv.render.machine_text import machine_json
from cudaenv.system.host import HostFiles
from cudaenv.system.probe import detect

known = json.loads(sys.argv[2])
def capability_of(name):
    return ComputeCapability.parse(known[name]) if name in known else None
print(json.dumps(machine_json(detect(os.environ, capability_of, HostFiles(Path(sys.argv[1]))))))
"""


@dataclass(frozen=True)
class FakeGpu:
    """A GPU of the fake library; `mig` is None where the GPU does not have that mode."""

    name: str
    capability: tuple[int, int]
    memory_mb: int = 24_564
    mig: bool | None = None


def build_fake_nvml(folder: Path, *, old_driver: bool = False) -> Path:
    """Compile the fake library into `folder` and return it; skip the test where that cannot be done."""
    if sys.platform != "linux":
        pytest.skip("the fake NVML library is for Linux's loader")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc or gcc) to build the fake NVML library with")
    options = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", *(["-DOLD_DRIVER"] if old_driver else [])]
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, *options, "-o", str(library), str(SOURCE)], check=True)
    return folder


def fake_nvml_env(
    folder: Path,
    *gpus: FakeGpu,
    driver: str = "570.86.10",
    cuda: int = 12080,
    errors: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """Return environment variables under which a *new* process meets the library in `folder`.

    `errors` maps a function, or `function#index` for one GPU, to the code that it returns; `nvmlInit`
    is the start. PATH is empty: no other machine's `nvidia-smi` gets in.
    """
    mig = {None: -1, False: 0, True: 1}
    rows = ((gpu.name, *gpu.capability, gpu.memory_mb, mig[gpu.mig]) for gpu in gpus)
    return {
        "PATH": "",
        "LD_LIBRARY_PATH": str(folder),
        "FAKE_NVML_DRIVER": driver,
        "FAKE_NVML_CUDA": str(cuda),
        "FAKE_NVML_GPUS": "\n".join("\t".join(map(str, row)) for row in rows),
        "FAKE_NVML_ERRORS": " ".join(f"{function}={code}" for function, code in (errors or {}).items()),
    }


def probe(env: Mapping[str, str], root: Path) -> dict[str, Any]:
    """Detect the machine in a new process, with the host's files under `root`; return `machine_json`.

    Any warning is an error there, so that none reaches a user.
    """
    command = [sys.executable, "-W", "error", "-c", PROBE, str(root), json.dumps(KNOWN_PRODUCTS)]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def write_fake_nvidia_smi(folder: Path, answers: Sequence[tuple[str, int, str]]) -> dict[str, str]:
    """Write a program `nvidia-smi` into `folder` and return the environment that finds only it.

    `answers` are (start of the arguments, exit status, output); the first that fits is given.
    """
    cases = [
        f"{shlex.quote(start)}*) printf '%s\\n' {shlex.quote(text)}; exit {status};;"
        for start, status, text in answers
    ]
    program = folder / "nvidia-smi"
    program.write_text("\n".join(["#!/bin/sh", 'case "$*" in', *cases, "esac", "exit 1", ""]))
    program.chmod(0o755)
    return {"PATH": str(folder)}
