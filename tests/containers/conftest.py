"""What the tests of all engines build images of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support.stand_in import StandIn, make_stand_in


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """The image that has the names of all others here."""
    folder = tmp_path_factory.mktemp("stand-in")
    yield make_stand_in(folder)
    shutil.rmtree(folder)
