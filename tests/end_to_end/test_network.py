"""Indexes that do not answer, or not as they should: the error says which, and old files stay as they are."""

from __future__ import annotations

import pytest

from tests.support.project import RTX_4090, V100, Project

PACKAGES = {"torch": "*", "torchvision": "*"}


@pytest.fixture
def locked(project: Project) -> Project:
    """A project with a lock, about to be locked for something else by a machine that knows nothing yet."""
    project.lock({**V100, "name": "before"})
    for name in ("uv-cache", "cudaenv-cache"):
        (project.home / name).rename(project.home / f"{name}.before")
    return project


def failing(project: Project, status: int) -> str:
    """Lock, see that it fails and leaves every file as it was, and return what it says."""
    before = project.files()
    assert before, "there is a lock"
    done = project.run("lock", status=status)
    assert project.files() == before
    assert done.out == ""
    return done.err


def test_an_index_that_is_down_is_named_with_what_would_help(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES)
    address = locked.mirror
    locked.server.__exit__()
    message = failing(locked, 6)
    assert f"{address}/cu126/torch" in message
    assert "hint: Check the network" in message
    assert "[indexes]" in message


def test_a_host_that_does_not_exist_is_named(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES, indexes={**locked.indexes, "pytorch": "https://mirror.invalid/whl"})
    assert "https://mirror.invalid/whl/cu126/torch" in failing(locked, 6)


def test_an_error_of_the_server_is_named(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES)
    locked.server.fail("/whl/cu126/torch/", 500)
    message = failing(locked, 6)
    assert "/whl/cu126/torch/" in message
    assert "500" in message


def test_an_error_of_the_server_that_passes_is_survived(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES)
    locked.server.fail("/whl/cu126/torch/", 503, times=1)
    locked.run("lock", env={"UV_HTTP_RETRIES": "2"})
    assert locked.pins()["torchvision"] == "0.29.1+cu126"


def test_an_error_that_passes_while_wheels_are_read_is_survived(locked: Project) -> None:
    locked.spec(RTX_4090, packages=PACKAGES)
    vision = locked.world.find("simple", "torchvision-0.29.2-py3-none-manylinux_2_28_x86_64")
    locked.server.fail(locked.world.path("simple", vision), 503, times=1)
    locked.run("lock")
    assert locked.pins()["torchvision"] == "0.29.2"


def test_an_error_that_stays_while_wheels_are_read_is_named(locked: Project) -> None:
    locked.spec(RTX_4090, packages=PACKAGES)
    vision = locked.world.find("simple", "torchvision-0.29.2-py3-none-manylinux_2_28_x86_64")
    locked.server.fail(locked.world.path("simple", vision), 500)
    message = failing(locked, 6)
    assert vision.filename in message
    assert "500" in message


def test_metadata_that_is_cut_off_is_an_error(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES)
    torch = locked.world.find("whl/cu126", "torch-2.14.1+cu126-cp311-cp311-manylinux_2_28_x86_64")
    locked.server.truncate(f"{locked.world.path('whl/cu126', torch)}.metadata", 40)
    message = failing(locked, 6)
    assert "torch-2.14.1" in message


def test_a_page_that_is_cut_off_is_an_error(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES)
    locked.server.truncate("/whl/cu126/torchvision/", 300)
    assert "/whl/cu126/torchvision/" in failing(locked, 6)


def test_a_wheel_that_is_cut_off_while_it_is_read_is_an_error(locked: Project) -> None:
    locked.spec(RTX_4090, packages=PACKAGES)
    vision = locked.world.find("simple", "torchvision-0.29.2-py3-none-manylinux_2_28_x86_64")
    locked.server.truncate(locked.world.path("simple", vision), 1000)
    assert vision.filename in failing(locked, 6)


def test_a_login_page_in_place_of_an_index_is_an_error(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES)
    locked.server.replace("/whl/cu126/torch/", b"<html><body><form>Please log in</form></body></html>")
    message = failing(locked, 3)
    assert "torch==2.14.1+cu126" in message


def test_an_index_that_was_down_is_used_when_it_is_back(locked: Project) -> None:
    locked.spec(V100, packages=PACKAGES)
    locked.server.fail("/simple/filelock/", 500)
    failing(locked, 6)
    locked.server.heal()
    locked.run("lock")
    assert locked.run("check").out == "up to date\n"


def test_what_a_mirror_redirects_to_is_read(project: Project) -> None:
    vision = project.world.find("simple", "torchvision-0.29.2-py3-none-manylinux_2_28_x86_64")
    path = project.world.path("simple", vision)
    project.server.redirect(path, "/blobs/1234")
    project.server.replace("/blobs/1234", vision.data)
    project.lock(RTX_4090, packages=PACKAGES)
    assert project.urls()["torchvision"].endswith(vision.filename), "the lock names the index, not the store"
