"""Rendered files, read and built as they are by the engines that they are for, beside a registry.

Of the locks a few small packages are left, beside a torch that has nothing in it.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cudaenv.model.plan import Plan
from tests.containers.projects import (
    PASSWORD,
    SMALL,
    cudaenv,
    private_index,
    project_to_build,
    shorten,
    torch_line,
    write_package,
    write_spec,
)
from tests.support.chroot import USER, obstacle
from tests.support.debian import SuiteError
from tests.support.engines import Engines, running_engines
from tests.support.planning import cases
from tests.support.project import PYTORCH
from tests.support.stand_in import StandIn
from tests.unit.test_render_builds import ASKED, plan
from tests.unit.test_render_containers import conda_plan, rendered

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.e2e,
    pytest.mark.online,
    pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "nothing"),
]

RUN, BUILT = f"/home/{USER}/run", f"/home/{USER}/built"
"""Images of Apptainer, as folders: to compress one takes longer than everything else."""

# Containers have no network here but this machine's.
OVERRIDE = """\
services:
  {service}:
    build: {{network: host}}
    network_mode: none
{more}"""
NO_GPU = "    deploy: !reset null\n"

# What is installed, and not what lies in the folder where it runs.
PROBE = (
    "python",
    "-I",
    "-c",
    "import demo, os, torch; print(demo.ANSWER, os.getuid(), os.path.exists('demo.py'), demo.__file__)",
)


@dataclass(frozen=True)
class Locked:
    """A project, and the digest that the daemon told of the image that it runs in."""

    folder: Path
    digest: str


@pytest.fixture(scope="module")
def engines(stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(running_engines(tmp_path_factory.mktemp("engines"), stand_in))
        except SuiteError as error:
            pytest.skip(f"the engines cannot be had now: {str(error).splitlines()[-1]}")
        yield running


@pytest.fixture(scope="module")
def locked(engines: Engines, stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """A project with a package of its own, to be run and no more, with the files of every engine."""
    folder = tmp_path_factory.mktemp("locked") / "project"
    write_spec(folder, stand_in.python, packages={"torch": "*", "numpy": "*"})
    write_package(folder)
    (planned,) = json.loads(cudaenv(folder, "plan", "--json"))["environments"]
    digest = engines.publish(planned["base_image"]["run"])
    cudaenv(folder, "lock", CUDAENV_REGISTRY=f"http://{engines.hub}")
    cudaenv(folder, "render", "--compose", "--apptainer")
    with torch_line(tmp_path_factory.mktemp("index")) as torch:
        shorten(folder, SMALL, torch)
        yield Locked(folder, digest)


def shapes() -> dict[str, Plan]:
    """A plan for each shape of a Dockerfile."""
    return {
        "run": cases()["v100"],
        "cpu": cases()["cpu"],
        "conda": conda_plan(),
        "conda-build": conda_plan("torch", "flash-attn"),
        "conda-develop": conda_plan(target="develop-kernels"),
        **{name: plan(name) for name in ASKED},
    }


def test_buildkit_has_nothing_to_say_against_a_dockerfile_of_any_shape(
    engines: Engines, tmp_path: Path
) -> None:
    checking = ("buildx", "build", "--check", "--file")
    environments = [item for made in shapes().values() for item in made.environments]
    images = {image for item in environments for image in (item.base_image, item.build_image)}
    engines.rename(*images - {""})
    for name, made in shapes().items():
        for requires in (None, ("hatchling",), ("torch",)):
            files = rendered(made, build_requires=requires)
            (tmp_path / ".dockerignore").write_text(files[".dockerignore"])
            path = tmp_path / f"{name}.Dockerfile"
            path.write_text(files["Dockerfile"])
            assert "no warnings found" in engines.docker(tmp_path, *checking, path.name, ".")
    path.write_text(re.sub(r"^CMD .*", "CMD python", path.read_text(), flags=re.MULTILINE))
    assert "JSONArgsRecommended" in engines.docker(tmp_path, *checking, path.name, ".", status=1)


def test_a_lock_pins_the_image_that_docker_has_for_the_platform(locked: Locked) -> None:
    dockerfile = (locked.folder / "Dockerfile").read_text()
    (argument,) = re.findall(r"^ARG BASE_IMAGE=(.*)$", dockerfile, re.MULTILINE)
    assert argument == f"python@{locked.digest}"
    assert f"\nFrom: {argument}\n" in (locked.folder / "Apptainer.def").read_text()


def test_docker_builds_an_image_that_runs_and_is_healthy(engines: Engines, locked: Locked) -> None:
    engines.build(locked.folder, "app")
    assert engines.run("app", *PROBE).startswith("42 1000 False /opt/env/lib/")
    assert "No such file" in engines.run("app", "ls", "/src", status=2)
    (image,) = json.loads(engines.docker(locked.folder, "image", "inspect", "app"))
    assert image["Config"]["Healthcheck"]["Test"] == ["CMD", "python", "-c", "import torch"]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in image["Config"]["Env"]
    assert engines.health("app", "sleep", "60") == "healthy"


def test_docker_takes_the_password_of_an_index_as_a_secret(
    engines: Engines, locked: Locked, tmp_path: Path
) -> None:
    with private_index(tmp_path, locked.folder) as private:
        mirror = f"--build-arg=DEFAULT_MIRROR={private.url}"
        assert "401" in engines.build(private.context, "never", mirror, status=1)
        engines.build(private.context, "private", mirror, "--secret=id=netrc,src=.netrc")
    assert engines.run("private", "python", "-c", "import tiny") == ""
    search = f"grep -rl {PASSWORD} /root /opt /etc /home /tmp /work || echo none"
    assert engines.run("private", "sh", "-c", search, user="root") == "none\n"
    assert PASSWORD not in engines.docker(engines.shared, "history", "--no-trunc", "private")


def test_compose_builds_the_service_and_asks_for_gpus(engines: Engines, locked: Locked) -> None:
    folder = engines.shared
    shutil.copytree(locked.folder, folder, dirs_exist_ok=True)
    config = json.loads(engines.docker(folder, "compose", "config", "--format", "json"))
    ((name, service),) = config["services"].items()
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": -1, "capabilities": ["gpu"]}, "all of them"
    assert service["build"] == {"context": "/work", "dockerfile": "Dockerfile"}
    override = folder / "compose.override.yaml"
    override.write_text(OVERRIDE.format(service=name, more=""))
    running = ("compose", "run", "--rm", "--build", name, *PROBE)
    assert 'could not select device driver "nvidia"' in engines.docker(folder, *running, status=1)
    override.write_text(OVERRIDE.format(service=name, more=NO_GPU))
    assert engines.docker(folder, *running).splitlines()[-1].startswith("42 1000 True /opt/env/lib/")


def test_apptainer_builds_an_image_that_passes_its_own_test(
    engines: Engines, locked: Locked, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(locked.folder, folder)
    (folder / ".venv").symlink_to("/of/another/machine")
    said = engines.apptainer(folder, "build", "--sandbox", RUN, "Apptainer.def")
    assert "Running testscript" in said
    assert engines.apptainer(folder, "test", RUN) == ""
    assert engines.apptainer(folder, "exec", RUN, *PROBE).startswith("42 1000 True /opt/env/lib/")
    assert not (engines.system.root / RUN[1:] / "src").exists(), "of the project stays what is installed"


def test_apptainer_builds_from_source_in_one_stage_what_runs_in_another(
    engines: Engines, stand_in: StandIn, tmp_path: Path
) -> None:
    with project_to_build(tmp_path, stand_in.python) as project:
        project.run("render", "--apptainer")
        (environment,) = json.loads(project.text("cudaenv.lock"))["environments"]
        for image in environment["base_image"].values():
            engines.publish(image)
        for path in project.folder.glob("requirements*.lock"):
            path.write_text(path.read_text().replace(PYTORCH, project.mirror))
        engines.apptainer(project.folder, "build", "--sandbox", BUILT, "Apptainer.def")
    code = "import tiny_ext as m; print(m.TORCH, m.SEEN['TORCH_CUDA_ARCH_LIST'], m.SEEN['CUDA_HOME'])"
    said = engines.apptainer(engines.shared, "exec", BUILT, "python", "-c", code).split()
    assert said == ["2.14.1+cu126", "7.0", "/usr/local/cuda-12.6"]
    rest = engines.apptainer(
        engines.shared, "exec", BUILT, "sh", "-c", "which gcc g++ git; ls /wheels; echo end"
    )
    assert not re.search(r"/gcc|/g\+\+|/git|\.whl", rest)
