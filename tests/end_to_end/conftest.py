"""Projects for the end-to-end tests: of indexes that all share, and of indexes of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.index import IndexServer, World, pytorch_like_world
from tests.support.project import PYTHON, Project, make_project


@pytest.fixture(autouse=True)
def wheels_for_this_python() -> None:
    if PYTHON not in {"3.11", "3.12", "3.13"}:
        pytest.skip(f"the indexes have no wheels for Python {PYTHON}")


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Indexes that no test adds to."""
    return pytorch_like_world(tmp_path_factory.mktemp("shared") / "world")


@pytest.fixture
def project(shared_world: World, tmp_path: Path) -> Iterator[Project]:
    """A project of the shared indexes behind a server of its own, which may be told to misbehave."""
    with IndexServer(shared_world.folder) as server:
        yield make_project(tmp_path, shared_world, server)


@pytest.fixture
def own_project(tmp_path: Path) -> Iterator[Project]:
    """A project of indexes that the test may add to."""
    world = pytorch_like_world(tmp_path / "world")
    with IndexServer(world.folder) as server:
        yield make_project(tmp_path, world, server)
