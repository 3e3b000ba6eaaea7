"""The rows of the matrix, typed. What each column means stands in its file and in matrix/README.md."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.model.versions import (
    ComputeCapability,
    CudaVersion,
    DriverVersion,
    GlibcVersion,
    PythonVersion,
)

DEFAULT_INDEX = ""
"""The index of rows that name none: the installer's default, PyPI."""

ANY = SpecifierSet()
"""No restriction to certain versions."""

FLAT = "flat"
"""How an index serves single pages of links, each for pip's `--find-links`."""

DIRECT = "direct"
"""How wheels lie somewhere that lists none of them: their URLs follow from what they are."""


def cited_in(note: str) -> tuple[str, ...]:
    """The sources that a note names, by the words `source NAME`."""
    return tuple(re.findall(r"\bsource ([\w.-]*\w)", note))


class Basis(StrEnum):
    """How a row is known: read from an artefact, stated by a primary page, or concluded (with a note)."""

    MEASURED = "measured"
    DOCUMENTED = "documented"
    INFERRED = "inferred"


class SourceKind(StrEnum):
    """What a source is: a page at a URL, or an artefact such as a wheel."""

    URL = "url"
    ARTEFACT = "artefact"


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: a page or an artefact, what exactly it says, and the day it was read."""

    name: str
    kind: SourceKind
    where: str
    says: str
    read: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every row of every table has; `read` is the day it was measured, if not that of its source."""

    source: str
    basis: Basis
    read: str = ""
    note: str = ""

    TABLE: ClassVar[str] = ""
    KEY: ClassVar[tuple[str, ...]] = ()
    ORDER: ClassVar[tuple[str, ...]] = ()
    """The columns that a refreshed table is sorted by, where they are not those of `KEY` in their order."""
    CURATED: ClassVar[tuple[str, ...]] = ("note",)
    """Columns that a person wrote into a measured row; refreshing keeps them."""

    @property
    def table(self) -> str:
        """The file it stands in, without `.yaml`."""
        return self.TABLE

    @property
    def key(self) -> str:
        """What tells it from the other rows of its table."""
        return " ".join(text for column in self.KEY for text in [str(getattr(self, column))] if text)

    @classmethod
    def identity(cls, cells: Mapping[str, str]) -> tuple[str, ...]:
        """The cells, given as texts, that tell a row from the others of its table when measured anew."""
        return tuple(cells.get(column, "") for column in cls.KEY)

    @property
    def digest(self) -> str:
        """The sha256 of its content, for a lock to notice that it changed."""
        text = "\n".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))
        return hashlib.sha256(f"{self.table}\n{text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaLine(Row):
    """A CUDA release line and the drivers that run it (cuda.yaml)."""

    TABLE: ClassVar[str] = "cuda"
    KEY: ClassVar[tuple[str, ...]] = ("cuda",)

    cuda: CudaVersion
    linux_minor: DriverVersion | None = None
    windows_minor: DriverVersion | None = None
    linux_own: DriverVersion
    windows_own: DriverVersion | None = None

    def own_driver(self, *, windows: bool) -> DriverVersion | None:
        """The driver that came with the line's first release; None where none came (Windows, CUDA 13)."""
        return self.windows_own if windows else self.linux_own

    def minor_driver(self, *, windows: bool) -> DriverVersion | None:
        """The oldest driver by minor-version compatibility; None before CUDA 11, which has none."""
        return self.windows_minor if windows else self.linux_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolkit(Row):
    """A toolkit release line: what its compiler accepts and writes, and host compilers (toolkits.yaml).

    `exact` and `family` are capabilities with architecture-specific (`sm_90a`) and family-specific
    (`sm_100f`) targets. `gcc` is the newest major, `clang` oldest and newest major (`-19` without a lower
    bound), `msvc` the range of `_MSC_VER`. `torch_gcc` is the newest GCC that every release of torch lets
    pass in its own check, where that is less.
    """

    TABLE: ClassVar[str] = "toolkits"
    KEY: ClassVar[tuple[str, ...]] = ("cuda",)
    CURATED: ClassVar[tuple[str, ...]] = ("torch_gcc", "note")

    cuda: CudaVersion
    ptx_isa: str
    sms: tuple[ComputeCapability, ...]
    exact: tuple[ComputeCapability, ...] = ()
    family: tuple[ComputeCapability, ...] = ()
    gcc: str = ""
    torch_gcc: str = ""
    clang: str = ""
    msvc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolkitRelease(Row):
    """A release of the `cuda-toolkit` metapackage on PyPI (toolkit-releases.yaml).

    `components`: the version of each extra's own wheel, as its requirement pins it. `loose`: extras whose
    requirement is no exact pin. `skew`: extras that the compiler needs and that this release's `nvcc` extra
    leaves to the resolver, which then takes newer ones that do not fit. `compiles`: its wheels have a whole
    nvcc. `lib`: the directory below the toolkit's root where that nvcc looks for libraries; `lib64` is not
    in the wheels.
    """

    TABLE: ClassVar[str] = "toolkit-releases"
    KEY: ClassVar[tuple[str, ...]] = ("version",)

    version: Version
    cuda: CudaVersion
    compiles: bool = False
    lib: str = ""
    components: tuple[tuple[str, str], ...]
    loose: tuple[str, ...] = ()
    skew: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaWheel(Row):
    """A family of `nvidia-*` wheels on PyPI (nvidia-wheels.yaml), and what the newest contains."""

    TABLE: ClassVar[str] = "nvidia-wheels"
    KEY: ClassVar[tuple[str, ...]] = ("wheel",)

    wheel: str
    major: str
    first: str
    last: str
    prefix: str = ""
    programs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    glibc: GlibcVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture(Row):
    """An SM architecture and the toolkits that compile for it (architectures.yaml)."""

    TABLE: ClassVar[str] = "architectures"
    KEY: ClassVar[tuple[str, ...]] = ("sm",)

    sm: ComputeCapability
    family: str
    first: CudaVersion
    last: CudaVersion | None = None
    tegra: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Row):
    """A package index beside the default one (indexes.yaml).

    `url` is what a lock names: `{variant}` stands for `cu126` and the like, `{torch}` for a release line
    of torch. `files`: how wheels are found: empty for an index with a page a project (PEP 503), `flat` for
    single pages of links, `direct` where nothing lists them and `url` is that of the wheel itself, with
    `{version}`, `{abi}`, `{python}` and `{platform}` in it, too. `repeats`: the torch releases whose build on
    PyPI lies here once more, with its variant as local label.
    """

    TABLE: ClassVar[str] = "indexes"
    KEY: ClassVar[tuple[str, ...]] = ("index",)

    index: str
    url: str
    also: str = ""
    files: str = ""
    repeats: SpecifierSet | None = None

    @property
    def is_flat(self) -> bool:
        """Whether it is single pages of links, and no index with a page a project (PEP 503)."""
        return self.files == FLAT

    @property
    def is_direct(self) -> bool:
        """Whether its URL is that of a wheel."""
        return self.files == DIRECT


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow(Row):
    """Why an environment exists and what it therefore needs (targets.yaml).

    `components` are `runtime` and those of components.yaml; `packages` are always in it, and where there are
    none what the user asks for decides.
    """

    TABLE: ClassVar[str] = "targets"
    KEY: ClassVar[tuple[str, ...]] = ("target",)

    target: str
    title: str
    packages: tuple[str, ...] = ()
    components: tuple[str, ...]
    providers: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Row):
    """A part of CUDA that a target may need, and what brings it (components.yaml).

    `pip`: extras of the `cuda-toolkit` metapackage; `wheels`: projects on PyPI; `conda`: packages of
    conda-forge for CUDA 12 and later; `apt`: packages of Debian and Ubuntu.
    """

    TABLE: ClassVar[str] = "components"
    KEY: ClassVar[tuple[str, ...]] = ("component",)

    component: str
    pip: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CudnnSupport(Row):
    """The oldest compute capability that cuDNN serves from a release on (cudnn.yaml).

    `first`: that release; it holds up to the `first` of the next row for the same CUDA major, `cuda`.
    """

    TABLE: ClassVar[str] = "cudnn"
    KEY: ClassVar[tuple[str, ...]] = ("first", "cuda")

    first: Version
    cuda: int
    oldest: ComputeCapability


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonLine(Row):
    """A Python release line and the month of its end of life (pythons.yaml); lines without a row go on."""

    TABLE: ClassVar[str] = "pythons"
    KEY: ClassVar[tuple[str, ...]] = ("python",)

    python: PythonVersion
    ends: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverBranch(Row):
    """A branch of NVIDIA's data-center driver (driver-branches.yaml).

    `kind`: `production`, `new-feature` or `long-term`, if it is known; `ends`: the month in which NVIDIA ends
    its support; `over`: it has ended, and which month that was is not known.
    """

    TABLE: ClassVar[str] = "driver-branches"
    KEY: ClassVar[tuple[str, ...]] = ("branch",)

    branch: int
    kind: str = ""
    ends: str = ""
    over: bool = False

    def is_over(self, day: str) -> bool:
        """Whether its support has ended on a day (`2026-11-20`)."""
        return self.over or bool(self.ends and self.ends < day[: len("2026-11")])
