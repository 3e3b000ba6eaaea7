"""Requirements are read by one thread at a time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from packaging.requirements import Requirement

from cudaenv.model import requirements
from cudaenv.model.requirements import parse_requirement


def test_no_two_threads_read_requirements_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong otherwise is a matter of luck, so the test looks at who is there when."""
    inside: list[str] = []
    most = []

    def read(text: str) -> Requirement:
        inside.append(text)
        most.append(len(inside))
        time.sleep(0.002)
        inside.remove(text)
        return Requirement(text)

    monkeypatch.setattr(requirements, "Requirement", read)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(parse_requirement, [f"torch=={number}" for number in range(32)]))
    assert [str(requirement.specifier) for requirement in found] == [f"=={number}" for number in range(32)]
    assert max(most) == 1
