"""`cudaenv check` and `lock --check`: offline, silent about nothing, and in words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.index import IndexServer, World
from tests.support.planning import ROOT
from tests.support.project import PYTHON, RTX_4090, V100, Project, make_project

PACKAGES = {"torch": "*", "numpy": "*"}
COMMANDS = [("check",), ("lock", "--check")]


@pytest.fixture(scope="module")
def once_locked(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A locked project whose indexes have gone away since."""
    with IndexServer(shared_world.folder) as server:
        project = make_project(tmp_path_factory.mktemp("check"), shared_world, server)
        project.lock(V100, packages=PACKAGES)
    return project


@pytest.fixture
def locked(once_locked: Project, tmp_path: Path) -> Project:
    """A copy of it, with a home that holds no caches."""
    shutil.copytree(once_locked.folder, tmp_path / "project")
    return Project(tmp_path / "project", tmp_path / "home", once_locked.world, once_locked.server)


def drift(project: Project, *command: str, **environ: str) -> str:
    """Check, see that it tells drift and changes nothing, and return what it says."""
    before = project.files()
    done = project.run(*(command or ("check",)), env=environ, status=4)
    assert project.files() == before
    assert done.out == ""
    assert "`cudaenv.lock` is out of date" in done.err
    assert "hint: `cudaenv lock`" in done.err
    return done.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_lock_that_is_up_to_date_is_said_to_be_so(locked: Project, command: tuple[str, ...]) -> None:
    before = locked.files()
    assert locked.run(*command).out == "up to date\n"
    assert locked.files() == before


def edit_spec(project: Project) -> None:
    project.spec(V100, packages={"torch": "*", "numpy": "<3"})


def add_package(project: Project) -> None:
    project.spec(V100, packages={**PACKAGES, "einops": "*"})


def change_python(project: Project) -> None:
    project.spec(V100, packages=PACKAGES, python="3.12" if PYTHON != "3.12" else "3.13")


def change_driver(project: Project) -> None:
    project.spec({**V100, "driver": "570.26"}, packages=PACKAGES)


def change_gpu(project: Project) -> None:
    project.spec({**V100, "gpu": ["RTX 4090"]}, packages=PACKAGES)


def add_machine(project: Project) -> None:
    project.spec(V100, RTX_4090, packages=PACKAGES)


def rename_machine(project: Project) -> None:
    project.spec({**V100, "name": "attic"}, packages=PACKAGES)


def change_cuda(project: Project) -> None:
    project.spec(V100, packages=PACKAGES, cuda="<13")


def change_default_index(project: Project) -> None:
    project.spec(
        V100, packages=PACKAGES, indexes={**project.indexes, "default": "https://mirror.example/simple"}
    )


def edit_file(name: str) -> Callable[[Project], None]:
    def edit(project: Project) -> None:
        (project.folder / name).write_text(f"{project.text(name)}# mine\n")

    return edit


def remove_file(name: str) -> Callable[[Project], None]:
    return lambda project: (project.folder / name).unlink()


CHANGES: list[tuple[Callable[[Project], None], list[str]]] = [
    (
        edit_spec,
        ["spec.packages: `numpy` is only in the lock", "spec.packages: `numpy<3` is not in the lock"],
    ),
    (add_package, ["spec.packages: `einops` is not in the lock"]),
    (change_python, ["spec.python: "]),
    (change_driver, ["machine `lab`.driver: `580.95.05` in the lock, `570.26` now"]),
    (change_gpu, ["machine `lab`.gpus", "environment `cu126` is only in the lock"]),
    (add_machine, ["machine `desk` is not in the lock"]),
    (rename_machine, ["machine `lab` is only in the lock", "machine `attic` is not in the lock"]),
    (change_cuda, ["spec.cuda: `any` in the lock, `<13` now"]),
    (change_default_index, ["spec.indexes.default: ", "`https://mirror.example/simple` now"]),
    (edit_file("pylock.toml"), ["file `pylock.toml` has changed"]),
    (edit_file("Dockerfile"), ["file `Dockerfile` has changed"]),
    (remove_file("requirements.lock"), ["file `requirements.lock` is missing"]),
]


@pytest.mark.parametrize(
    ("change", "lines"), CHANGES, ids=[f"{lines[0].split(':')[0]}" for _, lines in CHANGES]
)
def test_each_change_is_named(locked: Project, change: Callable[[Project], None], lines: list[str]) -> None:
    change(locked)
    message = drift(locked)
    for line in lines:
        assert line in message


def test_all_changes_are_named_at_once(locked: Project) -> None:
    change_driver(locked)
    edit_file("pylock.toml")(locked)
    remove_file("Dockerfile")(locked)
    message = drift(locked, "lock", "--check")
    assert "3 differences" in message
    for part in ("machine `lab`.driver", "`pylock.toml` has changed", "`Dockerfile` is missing"):
        assert part in message


def test_a_mirror_is_no_part_of_a_lock(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES, indexes={"default": locked.default})
    assert locked.run("check").out == "up to date\n"


def edited_matrix(folder: Path, table: str, old: str, new: str) -> str:
    """Copy the matrix with one text replaced in one line of one table."""
    shutil.copytree(ROOT / "matrix", folder)
    file = folder / f"{table}.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, text.count(old)
    file.write_text(text.replace(old, new), encoding="utf-8")
    return str(folder)


def test_a_row_of_the_matrix_that_is_in_use_and_changed_is_named(locked: Project, tmp_path: Path) -> None:
    row = '{version: "2.14.1", variant: "cu126", platform: "linux-64", index: "pytorch", '
    new = row + 'note: "corrected", '
    matrix = edited_matrix(tmp_path / "matrix", "packages/torch", row, new)
    message = drift(locked, CUDAENV_MATRIX=matrix)
    assert "matrix row `packages/torch 2.14.1 cu126 linux-64` has changed" in message
    assert "1 difference\n" in message


def test_a_row_of_the_matrix_that_is_not_in_use_does_not_matter(locked: Project, tmp_path: Path) -> None:
    row = '{version: "2.14.1", variant: "cu126", platform: "linux-aarch64", index: "pytorch", '
    new = row + 'note: "corrected", '
    matrix = edited_matrix(tmp_path / "matrix", "packages/torch", row, new)
    assert locked.run("check", env={"CUDAENV_MATRIX": matrix}).out == "up to date\n"


def test_a_newer_torch_in_the_matrix_is_drift(locked: Project, tmp_path: Path) -> None:
    # Without the row that was planned, the plan is another one.
    text = (ROOT / "matrix" / "packages" / "torch.yaml").read_text(encoding="utf-8")
    row = next(
        line for line in text.splitlines() if '"2.14.1", variant: "cu126", platform: "linux-64"' in line
    )
    matrix = edited_matrix(tmp_path / "matrix", "packages/torch", f"{row}\n", "")
    message = drift(locked, CUDAENV_MATRIX=matrix)
    assert "environment `cu126`.packages.torch.version: `2.14.1+cu126` in the lock" in message


def test_a_broken_matrix_is_not_taken_for_drift(locked: Project, tmp_path: Path) -> None:
    matrix = edited_matrix(tmp_path / "matrix", "targets", "schema: 1", "schema: 1\nnonsense: 2")
    assert "nonsense" in locked.run("check", env={"CUDAENV_MATRIX": matrix}, status=7).err


def test_a_spec_that_has_no_plan_any_more_is_drift(locked: Project) -> None:
    locked.spec(V100, packages={"torch": ">=2.15"})
    done = locked.run("check", status=4)
    assert "2.15" in done.err


def test_a_spec_with_an_error_is_not_taken_for_drift(locked: Project) -> None:
    locked.spec({**V100, "driver": "five"}, packages=PACKAGES)
    assert "driver" in locked.run("check", status=2).err


def test_without_a_lock_there_is_nothing_to_check(project: Project) -> None:
    project.spec(V100)
    assert "there is no `cudaenv.lock` here" in project.run("check", status=2).err


def test_line_ends_that_a_checkout_changed_are_no_drift(project: Project) -> None:
    project.lock(V100)
    for name, content in project.files().items():
        (project.folder / name).write_bytes(content.replace(b"\n", b"\r\n"))
    assert project.run("check").out == "up to date\n"
