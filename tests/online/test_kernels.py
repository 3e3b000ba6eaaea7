"""The example of kernels, from PyPI alone: its README is followed, and what it compiles is looked at.

The compiler, the headers and the libraries are those of wheels; the machine gives a C++ compiler and hides
its own CUDA. One environment serves all tests.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.support.kernels import Kernels
from tests.support.project import without_gpu

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="the example is for Linux"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler here"),
]

DRIVER = "#include <cuda.h>\nint main() { return cuInit(0); }\n"
CMAKE = """\
cmake_minimum_required(VERSION 3.24)
project(driver LANGUAGES CXX)
find_package(CUDAToolkit REQUIRED)
add_executable(driver driver.cpp)
target_link_libraries(driver PRIVATE CUDA::cuda_driver)
"""
NO_DRIVER = "CUDA driver version is insufficient for CUDA runtime version"


@pytest.fixture(scope="module")
def cuobjdump(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """NVIDIA's reader of compiled code, from PyPI, apart from the environment that is looked at."""
    venv = tmp_path_factory.mktemp("cuobjdump") / "venv"
    subprocess.run([find_uv_bin(), "venv", "-q", "--python", sys.executable, venv], check=True)
    wanted = "nvidia-cuda-cuobjdump"
    subprocess.run([find_uv_bin(), "pip", "install", "-q", "--python", venv, wanted], check=True)
    (program,) = venv.glob("lib/python*/site-packages/nvidia/*/bin/cuobjdump")
    yield program


def test_the_toolkit_is_the_environments_own_and_has_the_links_that_builds_look_for(kernels: Kernels) -> None:
    home = kernels.home
    assert home.is_relative_to(kernels.folder / ".venv")
    assert (home / "lib64").readlink() == Path("lib")
    for name in ("libcudart.so", "libcublas.so", "libnvrtc.so"):
        link = home / "lib" / name
        assert link.is_symlink()
        assert link.resolve().is_file()
        assert link.resolve().parent == (home / "lib").resolve()
    assert kernels.run("sh", "-c", "command -v nvcc").stdout.strip() == str(home / "bin" / "nvcc")


def test_how_much_is_fetched_was_said_before(kernels: Kernels) -> None:
    first = kernels.said["cudaenv sync"].splitlines()[0]
    assert re.fullmatch(
        r"\d+ wheels, [34]\.\d GB to download, [5-7]\.\d GB on disk; [\d.]+ GB of disk are free", first
    )


@pytest.mark.parametrize("library", ["build/libheat.so", "ramp"])
def test_libraries_hold_code_for_the_planned_architectures_and_no_other(
    kernels: Kernels, cuobjdump: Path, library: str
) -> None:
    if library == "ramp":
        (path,) = (kernels.folder / ".venv").glob("lib/python*/site-packages/ramp/_kernels*.so")
    else:
        path = kernels.folder / library
    listed = kernels.call(str(cuobjdump), "--list-elf", str(path)).stdout
    assert set(re.findall(r"\.(sm_\d+\w?)\.cubin", listed)) == kernels.planned == {"sm_90"}


def test_what_is_linked_finds_its_libraries_in_the_environment_without_any_variable(kernels: Kernels) -> None:
    found = kernels.loads("squares", "build/cool", "build/libheat.so")
    assert {"libcudart.so.13", "libcublas.so.13"} <= set(found)
    for path in found.values():
        assert Path(path).is_relative_to(kernels.home), found


@without_gpu
@pytest.mark.parametrize("program", ["./saxpy", "./squares", "./build/cool"])
def test_a_program_starts_and_lacks_nothing_but_a_driver(kernels: Kernels, program: str) -> None:
    done = kernels.call(program)
    assert (done.returncode, done.stdout) == (1, "")
    assert NO_DRIVER in done.stderr


@without_gpu
@pytest.mark.parametrize("tool", ["nvcc", "g++", "cmake"])
def test_what_calls_the_driver_itself_is_linked_without_one(kernels: Kernels, tool: str) -> None:
    folder = kernels.folder / f"driver-{tool}"
    folder.mkdir()
    (folder / "driver.cpp").write_text(DRIVER)
    (folder / "CMakeLists.txt").write_text(CMAKE)
    commands = {
        "nvcc": f"nvcc {folder}/driver.cpp -lcuda -o {folder}/driver",
        "g++": f"g++ -I$CUDA_HOME/include {folder}/driver.cpp -lcuda -o {folder}/driver",
        "cmake": f"cmake -S {folder} -B {folder} -G Ninja && cmake --build {folder}",
    }
    done = kernels.run("sh", "-c", commands[tool])
    assert done.returncode == 0, done.stdout + done.stderr
    done = kernels.run(f"{folder}/driver")
    assert done.returncode == 127, "not even the stub is found"
    assert "libcuda.so.1: cannot open shared object file" in done.stderr


@without_gpu
def test_the_extension_loads_and_lacks_nothing_but_a_driver(kernels: Kernels) -> None:
    code = "import ramp; print('loaded', flush=True); ramp.ramp(4)"
    done = kernels.run("python", "-c", code)
    assert done.stdout == "loaded\n"
    assert "Found no NVIDIA driver on your system" in done.stderr
    # It is our own code that is called: it says what is wrong before any GPU is asked for.
    refused = kernels.run("python", "-c", "import ramp; ramp.ramp(-1)")
    assert "expected a number of values, got -1" in refused.stderr


def test_a_second_sync_keeps_the_links_and_removes_what_is_not_locked(kernels: Kernels) -> None:
    before = {path: path.readlink() for path in kernels.home.rglob("*") if path.is_symlink()}
    done = kernels.cudaenv("sync")
    assert done.returncode == 0, done.stderr
    assert {path: path.readlink() for path in kernels.home.rglob("*") if path.is_symlink()} == before
    assert "No module named 'ramp'" in kernels.run("python", "-I", "-c", "import ramp").stderr
