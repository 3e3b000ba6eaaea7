"""This machine, detected: which source answers first, and what is worth a remark."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from cudaenv.model.machine import Fact, Gpu, Machine
from cudaenv.model.versions import CudaVersion
from cudaenv.system.findings import CapabilityOf, Findings, grouped
from cudaenv.system.host import (
    BOARD_FILE,
    DRIVER_FILE,
    HOST,
    KERNEL_FILE,
    TEGRA_FILE,
    WSL_DEVICE,
    HostFiles,
    has_nvidia_device,
    is_jetson_board,
    is_wsl_kernel,
    parse_board,
    parse_driver_file,
    read_glibc,
    read_os,
    read_platform,
)
from cudaenv.system.nvidia_smi import nvidia_smi_findings, read_nvidia_smi
from cudaenv.system.nvml import NvmlState, nvml_findings, read_nvml
from cudaenv.system.toolkits import FoundToolkit, find_compiler, find_modules, find_toolkits

HOST_COMPILER = "g++"
"""The compiler that nvcc calls where nobody names another."""


def detect(env: Mapping[str, str], capability_of: CapabilityOf, files: HostFiles = HOST) -> Machine:
    """Return what this machine tells about itself, each fact with its origin. Nothing is raised.

    `env` are the environment variables; `capability_of` looks up a product name, for drivers that
    do not tell the compute capability. No GPU is a normal answer; a driver that is there and does
    not answer leaves `gpus` unknown, with a note.
    """
    kernel = files.text(KERNEL_FILE)
    board = parse_board(files.text(BOARD_FILE))
    is_jetson = files.path(TEGRA_FILE).exists() or is_jetson_board(board, kernel)
    found = _nvidia_findings(env, capability_of, files)
    if is_jetson and not found.gpus:
        found = _with_board_gpu(found, board, capability_of)
    toolkits, gcc = find_toolkits(env, files), find_compiler(HOST_COMPILER, env)
    return Machine(
        name="this machine",
        platform=read_platform(),
        gpus=None if found.gpus is None else grouped(found.gpus),
        driver=found.driver,
        driver_api=found.driver_api,
        glibc=read_glibc(),
        os=read_os(files),
        toolkit=_toolkit(toolkits),
        gcc=Fact(gcc.major, f"{gcc.program} {gcc.version}") if gcc else None,
        uses_windows_driver=sys.platform == "win32"
        or is_wsl_kernel(kernel)
        or files.path(WSL_DEVICE).exists(),
        is_jetson=is_jetson,
        notes=(
            *found.notes,
            *mig_notes(found.gpus or ()),
            *visibility_notes(env, found.gpus or ()),
            *toolkit_notes(toolkits, find_modules(env)),
        ),
    )


def _toolkit(found: Sequence[FoundToolkit]) -> Fact[CudaVersion] | None:
    """The toolkit that programs find first."""
    return Fact(found[0].cuda, _whence(found[0])) if found else None


def _whence(toolkit: FoundToolkit) -> str:
    is_place = str(toolkit.home) == toolkit.origin
    return toolkit.origin if is_place else f"{toolkit.home}, by {toolkit.origin}"


def toolkit_notes(toolkits: Sequence[FoundToolkit], modules: Sequence[str]) -> tuple[str, ...]:
    """Return remarks about toolkits that are here besides the first, or can be loaded as modules."""
    notes = [f"there is a toolkit of CUDA {other.cuda}, too: {_whence(other)}" for other in toolkits[1:]]
    if modules:
        notes.append(f"toolkits that `module load` brings: {' '.join(modules)}")
    return tuple(notes)


def _nvidia_findings(env: Mapping[str, str], capability_of: CapabilityOf, files: HostFiles) -> Findings:
    """Ask NVML, the kernel and `nvidia-smi` in this order; the first answer to each question stays."""
    nvml = read_nvml()
    found = nvml_findings(nvml, capability_of)
    found = found.or_else(Findings(driver=parse_driver_file(files.text(DRIVER_FILE))))
    if found.is_complete:
        return found
    smi = read_nvidia_smi(env)
    if smi is not None:
        return found.or_else(nvidia_smi_findings(smi, capability_of))
    if nvml.state is NvmlState.NO_LIBRARY:
        return _without_driver_library(found, files)
    return found


def _without_driver_library(found: Findings, files: HostFiles) -> Findings:
    if found.driver is not None:
        note = "the NVIDIA driver is loaded, but its library is not here: a container started without GPUs?"
        return replace(found, notes=(note,))
    if has_nvidia_device(files):
        return replace(found, notes=("there is an NVIDIA GPU, but no NVIDIA driver is installed",))
    return replace(found, gpus=())


def _with_board_gpu(found: Findings, board: str, capability_of: CapabilityOf) -> Findings:
    """Take the GPU from the board's name: on Jetson, it is part of the board and often not in NVML."""
    words = board.split()
    # `NVIDIA Jetson AGX Orin Developer Kit` is looked up as that, then without the last words.
    for length in range(len(words), 1, -1):
        name = " ".join(words[:length])
        capability = capability_of(name)
        if capability is not None:
            return replace(found, gpus=(Gpu(name=name, capability=capability, origin=BOARD_FILE),))
    note = f"the GPU of the Jetson board `{board or 'unknown'}` is not known"
    return replace(found, gpus=None, notes=(*found.notes, note))


def mig_notes(gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """Return a remark if GPUs are split into MIG instances."""
    count = sum(gpu.mig for gpu in gpus)
    if not count:
        return ()
    return (
        f"MIG is on for {count} of {len(gpus)} GPUs: a program sees one instance, with part of the memory",
    )


def visibility_notes(env: Mapping[str, str], gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """Return a remark if CUDA_VISIBLE_DEVICES hides some of `gpus` (in the driver's order) from programs.

    CUDA stops at the first entry that it does not know, so `-1` hides everything.
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/ (CUDA environment variables)
    """
    value = env.get("CUDA_VISIBLE_DEVICES")
    if value is None or not gpus:
        return ()
    start = f"`CUDA_VISIBLE_DEVICES={value}` hides"
    entries = [entry.strip() for entry in value.split(",")]
    if entries[0].startswith(("GPU-", "MIG-")):
        return (f"{start} the GPUs that it does not name from programs; all are listed",)
    visible = {
        int(entry)
        for entry in takewhile(
            lambda entry: re.fullmatch(r"[0-9]{1,3}", entry) and int(entry) < len(gpus), entries
        )
    }
    hidden = [index for index in range(len(gpus)) if index not in visible]
    if not hidden:
        return ()
    if len(hidden) == len(gpus):
        return (f"{start} all GPUs from programs; they are listed all the same",)
    # CUDA's own order is fastest first, which is the driver's only where all GPUs are of one kind.
    if len({gpu.name for gpu in gpus}) > 1 and env.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        which = "which ones depends on CUDA's own order"
    else:
        which = ", ".join(f"{index}: {gpus[index].name}" for index in hidden)
    return (f"{start} {len(hidden)} of {len(gpus)} GPUs from programs ({which}); all are listed",)
