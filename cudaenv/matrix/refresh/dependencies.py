"""What METADATA says a release depends on: its torch, its Python, and the CUDA that its extras install.

https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from cudaenv.matrix.refresh.cells import words
from cudaenv.matrix.refresh.metadata import Metadata
from cudaenv.model.machine import Platform
from cudaenv.model.versions import CudaBinding, PythonVersion

# `nvidia-cublas-cu12`, `jax-cuda12-plugin`, `cupy-cuda12x`.
_MAJOR_IN_NAME = re.compile(r".+-cu(?:da)?(\d{2})x?(?:-.+)?")
# Wheels whose versions are those of CUDA, and the others that are named without a major since CUDA 13.
_CUDA_VERSIONED = re.compile(r"cuda-toolkit|nvidia-(?:cuda-[a-z]+|nvjitlink|nvvm|nvfatbin)(?:-cu\d{2})?")
_UNSUFFIXED = re.compile(r"nvidia-(?:cublas|cufft|cufile|curand|cusolver|cusparse|npp|nvjpeg|nvtx)")
UNSUFFIXED_SINCE: Final = CudaBinding(13)
"""The first CUDA whose wheels are named without it; later ones show by their versions only."""

_ORDER = ("===", "==", "~=", ">=", ">", "!=", "<", "<=")
_PIN = re.compile(r"(\d{1,2})\.(\d{1,2})\.[\d*].*")
_MAJOR = re.compile(r"(\d{1,2})(?:\..*)?")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The columns `torch`, `extras` and `pins` of a release, as METADATA has them; Requires-Python."""

    torch: str
    extras: str
    pins: str
    requires_python: str

    @classmethod
    def read(cls, text: bytes, platform: Platform, python: PythonVersion) -> Dependencies:
        """Read METADATA for one platform and Python. ValueError where it is none, or contradicts itself."""
        metadata = Metadata.read(text)
        project = _Project(metadata, platform, python)
        found = {extra: project.cuda_of(extra) for extra in metadata.extras}
        cudas = {extra: cuda for extra, cuda in found.items() if cuda is not None}
        return cls(
            project.torch(),
            words(f"{extra}={cuda}" for extra, cuda in cudas.items()),
            words(project.wheels_of(*cudas)) if len(cudas) == 1 else "",
            metadata.requires_python,
        )


@dataclass(frozen=True, slots=True)
class _Project:
    """A project on one platform and Python."""

    metadata: Metadata
    platform: Platform
    python: PythonVersion

    def torch(self) -> str:
        """The specifiers of its requirements on torch, lower bounds first."""
        specifiers = SpecifierSet()
        for requirement in self._required():
            if canonicalize_name(requirement.name) == "torch":
                if requirement.url:
                    raise ValueError(f"METADATA asks for torch at a URL: {requirement.url:.200}")
                specifiers &= requirement.specifier
        return _ordered(specifiers)

    def cuda_of(self, extra: str) -> CudaBinding | None:
        """The CUDA that an extra adds: its release line where a wheel of it is pinned, else its major."""
        found = {cuda for cuda in map(_cuda_of, self._added(extra)) if cuda is not None}
        majors = {cuda.major for cuda in found}
        lines = {cuda for cuda in found if cuda.minor is not None}
        if len(majors) > 1:
            raise ValueError(f"METADATA: the extra {extra!r} installs CUDA of several majors")
        if len(lines) == 1:
            return lines.pop()
        return CudaBinding(majors.pop()) if majors else None

    def wheels_of(self, extra: str) -> list[str]:
        """The requirements on NVIDIA's wheels that an extra adds, by name."""
        added = {canonicalize_name(item.name): item.specifier for item in self._added(extra)}
        return [f"{name}{_ordered(added[name])}" for name in sorted(added) if name.startswith("nvidia-")]

    def _added(self, extra: str) -> list[Requirement]:
        plain = set(map(str, self._required()))
        return [item for item in self._with(extra) if str(item) not in plain]

    def _with(self, extra: str) -> Iterator[Requirement]:
        """Requirements with an extra, those of extras that it refers to (`jax[cuda12]`) among them."""
        left, seen = [extra], {extra}
        while left:
            for requirement in self._required(left.pop()):
                yield requirement
                if canonicalize_name(requirement.name) != self.metadata.name:
                    continue
                named = set(map(canonicalize_name, requirement.extras))
                if extra in named:
                    raise ValueError(f"METADATA: the extra {extra!r} refers to itself")
                left += sorted(named - seen)
                seen |= named

    def _required(self, extra: str = "") -> Iterator[Requirement]:
        return self.metadata.required(self.platform, self.python, extra)


def _ordered(specifiers: SpecifierSet) -> str:
    """Specifiers as a cell has them, lower bounds first."""
    ordered = sorted(specifiers, key=lambda item: (_ORDER.index(item.operator), item.version))
    return ",".join(map(str, ordered))


def _cuda_of(requirement: Requirement) -> CudaBinding | None:
    """The CUDA that a requirement stands for, if it does."""
    name = canonicalize_name(requirement.name)
    suffix = _MAJOR_IN_NAME.fullmatch(name)
    is_versioned = _CUDA_VERSIONED.fullmatch(name) is not None
    if not (suffix or is_versioned or _UNSUFFIXED.fullmatch(name)):
        return None
    stated = _stated(requirement.specifier) if is_versioned else None
    if suffix and (stated is None or stated.major != int(suffix[1])):
        return CudaBinding(int(suffix[1]))
    if stated is None and name != "cuda-toolkit":
        return UNSUFFIXED_SINCE
    return stated


def _stated(specifiers: SpecifierSet) -> CudaBinding | None:
    """The CUDA of a pin (`==12.5.82`: 12.5; `==12.*`: 12), or the major from which a range begins."""
    pins = (_PIN.fullmatch(item.version) for item in specifiers if item.operator == "==")
    for pin in pins:
        if pin:
            return CudaBinding(int(pin[1]), int(pin[2]))
    begins = (_MAJOR.fullmatch(item.version) for item in specifiers if item.operator in {"==", "~=", ">="})
    return max((CudaBinding(int(match[1])) for match in begins if match), default=None)
