"""Builds of torch, read from its wheels: on PyPI, and on the variant indexes of PyTorch.

Everything is text or binary data that is searched, nothing is imported or run: `torch/version.py` has the
label and the CUDA release line, `libtorch_python.so` (on Windows `torch_python.dll`) the string that
`torch._C._cuda_getArchFlags()` returns, `ATen.h` refuses compilers of an older C++ standard, the exported
names of `libc10.so` show the ABI of `std::string`, METADATA pins cuDNN, NCCL and triton.

Before torch 1.6 there is no such string: a small library with kernels of its own shows for which
architectures all were compiled. Before 1.7 `C++17.h` is the header that refuses compilers, before 1.5 none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final
from urllib.parse import unquote, urlsplit

from packaging.version import Version

from cudaenv.matrix.packages import TorchBuild
from cudaenv.matrix.refresh.artefacts import Artefacts, Link, ProjectFile, RawRow, Scope, Survey, Wheel
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.matrix.refresh.fatbins import machine_code
from cudaenv.matrix.refresh.metadata import Metadata
from cudaenv.matrix.refresh.release_files import NamedWheel, ReleaseFiles, newest_python, releases
from cudaenv.matrix.refresh.wheel_names import MANYLINUX
from cudaenv.model.machine import Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion, PythonVersion

FIRST: Final = Version("1.4.0")
"""The oldest release that the matrix is about."""

PYTORCH: Final = "https://download.pytorch.org/whl"
"""Where PyTorch's own indexes lie, one a variant."""

VARIANTS: Final = (
    "cpu",
    "cu92",
    "cu100",
    "cu101",
    "cu102",
    *(f"cu{major}{minor}" for major in range(11, 14) for minor in range(10)),
)
"""The variants that are asked for. Most release lines never had an index, and have no page."""

OLDEST_GLIBC: Final = MANYLINUX["2014"]
"""The floor of wheels tagged `manylinux1` or `linux`: built on such images, with symbols up to GLIBC_2.17."""

INDEX_SOURCE: Final = (
    "index-wheels",
    "torch wheels on PyTorch's indexes",
    "the same as of those on PyPI: tags, torch/version.py, SM list, C++ standard, libc10.so, METADATA",
)
"""Where the rows of variant indexes are from: name, artefact and what it says."""

METHOD: Final = "torch-1"
"""Change it with what `read_build` returns: what was measured by another method is measured again."""

# Wheels on PyPI that no installer takes: they have a `.dist.info` directory, and no `.dist-info`.
_BROKEN = re.compile(r"torch-1\.7\.0-.+-win_amd64\.whl")

_MAX_TEXT: Final = 1 << 20
_MAX_LIBRARY: Final = 256 << 20

# What `torch._C` is made of: it has the string of CUDA_ARCH_FLAGS.
_PYTHON_LIBRARY = {
    Platform.LINUX_64: "torch/lib/libtorch_python.so",
    Platform.LINUX_AARCH64: "torch/lib/libtorch_python.so",
    Platform.WIN_64: "torch/lib/torch_python.dll",
}

# Kernels of Caffe2 in a library of their own: some megabytes, where libtorch_cuda.so has a gigabyte.
_KERNELS = "torch/lib/libcaffe2_detectron_ops_gpu.so"

# The headers that may refuse compilers, and the release from which on one of them does.
_HEADERS = ("torch/include/ATen/ATen.h", "torch/include/c10/util/C++17.h")
_FIRST_STANDARD = Version("1.5.0")

_VERSION = re.compile(r"""__version__(?:\s*:[^=]{0,80})?\s*=\s*(['"])([^'"]{1,80})\1""")
_CUDA = re.compile(r"""cuda(?:\s*:[^=]{0,80})?\s*=\s*(?:None|(['"])([^'"]{1,80})\1)""")
# The compiler may lay the string right behind another one, but ends it with a null byte. Machine code comes
# before PTX in it, so that it begins with `sm_`: as a pattern that does, too, it is found quickly. Real lists
# have some ten architectures; without a bound, a long one without an end would be read from each of them.
_ARCHITECTURES = re.compile(rb"sm_\d{2,3}[a-z]?(?: (?:sm|compute)_\d{2,3}[a-z]?){0,63}\0")
_STANDARD = re.compile(r"#\s*error\s+(?:You need )?C\+\+(\d{2}) (?:or later compatible|to compile PyTorch)")
# c10::Error(SourceLocation, std::string), which every release exports, up to 1.5 with a constant reference
# (`RK`): `Ss` is the string of the old ABI.
_STRINGS = {
    "0": re.compile(rb"_ZN3c105ErrorC1ENS_14SourceLocationE(?:RK)?Ss\0"),
    "1": re.compile(
        rb"_ZN3c105ErrorC1ENS_14SourceLocationE(?:RK)?NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE\0"
    ),
}


def torch_releases(artefacts: Artefacts) -> tuple[ReleaseFiles, ...]:
    """Return the releases of torch on PyPI that the matrix is about, oldest first."""
    files = (file for file in artefacts.files("torch") if not _BROKEN.fullmatch(file.name))
    return tuple(
        release for release in releases("torch", files) if release.version >= FIRST and release.platforms
    )


def pypi_rows(artefacts: Artefacts, scope: Scope) -> list[RawRow]:
    """Measure the builds on PyPI: one a release and platform."""
    found = torch_releases(artefacts)
    jobs = _jobs(found, scope)
    return artefacts.each(partial(_row, artefacts, newest_python(found)), jobs)


def index_rows(
    artefacts: Artefacts, scope: Scope, base: str = PYTORCH, variants: Iterable[str] = VARIANTS
) -> list[RawRow]:
    """Measure the builds on the variant indexes below the address `base`.

    A build that PyPI carries in the same variant has no row of its own. The pages state no dates: a
    release is as old as it is on PyPI.
    """
    pypi = torch_releases(artefacts)
    carried = {(row["version"], row["platform"], row["variant"]) for row in pypi_rows(artefacts, scope)}
    days = {release.version: release.uploaded for release in pypi}
    newest = newest_python(pypi)

    def of_page(variant: str) -> list[tuple[ReleaseFiles, Platform]]:
        links = artefacts.links(f"{base}/{variant}/torch/")
        jobs = _jobs(_index_releases(links or (), variant, days), scope)
        return [job for job in jobs if (str(job[0].version), job[1].value, variant) not in carried]

    def measured(job: tuple[str, tuple[ReleaseFiles, Platform]]) -> RawRow:
        variant, build = job
        return _row(artefacts, newest, build, variant)

    names = list(variants)
    pages = artefacts.each(of_page, names)
    return artefacts.each(
        measured, [(name, build) for name, page in zip(names, pages, strict=True) for build in page]
    )


SURVEYS: Final = (
    Survey(table=TorchBuild.TABLE, place="pypi", measure=pypi_rows, owns=lambda row: "index" not in row),
    Survey(
        table=TorchBuild.TABLE,
        place="pytorch",
        measure=index_rows,
        owns=lambda row: row.get("index") == "pytorch",
        sources=(INDEX_SOURCE,),
    ),
)


def read_build(wheel: Wheel, platform: Platform, python: PythonVersion) -> dict[str, str]:
    """Return the columns of a build that its wheel tells. ValueError where it is not as torch's are."""
    label, cuda = read_version(_text(wheel, "torch/version.py"))
    cells = {"variant": _variant(label, cuda)}
    if cuda:
        if platform not in _PYTHON_LIBRARY:
            raise ValueError(f"a build for CUDA {cuda} on {platform}")
        cells |= _read_code(wheel, platform)
    cells |= _pins(Metadata.of_wheel(wheel), platform, python)
    if Version(label) >= _FIRST_STANDARD:
        cells["cxx"] = read_standard(_text(wheel, name) for name in _HEADERS)
    if platform.is_linux:
        cells["cxx11_abi"] = read_string_abi(wheel.read("torch/lib/libc10.so", _MAX_LIBRARY))
    return cells


def read_version(text: str) -> tuple[str, CudaVersion | None]:
    """Return the label and the CUDA release line that `torch/version.py` states."""
    lines = [line.strip() for line in text.splitlines()]
    labels = [match[2] for line in lines if (match := _VERSION.fullmatch(line))]
    cudas = [match[2] for line in lines if (match := _CUDA.fullmatch(line))]
    if len(labels) != 1 or len(cudas) != 1:
        raise ValueError(f"version.py states {len(labels)} versions and {len(cudas)} CUDA releases")
    return labels[0], CudaVersion.parse(cudas[0]) if cudas[0] else None


def read_architectures(library: bytes) -> dict[str, str]:
    """Return `sms` and `ptx` from the string of CUDA_ARCH_FLAGS in the library behind `torch._C`."""
    matches = list(_ARCHITECTURES.finditer(library))
    if any(library.endswith(b" ", 0, match.start()) for match in matches):
        raise ValueError("the library behind torch._C has a list of architectures with other words before it")
    found = {match[0][:-1].decode() for match in matches}
    if len(found) != 1:
        shown = ", ".join(sorted(found)[:4])
        raise ValueError(f"the library behind torch._C has {len(found)} lists of architectures: {shown}")
    flags = found.pop().split()
    sms = [ComputeCapability.parse(flag) for flag in flags if flag.startswith("sm_")]
    ptx = [ComputeCapability.parse(flag.replace("compute", "sm")) for flag in flags if flag.startswith("c")]
    return filled({"sms": words(sorted(sms)), "ptx": words(sorted(ptx))})


def read_fatbins(library: bytes) -> dict[str, str]:
    """Return `sms` from the machine code in a library.

    PTX is no column of it: torch's own kernels of these releases have some, the code of cuDNN and cuBLAS that
    is linked into the same wheels has none, so that on a newer GPU only a part of it runs.
    """
    try:
        found = set(machine_code(library))
    except ValueError as error:
        raise ValueError(f"{_KERNELS}: {error}") from error
    if len(found) != 1 or not (sms := found.pop()):
        raise ValueError(f"{_KERNELS} has fatbins for {len(found)} lists of architectures")
    return {"sms": words(sorted(sms))}


def read_standard(headers: Iterable[str]) -> str:
    """Return the oldest C++ standard, such as `17`, that the first header which refuses compilers accepts."""
    found = next(filter(None, (set(_STANDARD.findall(header)) for header in headers)), set())
    if len(found) != 1:
        raise ValueError(f"ATen.h and C++17.h refuse compilers of {len(found)} C++ standards")
    return str(found.pop())


def read_string_abi(library: bytes) -> str:
    """Return what `_GLIBCXX_USE_CXX11_ABI` was when `libc10.so` was compiled, `0` or `1`."""
    found = [abi for abi, name in _STRINGS.items() if name.search(library)]
    if len(found) != 1:
        raise ValueError(f"libc10.so exports c10::Error for {len(found)} ABIs of std::string")
    return found[0]


def oldest_wheel(wheels: Sequence[NamedWheel], newest: PythonVersion) -> tuple[NamedWheel, PythonVersion]:
    """Return the wheel that stands for a build, and the oldest Python that it serves."""
    served = [(pythons[0], wheel) for wheel in wheels if (pythons := wheel.pythons(newest))]
    if not served:
        raise ValueError(f"{wheels[0].file.name}: no Python is left for it and the like")
    oldest = min(python for python, _ in served)
    alike = (wheel for python, wheel in served if python == oldest)
    return max(alike, key=lambda wheel: (wheel.name.build, wheel.file.name)), oldest


def _jobs(found: Iterable[ReleaseFiles], scope: Scope) -> list[tuple[ReleaseFiles, Platform]]:
    return [
        (release, platform)
        for release in found
        if scope.wants(release.uploaded)
        for platform in release.platforms
    ]


def _row(
    artefacts: Artefacts, newest: PythonVersion, build: tuple[ReleaseFiles, Platform], variant: str = ""
) -> RawRow:
    """Measure a build; `variant` is the index that it lies on, empty for PyPI."""
    release, platform = build
    wheels = release.wheels_for(platform)
    wheel, python = oldest_wheel(wheels, newest)
    facts = dict(artefacts.measured(wheel.file, METHOD, _measure(platform, python)))
    if variant not in {"", facts["variant"]}:
        raise ValueError(f"{wheel.file.name}: it is a build for {facts['variant']}")
    row = {"version": str(release.version), "variant": facts.pop("variant"), "platform": platform.value}
    if variant:
        row["index"] = "pytorch"
    row["pythons"] = words(sorted({line for one in wheels for line in one.pythons(newest)}))
    row |= {column: facts.pop(column) for column in ("sms", "ptx") if column in facts}
    source = INDEX_SOURCE[0] if variant else "wheels"
    return row | _floors(release, platform) | facts | {"source": source, "basis": "measured"}


def _measure(platform: Platform, python: PythonVersion) -> Callable[[Wheel], Mapping[str, str]]:
    return lambda wheel: read_build(wheel, platform, python)


def _floors(release: ReleaseFiles, platform: Platform) -> dict[str, str]:
    """Return the oldest glibc or macOS that all wheels of a build run with."""
    if platform.is_linux:
        return {"glibc": str(max(OLDEST_GLIBC, release.glibc(platform) or OLDEST_GLIBC))}
    if platform is Platform.OSX_ARM64:
        versions = (wheel.name.macos for wheel in release.wheels_for(platform))
        return {"macos": max(versions, key=Version)}
    return {}


def _index_releases(
    links: Iterable[Link], variant: str, days: Mapping[Version, str]
) -> Iterator[ReleaseFiles]:
    """Yield the releases of a variant's page, with the days of PyPI.

    Wheels with another label than the variant are left out: such pages list `2.0.0+cu117.with.pypi.cudnn`.
    Builds without one are those for the CPU.
    """
    labels = {variant, ""} if variant == "cpu" else {variant}
    files = [
        ProjectFile(
            name=unquote(urlsplit(link.url).path.rpartition("/")[2]), url=link.url, sha256=link.sha256
        )
        for link in links
    ]
    for release in releases("torch", files):
        day = days.get(release.version, "")
        wheels = tuple(
            NamedWheel(replace(wheel.file, uploaded=day), wheel.name)
            for wheel in release.wheels
            if wheel.name.local in labels
        )
        if wheels and release.version >= FIRST:
            yield ReleaseFiles(release.version, wheels, ())


def _read_code(wheel: Wheel, platform: Platform) -> dict[str, str]:
    library = wheel.read(_PYTHON_LIBRARY[platform], _MAX_LIBRARY)
    if _KERNELS in wheel.sizes and not _ARCHITECTURES.search(library):
        return read_fatbins(wheel.read(_KERNELS, _MAX_LIBRARY))
    return read_architectures(library)


def _text(wheel: Wheel, name: str) -> str:
    return wheel.read(name, _MAX_TEXT).decode()


def _variant(label: str, cuda: CudaVersion | None) -> str:
    """Return `cu126` or `cpu`, which the label has to agree with where it has a local part."""
    variant = cuda.variant if cuda else "cpu"
    local = Version(label).local
    if local not in {None, variant}:
        raise ValueError(f"version.py states the version {label[:80]} and a build for {variant}")
    return variant


def _pins(metadata: Metadata, platform: Platform, python: PythonVersion) -> dict[str, str]:
    cells = {}
    for column in ("cudnn", "nccl"):
        pin = metadata.requirement_on(rf"nvidia-{column}-cu\d+", platform, python)
        if pin is not None:
            match = re.fullmatch(r"==([\d.]+)", str(pin.specifier))
            if match is None:
                raise ValueError(f"METADATA requires {pin}, which is no exact version")
            cells[column] = match[1]
    triton = metadata.requirement_on("triton", platform, python)
    return filled({**cells, "triton": str(triton.specifier) if triton else ""})
