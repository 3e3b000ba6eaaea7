"""Toolkits and compilers that stand on this machine: where they are, and which release they say they are."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cudaenv.errors import ToolError
from cudaenv.model.versions import CudaVersion, gcc_major
from cudaenv.system.host import HOST, HostFiles
from cudaenv.system.process import run

VARIABLES = ("CUDA_HOME", "CUDA_PATH")
USUAL = ("/usr/local/cuda", "/opt/cuda")
VERSIONED = ("/usr/local", "cuda-*")
MODULE_NAMES = {"cuda", "cudatoolkit", "cuda-toolkit"}
ANSWER_S = 20.0
"""How long a compiler may take to say its version; a cold network file system takes seconds."""


@dataclass(frozen=True, slots=True)
class FoundToolkit:
    """A toolkit with nvcc and headers: its folder, its release line, and what led to it."""

    home: Path
    cuda: CudaVersion
    origin: str


@dataclass(frozen=True, slots=True)
class FoundCompiler:
    """A compiler on PATH: the name it is called by, and its version."""

    program: str
    version: str

    @property
    def major(self) -> int:
        """The major version, which is what nvcc looks at."""
        return gcc_major(self.version)


def find_toolkits(env: Mapping[str, str], files: HostFiles = HOST) -> tuple[FoundToolkit, ...]:
    """The toolkits of this machine, each once, those that programs find first: by variables, PATH, place.

    What has no compiler or no headers is none. A toolkit that does not tell its release is left out.
    """
    found: dict[Path, FoundToolkit] = {}
    for home, origin in _places(env, files):
        real = home.resolve()
        cuda = _release(home, env) if real not in found and _is_whole(home) else None
        if cuda is not None:
            found[real] = FoundToolkit(home, cuda, origin)
    return tuple(found.values())


def _places(env: Mapping[str, str], files: HostFiles) -> Iterator[tuple[Path, str]]:
    for name in VARIABLES:
        if env.get(name):
            yield Path(env[name]), name
    nvcc = shutil.which("nvcc", path=env.get("PATH"))
    if nvcc is not None:
        yield _home_of(Path(nvcc), env), "PATH"
    for place in USUAL:
        yield files.path(place), place
    folder, pattern = VERSIONED
    versioned = sorted(files.path(folder).glob(pattern), key=_numbers, reverse=True)
    yield from ((path, f"{folder}/{path.name}") for path in versioned)


def _numbers(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.name)]


def _home_of(nvcc: Path, env: Mapping[str, str]) -> Path:
    """The folder whose `bin` an nvcc lies in; a wrapper elsewhere is asked where its toolkit is."""
    for program in (nvcc, nvcc.resolve()):
        if _is_whole(program.parent.parent):
            return program.parent.parent
    said = _says([str(nvcc), "--dryrun", "-c", "-x", "cu", "-"], env)
    match = re.search(r"^#\$ _HERE_=(.+)$", said, re.MULTILINE)
    return Path(match[1]).parent if match else nvcc.parent.parent


def _is_whole(home: Path) -> bool:
    has_headers = (home / "include" / "cuda_runtime.h").is_file()
    return has_headers and any((home / "bin" / name).is_file() for name in ("nvcc", "nvcc.exe"))


def _release(home: Path, env: Mapping[str, str]) -> CudaVersion | None:
    """By version.json, from CUDA 11.1 on; by version.txt before; packages without either ask nvcc."""
    text = HostFiles(home).text("version.json")
    try:
        said = str(json.loads(text)["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        said = HostFiles(home).text("version.txt").removeprefix("CUDA Version ")
    match = re.match(r"(\d+\.\d+)", said)
    if match is None:
        match = re.search(r"release (\d+\.\d+)", _says([str(home / "bin" / "nvcc"), "--version"], env))
    return CudaVersion.parse(match[1]) if match else None


def find_modules(env: Mapping[str, str]) -> tuple[str, ...]:
    """Environment modules of CUDA that can be loaded here, by name: `cuda/12.6`.

    Their files lie in the folders of MODULEPATH, as `cuda/12.6` or `cuda/12.6.lua`
    (https://lmod.readthedocs.io/en/latest/, https://modules.readthedocs.io/en/latest/module.html).
    """
    names = set()
    for folder in filter(None, env.get("MODULEPATH", "").split(":")):
        for place in _entries(Path(folder)):
            if place.name.lower() in MODULE_NAMES:
                names |= {f"{place.name}/{path.name.removesuffix('.lua')}" for path in _entries(place)}
    return tuple(sorted(name for name in names if re.search(r"/v?\d+\.\d+", name)))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def find_compiler(program: str, env: Mapping[str, str]) -> FoundCompiler | None:
    """A GCC by the name it is called by, `g++` or `g++-13`; None where there is none that tells its version.

    `-dumpfullversion` is older than GCC 7 (https://gcc.gnu.org/onlinedocs/gcc/Developer-Options.html).
    """
    path = shutil.which(program, path=env.get("PATH", ""))
    said = _says([path, "-dumpfullversion", "-dumpversion"], env).strip() if path else ""
    return FoundCompiler(program, said) if re.fullmatch(r"\d{1,2}(\.\d+){0,2}", said) else None


def _says(command: list[str], env: Mapping[str, str]) -> str:
    """What a program prints, on whichever stream; empty where it cannot be run."""
    try:
        done = run(command, env={**env, "LC_ALL": "C"}, timeout_s=ANSWER_S)
    except ToolError:
        return ""
    return done.stdout + done.stderr
