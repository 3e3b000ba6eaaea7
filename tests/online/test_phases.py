"""Phased installation for real: a CUDA extension is built from source on locked wheels, by the wheels' nvcc.

The extension is a source distribution on an index of the loopback that leads to PyPI for everything else; the
machine's own CUDA is hidden.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli_w

from cudaenv.system.uv import default_index
from tests.end_to_end.test_builds import write_table
from tests.online.test_kernels import NO_DRIVER
from tests.support.index import IndexServer, Request, Sdist, World, _Response
from tests.support.kernels import Kernels, without_cuda
from tests.support.planning import ROOT
from tests.support.project import PYTHON

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="the locked environments are for Linux"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler here"),
]

H100 = {"name": "node", "gpu": "H100", "driver": "595.71.05", "glibc": "2.35", "platform": "linux-64"}
REQUIRES = "torch numpy setuptools ninja"


class BesidePyPI(IndexServer):
    """A default index that has some projects itself, and leads to PyPI for the others."""

    def _content(self, request: Request, accept: str | None) -> _Response:
        answer = super()._content(request, accept)
        match = re.fullmatch(r"/simple/([^/]+)/", request.path)
        if answer.status != 404 or match is None:
            return answer
        return _Response(302, headers={"Location": f"{default_index(os.environ)}/{match[1]}/"})


@dataclass(frozen=True)
class Builder:
    """A project with a cache of its own for built wheels, installed over the environment of the example."""

    folder: Path
    prefix: Path
    tables: Path
    cache: Path

    def cudaenv(self, *arguments: str, status: int = 0, **env: str) -> str:
        """Run the program; return what it says to people."""
        own = {"CUDAENV_MATRIX": str(self.tables), "CUDAENV_CACHE_DIR": str(self.cache)}
        done = subprocess.run(
            [sys.executable, "-m", "cudaenv", *arguments],
            cwd=self.folder,
            env=without_cuda() | own | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr

    def sync(self, status: int = 0) -> str:
        """Install into the shared environment."""
        return self.cudaenv("sync", "--prefix", str(self.prefix), status=status)

    def lock(self, *packages: str) -> None:
        """Lock torch and packages of the loopback index."""
        spec = {"target": "run-only", "python": PYTHON, "packages": dict.fromkeys(("torch", *packages), "*")}
        index = {"indexes": {"default": json.loads((self.folder / "index.json").read_text())}}
        (self.folder / "cudaenv.toml").write_text(tomli_w.dumps(spec | index | {"machine": [H100]}))
        self.cudaenv("lock")


# Without headers of torch it compiles in seconds; torch's build system and nvcc are at work all the same.
KERNELS = b"""\
#include <Python.h>
#include <cuda_runtime.h>
HEADER
__global__ void one(int *value) { *value = 1; }

static PyObject *launch(PyObject *, PyObject *) {
  one<<<1, 1>>>(nullptr);
  return PyUnicode_FromString(cudaGetErrorString(cudaGetLastError()));
}
static PyMethodDef methods[] = {{"launch", launch, METH_NOARGS, "launch a kernel"}, {}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "NAME", nullptr, -1, methods};
PyMODINIT_FUNC PyInit_NAME() { return PyModule_Create(&module); }
"""
SETUP = """\
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

flags = {flags!r}
extension = CUDAExtension({name!r}, ["kernels.cu"], extra_compile_args={{"cxx": flags, "nvcc": flags}})
setup(name={name!r}, version="1.0", ext_modules=[extension], cmdclass={{"build_ext": BuildExtension}})
"""


def source(name: str, header: str = "", *flags: str) -> Sdist:
    """A source distribution of a small CUDA extension."""
    kernels = KERNELS.replace(b"HEADER", header.encode()).replace(b"NAME", name.encode())
    setup = SETUP.format(name=name, flags=list(flags))
    project = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    files = {"setup.py": setup.encode(), "pyproject.toml": project.encode(), "kernels.cu": kernels}
    return Sdist(name, "1.0", files=files)


@pytest.fixture(scope="module")
def builder(kernels: Kernels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    place = tmp_path_factory.mktemp("phases")
    shutil.copytree(ROOT / "matrix", place / "matrix")
    for name in ("tiny", "old"):
        write_table(
            place / "matrix",
            name,
            requires=REQUIRES,
            env="TORCH_CUDA_ARCH_LIST={sms} MAX_JOBS={jobs}",
            components="nvcc cudart cccl cublas cusparse cusolver",
        )
    world = World(place / "world", {})
    world.add("simple", source("tiny"), source("old", "#include <ATen/ATen.h>", "-std=c++17"))
    (place / "project").mkdir()
    with BesidePyPI(world.folder) as server:
        (place / "project" / "index.json").write_text(json.dumps(f"{server.url}/simple"))
        yield Builder(place / "project", kernels.folder / ".venv", place / "matrix", place / "cache")


def test_an_extension_is_built_once_on_the_locked_wheels_and_taken_again(builder: Builder) -> None:
    builder.lock("tiny")
    said = builder.sync()
    assert said.index("then built from source: tiny==1.0") < said.index("installing cu132")
    assert said.index("installing cu132") < said.index("building tiny==1.0 with ")
    log = (builder.prefix / ".cudaenv/build-tiny.log").read_text()
    assert "arch=compute_90,code=sm_90" in log
    assert f"{builder.prefix}/lib/python{PYTHON}/site-packages/nvidia/cu13/bin/nvcc" in log
    said = builder.sync()
    assert "tiny==1.0 was built before with the same torch, toolkit and compiler" in said
    assert "building" not in said
    python = builder.prefix / "bin" / "python"
    code = "import tiny; print(tiny.launch())"
    shown = subprocess.check_output([python, "-I", "-c", code], text=True)
    assert shown.strip() in {NO_DRIVER, "no error"}, "it is ours, GPU or not"


def test_a_build_that_the_headers_of_torch_refuse_is_told_with_its_cause(builder: Builder) -> None:
    builder.lock("old")
    said = builder.sync(status=5)
    assert "old==1.0 could not be built" in said
    assert (
        "likely cause: setup.py asks for an older standard of C++ than the headers of this torch take" in said
    )
    assert "C++20 or later compatible compiler is required to use" in said
    assert f"hint: The whole log is {builder.prefix}/.cudaenv/build-old.log" in said


def test_without_a_compiler_nothing_is_fetched(builder: Builder, tmp_path: Path) -> None:
    builder.lock("tiny")
    said = builder.cudaenv("sync", "--prefix", str(tmp_path / "new"), status=5, PATH=str(tmp_path))
    assert "tiny==1.0 cannot be compiled on this machine" in said
    assert "there is no `g++` on PATH" in said
    assert not (tmp_path / "new").exists()
