"""Files of environments that compile: Dockerfiles as Docker and hadolint read them, and phases."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.images import Shape
from cudaenv.model.plan import Environment, Plan
from cudaenv.model.spec import CudaRequest, Spec
from cudaenv.model.spec_reader import parse_package
from cudaenv.planner.plan import make_plan
from cudaenv.render.files import render_files
from tests.support.asking import ask, lab
from tests.support.planning import ROOT

TEMPLATES = {path.name: path.read_text("utf-8") for path in (ROOT / "templates").iterdir()}

ASKED: dict[str, dict[str, Any]] = {
    "system": {"gpu": "V100", "target": "develop-kernels"},
    "wheels": {"gpu": "RTX 4090", "target": "develop-kernels", "provider": "pip"},
    "build-by-wheels": {"gpu": "RTX 5090", "target": "mmcv-full", "packages": ["torch==2.13.0"]},
    "build-by-system": {"gpu": "A100", "packages": ["detectron2", "torch==2.4.*"]},
    "pycuda": {"gpu": "A100", "target": "develop-kernels", "packages": ["pycuda"]},
    "arm": {"gpu": "GH200", "target": "develop-kernels", "platform": "linux-aarch64"},
}
"""A devel image to work in, the toolkit of wheels, a build with each, and a package without torch."""

IGNORED = {
    "DL3008": "a distribution's mirror has one version of a package, and drops it with the next",
    "DL3059": "each build is a layer of its own, so that a later one that fails does not repeat its hour",
}


@cache
def plan(name: str) -> Plan:
    parts = dict(ASKED[name])
    return ask(lab(parts.pop("gpu"), "595.71.05", parts.pop("platform", "linux-64")), **parts)


def environment(name: str) -> Environment:
    (found,) = plan(name).environments
    return found


@cache
def files(name: str) -> dict[str, str]:
    return render_files(plan(name), templates=TEMPLATES, spec_name="cudaenv.toml")


def commands(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """What Docker's own parser sees."""
    parser: Any = importlib.import_module("dockerfile")
    return [(item.cmd, tuple(item.value)) for item in parser.parse_string(text)]


def hadolint(path: Path) -> list[dict[str, Any]]:
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    config = path.parent / "hadolint.yaml"
    config.write_text(f"ignored: [{', '.join(IGNORED)}]\n")
    done = subprocess.run(
        [program, "--config", config, "--format", "json", "--no-fail", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ASKED)
def test_docker_reads_the_file_and_builds_where_the_toolkit_is(name: str) -> None:
    found, item = commands(files(name)["Dockerfile"]), environment(name)
    arguments = dict(
        value[0].split("=", 1) for command, value in found if command == "ARG" and "=" in value[0]
    )
    stages = [value for command, value in found if command == "FROM"]
    assert item.toolkit is not None
    argument = "BASE_IMAGE" if item.shape is Shape.DEVELOP else "BUILD_IMAGE"
    assert stages[0][0] == f"${{{argument}}}"
    assert arguments[argument] == item.build_image
    is_devel = bool(re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-devel-ubuntu\d\d\.\d\d", item.build_image))
    assert is_devel == (item.toolkit.provider == "system")
    if is_devel:
        release = item.build_image.partition(":")[2]
        assert release.startswith(f"{item.toolkit.cuda}.")
    assert [value for command, value in found if command == "USER"][-1] in {("1000",), ("10001",)}
    assert found[-1] == ("CMD", ("bash",) if item.shape is Shape.DEVELOP else ("python",))


@pytest.mark.parametrize("name", ASKED)
def test_hadolint_is_content(name: str, tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(files(name)["Dockerfile"])
    assert hadolint(path) == []


def test_hadolint_would_complain(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    text = files("system")["Dockerfile"].replace(" --no-install-recommends", "")
    path.write_text(text.replace("USER 10001", "USER root"))
    assert {item["code"] for item in hadolint(path)} >= {"DL3015", "DL3002"}


@pytest.mark.parametrize("name", ["build-by-system", "build-by-wheels"])
def test_who_only_runs_what_was_built_gets_an_image_of_wheels_alone(name: str) -> None:
    item, found = environment(name), commands(files(name)["Dockerfile"])
    stages = [value for command, value in found if command == "FROM"]
    assert [stage[0] for stage in stages] == ["${BUILD_IMAGE}", "${BASE_IMAGE}", "${BASE_IMAGE}"]
    assert "nvidia/cuda" not in item.base_image
    places = [place for place, (command, _) in enumerate(found) if command == "FROM"]
    after = " ".join(" ".join(value) for _, value in found[places[1] :])
    assert "CUDA_HOME" not in after
    assert not re.search(r"g\+\+|no-build-isolation|ccache", after)
    assert ("apt-get" in after) == bool(item.libraries)
    copied = [value for command, value in found[places[2] :] if command == "COPY"]
    assert copied == [("/opt/env", "/opt/env")]


def test_an_image_has_the_libraries_that_its_wheels_do_not_bring() -> None:
    """OpenCV's wheels load libGL, and a slim image has none: mmcv would not be importable."""
    item, text = environment("build-by-wheels"), files("build-by-wheels")["Dockerfile"]
    assert "libgl1" in item.libraries
    last = text[text.rindex("\nFROM ") :]
    assert f"apt-get install --yes --no-install-recommends {' '.join(item.libraries)}" in last
    assert environment("build-by-system").libraries == ()
    assert any(name.startswith("system-libraries") for name, _ in item.rows)


def test_an_image_to_run_in_has_no_compiler_from_wheels() -> None:
    """The lock has the wheels of the toolkit, which only building needs."""
    text = files("build-by-wheels")["Dockerfile"]
    (program,) = set(re.findall(r'-e "(/\^nvidia-[^"]+)"', text))
    lock = "".join(
        f"{name} @ https://x.example/{name}.whl \\\n    --hash=sha256:{'0' * 64}\n"
        for name in ("cuda-toolkit", "nvidia-cuda-nvcc", "nvidia-cuda-runtime", "nvidia-nvvm", "torch")
    )
    left = subprocess.run(
        ["sed", "-e", program], input=lock, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"^(\S+) @", left, re.MULTILINE) == ["cuda-toolkit", "nvidia-cuda-runtime", "torch"]
    assert left.count("--hash") == 3
    assert "nvidia-cuda-nvcc" not in files("wheels")["Dockerfile"].replace("COPY", ""), (
        "who develops keeps it"
    )


def test_what_is_built_is_built_from_the_hashed_lock() -> None:
    """The call of pip takes the package's own lines of the lock of builds, which it requires hashes of."""
    text = files("build-by-wheels")["Dockerfile"]
    runs = [value[0] for command, value in commands(text) if command == "RUN"]
    (run,) = [run for run in runs if "--no-build-isolation" in run]
    assert "--require-hashes --requirement /tmp/source.lock" in run
    (program,) = re.findall(r'-e "(/\^mmcv [^"]+)"', run)
    lock = (
        "# mmcv @ nothing\n"
        f"mmcv @ https://x.example/mmcv-2.tar.gz \\\n    --hash=sha256:{'1' * 64}\n"
        f"mmcv-extra @ https://x.example/mmcv_extra-2.tar.gz \\\n    --hash=sha256:{'2' * 64}\n"
    )
    done = subprocess.run(
        ["sed", "-n", "-e", "", "-e", program], input=lock, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == lock.splitlines()[1:3]


def test_toolkits_of_wheels_get_the_names_that_linkers_look_for() -> None:
    for name in ASKED:
        has_links = "ln -s lib" in files(name)["Dockerfile"]
        toolkit = environment(name).toolkit
        assert toolkit is not None
        assert has_links == (toolkit.provider == "pip"), name


def without(*parts: str) -> Matrix:
    """The tables without the images whose rows have one of these parts."""
    folder = ROOT / "matrix"
    texts = {
        path.relative_to(folder).with_suffix("").as_posix(): path.read_text("utf-8")
        for path in folder.rglob("*.yaml")
    }
    lines = texts["images"].splitlines(keepends=True)
    texts["images"] = "".join(line for line in lines if not any(part in line for part in parts))
    return Matrix.from_texts(texts)


def test_what_is_compiled_in_is_never_newer_than_what_it_runs_in(tmp_path: Path) -> None:
    """Ubuntu 24.04 has a newer C library than Debian 12: without Debian 13 it runs in Ubuntu itself."""
    spec = Spec(
        target="develop-kernels",
        machines=(lab("V100", "535.104.05", "linux-64"),),
        cuda=CudaRequest.parse("12.8"),
        packages=(parse_package("torch", "test"),),
    )
    found = {
        parts: make_plan(spec, without(*parts)).environments[0]
        for parts in ((), ("slim-trixie",), ("slim-trixie", "12.8.1-", '"12.8.2", os: "ubuntu24.04"'))
    }
    both = {parts: (item.build_image.rpartition("-")[2], item.base_image) for parts, item in found.items()}
    plain, no_trixie, old_build = both.values()
    assert plain == ("ubuntu24.04", f"python:{found[()].python}-slim-trixie")
    assert no_trixie == ("ubuntu24.04", "ubuntu:24.04")
    assert old_build == ("ubuntu22.04", f"python:{found[()].python}-slim-bookworm")
    by_ubuntu = Plan(environments=(found[("slim-trixie",)],))
    text = render_files(by_ubuntu, templates=TEMPLATES, spec_name="cudaenv.toml")["Dockerfile"]
    assert "COPY --from=environment /opt/python /opt/python" in text
    assert "USER 10001" in text
    (tmp_path / "Dockerfile").write_text(text)
    assert hadolint(tmp_path / "Dockerfile") == []
    assert "uv python install --no-cache --no-bin" in text[text.index("AS environment") :]


def test_a_devcontainer_is_of_the_same_image_and_keeps_its_caches(tmp_path: Path) -> None:
    text = files("wheels")[".devcontainer/devcontainer.json"]
    document = json.loads(re.sub(r"^//.*$", "", text, flags=re.MULTILINE))
    assert document["build"] == {"dockerfile": "../Dockerfile", "context": ".."}
    assert document["remoteUser"] == "app"
    assert "--create-home app" in files("wheels")["Dockerfile"]
    assert "postCreateCommand" not in document, "there is no project to install"
    assert ".devcontainer/devcontainer.json" not in files("build-by-system")


def test_who_develops_stays_where_the_compiler_is() -> None:
    for name in ("system", "wheels", "arm", "pycuda"):
        found = commands(files(name)["Dockerfile"])
        assert len([1 for command, _ in found if command == "FROM"]) == 1, name


@pytest.mark.parametrize("name", ["build-by-wheels", "build-by-system", "pycuda"])
def test_each_build_is_a_layer_with_its_variables_after_the_lock(name: str) -> None:
    item, text = environment(name), files(name)["Dockerfile"]
    runs = [value[0] for command, value in commands(text) if command == "RUN"]
    locked, *_ = [
        place for place, run in enumerate(runs) if "--require-hashes" in run and "requirements.lock" in run
    ]
    for phase in item.phases[1:]:
        (place,) = [place for place, run in enumerate(runs) if "--no-build-isolation" in run]
        assert "--mount=type=cache" in text
        assert place > locked
        assert "--no-deps" in runs[place]
        for key, value in phase.env:
            said = f"${{{key}:-{value}}}" if key == "MAX_JOBS" else value
            assert f'{key}="{said}"' in runs[place]


@pytest.mark.parametrize("name", ASKED)
def test_what_compiling_needs_is_set_and_no_library_path(name: str) -> None:
    item, text = environment(name), "\n".join(files(name).values())
    assert "LD_LIBRARY_PATH" not in text
    assert "+PTX" not in text
    variables = {
        key: value
        for command, values in commands(files(name)["Dockerfile"])
        if command == "ENV"
        for key, value in zip(values[::2], values[1::2], strict=False)
    }
    assert variables["CUDA_HOME"].strip('"') == dict(item.env)["CUDA_HOME"]
    assert "NVCC_PREPEND_FLAGS" not in variables, "an image is chosen for its own compiler"
    assert re.search(r"apt-get install .*g\+\+", files(name)["Dockerfile"])


@pytest.mark.parametrize("name", ASKED)
def test_what_is_built_stands_in_a_file_of_its_own(name: str) -> None:
    item, found = environment(name), files(name)
    assert ("requirements.build.txt" in found) == bool(item.built)
    first = [line for line in found["requirements.txt"].splitlines() if line and not line.startswith("#")]
    assert {str(Requirement(line)) for line in first} == {str(Requirement(text)) for text in item.asked}
    if item.built:
        lines = [
            line for line in found["requirements.build.txt"].splitlines() if line and not line.startswith("#")
        ]
        assert [str(Requirement(line)) for line in lines] == [
            str(Requirement(package.requirement)) for package in item.built
        ]
        assert "--no-build-isolation" in found["requirements.build.txt"]


@pytest.mark.parametrize("name", ASKED)
def test_the_same_plan_has_the_same_bytes(name: str) -> None:
    assert render_files(plan(name), templates=TEMPLATES, spec_name="cudaenv.toml") == files(name)


def test_no_image_is_the_driver_of_a_container_too_old_for_it() -> None:
    """The image to run in has no toolkit where the driver would not let its container start."""
    item = ask(lab("V100", "535.104.05"), target="develop-kernels", cuda="12.8").environments[0]
    assert item.build_image.startswith("nvidia/cuda:12.8")
    assert not item.base_image.startswith("nvidia/cuda")
