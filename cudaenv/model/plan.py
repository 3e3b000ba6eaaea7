"""The plan: what was decided, by which reasons, and what it rests on. Pure data and its JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from packaging.version import Version

from cudaenv.model.machine import Platform
from cudaenv.model.versions import (
    ComputeCapability,
    CudaVersion,
    DriverVersion,
    GlibcVersion,
    PythonVersion,
)

SCHEMA = 1


class Level(StrEnum):
    """How a driver runs a CUDA release line.

    `direct`: its own CUDA is at least the line. `minor`: by minor-version compatibility, which
    covers machine code in the binary and no PTX
    (https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html).
    """

    DIRECT = "direct"
    MINOR = "minor"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: the rule that spoke, its sentence, and the row of the matrix or the statement it rests on."""

    rule: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Alternative:
    """Something better that was rejected, and the reason."""

    what: str
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One question that the plan answers."""

    question: str
    answer: str
    because: tuple[Reason, ...]
    instead_of: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Remark:
    """A warning: `name` for programs, `text` for people, `source` for whoever doubts it."""

    name: str
    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPackage:
    """A package whose version and origin the plan fixes.

    `version` has the local label where the index gives one. `index` is an index of the matrix,
    empty for the default one; `index_url` is its canonical URL. `cuda_major` is the CUDA the build
    must be made for; None where the package is bound to none.
    """

    name: str
    version: Version
    variant: str
    index: str
    index_url: str
    cuda_major: int | None = None
    extras: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """The exact PEP 508 requirement."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.name}{extras}=={self.version}"

    @property
    def index_name(self) -> str:
        """The name by which uv knows its index, and its credentials `UV_INDEX_<NAME>_USERNAME`."""
        return index_name(self.index, self.variant)


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the four layers of CUDA: who supplies it, in which version, and the command that shows it."""

    supplier: str
    version: str
    show: str


@dataclass(frozen=True, slots=True)
class DriverNeed:
    """The oldest driver an environment runs on, and how the planned machines' drivers run it."""

    linux: DriverVersion | None
    windows: DriverVersion | None
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One environment of a plan. `rest` are the requirements that the index resolves freely."""

    name: str
    platform: Platform
    machines: tuple[str, ...]
    target: str
    provider: str
    python: PythonVersion
    cuda: CudaVersion | None
    variant: str
    packages: tuple[PlannedPackage, ...]
    rest: tuple[str, ...]
    layers: tuple[tuple[str, Layer | None], ...]
    driver_required: DriverNeed | None
    sms: tuple[ComputeCapability, ...]
    ptx: tuple[ComputeCapability, ...]
    glibc: GlibcVersion | None
    glibc_target: GlibcVersion | None
    macos: str
    base_image: str
    rows: tuple[tuple[str, str], ...]

    @property
    def torch(self) -> PlannedPackage:
        """The torch of it."""
        return next(package for package in self.packages if package.name == "torch")


@dataclass(frozen=True, slots=True)
class Remedy:
    """The smallest change of one statement that makes a plan, and that plan in a line."""

    change: str
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no plan: statements of the user that exclude each other, none of them idle."""

    text: str
    conflict: tuple[str, ...]
    because: tuple[Reason, ...]
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Environments with their reasons, or a refusal with remedies."""

    environments: tuple[Environment, ...] = ()
    decisions: tuple[Decision, ...] = ()
    assumptions: tuple[str, ...] = ()
    warnings: tuple[Remark, ...] = ()
    refusal: Refusal | None = None

    @property
    def indexes(self) -> dict[str, str]:
        """The canonical URLs of the indexes beside the default one, by the names that uv knows them by."""
        return {
            package.index_name: package.index_url
            for environment in self.environments
            for package in environment.packages
            if package.index_url
        }

    def file_name(self, environment: Environment, name: str) -> str:
        """The name of a file of this environment: `pylock.toml`, or `pylock.cu126.toml` among several."""
        return file_name(name, environment.name if len(self.environments) > 1 else "")


def file_name(name: str, environment: str) -> str:
    """The name of a file with an environment's name before its last suffix, or at the end without one.

    No name of an environment leaves it as it is.
    """
    if not environment:
        return name
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{environment}.{suffix}" if dot else f"{name}.{environment}"


def index_name(index: str, variant: str) -> str:
    """The name by which uv knows an index, and its credentials `UV_INDEX_<NAME>_USERNAME`."""
    return f"{index}-{variant}"
