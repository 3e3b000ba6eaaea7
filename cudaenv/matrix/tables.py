"""The rows of the matrix, typed. What each column means stands at the head of its file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from enum import StrEnum

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.model.machine import Platform
from cudaenv.model.versions import (
    ComputeCapability,
    CudaVersion,
    DriverVersion,
    GlibcVersion,
    PythonVersion,
)

DEFAULT_INDEX = ""
"""The index of rows that name none: the installer's default, PyPI."""


class Basis(StrEnum):
    """How a row is known: read from an artefact, stated by a primary page, or concluded (with a note)."""

    MEASURED = "measured"
    DOCUMENTED = "documented"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: a page or an artefact, what exactly it says, and the day it was read."""

    name: str
    where: str
    says: str
    read: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every row of every table has."""

    source: str
    basis: Basis
    note: str = ""

    @property
    def table(self) -> str:
        """The file it stands in, without `.yaml`."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """What tells it from the other rows of its table."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """The sha256 of its content, for a lock to notice that it changed."""
        text = "\n".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))
        return hashlib.sha256(f"{self.table}\n{text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaLine(Row):
    """A CUDA release line and the drivers that run it (cuda.yaml)."""

    cuda: CudaVersion
    linux_own: DriverVersion
    linux_minor: DriverVersion | None = None
    windows_minor: DriverVersion | None = None
    windows_own: DriverVersion | None = None

    @property
    def table(self) -> str:
        """The file it stands in."""
        return "cuda"

    @property
    def key(self) -> str:
        """Its release line."""
        return str(self.cuda)

    def own_driver(self, *, windows: bool) -> DriverVersion | None:
        """The driver that came with the line's first release; None where none came (Windows, CUDA 13)."""
        return self.windows_own if windows else self.linux_own

    def minor_driver(self, *, windows: bool) -> DriverVersion | None:
        """The oldest driver by minor-version compatibility; None before CUDA 11, which has none."""
        return self.windows_minor if windows else self.linux_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolkit(Row):
    """A toolkit release line: what its compiler accepts and writes (toolkits.yaml)."""

    cuda: CudaVersion
    ptx_isa: str
    sms: tuple[ComputeCapability, ...]

    @property
    def table(self) -> str:
        """The file it stands in."""
        return "toolkits"

    @property
    def key(self) -> str:
        """Its release line."""
        return str(self.cuda)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture(Row):
    """An SM architecture and the toolkits that compile for it (architectures.yaml)."""

    sm: ComputeCapability
    family: str
    first: CudaVersion
    last: CudaVersion | None = None
    tegra: bool = False

    @property
    def table(self) -> str:
        """The file it stands in."""
        return "architectures"

    @property
    def key(self) -> str:
        """Its number."""
        return str(self.sm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Row):
    """A package index beside the default one (indexes.yaml)."""

    index: str
    url: str
    also: str = ""

    @property
    def table(self) -> str:
        """The file it stands in."""
        return "indexes"

    @property
    def key(self) -> str:
        """Its name."""
        return self.index


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchBuild(Row):
    """One build of torch (packages/torch.yaml)."""

    version: Version
    variant: str
    platform: Platform
    pythons: tuple[PythonVersion, ...]
    index: str = DEFAULT_INDEX
    cuda: CudaVersion | None = None
    sms: tuple[ComputeCapability, ...] = ()
    ptx: tuple[ComputeCapability, ...] = ()
    glibc: GlibcVersion | None = None
    macos: str = ""
    published: str = ""

    @property
    def table(self) -> str:
        """The file it stands in."""
        return "packages/torch"

    @property
    def key(self) -> str:
        """Its release, variant and platform."""
        return f"{self.version} {self.variant} {self.platform}"

    @property
    def label(self) -> str:
        """The version and variant as people write them, whichever index carries it."""
        return f"{self.version}+{self.variant}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion(Row):
    """A release of a package that goes with torch (packages/torchvision.yaml and others)."""

    package: str
    version: Version
    torch: SpecifierSet
    platforms: tuple[Platform, ...]
    pythons: tuple[PythonVersion, ...]
    released_with: Version | None = None
    published: str = ""

    @property
    def table(self) -> str:
        """The file it stands in."""
        return f"packages/{self.package}"

    @property
    def key(self) -> str:
        """Its version."""
        return str(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow(Row):
    """Why an environment exists and what it therefore needs (targets.yaml)."""

    target: str
    title: str
    packages: tuple[str, ...]
    components: tuple[str, ...]
    providers: tuple[str, ...]
    why: str

    @property
    def table(self) -> str:
        """The file it stands in."""
        return "targets"

    @property
    def key(self) -> str:
        """Its name."""
        return self.target
