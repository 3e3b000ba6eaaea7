"""The spec: what the user asks for in `cudaenv.toml`, typed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from packaging.markers import Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from cudaenv.model.machine import Machine, Platform
from cudaenv.model.versions import CudaVersion, PythonVersion

NEWEST_PATCH = 40
"""Patch releases of a Python line that are considered; no line has had more than 25."""


class Provider(StrEnum):
    """Who supplies CUDA: pip wheels, conda packages, a system toolkit; or the planner's choice."""

    AUTO = "auto"
    PIP = "pip"
    CONDA = "conda"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class PythonRequest:
    """Which Pythons are allowed: a PEP 440 specifier; `3.12` alone means that release line."""

    text: str
    specifier: SpecifierSet

    @classmethod
    def parse(cls, text: str) -> PythonRequest:
        """Read `3.12`, `==3.12.*`, `>=3.11,<3.14`. ValueError otherwise."""
        stripped = text.strip()
        bare = stripped[:1].isdigit()
        try:
            line = PythonVersion.parse(stripped) if bare else None
            return cls(stripped, SpecifierSet(f"=={line}.*" if line else stripped))
        except (InvalidSpecifier, ValueError) as error:
            raise ValueError(
                f"not a Python version or specifier: {text!r} (expected for example `3.12` or `>=3.11`)"
            ) from error

    def allows(self, python: PythonVersion) -> bool:
        """Whether some patch release of this line is allowed."""
        return _allows(self.specifier, python)


@functools.cache
def _allows(specifier: SpecifierSet, python: PythonVersion) -> bool:
    return any(specifier.contains(f"{python}.{patch}") for patch in range(NEWEST_PATCH))


@dataclass(frozen=True, slots=True)
class CudaRequest:
    """Which CUDA is allowed: any, none at all (`cpu`), or release lines by a specifier."""

    text: str
    specifier: SpecifierSet | None = None

    @classmethod
    def parse(cls, text: str) -> CudaRequest:
        """Read `any`, `cpu`, `12.8`, `cu128`, `>=12.6,<13`. ValueError otherwise."""
        stripped = text.strip()
        if stripped in {"any", "cpu"}:
            return cls(stripped)
        try:
            if stripped.startswith("cu"):
                return cls(stripped, SpecifierSet(f"=={CudaVersion.from_variant(stripped)}"))
            if stripped[:1].isdigit():
                return cls(stripped, SpecifierSet(f"=={CudaVersion.parse(stripped)}"))
            return cls(stripped, SpecifierSet(stripped))
        except (InvalidSpecifier, ValueError) as error:
            raise ValueError(
                f"not a CUDA request: {text!r} (expected `any`, `cpu`, `12.8` or `>=12.6,<13`)"
            ) from error

    @property
    def is_any(self) -> bool:
        """Whether the planner chooses."""
        return self.text == "any"

    @property
    def line(self) -> CudaVersion | None:
        """The one release line that is named, if exactly one is."""
        parts = list(self.specifier or ())
        is_single = len(parts) == 1 and parts[0].operator == "==" and "*" not in parts[0].version
        return CudaVersion.parse(parts[0].version) if is_single else None

    @property
    def is_cpu(self) -> bool:
        """Whether the user wants no CUDA."""
        return self.text == "cpu"

    def allows(self, cuda: CudaVersion) -> bool:
        """Whether builds of this release line are allowed."""
        return not self.is_cpu and (self.specifier is None or self.specifier.contains(str(cuda)))


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """A package the environment must hold, and where the user said so.

    `by` names a package of the user's that requires it, where it is not the user who does.
    """

    name: str
    specifier: SpecifierSet
    extras: tuple[str, ...] = ()
    marker: Marker | None = None
    origin: str = ""
    by: str = ""

    @property
    def requirement(self) -> str:
        """The PEP 508 text of it, canonical."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}{extras}{self.specifier}{marker}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Why an environment exists: the packages that are always in it, the components of CUDA it needs.

    `packages` are groups of names, the first of which is taken unless another is asked for or the first
    does not exist for what is planned. `providers` are in the order of preference, and `why` is the
    reason for it; `origin` is the row or the key that says all this.
    """

    name: str
    title: str
    packages: tuple[tuple[str, ...], ...] = ()
    components: tuple[str, ...] = ("runtime",)
    providers: tuple[Provider, ...] = (Provider.PIP,)
    why: str = ""
    origin: str = ""

    @property
    def compiles(self) -> bool:
        """Whether a compiler of CUDA belongs to it."""
        return COMPILER in self.components


COMPILER = "compiler"
"""The component that is nvcc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """All that the user asks for. `platforms` and `machines` may be empty: then they are not said.

    `variants` are several requests for CUDA, one environment for each; `cuda` is the only one otherwise.
    `indexes` maps an index name of the matrix to the mirror to fetch from, and `default` to another
    default index than the installer's own; `channels` maps names of conda channels to mirrors. `targets`
    are the user's own.
    """

    target: str = "run-only"
    targets: tuple[Target, ...] = ()
    python: PythonRequest | None = None
    platforms: tuple[Platform, ...] = ()
    provider: Provider = Provider.AUTO
    cuda: CudaRequest = field(default_factory=lambda: CudaRequest("any"))
    variants: tuple[CudaRequest, ...] = ()
    packages: tuple[PackageRequest, ...] = ()
    machines: tuple[Machine, ...] = ()
    indexes: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
