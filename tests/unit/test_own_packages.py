"""A target of one's own in cudaenv.toml, and a package that is new to the matrix: no code for either."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.planning import ROOT

PACKAGE = """\
# Releases of raykernels, which nobody has made.
schema: 1
sources:
  wheels:
    artefact: "raykernels wheels"
    says: "one for torch 2.7 and CUDA 12.8"
    read: "2026-11-20"
rows:
- {version: "1.0.0", files: "wheel sdist", torch: "==2.7.*", cuda: "12.8", \
platforms: "linux-64", pythons: "3.11 3.12", glibc: "2.28", \
sms: "8.0 9.0", source: "wheels", basis: "measured"}
builds:
- {topic: "build", components: "nvcc cudart cccl", requires: "torch setuptools ninja", \
env: "TORCH_CUDA_ARCH_LIST={sms} MAX_JOBS={jobs} RAY_HOME={cuda_home}", minutes: "7", \
breaks: "it needs torch to be there", source: "wheels", basis: "measured"}
"""

MACHINE = """
[[machine]]
name = "lab"
gpu = ["A100", "H100"]
driver = "595.71.05"
glibc = "2.35"
platform = "linux-64"
"""


class World:
    """A project in a temporary folder beside a matrix of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.matrix = folder / "matrix"
        shutil.copytree(ROOT / "matrix", self.matrix)

    def spec(self, text: str) -> None:
        (self.folder / "cudaenv.toml").write_text(text + MACHINE, "utf-8")

    def run(self, *arguments: str, status: int = 0) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CUDAENV_")}
        env = {**kept, "HOME": str(self.folder), "CUDAENV_MATRIX": str(self.matrix), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "cudaenv", *arguments],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status in {0, 3} else done.stderr

    def plan(self, text: str, status: int = 0) -> dict[str, Any]:
        self.spec(text)
        found: dict[str, Any] = json.loads(self.run("plan", "--json", status=status))
        return found


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def made_up(world: World) -> World:
    (world.matrix / "packages" / "raykernels.yaml").write_text(PACKAGE, "utf-8")
    return world


# A package.


def test_the_matrix_takes_a_new_file(made_up: World) -> None:
    made_up.run("matrix", "check")
    assert "raykernels" in made_up.run("matrix", "show", "raykernels")


def test_the_torch_that_its_wheel_is_for_is_taken(made_up: World) -> None:
    (item,) = made_up.plan('[packages]\nraykernels = "*"')["environments"]
    assert item["packages"]["raykernels"]["how"] == "wheel"
    assert item["packages"]["torch"]["version"].startswith("2.7.")
    assert item["cuda"].startswith("12."), "what it is linked to is of one CUDA major"
    assert item["python"] in {"3.11", "3.12"}
    assert item["toolkit"] is None


def test_beside_a_pinned_torch_it_is_built(made_up: World) -> None:
    (item,) = made_up.plan('[packages]\nraykernels = "*"\ntorch = "==2.10.0"')["environments"]
    assert item["packages"]["raykernels"]["how"] == "build"
    assert item["packages"]["torch"]["version"].startswith("2.10.0")
    phase = item["phases"][-1]
    assert phase["install"] == ["raykernels==1.0.0"]
    assert phase["env"]["TORCH_CUDA_ARCH_LIST"] == "8.0;9.0"
    assert phase["env"]["RAY_HOME"] == item["env"]["CUDA_HOME"]
    assert phase["minutes"] == 14
    assert set(phase["requires"]) >= {"setuptools", "ninja"}
    assert item["toolkit"] is not None
    assert item["toolkit"]["version"] == item["cuda"]


@pytest.mark.parametrize("names", [("rayscenes", "raykernels"), ("raykernels", "rayscenes")])
def test_what_is_built_comes_after_what_its_build_requires(made_up: World, names: tuple[str, str]) -> None:
    text = PACKAGE.replace("raykernels", "rayscenes").replace(
        "torch setuptools", "torch raykernels setuptools"
    )
    (made_up.matrix / "packages" / "rayscenes.yaml").write_text(text, "utf-8")
    packages = "\n".join(f'{name} = "*"' for name in names)
    (item,) = made_up.plan(f'[packages]\n{packages}\ntorch = "==2.10.0"')["environments"]
    _, *phases = item["phases"]
    assert [phase["install"] for phase in phases] == [["raykernels==1.0.0"], ["rayscenes==1.0.0"]]
    assert "raykernels" not in phases[1]["requires"], "it is there by then"


def test_without_its_file_nobody_knows_it(world: World) -> None:
    (item,) = world.plan('[packages]\nraykernels = "*"\ntorch = "==2.10.0"')["environments"]
    assert "raykernels" not in item["packages"]
    assert item["toolkit"] is None


def test_a_gpu_that_its_wheel_has_no_code_for_gets_a_build(made_up: World) -> None:
    made_up.spec('[packages]\nraykernels = "*"')
    text = made_up.run(
        "plan", "--json", "--gpu", "RTX 5090", "--driver", "595.71.05", "--platform", "linux-64"
    )
    (item,) = json.loads(text)["environments"]
    assert item["packages"]["raykernels"]["how"] == "build"
    assert item["env"]["TORCH_CUDA_ARCH_LIST"] == "12.0"


# A target.

RENDER = """
target = "render"

[targets.render]
title = "render scenes"
packages = ["torch", "raykernels"]
components = ["runtime", "compiler", "headers", "build-tools"]
providers = ["system"]
why = "our cluster has modules"
"""


def test_a_target_of_ones_own(made_up: World) -> None:
    (item,) = made_up.plan(RENDER)["environments"]
    assert item["target"] == "render"
    assert set(item["packages"]) == {"torch", "raykernels"}
    assert item["provider"] == "system"
    assert item["toolkit"]["provider"] == "system"
    assert item["toolkit"]["components"] == ["compiler", "headers", "build-tools"]
    text = made_up.run("plan", "--explain")
    assert "our cluster has modules" in " ".join(text.split())


def test_its_order_of_providers_counts(world: World) -> None:
    target = RENDER.replace(', "raykernels"', "")
    (pip,) = world.plan(target.replace('["system"]', '["pip", "system"]'))["environments"]
    (system,) = world.plan(target.replace('["system"]', '["system", "pip"]'))["environments"]
    (conda,) = world.plan(target.replace('["system"]', '["conda"]'))["environments"]
    assert [item["provider"] for item in (pip, system, conda)] == ["pip", "system", "conda"]
    assert {item["toolkit"]["provider"] for item in (pip,)} == {"pip"}


def test_without_a_compiler_nothing_to_compile_with_is_planned(world: World) -> None:
    text = RENDER.replace(', "raykernels"', "").replace(
        '["runtime", "compiler", "headers", "build-tools"]', '["runtime"]'
    )
    (item,) = world.plan(text.replace('["system"]', '["pip"]'))["environments"]
    assert item["toolkit"] is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (RENDER.replace('"compiler"', '"compilr"'), "compiler"),
        (RENDER.replace('["system"]', '["sistem"]'), "unknown provider `sistem`"),
        (RENDER.replace("[targets.render]", "[targets.Render]"), "not a name of a target"),
        (RENDER.replace('target = "render"', 'target = "rendr"'), "rendr"),
    ],
)
def test_what_is_wrong_with_a_target_is_told(world: World, wrong: str, told: str) -> None:
    world.spec(wrong)
    assert told in world.run("plan", status=2)


def test_conda_builds_it_with_its_own_compiler(made_up: World) -> None:
    (item,) = made_up.plan(RENDER.replace('["system"]', '["conda"]'))["environments"]
    assert item["packages"]["raykernels"]["how"] == "build"
    assert (item["provider"], item["toolkit"]["provider"]) == ("conda", "conda")


def test_a_target_that_nothing_can_serve_is_refused(made_up: World) -> None:
    """Wheels have no compiler of CUDA 12."""
    asking = 'cuda = "12.8"\nprovider = "pip"\n' + RENDER.replace('["system"]', '["pip"]')
    document = made_up.plan(asking, status=3)
    assert document["status"] == "no-plan"
    assert set(document["refusal"]["conflict"]) == {"cuda `12.8`", "provider `pip`"}
    assert document["refusal"]["remedies"]
