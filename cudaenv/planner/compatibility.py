"""What runs on what: drivers and release lines, GPUs and machine code. Facts come from the matrix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import Release
from cudaenv.matrix.tables import CudaLine
from cudaenv.model.machine import Gpu, Machine
from cudaenv.model.plan import Level
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion


def reaches(driver: DriverVersion, floor: DriverVersion) -> bool:
    """Whether a driver is at least a floor. A branch alone (`580`) may be any release of it."""
    if driver.is_branch and driver.branch == floor.branch:
        return True
    return floor <= driver


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """What is known of a machine's driver: its version, or a lower bound from its API version."""

    version: DriverVersion | None
    api: CudaVersion | None
    windows: bool

    @classmethod
    def of(cls, machine: Machine, matrix: Matrix) -> DriverFacts:
        """Take them from a machine; an API version means at least that line's own driver."""
        windows = machine.uses_windows_driver or bool(
            machine.platform and machine.platform.value.sys_platform == "win32"
        )
        api = machine.driver_api.value if machine.driver_api else None
        if machine.driver is not None:
            return cls(machine.driver.value, api, windows)
        known = [line for line in matrix.tables.cuda if api is not None and line.cuda <= api]
        bounds = [own for line in known for own in [line.own_driver(windows=windows)] if own is not None]
        return cls(max(bounds, default=None), api, windows)

    @property
    def is_known(self) -> bool:
        """Whether anything is known of the driver."""
        return self.version is not None or self.api is not None

    def level(self, line: CudaLine) -> Level | None:
        """How this driver runs a release line; None where it does not.

        https://docs.nvidia.com/deploy/cuda-compatibility/ : a driver runs every line up to its own
        CUDA, and from CUDA 11 on newer lines of the same major if it reaches the major's minimum.
        """
        own, minor = line.own_driver(windows=self.windows), line.minor_driver(windows=self.windows)
        if self.api is not None and line.cuda <= self.api:
            return Level.DIRECT
        if self.version is None:
            return None
        if own is not None and reaches(self.version, own):
            return Level.DIRECT
        if minor is not None and reaches(self.version, minor):
            return Level.MINOR
        return None


class Reach(Enum):
    """How code runs on a GPU."""

    SASS = auto()
    PTX = auto()
    UNVERIFIED = auto()


class Coded(Protocol):
    """What has GPU code of one CUDA."""

    @property
    def cuda(self) -> CudaVersion | None:
        """The release line that made it."""

    @property
    def sms(self) -> tuple[ComputeCapability, ...]:
        """The SM architectures of its machine code."""

    @property
    def ptx(self) -> tuple[ComputeCapability, ...]:
        """Those of its PTX."""


@dataclass(frozen=True, slots=True)
class Code:
    """The GPU code that a wheel carries; `cuda` is the release line that made it, if it is known."""

    cuda: CudaVersion | None
    sms: tuple[ComputeCapability, ...]
    ptx: tuple[ComputeCapability, ...]
    exact: tuple[ComputeCapability, ...] = ()

    @classmethod
    def of(cls, build: Coded) -> Code:
        """The code of a build of torch."""
        return cls(build.cuda, build.sms, build.ptx)

    @classmethod
    def of_release(cls, release: Release) -> Code | None:
        """The code of another package's wheel; None where the matrix does not know it."""
        if not (release.sms or release.exact or release.ptx):
            return None
        line = release.cuda_lines[0] if len(release.cuda_lines) == 1 else None
        return cls(line, release.sms, release.ptx if line else (), release.exact)


def sass_for(code: Code, capability: ComputeCapability, matrix: Matrix) -> ComputeCapability | None:
    """The SM architecture whose machine code runs on a GPU, or None.

    Machine code runs on the same major and an equal or higher minor version, except on Tegra boards
    (https://docs.nvidia.com/cuda/ada-compatibility-guide/index.html); what was made for exactly one
    capability (`sm_90a`) runs on that one
    (https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#feature-set-compiler-targets).
    """
    if capability in code.exact:
        return capability
    architecture = matrix.architecture(capability)
    if architecture is not None and architecture.tegra:
        return capability if capability in code.sms else None
    fitting = [sm for sm in code.sms if sm.major == capability.major and sm.minor <= capability.minor]
    usable = [sm for sm in fitting if not _is_tegra(sm, matrix)]
    return max(usable, default=None)


def _is_tegra(sm: ComputeCapability, matrix: Matrix) -> bool:
    architecture = matrix.architecture(sm)
    return architecture is not None and architecture.tegra


def reach(code: Code, gpu: Gpu, driver: DriverFacts, matrix: Matrix) -> Reach | None:
    """How code runs on a GPU with a driver; None where it does not.

    PTX loads only where the driver's own CUDA is at least the toolkit's that made it
    (https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html); and the libraries
    that came with that toolkit (cuBLAS, cuDNN) have no code for GPUs that it did not know. A GPU newer than
    the matrix knows is let through, to be planned with a warning.
    """
    has_code = code.cuda is not None or code.sms or code.exact
    if not has_code or sass_for(code, gpu.capability, matrix) is not None:
        return Reach.SASS
    architecture = matrix.architecture(gpu.capability)
    is_tegra = architecture is not None and architecture.tegra
    if code.cuda is not None and not is_tegra and any(ptx <= gpu.capability for ptx in code.ptx):
        can_load = not driver.is_known or driver.level(matrix.line(code.cuda)) is Level.DIRECT
        is_known = architecture is None or architecture.first <= code.cuda
        if can_load and is_known:
            return Reach.PTX
    return Reach.UNVERIFIED if is_newer_than_matrix(gpu, matrix) else None


def is_newer_than_matrix(gpu: Gpu, matrix: Matrix) -> bool:
    """Whether a GPU's compute capability is beyond all that the matrix knows."""
    return gpu.capability > matrix.newest_architecture
