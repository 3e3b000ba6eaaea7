"""The rows of tables about conda, container images and operating systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.matrix.tables import ANY, Row
from cudaenv.model.machine import Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion, GlibcVersion, PythonVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaBuild(Row):
    """Builds of a package in a conda channel (conda-builds.yaml): one version, variant, platform, torch.

    `torch`: the torch they are built against, empty for torch itself. `pythons`: those with a known build.
    `build`: a pattern for their build strings, to be used in a match spec. `sms`, `ptx`: as for torch's
    wheels, empty if unknown. `cudnn` (at least), `glibc` and `needs_cuda` (the version of `__cuda`: `>=12`,
    `*` for any) are what the newest of them asks for.
    """

    TABLE: ClassVar[str] = "conda-builds"
    KEY: ClassVar[tuple[str, ...]] = ("channel", "package", "version", "variant", "platform", "torch")
    CURATED: ClassVar[tuple[str, ...]] = ("sms", "ptx", "note")

    channel: str
    package: str
    version: Version
    variant: str
    platform: Platform
    torch: SpecifierSet = ANY
    pythons: tuple[PythonVersion, ...] = ()
    build: str = ""
    sms: tuple[ComputeCapability, ...] = ()
    ptx: tuple[ComputeCapability, ...] = ()
    cudnn: str = ""
    glibc: GlibcVersion | None = None
    needs_cuda: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaEra(Row):
    """A way in which conda packages choose CUDA (conda-eras.yaml).

    `channels`: in the order of their priority. `selector`: the match spec that chooses a release line, with
    `{cuda}` (`12.8`) or `{release}` (`12.8.1`) in it. `cuda`, `torch`: what can be chosen. `toolkit`: what
    has the compiler and the headers for extensions; none if there is no compiler.
    """

    TABLE: ClassVar[str] = "conda-eras"
    KEY: ClassVar[tuple[str, ...]] = ("era",)

    era: str
    channels: tuple[str, ...]
    selector: str
    cuda: SpecifierSet
    torch: SpecifierSet = ANY
    toolkit: tuple[str, ...] = ()
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin(Row):
    """Versions of a package that work beside another, where no metadata say so (pins.yaml).

    It holds for releases of `beside` in `releases` that come from one of `channels` (conda channels, or
    `pypi` for wheels; from anywhere, if empty); `versions` are those to ask for.
    """

    TABLE: ClassVar[str] = "pins"
    KEY: ClassVar[tuple[str, ...]] = ("package", "beside", "releases")

    package: str
    versions: SpecifierSet
    beside: str
    releases: SpecifierSet = ANY
    channels: tuple[str, ...] = ()
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLibraries(Row):
    """Packages of Debian and Ubuntu with libraries that a package's wheels load (system-libraries.yaml)."""

    TABLE: ClassVar[str] = "system-libraries"
    KEY: ClassVar[tuple[str, ...]] = ("package",)

    package: str
    apt: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Row):
    """A program that images install, by the sha256 of its wheel for a platform (tools.yaml)."""

    TABLE: ClassVar[str] = "tools"
    KEY: ClassVar[tuple[str, ...]] = ("tool", "platform")

    tool: str
    version: Version
    platform: Platform
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Row):
    """Tags of a container image (images.yaml): the newest point release of a line, on one operating system.

    A tag is `{release}-{flavour}-{os}` for nvidia/cuda, `{release}` for an operating system's own image.
    `require_cuda`: the container runtime refuses drivers whose API version is older (NVIDIA_REQUIRE_CUDA).
    """

    TABLE: ClassVar[str] = "images"
    KEY: ClassVar[tuple[str, ...]] = ("image", "release", "os")

    image: str
    release: str
    os: str
    cuda: CudaVersion | None = None
    flavours: tuple[str, ...] = ()
    require_cuda: CudaVersion | None = None
    platforms: tuple[Platform, ...] = ()
    python: PythonVersion | None = None

    @classmethod
    def identity(cls, cells: Mapping[str, str]) -> tuple[str, ...]:
        """Its line and system: the next point release of a line takes the row of the last one."""
        line = cells.get("cuda")
        return (cells["image"], line, cells["os"]) if line else super(Image, cls).identity(cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class System(Row):
    """An operating system release that images are made of (systems.yaml).

    `gcc`: the major version of the compiler that its package `gcc` installs; it stays the same for its life.
    """

    TABLE: ClassVar[str] = "systems"
    KEY: ClassVar[tuple[str, ...]] = ("os",)

    os: str
    title: str
    glibc: GlibcVersion
    gcc: str
