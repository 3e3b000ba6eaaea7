"""NVML, the driver's own library: reading it through `pynvml`, and what the answers mean."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any

from cudaenv.model.machine import Gpu
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion
from cudaenv.system.findings import CapabilityOf, Findings, fact_of, gpu_of

ORIGIN = "NVML"


class NvmlState(Enum):
    """How NVML started."""

    READY = "ready"
    NO_LIBRARY = "no library"
    NOT_LOADED = "kernel module not loaded"
    MISMATCH = "library and kernel module differ"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlDevice:
    """NVML's raw answers about one GPU, None where a call failed. `memory` is in bytes."""

    name: str | None = None
    capability: tuple[int, int] | None = None
    memory: int | None = None
    mig: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlReading:
    """NVML's raw answers. `error` says why it did not start; `refused` maps questions to errors."""

    state: NvmlState = NvmlState.READY
    error: str = ""
    driver: str | None = None
    driver_api: int | None = None
    devices: tuple[NvmlDevice, ...] | None = None
    refused: tuple[tuple[str, str], ...] = ()


def read_nvml() -> NvmlReading:
    """Ask NVML everything once. Each question may fail on its own; nothing is raised."""
    with warnings.catch_warnings():
        # A wrapper that calls itself `pynvml` too may be installed; its advice is not for our users.
        warnings.simplefilter("ignore", FutureWarning)
        import pynvml
    states = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NvmlState.NO_LIBRARY,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: NvmlState.NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: NvmlState.MISMATCH,
    }
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return NvmlReading(state=states.get(error.value, NvmlState.FAILED), error=str(error))
    try:
        return _read_started(pynvml)
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read_started(pynvml: ModuleType) -> NvmlReading:
    refused: dict[str, str] = {}

    # `Any`, because pynvml has no types. `what` is "" where not knowing is not worth a word.
    def ask(what: str, question: Callable[..., Any], *arguments: object) -> Any:
        try:
            return question(*arguments)
        # Names that are not UTF-8 have been seen on WSL.
        except (pynvml.NVMLError, UnicodeDecodeError) as error:
            if what:
                refused[what] = str(error)
            return None

    def device(index: int) -> NvmlDevice:
        handle = ask(f"GPU {index}", pynvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            return NvmlDevice()
        memory = ask("", pynvml.nvmlDeviceGetMemoryInfo, handle)
        mig = ask("", pynvml.nvmlDeviceGetMigMode, handle)
        return NvmlDevice(
            name=ask(f"the name of GPU {index}", pynvml.nvmlDeviceGetName, handle),
            capability=ask(
                f"the compute capability of GPU {index}", pynvml.nvmlDeviceGetCudaComputeCapability, handle
            ),
            memory=None if memory is None else memory.total,
            mig=mig is not None and mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
        )

    driver = ask("the driver version", pynvml.nvmlSystemGetDriverVersion)
    driver_api = ask("the driver API version", pynvml.nvmlSystemGetCudaDriverVersion)
    count = ask("the number of GPUs", pynvml.nvmlDeviceGetCount)
    return NvmlReading(
        driver=driver,
        driver_api=driver_api,
        devices=None if count is None else tuple(device(index) for index in range(count)),
        refused=tuple(refused.items()),
    )


def nvml_findings(reading: NvmlReading, capability_of: CapabilityOf) -> Findings:
    """Return what NVML's answers mean; implausible ones count as not given."""
    match reading.state:
        case NvmlState.NO_LIBRARY:
            return Findings()
        case NvmlState.NOT_LOADED:
            return Findings(notes=("the NVIDIA driver is installed, but its kernel module is not loaded",))
        case NvmlState.MISMATCH:
            return Findings(
                notes=("the NVIDIA driver was updated and does not answer until this machine is rebooted",)
            )
        case NvmlState.FAILED:
            return Findings(notes=(f"the NVIDIA driver does not answer: NVML says `{reading.error}`",))
    gpus, notes = _gpus(reading.devices, capability_of)
    return Findings(
        driver=fact_of(DriverVersion.parse, reading.driver, ORIGIN),
        driver_api=fact_of(CudaVersion.from_driver_api, reading.driver_api, ORIGIN),
        gpus=gpus,
        notes=(*(f"NVML does not tell {what} ({error})" for what, error in reading.refused), *notes),
    )


def _gpus(
    devices: tuple[NvmlDevice, ...] | None, capability_of: CapabilityOf
) -> tuple[tuple[Gpu, ...] | None, tuple[str, ...]]:
    if devices is None:
        return None, ()
    found = [_gpu(device, capability_of) for device in devices]
    gpus = tuple(gpu for gpu in found if gpu is not None)
    missing = len(found) - len(gpus)
    notes = (f"NVML does not tell enough of {missing} of {len(found)} GPUs to list them",) if missing else ()
    return (gpus if gpus or not found else None), notes


def _gpu(device: NvmlDevice, capability_of: CapabilityOf) -> Gpu | None:
    return gpu_of(
        device.name,
        None if device.capability is None else ComputeCapability(*device.capability),
        memory_mb=device.memory // 2**20 if device.memory else None,
        mig=device.mig,
        origin=ORIGIN,
        capability_of=capability_of,
    )
