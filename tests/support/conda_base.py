"""What conda-forge has below torch in the tests: Python, CUDA's components, compilers and libraries.

The packages have the names, dependencies and bounds of the real records, but are a fraction of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from tests.support.conda_package import (
    PREFIX,
    CondaPackage,
    Files,
    Link,
    below,
    build_string,
    distribution,
    site_packages,
    stand_in,
)

LINUX = ("linux-64", "linux-aarch64")
PLATFORMS = (*LINUX, "win-64")
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

RELEASE_LINES = (
    *("11.2", "11.3", "11.6", "11.7", "11.8"),
    *("12.0", "12.2", "12.4", "12.6", "12.8", "12.9", "13.0", "13.2"),
)

# Release lines with components: the versions of the runtime, of the compiler and of cuBLAS, and the first
# GCC that the compiler refuses.
_LINES = {
    "12.0": ("12.0.107", "12.0.76", "12.0.1.189", 13),
    "12.6": ("12.6.77", "12.6.85", "12.6.4.1", 14),
    "12.8": ("12.8.90", "12.8.93", "12.8.4.1", 15),
    "12.9": ("12.9.79", "12.9.86", "12.9.1.4", 15),
    "13.0": ("13.0.96", "13.0.88", "13.1.0.3", 16),
}
_CUDATOOLKITS = ("11.2.2", "11.3.1", "11.6.2", "11.7.1", "11.8.0")
_COMPILERS = ("9.5.0", "10.4.0", "11.4.0", "12.4.0", "13.3.0", "14.3.0", "15.2.0")
_CUDNNS = (
    ("8.9.7.29", "11"),
    ("8.9.7.29", "12"),
    ("9.10.2.21", "12"),
    ("9.13.1.26", "12"),
    ("9.13.1.26", "13"),
)

# Packages of Python alone, and what they depend on.
_PURE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("filelock", "3.25.2"): (),
    ("fsspec", "2026.2.0"): (),
    ("jinja2", "3.1.6"): ("markupsafe >=2.0",),
    ("markupsafe", "3.0.3"): (),
    ("mmengine", "0.10.7"): ("numpy",),
    ("mpmath", "1.3.0"): (),
    ("networkx", "3.6.1"): (),
    ("numpy", "1.26.4"): (),
    ("numpy", "2.3.5"): (),
    ("pip", "26.0.1"): ("setuptools",),
    ("pyyaml", "6.0.3"): (),
    ("setuptools", "80.9.0"): (),
    ("sympy", "1.14.0"): ("mpmath >=0.19",),
    ("typing_extensions", "4.15.0"): (),
}


def base_packages() -> Iterator[CondaPackage]:
    """Everything but torch and what is built against it."""
    yield from _pythons()
    yield from _pure()
    yield from _cuda()
    yield from _compilers()
    yield from _libraries()


def of_platform(subdir: str) -> tuple[str, ...]:
    """What everything compiled for a platform depends on."""
    special = {"linux-aarch64": ("arm-variant * sbsa",), "win-64": ("vc14_runtime >=14.44",)}
    return special.get(subdir, ("libgcc >=14",))


def _pythons() -> Iterator[CondaPackage]:
    for python in PYTHONS:
        tag = f"cp{python.replace('.', '')}"
        bound = (f"python {python}.*",)
        yield CondaPackage("python_abi", python, f"8_{tag}", constrains=bound, files={})
        end = tag if python == "3.13" else "cpython"
        for subdir in PLATFORMS:
            build = build_string(f"h{{hash}}_0_{end}", python, subdir)
            depends = (*of_platform(subdir)[-1:], "tzdata")
            abi = (f"python_abi {python}.* *_{tag}",)
            files = _interpreter(python, subdir)
            yield CondaPackage("python", f"{python}.11", build, subdir, depends, abi, files)


def _interpreter(python: str, subdir: str) -> Files:
    """Files of a Python that is the one of this machine: on Linux it runs, with this prefix as its own.

    It takes the prefix for a virtual environment. Where its version is another than the package's, it
    finds what is installed for that version all the same.
    """
    if subdir not in LINUX:
        return {"python.exe": b"MZ stand-in for a Windows program"}
    own = "{}.{}".format(*sys.version_info[:2])
    program = Path(sys.base_prefix, "bin", f"python{own}")
    script = f'#!/bin/bash\nexec -a "{PREFIX}/bin/python{python}" "{program}" "$@"\n'
    files: dict[str, bytes | Link] = {
        f"bin/python{python}": script.encode(),
        "bin/python3": Link(f"python{python}"),
        "bin/python": Link(f"python{python}"),
        "pyvenv.cfg": f"home = {program.parent}\n".encode(),
    }
    if own != python:
        packaged = f"../../../{site_packages(python, subdir)}\n"
        files[f"{site_packages(own, subdir)}/packaged.pth"] = packaged.encode()
    return files


def _pure() -> Iterator[CondaPackage]:
    for (name, version), depends in _PURE.items():
        files = {f"{name}/__init__.py": f"__version__ = {version!r}\n".encode()} | distribution(name, version)
        build = build_string("pyh{hash}_0", name, version)
        content = below("site-packages", files)
        needs = ("python >=3.9", *depends)
        yield CondaPackage(name, version, build, depends=needs, files=content, python=True)


def _cuda() -> Iterator[CondaPackage]:
    for line in RELEASE_LINES:
        bounds = (f"cudatoolkit {line}|{line}.*", f"__cuda >={line.split('.')[0]}")
        yield CondaPackage("cuda-version", line, build_string("h{hash}_3", line), constrains=bounds, files={})
    for line, subdir in product(_LINES, PLATFORMS):
        yield from _runtime(line, subdir)
        yield from _toolkit(line, subdir)
    for (version, major), subdir in product(_CUDNNS, PLATFORMS):
        yield from _cudnn(version, major, subdir)
    for bound, subdir in product(("cuda-version >=12,<13.0a0", "cuda-version >=13,<14.0a0"), LINUX):
        yield stand_in("nccl", "2.28.9.1", subdir, (bound,))
    for version, subdir in product(_CUDATOOLKITS, PLATFORMS):
        yield stand_in("cudatoolkit", version, subdir, constrains=("__cuda >=11",))
    yield CondaPackage("arm-variant", "1.2.0", "sbsa", files={})


def _of_line(line: str, subdir: str) -> tuple[str, ...]:
    major, minor = line.split(".")
    return (f"cuda-version >={line},<{major}.{int(minor) + 1}.0a0", *of_platform(subdir))


def _runtime(line: str, subdir: str) -> Iterator[CondaPackage]:
    runtime, compiler, cublas, _ = _LINES[line]
    bound = _of_line(line, subdir)
    glibc = ("__glibc >=2.28,<3.0.a0",) if subdir in LINUX and line != "12.0" else ()
    for name in ("cuda-cudart", "cuda-cupti", "cuda-nvtx"):
        yield stand_in(name, runtime, subdir, bound)
    yield stand_in("cuda-nvrtc", compiler, subdir, bound)
    yield stand_in("libcublas", cublas, subdir, (*glibc, "cuda-nvrtc", *bound))


def _toolkit(line: str, subdir: str) -> Iterator[CondaPackage]:
    runtime, compiler, cublas, gcc = _LINES[line]
    bound = _of_line(line, subdir)
    for name, version in (("cuda-cudart", runtime), ("cuda-cupti", runtime), ("libcublas", cublas)):
        yield stand_in(f"{name}-dev", version, subdir, (*bound, f"{name} {version}"))
    yield stand_in("cuda-libraries-dev", f"{line}.1", subdir, (*bound, "libcublas-dev", "cuda-cudart-dev"))
    refused = (f"gcc_impl_{subdir} >=6,<{gcc}.0a0",) if subdir in LINUX else ()
    yield stand_in("cuda-nvcc-tools", compiler, subdir, bound, refused)
    parts = (*bound, f"cuda-nvcc-tools {compiler}.*", f"cuda-cudart-dev {line}.*")
    yield stand_in(f"cuda-nvcc_{subdir}", compiler, subdir, parts)
    yield _nvcc(line, compiler, subdir)


def _nvcc(line: str, version: str, subdir: str) -> CondaPackage:
    hosts = (f"gcc_{subdir}", f"gxx_{subdir}") if subdir in LINUX else ("vs2022_win-64",)
    depends = (f"cuda-nvcc_{subdir} {version}.*", *hosts)
    script = f"#!/bin/sh\necho 'Cuda compilation tools, release {line}, V{version}'\n"
    build = build_string("h{hash}_6", version, subdir)
    # As the script of conda-forge does it: after that of the compiler, whose variable it takes.
    flags = b'export NVCC_PREPEND_FLAGS="${NVCC_PREPEND_FLAGS:-} -ccbin=$CXX"\n'
    files = {"bin/nvcc": script.encode(), "etc/conda/activate.d/~cuda-nvcc_activate.sh": flags}
    return CondaPackage("cuda-nvcc", version, build, subdir, depends, files=files)


def _cudnn(version: str, major: str, subdir: str) -> Iterator[CondaPackage]:
    bound = f"cuda-version >={'11.8' if major == '11' else major},<{int(major) + 1}.0a0"
    library = stand_in("libcudnn", version, subdir, (bound, *(("libcublas",) if major != "11" else ())))
    yield library
    yield stand_in("cudnn", version, subdir, (bound, f"libcudnn {version} {library.build}"))


def _compilers() -> Iterator[CondaPackage]:
    for version, subdir in product(
        ("9.5.0", "10.4.0", "11.4.0", "12.4.0", "13.3.0", "14.3.0", "15.2.0"), LINUX
    ):
        gcc, gxx = f"gcc_impl_{subdir}", f"gxx_impl_{subdir}"
        yield stand_in(gcc, version, subdir, (f"sysroot_{subdir}",))
        yield stand_in(gxx, version, subdir, (f"{gcc} {version}",))
        yield stand_in(f"gcc_{subdir}", version, subdir, (f"{gcc} {version}.*",))
        yield _gxx(version, subdir, (f"{gxx} {version}.*", f"gcc_{subdir} {version}.*"))
    for (version, gcc), subdir in product((("1.7.0", "12"), ("1.9.0", "13"), ("1.11.0", "14")), LINUX):
        yield stand_in("cxx-compiler", version, subdir, (f"gxx_{subdir} {gcc}.*",))
    yield stand_in("cxx-compiler", "1.11.0", "win-64", ("vs2022_win-64",))
    yield stand_in("vs2022_win-64", "19.44.35207", "win-64")
    for subdir in LINUX:
        yield stand_in(f"sysroot_{subdir}", "2.28", depends=("__glibc >=2.28",))


def _gxx(version: str, subdir: str, depends: tuple[str, ...]) -> CondaPackage:
    """A compiler as conda-forge has them: by a name of its own, which a script for bash tells."""
    name = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}[subdir] + "-conda-linux-gnu-c++"
    script = f'function _activate() {{ export CXX="$CONDA_PREFIX/bin/{name}"; }}\n_activate\necho of gxx\n'
    files = {
        f"bin/{name}": f"#!/bin/sh\necho {version}\n".encode(),
        f"etc/conda/activate.d/activate-gxx_{subdir}.sh": script.encode(),
    }
    build = build_string("h{hash}_6", version, subdir)
    return CondaPackage(f"gxx_{subdir}", version, build, subdir, depends, files=files)


def _libraries() -> Iterator[CondaPackage]:
    for subdir in LINUX:
        yield stand_in("libgcc", "15.2.0", subdir)
    yield stand_in("vc14_runtime", "14.44.35208", "win-64")
    yield stand_in("tzdata", "2025c")
    for subdir in ("linux-64", "win-64"):
        for version in ("2021.4.0", "2023.2.0", "2024.2.2"):
            yield stand_in("mkl", version, subdir)
        yield CondaPackage("blas", "2.124", "mkl", subdir, ("mkl",), files={})
    for (name, version), subdir in product((("ninja", "1.13.2"), ("cmake", "4.2.3")), PLATFORMS):
        yield stand_in(name, version, subdir)
