"""Projects that are locked on PyPI, and of whose locks little is left, so that images take seconds."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from tests.end_to_end.test_builds import BACKEND, TINY_EXT, write_table
from tests.support.index import IndexServer, pytorch_like_world
from tests.support.planning import ROOT
from tests.support.project import V100, Project, make_project
from tests.support.wheels import Wheel

SMALL = ("jinja2", "markupsafe", "numpy", "typing-extensions")

PASSWORD = "swordfish"

TORCH = Wheel("torch", "2.0", "py3-none-any", files={"torch/__init__.py": b"__version__ = '2.0'\n"})
"""A torch that has nothing in it."""

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "demo"
version = "1.0"
dependencies = ["a-package-that-is-nowhere"]
"""


def cudaenv(folder: Path, *arguments: str, **environ: str) -> str:
    """Run the real program on a project, on PyPI."""
    done = subprocess.run(
        [sys.executable, "-m", "cudaenv", *arguments, "--project", folder],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_spec(folder: Path, python: str, **spec: object) -> None:
    """Make a project of which an image is to be made."""
    machine = {"name": "desk", "gpu": ["RTX 4090"], "driver": "595.71.05", "platform": "linux-64"}
    document = {"python": python, "provider": "pip", **spec, "machine": [machine]}
    folder.mkdir()
    (folder / "cudaenv.toml").write_text(tomli_w.dumps(document))


def write_package(folder: Path) -> None:
    """Make a project one with a package of its own, and with something that nobody else may see."""
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "demo.py").write_text("import numpy\nANSWER = int(numpy.float32(42))\n")
    (folder / ".env").write_text("TOKEN=secret\n")


def base_image(folder: Path) -> str:
    """The image that a locked project runs in."""
    (environment,) = json.loads((folder / "cudaenv.lock").read_text())["environments"]
    return str(environment["base_image"]["run"])


def shorten(folder: Path, names: Sequence[str], more: str = "") -> None:
    """Leave these packages in a project's lock, and add `more` to it."""
    lock = folder / "requirements.lock"
    found = re.findall(r"^(\S+)( @ \S+ \\\n    --hash=\S+\n)", lock.read_text(), re.MULTILINE)
    kept = [name + rest for name, rest in found if name in names]
    assert len(kept) == len(names), f"not all of {names} are in the lock"
    lock.write_text("".join(kept) + more)


@contextlib.contextmanager
def torch_line(folder: Path) -> Iterator[str]:
    """What a lock has of a torch that has nothing in it, and an index of it below a folder."""
    folder.mkdir(exist_ok=True)
    (folder / TORCH.filename).write_bytes(TORCH.data)
    with IndexServer(folder) as server:
        yield f"torch @ {server.url}/{TORCH.filename} \\\n    --hash=sha256:{TORCH.sha256}\n"


@dataclass(frozen=True)
class Private:
    """A folder to build an image of; its .netrc has the password that `url` wants for the only wheel."""

    context: Path
    url: str


@contextlib.contextmanager
def private_index(folder: Path, project: Path) -> Iterator[Private]:
    """A copy of a project that takes its wheel from an index with a password."""
    wheel = Wheel("tiny", "1.0", "py3-none-any", files={"tiny.py": b""})
    place = folder / "index/packages/aa"
    place.mkdir(parents=True)
    (place / wheel.filename).write_bytes(wheel.data)
    context = folder / "context"
    shutil.copytree(project, context)
    url = f"https://files.example/packages/aa/{wheel.filename}"
    (context / "requirements.lock").write_text(f"tiny @ {url} \\\n    --hash=sha256:{wheel.sha256}\n")
    (context / ".netrc").write_text(f"machine 127.0.0.1 login ann password {PASSWORD}\n")
    with IndexServer(folder / "index") as server:
        server.require_auth("/packages", "ann", PASSWORD)
        yield Private(context, server.url)


@contextlib.contextmanager
def index_to_build(folder: Path) -> Iterator[Project]:
    """A project whose tables know a package that is to be compiled from source, and its index."""
    matrix = folder / "matrix"
    shutil.copytree(ROOT / "matrix", matrix)
    variables = "TORCH_CUDA_ARCH_LIST={sms} TINY_JOBS={jobs}"
    write_table(matrix, "tiny-ext", requires="torch tiny-build", env=variables, components="nvcc cudart cccl")
    world = pytorch_like_world(folder / "world")
    backend = Wheel("tiny-build", "1.0", "py3-none-any", files={"tiny_build/__init__.py": BACKEND})
    world.add("simple", backend, TINY_EXT)
    with IndexServer(world.folder) as server:
        project = make_project(folder, world, server)
        project.environ["CUDAENV_MATRIX"] = str(matrix)
        yield project


@contextlib.contextmanager
def project_to_build(folder: Path, python: str) -> Iterator[Project]:
    """A project of which a package is built from source by a toolkit of the system, and its index."""
    with index_to_build(folder) as project:
        project.lock(V100, packages={"torch": "*", "tiny-ext": "*"}, python=python)
        yield project
