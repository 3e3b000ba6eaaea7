"""What all runs of cases share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def compiled_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the compiled form of the tables, which is the same for every case."""
    return tmp_path_factory.mktemp("cases") / "cache"
