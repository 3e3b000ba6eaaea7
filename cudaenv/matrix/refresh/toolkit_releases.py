"""Releases of the `cuda-toolkit` metapackage: what their extras pin, and whether that makes a compiler.

The pins are METADATA of the metapackage; the rest is read from the wheel of nvcc that a release pins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from packaging.specifiers import SpecifierSet

from cudaenv.matrix.refresh.artefacts import Artefacts, RawRow, Scope, Survey, Wheel
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.matrix.refresh.metadata import Metadata
from cudaenv.matrix.refresh.release_files import ReleaseFiles, naming, releases
from cudaenv.model.machine import Platform
from cudaenv.model.requirements import parse_requirement
from cudaenv.model.versions import CudaVersion

PROJECT: Final = "cuda-toolkit"

SOURCE: Final = "cuda-toolkit-wheels"
"""The source that measured rows name."""

NEEDED: Final = ("crt", "cudart", "nvvm")
"""The extras that the nvcc of CUDA 13 cannot compile without, and that have to be of its own release."""

Extras = Mapping[str, Mapping[str, str]]
"""By extra: the projects that it installs, and the specifier of each as text."""

_METHOD = "nvcc-1"
_MAX_PROFILE = 1 << 20

# Extras whose wheel is named otherwise; all others are `nvidia-EXTRA` or `nvidia-cuda-EXTRA`.
_NAMES = {"cudart": "runtime", "nvml": "nvml-dev", "profiler": "profiler-api", "sanitizer": "sanitizer-api"}
_WHEEL = re.compile(r"nvidia-(?:cuda-)?([a-z0-9-]+?)(?:-cu\d\d)?")
_EXTRA = re.compile(r"\bextra == \"([a-z0-9-]+)\"")
_PIN = re.compile(r"==(\d+(?:\.\d+)+)(?:\.\*)?")

_NVCC = re.compile(r"nvidia/\w{1,40}/bin/nvcc")
_LIBRARIES = re.compile(r"^LIBRARIES\b.*", re.MULTILINE)
# `_TARGET_DIR_` is empty unless nvcc is told otherwise; `_TARGET_SIZE_` is the width of the target, 64.
_SEARCHED = re.compile(r"\"-L\$\(TOP\)/(?:\$\(_TARGET_DIR_\)/)?lib(\$\(_TARGET_SIZE_\))?\"")


def read_extras(metadata: bytes) -> Extras:
    """Return what each extra of the metapackage installs, on any platform.

    ValueError for a requirement that belongs to no extra or to several, for two different ones on one project
    in the same extra, and where no extra installs nvcc.
    """
    extras: dict[str, dict[str, str]] = {}
    for requirement in Metadata.read(metadata).requires:
        named = _EXTRA.findall(str(requirement.marker or ""))
        if len(named) != 1:
            raise ValueError(f"the requirement on {requirement.name} belongs to {len(named)} extras")
        specifier = str(requirement.specifier)
        if extras.setdefault(named[0], {}).setdefault(requirement.name, specifier) != specifier:
            raise ValueError(f"extra {named[0]} has two requirements on {requirement.name}")
    own_wheel("nvcc", extras.get("nvcc", {}))
    return {name: extras[name] for name in sorted(extras) if name != "all"}


def own_wheel(extra: str, installs: Iterable[str]) -> str:
    """Return the project among those that an extra installs which the extra is named after.

    ValueError where none or several are.
    """
    matches = ((name, _WHEEL.fullmatch(name)) for name in installs)
    own = [name for name, match in matches if match and match[1] == _NAMES.get(extra, extra)]
    if len(own) != 1:
        raise ValueError(f"extra {extra} installs {len(own)} wheels named after it")
    return own[0]


def read_compiler(wheel: Wheel) -> dict[str, str]:
    """Return what the wheel of an nvcc tells.

    `requires`: its requirements, one a line. If it has nvcc itself also `compiles`, and `lib`: the directory
    below the toolkit's root where nvcc.profile looks for libraries. ValueError where it is not as expected.
    """
    found = {"requires": "\n".join(map(str, Metadata.of_wheel(wheel).requires))}
    for name in wheel.sizes:
        if _NVCC.fullmatch(name):
            profile = wheel.read(f"{name}.profile", _MAX_PROFILE).decode("utf-8")
            found |= {"compiles": "true", "lib": read_library_directory(profile)}
    return found


def read_library_directory(profile: str) -> str:
    """Return `lib` or `lib64`, where an nvcc.profile has the linker look. ValueError where it says neither.

    https://docs.nvidia.com/cuda/cuda-compiler-driver-nvcc/index.html#nvcc-profile
    """
    lines = _LIBRARIES.findall(profile)
    searched = _SEARCHED.findall(lines[0]) if len(lines) == 1 else []
    if len(searched) != 1:
        raise ValueError("nvcc.profile does not say in the form that is known here where libraries are")
    return "lib64" if searched[0] else "lib"


def skewed(extras: Extras, compiler: Mapping[str, str]) -> tuple[str, ...]:
    """Return the extras that nvcc needs and that neither the extra `nvcc` nor nvcc's wheel pins.

    ValueError where nvcc's wheel requires something else than what is known here.
    """
    needed = {own_wheel(extra, extras.get(extra, {})): extra for extra in NEEDED}
    requirements = [parse_requirement(line) for line in compiler["requires"].splitlines()]
    unknown = {requirement.name for requirement in requirements} - set(needed)
    if unknown:
        raise ValueError(f"the wheel of nvcc requires {words(sorted(unknown))}, which is not known here")
    specifiers = {requirement.name: str(requirement.specifier) for requirement in requirements}
    pinned = {
        name
        for name in needed
        if any(_PIN.fullmatch(of.get(name, "")) for of in (extras["nvcc"], specifiers))
    }
    return tuple(extra for name, extra in needed.items() if name not in pinned)


def measure_releases(artefacts: Artefacts, scope: Scope) -> Iterable[RawRow]:
    """Measure the stable releases of cuda-toolkit."""
    found = [release for release in releases(PROJECT, artefacts.files(PROJECT)) if release.wheels]
    wanted = [release for release in found if scope.wants(release.uploaded)]
    extras = artefacts.each(partial(_extras, artefacts), wanted)
    projects = sorted({own_wheel("nvcc", each["nvcc"]) for each in extras})
    compilers = {project: releases(project, artefacts.files(project)) for project in projects}
    return artefacts.each(partial(_row, artefacts, compilers), zip(wanted, extras, strict=True))


def _extras(artefacts: Artefacts, release: ReleaseFiles) -> Extras:
    with naming(release.wheels[0]):
        return read_extras(artefacts.metadata(release.wheels[0].file))


def _row(
    artefacts: Artefacts,
    compilers: Mapping[str, tuple[ReleaseFiles, ...]],
    item: tuple[ReleaseFiles, Extras],
) -> RawRow:
    release, extras = item
    with naming(release.wheels[0]):
        pins = {extra: extras[extra][own_wheel(extra, extras[extra])] for extra in extras}
        project = own_wheel("nvcc", extras["nvcc"])
        compiler = _compiler(artefacts, compilers[project], SpecifierSet(pins["nvcc"]))
        skew = skewed(extras, compiler) if "compiles" in compiler else ()
    exact = {extra: match[1] for extra, pin in pins.items() if (match := _PIN.fullmatch(pin))}
    return filled(
        {
            "version": str(release.version),
            "cuda": str(CudaVersion.parse(str(release.version))),
            "compiles": compiler.get("compiles", ""),
            "lib": compiler.get("lib", ""),
            "components": words(f"{extra}={version}" for extra, version in exact.items()),
            "loose": words(extra for extra in pins if extra not in exact),
            "skew": words(skew),
            "source": SOURCE,
            "basis": "measured",
        }
    )


def _compiler(artefacts: Artefacts, found: Iterable[ReleaseFiles], pin: SpecifierSet) -> Mapping[str, str]:
    """Return what the newest wheel for Linux x86_64 that a pin of nvcc allows tells."""
    wheels = [release.wheels_for(Platform.LINUX_64) for release in found if pin.contains(release.version)]
    if not wheels or not wheels[-1]:
        raise ValueError(f"extra nvcc asks for {pin}, of which there is no wheel for Linux x86_64")
    return artefacts.measured(wheels[-1][0].file, _METHOD, read_compiler)


SURVEY: Final = Survey(
    table="toolkit-releases",
    place="pypi",
    measure=measure_releases,
    owns=lambda row: row.get("source") == SOURCE,
)
"""All rows of toolkit-releases.yaml."""
