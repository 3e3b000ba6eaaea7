"""The rows of matrix/packages: releases and builds of packages with native CUDA code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.matrix.tables import ANY, DEFAULT_INDEX, Row
from cudaenv.model.machine import Platform
from cudaenv.model.versions import (
    ComputeCapability,
    CudaBinding,
    CudaVersion,
    GlibcVersion,
    PythonVersion,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBuild(Row):
    """One build of torch (packages/torch.yaml); `cuda` follows from the variant and is no column."""

    TABLE: ClassVar[str] = "packages/torch"
    KEY: ClassVar[tuple[str, ...]] = ("version", "variant", "platform")
    ORDER: ClassVar[tuple[str, ...]] = ("version", "platform", "variant")

    version: Version
    variant: str
    platform: Platform
    index: str = DEFAULT_INDEX
    cuda: CudaVersion | None = None
    pythons: tuple[PythonVersion, ...]
    sms: tuple[ComputeCapability, ...] = ()
    ptx: tuple[ComputeCapability, ...] = ()
    glibc: GlibcVersion | None = None
    macos: str = ""
    cudnn: str = ""
    nccl: str = ""
    triton: str = ""
    cxx: str = ""
    cxx11_abi: str = ""
    published: str = ""

    @property
    def label(self) -> str:
        """The version and variant as people write them, whichever index carries it."""
        return f"{self.version}+{self.variant}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Row):
    """A release of another package, as one index carries it (packages/xformers.yaml and others).

    `torch` is its requirement on torch, empty if it states none. `released_with`: the torch release that it
    is part of, so that its builds have the variants of that release and lie where they lie; `built_with`: the
    one its code was compiled with, for packages whose rows state place and variant themselves.
    `abi`: `0` or `1`, the ABI of `std::string` that it was compiled for, where wheels differ in it alone.
    `cuda`: the release lines (`12.8`) or majors (`12`) that its compiled code is linked to; `extras`: the
    CUDA that an extra installs, by name; `pins`: the exact versions of `nvidia-*` wheels that these extras
    bring; `needs`: its requirements on other packages of the matrix. `sms`, `ptx`: as for torch; `exact`:
    capabilities with code for exactly these (`sm_90a`).
    """

    KEY: ClassVar[tuple[str, ...]] = ("version", "index", "variant")

    package: str
    version: Version
    index: str = DEFAULT_INDEX
    variant: str = ""
    files: tuple[str, ...] = ("wheel",)
    torch: SpecifierSet = ANY
    released_with: Version | None = None
    built_with: Version | None = None
    abi: str = ""
    cuda: tuple[CudaBinding, ...] = ()
    extras: tuple[tuple[str, str], ...] = ()
    pins: tuple[Requirement, ...] = ()
    needs: tuple[Requirement, ...] = ()
    platforms: tuple[Platform, ...] = ()
    pythons: tuple[PythonVersion, ...] = ()
    glibc: GlibcVersion | None = None
    sms: tuple[ComputeCapability, ...] = ()
    exact: tuple[ComputeCapability, ...] = ()
    ptx: tuple[ComputeCapability, ...] = ()
    published: str = ""

    @property
    def table(self) -> str:
        """The file it stands in."""
        return f"packages/{self.package}"

    @classmethod
    def identity(cls, cells: Mapping[str, str]) -> tuple[str, ...]:
        """Its version and place; where wheels are listed per torch release, that release and the ABI too."""
        own = super(Release, cls).identity(cells)
        listed = (cells.get("torch", ""), *filter(None, [cells.get("abi")]))
        return (*own, *listed) if cells.get("index") else own

    @property
    def key(self) -> str:
        """Its version and place; where wheels are listed per torch release, that release and the ABI too."""
        listed = (self.torch, self.abi and f"abi{self.abi}") if self.index else ()
        named = (self.version, self.index, self.variant, *listed)
        return " ".join(text for part in named for text in [str(part)] if text)

    @property
    def project(self) -> str:
        """Its name on its index: on PyPI some packages are a project for each CUDA (cupy-cuda12x)."""
        is_split = self.index == DEFAULT_INDEX and bool(self.variant)
        return f"{self.package}-{self.variant}" if is_split else self.package

    @property
    def cuda_majors(self) -> frozenset[int]:
        """The CUDA majors that its compiled code is linked to; empty if it is to none, or nobody looked."""
        return frozenset(binding.major for binding in self.cuda)

    @property
    def cuda_lines(self) -> tuple[CudaVersion, ...]:
        """The release lines that its compiled code is linked to, where more than their majors is known."""
        return tuple(
            CudaVersion(binding.major, binding.minor) for binding in self.cuda if binding.minor is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBuild(Row):
    """What building a package from source needs, or where it fails (the `builds` of a file of packages/).

    It holds for releases in `versions`, beside a torch in `torch`, a toolkit in `cuda` and a Python in
    `python` (all, if empty). `broken`: nothing can be built where it holds. `late`: it is about wheels, which
    compile their code when they are first imported. `requires`: what must be installed before (no build
    isolation); `env`: variables to set, with `{sms}`, `{archs}`, `{jobs}` and
    `{cuda_home}` in their values; `git`: what pip installs where PyPI has no source distribution, with
    `{version}` where releases are tags; `minutes`: how long it was measured to take on two cores for one SM
    architecture; `oldest`: the oldest compute capability that its code is for; `breaks`: what fails;
    `remedy`: what helps.
    """

    KEY: ClassVar[tuple[str, ...]] = ("topic",)

    package: str
    topic: str
    versions: SpecifierSet = ANY
    torch: SpecifierSet = ANY
    cuda: SpecifierSet = ANY
    python: SpecifierSet = ANY
    broken: bool = False
    late: bool = False
    components: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    git: str = ""
    minutes: str = ""
    oldest: ComputeCapability | None = None
    breaks: str = ""
    remedy: str = ""

    @property
    def table(self) -> str:
        """The file it stands in."""
        return f"packages/{self.package}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Module(Row):
    """An import package that several packages install, so that one alone can be there (modules.yaml)."""

    TABLE: ClassVar[str] = "modules"
    KEY: ClassVar[tuple[str, ...]] = ("module",)

    module: str
    packages: tuple[str, ...]
