"""Finding toolkits, compilers and modules of the host, in real folders with real programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cudaenv.model.versions import CudaVersion
from cudaenv.system.host import HostFiles
from cudaenv.system.probe import detect, toolkit_notes
from cudaenv.system.toolkits import FoundToolkit, find_compiler, find_modules, find_toolkits
from tests.support.toolkits import gxx, program, toolkit

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the programs are shell scripts")


def found(env: dict[str, str], root: Path) -> list[tuple[str, str]]:
    """The release and the origin of each toolkit."""
    return [(str(item.cuda), item.origin) for item in find_toolkits(env, HostFiles(root))]


@pytest.mark.parametrize("version", ["json", "txt", "nvcc"])
def test_the_release_is_what_the_toolkit_says_of_itself(tmp_path: Path, version: str) -> None:
    home = toolkit(tmp_path / "cuda", "12.6", version=version)
    assert found({"CUDA_HOME": str(home)}, tmp_path) == [("12.6", "CUDA_HOME")]


def test_a_broken_version_file_is_no_answer_and_nvcc_is_asked(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", "12.6", version="nvcc")
    for text in ("{", "[]", '{"cuda": 1}', '{"cuda": {"version": null}}', "\x00"):
        (home / "version.json").write_text(text, encoding="utf-8")
        assert found({"CUDA_PATH": str(home)}, tmp_path) == [("12.6", "CUDA_PATH")]


def test_the_order_is_that_of_programs_and_each_is_told_once(tmp_path: Path) -> None:
    for cuda in ("12.6", "12.10", "12.9", "11.8"):
        toolkit(tmp_path / f"usr/local/cuda-{cuda}", cuda)
    (tmp_path / "usr/local/cuda").symlink_to("cuda-11.8")
    mine = toolkit(tmp_path / "mine", "13.0")
    path = tmp_path / "usr/local/cuda-12.6/bin"
    env = {"CUDA_HOME": str(mine), "PATH": f"/nowhere:{path}"}
    expected = [("13.0", "CUDA_HOME"), ("12.6", "PATH"), ("11.8", "/usr/local/cuda")]
    others = [(cuda, f"/usr/local/cuda-{cuda}") for cuda in ("12.10", "12.9")]
    assert found(env, tmp_path) == [*expected, *others]
    assert found({}, tmp_path)[0] == ("11.8", "/usr/local/cuda")


@pytest.mark.parametrize("missing", ["bin/nvcc", "include/cuda_runtime.h"])
def test_what_cannot_compile_is_no_toolkit(tmp_path: Path, missing: str) -> None:
    home = toolkit(tmp_path / "usr/local/cuda", "12.6")
    (home / missing).unlink()
    assert found({"CUDA_HOME": str(home)}, tmp_path) == []


def test_a_link_and_a_wrapper_on_path_lead_to_the_toolkit(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "opt/cuda-12.4", "12.4")
    links, wrappers = tmp_path / "links", tmp_path / "wrappers"
    links.mkdir()
    (links / "nvcc").symlink_to(home / "bin/nvcc")
    program(wrappers / "nvcc", f'#!/bin/sh\nexec {home}/bin/nvcc "$@"\n')
    for folder in (links, wrappers):
        (only,) = find_toolkits({"PATH": f"{folder}:/bin:/usr/bin"}, HostFiles(tmp_path / "empty"))
        assert only == FoundToolkit(home, CudaVersion(12, 4), "PATH")


def test_an_nvcc_that_fails_or_says_nonsense_is_left_out(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", "12.4", version="nvcc")
    for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\necho release\n", "not a program"):
        program(home / "bin/nvcc", text)
        assert found({"CUDA_HOME": str(home)}, tmp_path) == []


def test_modules_are_those_of_modulepath_with_a_release(tmp_path: Path) -> None:
    lmod, tcl = tmp_path / "lmod", tmp_path / "tcl"
    for path in (lmod / "CUDA/12.6.0.lua", lmod / "CUDA/.modulerc.lua", lmod / "GCC/13.2.0.lua"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tcl / "cuda").mkdir(parents=True)
    (tcl / "cuda/11.8").touch()
    (tcl / "cuda/default").touch()
    assert find_modules({"MODULEPATH": f"{lmod}:/nowhere::{tcl}"}) == ("CUDA/12.6.0", "cuda/11.8")
    assert find_modules({}) == ()


def test_compilers_tell_their_version(tmp_path: Path) -> None:
    gxx(tmp_path, "g++", "12.2.0")
    gxx(tmp_path, "g++-9", "9")
    program(tmp_path / "g++-8", "#!/bin/sh\necho nonsense\n")
    env = {"PATH": str(tmp_path)}
    compiler = find_compiler("g++", env)
    assert compiler is not None
    assert (compiler.version, compiler.major) == ("12.2.0", 12)
    old = find_compiler("g++-9", env)
    assert old is not None
    assert old.major == 9
    assert find_compiler("g++-8", env) is None
    assert find_compiler("g++-7", env) is None
    assert find_compiler("g++", {}) is None


def test_what_was_found_stands_in_the_machine_with_its_origin(tmp_path: Path) -> None:
    toolkit(tmp_path / "usr/local/cuda-12.6", "12.6")
    mine = toolkit(tmp_path / "mine", "13.0")
    gxx(tmp_path / "bin", "g++", "13.2.0")
    env = {"PATH": str(tmp_path / "bin"), "CUDA_HOME": str(mine)}
    machine = detect(env, lambda _: None, HostFiles(tmp_path))
    assert machine.toolkit is not None
    assert (machine.toolkit.value, machine.toolkit.origin) == (CudaVersion(13, 0), f"{mine}, by CUDA_HOME")
    assert machine.gcc is not None
    assert (machine.gcc.value, machine.gcc.origin) == (13, "g++ 13.2.0")
    place = tmp_path / "usr/local/cuda-12.6"
    note = f"there is a toolkit of CUDA 12.6, too: {place}, by /usr/local/cuda-12.6"
    assert note in machine.notes


def test_a_place_is_not_told_twice_and_modules_are_named() -> None:
    usual = FoundToolkit(Path("/usr/local/cuda-12.6"), CudaVersion(12, 6), "/usr/local/cuda-12.6")
    assert toolkit_notes([usual, usual], ["cuda/12.4", "cuda/12.6"]) == (
        "there is a toolkit of CUDA 12.6, too: /usr/local/cuda-12.6",
        "toolkits that `module load` brings: cuda/12.4 cuda/12.6",
    )
    assert toolkit_notes([usual], []) == ()
