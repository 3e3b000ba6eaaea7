"""Environments of conda packages: what `cudaenv lock` says of them, and what is left to conda."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.support.project import RTX_4090, Project

CONDA_FILES = {"cudaenv.lock", "environment.yml", "virtual-packages.yml"}


def environments(project: Project) -> list[dict[str, Any]]:
    """The environments in cudaenv.lock."""
    found: list[dict[str, Any]] = json.loads(project.text("cudaenv.lock"))["environments"]
    return found


def test_a_lock_of_conda_packages_says_what_it_does_not_lock_and_what_does(project: Project) -> None:
    done = project.lock(RTX_4090, provider="conda")
    assert set(done.out.split()) == set(project.files()) == CONDA_FILES
    command = "conda-lock lock -f environment.yml --virtual-package-spec virtual-packages.yml"
    assert f"cu130: conda's packages are not in this lock; `{command}` locks them" in done.err
    assert "resolving" not in done.err
    (environment,) = environments(project)
    assert environment["conda"] is not None
    written = yaml.safe_load(project.text("environment.yml"))
    assert written["dependencies"]
    assert not [item for item in written["dependencies"] if isinstance(item, dict)], "no wheels in it"


def test_locking_conda_packages_needs_no_index(project: Project) -> None:
    project.server.requests.clear()
    project.lock(RTX_4090, provider="conda")
    assert project.server.requests == []


def test_right_after_its_lock_it_is_up_to_date_and_an_edit_is_noticed(project: Project) -> None:
    project.lock(RTX_4090, provider="conda")
    assert project.run("check").out == "up to date\n"
    assert project.run("lock").err == "up to date: nothing to resolve\n"
    (project.folder / "environment.yml").write_text("name: mine\n")
    assert "`environment.yml`" in project.run("check", status=4).err


def test_of_several_environments_each_has_its_command(project: Project) -> None:
    done = project.lock(RTX_4090, provider="conda", cuda=["12.9", "13.0"])
    names = [environment["name"] for environment in environments(project)]
    assert names == ["cu129", "cu130"]
    for name in names:
        files = f"-f environment.{name}.yml --virtual-package-spec virtual-packages.{name}.yml"
        assert f"`conda-lock lock {files}`" in done.err
        assert {f"environment.{name}.yml", f"virtual-packages.{name}.yml"} <= set(project.files())


@pytest.mark.parametrize("packages", [{"torch": "*", "filelock": "*"}, {"torch": "*", "numpy": "<3"}])
def test_wheels_on_top_of_conda_packages_are_not_locked(project: Project, packages: dict[str, str]) -> None:
    project.server.requests.clear()
    project.spec(RTX_4090, provider="conda", packages=packages)
    done = project.run("lock", status=2)
    assert "`cu130` has wheels on top of conda packages, which cannot be locked yet" in done.err
    (name,) = set(packages) - {"torch"}
    assert f"\n  {name}" in done.err
    assert 'provider = "pip"' in done.err
    assert (done.out, project.files(), project.server.requests) == ("", {}, [])


def test_what_cannot_be_locked_leaves_the_last_lock_as_it_was(project: Project) -> None:
    project.lock(RTX_4090, provider="conda")
    before = project.files()
    project.spec(RTX_4090, provider="conda", packages={"torch": "*", "filelock": "*"})
    project.run("lock", status=2)
    assert project.files() == before


def test_wheels_on_top_of_conda_packages_can_be_rendered(project: Project) -> None:
    project.spec(RTX_4090, provider="conda", packages={"torch": "*", "filelock": "*"})
    project.run("render")
    dependencies = yaml.safe_load(project.text("environment.yml"))["dependencies"]
    assert "pip" in {item.split(" ")[0].split("=")[0] for item in dependencies if isinstance(item, str)}


@pytest.mark.parametrize("options", [("--anyway",), ("--env", "cu130", "--anyway")])
def test_sync_leaves_conda_packages_to_conda(project: Project, options: tuple[str, ...]) -> None:
    project.lock({**RTX_4090, "glibc": "2.17"}, provider="conda")
    done = project.run("sync", *options, status=2)
    assert "environment `cu130` is of conda packages, which sync does not install yet" in done.err
    assert "conda env create -f" in done.err
    assert "installing" not in done.err
    assert not (project.folder / ".venv").exists()


def test_from_conda_to_wheels_and_back_no_file_of_the_other_stays(project: Project) -> None:
    project.lock(RTX_4090, provider="conda")
    project.lock(RTX_4090)
    assert not {"environment.yml", "virtual-packages.yml"} & set(project.files())
    assert project.pins()["torch"] == "2.15.0"
    project.lock(RTX_4090, provider="conda")
    assert set(project.files()) == CONDA_FILES
