"""A project folder in which tests run the real program, cut off from this machine and its settings."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from packaging.pylock import Pylock

from cudaenv.workflow.tables import matrix_of, shipped_texts
from tests.support.index import IndexServer, Request, World, _Response
from tests.support.planning import ROOT

PYTHON = "{}.{}".format(*sys.version_info[:2])
"""The Python of specs that are installed: the one that runs the tests."""

SPEC = "cudaenv.toml"
CACHE = "cudaenv-cache"
LOCK_FILES = {
    "requirements.txt",
    "Dockerfile",
    ".dockerignore",
    "pyproject.cudaenv.toml",
    "pylock.toml",
    "requirements.lock",
    "cudaenv.lock",
}
"""What a lock of one environment consists of."""

PYTORCH = "https://download.pytorch.org/whl"

without_gpu = pytest.mark.skipif(
    Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists(),
    reason="there is a GPU here, which the program would find",
)

Machine = Mapping[str, Any]
V100: Machine = {
    "name": "lab",
    "gpu": ["Tesla V100-SXM2-32GB"],
    "driver": "580.95.05",
    "glibc": "2.31",
    "platform": "linux-64",
}
RTX_4090: Machine = {
    "name": "desk",
    "gpu": ["RTX 4090"],
    "driver": "595.71.05",
    "glibc": "2.39",
    "platform": "linux-64",
}
RTX_5090: Machine = {**RTX_4090, "name": "new", "gpu": ["RTX 5090"]}


@dataclass(frozen=True)
class Done:
    """How a run ended and what it printed."""

    status: int
    out: str
    err: str


@dataclass
class Project:
    """A project folder, its indexes, and a home folder with caches of its own.

    `mirror` and `default` are where its specs say that the indexes are; `environ` comes on top of a clean
    environment in every run.
    """

    folder: Path
    home: Path
    world: World
    server: IndexServer
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def mirror(self) -> str:
        """Where PyTorch's indexes are fetched."""
        return f"{self.server.url}/whl"

    @property
    def default(self) -> str:
        """The default index."""
        return f"{self.server.url}/simple"

    def spec(
        self,
        *machines: Machine,
        packages: Mapping[str, str] | None = None,
        python: str = PYTHON,
        indexes: Mapping[str, str] | None = None,
        **keys: Any,
    ) -> None:
        """Write `cudaenv.toml`; without `indexes`, those of this project's server."""
        document = {
            "python": python,
            **keys,
            "packages": packages or {"torch": "*"},
            "machine": list(machines),
            "indexes": self.indexes if indexes is None else indexes,
        }
        (self.folder / SPEC).write_text(tomli_w.dumps(document), encoding="utf-8")

    @property
    def indexes(self) -> dict[str, str]:
        """The `[indexes]` of a spec that leads to this project's server."""
        return {"pytorch": self.mirror, "default": self.default}

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a run: nothing of this machine's but where Python is."""
        return {
            "PATH": str(self._programs()),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self._folder("tmp")),
            "PYTHONPATH": str(ROOT),
            "UV_CACHE_DIR": str(self.home / "uv-cache"),
            "UV_HTTP_RETRIES": "0",
            "CUDAENV_CACHE_DIR": str(self.home / CACHE),
            # No registry is asked for images.
            "CUDAENV_REGISTRY": "",
            **self.environ,
            **(more or {}),
        }

    def _programs(self) -> Path:
        """A folder with the Python that runs the tests, and no other program."""
        folder = self._folder("bin")
        link = folder / f"python{PYTHON}"
        if not link.exists():
            link.symlink_to(Path(sys.executable).resolve())
        return folder

    def _folder(self, name: str) -> Path:
        folder = self.home / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        status: int | None = 0,
        before: Callable[[], object] | None = None,
    ) -> Done:
        """Run `cudaenv ARGUMENTS` in the folder; fail where it ends otherwise than with `status`."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.env(env),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
            preexec_fn=before,
        )
        result = Done(done.returncode, done.stdout, done.stderr)
        assert status is None or result.status == status, result
        # Indented, it is what another program said.
        assert not re.search(r"^Traceback", result.err, re.MULTILINE), result.err
        return result

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start `cudaenv ARGUMENTS` as a process group of its own, which `signal_all` reaches as a whole."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.env(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line that stands for `cudaenv ARGUMENTS`."""
        return [sys.executable, "-m", "cudaenv", *map(str, arguments)]

    def lock(self, *machines: Machine, **spec: Any) -> Done:
        """Write a spec and lock it."""
        self.spec(*machines, **spec)
        return self.run("lock")

    def files(self) -> dict[str, bytes]:
        """The files of the folder itself, but for the spec."""
        return {
            path.name: path.read_bytes()
            for path in sorted(self.folder.iterdir())
            if path.is_file() and path.name != SPEC
        }

    def text(self, name: str) -> str:
        """The text of a file."""
        return (self.folder / name).read_text(encoding="utf-8")

    def pins(self, name: str = "pylock.toml") -> dict[str, str]:
        """The versions in a pylock, by package."""
        return {package.name: str(package.version) for package in self.pylock(name).packages}

    def urls(self, name: str = "pylock.toml") -> dict[str, str]:
        """The URL of each package's one wheel in a pylock."""
        found = {}
        for package in self.pylock(name).packages:
            assert package.wheels is not None
            (wheel,) = package.wheels
            found[str(package.name)] = str(wheel.url)
        return found

    def pylock(self, name: str = "pylock.toml") -> Pylock:
        """A pylock as the `packaging` library reads it, which refuses what is not PEP 751."""
        import tomllib

        return Pylock.from_dict(tomllib.loads(self.text(name)))

    def another(self, folder: Path) -> Project:
        """A project in a new folder with a home of its own, of the same indexes and spec."""
        other = make_project(folder, self.world, self.server)
        if (self.folder / SPEC).exists():
            shutil.copy(self.folder / SPEC, other.folder / SPEC)
        return other


def make_project(folder: Path, world: World, server: IndexServer) -> Project:
    """Make an empty project and its home below a folder; its cache has the compiled tables and no more."""
    project = Project(folder / "project", folder / "home", world, server)
    project.folder.mkdir(parents=True)
    name, content = compiled_tables()
    file = project.home / CACHE / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return project


@cache
def compiled_tables() -> tuple[str, bytes]:
    """Return the compiled form of the shipped tables, and its place in a cache.

    To read the tables themselves takes as long as a run of most commands. Tests of that have caches of
    their own.
    """
    with tempfile.TemporaryDirectory() as folder:
        matrix_of(shipped_texts(), Path(folder))
        (file,) = Path(folder).rglob("*.json")
        return str(file.relative_to(folder)), file.read_bytes()


def signal_all(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> Done:
    """Send a signal to a process that `Project.start` started and to all that it started; wait for it."""
    # It may have ended by itself, and its group with it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, err)


def hashes_of(world: World) -> dict[str, str]:
    """The sha256 of every file of a world by its hash in hexadecimal: what a lock may name."""
    return {wheel.sha256: wheel.filename for wheels in world.wheels.values() for wheel in wheels}


def locked_hashes(text: str) -> list[str]:
    """Every sha256 in a requirements.lock or pylock."""
    return re.findall(r"sha256(?::| = \")([0-9a-f]{64})", text)


class MeetingServer(IndexServer):
    """A server that answers some paths only once all of them were asked for."""

    def __init__(self, folder: Path, paths: Sequence[str], timeout_s: float = 20) -> None:
        super().__init__(folder)
        self._paths = frozenset(paths)
        self._meeting = threading.Barrier(len(paths), timeout=timeout_s)

    def _respond(self, request: Request, headers: Message) -> _Response:
        if request.path in self._paths:
            self._meeting.wait()
        return super()._respond(request, headers)
