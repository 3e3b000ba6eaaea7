"""Fifty of the runs of `tests.soak`: interrupted and disturbed locks and syncs, each repaired by the next."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from tests.soak import soak
from tests.support.channel import Channels

RUNS = 50
PARTS = 2


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64",
    reason="the channels' Python runs on linux-64",
)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_trouble_leaves_what_the_next_run_does_not_repair(
    part: int, channels: Channels, tmp_path: Path
) -> None:
    found = soak(tmp_path, channels, seed=1, numbers=range(part, RUNS, PARTS))
    assert found.total() == RUNS // PARTS
