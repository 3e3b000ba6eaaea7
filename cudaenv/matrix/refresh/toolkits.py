"""Toolkit release lines, measured from the compiler wheels on PyPI.

Targets and PTX ISA are what ptxas itself says when it is run. Host compilers are those that
`crt/host_config.h` does not refuse: nvcc includes that header before everything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from packaging.version import Version

from cudaenv.matrix.refresh.artefacts import Artefacts, ProjectFile, RawRow, Scope, Survey, Wheel
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.matrix.refresh.release_files import NamedWheel, naming, releases
from cudaenv.model.machine import Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion

PROJECTS: Final = ("nvidia-cuda-nvcc-cu11", "nvidia-cuda-nvcc-cu12", "nvidia-cuda-nvcc")
"""The projects whose wheels have ptxas."""

HEADERS: Final = "nvidia-cuda-crt"
"""The project that has the compiler's headers since CUDA 13; before, they are in the wheel with ptxas."""

SOURCE: Final = "nvcc-wheels"
"""The source that measured rows name."""

HELP: Final = ("--help",)
UNKNOWN_ISA: Final = ("--input-as-string", ".version 99.9 .target sm_90")
"""Arguments on which ptxas fails, naming the newest PTX ISA version that it knows; it writes no file."""

_METHOD = "compiler-1"
_MAX_HEADER = 1 << 20
_PTXAS = re.compile(r"nvidia/\w{1,40}/bin/ptxas")
_HOST_CONFIG = re.compile(r"nvidia/\w{1,40}/include/crt/host_config\.h")

_GPU_NAMES = re.compile(
    r"^--gpu-name\b.*?^[ \t]+Allowed values for this option:([^.]*)\.", re.DOTALL | re.MULTILINE
)
_TARGET = re.compile(r"(compute|lto|sm)_(\d{2,3})([af]?)")
_ISA = re.compile(r"Unsupported \.version 99\.9; current version is '(\d{1,2}\.\d)'")

_GCC = re.compile(r"#if __GNUC__ > (\d+)\s+#error -- unsupported GNU version!")
# The same condition stands there for the clang of an embedded system ("unsupported HOS clang version!"), and
# one with a lower bound for NVIDIA's own build for Grace processors ("unsupported Grace clang version!").
_CLANG = re.compile(
    r"#if \(__clang_major__ >= (\d+)\) \|\| \(__clang_major__ < 3\)"
    r" \|\| \(\(__clang_major__ == 3\) && +\(__clang_minor__ < 3\)\)\s+#error -- unsupported clang version!"
)
_MSVC = re.compile(
    r"#if _MSC_VER < (\d{4}) \|\| _MSC_VER >= (\d{4})"
    r"\s+#error -- unsupported Microsoft Visual Studio version!"
)


def read_targets(text: str) -> dict[str, str]:
    """Return the columns `sms`, `exact` and `family` from what `ptxas --help` prints.

    ValueError where it does not list targets, or one of a kind that is not known here.
    https://docs.nvidia.com/cuda/parallel-thread-execution/index.html#ptx-module-directives-target
    """
    listing = _GPU_NAMES.search(text)
    if listing is None:
        raise ValueError("ptxas --help does not list the values of --gpu-name")
    kinds: dict[str, set[ComputeCapability]] = {"": set(), "a": set(), "f": set()}
    for name in re.findall(r"'([^']*)'", listing[1]):
        target = _TARGET.fullmatch(name)
        if target is None:
            raise ValueError(f"ptxas --help lists {ascii(name)[:60]} as --gpu-name, which is not known here")
        if target[1] == "sm":
            kinds[target[3]].add(ComputeCapability.parse(f"sm_{target[2]}"))
    if not kinds[""]:
        raise ValueError("ptxas --help lists no sm_NN as --gpu-name")
    named = {"sms": kinds[""], "exact": kinds["a"], "family": kinds["f"]}
    return filled({column: words(sorted(found)) for column, found in named.items()})


def read_ptx_isa(text: str) -> str:
    """Return the newest PTX ISA version of ptxas, from how it refuses an unknown one. ValueError without."""
    match = _ISA.search(text)
    if match is None:
        raise ValueError("ptxas does not name its PTX ISA version when it refuses 99.9")
    return match[1]


def read_host_compilers(header: str) -> dict[str, str]:
    """Return the columns `gcc`, `clang` and `msvc` from `crt/host_config.h`.

    The oldest clang that it accepts, 3.3, is left out. ValueError where a condition is missing, stands there
    twice or is written in a way that is not known here.
    """
    (gcc,) = _condition(_GCC, "gcc", header)
    (beyond,) = _condition(_CLANG, "clang", header)
    oldest, above = _condition(_MSVC, "_MSC_VER", header)
    return {"gcc": str(gcc), "clang": f"-{beyond - 1}", "msvc": f"{oldest}-{above - 1}"}


def _condition(pattern: re.Pattern[str], what: str, header: str) -> tuple[int, ...]:
    found = list(pattern.finditer(header))
    if len(found) != 1:
        raise ValueError(
            f"crt/host_config.h has {len(found)} conditions on {what} of the form that is known here"
        )
    return tuple(int(number) for number in found[0].groups())


def read_compiler(wheel: Wheel) -> dict[str, str]:
    """Return what a wheel has of these: `ptxas` (the member), and the columns for host compilers."""
    found = {}
    for name in wheel.sizes:
        if _PTXAS.fullmatch(name):
            found["ptxas"] = name
        elif _HOST_CONFIG.fullmatch(name):
            found |= read_host_compilers(wheel.read(name, _MAX_HEADER).decode("utf-8"))
    return found


def measure_toolkits(artefacts: Artefacts, scope: Scope) -> Iterable[RawRow]:
    """Measure the newest point release of every release line that has a wheel for Linux x86_64."""
    newest: dict[CudaVersion, NamedWheel] = {}
    for project in PROJECTS:
        newest |= {_line(wheel): wheel for wheel in _wheels(artefacts, project)}
    headers = {wheel.name.version: wheel.file for wheel in _wheels(artefacts, HEADERS)}

    def row(item: tuple[CudaVersion, NamedWheel]) -> RawRow:
        cuda, wheel = item
        artefacts.say(f"CUDA {cuda}: asking ptxas of {wheel.file.name}")
        return _row(artefacts, cuda, wheel, headers)

    wanted = ((cuda, newest[cuda]) for cuda in sorted(newest) if scope.wants(newest[cuda].file.uploaded))
    return artefacts.each(row, wanted)


def _wheels(artefacts: Artefacts, project: str) -> Iterable[NamedWheel]:
    """Return one wheel for Linux x86_64 of each release, oldest release first."""
    found = (release.wheels_for(Platform.LINUX_64) for release in releases(project, artefacts.files(project)))
    return [wheels[0] for wheels in found if wheels and not wheels[0].name.is_pure]


def _line(wheel: NamedWheel) -> CudaVersion:
    return CudaVersion(wheel.name.version.major, wheel.name.version.minor)


def _row(
    artefacts: Artefacts, cuda: CudaVersion, wheel: NamedWheel, headers: dict[Version, ProjectFile]
) -> RawRow:
    found = dict(artefacts.measured(wheel.file, _METHOD, read_compiler))
    crt = headers.get(wheel.name.version)
    if "gcc" not in found and crt is not None:
        found |= artefacts.measured(crt, _METHOD, read_compiler)
    ptxas = found.pop("ptxas", "")
    if not ptxas:
        raise ValueError(f"{wheel.file.name} has no ptxas")
    if "gcc" not in found:
        raise ValueError(
            f"{wheel.file.name} has no crt/host_config.h, and no wheel of its version beside it has"
        )
    with naming(wheel):
        isa = read_ptx_isa(artefacts.run(wheel.file, ptxas, UNKNOWN_ISA))
        targets = read_targets(artefacts.run(wheel.file, ptxas, HELP))
    return {"cuda": str(cuda), "ptx_isa": isa, **targets, **found, "source": SOURCE, "basis": "measured"}


SURVEY: Final = Survey(
    table="toolkits",
    place="pypi",
    measure=measure_toolkits,
    owns=lambda row: row.get("source") == SOURCE,
)
"""The rows of toolkits.yaml for release lines with wheels; older ones are curated."""
