"""The links that make merged wheels a CUDA_HOME: which are made, what is left alone, what is removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cudaenv.errors import ToolError
from cudaenv.system.cuda_home import complete, make_driver_stub

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the links are for Linux")

FILES = (
    "lib/libcudart.so.13",
    "lib/libcudart_static.a",
    "lib/libnvrtc-builtins.so.13.2",
    "lib/libcufile_rdma.so.1",
    "bin/nvcc",
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_libraries_get_their_plain_names_and_the_folder_its_other_name(home: Path) -> None:
    made = complete(home)
    plain = ("lib/libcudart.so", "lib/libcufile_rdma.so", "lib/libnvrtc-builtins.so")
    assert made == ("lib64", *plain)
    assert (home / "lib64" / "libcudart.so").read_text() == "lib/libcudart.so.13"
    # Relative, so that the folder can be moved or mounted elsewhere.
    assert (home / "lib/libcudart.so").readlink() == Path("libcudart.so.13")
    assert (home / "lib64").readlink() == Path("lib")


def test_a_second_run_changes_nothing(home: Path) -> None:
    complete(home)
    before = {path: path.lstat().st_mtime_ns for path in home.rglob("*")}
    assert complete(home) == ()
    assert {path: path.lstat().st_mtime_ns for path in home.rglob("*")} == before


def test_of_two_releases_the_newer_is_meant(home: Path) -> None:
    for release in ("9", "10.1"):
        (home / f"lib/libcurand.so.{release}").touch()
    complete(home)
    assert (home / "lib/libcurand.so").readlink() == Path("libcurand.so.10.1")


@pytest.mark.parametrize("kind", ["file", "link", "broken link elsewhere"])
def test_what_is_there_stays_as_it_is(home: Path, kind: str) -> None:
    place = home / "lib/libcudart.so"
    if kind == "file":
        place.write_text("of a wheel")
    else:
        place.symlink_to("/nowhere/libcudart.so" if "broken" in kind else home / "bin/nvcc")
    before = place.readlink() if place.is_symlink() else place.read_text()
    assert "lib/libcudart.so" not in complete(home)
    assert (place.readlink() if place.is_symlink() else place.read_text()) == before
    assert (home / "lib/libcudart.so.13").read_text() == "lib/libcudart.so.13"


def test_a_folder_that_a_wheel_brings_is_no_place_for_a_link(home: Path) -> None:
    (home / "lib64").mkdir()
    assert "lib64" not in complete(home)
    assert not (home / "lib64").is_symlink()


def test_links_follow_an_update_and_go_with_the_library(home: Path) -> None:
    complete(home)
    (home / "lib/libcudart.so.13").rename(home / "lib/libcudart.so.14")
    (home / "lib/libcufile_rdma.so.1").unlink()
    assert complete(home) == ("lib/libcudart.so",)
    assert (home / "lib/libcudart.so").readlink() == Path("libcudart.so.14")
    assert not (home / "lib/libcufile_rdma.so").is_symlink()


def test_where_there_are_no_libraries_nothing_is_made(tmp_path: Path) -> None:
    assert complete(tmp_path / "none") == ()
    assert list(tmp_path.iterdir()) == []


HEADER = """\
#define cuMemAlloc cuMemAlloc_v2
CUresult CUDAAPI cuInit(unsigned int Flags);
CUresult CUDAAPI cuMemAlloc(CUdeviceptr *dptr, size_t bytesize);
typedef enum CUresult_enum { CUDA_SUCCESS = 0 } CUresult; /* not cudaMalloc */
"""

has_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("g++"), reason="there is no g++ here"
)


@has_compiler
def test_the_stub_has_the_names_of_the_header_and_asks_for_the_drivers_library(home: Path) -> None:
    (home / "include").mkdir()
    (home / "include/cuda.h").write_text(HEADER)
    complete(home)
    make_driver_stub(home, "g++", os.environ)
    stub = home / "lib64/stubs/libcuda.so"
    names = subprocess.run(["nm", "-D", "--defined-only", stub], capture_output=True, text=True, check=True)
    found = {line.split()[-1] for line in names.stdout.splitlines()}
    assert {name for name in found if name.startswith("cu")} == {"cuInit", "cuMemAlloc", "cuMemAlloc_v2"}
    (home / "main.c").write_text("int cuInit(unsigned); int main(void) { return cuInit(0); }\n")
    command = ["gcc", str(home / "main.c"), f"-L{stub.parent}", "-lcuda", "-o", str(home / "main")]
    subprocess.run(command, check=True)
    said = subprocess.run(["readelf", "-d", home / "main"], capture_output=True, text=True, check=True).stdout
    assert "Shared library: [libcuda.so.1]" in said
    make_driver_stub(home, "g++", os.environ)
    assert {path.name for path in stub.parent.iterdir()} == {"libcuda.so"}


@has_compiler
def test_a_stub_that_cannot_be_compiled_is_told_and_leaves_the_old_one(home: Path) -> None:
    (home / "include").mkdir()
    (home / "include/cuda.h").write_text(HEADER)
    make_driver_stub(home, "g++", os.environ)
    before = (home / "lib/stubs/libcuda.so").read_bytes()
    with pytest.raises(ToolError, match="cannot be compiled"):
        make_driver_stub(home, "false", os.environ)
    assert (home / "lib/stubs/libcuda.so").read_bytes() == before


def test_without_the_header_there_is_no_stub(home: Path) -> None:
    make_driver_stub(home, "no-such-compiler", os.environ)
    assert not (home / "lib/stubs").exists()
