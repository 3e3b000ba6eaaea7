"""The example projects, planned and locked as their README says, on the loopback indexes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.planning import ROOT
from tests.support.project import LOCK_FILES, PYTORCH, Project

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())


def opened(example: Path, project: Project) -> tuple[str, ...]:
    """Copy an example into a project; return the options that lead to the project's indexes."""
    shutil.copytree(example, project.folder, dirs_exist_ok=True)
    return ("--index", f"pytorch={project.mirror}", "--index", f"default={project.default}")


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_an_example_is_planned_and_locked_and_the_lock_is_current(example: Path, project: Project) -> None:
    options = opened(example, project)
    assert project.run("plan", "--explain").err == ""
    project.run("lock", *options)
    assert project.run("lock", "--check", *options).out == "up to date\n"


def test_the_lab_of_old_and_new_cards_shares_one_environment(project: Project) -> None:
    project.run("lock", *opened(ROOT / "examples/run-only", project))
    assert set(project.files()) - {"README.md"} == LOCK_FILES
    assert project.pins()["torch"] == "2.14.1+cu126"
    assert project.pins()["torchvision"] == "0.29.1+cu126"
    urls = project.urls()
    assert urls["torch"].startswith(f"{PYTORCH}/cu126/torch/")
    assert not urls["numpy"].startswith(PYTORCH)
