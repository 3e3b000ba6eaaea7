"""`cudaenv sync`: what is locked is installed, on the machine it is for, and seen to be what was planned."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.support.index import IndexServer, World
from tests.support.nvml import FakeGpu, build_fake_nvml, fake_nvml_env
from tests.support.project import PYTHON, RTX_5090, V100, Project, make_project, without_gpu
from tests.support.wheels import Wheel, torch_wheel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locked environments are for Linux")

TAG = f"cp{PYTHON.replace('.', '')}"
LINUX = "manylinux_2_28_x86_64"
OLD_AND_NEW = ({**V100, "name": "old"}, RTX_5090)
V100_HERE = FakeGpu("Tesla V100-SXM2-32GB", (7, 0))
RTX_5090_HERE = FakeGpu("NVIDIA GeForce RTX 5090", (12, 0))
GTX_1080_TI_HERE = FakeGpu("NVIDIA GeForce GTX 1080 Ti", (6, 1))


@pytest.fixture(scope="module")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fake_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def two(project: Project) -> Project:
    """A project with two locked environments, cu126 for an old GPU and cu132 for a new one."""
    project.lock({**V100, "name": "old", "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    return project


def on(nvml: Path, *gpus: FakeGpu, driver: str = "595.71.05", cuda: int = 13020) -> dict[str, str]:
    """The environment of a machine with these GPUs."""
    env = fake_nvml_env(nvml, *gpus, driver=driver, cuda=cuda)
    del env["PATH"]
    return env


def in_venv(project: Project, code: str, prefix: Path | None = None) -> str:
    """What a piece of Python prints in the environment that was installed."""
    python = (prefix or project.folder / ".venv") / "bin" / "python"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def installed(project: Project, prefix: Path | None = None) -> dict[str, str]:
    """The versions of all packages in the environment."""
    code = "import importlib.metadata as m; print({d.name: d.version for d in m.distributions()})"
    return {
        canonicalize_name(name): version
        for name, version in ast.literal_eval(in_venv(project, code, prefix)).items()
    }


@without_gpu
def test_the_locked_wheels_are_installed_and_torch_is_what_was_planned(project: Project) -> None:
    project.lock(V100)
    done = project.run("sync")
    assert installed(project) == project.pins()
    assert (
        in_venv(project, "import torch; print(torch.__version__, torch.version.cuda)") == "2.14.1+cu126 12.6"
    )
    assert "torch       2.14.1+cu126, CUDA 12.6, as planned" in done.out
    assert "no GPU can be used here" in done.out
    assert "importing torch" in done.err


def test_the_answer_as_json_says_what_was_found(project: Project, nvml: Path) -> None:
    project.lock(V100)
    done = project.run("sync", "--json", env=on(nvml, V100_HERE, driver="580.95.05"))
    answer = json.loads(done.out)
    assert (answer["schema"], answer["environment"]) == (1, "cu126")
    assert Path(answer["prefix"]) == project.folder / ".venv"
    assert answer["torch"]["version"] == "2.14.1+cu126"
    assert answer["torch"]["cuda"] == "12.6"
    assert "sm_70" in answer["torch"]["archs"]
    assert answer["torch"]["usable"] is False
    assert answer["notes"][0] == "torch cannot use the GPU of this machine"


def test_a_second_sync_changes_and_fetches_nothing(project: Project) -> None:
    project.lock(V100)
    project.run("sync", "--anyway")
    venv = project.folder / ".venv"
    before = {path: path.stat().st_mtime_ns for path in venv.rglob("*") if path.is_file()}
    project.server.requests.clear()
    project.run("sync", "--anyway")
    after = {path: path.stat().st_mtime_ns for path in venv.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= {venv / ".lock"}
    assert project.server.requests == []


def test_what_is_not_locked_is_removed(project: Project) -> None:
    project.lock(V100, packages={"torch": "*", "torchvision": "*"})
    project.run("sync", "--anyway")
    assert "torchvision" in installed(project)
    project.lock(V100)
    project.run("sync", "--anyway")
    assert installed(project) == project.pins()


def test_a_prefix_is_installed_into_and_the_project_is_left_alone(project: Project, tmp_path: Path) -> None:
    project.lock(V100)
    before = set(project.folder.iterdir())
    prefix = tmp_path / "elsewhere"
    done = project.run("sync", "--anyway", "--prefix", prefix, "--json")
    assert json.loads(done.out)["prefix"] == str(prefix)
    assert installed(project, prefix) == project.pins()
    assert set(project.folder.iterdir()) == before


def test_a_wheel_that_was_altered_on_the_server_is_refused_with_both_hashes(project: Project) -> None:
    project.lock(V100)
    wheel = project.world.find("simple", "filelock-3.20.0")
    altered = Wheel("filelock", "3.20.0", "py3-none-any", files={"filelock/__init__.py": b"import evil"})
    project.server.replace(project.world.path("simple", wheel), altered.data)
    done = project.run("sync", "--anyway", env={"UV_CACHE_DIR": str(project.home / "fresh")}, status=5)
    assert "a file on the index is not the one that was locked" in done.err
    assert "filelock" in done.err
    assert wheel.sha256 in done.err
    assert altered.sha256 in done.err
    assert "filelock" not in installed(project)


def test_a_download_that_ends_early_is_an_error_of_the_network(project: Project) -> None:
    project.lock(V100)
    wheel = project.world.find("simple", "filelock-3.20.0")
    project.server.truncate(project.world.path("simple", wheel), 200)
    done = project.run("sync", "--anyway", env={"UV_CACHE_DIR": str(project.home / "fresh")}, status=6)
    assert "filelock" in done.err
    assert "filelock" not in installed(project)


def test_a_torch_that_was_altered_on_the_server_is_refused_with_both_hashes(project: Project) -> None:
    project.lock(V100)
    wheel = project.world.find("whl/cu126", f"torch-2.14.1+cu126-{TAG}-{TAG}-{LINUX}")
    other = torch_wheel("2.14.1", "cu126", TAG, LINUX, archs=["sm_70"])
    assert other.sha256 != wheel.sha256
    project.server.replace(project.world.path("whl/cu126", wheel), other.data)
    done = project.run("sync", "--anyway", env={"UV_CACHE_DIR": str(project.home / "fresh")}, status=5)
    assert wheel.sha256 in done.err
    assert other.sha256 in done.err


def test_a_pylock_that_was_edited_is_not_installed(project: Project) -> None:
    project.lock(V100)
    text = project.text("pylock.toml").replace("filelock-3.20.0", "filelock-3.19.1")
    (project.folder / "pylock.toml").write_text(text)
    done = project.run("sync", "--anyway", status=4)
    assert "`pylock.toml` is not the one that was locked" in done.err
    (project.folder / "pylock.toml").unlink()
    assert "`pylock.toml` is missing" in project.run("sync", "--anyway", status=4).err
    assert not (project.folder / ".venv").exists()


@pytest.fixture
def other_torch(own_project: Project) -> Iterator[Project]:
    """A project whose torch is not what its name and metadata say."""
    # Named and described as the cu126 build, but a cu128 one without code for old GPUs inside.
    real = torch_wheel("2.14.1", "cu128", TAG, LINUX, archs=["sm_75", "sm_90"], local=False)
    shown = own_project.world.find("whl/cu126", f"torch-2.14.1+cu126-{TAG}-{TAG}-{LINUX}")
    wheel = Wheel(
        "torch",
        "2.14.1+cu126",
        shown.tag,
        shown.requires,
        shown.requires_python,
        real.files,
        real.import_name,
    )
    wheels = own_project.world.wheels["whl/cu126"]
    wheels.remove(shown)
    own_project.world.add("whl/cu126", wheel)
    yield own_project


def test_an_installed_torch_that_is_not_the_planned_build_is_refused(other_torch: Project) -> None:
    other_torch.lock(V100)
    done = other_torch.run("sync", "--anyway", status=5)
    assert "the installed torch is not what was planned" in done.err
    assert "torch.version.cuda is 12.8, planned is 12.6" in done.err
    assert "no machine code for" in done.err
    assert "sm_70" in done.err
    assert done.out == ""


def test_a_torch_that_cannot_be_imported_is_shown_with_its_error(own_project: Project) -> None:
    shown = own_project.world.find("whl/cu126", f"torch-2.14.1+cu126-{TAG}-{TAG}-{LINUX}")
    init = b"raise ImportError('libcudart.so.12: cannot open shared object file')\n"
    broken = Wheel(
        "torch", shown.version, shown.tag, shown.requires, files={**shown.files, "torch/__init__.py": init}
    )
    own_project.world.wheels["whl/cu126"].remove(shown)
    own_project.world.add("whl/cu126", broken)
    own_project.lock(V100)
    done = own_project.run("sync", "--anyway", status=5)
    assert "the installed torch cannot be imported" in done.err
    assert "libcudart.so.12: cannot open shared object file" in done.err


@pytest.mark.parametrize(
    ("gpu", "expected"), [(GTX_1080_TI_HERE, "cu126"), (V100_HERE, "cu126"), (RTX_5090_HERE, "cu132")]
)
def test_the_environment_that_fits_the_gpu_is_installed(
    two: Project, nvml: Path, gpu: FakeGpu, expected: str
) -> None:
    done = two.run("sync", "--json", env=on(nvml, gpu))
    assert json.loads(done.out)["environment"] == expected


def test_of_several_that_fit_the_newest_torch_is_installed(two: Project, nvml: Path) -> None:
    gpu = FakeGpu("NVIDIA GeForce RTX 4090", (8, 9))
    assert json.loads(two.run("sync", "--json", env=on(nvml, gpu)).out)["environment"] == "cu132"
    old = on(nvml, gpu, driver="535.183.06", cuda=12020)
    assert json.loads(two.run("sync", "--json", env=old).out)["environment"] == "cu126"


def test_where_none_fits_the_reason_is_told_and_nothing_is_installed(two: Project, nvml: Path) -> None:
    env = on(nvml, RTX_5090_HERE, driver="470.82.01", cuda=11040)
    done = two.run("sync", env=env, status=3)
    assert "no locked environment fits this machine" in done.err
    assert "cu126: " in done.err
    assert "cu132: " in done.err
    assert "470.82.01" in done.err
    assert "--anyway" in done.err
    assert not (two.folder / ".venv").exists()


def test_an_environment_that_does_not_fit_is_installed_only_anyway(two: Project, nvml: Path) -> None:
    env = on(nvml, V100_HERE, driver="580.95.05")
    assert "7.0" in two.run("sync", "--env", "cu132", env=env, status=3).err
    done = two.run("sync", "--env", "cu132", "--anyway", "--json", env=env)
    assert json.loads(done.out)["torch"]["cuda"] == "13.2"


def test_the_environment_of_another_platform_is_refused_before_anything_is_fetched(project: Project) -> None:
    project.lock({"name": "pc", "gpu": ["RTX 4090"], "driver": "596.10", "platform": "win-64"})
    done = project.run("sync", status=3)
    assert "it is for win-64, and this machine is linux-64" in done.err


@without_gpu
def test_without_a_gpu_several_environments_have_to_be_told_apart_by_name(two: Project) -> None:
    done = two.run("sync", status=3)
    assert "there is no GPU here to choose an environment by" in done.err
    assert "cudaenv sync --env NAME" in done.err
    answer = json.loads(two.run("sync", "--env", "cu126", "--json").out)
    assert answer["environment"] == "cu126"


def test_an_environment_that_is_not_locked_is_named_with_those_that_are(two: Project) -> None:
    done = two.run("sync", "--env", "cu999", status=2)
    assert "the lock has no environment `cu999`" in done.err
    assert "it has cu126, cu132" in done.err


def test_without_a_lock_there_is_nothing_to_install(project: Project) -> None:
    project.spec(V100)
    done = project.run("sync", status=2)
    assert "there is no `cudaenv.lock` here" in done.err
    assert "`cudaenv lock` makes one" in done.err


def test_an_index_that_is_down_is_an_error_of_the_network(shared_world: World, tmp_path: Path) -> None:
    with IndexServer(shared_world.folder) as server:
        project = make_project(tmp_path, shared_world, server)
        project.lock(V100)
    done = project.run("sync", "--anyway", status=6)
    assert "uv could not fetch what it needs" in done.err
    assert server.url in done.err


def test_the_installer_without_cudaenv_installs_the_same(project: Project, tmp_path: Path) -> None:
    # The files are the ecosystem's own; a default index on the loopback, torch by a file of the mirror.
    project.lock(V100, packages={"numpy": "*", "filelock": "*", "torch": "*"}, cuda="cpu")
    from uv import find_uv_bin

    text = project.text("requirements.lock").replace("https://download.pytorch.org/whl", project.mirror)
    (tmp_path / "requirements.lock").write_text(text)
    env = project.env()
    venv = tmp_path / "plain"
    subprocess.run([find_uv_bin(), "venv", "-q", "--python", PYTHON, venv], env=env, check=True)
    options = ["--no-deps", "--require-hashes", "--python", str(venv)]
    command = [find_uv_bin(), "pip", "install", "-q", *options, "-r", str(tmp_path / "requirements.lock")]
    subprocess.run(command, env=env, check=True)
    assert installed(project, venv) == project.pins()
