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
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli_w

from cudaenv.system.uv import default_index
from tests.end_to_end.test_builds import write_table
from tests.online.test_kernels import HIDDEN, NO_DRIVER
from tests.support.index import IndexServer, Request, Sdist, World, _Response
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
    """A project that is locked once, with its own cache of built wheels."""

    folder: Path
    tables: Path
    cache: Path

    def cudaenv(self, *arguments: str, status: int = 0) -> str:
        """Run the program; return what it says to people."""
        env = {key: value for key, value in os.environ.items() if key not in HIDDEN | {"MAX_JOBS"}}
        path = [part for part in env["PATH"].split(":") if not (Path(part) / "nvcc").exists()]
        own = {"CUDAENV_MATRIX": str(self.tables), "CUDAENV_CACHE_DIR": str(self.cache)}
        done = subprocess.run(
            [sys.executable, "-m", "cudaenv", *arguments],
            cwd=self.folder,
            env=env | own | {"PATH": ":".join(path), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr

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
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
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
        yield Builder(place / "project", place / "matrix", place / "cache")


def test_an_extension_is_built_once_on_the_locked_wheels_and_taken_again(builder: Builder) -> None:
    builder.lock("tiny")
    said = builder.cudaenv("sync")
    assert re.search(r"^\d+ wheels, \d\.\d GB to download, \d\.\d GB on disk; ", said, re.MULTILINE)
    assert said.index("then built from source: tiny==1.0") < said.index("installing cu132")
    assert said.index("installing cu132") < said.index("building tiny==1.0 with ")
    log = (builder.folder / ".venv/.cudaenv/build-tiny.log").read_text()
    assert "arch=compute_90,code=sm_90" in log
    assert f"{builder.folder}/.venv/lib/python{PYTHON}/site-packages/nvidia/cu13/bin/nvcc" in log
    begun = time.monotonic()
    said = builder.cudaenv("sync", "--prefix", "elsewhere")
    assert "tiny==1.0 was built before with the same torch, toolkit and compiler" in said
    assert "building" not in said
    assert time.monotonic() - begun < 60
    for prefix in (".venv", "elsewhere"):
        python = builder.folder / prefix / "bin" / "python"
        code = "import tiny; print(tiny.launch())"
        shown = subprocess.check_output([python, "-I", "-c", code], text=True)
        assert shown.strip() in {NO_DRIVER, "invalid argument", "no error"}, "it is ours, GPU or not"


def test_a_build_that_the_headers_of_torch_refuse_is_told_with_its_cause(builder: Builder) -> None:
    builder.lock("old")
    said = builder.cudaenv("sync", status=5)
    assert "old==1.0 could not be built" in said
    assert (
        "likely cause: setup.py asks for an older standard of C++ than the headers of this torch take" in said
    )
    assert "C++20 or later compatible compiler is required to use" in said
    assert f"hint: The whole log is {builder.folder}/.venv/.cudaenv/build-old.log" in said
