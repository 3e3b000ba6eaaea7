"""Wheels whose metadata agree and whose code does not: the matrix keeps them apart by CUDA major."""

from __future__ import annotations

import pytest

from cudaenv.model.machine import Platform
from cudaenv.model.plan import Plan
from tests.support.asking import asked, planned
from tests.support.planning import machine, matrix, plan_for

NEW = machine(gpus=["RTX 4090"], driver="595.71.05", platform="linux-64")


def packages(plan: Plan) -> dict[str, str]:
    assert plan.refusal is None, plan.refusal
    (environment,) = plan.environments
    return {
        package.name: f"{package.version} {package.variant} {package.index}".strip()
        for package in environment.packages
    }


def test_metadata_alone_would_let_the_cuda_12_build_of_xformers_go_with_a_cuda_13_torch() -> None:
    newest = max(matrix().releases("xformers"), key=lambda row: row.version).version
    (row,) = [row for row in matrix().releases("xformers") if row.version == newest and not row.index]
    default = [build for build in matrix().tables.torch if not build.index and build.version in row.torch]
    assert str(newest) == "0.0.35"
    assert {build.cuda.major for build in default if build.cuda} == {12, 13}
    assert row.cuda_majors == {12}


@pytest.mark.parametrize("torch", ["2.11.0", "2.12.1", "2.13.0", "2.14.1", "2.15.0"])
def test_a_torch_for_cuda_13_gets_xformers_for_cuda_13(torch: str) -> None:
    found = packages(plan_for(NEW, packages=[f"torch=={torch}", "xformers"], cuda=">=13"))
    assert found["xformers"] == "0.0.35 cu130 pytorch"


def test_pypis_xformers_goes_with_a_torch_of_its_own_cuda() -> None:
    found = packages(plan_for(NEW, packages=["torch==2.10.0", "xformers"], cuda="12.8"))
    assert found == {"torch": "2.10.0+cu128 cu128 pytorch", "xformers": "0.0.35 cu128"}
    unsaid = packages(plan_for(NEW, packages=["torch==2.10.0", "xformers"]))
    assert unsaid == {"torch": "2.10.0 cu128", "xformers": "0.0.35 cu128"}


def test_no_plan_joins_xformers_of_one_cuda_major_with_torch_of_another() -> None:
    joined = 0
    for build in matrix().builds(Platform.LINUX_64):
        pins = [f"torch=={build.version}", "xformers"]
        newest = machine(driver="615.71.09", platform="linux-64")
        for environment in planned(asked(newest, packages=pins, cuda=str(build.cuda))) if build.cuda else ():
            joined += 1
            majors = {package.cuda_major for package in environment.packages if package.cuda_major}
            assert build.cuda is not None
            assert majors == {build.cuda.major}
    assert joined > 20


def test_a_gpu_that_xformers_has_no_code_for_gets_an_older_pair_that_has() -> None:
    found = packages(plan_for(machine(gpus=["V100"], driver="570.133.20"), packages=["xformers"]))
    assert found["xformers"].startswith("0.0.30")
    assert found["torch"].startswith("2.7.0")


def test_a_gpu_that_xformers_reaches_by_ptx_raises_the_driver_that_is_required() -> None:
    blackwell = machine(gpus=["RTX 5090"], driver="575.51.03", platform="linux-64")
    alone = plan_for(blackwell, packages=["torch==2.10.0"], cuda="12.8").environments[0]
    beside = plan_for(blackwell, packages=["torch==2.10.0", "xformers"], cuda="12.8").environments[0]
    assert alone.driver_required is not None
    assert beside.driver_required is not None
    assert str(alone.driver_required.linux) == "525.60.13"
    assert str(beside.driver_required.linux) == "570.26"


@pytest.mark.parametrize(
    ("package", "torch", "cuda", "expected"),
    [
        ("torchvision==0.29.*", "2.14.1", "12.6", "0.29.1+cu126 cu126 pytorch"),
        ("torchvision==0.29.*", "2.14.1", "13.0", "0.29.1+cu130 cu130 pytorch"),
        ("torchvision==0.29.*", "2.14.1", "", "0.29.1 cu130"),
        ("torchaudio==2.11.0", "2.14.1", "12.6", "2.11.0+cu126 cu126 pytorch"),
        ("torchaudio==2.11.0", "2.15.0", "13.2", "2.11.0 cu130"),
    ],
)
def test_siblings_that_pin_no_torch_still_have_its_cuda_major(
    package: str, torch: str, cuda: str, expected: str
) -> None:
    found = packages(plan_for(NEW, packages=[f"torch=={torch}", package], cuda=cuda or "any"))
    assert found[package.partition("==")[0]] == expected


def test_the_default_builds_of_those_siblings_are_for_cuda_13_as_their_wheels_say() -> None:
    linked = {
        (name, str(row.version)): row.cuda_majors
        for name in ("torchvision", "torchaudio")
        for row in matrix().releases(name)
    }
    assert linked["torchvision", "0.29.1"] == linked["torchvision", "0.29.2"] == {13}
    assert linked["torchaudio", "2.11.0"] == {13}
