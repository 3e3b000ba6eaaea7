"""The main job on the real PyPI, as a user runs it. CI runs these; they need a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.pylock import Pylock

pytestmark = pytest.mark.online

ROOT = Path(__file__).parents[2]
RTX_4090 = ("--gpu", "RTX 4090", "--driver", "595.71.05", "--glibc", "2.35")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def cudaenv(*arguments: str, status: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "cudaenv", *arguments],
            cwd=tmp_path,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return cudaenv


def locked(path: Path) -> dict[str, str]:
    """The versions of a pylock.toml, which must be valid, by name; every wheel has a sha256."""
    lock = Pylock.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    for package in lock.packages:
        assert package.wheels
        assert all(len(wheel.hashes["sha256"]) == 64 for wheel in package.wheels)
    return {package.name: str(package.version) for package in lock.packages}


def test_an_rtx_4090_gets_the_build_that_pypi_itself_carries(run: Run, tmp_path: Path) -> None:
    shown = run("init", "--yes", "--target", "run-only", "--python", "3.12", *RTX_4090).stdout
    versions = locked(tmp_path / "pylock.toml")
    assert versions["torch"] == "2.15.0"
    assert versions["cuda-toolkit"].startswith("13.2.")
    assert "torch 2.15.0+cu132" in shown
    assert "GB to download" in shown
    assert run("check").stdout == "up to date\n"


def test_locking_twice_gives_the_same_bytes_in_any_folder(run: Run, tmp_path: Path) -> None:
    run("init", "--yes", "--project", "one", "--python", "3.12", *RTX_4090)
    (tmp_path / "two").mkdir()
    (tmp_path / "two/cudaenv.toml").write_bytes((tmp_path / "one/cudaenv.toml").read_bytes())
    run("lock", "--project", "two")
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert names == {path.name for path in (tmp_path / "two").iterdir()}
    for name in sorted(names):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_companions_are_of_torchs_cuda_as_their_own_code_says(run: Run, tmp_path: Path) -> None:
    packages = ("-p", "torch==2.8.0", "-p", "torchvision", "-p", "torchaudio")
    run("init", "--yes", "--python", "3.12", "--gpu", "V100", "--driver", "570.133.20", *packages)
    versions = locked(tmp_path / "pylock.toml")
    assert (versions["torch"], versions["torchvision"], versions["torchaudio"]) == (
        "2.8.0",
        "0.23.0",
        "2.8.0",
    )
    assert versions["nvidia-cuda-runtime-cu12"].startswith("12.8.")


def test_a_package_built_for_another_cuda_is_refused_whatever_its_metadata_say(
    run: Run, tmp_path: Path
) -> None:
    """Its metadata accept this torch; its compiled code is linked to libcudart of CUDA 12.

    The matrix knows that; without its table, as for a package that it does not know, the wheel tells.
    """
    shutil.copytree(ROOT / "matrix", tmp_path / "tables")
    (tmp_path / "tables" / "packages" / "xformers.yaml").unlink()
    targets = tmp_path / "tables" / "targets.yaml"
    text = re.sub(r'^- {target: "xformers".*\n', "", targets.read_text("utf-8"), flags=re.MULTILINE)
    targets.write_text(re.sub(r"^  xformers-wheels:\n(?:    .*\n)+", "", text, flags=re.MULTILINE), "utf-8")
    (tmp_path / "here").mkdir()
    packages = ("-p", "torch==2.15.0", "-p", "xformers==0.0.35")
    arguments = ("init", "--yes", "--project", "here", "--python", "3.12", *RTX_4090, *packages)
    refused = run(*arguments, status=5, CUDAENV_MATRIX=str(tmp_path / "tables")).stderr
    assert "`xformers` 0.0.35 is linked to CUDA 12 (libcudart), planned is CUDA 13" in refused
    assert list((tmp_path / "here").iterdir()) == []


def test_xformers_from_pypi_is_locked_with_a_torch_of_its_own_cuda(run: Run, tmp_path: Path) -> None:
    packages = ("-p", "torch==2.10.0", "-p", "xformers")
    run("init", "--yes", "--python", "3.12", "--cuda", ">=12.8,<12.9", *RTX_4090, *packages)
    versions = locked(tmp_path / "pylock.toml")
    assert (versions["torch"], versions["xformers"]) == ("2.10.0", "0.0.35")
    assert versions["nvidia-cuda-runtime-cu12"].startswith("12.8.")


def test_the_oldest_drivers_get_the_wheels_that_carry_their_runtime(run: Run, tmp_path: Path) -> None:
    run(
        "init",
        "--yes",
        "--gpu",
        "P100",
        "--driver",
        "440.33.01",
        "--python",
        "3.10",
        "--platform",
        "linux-64",
    )
    assert locked(tmp_path / "pylock.toml")["torch"] == "1.12.1"


def test_other_platforms_are_locked_from_here(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cudaenv.toml").write_text(
        """
        python = "3.12"
        [packages]
        torch = "==2.15.0"
        [[machine]]
        name = "arm"
        gpu = "GH200"
        [[machine]]
        name = "laptop"
        platform = "osx-arm64"
        [[machine]]
        name = "office"
        gpu = "none"
        platform = "win-64"
        """,
        encoding="utf-8",
    )
    run("lock")
    names = {path.name for path in tmp_path.glob("pylock.*")}
    assert names == {"pylock.cu132.toml", "pylock.cpu-osx-arm64.toml", "pylock.cpu-win-64.toml"}
    assert "nvidia-cudnn-cu13" in locked(tmp_path / "pylock.cu132.toml")
    for name in names - {"pylock.cu132.toml"}:
        assert not [package for package in locked(tmp_path / name) if package.startswith("nvidia-")]


@pytest.mark.e2e
def test_the_locked_environment_installs_and_is_what_was_planned(run: Run, tmp_path: Path) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    run("init", "--yes", "--target", "run-only", "--gpu", "RTX 4090", "--driver", "595.71.05")
    assert tomllib.loads((tmp_path / "cudaenv.toml").read_text(encoding="utf-8"))["python"] == python
    synced = json.loads(run("sync", "--json").stdout)
    assert synced["torch"]["version"] == "2.15.0+cu132"
    assert synced["torch"]["cuda"] == "13.2"
    interpreter = next(
        path
        for path in (tmp_path / ".venv/bin/python", tmp_path / ".venv/Scripts/python.exe")
        if path.exists()
    )
    shown = subprocess.check_output([interpreter, "-c", "import torch; print(torch.version.cuda)"], text=True)
    environment = json.loads((tmp_path / "cudaenv.lock").read_text(encoding="utf-8"))["environments"][0]
    assert shown.strip() == environment["cuda"] == "13.2"
