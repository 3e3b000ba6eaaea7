"""`cudaenv lock` killed at any moment: the old set of files or the new one, never a mixture."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.index import IndexServer, World
from tests.support.project import LOCK_FILES, RTX_5090, V100, Project, make_project, signal_all

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")

JOURNAL = ".cudaenv-journal.json"
TEMPORARY = ".cudaenv-new-"

# One environment and two of them: sets of files of which some are the same, some come and some go.
ONE = (V100,)
TWO = ({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)

KILLS = 100
AT_ONCE = 2

# Runs the program, and kills it before the Nth time that it renames or removes a file of the project.
SUICIDAL = """
import os, signal, sys
from pathlib import Path

left, folder = int(sys.argv.pop(1)), sys.argv.pop(1)

def counted(function):
    def call(path, *rest, **named):
        global left
        if Path(os.fspath(path)).parent == Path(folder):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return function(path, *rest, **named)
    return call

for name in ("replace", "rename", "unlink", "remove"):
    setattr(os, name, counted(getattr(os, name)))
from cudaenv.cli.main import main
main()
"""


def visible(project: Project) -> dict[str, bytes]:
    """The files of a project but for what a killed run may leave until somebody comes along."""
    return {name: content for name, content in project.files().items() if not name.startswith(TEMPORARY)}


def sets_of(project: Project) -> dict[str, dict[str, bytes]]:
    """The files of both locks, the one with one environment last."""
    project.lock(*TWO)
    two = project.files()
    project.lock(*ONE)
    one = project.files()
    assert set(one) != set(two)
    return {"one": one, "two": two}


def put(project: Project, files: dict[str, bytes]) -> None:
    """Make these the files of a project."""
    for name in project.files():
        (project.folder / name).unlink()
    for name, content in files.items():
        (project.folder / name).write_bytes(content)


def test_a_kill_between_any_two_renames_is_mended_by_the_next_command(project: Project) -> None:
    sets = sets_of(project)
    old, new = sets["one"], sets["two"]
    project.spec(*TWO)
    commands = [("check",), ("plan",), ("lock", "--check"), ("sync", "--env", "none")]
    seen = []
    for count in range(100):
        put(project, old)
        done = subprocess.run(
            [sys.executable, "-c", SUICIDAL, str(count), str(project.folder), "lock"],
            env=project.env(),
            cwd=project.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            assert project.files() == new
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        before = visible(project)
        project.run(*commands[count % len(commands)], status=None)
        after = visible(project)
        seen.append("old" if after == old else "new" if after == new else "mixture")
        if before not in (old, new):
            assert JOURNAL in before, "nobody could tell that it is a mixture"
    # Before the journal is there, the old set counts, and from then on the new one.
    moves = len(new) + len(set(old) - set(new))
    assert seen == ["old", *["new"] * (moves + 1)]


def test_a_kill_while_a_command_mends_is_mended_by_the_next_one(project: Project) -> None:
    sets = sets_of(project)
    project.spec(*TWO)
    arguments = [sys.executable, "-c", SUICIDAL]
    put(project, sets["one"])
    for count, command in ((4, "lock"), (3, "check"), (2, "plan"), (1, "check")):
        subprocess.run(
            [*arguments, str(count), str(project.folder), command],
            env=project.env(),
            cwd=project.folder,
            capture_output=True,
            check=False,
        )
    assert JOURNAL in project.files()
    assert project.run("check").out == "up to date\n"
    assert project.files() == sets["two"]


def test_a_hundred_kills_at_random_moments_leave_the_old_set_or_the_new_one(
    shared_world: World, tmp_path: Path
) -> None:
    with IndexServer(shared_world.folder) as server, ThreadPoolExecutor(AT_ONCE) as pool:
        projects = [make_project(tmp_path / str(number), shared_world, server) for number in range(AT_ONCE)]
        found = [
            count for counts in pool.map(killed_again_and_again, projects, range(AT_ONCE)) for count in counts
        ]
    assert len(found) == KILLS
    assert set(found) == {"old", "new"}, "neither all too early nor all too late"


def wait_for_writing(project: Project, process: subprocess.Popen[str]) -> None:
    """Wait until a run has written its last temporary file or its journal; earlier kills left some, too."""
    before = set(os.listdir(project.folder))  # noqa: PTH208  the fastest way
    while process.poll() is None:
        new = set(os.listdir(project.folder)) - before  # noqa: PTH208
        if JOURNAL in new or sum(name.startswith(TEMPORARY) for name in new) >= len(LOCK_FILES):
            return


def killed_again_and_again(project: Project, seed: int) -> list[str]:
    """Kill locks of one spec after the other's; return which set each left."""
    choose = random.Random(seed)  # noqa: S311
    sets = sets_of(project)
    started = time.monotonic()
    project.lock(*TWO)
    typical_s = time.monotonic() - started
    state = "two"
    found = []
    for number in range(KILLS // AT_ONCE):
        goal = "one" if state == "two" else "two"
        project.spec(*(ONE if goal == "one" else TWO))
        process = project.start("lock")
        if number % 2:
            time.sleep(choose.uniform(0, 1.2 * typical_s))
        else:  # few of those moments are among the renames, so as many are taken from there
            wait_for_writing(project, process)
            time.sleep(choose.uniform(0, 0.015))
        signal_all(process, signal.SIGKILL)
        if JOURNAL in project.files():
            project.run("check", status=None)
        files = visible(project)
        assert files in (sets[state], sets[goal]), {
            name: sets[goal].get(name) == files[name] for name in files
        }
        found.append("new" if files == sets[goal] else "old")
        state = goal if files == sets[goal] else state
        # What the lock says of its files is true of them.
        document = json.loads(files["cudaenv.lock"])
        assert set(document["files"]) == set(files) - {"cudaenv.lock"}
    return found
