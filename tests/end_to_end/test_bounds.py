"""Packages that the matrix does not know and that refuse the planned torch: planned within their bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.project import RTX_5090, V100, Project
from tests.support.wheels import Wheel

PICKY = {"torch": "*", "picky": "*"}


def add(project: Project, name: str, *requires: str, version: str = "1.0") -> None:
    """Put a package on the default index, which the tables do not have."""
    project.world.add("simple", Wheel(name, version, "py3-none-any", requires))


def document(project: Project) -> dict[str, Any]:
    """What cudaenv.lock says."""
    found: dict[str, Any] = json.loads(project.text("cudaenv.lock"))
    return found


@pytest.fixture
def picky(own_project: Project) -> Project:
    """A project whose index has a package that wants an old torch."""
    add(own_project, "picky", "torch<2.9")
    return own_project


def test_a_package_that_wants_an_old_torch_gets_it_and_the_round_is_told(picky: Project) -> None:
    done = picky.lock(V100, packages=PICKY)
    assert "planning again: picky 1.0 requires torch<2.9" in done.err
    assert (picky.pins()["torch"], picky.pins()["picky"]) == ("2.8.0", "1.0")
    assert document(picky)["bounds"] == ["picky 1.0: torch<2.9"]
    assert "planning again" not in done.out, "stdout is data"


def test_without_a_conflict_there_is_no_bound_and_no_further_round(own_project: Project) -> None:
    add(own_project, "easy", "torch>=2")
    done = own_project.lock(V100, packages={"torch": "*", "easy": "*"})
    assert "planning again" not in done.err
    assert done.err.count("resolving") == 1
    assert document(own_project)["bounds"] == []
    assert own_project.pins()["torch"] == "2.14.1+cu126"


def test_an_older_release_that_goes_with_the_planned_torch_is_taken_without_a_bound(
    own_project: Project,
) -> None:
    add(own_project, "tool", "torch<2.9", version="2.0")
    add(own_project, "tool", "torch>=2", version="1.0")
    own_project.lock(V100, packages={"torch": "*", "tool": "*"})
    assert (own_project.pins()["torch"], own_project.pins()["tool"]) == ("2.14.1+cu126", "1.0")
    assert document(own_project)["bounds"] == []


def test_a_bound_of_a_dependency_names_the_dependency(own_project: Project) -> None:
    add(own_project, "deep", "torch<2.9")
    add(own_project, "shell", "deep")
    done = own_project.lock(V100, packages={"torch": "*", "shell": "*"})
    assert "planning again: deep 1.0 requires torch<2.9" in done.err
    assert own_project.pins()["torch"] == "2.8.0"


def test_a_requirement_for_other_platforms_is_no_bound(own_project: Project) -> None:
    add(own_project, "picky", "torch<2.9", 'torch<2.0; sys_platform == "win32"')
    own_project.lock(V100, packages=PICKY)
    assert document(own_project)["bounds"] == ["picky 1.0: torch<2.9"]


def test_bounds_of_several_packages_hold_together(own_project: Project) -> None:
    add(own_project, "picky", "torch<2.14")
    add(own_project, "fussy", "torch<2.9")
    done = own_project.lock(V100, packages={**PICKY, "fussy": "*"})
    assert "fussy 1.0 requires torch<2.9" in done.err
    assert set(document(own_project)["bounds"]) <= {"picky 1.0: torch<2.14", "fussy 1.0: torch<2.9"}
    assert own_project.pins()["torch"] == "2.8.0"


def test_right_after_a_lock_with_bounds_it_is_up_to_date(picky: Project) -> None:
    picky.lock(V100, packages=PICKY)
    assert picky.run("check").out == "up to date\n"
    assert "2.8.0" in picky.run("plan").out
    again = picky.run("lock")
    assert (again.out, again.err) == ("", "up to date: nothing to resolve\n")


def test_locking_again_keeps_bounds_without_running_into_them(picky: Project) -> None:
    picky.lock(V100, packages=PICKY)
    before = picky.files()
    (picky.folder / "pylock.toml").unlink()
    again = picky.run("lock")
    assert "planning again" not in again.err
    assert picky.files() == before


def test_a_new_machine_is_planned_within_the_bounds_that_are_known(picky: Project) -> None:
    picky.lock(V100, packages=PICKY)
    again = picky.lock({**V100, "name": "second", "gpu": ["RTX 4090"]}, packages=PICKY)
    assert "planning again" not in again.err
    assert document(picky)["bounds"] == ["picky 1.0: torch<2.9"]
    assert picky.pins()["torch"].startswith("2.8.0")


def test_a_bound_goes_with_the_package_that_had_it(picky: Project) -> None:
    picky.lock(V100, packages=PICKY)
    picky.lock(V100)
    assert document(picky)["bounds"] == []
    assert picky.pins()["torch"] == "2.14.1+cu126"


def test_an_upgrade_finds_that_a_newer_release_has_no_such_bound(picky: Project) -> None:
    picky.lock(V100, packages=PICKY)
    add(picky, "picky", "torch>=2", version="1.1")
    picky.run("lock", "--upgrade")
    assert document(picky)["bounds"] == []
    assert (picky.pins()["torch"], picky.pins()["picky"]) == ("2.14.1+cu126", "1.1")


def test_the_same_bounds_give_the_same_bytes(
    picky: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    picky.lock(V100, packages=PICKY)
    other = picky.another(tmp_path_factory.mktemp("elsewhere"))
    other.run("lock")
    assert other.files() == picky.files()


def test_a_bound_holds_for_all_environments(picky: Project) -> None:
    picky.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090, packages=PICKY)
    torches = [item["packages"]["torch"]["version"] for item in document(picky)["environments"]]
    assert torches == ["2.8.0+cu126", "2.8.0"]


def test_a_gpu_that_no_allowed_torch_knows_is_refused_and_the_package_is_named(own_project: Project) -> None:
    add(own_project, "picky", "torch<2.6")
    own_project.spec(RTX_5090, packages=PICKY)
    done = own_project.run("lock", status=3)
    refusal = done.err.split("error:")[1]
    assert "picky 1.0" in refusal
    assert "torch<2.6" in refusal
    assert "RTX 5090" in refusal
    assert own_project.files() == {}


def test_what_the_user_asks_of_torch_and_a_package_excludes_is_refused_by_both_names(picky: Project) -> None:
    picky.spec(V100, packages={"torch": ">=2.9", "picky": "*"})
    done = picky.run("lock", status=3)
    assert "planning again: picky 1.0 requires torch<2.9" in done.err
    assert "torch>=2.9" in done.err.split("error:")[1]
    assert "picky 1.0" in done.err.split("error:")[1]
    assert picky.files() == {}


def test_packages_whose_bounds_exclude_each_other_are_refused(own_project: Project) -> None:
    add(own_project, "picky", "torch<2.9")
    add(own_project, "fresh", "torch>=2.14")
    own_project.spec(V100, packages={**PICKY, "fresh": "*"})
    done = own_project.run("lock", status=3)
    assert "picky" in done.err
    assert "planning again" not in done.err
    assert own_project.files() == {}


def test_bounds_in_a_lock_that_are_none_are_an_error_of_the_file(picky: Project) -> None:
    picky.lock(V100, packages=PICKY)
    text = picky.text("cudaenv.lock").replace("picky 1.0: torch<2.9", "picky 1.0: torch(((")
    (picky.folder / "cudaenv.lock").write_text(text)
    for command in ("check", "lock", "plan"):
        done = picky.run(command, status=2)
        assert "`cudaenv.lock` cannot be read" in done.err
        assert "torch(((" in done.err
