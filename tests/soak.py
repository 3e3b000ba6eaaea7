"""Locks and syncs of conda packages that are interrupted or meet faults, again and again.

    python -m tests.soak --runs 1000 --seed 1

Whatever happens to a run, its files are those from before it or the new ones, never a mixture, and the next
run repairs what it left: the locks are those, and the environment has the files, of a run without faults.
Each run depends on the seed and its number alone, and `--first 123 --runs 1` repeats one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.channel import Channels, cuda_channels
from tests.support.channel_server import ChannelServer
from tests.support.conda_project import DESK, NAMES, prefix_files
from tests.support.index import World
from tests.support.project import Done, Machine, Project, make_project, signal_all

JOURNAL = ".cudaenv-journal.json"
TEMPORARY = ".cudaenv-"
PREFIX = ".conda"

WRITINGS = {"lock": (2, 5, 5, 9), "sync": (1, 5, 10, 20)}
"""How many files a run has begun to write when it is killed while writing; a lock consists of 5 or 9."""

FAILED = (5, 6)
"""How a run ends that meets a fault: a tool failed, or the network did."""

OLD: Machine = {**DESK, "name": "old", "gpu": ["Tesla V100-SXM2-32GB"]}
NEW: Machine = {**DESK, "name": "new", "gpu": ["RTX 5090"]}

SPECS: Mapping[str, tuple[Sequence[Machine], Mapping[str, str]]] = {
    "newest": ([DESK], {"torch": "*"}),
    "older": ([DESK], {"torch": "==2.11.0", "torchvision": "*"}),
    "two": ([OLD, NEW], {"torch": "*"}),
}
"""What is locked, by name; the last one consists of two environments, and is not installed."""

# Ctrl-C in a callback of an import, which Python itself tells of.
_LOST = re.compile(r"Exception ignored in: .*?\nKeyboardInterrupt: *\n", re.DOTALL)

INSTALLED = ("newest", "older")


@dataclass
class Stand:
    """Projects to lock in and to install in, their server, and what undisturbed runs make of each spec."""

    locking: Project
    syncing: Project
    server: ChannelServer
    locks: dict[str, dict[str, bytes]] = field(default_factory=dict)
    prefixes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    asked: dict[str, set[str]] = field(default_factory=dict)
    locked: str = ""
    orphans: list[int] = field(default_factory=list)

    @property
    def prefix(self) -> Path:
        """Where conda packages are installed into."""
        return self.syncing.folder / PREFIX

    def write(self, project: Project, name: str) -> None:
        """Write a spec."""
        machines, packages = SPECS[name]
        channels = {channel: f"{self.server.url}/{channel}" for channel in NAMES}
        project.spec(*machines, packages=packages, provider="conda", channels=channels)

    def refer(self) -> None:
        """Lock each spec and install what can be, undisturbed and with nothing cached."""
        for name in SPECS:
            self.write(self.locking, name)
            self._measure(self.locking, "lock")
            self.locks[name] = self.locking.files()
            self.locked = name
        for name in INSTALLED:
            self.put(name)
            shutil.rmtree(self.prefix, ignore_errors=True)
            self._measure(self.syncing, "sync")
            self.prefixes[name] = prefix_files(self.prefix)

    def _measure(self, project: Project, command: str) -> None:
        """Run a command and note how long it takes, and what it asks the server for."""
        forget(project)
        self.server.requests.clear()
        started = time.monotonic()
        project.run(*arguments(command))
        self.seconds[command] = time.monotonic() - started
        paths = {request.path for request in self.server.requests}
        files = {path for path in paths if (self.server.channels.folder / path[1:]).is_file()}
        self.asked[command] = self.asked.get(command, files) & files

    def swept(self) -> None:
        """Hold that what killed runs left for whoever comes much later is swept away then."""
        for path in self.locking.folder.glob(f"{TEMPORARY}*"):
            os.utime(path, (0, 0))
        self.locking.run("lock", "--upgrade")
        left = differing(self.locking.files(), self.locks[self.locked])
        assert not left, f"never swept: {left}"

    def put(self, name: str) -> None:
        """Have a lock in the project to install in."""
        self.write(self.syncing, name)
        for file in self.syncing.files():
            (self.syncing.folder / file).unlink()
        for file, content in self.locks[name].items():
            (self.syncing.folder / file).write_bytes(content)


def forget(project: Project) -> None:
    """Remove the caches of a project."""
    shutil.rmtree(project.home / "cudaenv-cache", ignore_errors=True)


def visible(project: Project) -> dict[str, bytes]:
    """The files of a project but for what a killed run may leave until somebody comes along."""
    return {name: content for name, content in project.files().items() if not name.startswith(TEMPORARY)}


# What may happen to a run.

Trouble = Callable[[Stand, Project, str, random.Random], Done | None]
"""Runs a command of a project in trouble; returns how it ended, or None where it was killed."""


def killed(
    stand: Stand,
    project: Project,
    command: str,
    choose: random.Random,
    *,
    alone: bool = False,
    slow: bool = False,
    writing: bool = False,
) -> None:
    """Kill the program at any moment, with all that it started or alone; or just when it writes."""
    if slow:
        stand.server.slow(any_path(stand, command, choose), 2)
    before = writings(project)
    process = start(project, command)
    if writing:
        wanted = choose.choice(WRITINGS[command])
        while process.poll() is None and len(writings(project) - before) < wanted:
            time.sleep(0.001)
        time.sleep(choose.choice((0, 0.01, 0.1)) * choose.random())
    else:
        time.sleep(choose.uniform(0, 1.2 * stand.seconds[command]))
    if not alone:
        signal_all(process, signal.SIGKILL)
        return
    process.kill()
    process.wait()
    stand.orphans.append(process.pid)  # they go on until the end of the run
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def writings(project: Project) -> set[str]:
    """What shows that a run is writing: files that are about to replace others, and installed packages."""
    names = {path.name for path in project.folder.glob(f"{TEMPORARY}*")}
    return names | {path.name for path in (project.folder / PREFIX / "conda-meta").glob("*")}


def interrupted(stand: Stand, project: Project, command: str, choose: random.Random) -> Done:
    """Press Ctrl-C at any moment."""
    process = start(project, command)
    time.sleep(choose.uniform(0.3, 1.2) * stand.seconds[command])
    done = signal_all(process, signal.SIGINT)
    assert done.status in {0, 130, -signal.SIGINT}, done
    return done


def refused(
    stand: Stand,
    project: Project,
    command: str,
    choose: random.Random,
    *,
    status: int,
    times: int | None = None,
) -> Done:
    """Have the server answer with an error."""
    for _ in range(choose.randint(1, 3)):
        stand.server.fail(any_path(stand, command, choose), status, times)
    return ran(project, command)


def cut_off(stand: Stand, project: Project, command: str, choose: random.Random) -> Done:
    """Have the server hang up in the middle of a file."""
    path = any_path(stand, command, choose)
    stand.server.truncate(path, choose.randrange((stand.server.channels.folder / path[1:]).stat().st_size))
    return ran(project, command)


def corrupted(stand: Stand, project: Project, command: str, choose: random.Random) -> Done:
    """Have the server send a package with a byte that is another."""
    stand.server.corrupt(any_path(stand, command, choose))
    return ran(project, command)


def tampered(stand: Stand, project: Project, command: str, choose: random.Random) -> Done:
    """Have the server send another package than the one that it lists."""
    path, channels = any_path(stand, command, choose), stand.server.channels
    packages = channels.packages["conda-forge"]
    (package,) = (item for item in packages if channels.path("conda-forge", item) == path)
    stand.server.tamper("conda-forge", package)
    return ran(project, command)


KILLING: Mapping[str, Trouble] = {
    "killed": killed,
    "killed alone": partial(killed, alone=True),
    "killed while waiting": partial(killed, slow=True),
    "killed while writing": partial(killed, writing=True),
    "interrupted": interrupted,
}
FAULTS: Mapping[str, Trouble] = {
    "500": partial(refused, status=500),
    "500, then fine": partial(refused, status=500, times=1),
    "404": partial(refused, status=404),
    "401": partial(refused, status=401),
    "cut off": cut_off,
}
# Only packages have a hash that somebody knows before.
ALTERATIONS: Mapping[str, Trouble] = {"corrupted": corrupted, "tampered": tampered}
TROUBLES: Mapping[str, Mapping[str, Trouble]] = {
    "lock": {**KILLING, **FAULTS},
    "sync": {**KILLING, **FAULTS, **ALTERATIONS},
}


def any_path(stand: Stand, command: str, choose: random.Random) -> str:
    """A file on the server that every undisturbed run of a command asks for."""
    return choose.choice(sorted(stand.asked[command]))


def start(project: Project, command: str) -> subprocess.Popen[str]:
    return project.start(*arguments(command))


def ran(project: Project, command: str) -> Done:
    return project.run(*arguments(command), status=None)


def arguments(command: str) -> tuple[str, ...]:
    return ("sync", "--anyway") if command == "sync" else (command,)


# One run.


def one_run(stand: Stand, seed: int, number: int) -> str:
    """Lock or sync in trouble, and again without; return what it was and how it ended."""
    choose = random.Random(f"{seed} {number}")  # noqa: S311
    command = choose.choice(list(TROUBLES))
    # Few moments are those of writing, and most is decided then.
    trouble = "killed while writing" if choose.random() < 0.3 else choose.choice(list(TROUBLES[command]))
    project, judged = (stand.locking, locked) if command == "lock" else (stand.syncing, synced)
    if trouble not in KILLING or choose.random() < 0.5:
        forget(project)
    try:
        return f"{command} {trouble}: {judged(stand, TROUBLES[command][trouble], choose)}"
    finally:
        while stand.orphans:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(stand.orphans.pop(), signal.SIGKILL)


def locked(stand: Stand, trouble: Trouble, choose: random.Random) -> str:
    """A lock in trouble leaves the files from before or the new ones, and the next one makes the new ones."""
    project, before = stand.locking, stand.locked
    goal = choose.choice([name for name in SPECS if name != before])
    stand.write(project, goal)
    done = trouble(stand, project, "lock", choose)
    stand.server.heal()
    if JOURNAL in project.files():
        assert done is None or done.status != 0, done
        project.run("check", status=None)
    files = visible(project)
    is_new = files == stand.locks[goal]
    assert is_new or files == stand.locks[before], f"a mixture: {differing(files, stand.locks[goal])} are old"
    if done is not None:
        sound(done)
        assert is_new == (done.status == 0) or done.status in {130, -signal.SIGINT}, done
    project.run("lock")
    left = differing(visible(project), stand.locks[goal])
    assert not left, f"not repaired: {left}"
    stand.locked = goal
    return "new files" if is_new else "old files"


def synced(stand: Stand, trouble: Trouble, choose: random.Random) -> str:
    """A sync in trouble is repaired by the next one."""
    goal = choose.choice(INSTALLED)
    stand.put(goal)
    if choose.random() < 0.5:
        shutil.rmtree(stand.prefix, ignore_errors=True)
    done = trouble(stand, stand.syncing, "sync", choose)
    stand.server.heal()
    is_whole = stand.prefix.exists() and prefix_files(stand.prefix) == stand.prefixes[goal]
    if done is not None:
        sound(done)
        assert is_whole or done.status != 0, done
    stand.syncing.run("sync", "--anyway")
    left = differing(prefix_files(stand.prefix), stand.prefixes[goal])
    assert not left, f"not repaired: {left}"
    return "whole" if is_whole else "repaired"


def differing(found: Mapping[str, bytes], expected: Mapping[str, bytes]) -> list[str]:
    """The names of files that are others, or on one side alone."""
    return sorted({name for name, _ in found.items() ^ expected.items()})


def sound(done: Done) -> None:
    """Hold that a run that was not killed ended as it should."""
    assert done.status in {0, *FAILED, 130, -signal.SIGINT}, done
    assert "Traceback" not in _LOST.sub("", done.err), done


# Many of them.


@contextmanager
def stand_in(folder: Path, channels: Channels) -> Iterator[Stand]:
    """A stand in a folder."""
    with ChannelServer(channels) as server:
        world = World(folder / "world", {})
        stand = Stand(
            make_project(folder / "locking", world, server),
            make_project(folder / "syncing", world, server),
            server,
        )
        stand.refer()
        yield stand


def soak(folder: Path, channels: Channels, seed: int, numbers: Sequence[int]) -> Counter[str]:
    """Run the runs of these numbers in turn; count how they ended. AssertionError names the run."""
    found: Counter[str] = Counter()
    with stand_in(folder, channels) as stand:
        for number in numbers:
            try:
                found[one_run(stand, seed, number)] += 1
            except AssertionError as error:
                raise AssertionError(f"run {number} of seed {seed}: {error}") from error
        stand.swept()
    return found


def soak_side_by_side(
    folder: Path, channels: Channels, seed: int, numbers: Sequence[int], at_once: int
) -> Counter[str]:
    """Share the runs out among processes."""
    shares = [numbers[start::at_once] for start in range(at_once)]
    found: Counter[str] = Counter()
    with ProcessPoolExecutor(at_once) as pool:
        running = [
            pool.submit(soak, folder / str(place), channels, seed, share)
            for place, share in enumerate(shares)
        ]
        for each in running:
            found += each.result()
    return found


def main() -> None:
    """Print how many runs ended how."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2)
    given: Any = parser.parse_args()
    numbers = range(given.first, given.first + given.runs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        channels = cuda_channels(folder / "channels")
        found = soak_side_by_side(folder, channels, given.seed, numbers, given.at_once)
    for ended, count in sorted(found.items()):
        sys.stdout.write(f"{count:6}  {ended}\n")
    sys.stdout.write(f"{found.total():6}  runs, each whole after the next\n")


if __name__ == "__main__":
    main()
