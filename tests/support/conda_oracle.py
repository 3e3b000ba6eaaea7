"""A real conda for tests: the one that lies inside the conda-lock wheel, a second solver and installer.

    python -m tests.support.conda_oracle ARGUMENTS

is `conda ARGUMENTS`, version 24.7 with its classic solver. It reaches the loopback alone: what it asks of
conda.anaconda.org is asked of the mirror in $ORACLE_MIRROR, and keeps its address in everything it prints.
That it can be started so is no promise of conda-lock's: a new one may need another launcher.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from tests.support.planning import ROOT
from tests.support.solving import CANONICAL, Solution, Solve

_VENDOR = "conda_lock._vendor."

_CONDARC = """\
channels: [conda-forge]
channel_priority: strict
solver: classic
# pycosat, which it prefers, has to be compiled.
sat_solver: pysat
# What nobody asked for is not in the solution.
add_pip_as_python_dependency: false
repodata_fns: [repodata.json]
auto_update_conda: false
notify_outdated_conda: false
number_channel_notices: 0
repodata_use_zst: true
show_channel_urls: true
"""


@dataclass(frozen=True)
class Oracle:
    """A conda of its own in a folder, for the channels of a mirror."""

    folder: Path
    mirror: str

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its processes: nothing of this machine's but where programs are."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "CONDARC": str(self.folder / "condarc"),
            "ORACLE_MIRROR": self.mirror,
        }

    def executable(self) -> Path:
        """A program that is this conda for whoever runs it, for example by `conda-lock --conda PROGRAM`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        folders = f"pkgs_dirs: ['{self.folder}/packages']\nenvs_dirs: ['{self.folder}/envs']\n"
        (self.folder / "condarc").write_text(_CONDARC + folders, encoding="utf-8")
        # Who runs it may ask for a platform, for virtual packages and for a folder of packages.
        own = {name: value for name, value in self.environ.items() if name != "PATH"}
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in own.items())
        command = f"{shlex.quote(sys.executable)} -m tests.support.conda_oracle"
        program = self.folder / "conda"
        program.write_text(f'#!/bin/sh\nexec env {settings} {command} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        return program

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run `conda ARGUMENTS`, however it ends."""
        return subprocess.run(
            [self.executable(), *arguments],
            env={**self.environ, **(env or {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def solve(self, request: Solve) -> Solution:
        """Solve without installing; the virtual packages are `CONDA_OVERRIDE_...` where conda has such."""
        channels = [part for name in request.channels for part in ("--channel", name)]
        options = ("--dry-run", "--json", "--override-channels", "--prefix", str(self.folder / "none"))
        done = self.run("create", *options, *channels, *request.specs, env=_overrides(request))
        answer = json.loads(done.stdout)
        if done.returncode != 0:
            return Solution((), str(answer.get("message") or answer["error"]))
        return Solution([_described(record) for record in answer["actions"].get("FETCH", [])])

    def install(self, explicit: Path, prefix: Path) -> str:
        """Install what an explicit file (`@EXPLICIT`) names; return what went wrong."""
        done = self.run("create", "--yes", "--quiet", "--file", str(explicit), "--prefix", str(prefix))
        return "" if done.returncode == 0 else done.stdout + done.stderr


def _overrides(request: Solve) -> dict[str, str]:
    names = ("cuda", "glibc", "linux", "archspec")
    found = {f"CONDA_OVERRIDE_{name.upper()}": request.virtual.get(f"__{name}", "") for name in names}
    # conda wants the microarchitecture alone.
    found["CONDA_OVERRIDE_ARCHSPEC"] = found["CONDA_OVERRIDE_ARCHSPEC"].rpartition(" ")[2]
    return {**found, "CONDA_SUBDIR": request.platform}


def _described(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("name", "version", "url", "md5", "sha256")} | {
        "build": record["fn"].removesuffix(".conda").removesuffix(".tar.bz2").rpartition("-")[2]
    }


class _Vendored(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `conda` and its modules where conda-lock has them: some are imported by those names."""

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname == "conda" or fullname.startswith("conda."):
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return importlib.import_module(_VENDOR + spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: it was imported above."""


def _stay_on_the_loopback(mirror: str) -> None:
    """Send what is for conda.anaconda.org to the mirror, and nothing anywhere else."""
    from requests.adapters import HTTPAdapter

    send = HTTPAdapter.send

    def redirected(self: HTTPAdapter, request: Any, *rest: Any, **named: Any) -> Any:
        if request.url.startswith(CANONICAL):
            request.url = f"{mirror.rstrip('/')}/{request.url.removeprefix(CANONICAL)}"
        if urlsplit(request.url).hostname != "127.0.0.1":
            raise OSError(f"{request.url} is not on the loopback")
        return send(self, request, *rest, **named)

    HTTPAdapter.send = redirected  # type: ignore[method-assign]


def main() -> int:
    """Be conda."""
    sys.meta_path.insert(0, _Vendored())
    conda = importlib.import_module(f"{_VENDOR}conda.cli.main")
    handler = importlib.import_module(f"{_VENDOR}conda.exception_handler")
    _stay_on_the_loopback(os.environ["ORACLE_MIRROR"])
    sys.argv[0] = "conda"
    return int(handler.conda_exception_handler(conda.main_subshell, *sys.argv[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
