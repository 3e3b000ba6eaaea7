"""Rendered Dockerfiles, built by buildah on a system made here under the base images' names, and run.

The locks are real and the Dockerfiles unchanged; of the locks all but a few packages are left out, so that
it is a matter of seconds and not of gigabytes.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers.projects import (
    PASSWORD,
    SMALL,
    base_image,
    cudaenv,
    index_to_build,
    private_index,
    project_to_build,
    shorten,
    torch_line,
    write_package,
    write_spec,
)
from tests.end_to_end.test_builds import TINY_EXT
from tests.support import micromamba
from tests.support.channel import Channels
from tests.support.conda_project import CondaProject, conda_project
from tests.support.containers import Engine, obstacle
from tests.support.stand_in import StandIn

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.e2e,
    pytest.mark.online,
    pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "nothing"),
]

BASE = "localhost/stand-in"
TOOLKIT = (
    "nvidia-cuda-nvcc",
    "nvidia-cuda-crt",
    "nvidia-cuda-cccl",
    "nvidia-cuda-runtime",
    "nvidia-nvvm",
    "ninja",
)

SAXPY = """\
#include <cuda_fp16.h>
#include <cstdio>
__global__ void saxpy(int n, float a, const float *x, float *y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}
int main() {
  saxpy<<<1, 32>>>(0, 2.f, nullptr, nullptr);
  std::puts(cudaGetErrorName(cudaGetLastError()));
}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = Engine(tmp_path_factory.mktemp("images"))
    yield made
    made.clear()


@pytest.fixture(scope="module")
def python(engine: Engine, stand_in: StandIn) -> str:
    """The Python of the stand-in, of which there is an image now."""
    engine.build(stand_in.context, BASE)
    return stand_in.python


def locked(folder: Path, engine: Engine, python: str, names: tuple[str, ...], **spec: object) -> Path:
    """A project, locked on PyPI, whose images have their names here; most of its lock is left out."""
    write_spec(folder, python, **spec)
    cudaenv(folder, "lock")
    image = base_image(folder)
    engine.rename(BASE, image)
    shorten(folder, names)
    unpinned(folder, image)
    return folder


def unpinned(folder: Path, image: str) -> None:
    """Where the registry was there, the digest is that of the real image."""
    path = folder / "Dockerfile"
    name = image.partition(":")[0]
    path.write_text(re.sub(rf"={name}@sha256:[0-9a-f]{{64}}", f"={image}", path.read_text()))


@pytest.fixture(scope="module")
def to_run(engine: Engine, python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a package of its own, to be run and no more."""
    folder = tmp_path_factory.mktemp("run") / "project"
    made = locked(folder, engine, python, SMALL, packages={"torch": "*", "numpy": "*"})
    write_package(made)
    cudaenv(made, "render", "--force")
    unpinned(made, base_image(made))
    return made


def test_an_image_to_run_in(engine: Engine, to_run: Path) -> None:
    engine.build(to_run, "app")
    try:
        probe = "import demo, jinja2, os; print(demo.ANSWER, os.getuid(), os.path.realpath(jinja2.__file__))"
        answer, user, place = engine.run("app", "python", "-c", probe).split()[-3:]
        assert (answer, user) == ("42", "1000")
        assert place.startswith("/opt/env/lib/")
        rest = (
            "ls /opt/env/bin; which gcc g++ nvcc; touch /opt/env/x; ls -a /src /wheels; "
            "touch /work/x && echo ok"
        )
        said = engine.run("app", "sh", "-c", rest)
        assert "/opt/env/x': Permission denied" in said
        assert said.split()[-1] == "ok"
        assert not re.search(r"\bpip|g\+\+|gcc|nvcc|\.env\b", said.replace("/opt/env", ""))
        config = json.loads(engine.buildah("inspect", "--type", "image", "app"))["Docker"]["config"]
        assert config["Healthcheck"]["Test"] == ["CMD", "python", "-c", "import torch"]
        assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in config["Env"]
    finally:
        engine.remove("app")


def test_a_wheel_that_is_not_the_locked_one_ends_the_build(engine: Engine, to_run: Path) -> None:
    lock = to_run / "requirements.lock"
    text = lock.read_text()
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", text))
    try:
        said = engine.build(to_run, "never", status=1)
    finally:
        lock.write_text(text)
    assert "DO NOT MATCH THE HASHES" in said


def test_an_index_that_does_not_answer_ends_the_build(engine: Engine, to_run: Path) -> None:
    said = engine.build(to_run, "never", arguments={"DEFAULT_MIRROR": "http://127.0.0.1:9"}, status=1)
    assert "Connection refused" in said
    assert "127.0.0.1" in said


def test_a_private_index_gives_wheels_for_a_secret_that_stays_out_of_the_image(
    engine: Engine, to_run: Path, tmp_path: Path
) -> None:
    with private_index(tmp_path, to_run) as private:
        mirror = {"DEFAULT_MIRROR": private.url}
        assert "401" in engine.build(private.context, "never", arguments=mirror, status=1)
        engine.build(
            private.context, "private", arguments=mirror, secrets={"netrc": private.context / ".netrc"}
        )
    try:
        assert (
            engine.run("private", "python", "-c", "import tiny; print(tiny.__file__)")
            .split()[-1]
            .startswith("/opt/env/")
        )
        found = engine.run(
            "private", "sh", "-c", f"grep -rl {PASSWORD} /root /opt /etc /home /tmp; echo none", user="0"
        )
        assert found.split()[-1:] == ["none"]
        assert PASSWORD not in found
        assert PASSWORD not in engine.buildah("inspect", "--type", "image", "private")
    finally:
        engine.remove("private")


def test_an_image_to_develop_in_compiles_a_kernel(engine: Engine, python: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    locked(folder, engine, python, TOOLKIT, target="develop-kernels", packages={"numpy": "*"})
    engine.build(folder, "develop")
    try:
        write = f"cat > saxpy.cu <<'END'\n{SAXPY}END\n"
        # Static, then shared, which needs the links.
        compiling = "nvcc saxpy.cu -o a; nvcc -cudart shared -L$CUDA_HOME/lib64 saxpy.cu -o b; ./a"
        said = engine.run("develop", "sh", "-ec", f"{write}{compiling}\n{CACHED}id -u")
        assert re.search(r"cudaError(InsufficientDriver|NoDevice)", said)
        assert said.split()[-1] == "1000"
        hits = re.findall(r"(?:direct|preprocessed)_cache_hit\t(\d+)", said)
        assert sum(map(int, hits)) == 2, "one of nvcc and one of g++"
        assert "ninja" in engine.run(
            "develop", "sh", "-c", "which ninja cmake pip; pip install --quiet --no-index x || true"
        )
    finally:
        engine.remove("develop")


# As pip does it: in a folder of another name each time.
CACHED = """\
echo 'int main() {}' >plain.cpp
for folder in /tmp/one/x /tmp/two/x; do
  mkdir -p $folder
  cp saxpy.cu plain.cpp $folder
  cd $folder
  $PYTORCH_NVCC -I$folder -c $folder/saxpy.cu -o $folder/saxpy.o
  g++ -I$folder -c $folder/plain.cpp -o $folder/plain.o
  cd /work
done
ccache --print-stats
"""

NVIDIA = """\
FROM localhost/stand-in
# A toolkit as NVIDIA's images have it, of the wheels.
RUN python -m pip install --quiet --target /tmp/wheels {wheels} \\
    && mv /tmp/wheels/nvidia/cu{major} /usr/local/cuda-{cuda} \\
    && ln -s lib /usr/local/cuda-{cuda}/lib64 \\
    && rm -rf /tmp/wheels \\
    && rm /usr/local/bin/python
"""


def make_nvidia_image(engine: Engine, name: str, cuda: str, folder: Path) -> None:
    """Make an image of NVIDIA's: a toolkit in its place, and no Python of ours."""
    wheels = " ".join(f"{wheel}=={cuda}.*" for wheel in TOOLKIT if wheel.startswith("nvidia"))
    folder.mkdir()
    text = NVIDIA.format(wheels=wheels, major=cuda.partition(".")[0], cuda=cuda)
    (folder / "Dockerfile").write_text(text)
    engine.build(folder, f"localhost/{name}")


def test_an_image_to_develop_in_with_the_toolkit_of_nvidias_image(
    engine: Engine, python: str, tmp_path: Path
) -> None:
    """The planned Python comes by a uv that a hash pins; the user who develops is not root."""
    folder = tmp_path / "project"
    spec = {"target": "develop-kernels", "provider": "system", "packages": {"torch": "*", "numpy": "*"}}
    image = base_image(locked(folder, engine, python, SMALL, **spec))
    cuda = re.search(r":(\d+\.\d+)\.\d+-devel-ubuntu", image)
    assert cuda is not None
    make_nvidia_image(engine, image, cuda[1], tmp_path / "nvidia")
    engine.build(folder, "develop")
    try:
        write = f"cat > saxpy.cu <<'END'\n{SAXPY}END\n"
        said = engine.run(
            "develop",
            "sh",
            "-ec",
            f"{write}nvcc saxpy.cu -o a && ./a && command -v nvcc && command -v python && id -u",
        )
        assert re.search(r"cudaError(InsufficientDriver|NoDevice)", said)
        assert said.split()[-3:] == [f"/usr/local/cuda-{cuda[1]}/bin/nvcc", "/opt/env/bin/python", "10001"]
        code = "import numpy, os, pip, sys; print(os.access(pip.__file__, os.W_OK), sys.base_prefix)"
        assert engine.run("develop", "python", "-c", code).split()[-2] == "True"
        path = folder / "Dockerfile"
        path.write_text(
            re.sub(r"(uv==\S+ --hash=sha256:)[0-9a-f]{64}", rf"\g<1>{'0' * 64}", path.read_text())
        )
        assert "DO NOT MATCH THE HASHES" in engine.build(folder, "never", status=1)
    finally:
        engine.remove("develop")


TELL = """\
import json, os, tiny_ext
print(json.dumps({**tiny_ext.SEEN, "now": os.environ["CXX"], "uid": os.getuid()}))
"""

CONDA = """\
FROM localhost/stand-in
COPY micromamba.py /bin/micromamba
RUN chmod a+x /bin/micromamba
"""


def conda_image(engine: Engine, conda: CondaProject, folder: Path, python: str, **spec: Any) -> None:
    """Lock a project of conda packages and build its image, with a torch of our own.

    Micromamba cannot be had here: what stands in for it fetches all packages and compares their hashes.
    """
    installer = folder / "installer"
    installer.mkdir()
    shutil.copy(micromamba.__file__, installer)
    (installer / "Dockerfile").write_text(CONDA)
    project = conda.project
    conda.lock(python=python, **spec)
    (environment,) = json.loads(project.text("cudaenv.lock"))["environments"]
    engine.build(installer, f"localhost/{environment['base_image']['build']}")
    engine.rename(BASE, environment["base_image"]["run"])
    with torch_line(folder / "index") as torch:
        lock = project.folder / "requirements.lock"
        if lock.exists():
            lock.write_text(lock.read_text() + torch)
        engine.build(project.folder, "conda")


def test_an_image_of_conda_packages_with_wheels_and_a_build_on_top(
    engine: Engine, python: str, channels: Channels, tmp_path: Path
) -> None:
    with index_to_build(tmp_path) as project, conda_project(project, channels) as conda:
        write_package(project.folder)
        conda_image(engine, conda, tmp_path, python, packages={"torch": "*", "tiny-ext": "*"})
        changed = project.folder / "conda-linux-64.lock"
        changed.write_text(re.sub(r"#[0-9a-f]{32}", f"#{'0' * 32}", changed.read_text(), count=1))
        assert "the hash is another" in engine.build(project.folder, "never", status=1)
    try:
        said = engine.run("conda", *entrypoint(engine, "conda"), "python", "-c", TELL)
        found = json.loads(said.splitlines()[-1])
        compiler = "/opt/env/bin/of-conda-c++"
        assert (found["CXX"], found["now"], found["CUDA_HOME"]) == (compiler, compiler, "/opt/env")
        assert (found["TORCH_CUDA_ARCH_LIST"], found["uid"]) == ("8.9", 1000)
        names = engine.run("conda", "cat", "/opt/env/conda-meta/names").split()
        assert {name.partition("-")[0] for name in names} >= {"python", "pytorch", "cuda"}
        look = "which micromamba; ls /src /wheels /opt/conda.lock; touch /opt/env/x; echo end"
        rest = engine.run("conda", "sh", "-c", look)
        assert not re.search(r"/micromamba|\.whl$|demo", rest)
        assert "/opt/env/x': Permission denied" in rest
    finally:
        engine.remove("conda")


def test_an_image_to_develop_in_with_condas_compilers(
    engine: Engine, python: str, channels: Channels, tmp_path: Path
) -> None:
    with index_to_build(tmp_path) as project, conda_project(project, channels) as conda:
        conda_image(engine, conda, tmp_path, python, target="develop-kernels")
    try:
        shell = ["bash", "-ic", "echo $CXX $CUDA_HOME; touch /opt/env/x && id -un"]
        compiler = "/opt/env/bin/of-conda-c++"
        for command in (shell, [*entrypoint(engine, "conda"), *shell]):
            assert engine.run("conda", *command).split()[-3:] == [compiler, "/opt/env", "app"]
        assert "/usr/bin/git" in engine.run("conda", "which", "git")
    finally:
        engine.remove("conda")


def entrypoint(engine: Engine, image: str) -> list[str]:
    """What an image begins its commands with."""
    config = json.loads(engine.buildah("inspect", "--type", "image", image))["Docker"]["config"]
    return list(config["Entrypoint"])


def test_what_is_built_from_source_ends_as_a_wheel_in_an_image_without_a_compiler(
    engine: Engine, python: str, tmp_path: Path
) -> None:
    """A toolkit of the system: what compiles in NVIDIA's image runs in Python's."""
    with project_to_build(tmp_path, python) as project:
        (environment,) = json.loads(project.text("cudaenv.lock"))["environments"]
        assert environment["base_image"]["build"].startswith("nvidia/cuda:")
        engine.rename(BASE, environment["base_image"]["build"])
        engine.rename(BASE, environment["base_image"]["run"])
        mirror = {"PYTORCH_MIRROR": project.mirror}
        engine.build(project.folder, "built", arguments=mirror)
        lock = project.folder / "requirements.build.lock"
        lock.write_text(lock.read_text().replace(TINY_EXT.sha256, "0" * 64))
        assert "DO NOT MATCH THE HASHES" in engine.build(project.folder, "never", arguments=mirror, status=1)
    try:
        code = "import tiny_ext as m; print(m.TORCH, m.SEEN['TORCH_CUDA_ARCH_LIST'], m.SEEN['CUDA_HOME'])"
        said = engine.run("built", "python", "-c", code).split()[-3:]
        assert said == ["2.14.1+cu126", "7.0", "/usr/local/cuda-12.6"]
        rest = engine.run("built", "sh", "-c", "which gcc g++ git; ls /wheels; ls /opt/env/bin; echo end")
        assert not re.search(r"/gcc|/g\+\+|/git|\.whl|\bpip", rest)
    finally:
        engine.remove("built")
