"""`plan`, `render`, `machine`, `matrix` and the frame around all: exit statuses, and what goes where."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.nvml import FakeGpu, build_fake_nvml, fake_nvml_env
from tests.support.project import LOCK_FILES, RTX_4090, RTX_5090, V100, Project
from tests.support.schema import plan_validator

NO_PLAN = ("--gpu", "RTX 4090", "--driver", "340.108")
MACHINE = ("--gpu", "RTX 4090", "--driver", "595.71.05", "--platform", "linux-64")


def test_a_plan_goes_to_stdout_and_asks_no_index(project: Project) -> None:
    project.spec(V100)
    done = project.run("plan")
    assert done.out.startswith("cu126: torch 2.14.1+cu126 for lab\n")
    assert done.err == ""
    assert project.server.requests == []
    assert project.files() == {}


def test_a_plan_is_made_of_options_alone(project: Project) -> None:
    assert "torch 2.15.0+cu132" in project.run("plan", *MACHINE).out


def test_options_stand_above_the_spec_for_one_run(project: Project) -> None:
    project.spec(V100)
    assert "2.15.0" in project.run("plan", *MACHINE).out
    assert "2.14.1+cu126" in project.run("plan").out


def test_without_a_plan_the_status_is_3_and_the_refusal_is_the_answer(project: Project) -> None:
    done = project.run("plan", *NO_PLAN, status=3)
    assert "340.108" in done.out
    answer = json.loads(project.run("plan", "--json", *NO_PLAN, status=3).out)
    assert answer["status"] == "no-plan"
    assert answer["refusal"]["remedies"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (MACHINE, 0),
        (("--gpu", "GTX 1080 Ti", "--gpu", "RTX 5090"), None),
        (("--platform", "win-64", "--gpu", "8.9", "--driver-api", "12.8"), 0),
        (("--platform", "osx-arm64", "-p", "torch", "-p", "diffusers>=0.30"), 0),
        (("--cuda", "cpu"), 0),
        (NO_PLAN, 3),
    ],
    ids=["planned", "two-gpus", "windows", "macos", "cpu", "no-plan"],
)
def test_a_plan_as_json_keeps_the_schema(
    project: Project, arguments: tuple[str, ...], status: int | None
) -> None:
    done = project.run("plan", "--json", *arguments, status=status)
    problems = [error.message for error in plan_validator().iter_errors(json.loads(done.out))]
    assert problems == []
    assert done.err == ""


def test_a_plan_explains_what_was_better_and_why_not(project: Project) -> None:
    project.spec(V100)
    plain, explained = project.run("plan").out, project.run("plan", "--explain").out
    assert len(explained.splitlines()) > len(plain.splitlines())
    assert "2.15.0" in explained
    assert "7.0" in explained


def test_a_plan_is_drawn_without_colours_and_the_same_everywhere(project: Project) -> None:
    project.spec(V100, RTX_5090)
    first = project.run("plan", "--explain").out
    other = project.run(
        "plan", "--explain", env={"NO_COLOR": "1", "COLUMNS": "40", "PYTHONHASHSEED": "5"}
    ).out
    assert "\x1b" not in first
    assert first == other


def test_all_errors_of_a_spec_are_told_at_once_with_their_keys(project: Project) -> None:
    project.spec(
        {**V100, "gpu": ["V1000"], "driver": "x", "colour": "red"}, packages={"torch": "=>2"}, cuda="13"
    )
    text = project.text("cudaenv.toml")
    (project.folder / "cudaenv.toml").write_text(f"targte = 'run-only'\n{text}")
    done = project.run("plan", status=2)
    keys = ("targte", "machine[0].gpu", "machine[0].driver", "machine[0].colour", "packages.torch")
    assert [key for key in keys if key not in done.err] == []
    assert "`target`" in done.err or "target" in done.err.replace("targte", "")
    assert done.out == ""


@pytest.mark.parametrize(
    "text",
    [
        "= nothing\n",
        'packages = ["torch"]\n',
        "packages = 3\n",
        "machine = 3\n",
        "indexes = []\n",
        "python = 3.11\n",
        "[[packages]]\n",
    ],
)
def test_a_spec_of_the_wrong_shape_is_an_error_in_words(project: Project, text: str) -> None:
    (project.folder / "cudaenv.toml").write_text(text)
    for options in ((), ("-p", "torch", "--index", "pytorch=https://mirror.example/whl")):
        assert "cudaenv.toml" in project.run("plan", *options, status=2).err


@pytest.mark.parametrize("text", ["tool = 3\n", "[tool]\ncudaenv = 3\n", "project = 3\n[tool.cudaenv]\n"])
def test_a_pyproject_of_the_wrong_shape_is_no_bug_of_ours(project: Project, text: str) -> None:
    (project.folder / "pyproject.toml").write_text(text)
    assert project.run("plan", *MACHINE, status=None).status in {0, 2}


def test_a_spec_in_pyproject_plans_the_dependencies_of_the_project(project: Project) -> None:
    (project.folder / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1"\ndependencies = ["torch>=2.8", "torchvision"]\n'
        f'[tool.cudaenv]\npython = "3.11"\n[tool.cudaenv.indexes]\npytorch = "{project.mirror}"\n'
        f'default = "{project.default}"\n'
        '[[tool.cudaenv.machine]]\ngpu = ["Tesla V100"]\ndriver = "580.95.05"\n'
    )
    before = project.text("pyproject.toml")
    project.run("lock")
    assert project.pins()["torchvision"] == "0.29.1+cu126"
    assert project.text("pyproject.toml") == before
    assert project.run("check").out == "up to date\n"


def test_render_writes_what_is_readable_and_prints_its_names(project: Project) -> None:
    project.spec(V100)
    done = project.run("render")
    assert set(done.out.split()) == set(project.files())
    assert set(project.files()) == LOCK_FILES - {"pylock.toml", "requirements.lock", "cudaenv.lock"}
    assert project.server.requests == []
    assert "torch==2.14.1+cu126" in project.text("requirements.txt")


def test_render_and_lock_write_the_same_readable_files(project: Project) -> None:
    project.spec(V100, packages={"torch": "*", "torchvision": "*"})
    project.run("render")
    rendered = project.files()
    project.run("lock")
    assert {name: project.files()[name] for name in rendered} == rendered


def test_render_keeps_what_a_person_edited(project: Project) -> None:
    project.spec(V100)
    (project.folder / "Dockerfile").write_text("FROM mine\n")
    assert "`Dockerfile` would be overwritten" in project.run("render", status=2).err
    assert set(project.files()) == {"Dockerfile"}
    project.run("render", "--force")
    assert "mine" not in project.text("Dockerfile")


def test_render_without_a_plan_writes_nothing(project: Project) -> None:
    project.spec(V100, packages={"torch": ">=2.15"})
    assert "hint:" in project.run("render", status=3).err
    assert project.files() == {}


@pytest.mark.skipif(sys.platform != "linux", reason="the fake NVML library is Linux's")
def test_a_machine_is_shown_as_text_as_json_and_as_a_table_for_the_spec(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "nvml").mkdir()
    folder = build_fake_nvml(tmp_path / "nvml")
    env = fake_nvml_env(folder, FakeGpu("NVIDIA GeForce RTX 4090", (8, 9)), driver="595.71.05", cuda=13020)
    del env["PATH"]
    text = project.run("machine", env=env)
    assert "NVIDIA GeForce RTX 4090, compute capability 8.9" in text.out
    assert "595.71.05  (NVML)" in text.out
    answer = json.loads(project.run("machine", "--json", env=env).out)
    assert answer["schema"] == 1
    assert answer["driver"]["value"] == "595.71.05"
    table = project.run("machine", "--toml", env=env).out
    (machine,) = tomllib.loads(table)["machine"]
    project.spec({**machine, "name": "sent to a colleague"})
    assert "torch 2.15.0+cu132 for sent to a colleague" in project.run("plan").out


def test_a_machine_without_a_spec_is_planned_for_as_it_is_found(project: Project, tmp_path: Path) -> None:
    (tmp_path / "nvml").mkdir()
    folder = build_fake_nvml(tmp_path / "nvml")
    env = fake_nvml_env(folder, FakeGpu("Tesla V100-SXM2-32GB", (7, 0)), driver="580.95.05")
    del env["PATH"]
    assert "torch 2.14.1+cu126 for this machine" in project.run("plan", env=env).out


def test_the_matrix_is_shown_with_its_sources(project: Project) -> None:
    tables = [line.split()[0] for line in project.run("matrix", "show").out.splitlines()]
    assert "packages/torch" in tables
    assert len(tables) >= 8
    for name in ("cuda", "gpus", "packages/torch", "torch"):
        answer = json.loads(project.run("matrix", "show", name, "--json").out)
        assert answer["rows"]
        cited = {row["source"] for row in answer["rows"] if row.get("source")}
        assert cited <= set(answer["sources"])
        text = project.run("matrix", "show", name).out
        assert [source for source in cited if f"  {source}: " not in text] == []
    assert "every invariant holds" in project.run("matrix", "check").out


def test_a_table_that_does_not_exist_is_an_error_that_lists_those_that_do(project: Project) -> None:
    done = project.run("matrix", "show", "torhc", status=2)
    assert "torch" in done.err
    assert done.out == ""


def test_a_matrix_that_is_wrong_is_status_7(project: Project, tmp_path: Path) -> None:
    assert (
        "not a folder"
        in project.run("matrix", "check", env={"CUDAENV_MATRIX": str(tmp_path / "no")}, status=7).err
    )
    (tmp_path / "empty").mkdir()
    project.run("plan", *MACHINE, env={"CUDAENV_MATRIX": str(tmp_path / "empty")}, status=7)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise on Windows")
@pytest.mark.parametrize("arguments", [("matrix", "show", "torch"), ("matrix", "show", "torch", "--json")])
def test_a_pipe_that_is_closed_early_is_no_error(project: Project, arguments: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        project.command(*arguments),
        env=project.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    process.wait(timeout=30)
    assert said == ""


@pytest.mark.parametrize("name", ["unlock", "", "--unknown"])
def test_an_unknown_command_is_a_usage_error(project: Project, name: str) -> None:
    done = project.run(name, status=2)
    assert "Usage:" in done.err
    assert done.out == ""


def test_an_option_without_its_value_is_a_usage_error(project: Project) -> None:
    assert "--gpu" in project.run("plan", "--gpu", status=2).err


def test_a_package_that_is_no_requirement_is_a_usage_error(project: Project) -> None:
    assert "not a requirement" in project.run("plan", "-p", "torch=2", status=2).err
    assert (
        "a name and versions only"
        in project.run("plan", "-p", "x @ https://host.example/x.whl", status=2).err
    )


def test_a_project_that_does_not_exist_is_a_usage_error(project: Project) -> None:
    assert "there is no folder" in project.run("plan", "--project", "nowhere", status=2).err


def test_a_project_elsewhere_is_worked_on_where_it_is(project: Project, tmp_path: Path) -> None:
    project.spec(RTX_4090)
    other = project.another(tmp_path / "elsewhere")
    other.run("lock", "--project", project.folder)
    assert "pylock.toml" in project.files()
    assert other.files() == {}


def test_help_and_version_need_no_project(project: Project) -> None:
    assert project.run("--version").out.startswith("cudaenv ")
    for command in ("init", "plan", "render", "lock", "sync", "check", "machine", "matrix"):
        assert command in project.run("--help").out
        assert "Usage:" in project.run(command, "--help").out
