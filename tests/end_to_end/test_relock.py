"""`cudaenv lock` where a lock is there already: pins are kept, renewed, and files taken away."""

from __future__ import annotations

import json

import pytest

from tests.support.project import LOCK_FILES, RTX_4090, RTX_5090, V100, Project
from tests.support.wheels import Wheel

PACKAGES = {"torch": "*", "tool": "*"}


@pytest.fixture
def locked(own_project: Project) -> Project:
    """A project locked when the newest `tool` was 1.0; now there is 1.1, and a newer filelock."""
    own_project.world.add("simple", Wheel("tool", "1.0", "py3-none-any", ["filelock"]))
    own_project.lock(V100, packages=PACKAGES)
    assert own_project.pins()["tool"] == "1.0"
    own_project.world.add("simple", Wheel("tool", "1.1", "py3-none-any", ["filelock"]))
    own_project.world.add("simple", Wheel("filelock", "3.21.0", "py3-none-any"))
    return own_project


def test_a_second_lock_asks_no_index_where_nothing_changed(locked: Project) -> None:
    before = locked.files()
    locked.server.requests.clear()
    done = locked.run("lock")
    assert "up to date" in done.err
    assert done.out == ""
    assert locked.server.requests == []
    assert locked.files() == before


def test_upgrade_renews_the_pins(locked: Project) -> None:
    locked.run("lock", "--upgrade")
    assert (locked.pins()["tool"], locked.pins()["filelock"]) == ("1.1", "3.21.0")


def test_a_package_added_to_the_spec_leaves_the_other_pins(locked: Project) -> None:
    before = locked.pins()
    locked.lock(V100, packages={**PACKAGES, "numpy": "*"})
    assert locked.pins() == {**before, "numpy": "2.3.5"}


def test_a_package_removed_from_the_spec_leaves_the_other_pins(locked: Project) -> None:
    before = locked.pins()
    locked.lock(V100)
    assert locked.pins() == {name: version for name, version in before.items() if name != "tool"}


def test_a_pin_that_the_spec_no_longer_allows_is_renewed_alone(locked: Project) -> None:
    before = locked.pins()
    locked.lock(V100, packages={"torch": "*", "tool": ">1.0"})
    assert locked.pins() == {**before, "tool": "1.1"}


def test_pins_are_kept_when_the_plan_moves_to_another_torch(locked: Project) -> None:
    locked.lock(RTX_4090, packages=PACKAGES)
    assert locked.pins()["torch"] == "2.15.0"
    assert (locked.pins()["tool"], locked.pins()["filelock"]) == ("1.0", "3.20.0")
    assert not [name for name in locked.pins() if name.endswith("-cu12")]


def test_files_of_the_last_lock_that_are_not_made_any_more_go_away(project: Project) -> None:
    project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    assert "pylock.cu126.toml" in project.files()
    project.lock(V100)
    assert set(project.files()) == LOCK_FILES
    project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    assert set(project.files()).isdisjoint({"pylock.toml", "requirements.lock", "Dockerfile"})


def test_pins_are_kept_when_environments_come_and_go(locked: Project) -> None:
    locked.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090, packages=PACKAGES)
    for name in ("pylock.cu126.toml", "pylock.cu132.toml"):
        assert (locked.pins(name)["tool"], locked.pins(name)["filelock"]) == ("1.0", "3.20.0"), name
    locked.lock(RTX_5090, packages=PACKAGES)
    assert (locked.pins()["tool"], locked.pins()["filelock"]) == ("1.0", "3.20.0")


def test_files_of_others_are_left_alone(project: Project) -> None:
    (project.folder / "train.py").write_text("import torch\n")
    (project.folder / "pylock.mine.toml").write_text("# mine\n")
    project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    project.lock(V100)
    assert project.text("train.py") == "import torch\n"
    assert project.text("pylock.mine.toml") == "# mine\n"


def test_a_lock_that_nobody_can_read_is_made_anew_by_upgrade_only(project: Project) -> None:
    project.lock(V100)
    before = project.files()
    (project.folder / "cudaenv.lock").write_text("<<<<<<< ours\n")
    for command in ("check", "lock", "sync"):
        done = project.run(command, status=2)
        assert "`cudaenv.lock` cannot be read" in done.err, command
        assert "cudaenv lock --upgrade" in done.err, command
    project.run("lock", "--upgrade")
    assert project.files() == before


def test_a_pylock_that_nobody_can_read_is_named_and_made_anew_by_force(project: Project) -> None:
    project.lock(V100)
    before = project.files()
    (project.folder / "pylock.toml").write_text("<<<<<<< ours\n")
    done = project.run("lock", status=2)
    assert "`pylock.toml` cannot be read" in done.err
    assert project.files() == {**before, "pylock.toml": b"<<<<<<< ours\n"}
    project.run("lock", "--upgrade", "--force")
    assert project.files() == before


def test_a_lock_that_names_files_elsewhere_removes_none(project: Project) -> None:
    project.lock(V100)
    outside = project.folder.parent / "outside.txt"
    outside.write_text("mine\n")
    document = json.loads(project.text("cudaenv.lock"))
    document["files"] |= {"../outside.txt": "0" * 64, "../missing.txt": "0" * 64, "cudaenv.toml": "0" * 64}
    (project.folder / "cudaenv.lock").write_text(json.dumps(document))
    spec = project.text("cudaenv.toml")
    project.run("lock", "--force")
    assert (outside.read_text(), project.text("cudaenv.toml")) == ("mine\n", spec)
