"""The example projects, planned and locked as their README says, on the loopback indexes."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.planning import ROOT
from tests.support.project import LOCK_FILES, PYTORCH, Project

ON_PYPI = ("diffusion-xformers", "mixed-lab", "mmdetection-training")
"""Those with packages that the loopback indexes do not have; all that they need lies on PyPI."""

ELSEWHERE = ("cuda-kernels",)
"""Those whose commands a test of their own runs: it compiles them."""

LOCAL = [
    path
    for path in sorted((ROOT / "examples").iterdir())
    if path.is_dir() and path.name not in ON_PYPI + ELSEWHERE
]


def commands(example: Path) -> list[list[str]]:
    """The commands of cudaenv in an example's README, in their order, without those that install."""
    lines = re.findall(r"^cudaenv (.+?)(?: +#.*)?$", (example / "README.md").read_text("utf-8"), re.MULTILINE)
    return [line.split() for line in lines if line.split()[0] not in {"sync", "run"}]


def opened(example: Path, project: Project) -> tuple[str, ...]:
    """Copy an example into a project; return the options that lead to the project's indexes."""
    shutil.copytree(example, project.folder, dirs_exist_ok=True)
    return ("--index", f"pytorch={project.mirror}", "--index", f"default={project.default}")


@pytest.mark.parametrize("example", LOCAL, ids=[path.name for path in LOCAL])
def test_an_example_is_planned_and_locked_and_the_lock_is_current(example: Path, project: Project) -> None:
    options = opened(example, project)
    assert commands(example)[0][0] == "plan"
    for command in commands(example):
        project.run(*command, *(() if command[0] == "plan" else options))
    assert project.run("lock", "--check", *options).out == "up to date\n"


@pytest.mark.online
@pytest.mark.parametrize("name", ON_PYPI)
def test_an_example_is_locked_on_pypi_as_its_readme_says(name: str, project: Project) -> None:
    shutil.copytree(ROOT / "examples" / name, project.folder, dirs_exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if key.startswith(("SSL_CERT", "HTTPS_PROXY"))}
    project.environ |= {**kept, "UV_HTTP_RETRIES": "3"}
    for command in commands(ROOT / "examples" / name):
        project.run(*command)
    pins = project.pins()
    text = project.text("Dockerfile")
    if name == "diffusion-xformers":
        assert {"diffusers", "transformers", "accelerate", "peft", "safetensors", "xformers"} <= set(pins)
        assert pins["torch"].startswith("2.10.")
        assert text.count("\nFROM ") == 2
    elif name == "mixed-lab":
        assert pins["torch"].startswith("2.10."), "the one window that Volta and Blackwell share"
        (environment,) = json.loads(project.text("cudaenv.lock"))["environments"]
        assert (environment["cuda"], environment["machines"]) == ("12.8", ["volta", "hopper", "desk"])
        assert {"compose.yaml", "Apptainer.def"} <= set(project.files())
    else:
        assert (pins["mmdet"], pins["torch"]) == ("3.3.0", "2.5.1")
        assert re.search(
            r"^mmcv @ \S+/mmcv-2\.1\.0\.tar\.gz \\$", project.text("requirements.build.lock"), re.MULTILINE
        )
        assert "ARG BUILD_IMAGE=nvidia/cuda:12.4.1-devel-ubuntu22.04\n" in text
        assert 'MMCV_WITH_OPS="1" TORCH_CUDA_ARCH_LIST="8.0;9.0"' in text


def test_the_lab_of_old_and_new_cards_shares_one_environment(project: Project) -> None:
    project.run("lock", *opened(ROOT / "examples/run-only", project))
    assert set(project.files()) - {"README.md"} == LOCK_FILES
    assert project.pins()["torch"] == "2.14.1+cu126"
    assert project.pins()["torchvision"] == "0.29.1+cu126"
    urls = project.urls()
    assert urls["torch"].startswith(f"{PYTORCH}/cu126/torch/")
    assert not urls["numpy"].startswith(PYTORCH)
