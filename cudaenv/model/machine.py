"""Machines: what an environment must run on, and where each fact about them comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion, GlibcVersion

T = TypeVar("T")


class Platform(StrEnum):
    """A kind of machine, by conda's subdir names; Python's are beside them."""

    LINUX_64 = "linux-64"
    LINUX_AARCH64 = "linux-aarch64"
    WIN_64 = "win-64"
    OSX_ARM64 = "osx-arm64"

    @property
    def sys_platform(self) -> str:
        """The value of the environment marker `sys_platform`."""
        return {"linux": "linux", "win": "win32", "osx": "darwin"}[self.value.split("-")[0]]

    @property
    def system(self) -> str:
        """The value of the environment marker `platform_system`."""
        return {"linux": "Linux", "win": "Windows", "osx": "Darwin"}[self.value.split("-")[0]]

    @property
    def machine(self) -> str:
        """The value of the environment marker `platform_machine`."""
        return {
            "linux-64": "x86_64",
            "linux-aarch64": "aarch64",
            "win-64": "AMD64",
            "osx-arm64": "arm64",
        }[self.value]

    @property
    def is_linux(self) -> bool:
        """Whether glibc and the Linux driver numbers apply."""
        return self.sys_platform == "linux"


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """A value and who said so: `NVML`, `nvidia-smi`, `--driver`, `cudaenv.toml: machine[0].driver`."""

    value: T
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, or several of one kind. `name` is as the user or the driver spells it.

    Who gives only a compute capability has that as the name. `platform` is the only one whose machines
    have such a GPU, where there is one (a Grace host, a Jetson board).
    """

    name: str
    capability: ComputeCapability
    memory_mb: int | None = None
    count: int = 1
    mig: bool = False
    origin: str = ""
    platform: Platform | None = None

    @property
    def label(self) -> str:
        """The name with the compute capability, for a sentence."""
        if self.name == str(self.capability):
            return f"a GPU of compute capability {self.capability}"
        return f"{self.name} ({self.capability})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is known of a machine, or of `count` equal ones. None means that nobody could tell.

    `gpus` is None where nobody could tell and empty where there is none; `uses_windows_driver`
    holds for Windows and for WSL, where the Windows driver serves Linux programs;
    `is_jetson` marks the boards whose software stack is not the server one (SBSA).
    `toolkit` is the release line of a CUDA toolkit that is installed there, `gcc` the major version of
    its compiler.
    `notes` are remarks for people (MIG, CUDA_VISIBLE_DEVICES, a driver that does not answer).
    """

    name: str
    platform: Fact[Platform] | None = None
    gpus: tuple[Gpu, ...] | None = None
    driver: Fact[DriverVersion] | None = None
    driver_api: Fact[CudaVersion] | None = None
    glibc: Fact[GlibcVersion] | None = None
    os: Fact[str] | None = None
    toolkit: Fact[CudaVersion] | None = None
    gcc: Fact[int] | None = None
    uses_windows_driver: bool = False
    is_jetson: bool = False
    count: int = 1
    notes: tuple[str, ...] = ()

    @property
    def has_no_gpu(self) -> bool:
        """Whether it is known that there is no GPU."""
        return self.gpus is not None and not self.gpus

    def kind(self) -> tuple[object, ...]:
        """What the planner distinguishes machines by; equal kinds are planned once."""
        return (
            self.platform and self.platform.value,
            None if self.gpus is None else frozenset((gpu.name, gpu.capability) for gpu in self.gpus),
            self.driver and self.driver.value,
            self.driver_api and self.driver_api.value,
            self.glibc and self.glibc.value,
            self.toolkit and self.toolkit.value,
            self.gcc and self.gcc.value,
            self.uses_windows_driver,
            self.is_jetson,
        )
