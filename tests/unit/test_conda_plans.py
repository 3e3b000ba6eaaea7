"""Plans from conda: channels, selectors, build strings and virtual packages, as solvers read them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import yaml

from cudaenv.model.plan import Environment, Plan
from cudaenv.render.files import render_files
from tests.support.asking import DRIVERS, LINES, ask, asked, has_own_driver, lab, numbers, planned, rows, the
from tests.support.planning import ROOT, machine

TEMPLATES = {path.name: path.read_text("utf-8") for path in (ROOT / "templates").iterdir()}
ERAS = {row["era"]: row for row in rows("conda-eras")}

ASKED: dict[str, dict[str, Any]] = {
    "cuda-version": {"gpu": "RTX 4090", "driver": "580.95.05"},
    "cuda-version-v100": {"gpu": "V100", "driver": "580.95.05"},
    "cuda-version-p100": {"gpu": "P100", "driver": "580.95.05"},
    "pytorch-cuda": {"gpu": "A100", "driver": "550.54.15", "packages": ["torch==2.2.2"], "cuda": "12.1"},
    "pytorch-cuda-11.8": {"gpu": "A100", "driver": "535.104.05", "cuda": "11.8"},
    "pytorch-cudatoolkit": {"gpu": "A100", "driver": "535.104.05", "packages": ["torch==1.12.1"]},
    "develop": {"gpu": "RTX 4090", "driver": "580.95.05", "target": "develop-kernels"},
    "develop-11.8": {"gpu": "A100", "driver": "535.104.05", "cuda": "11.8", "target": "develop-kernels"},
    "mmcv": {"gpu": "RTX 5090", "driver": "580.95.05", "target": "mmcv-full"},
    "xformers": {"gpu": "A100", "driver": "580.95.05", "target": "xformers"},
    "family": {"gpu": "A100", "driver": "580.95.05", "packages": ["torchvision", "diffusers"]},
    "windows": {"gpu": "RTX 4090", "driver": "580.97", "platform": "win-64"},
    "arm": {"gpu": "GH200", "driver": "580.95.05", "platform": "linux-aarch64"},
}


@cache
def plan(name: str) -> Plan:
    parts = dict(ASKED[name])
    machine = lab(parts.pop("gpu"), parts.pop("driver"), parts.pop("platform", "linux-64"))
    return ask(machine, provider="conda", **parts)


def environment(name: str) -> Environment:
    (found,) = plan(name).environments
    return found


def specs(name: str) -> list[str]:
    part = environment(name).conda
    assert part is not None
    return list(part.specs)


@cache
def files(name: str) -> dict[str, Any]:
    texts = render_files(plan(name), templates=TEMPLATES, spec_name="cudaenv.toml")
    return {file: yaml.safe_load(text) for file, text in texts.items() if file.endswith(".yml")}


# Eras.


@pytest.mark.parametrize(
    ("name", "era", "selector", "channels"),
    [
        ("cuda-version", "cuda-version", r"cuda-version=13\.\d", ["conda-forge"]),
        ("pytorch-cuda", "pytorch-cuda", r"pytorch-cuda=12\.1", ["pytorch", "nvidia", "conda-forge"]),
        ("pytorch-cuda-11.8", "pytorch-cuda", r"pytorch-cuda=11\.8", ["pytorch", "nvidia", "conda-forge"]),
        ("pytorch-cudatoolkit", "pytorch-cudatoolkit", r"cudatoolkit=11\.6", ["pytorch", "conda-forge"]),
    ],
)
def test_each_era_has_its_selector_and_its_order_of_channels(
    name: str, era: str, selector: str, channels: list[str]
) -> None:
    part = environment(name).conda
    assert part is not None
    assert part.era == era
    assert [text for text in part.specs if re.fullmatch(selector, text)] != []
    assert list(part.channels) == channels == ERAS[era]["channels"].split()
    assert files(name)["environment.yml"]["channels"] == [*channels, "nodefaults"]


def test_upstreams_builds_are_kept_from_the_mkl_that_breaks_them() -> None:
    for name in ("pytorch-cuda", "pytorch-cuda-11.8", "pytorch-cudatoolkit"):
        assert "mkl<2024.1" in specs(name)
    assert not [text for text in specs("cuda-version") if text.startswith("mkl")]


@pytest.mark.parametrize("name", ASKED)
def test_one_selector_chooses_the_cuda_of_the_build(name: str) -> None:
    selecting = [text for text in specs(name) if re.match(r"(cuda-version|pytorch-cuda|cudatoolkit)\b", text)]
    assert len(selecting) == 1
    assert selecting[0].rpartition("=")[2] == str(environment(name).cuda)


@pytest.mark.parametrize("name", ASKED)
def test_the_build_of_torch_is_pinned_so_that_no_cpu_build_will_do(name: str) -> None:
    (torch,) = [text for text in specs(name) if text.startswith("pytorch=")]
    _, version, build = torch.split("=")
    assert version.count(".") == 2, "with a build string `=2.7` means exactly 2.7"
    pattern = re.compile(re.escape(build).replace(r"\*", ".*"))
    digits = str(environment(name).cuda).replace(".", "")
    assert not [
        text
        for text in ("cpu_generic_py312_h1", "cpu_mkl_py312_0", "py3.12_cpu_0")
        if pattern.fullmatch(text)
    ]
    assert digits in build.replace(".", "")


# What does not belong into one environment.


@pytest.mark.parametrize("name", ASKED)
def test_the_runtime_is_condas_alone(name: str) -> None:
    found = environment(name)
    texts = [*specs(name), *found.asked, *(item.requirement for item in found.wheels)]
    assert found.provider == "conda"
    assert not [text for text in texts if text.startswith(("nvidia-", "cuda-toolkit["))]
    assert not [item for item in found.wheels if item.cuda_major is not None]
    layers = dict(found.layers)
    assert layers["runtime"] is not None
    assert layers["runtime"].supplier.startswith("conda packages of")


def test_pip_goes_on_top_only_of_what_has_no_cuda() -> None:
    assert "pip" in specs("family")
    assert environment("family").rest == ("diffusers",)
    assert "pip" not in specs("cuda-version")


# The machines.


@pytest.mark.parametrize("driver", DRIVERS[2:])
@pytest.mark.parametrize("target", ["run-only", "develop-kernels"])
def test_the_virtual_cuda_is_the_drivers_own(driver: str, target: str) -> None:
    own = max((cuda for cuda in LINES if has_own_driver(cuda, driver)), key=numbers)
    for found in planned(asked(lab("8.0", driver, glibc="2.31"), provider="conda", target=target)):
        assert found.conda is not None
        virtual = dict(found.conda.virtual_packages)
        assert virtual["__cuda"] == own
        assert virtual["__glibc"] == "2.31"
        assert virtual["__linux"]
        assert numbers(virtual["__cuda"])[0] >= numbers(str(found.cuda))[0]


def test_the_weakest_of_several_machines_is_solved_for() -> None:
    found = the(
        machine("a", ["A100"], "580.95.05", platform="linux-64", glibc="2.39"),
        machine("b", ["A100"], "550.54.15", platform="linux-64", glibc="2.28"),
        provider="conda",
    )
    assert found.conda is not None
    virtual = dict(found.conda.virtual_packages)
    assert (virtual["__cuda"], virtual["__glibc"]) == ("12.4", "2.28")


def test_virtual_packages_of_other_platforms() -> None:
    windows, arm = environment("windows").conda, environment("arm").conda
    assert windows is not None
    assert arm is not None
    assert "__glibc" not in dict(windows.virtual_packages)
    assert dict(windows.virtual_packages)["__win"] == "0"
    assert dict(arm.virtual_packages)["__archspec"] == "1 aarch64"


def test_a_glibc_that_is_too_old_is_not_planned_for() -> None:
    for found in planned(asked(lab("A100", "580.95.05", glibc="2.17"), provider="conda")):
        assert found.glibc is None or found.glibc.minor <= 17
        assert dict(found.conda.virtual_packages)["__glibc"] == "2.17" if found.conda else False


# cuDNN.


@pytest.mark.parametrize("name", ["cuda-version-v100", "cuda-version-p100"])
def test_a_gpu_that_newer_cudnn_dropped_has_a_bound(name: str) -> None:
    assert "cudnn<9.11.0" in specs(name)
    assert str(environment(name).cuda).startswith("12.")


def test_other_gpus_have_no_bound_on_cudnn() -> None:
    for name in ("cuda-version", "mmcv", "xformers", "arm"):
        assert not [text for text in specs(name) if text.startswith("cudnn")]


# Compilers.


def test_conda_forge_brings_nvcc_with_its_headers_and_compiler() -> None:
    found = environment("develop")
    assert {"cuda-nvcc", "cuda-cudart-dev", "cuda-libraries-dev", "cxx-compiler", "ninja", "cmake"} <= set(
        specs("develop")
    )
    assert found.toolkit is not None
    assert (found.toolkit.provider, found.toolkit.cuda) == ("conda", found.cuda)
    assert dict(found.env)["CUDA_HOME"] == "$CONDA_PREFIX"
    assert "targets/x86_64-linux/include" in dict(found.env)["CPATH"]


def test_for_cuda_11_the_compiler_lies_under_one_label_with_a_gcc_that_it_accepts() -> None:
    texts = specs("develop-11.8")
    (label,) = [text for text in texts if "label" in text]
    assert re.fullmatch(r"nvidia/label/cuda-11\.8\.\d::cuda-toolkit", label)
    assert "gxx_linux-64=11.*" in texts
    assert "cuda-nvcc" not in texts


@pytest.mark.parametrize(
    ("asking", "culprit"),
    [
        ({"target": "xformers", "packages": ["xformers==0.0.16"]}, "`xformers==0.0.16`"),
        ({"packages": ["torch==2.15.0"]}, "`torch==2.15.0`"),
        ({"packages": ["spconv-cu120"]}, "`spconv-cu120`"),
        ({"cuda": "12.7"}, "cuda `12.7`"),
    ],
)
def test_what_no_channel_has_is_refused(asking: dict[str, Any], culprit: str) -> None:
    refusal = ask(lab("A100", "595.71.05"), provider="conda", **asking).refusal
    assert refusal is not None
    assert culprit in refusal.conflict


def test_leaving_conda_is_a_remedy_that_plans() -> None:
    machine, packages = lab("A100", "595.71.05"), ["torch==2.15.0"]
    refusal = ask(machine, provider="conda", packages=packages).refusal
    assert refusal is not None
    assert "leave provider `conda` out" in {remedy.change for remedy in refusal.remedies}
    assert the(machine, packages=packages).torch.version.public == "2.15.0"


# As conda reads it.


@pytest.mark.parametrize("name", ASKED)
def test_the_files_are_yaml_with_what_was_planned(name: str) -> None:
    found, part = files(name), environment(name).conda
    assert part is not None
    document = found["environment.yml"]
    assert document["dependencies"] == list(part.specs)
    assert document["platforms"] == [str(environment(name).platform)]
    virtual = found["virtual-packages.yml"]["subdirs"]
    assert virtual == {str(environment(name).platform): {"packages": dict(part.virtual_packages)}}
    assert all(
        isinstance(value, str) for value in virtual[str(environment(name).platform)]["packages"].values()
    )


READ = """
import json, os, sys
from rattler import MatchSpec
found = []
for text in json.load(sys.stdin):
    spec = MatchSpec(text, strict=False)
    found.append([spec.name.normalized if hasattr(spec.name, "normalized") else str(spec.name), str(spec)])
print(json.dumps(found), flush=True)
os._exit(0)  # the library crashes now and then where an interpreter shuts down
"""


def test_every_spec_is_a_match_spec() -> None:
    texts = sorted({text for name in ASKED for text in files(name)["environment.yml"]["dependencies"]})
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)
    names = {name for name, _ in found}
    assert len(found) == len(texts) > 20
    assert names >= {
        "python",
        "pytorch",
        "cuda-version",
        "pytorch-cuda",
        "cudatoolkit",
        "cuda-toolkit",
        "mkl",
    }
    bad = subprocess.run(
        [sys.executable, "-c", READ],
        input='["pytorch=[2"]',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert bad.returncode != 0
