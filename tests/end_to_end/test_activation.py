"""`cudaenv run` and `cudaenv env`: commands with the variables of the environment that was installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.channel import Channels
from tests.support.conda_project import conda_project, on_linux_64
from tests.support.index import IndexServer, World
from tests.support.project import RTX_4090, RTX_5090, V100, Project, make_project
from tests.support.toolkits import gxx, program, toolkit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locked environments are for Linux")

KERNELS = {"target": "develop-kernels", "packages": {"torch": "*"}}
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.fixture(scope="module")
def kernels(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with an installed toolkit of wheels, on a machine with a compiler; no test changes it."""
    with IndexServer(shared_world.folder) as server:
        project = make_project(tmp_path_factory.mktemp("kernels"), shared_world, server)
        gxx(project.home / "gcc", "g++", "12.2.0")
        project.environ["PATH"] = f"{project.home}/bin:{project.home}/gcc"
        project.env()  # makes the folder with Python
        project.lock(RTX_4090, **KERNELS)
        project.run("sync", "--anyway")
        yield project


def with_compilers(project: Project, folder: Path, compilers: Mapping[str, str]) -> dict[str, str]:
    """The environment of the same machine with other compilers."""
    for name, version in compilers.items():
        gxx(folder, name, version)
    return {"PATH": f"{project.home}/bin:{folder}"}


def system_project(project: Project) -> Project:
    """A project whose toolkit is the system's: CUDA 12.6, which no wheels have."""
    project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, **KERNELS)
    return project


def seen(project: Project, *options: str, env: dict[str, str] | None = None) -> dict[str, str]:
    """The environment variables of a command."""
    done = project.run("run", *options, "--", "python", "-c", SHOW, env=env)
    found: dict[str, str] = json.loads(done.out)
    return found


def locked(project: Project) -> dict[str, Any]:
    (environment,) = json.loads(project.text("cudaenv.lock"))["environments"]
    found: dict[str, Any] = environment
    return found


def test_a_command_gets_the_variables_of_the_plan_and_the_programs_of_the_environment(
    kernels: Project,
) -> None:
    found = seen(kernels)
    venv = kernels.folder / ".venv"
    home = Path(found["CUDA_HOME"])
    assert home == next(venv.glob("lib/python*/site-packages/nvidia/cu13"))
    plan = locked(kernels)["env"]
    assert {key: found[key] for key in plan if key != "CUDA_HOME"} == {
        key: value for key, value in plan.items() if key != "CUDA_HOME"
    }
    assert found["TORCH_CUDA_ARCH_LIST"] == "8.9"
    assert found["PATH"].split(":")[:2] == [str(home / "bin"), str(venv / "bin")]
    assert found["VIRTUAL_ENV"] == str(venv)
    assert found["LD_RUN_PATH"] == str(home / "lib64")
    assert "LD_LIBRARY_PATH" not in found
    assert "NVCC_PREPEND_FLAGS" not in found, "the usual compiler will do"


def test_sync_has_made_the_links_of_the_toolkit(kernels: Project) -> None:
    home = Path(seen(kernels)["CUDA_HOME"])
    assert (home / "lib64").readlink() == Path("lib")
    assert (home / "lib" / "libcudart.so").readlink() == Path("libcudart.so.13")


def test_what_this_machine_says_of_python_and_cuda_gives_way(kernels: Project) -> None:
    env = {
        "PYTHONHOME": sys.base_prefix,
        "CUDA_HOME": "/usr/local/cuda",
        "LD_LIBRARY_PATH": "/mine",
        "MINE": "1",
    }
    found = seen(kernels, env=env)
    assert "PYTHONHOME" not in found
    assert found["CUDA_HOME"].startswith(str(kernels.folder))
    assert (found["LD_LIBRARY_PATH"], found["MINE"]) == ("/mine", "1"), "what is the user's own stays"


def test_the_status_and_the_streams_are_the_commands_own(kernels: Project) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    done = kernels.run("run", "--", "python", "-c", code, status=7)
    assert (done.out, done.err) == ("out\n", "err\n")


def test_a_command_needs_no_dashes_and_keeps_its_own_options(kernels: Project) -> None:
    done = kernels.run("run", "python", "-c", "import sys; print(sys.argv[1:])", "--env", "--json", "--", "x")
    assert done.out == "['--env', '--json', '--', 'x']\n"


def test_a_signal_reaches_the_command_and_its_end_is_the_programs(kernels: Project) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    assert kernels.run("run", "--", "python", "-c", code, status=None).status == -signal.SIGTERM


def test_a_program_that_is_not_there_is_told_with_where_it_was_looked_for(kernels: Project) -> None:
    done = kernels.run("run", "--", "no-such-program", status=5)
    assert "there is no program `no-such-program` in the environment, nor on PATH" in done.err
    assert str(kernels.folder / ".venv" / "bin") in done.err


def test_a_program_that_cannot_be_started_is_told(kernels: Project) -> None:
    program(kernels.folder / ".venv/bin/broken", "#!/no/such/interpreter\n")
    assert "`broken` cannot be started" in kernels.run("run", "broken", status=5).err


def test_a_shell_reads_the_same_from_env(kernels: Project) -> None:
    done = kernels.run("env")
    shell = shutil.which("sh")
    assert shell is not None
    shown = subprocess.run(
        [shell, "-c", f"set -eu\n{done.out}\nexec python -c '{SHOW}'"],
        env=kernels.env(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    own = {"PWD", "SHLVL", "_", "OLDPWD"}  # the shell's
    assert {key: value for key, value in json.loads(shown).items() if key not in own} == seen(kernels)


def test_env_as_json_says_which_environment_it_is(kernels: Project) -> None:
    answer = json.loads(kernels.run("env", "--json").out)
    assert (answer["schema"], answer["environment"]) == (1, "cu132")
    assert answer["prefix"] == str(kernels.folder / ".venv")
    assert answer["variables"]["CUDAARCHS"] == "89"
    assert answer["unset"] == ["PYTHONHOME"]


def test_env_is_written_for_the_shell_that_is_named(kernels: Project) -> None:
    assert "set -gx CUDAARCHS '89'" in kernels.run("env", "--shell", "fish").out
    assert "$env:CUDAARCHS = '89'" in kernels.run("env", "--shell", "powershell").out
    assert "csh" in kernels.run("env", "--shell", "csh", status=2).err


def test_an_environment_elsewhere_is_named_by_its_prefix(kernels: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a place"
    kernels.run("sync", "--anyway", "--prefix", elsewhere)
    assert seen(kernels, "--prefix", str(elsewhere))["VIRTUAL_ENV"] == str(elsewhere)
    outside = kernels.run("env", "--project", kernels.folder, "--prefix", elsewhere)
    assert f"VIRTUAL_ENV='{elsewhere}'" in outside.out


@pytest.mark.parametrize("command", [("run", "--", "python"), ("env",)])
def test_without_lock_or_environment_the_next_step_is_named(
    project: Project, command: tuple[str, ...]
) -> None:
    done = project.run(*command, status=2)
    assert "there is no `cudaenv.lock` here" in done.err
    project.lock(V100)
    done = project.run(*command, status=2)
    assert f"there is no environment in {project.folder / '.venv'}" in done.err
    assert "hint: `cudaenv sync` installs it" in done.err
    assert done.out == ""


def test_of_several_environments_the_one_that_was_installed_is_meant(project: Project) -> None:
    project.lock({**V100, "name": "old", "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    project.run("sync", "--anyway", "--env", "cu126")
    assert json.loads(project.run("env", "--json").out)["environment"] == "cu126"
    done = project.run("env", "--environment", "cu132", status=2)
    assert "holds the environment `cu126`, not `cu132`" in done.err
    assert "the lock has no environment `cu99`" in project.run("env", "--env", "cu99", status=2).err
    # Installed by another program, nothing was noted.
    (project.folder / ".venv/.cudaenv/environment.json").unlink()
    done = project.run("env", status=2)
    assert "which environment" in done.err
    assert "`--env NAME` names it" in done.err
    assert json.loads(project.run("env", "--env", "cu132", "--json").out)["environment"] == "cu132"


def test_an_environment_of_an_older_lock_is_told_to_be_one(project: Project) -> None:
    project.lock(V100)
    project.run("sync", "--anyway")
    assert project.run("env").err == ""
    project.lock(V100, packages={"torch": "*", "numpy": "*"})
    assert "was installed from another lock: `cudaenv sync` brings it up to date" in project.run("env").err


def test_a_mark_that_cannot_be_read_is_none(project: Project) -> None:
    project.lock(V100)
    project.run("sync", "--anyway")
    for text in ("[]", "{", '"x"'):
        (project.folder / ".venv/.cudaenv/environment.json").write_text(text)
        assert json.loads(project.run("env", "--json").out)["environment"] == "cu126"


@pytest.mark.parametrize(
    ("there", "flag"),
    [
        ({"g++": "16.1.0", "g++-14": "14.2.0"}, "-ccbin=g++-14"),
        ({"g++": "16.1.0", "g++-14": "14.2.0", "g++-12": "12.2.0"}, "-ccbin=g++-14"),
        ({"g++": "15.1.0", "g++-14": "14.2.0"}, None),
    ],
)
def test_a_compiler_that_nvcc_accepts_is_found_beside_one_that_it_does_not(
    kernels: Project, tmp_path: Path, there: dict[str, str], flag: str | None
) -> None:
    env = with_compilers(kernels, tmp_path, there)
    assert seen(kernels, env=env).get("NVCC_PREPEND_FLAGS") == flag


def test_without_an_accepted_compiler_it_is_told_and_commands_run(kernels: Project, tmp_path: Path) -> None:
    env = with_compilers(kernels, tmp_path, {"g++": "16.1.0"})
    done = kernels.run("run", "--", "python", "-c", "print('ran')", env=env)
    assert done.out == "ran\n"
    assert "`g++` is 16.1.0, and nvcc of CUDA 13.2 needs a host compiler that it accepts" in done.err
    assert (
        "there is no `g++` on PATH"
        in kernels.run("env", env=with_compilers(kernels, tmp_path / "no", {})).err
    )


def test_the_systems_toolkit_is_found_where_it_stands(project: Project, tmp_path: Path) -> None:
    system_project(project).run("sync", "--anyway")
    gxx(project.home / "bin", "g++-13", "13.3.0")
    home = toolkit(tmp_path / "opt/cuda", "12.6")
    found = seen(project, env={"CUDA_HOME": str(home)})
    assert found["CUDA_HOME"] == str(home)
    assert found["PATH"].startswith(f"{home}/bin:")
    assert found["NVCC_PREPEND_FLAGS"] == "-ccbin=g++-13"


@pytest.mark.skipif(Path("/usr/local/cuda-12.6").exists(), reason="there is such a toolkit here")
def test_where_the_systems_toolkit_is_missing_the_ways_to_get_it_are_told(
    project: Project, tmp_path: Path
) -> None:
    system_project(project).run("sync", "--anyway")
    gxx(project.home / "bin", "g++", "12.2.0")
    home = toolkit(tmp_path / "opt/cuda", "13.1")
    done = project.run("env", env={"CUDA_HOME": str(home)})
    assert "there is no toolkit of CUDA 12.6 on this machine" in done.err
    assert f"13.1 in {home}" in done.err
    assert "the package cuda-toolkit-12-6" in done.err
    assert "export CUDA_HOME=/usr/local/cuda-12.6" in done.out


@on_linux_64
def test_an_environment_of_conda_packages_is_activated_as_its_packages_want_it(
    project: Project, channels: Channels
) -> None:
    with conda_project(project, channels) as conda:
        conda.lock(target="develop-kernels")
        conda.sync()
    prefix = project.folder / ".conda"
    done = project.run("run", "--", "python", "-c", SHOW, env={"NVCC_PREPEND_FLAGS": "-G"})
    found = json.loads(done.out)
    assert done.err == "", "what a script prints is nobody's affair"
    assert (found["CONDA_PREFIX"], found["CUDA_HOME"]) == (str(prefix), str(prefix))
    assert found["PATH"].split(os.pathsep)[0] == str(prefix / "bin")
    assert "VIRTUAL_ENV" not in found
    compiler = f"{prefix}/bin/x86_64-conda-linux-gnu-c++"
    assert (found["CXX"], found["NVCC_PREPEND_FLAGS"]) == (compiler, f"-G -ccbin={compiler}")
    assert f"CXX={compiler}" in project.run("env").out
    (prefix / "bin/x86_64-conda-linux-gnu-c++").unlink()
    assert f"nothing can be compiled: there is no compiler in {prefix}" in project.run("env").err


@on_linux_64
def test_a_prefix_that_no_shell_can_activate_is_told(project: Project, channels: Channels) -> None:
    with conda_project(project, channels) as conda:
        conda.lock(target="develop-kernels")
        conda.sync()
    (project.folder / ".conda/etc/conda/activate.d/zz.sh").write_text("exit 3\n")
    done = project.run("env", status=5)
    assert "`.conda` cannot be activated" in done.err.replace(str(project.folder) + "/", "")
