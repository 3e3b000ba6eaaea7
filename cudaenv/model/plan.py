"""The plan: what was decided, by which reasons, and what it rests on. Pure data and its JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from packaging.version import Version

from cudaenv.model.images import Shape
from cudaenv.model.machine import Platform
from cudaenv.model.names import file_name, index_name
from cudaenv.model.versions import (
    ComputeCapability,
    CudaVersion,
    DriverVersion,
    GlibcVersion,
    PythonVersion,
)

SCHEMA = 1
DIRECT = "direct"
"""How an index serves that lists nothing: the URL of a package is that of its wheel."""


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


class How(StrEnum):
    """How a package gets into an environment: as a wheel, as a conda package, or built from source."""

    WHEEL = "wheel"
    CONDA = "conda"
    BUILD = "build"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPackage:
    """A package whose version and origin the plan fixes.

    `version` has the local label where the index gives one. `index` is an index of the matrix,
    empty for the default one; `index_url` is its canonical URL. `cuda_major` is the CUDA the build
    must be made for; None where the package is bound to none. A package of a conda `channel` has its
    name there and a pattern for its build string. `git` is what a build from a repository installs.
    `listing` says how the index serves: see the table `indexes`.
    """

    name: str
    version: Version
    variant: str
    index: str
    index_url: str
    cuda_major: int | None = None
    extras: tuple[str, ...] = ()
    how: How = How.WHEEL
    listing: str = ""
    channel: str = ""
    conda_name: str = ""
    build: str = ""
    git: str = ""

    @property
    def requirement(self) -> str:
        """The exact PEP 508 requirement."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        if self.listing == DIRECT and self.index_url:
            return f"{self.name}{extras} @ {self.index_url}"
        if self.git:
            return f"{self.name}{extras} @ {self.git}"
        return f"{self.name}{extras}=={self.version}"

    @property
    def match_spec(self) -> str:
        """What asks conda for it: name, version and a pattern for the build string.

        `=2.7` with a build string means exactly 2.7, so the version always has all its numbers
        (https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/pkg-specs.html).
        """
        name = self.conda_name or self.name
        return f"{name}={self.version}={self.build}" if self.build else f"{name}={self.version}"

    @property
    def index_name(self) -> str:
        """The name by which uv knows its index, and its credentials `UV_INDEX_<NAME>_USERNAME`."""
        return index_name(self.index, self.variant)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCompiler:
    """The compiler of C++ that nvcc calls.

    `newest` is the newest major version that it accepts, `planned` the one that is used; empty where
    nobody can tell. `package` is what brings it.
    """

    kind: str
    newest: str = ""
    planned: str = ""
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedToolkit:
    """The toolkit that an environment compiles with, and who supplies it.

    `requirements` are what pip or conda is asked for; `home` is the value of CUDA_HOME, `sms` the SM
    architectures to compile for. `steps` say how to get it, where no installer of ours brings it.
    """

    provider: str
    cuda: CudaVersion
    components: tuple[str, ...]
    requirements: tuple[str, ...]
    host_compiler: HostCompiler | None
    home: str
    sms: tuple[ComputeCapability, ...]
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A step of installing: packages that one call installs. What builds needs the packages before it.

    `components` are the parts of a toolkit that building needs; none where nothing is compiled with nvcc.
    """

    install: tuple[str, ...]
    builds: bool = False
    components: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    minutes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaPart:
    """What conda installs: channels in the order of their priority, match specs, assumed virtual packages."""

    era: str
    channels: tuple[str, ...]
    specs: tuple[str, ...]
    virtual_packages: tuple[tuple[str, str], ...]


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
    """One environment of a plan. `rest` are the requirements that the index resolves freely.

    `label` names what CUDA is chosen by: a build of torch, or the CUDA itself where nothing needs torch.
    `build_image` and `base_image` are what it is built in and what it runs in as a container, `shape` what
    that container is for; None where there is none. `libraries` are what wheels load there and do not
    bring, as packages of Debian and Ubuntu. `python_tool` is what brings the Python to images that have
    another, as a requirement with its hash; empty where none has.
    """

    name: str
    platform: Platform
    machines: tuple[str, ...]
    label: str
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
    build_image: str = ""
    shape: Shape | None = None
    libraries: tuple[str, ...] = ()
    python_tool: str = ""
    toolkit: PlannedToolkit | None = None
    phases: tuple[Phase, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    conda: CondaPart | None = None
    rows: tuple[tuple[str, str], ...]

    @property
    def torch(self) -> PlannedPackage:
        """The torch of it; StopIteration where nothing needs one."""
        return next(package for package in self.packages if package.name == "torch")

    @property
    def title(self) -> str:
        """What CUDA is chosen by: `torch 2.14.1+cu126`, or `CUDA 13.2` where nothing needs torch."""
        return f"torch {self.label}" if self.has_torch else self.label

    @property
    def has_torch(self) -> bool:
        """Whether torch is in it."""
        return any(package.name == "torch" for package in self.packages)

    @property
    def wheels(self) -> tuple[PlannedPackage, ...]:
        """The packages that pip takes as wheels."""
        return tuple(package for package in self.packages if package.how is How.WHEEL)

    @property
    def built(self) -> tuple[PlannedPackage, ...]:
        """The packages that are built from source."""
        return tuple(package for package in self.packages if package.how is How.BUILD)

    @property
    def asked(self) -> tuple[str, ...]:
        """What a resolver of wheels is asked for: planned wheels, toolkit, what builds need, the rest."""
        toolkit = self.toolkit.requirements if self.toolkit and self.conda is None else ()
        needed = tuple(text for phase in self.phases if phase.builds for text in phase.requires)
        pins = tuple(package.requirement for package in self.wheels)
        return tuple(dict.fromkeys((*pins, *toolkit, *needed, *self.rest)))


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
    def resolved(self) -> tuple[Environment, ...]:
        """The environments in which a resolver of wheels has something to do."""
        return tuple(environment for environment in self.environments if environment.asked)

    @property
    def indexes(self) -> dict[str, str]:
        """The canonical URLs of the indexes beside the default one, by the names that uv knows them by."""
        return {
            package.index_name: package.index_url
            for environment in self.environments
            for package in environment.packages
            if package.index_url and not package.listing
        }

    def file_name(self, environment: Environment, name: str) -> str:
        """The name of a file of this environment: `pylock.toml`, or `pylock.cu126.toml` among several."""
        return file_name(name, self.apart(environment))

    def apart(self, environment: Environment) -> str:
        """What tells an environment from others: its name, or nothing where it is the only one."""
        return environment.name if len(self.environments) > 1 else ""
