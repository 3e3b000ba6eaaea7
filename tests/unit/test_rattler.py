"""py-rattler in a process of its own: what its end says to the process that asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cudaenv.system.rattler import RattlerError, ask

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is started in place of the worker; the test writes it."""
    program = tmp_path / "python"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return program


def test_ctrl_c_that_only_the_worker_got_is_one_all_the_same(worker: Path) -> None:
    worker.write_text("#!/bin/sh\nkill -INT $$\n")
    with pytest.raises(KeyboardInterrupt):
        ask({"do": "solve"})


def test_a_crash_is_an_error(worker: Path) -> None:
    worker.write_text("#!/bin/sh\necho of a fault >&2\nkill -SEGV $$\n")
    with pytest.raises(RattlerError) as caught:
        ask({"do": "solve"})
    assert caught.value.lines == ["py-rattler ended with -11", "of a fault"]
