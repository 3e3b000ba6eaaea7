"""Locked conda packages installed without any conda: whole, checked, repaired, with wheels on top."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.channel import Channels
from tests.support.conda_project import CondaProject, conda_project, on_linux_64, prefix_files
from tests.support.project import PYTHON, Project
from tests.support.wheels import Wheel

pytestmark = on_linux_64


@pytest.fixture
def conda(project: Project, channels: Channels) -> Iterator[CondaProject]:
    with conda_project(project, channels) as found:
        found.lock()
        yield found


@pytest.fixture
def prefix(conda: CondaProject) -> Path:
    return conda.project.folder / ".conda"


def test_sync_installs_what_is_locked_and_looks_at_torch(conda: CondaProject, prefix: Path) -> None:
    done = conda.sync()
    assert f"installed   cu130 in {prefix}" in done.out
    assert "torch       2.12.0, CUDA 13.0, as planned" in done.out
    installed = {json.loads(path.read_text())["name"] for path in (prefix / "conda-meta").glob("*.json")}
    assert installed == set(conda.locked())
    assert (prefix / "conda-meta" / "history").exists()
    for path in (prefix / "conda-meta").glob("*.json"):
        assert conda.server.url not in path.read_text()


def test_a_second_sync_fetches_nothing_and_changes_nothing(conda: CondaProject, prefix: Path) -> None:
    conda.sync()
    before = prefix_files(prefix)
    conda.server.requests.clear()
    conda.sync()
    assert conda.server.requests == []
    assert prefix_files(prefix) == before


def test_what_is_no_longer_locked_goes(conda: CondaProject, prefix: Path) -> None:
    conda.lock(packages={"torch": "*", "torchvision": "*"})
    conda.sync()
    assert list((prefix / "conda-meta").glob("torchvision-*.json"))
    conda.lock()
    conda.sync()
    assert not list((prefix / "conda-meta").glob("torchvision-*.json"))


def test_an_altered_package_is_refused_with_both_hashes(conda: CondaProject, prefix: Path) -> None:
    package = conda.package("filelock-", "noarch")
    path = conda.path("filelock-", "noarch")
    changed = conda.package("fsspec-", "noarch")
    conda.server.replace(path, changed.data)
    done = conda.sync(status=5)
    assert "a file of a conda channel is not the one that was locked" in done.err
    assert package.sha256 in done.err
    assert changed.sha256 in done.err
    conda.server.heal()
    conda.sync()
    assert (prefix / "conda-meta").is_dir()


@pytest.mark.parametrize("fault", ["truncate", "404", "403"])
def test_a_package_that_cannot_be_fetched_is_named_and_a_second_run_repairs(
    conda: CondaProject, prefix: Path, fault: str
) -> None:
    path = conda.path("filelock-", "noarch")
    if fault == "truncate":
        conda.server.truncate(path, 100)
    else:
        conda.server.fail(path, int(fault))
    done = conda.sync(status=None)
    assert done.status in {5, 6}
    assert "filelock" in done.err
    conda.server.heal()
    conda.sync()
    assert not (prefix / "conda-meta" / "cudaenv-is-installing").exists()


def test_a_server_that_fails_once_is_asked_again(conda: CondaProject) -> None:
    conda.server.fail(conda.path("filelock-", "noarch"), 500, times=1)
    conda.sync()


def test_an_interrupted_run_is_begun_anew(conda: CondaProject, prefix: Path) -> None:
    conda.sync()
    whole = prefix_files(prefix)
    # As a kill leaves it: a package half there, the mark of the run, and no record of the package.
    (prefix / "conda-meta" / "cudaenv-is-installing").touch()
    next((prefix / "conda-meta").glob("pytorch-*.json")).unlink()
    for path in list(prefix.rglob("torch/*.py"))[:1]:
        path.unlink()  # not through the link into the cache
        path.write_text("half")
    conda.sync()
    assert prefix_files(prefix) == whole


def test_a_folder_that_is_something_else_is_left_alone(conda: CondaProject, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("mine")
    done = conda.sync("--prefix", str(folder), status=2)
    assert "is no environment of conda packages, and holds something" in done.err
    assert [path.name for path in folder.iterdir()] == ["chapter1.tex"]


def test_a_lock_that_someone_changed_is_not_installed(conda: CondaProject, prefix: Path) -> None:
    lock = conda.project.folder / "conda-lock.yml"
    package = conda.package("filelock-", "noarch")
    other = conda.package("fsspec-", "noarch")
    lock.write_text(lock.read_text().replace(package.sha256, other.sha256))
    done = conda.sync(status=4)
    assert "`conda-lock.yml` is not the one that was locked" in done.err
    assert not prefix.exists()


def test_conda_lock_installs_the_same_files(conda: CondaProject, prefix: Path, tmp_path: Path) -> None:
    conda.sync()
    other = tmp_path / "other"
    conda.conda_lock("install", "--prefix", str(other), "conda-lock.yml")
    assert prefix_files(other) == prefix_files(prefix)


def test_wheels_are_installed_on_top_and_go_when_they_are_no_longer_locked(
    own_project: Project, channels: Channels
) -> None:
    own_project.world.add("simple", Wheel("diffusion", "1.0", "py3-none-any", ["torch", "numpy", "tiny"]))
    own_project.world.add("simple", Wheel("tiny", "2.0", "py3-none-any"))
    with conda_project(own_project, channels) as conda:
        conda.lock(packages={"torch": "*", "diffusion": "*"})
        conda.sync()
        site = own_project.folder / ".conda" / "lib" / f"python{PYTHON}" / "site-packages"
        assert (site / "diffusion-1.0.dist-info").is_dir()
        assert (site / "tiny-2.0.dist-info").is_dir()
        conda.lock(packages={"torch": "*", "tiny": "*"})
        conda.sync()
        assert not (site / "diffusion-1.0.dist-info").exists()
        assert (site / "tiny-2.0.dist-info").is_dir()
        assert len(list(site.glob("torch-*.dist-info"))) == 1


def test_a_bundle_installs_where_there_is_no_network(
    own_project: Project, channels: Channels, tmp_path: Path
) -> None:
    own_project.world.add("simple", Wheel("tiny", "2.0", "py3-none-any"))
    bundle = tmp_path / "stick"
    with conda_project(own_project, channels) as conda:
        conda.lock(packages={"torch": "*", "tiny": "*"})
        done = own_project.run("bundle", str(bundle))
        count = len(conda.locked()) + 1
        assert done.out == f"{count} files\n"
        assert f"fetching {count} of {count} files" in done.err
        assert f"fetching 0 of {count} files" in own_project.run("bundle", str(bundle)).err
        before = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
        assert "wheels/tiny-2.0-py3-none-any.whl" in before
        assert f"conda/conda-forge/noarch/{conda.package('filelock-', 'noarch').filename}" in before
        asked = len(conda.server.requests), len(own_project.server.requests)
        conda.server.fail("/", 500)
        away = own_project.another(tmp_path / "away")
        for name, text in own_project.files().items():
            (away.folder / name).write_bytes(text)
        away.run("sync", "--anyway", "--from-bundle", str(bundle))
        assert (len(conda.server.requests), len(own_project.server.requests)) == asked
        site = away.folder / ".conda" / "lib" / f"python{PYTHON}" / "site-packages"
        assert (site / "tiny-2.0.dist-info").is_dir()


def test_a_bundle_for_another_platform_and_a_changed_file_in_it(conda: CondaProject, tmp_path: Path) -> None:
    arm = {"name": "arm", "gpu": "GH200", "driver": "580.95.05", "platform": "linux-aarch64"}
    conda.lock(arm)
    bundle = tmp_path / "stick"
    conda.project.run("bundle", str(bundle))
    (torch,) = bundle.glob("conda/conda-forge/linux-aarch64/pytorch-*")
    torch.write_bytes(b"something else")
    assert "fetching 1 of" in conda.project.run("bundle", str(bundle)).err
    assert torch.read_bytes() != b"something else"
    assert not list(bundle.rglob("*.undone"))


def test_a_bundle_with_another_file_is_not_installed(conda: CondaProject, tmp_path: Path) -> None:
    bundle = tmp_path / "stick"
    conda.project.run("bundle", str(bundle))
    (path,) = bundle.glob("conda/conda-forge/noarch/filelock-*")
    path.write_bytes(conda.package("fsspec-", "noarch").data)
    done = conda.sync("--from-bundle", str(bundle), status=5)
    assert "is not the one that was locked" in done.err


def test_check_fetches_every_file_on_request(conda: CondaProject) -> None:
    conda.server.requests.clear()
    assert conda.project.run("check").out == "up to date\n"
    assert conda.server.requests == []
    count = len(conda.locked())
    assert conda.project.run("check", "--artifacts").out == f"{count} files are what was locked\nup to date\n"
    package, other = conda.package("filelock-", "noarch"), conda.package("fsspec-", "noarch")
    conda.server.replace(conda.path("filelock-", "noarch"), other.data)
    done = conda.project.run("check", "--artifacts", status=4)
    assert package.sha256 in done.err
    assert other.sha256 in done.err


def test_check_sees_a_lock_that_is_of_another_environment(conda: CondaProject) -> None:
    """A lock whose digests were made to fit is still held against what it was made from."""
    from cudaenv.lock.document import digest

    folder = conda.project.folder
    lines = (folder / "conda-lock.yml").read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if line == "- name: filelock\n")
    end = next(i for i, line in enumerate(lines) if i > start and line.startswith("- name: "))
    changed = "".join(lines[:start] + lines[end:])
    document = json.loads((folder / "cudaenv.lock").read_text())
    document["files"]["conda-lock.yml"] = digest(changed)
    (folder / "conda-lock.yml").write_text(changed)
    (folder / "cudaenv.lock").write_text(json.dumps(document))
    done = conda.project.run("check", status=4)
    assert "filelock" in done.err
