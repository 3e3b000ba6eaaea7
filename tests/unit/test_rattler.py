"""py-rattler in a process of its own: what its end says to the process that asked."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cudaenv.system.rattler import RattlerError, ask
from tests.support.index import IndexServer
from tests.support.planning import ROOT

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


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_the_worker_ends_with_the_process_that_asked(tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    (channel / "noarch").mkdir(parents=True)
    (channel / "noarch" / "repodata.json").write_text('{"info": {"subdir": "noarch"}, "packages": {}}')
    with IndexServer(tmp_path) as server:
        server.slow("/channel/noarch/repodata_shards.msgpack.zst", 30)
        request = {
            "do": "query",
            "channel": f"{server.url}/channel",
            "platform": "noarch",
            "names": ["x"],
            "cache": str(tmp_path / "cache"),
            "mirrors": {},
        }
        code = f"from cudaenv.system.rattler import ask; ask({request!r})"
        asking = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        assert until(lambda: bool(server.requests)), "the worker asks the channel"
        (worker,) = Path(f"/proc/{asking.pid}/task/{asking.pid}/children").read_text().split()
        asking.kill()
        asking.wait()
        assert until(lambda: not Path(f"/proc/{worker}/exe").exists()), "the worker is gone"


def until(holds: Callable[[], bool]) -> bool:
    """Wait for something that holds in a few seconds, or does not."""
    for _ in range(200):
        if holds():
            return True
        time.sleep(0.05)
    return False
