"""What is built from source: its lock of URLs and hashes, and `cudaenv sync`, which builds it on the wheels.

The packages are made up: rows in a copy of the tables, and source distributions whose setup.py imports torch.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.index import IndexServer, Sdist, pytorch_like_world
from tests.support.planning import ROOT
from tests.support.project import PYTHON, RTX_4090, RTX_5090, V100, Project, make_project
from tests.support.wheels import Wheel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locked environments are for Linux")

BUILD_LOCK = "requirements.build.lock"
PACKAGES = {"torch": "*", "tiny-ext": "*"}
VARIABLES = ("TORCH_CUDA_ARCH_LIST", "TINY_JOBS", "FORCE_CUDA", "CUDA_HOME", "UV_INDEX_URL", "VIRTUAL_ENV")

TABLE = """\
# A made-up package.
schema: 1
sources:
  sdist:
    artefact: "source distributions of {name}"
    says: "setup.py imports torch"
    read: "2026-11-20"
rows:
- {{version: "1.0", files: "sdist", source: "sdist", basis: "measured"}}
builds:
- {{topic: "sdist", requires: "{requires}", env: "{env}", source: "sdist", basis: "measured"}}
"""

# A build backend (PEP 517) that makes a wheel of what setup.py says: the real one need not be on the index.
BACKEND = b"""\
import runpy
import zipfile
from pathlib import Path


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    made = runpy.run_path("setup.py")
    stem = f"{made['NAME']}-1.0"
    info = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\\nName: {made['NAME']}\\nVersion: 1.0\\n"
    tags = "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files = {f"{made['NAME']}.py": made["TEXT"], f"{info}/METADATA": metadata, f"{info}/WHEEL": tags}
    record = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(Path(wheel_directory) / f"{stem}-py3-none-any.whl", "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return f"{stem}-py3-none-any.whl"
"""

SETUP = """\
import os

import torch
{imports}

NAME = {name!r}
SEEN = {{name: os.environ.get(name) for name in {variables!r}}}
TEXT = f"TORCH = {{torch.__version__!r}}\\nSEEN = {{SEEN!r}}\\n"
"""


def sdist(name: str, imports: str = "") -> Sdist:
    """A source distribution that records the torch and the variables that its setup.py sees."""
    setup = SETUP.format(name=name.replace("-", "_"), imports=imports, variables=VARIABLES)
    project = '[build-system]\nrequires = ["tiny-build"]\nbuild-backend = "tiny_build"\n'
    return Sdist(name, "1.0", files={"setup.py": setup.encode(), "pyproject.toml": project.encode()})


TINY_EXT = sdist("tiny-ext")
# It needs the other one to be there, which the alphabet would put after it.
ALSO_TINY = sdist("also-tiny", "import tiny_ext")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project whose tables know two packages that have to be built, from source alone."""
    matrix = tmp_path / "matrix"
    shutil.copytree(ROOT / "matrix", matrix)
    for name, requires, env in (
        ("tiny-ext", "torch tiny-build", "TORCH_CUDA_ARCH_LIST={sms} TINY_JOBS={jobs}"),
        ("also-tiny", "torch tiny-ext tiny-build", "TINY_JOBS=1"),
    ):
        text = TABLE.format(name=name, requires=requires, env=env)
        (matrix / "packages" / f"{name}.yaml").write_text(text, encoding="utf-8")
    world = pytorch_like_world(tmp_path / "world")
    backend = Wheel("tiny-build", "1.0", "py3-none-any", files={"tiny_build/__init__.py": BACKEND})
    world.add("simple", backend, TINY_EXT, ALSO_TINY)
    with IndexServer(world.folder) as server:
        made = make_project(tmp_path, world, server)
        made.environ["CUDAENV_MATRIX"] = str(matrix)
        yield made


def locked_sources(project: Project, name: str = BUILD_LOCK) -> list[tuple[str, str, str]]:
    """The name, URL and hash of each source distribution in a lock, in its order."""
    found = re.findall(
        r"^(\S+) @ (\S+) \\\n    --hash=sha256:([0-9a-f]{64})$", project.text(name), re.MULTILINE
    )
    lines = [line for line in project.text(name).splitlines() if line and not line.startswith("#")]
    assert len(lines) == 2 * len(found), "and nothing else"
    return found


def seen(project: Project, module: str = "tiny_ext") -> Mapping[str, Any]:
    """The torch and the variables that a package was built with, as it says itself."""
    python = project.folder / ".venv" / "bin" / "python"
    code = f"import json, {module} as m; print(json.dumps({{'torch': m.TORCH, **m.SEEN}}))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    found: Mapping[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_built_is_locked_by_url_and_hash(project: Project) -> None:
    done = project.lock(V100, packages=PACKAGES)
    assert {BUILD_LOCK, "requirements.build.txt"} <= set(done.out.split())
    url = f"{project.default}/tiny-ext/{TINY_EXT.filename}"
    assert locked_sources(project) == [("tiny-ext", url, TINY_EXT.sha256)]
    assert "tiny-ext" not in project.pins(), "it is no wheel"
    assert project.pins()["tiny-build"] == "1.0", "what building needs is locked"
    assert project.run("check").out == "up to date\n"


def test_without_anything_to_build_there_is_no_lock_of_it(project: Project) -> None:
    project.lock(V100, packages=PACKAGES)
    project.server.requests.clear()
    project.lock(V100)
    assert BUILD_LOCK not in project.files()
    assert not [request for request in project.server.requests if "tiny" in request.path]


def test_each_environment_has_its_own_lock_of_what_is_built(project: Project) -> None:
    project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090, packages=PACKAGES)
    for variant in ("cu126", "cu132"):
        assert locked_sources(project, f"requirements.build.{variant}.lock")[0][2] == TINY_EXT.sha256


def test_a_release_without_a_source_distribution_on_the_index_cannot_be_locked(project: Project) -> None:
    page = (
        f'<html><body><a href="tiny_ext-0.9.tar.gz#sha256={"0" * 64}">tiny_ext-0.9.tar.gz</a></body></html>'
    )
    project.server.replace("/simple/tiny-ext/", page.encode())
    project.spec(V100, packages=PACKAGES)
    done = project.run("lock", status=3)
    assert "the default index has no source distribution of tiny-ext==1.0 to build" in done.err
    assert project.files() == {}


def test_sync_builds_on_top_of_the_wheels_with_the_variables_of_the_plan(project: Project) -> None:
    project.lock(V100, packages=PACKAGES)
    done = project.run("sync", "--anyway", env={"UV_INDEX_URL": "https://elsewhere.example/simple"})
    assert "building tiny-ext==1.0" in done.err
    assert done.err.index("installing cu126") < done.err.index("building tiny-ext")
    (environment,) = json.loads(project.text("cudaenv.lock"))["environments"]
    found = seen(project)
    assert found["torch"] == "2.14.1+cu126", "without isolation, beside the locked torch"
    assert (found["TORCH_CUDA_ARCH_LIST"], found["TINY_JOBS"]) == ("7.0", "4")
    assert found["FORCE_CUDA"] == environment["env"]["FORCE_CUDA"] == "1"
    assert found["CUDA_HOME"] == environment["env"]["CUDA_HOME"]
    assert found["VIRTUAL_ENV"] == str(project.folder / ".venv")
    assert found["UV_INDEX_URL"] is None, "nothing of this machine's settings"
    assert "torch       2.14.1+cu126, CUDA 12.6, as planned" in done.out


def test_builds_come_in_the_order_of_the_spec_each_with_its_own_variables(project: Project) -> None:
    project.lock(V100, packages={"torch": "*", "tiny-ext": "*", "also-tiny": "*"})
    assert [name for name, _, _ in locked_sources(project)] == ["tiny-ext", "also-tiny"]
    done = project.run("sync", "--anyway")
    assert done.err.index("building tiny-ext") < done.err.index("building also-tiny")
    assert seen(project, "also_tiny")["TINY_JOBS"] == "1"
    assert seen(project, "tiny_ext")["TINY_JOBS"] == "4"


def test_what_was_built_for_another_torch_and_gpu_is_built_anew(project: Project) -> None:
    project.lock(V100, packages=PACKAGES)
    project.run("sync", "--anyway")
    project.lock(RTX_4090, packages=PACKAGES)
    project.run("sync", "--anyway")
    found = seen(project)
    assert (found["torch"], found["TORCH_CUDA_ARCH_LIST"]) == ("2.15.0+cu132", "8.9")


def test_a_source_distribution_that_was_altered_on_the_server_is_refused_with_both_hashes(
    project: Project,
) -> None:
    project.lock(V100, packages=PACKAGES)
    altered = sdist("tiny-ext", "raise SystemExit('it ran')")
    project.server.replace(project.world.path("simple", TINY_EXT), altered.data)
    done = project.run("sync", "--anyway", status=5)
    assert "a file on the index is not the one that was locked" in done.err
    assert TINY_EXT.sha256 in done.err
    assert altered.sha256 in done.err
    assert "it ran" not in done.err


def test_a_build_that_fails_is_shown_with_what_it_said(project: Project) -> None:
    project.world.wheels["simple"].remove(TINY_EXT)
    project.world.add("simple", sdist("tiny-ext", "raise SystemExit('nvcc: no such architecture')"))
    project.lock(V100, packages=PACKAGES)
    done = project.run("sync", "--anyway", status=5)
    assert "uv could not build tiny-ext" in done.err
    assert "nvcc: no such architecture" in done.err
    assert done.out == ""


def test_a_lock_of_builds_that_was_edited_is_noticed_and_nothing_is_built(project: Project) -> None:
    project.lock(V100, packages=PACKAGES)
    text = project.text(BUILD_LOCK).replace(TINY_EXT.sha256, ALSO_TINY.sha256)
    (project.folder / BUILD_LOCK).write_text(text)
    assert f"`{BUILD_LOCK}`" in project.run("check", status=4).err
    done = project.run("sync", "--anyway", status=4)
    assert f"`{BUILD_LOCK}` is not the one that was locked" in done.err
    assert "building" not in done.err
    (project.folder / BUILD_LOCK).unlink()
    assert f"`{BUILD_LOCK}`" in project.run("check", status=4).err
    assert f"`{BUILD_LOCK}`" in project.run("sync", "--anyway", status=4).err


def test_a_guarded_index_gives_source_distributions_to_whoever_has_its_credentials(project: Project) -> None:
    project.server.require_auth("/simple", "ann", "secret")
    project.environ |= {"UV_INDEX_DEFAULT_USERNAME": "ann", "UV_INDEX_DEFAULT_PASSWORD": "secret"}
    project.lock(V100, packages=PACKAGES)
    assert "secret" not in project.text(BUILD_LOCK)
    project.run("sync", "--anyway")
    assert seen(project)["torch"] == "2.14.1+cu126"


def test_the_lock_of_builds_is_the_same_bytes_when_locked_again(project: Project, tmp_path: Path) -> None:
    project.lock(V100, packages=PACKAGES)
    first = project.files()
    other = project.another(tmp_path / "elsewhere")
    other.environ |= project.environ
    other.run("lock")
    assert other.files() == first


def test_the_lock_of_builds_names_the_python_it_is_for(project: Project) -> None:
    project.lock(V100, packages=PACKAGES)
    assert f"Python {PYTHON} on linux-64" in project.text(BUILD_LOCK)
