"""Timing of alternating runs: medians and the median of the ratios of neighbours."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def run(arguments: Sequence[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> float:
    """Seconds that a process takes; it must succeed."""
    start = time.perf_counter()
    subprocess.run(list(arguments), cwd=cwd, env=env, check=True, capture_output=True)
    return time.perf_counter() - start


def side_by_side(
    ours: Callable[[], float], peer: Callable[[], float], runs: int
) -> tuple[float, float, float]:
    """Medians of both in seconds and the median ratio, after one run of each that does not count."""
    ours(), peer()
    pairs = [(ours(), peer()) for _ in range(runs)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[0] / pair[1] for pair in pairs),
    )


def report(name: str, peer: str, figures: tuple[float, float, float]) -> None:
    """Print one line of figures in milliseconds."""
    ours_s, peer_s, ratio = figures
    print(f"{name:<44} {ours_s * 1000:7.0f} ms   {peer:<34} {peer_s * 1000:7.0f} ms   ratio {ratio:.2f}")
