"""Builds of torch and its extensions as conda-forge, pytorch and nvidia have them: what the matrix says.

Whatever is planned has its package, with a build string of the real shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from packaging.version import Version

from tests.support.conda_base import LINUX, PYTHONS, of_platform
from tests.support.conda_package import (
    CondaPackage,
    below,
    build_string,
    distribution,
    site_packages,
)
from tests.support.registry import Row
from tests.support.wheels import torch_modules

# Release lines in the channel nvidia: the versions of the components and of cuBLAS.
_NVIDIA = {
    "11.3": ("11.3.109", "11.5.1.109"),
    "11.6": ("11.6.55", "11.9.2.110"),
    "11.7": ("11.7.99", "11.10.3.66"),
    "11.8": ("11.8.89", "11.11.3.6"),
    "12.1": ("12.1.105", "12.1.0.26"),
    "12.4": ("12.4.127", "12.4.2.65"),
}
_NVIDIA_PLATFORMS = ("linux-64", "win-64")

LABELS = ("11.3.0", "11.7.0", "11.8.0")
"""The releases of which the channel nvidia has the toolkit, each under a label."""

# cuDNN of builds of the channel pytorch where their row does not say it.
_CUDNN = {"cu102": "7.6.5", "cu113": "8.3.2", "cu115": "8.3.2", "cu116": "8.3.2", "cu117": "8.5.0"}
_CUDNN |= {"cu118": "8.7.0", "cu121": "8.9.2", "cu124": "9.1.0"}

# torchvision that was released with a torch.
_VISION = {"2.10.0": "0.25.0", "2.11.0": "0.26.0", "2.12.0": "0.27.0"}


def conda_forge_builds(rows: Sequence[Row]) -> Iterator[CondaPackage]:
    """What conda-forge has, by its rows."""
    for row in (row for row in rows if row["channel"] == "conda-forge"):
        for python in _pythons(row):
            if row["package"] == "pytorch":
                torch = _torch(row, python)
                yield torch
                if row["version"] in _VISION and row["platform"] == "linux-64":
                    yield _torchvision(torch, row, python)
            elif row["package"] in {"mmcv", "mmcv-full"}:
                yield _mmcv(row, python)
        if row["package"] == "xformers":
            yield _xformers(row)


def pytorch_builds(rows: Sequence[Row]) -> Iterator[CondaPackage]:
    """What the channel pytorch has: of each minor version since 1.12 the last one."""
    torch = [row for row in rows if row["channel"] == "pytorch" and row["package"] == "pytorch"]
    newest: dict[tuple[int, ...], Version] = {}
    for version in (Version(row["version"]) for row in torch):
        newest[version.release[:2]] = max(version, newest.get(version.release[:2], version))
    for row in torch:
        if Version(row["version"]) in newest.values() and Version(row["version"]) >= Version("1.12"):
            yield from (_upstream_torch(row, python) for python in _pythons(row))
    for kind, features in (("cpu", "cpuonly"), ("cuda", "")):
        yield CondaPackage("pytorch-mutex", "1.0", kind, kind="tar.bz2", features=features, files={})
    for line, subdir in product(_NVIDIA, _NVIDIA_PLATFORMS):
        if line != "11.3":  # from before pytorch-cuda
            yield _pytorch_cuda(line, subdir)


def nvidia_packages() -> Iterator[CondaPackage]:
    """What the channel nvidia has outside of its labels."""
    for (line, (version, cublas)), subdir in product(_NVIDIA.items(), _NVIDIA_PLATFORMS):
        for name in ("cuda-cudart", "cuda-cupti", "cuda-nvrtc", "cuda-nvtx"):
            yield _nvidia(name, version, subdir)
        yield _nvidia("libcublas", cublas, subdir)
        needs = (f"cuda-cudart >={version}", f"cuda-nvrtc >={version}", f"libcublas >={cublas}")
        yield _nvidia("cuda-libraries", f"{line}.0", subdir, needs)
        yield _nvidia("cuda-runtime", f"{line}.0", subdir, (f"cuda-libraries >={line}.0",))


def label_packages(release: str) -> Iterator[CondaPackage]:
    """What a label of the channel nvidia has: the toolkit of one release."""
    version, cublas = _NVIDIA[release.rpartition(".")[0]]
    for subdir in _NVIDIA_PLATFORMS:
        yield _nvidia(
            "cuda-toolkit", release, subdir, (f"cuda-nvcc >={version}", f"libcublas-dev >={cublas}")
        )
        yield _nvidia("cuda-nvcc", version, subdir)
        yield _nvidia("libcublas", cublas, subdir)
        yield _nvidia("libcublas-dev", cublas, subdir, (f"libcublas >={cublas}",))


def _nvidia(name: str, version: str, subdir: str, depends: Sequence[str] = ()) -> CondaPackage:
    files = {f"share/{name}/VERSION": version.encode()}
    return CondaPackage(name, version, "0", subdir, depends, files=files, kind="tar.bz2")


def _pythons(row: Row) -> list[str]:
    """The Pythons of a row; where it has none, those that the torch of its time was built for."""
    release = Version(row["version"]).release
    usual = PYTHONS[:4] if release < (2, 6) else PYTHONS[1:]
    return [python for python in row.get("pythons", "").split() or usual if python in PYTHONS]


def _cuda(row: Row) -> str:
    """The release line of a row; empty for CPU builds."""
    variant = row["variant"]
    return f"{variant[2:-1]}.{variant[-1]}" if variant.startswith("cu") else ""


def _of_python(python: str) -> tuple[str, ...]:
    minor = int(python.split(".")[1])
    return (f"python >={python},<3.{minor + 1}.0a0", f"python_abi {python}.* *_cp3{minor}")


def _of_cuda(row: Row) -> tuple[str, ...]:
    """What a build asks for: its release line or a newer one of the same major version."""
    line = _cuda(row)
    if not line:
        return ()
    major = int(line.split(".")[0])
    bound = f">={line},<{major + 1}"
    return (f"cudatoolkit {bound}",) if major < 12 else (f"cuda-version {bound}", f"cuda-cudart {bound}.0a0")


def _torch(row: Row, python: str) -> CondaPackage:
    version, subdir = row["version"], row["platform"]
    depends = (
        *_of_python(python),
        *("filelock", "fsspec", "jinja2", "networkx", "sympy", "typing_extensions >=4.8.0"),
        "numpy <3" if Version(version) >= Version("2.3") else "numpy <2",
        *(("mkl",) if subdir != "linux-aarch64" else ()),
        *of_platform(subdir),
        *_of_cuda(row),
        *_torch_libraries(row),
    )
    gpu = f"pytorch-gpu {version}" if _cuda(row) else "pytorch-gpu <0.0a0"
    files = _torch_files(row, python)
    return CondaPackage("pytorch", version, _torch_build(row, python), subdir, depends, (gpu,), files)


def _torch_build(row: Row, python: str) -> str:
    """`cuda129_mkl_py312_h1234567_300`; before 2.5 `cuda120_py312h1234567_300`. The number counts, too."""
    has_mkl = row["platform"] != "linux-aarch64"
    number = (200 if _cuda(row) else 0) + (100 if has_mkl else 0)
    label = f"cuda{row['variant'][2:]}" if _cuda(row) else "cpu"
    py = f"py{python.replace('.', '')}"
    end = f"h{{hash}}_{number}"
    if Version(row["version"]) < Version("2.5"):
        return build_string(f"{label}_{py}{end}", sorted(row.items()), python)
    return build_string(f"{label}_{'mkl' if has_mkl else 'generic'}_{py}_{end}", sorted(row.items()), python)


def _torch_libraries(row: Row) -> Iterator[str]:
    if not _cuda(row):
        return
    yield "__cuda"
    if row["variant"] < "cu12":
        return
    yield from ("libcublas", "cuda-nvrtc", "cuda-cupti")
    cudnn = row.get("cudnn", "9.10.1.4")
    yield "libcudnn >=8.9.7.29,<9.0a0" if cudnn.startswith("8.") else "libcudnn >=9.10.1.4,<10.0a0"
    if row["platform"] in LINUX:
        yield "nccl >=2.22.3.1,<3.0a0"


def _torch_files(row: Row, python: str) -> dict[str, bytes]:
    archs = [f"sm_{sm.replace('.', '')}" for sm in row.get("sms", "").split()]
    modules = torch_modules(row["version"], _cuda(row) or None, archs)
    folder = site_packages(python, row["platform"])
    return below(folder, modules | distribution("torch", row["version"]))


def _module(name: str, version: str, project: str = "") -> dict[str, bytes]:
    """A module that needs torch."""
    text = f"import torch\n\n__version__ = {version!r}\n"
    return {f"{name}/__init__.py": text.encode()} | distribution(project or name, version)


def _torchvision(torch: CondaPackage, row: Row, python: str) -> CondaPackage:
    version = _VISION[torch.version]
    label = f"cuda{row['variant'][2:]}" if _cuda(row) else "cpu"
    build = build_string(f"{label}_py{python.replace('.', '')}_h{{hash}}_0", torch.build)
    depends = (*_of_python(python), f"pytorch {torch.version} {torch.build}", "numpy")
    files = below(site_packages(python, torch.subdir), _module("torchvision", version))
    return CondaPackage("torchvision", version, build, torch.subdir, depends, files=files)


def _mmcv(row: Row, python: str) -> CondaPackage:
    name, version, subdir = row["package"], row["version"], row["platform"]
    pattern = f"cuda{row['variant'][2:]}py{python.replace('.', '')}h{{hash}}_200"
    more = ("mmengine",) if name == "mmcv" else ()
    torch = f"pytorch {row.get('torch', '*')} cuda*"
    depends = (*_of_python(python), torch, "numpy", *more, *_of_cuda(row))
    files = below(site_packages(python, subdir), _module("mmcv", version, name))
    build = build_string(pattern, sorted(row.items()), python)
    return CondaPackage(name, version, build, subdir, depends, files=files)


def _xformers(row: Row) -> CondaPackage:
    """Built for the stable ABI of Python 3.10."""
    version = row["version"]
    build = build_string(f"cuda_{row['variant'][2:]}py310h{{hash}}_0", sorted(row.items()))
    depends = ("python >=3.10", f"pytorch {row['torch']} cuda*", "numpy", *_of_cuda(row))
    files = below("site-packages", _module("xformers", version))
    return CondaPackage("xformers", version, build, row["platform"], depends, files=files, python=True)


def _upstream_torch(row: Row, python: str) -> CondaPackage:
    """Torch of the channel pytorch: `py3.10_cuda11.7_cudnn8.5.0_0`; its CUDA is NVIDIA's from 1.13 on."""
    version, subdir, line = row["version"], row["platform"], _cuda(row)
    cudnn = row.get("cudnn", "8" if subdir == "win-64" else _CUDNN.get(row["variant"], ""))
    build = f"py{python}_cuda{line}_cudnn{cudnn}_0" if line else f"py{python}_cpu_0"
    depends = [
        f"python >={python},<3.{int(python.split('.')[1]) + 1}.0a0",
        "blas * mkl",
        "mkl >=2018",
        "typing_extensions",
        *(
            ("filelock", "jinja2", "networkx", "sympy", "pyyaml")
            if Version(version) >= Version("2.0")
            else ()
        ),
        f"pytorch-mutex 1.0 {'cuda' if line else 'cpu'}",
    ]
    if line:
        major, minor = line.split(".")
        source = "cudatoolkit" if Version(version) < Version("1.13") else "pytorch-cuda"
        depends.append(f"{source} >={line},<{major}.{int(minor) + 1}")
    constrains = ("cpuonly <0",) if line else ()
    files = _torch_files(row, python)
    return CondaPackage("pytorch", version, build, subdir, depends, constrains, files, kind="tar.bz2")


def _pytorch_cuda(line: str, subdir: str) -> CondaPackage:
    major, minor = line.split(".")
    names = ("cuda-cudart", "cuda-cupti", "cuda-libraries", "cuda-nvrtc", "cuda-nvtx", "cuda-runtime")
    cublas = _NVIDIA[line][1]
    following = f"{cublas.rpartition('.')[0]}.{int(cublas.rpartition('.')[2]) + 1}"
    depends = [f"{name} >={line},<{major}.{int(minor) + 1}" for name in names]
    depends.append(f"libcublas >={cublas},<{following}")
    build = build_string("h{hash}_5", line, subdir)
    return CondaPackage("pytorch-cuda", line, build, subdir, depends, files={}, kind="tar.bz2")
