"""Projects of conda packages: a `Project` whose spec leads to channels behind a server of its own."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.channel import Channels
from tests.support.channel_server import ChannelServer
from tests.support.conda_package import CondaPackage
from tests.support.project import Done, Machine, Project

on_linux_64 = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64",
    reason="the channels' Python runs on linux-64",
)
"""For tests that install and run what the channels have."""

NAMES = ("conda-forge", "pytorch", "nvidia")

DESK: Machine = {
    "name": "desk",
    "gpu": ["RTX 4090"],
    "driver": "580.95.05",
    "glibc": "2.28",
    "platform": "linux-64",
}


@dataclass
class CondaProject:
    """A project, the channels that it locks from, and the server that may be told to misbehave."""

    project: Project
    channels: Channels
    server: ChannelServer

    @property
    def mirrors(self) -> dict[str, str]:
        """The `[channels]` of a spec."""
        return {name: f"{self.server.url}/{name}" for name in NAMES}

    def lock(self, *machines: Machine, status: int | None = 0, **spec: Any) -> Done:
        """Write a spec of conda packages for machines, or for `DESK`, and lock it."""
        keys = {"provider": "conda", "channels": self.mirrors, **spec}
        self.project.spec(*(machines or (DESK,)), **keys)
        return self.project.run("lock", status=status)

    def sync(self, *options: str, status: int | None = 0) -> Done:
        """Install what is locked, whatever this machine is."""
        return self.project.run("sync", "--anyway", *options, status=status)

    def conda_lock(self, *arguments: str) -> str:
        """Run conda-lock in the project with our executable as its conda; return what it said."""
        programs = Path(sys.executable).parent
        condarc, mapping = self.project.home / "condarc", self.project.home / "mapping.json"
        condarc.write_text(f"channel_alias: {self.server.url}\n", encoding="utf-8")
        mapping.write_text("{}", encoding="utf-8")
        options = {
            "lock": [
                "--conda",
                str(programs / "cudaenv-conda"),
                "--pypi_to_conda_lookup_file",
                mapping.as_uri(),
            ],
            "install": ["--conda", str(programs / "cudaenv-conda")],
        }
        done = subprocess.run(
            [str(programs / "conda-lock"), arguments[0], *options.get(arguments[0], []), *arguments[1:]],
            cwd=self.project.folder,
            env=self.project.env({"CONDARC": str(condarc), "PATH": f"{programs}:/usr/bin:/bin"}),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def locked(self, name: str = "conda-lock.yml") -> dict[str, Mapping[str, Any]]:
        """The packages of a conda-lock.yml by name."""
        document = yaml.safe_load(self.project.text(name))
        return {package["name"]: package for package in document["package"]}

    def versions(self, name: str = "conda-lock.yml") -> dict[str, tuple[str, str]]:
        """Version and build of each locked package."""
        return {key: (item["version"], item["build"]) for key, item in self.locked(name).items()}

    def package(self, start: str, subdir: str = "linux-64") -> CondaPackage:
        """The newest package of conda-forge whose file name begins so."""
        return self.channels.find("conda-forge", start, subdir)

    def path(self, start: str, subdir: str = "linux-64") -> str:
        """Where the server has that package."""
        return self.channels.path("conda-forge", self.package(start, subdir))


@contextmanager
def conda_project(project: Project, channels: Channels) -> Iterator[CondaProject]:
    """A project that locks from channels."""
    with ChannelServer(channels) as server:
        yield CondaProject(project, channels, server)


def prefix_files(prefix: Path) -> dict[str, bytes]:
    """What a prefix holds beside its installers' notes: contents, or where links lead, by path.

    Compiled Python is left out, which each installer makes in its own time.
    """
    found = {}
    for path in sorted(prefix.rglob("*")):
        relative = path.relative_to(prefix).as_posix()
        own = relative.startswith(("conda-meta/", ".cudaenv/")) or relative == "CACHEDIR.TAG"
        if path.is_dir() or own or path.suffix == ".pyc":
            continue
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        found[relative] = content.replace(str(prefix).encode(), b"PREFIX")
    return found
