"""What is built from source: its lock of URLs and hashes, and `cudaenv sync`, which builds it on the wheels.

The packages are made up: rows in a copy of the tables, and source distributions whose setup.py imports torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cudaenv.workflow.building import jobs_for
from tests.support.channel import Channels
from tests.support.conda_project import conda_project, on_linux_64
from tests.support.index import IndexServer, Sdist, pytorch_like_world
from tests.support.planning import ROOT
from tests.support.project import PYTHON, RTX_4090, RTX_5090, V100, Project, make_project
from tests.support.toolkits import gxx, toolkit
from tests.support.wheels import Wheel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locked environments are for Linux")

BUILD_LOCK = "requirements.build.lock"
PACKAGES = {"torch": "*", "tiny-ext": "*"}
VARIABLES = (
    "TORCH_CUDA_ARCH_LIST",
    "TINY_JOBS",
    "MAX_JOBS",
    "FORCE_CUDA",
    "CUDA_HOME",
    "NVCC_PREPEND_FLAGS",
    "UV_INDEX_URL",
    "VIRTUAL_ENV",
    "CXX",
)

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
- {{topic: "sdist", {parts}requires: "{requires}", env: "{env}", source: "sdist", basis: "measured"}}
"""


def write_table(matrix: Path, name: str, *, requires: str, env: str, components: str = "") -> None:
    """Write what a copy of the tables knows of a package; with `components` it is one that nvcc compiles."""
    parts = f'components: "{components}", ' if components else ""
    text = TABLE.format(name=name, requires=requires, env=env, parts=parts)
    (matrix / "packages" / f"{name}.yaml").write_text(text, encoding="utf-8")


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
        write_table(matrix, name, requires=requires, env=env)
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


def seen(project: Project, module: str = "tiny_ext", prefix: str = ".venv") -> Mapping[str, Any]:
    """The torch and the variables that a package was built with, as it says itself."""
    python = project.folder / prefix / "bin" / "python"
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
    assert "tiny-ext==1.0 could not be built" in done.err
    assert "nvcc: no such architecture" in done.err
    assert "likely cause" not in done.err, "nothing is known of it"
    assert done.out == ""
    log = project.folder / ".venv/.cudaenv/build-tiny-ext.log"
    assert f"hint: The whole log is {log}" in done.err
    assert "nvcc: no such architecture" in log.read_text()


def test_of_a_log_the_end_is_shown_with_the_cause_that_is_known_for_it(project: Project) -> None:
    lines = (
        "import sys\nfor number in range(100): print('line', number, file=sys.stderr)\nimport pkg_resources"
    )
    project.world.wheels["simple"].remove(TINY_EXT)
    project.world.add("simple", sdist("tiny-ext", lines))
    project.lock(V100, packages=PACKAGES)
    done = project.run("sync", "--anyway", status=5)
    assert "No module named 'pkg_resources'" in done.err
    assert (
        "likely cause: setup.py imports pkg_resources, which setuptools 82 and newer do not have" in done.err
    )
    assert "pin `setuptools<81`" in done.err
    assert "build-failures pkg-resources (measured: " in done.err
    assert "line 20" not in done.err
    assert "line 20" in (project.folder / ".venv/.cudaenv/build-tiny-ext.log").read_text()


@on_linux_64
def test_what_is_built_beside_condas_packages_is_compiled_by_their_compiler(
    project: Project, channels: Channels
) -> None:
    write_table(
        Path(project.environ["CUDAENV_MATRIX"]),
        "tiny-ext",
        requires="torch tiny-build",
        env="TORCH_CUDA_ARCH_LIST={sms}",
        components="nvcc cudart cccl",
    )
    with conda_project(project, channels) as conda:
        conda.lock(packages=PACKAGES)
        done = conda.sync()
    assert "building tiny-ext==1.0" in done.err
    found = seen(project, prefix=".conda")
    prefix = project.folder / ".conda"
    assert (found["torch"], found["CUDA_HOME"]) == ("2.12.0", str(prefix))
    assert found["CXX"] == f"{prefix}/bin/x86_64-conda-linux-gnu-c++"
    assert found["NVCC_PREPEND_FLAGS"].endswith(f"-ccbin={found['CXX']}")
    (kept,) = [json.loads(path.read_text())["facts"] for path in built_facts(project)]
    assert (kept["cuda"], kept["compiler"]) == ("13.0 by conda", "gcc 15.2.0")


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


def built_facts(project: Project) -> list[Path]:
    """What is noted of the wheels that are kept of builds."""
    return sorted((project.home / "cudaenv-cache" / "built").glob("*/built.json"))


def built(project: Project) -> list[Path]:
    """The wheels that are kept of builds."""
    return sorted((project.home / "cudaenv-cache" / "built").glob("*/*.whl"))


def test_what_was_built_is_taken_again_elsewhere_without_its_source(project: Project, tmp_path: Path) -> None:
    project.lock(V100, packages=PACKAGES)
    assert "was built before" not in project.run("sync", "--anyway").err
    (wheel,) = built(project)
    project.server.requests.clear()
    done = project.run("sync", "--anyway", "--prefix", tmp_path / "other")
    assert (
        f"tiny-ext==1.0 was built before with the same torch, toolkit and compiler: {wheel.name}" in done.err
    )
    assert "building" not in done.err
    assert not [request for request in project.server.requests if "tiny-ext" in request.path]
    python = tmp_path / "other" / "bin" / "python"
    subprocess.run([python, "-I", "-c", "import tiny_ext"], check=True)


def test_another_torch_gpu_variable_or_source_is_another_build(project: Project) -> None:
    project.lock(V100, packages=PACKAGES)
    project.run("sync", "--anyway")
    project.lock({**V100, "gpu": ["A100"]}, packages={"torch": "==2.14.1", "tiny-ext": "*"}, cuda="12.6")
    project.run("sync", "--anyway")
    assert seen(project)["TORCH_CUDA_ARCH_LIST"] == "8.0"
    project.world.wheels["simple"].remove(TINY_EXT)
    project.world.add("simple", sdist("tiny-ext", "# another source"))
    project.run("lock", "--upgrade")
    project.run("sync", "--anyway")
    assert len(built(project)) == 3
    records = [json.loads((wheel.parent / "built.json").read_text()) for wheel in built(project)]
    assert all(record["facts"]["torch"] == "2.14.1+cu126 cu126" for record in records)
    assert len({record["facts"]["source"] for record in records}) == 2


def test_the_compilers_at_a_time_are_what_the_user_says_else_what_the_machine_can_take(
    project: Project,
) -> None:
    write_table(
        Path(project.environ["CUDAENV_MATRIX"]),
        "tiny-ext",
        requires="torch tiny-build",
        env="MAX_JOBS={jobs}",
    )
    project.lock(V100, packages=PACKAGES)
    done = project.run("sync", "--anyway", env={"MAX_JOBS": "3"})
    assert "building tiny-ext==1.0 with 3 at a time" in done.err
    assert seen(project)["MAX_JOBS"] == "3"
    # The number is no reason to build again.
    assert "was built before" in project.run("sync", "--anyway").err
    assert jobs_for(8, 64 << 30) == 8
    assert jobs_for(64, 20 << 30) == 5
    assert jobs_for(64, 1 << 30) == 1
    assert jobs_for(4, None) == 4


def test_what_is_going_to_happen_is_said_before(project: Project) -> None:
    project.lock(V100, packages=PACKAGES)
    done = project.run("sync", "--anyway")
    said = done.err.splitlines()
    assert re.fullmatch(r"\d+ wheels; [\d.]+ GB of disk are free", said[0]), "the indexes tell no sizes"
    assert said[1] == "then built from source: tiny-ext==1.0"
    assert said[2].startswith("installing cu126")


@pytest.mark.skipif(Path("/usr/local/cuda-12.6").exists(), reason="there is such a toolkit here")
def test_what_cannot_be_compiled_is_told_before_anything_is_installed(
    project: Project, tmp_path: Path
) -> None:
    matrix = Path(project.environ["CUDAENV_MATRIX"])
    write_table(matrix, "tiny-ext", requires="torch tiny-build", env="A=1", components="nvcc cudart cccl")
    project.lock(V100, packages=PACKAGES)
    done = project.run("sync", "--anyway", status=5)
    assert "tiny-ext==1.0 cannot be compiled on this machine" in done.err
    assert "there is no toolkit of CUDA 12.6 on this machine" in done.err
    assert "cuda-toolkit-12-6" in done.err
    assert "there is no `g++` on PATH" in done.err
    assert not (project.folder / ".venv").exists()
    gxx(project.home / "bin", "g++", "14.2.0")
    env = {"CUDA_HOME": str(toolkit(tmp_path / "cuda", "12.6"))}
    done = project.run("sync", "--anyway", status=5, env=env)
    assert (
        "`g++` is 14.2.0, and nvcc of CUDA 12.6 needs a host compiler that it accepts (gcc 13 at most)"
        in done.err
    )
    gxx(project.home / "bin", "g++-13", "13.3.0")
    project.run("sync", "--anyway", env=env)
    found = seen(project)
    assert found["CUDA_HOME"] == env["CUDA_HOME"]
    assert found["NVCC_PREPEND_FLAGS"] == "-ccbin=g++-13"


def hand_over(project: Project, builder: Project) -> Path:
    """Copy the wheel that a builder has made into a folder of a project; return its place."""
    (wheel,) = built(builder)
    folder = project.folder / "wheels"
    folder.mkdir()
    return Path(shutil.copy(wheel, folder))


def test_wheels_that_were_built_elsewhere_are_locked_by_hash_and_installed(
    project: Project, tmp_path: Path
) -> None:
    project.lock(V100, packages=PACKAGES)
    project.run("sync", "--anyway")
    here = project.another(tmp_path / "here")
    here.environ |= project.environ
    wheel = hand_over(here, project)
    here.run("lock", "--built-wheels", "wheels")
    text = here.text("requirements.built.lock")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert f"./wheels/{wheel.name} \\\n    --hash=sha256:{sha256}\n" in text
    assert here.run("check").out == "up to date\n"
    done = here.run("sync", "--anyway")
    assert "building" not in done.err
    assert seen(here)["TORCH_CUDA_ARCH_LIST"] == "7.0"
    # Colleagues without cudaenv install the same.
    from uv import find_uv_bin

    venv = here.folder / ".venv"
    again = [find_uv_bin(), "pip", "install", "-q", "--reinstall", "--no-deps", "--require-hashes"]
    command = [*again, "--offline", "--python", str(venv), "-r", "requirements.built.lock"]
    subprocess.run(command, env=here.env(), cwd=here.folder, check=True)
    wheel.write_bytes(wheel.read_bytes() + b"x")
    done = here.run("sync", "--anyway", status=5)
    assert f"`wheels/{wheel.name}` is not the wheel that was locked" in done.err
    assert sha256 in done.err
    wheel.unlink()
    assert "is not here" in here.run("sync", "--anyway", status=5).err


def test_a_lock_of_built_wheels_holds_while_its_environment_does(project: Project) -> None:
    project.lock(V100, packages=PACKAGES)
    project.run("sync", "--anyway")
    hand_over(project, project)
    project.run("lock", "--built-wheels", "wheels")
    text = project.text("requirements.built.lock")
    project.run("lock", "--package", "numpy")
    assert "requirements.built.lock" in project.files(), "the wheel is still for this torch and GPU"
    assert project.text("requirements.built.lock") == text
    project.lock(RTX_4090, packages=PACKAGES)
    assert "requirements.built.lock" not in project.files()


def test_wheels_of_something_else_or_from_elsewhere_are_not_locked(project: Project, tmp_path: Path) -> None:
    project.lock(V100, packages=PACKAGES)
    before = project.files()
    folder = project.folder / "wheels"
    folder.mkdir()
    names = (
        "tiny_ext-2.0-py3-none-any.whl",
        "tiny_ext-1.0-cp38-cp38-linux_x86_64.whl",
        "other-1.0-py3-none-any.whl",
    )
    for name in (*names, "tiny_ext-1.0-py3-none-win_amd64.whl", "no wheel.whl"):
        (folder / name).touch()
    done = project.run("lock", "--built-wheels", "wheels", status=2)
    assert "that was built for this plan" in done.err
    assert "to be built: tiny-ext==1.0" in done.err
    outside = tmp_path / "outside"
    outside.mkdir()
    assert "are outside the project" in project.run("lock", "--built-wheels", outside, status=2).err
    for name in ("tiny_ext-1.0-py3-none-any.whl", "tiny_ext-1.0-py3-none-linux_x86_64.whl"):
        (folder / name).touch()
    spaced = project.folder / "my wheels"
    spaced.mkdir()
    (spaced / "tiny_ext-1.0-py3-none-any.whl").touch()
    assert (
        "cannot stand in a requirements file" in project.run("lock", "--built-wheels", spaced, status=2).err
    )
    assert "several wheels" in project.run("lock", "--built-wheels", "wheels", status=2).err
    assert project.files() == before
