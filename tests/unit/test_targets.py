"""Targets: what each plans and never plans."""

from __future__ import annotations

from itertools import product

import pytest
from packaging.specifiers import SpecifierSet

from cudaenv.model.plan import Environment, Plan
from tests.support.asking import (
    CAPABILITIES,
    DRIVERS,
    TOOLKITS,
    ask,
    asked,
    compiles_for,
    driver_runs,
    lab,
    package,
    planned,
    the,
)
from tests.support.planning import matrix

GPUS = ("3.7", "5.2", "6.1", "7.0", "7.5", "8.6", "9.0", "10.3", "12.0", "12.1")


# run-only


@pytest.mark.parametrize("provider", ["auto", "conda"])
def test_to_run_nobody_gets_a_toolkit_or_a_development_image(provider: str) -> None:
    made = 0
    for gpu, driver in product(CAPABILITIES[::2], DRIVERS[2::2]):
        for item in planned(asked(lab(gpu, driver), provider=provider)):
            made += 1
            assert item.toolkit is None
            # What installs conda's packages in an image is no place to compile in.
            assert item.build_image == "" or item.conda
            assert "nvidia/cuda" not in item.build_image
            assert "nvidia/cuda" not in item.base_image
            assert dict(item.layers)["toolkit"] is None
            assert item.env == ()
            assert not item.built
            assert not [text for text in item.asked if text.startswith("cuda-toolkit")]
            specs = item.conda.specs if item.conda else ()
            assert not [text for text in specs if "nvcc" in text or "cuda-toolkit" in text]
    assert made > 25


def test_to_run_a_system_toolkit_is_refused_with_the_reason() -> None:
    refusal = ask(lab("A100", "580.95.05"), provider="system").refusal
    assert refusal is not None
    assert refusal.conflict == ("provider `system`",)
    assert "brings its own CUDA runtime" in refusal.because[0].text
    assert [remedy.change for remedy in refusal.remedies] == ["leave provider `system` out"]


def test_without_a_gpu_on_request_only() -> None:
    environment = the(lab("A100", "580.95.05"), cuda="cpu")
    assert (environment.cuda, environment.variant, environment.toolkit) == (None, "cpu", None)
    assert the(lab("A100", "580.95.05")).cuda is not None


# xformers


def xformers_pools() -> list[tuple[str, str, Environment]]:
    return [
        (gpu, driver, item)
        for gpu in GPUS
        for driver in DRIVERS[5::3]
        for item in planned(asked(lab(gpu, driver), target="xformers"))
    ]


def test_xformers_is_of_the_cuda_major_of_its_torch_and_reaches_the_gpu() -> None:
    found = xformers_pools()
    assert len(found) > 8
    for gpu, driver, item in found:
        xformers, torch = package(item, "xformers"), package(item, "torch")
        assert item.cuda is not None
        if xformers.how == "wheel":
            candidates = [
                row
                for row in matrix().releases("xformers")
                if row.version.public == xformers.version.public
                and row.index == xformers.index
                and item.platform in row.platforms
            ]
            assert any(
                SpecifierSet(str(row.torch)).contains(torch.version.public)
                and item.cuda.major in row.cuda_majors
                for row in candidates
            ), (gpu, driver)
            assert xformers.cuda_major in {None, item.cuda.major}


def test_a_v100_goes_back_to_the_xformers_that_has_its_code() -> None:
    environment = the(lab("V100", "580.95.05"), target="xformers")
    newer = the(lab("A100", "580.95.05"), target="xformers")
    xformers = package(environment, "xformers")
    assert xformers.version < package(newer, "xformers").version
    assert package(environment, "torch").version < package(newer, "torch").version
    (row, *_) = [
        row
        for row in matrix().releases("xformers")
        if row.version == xformers.version
        and row.index == xformers.index
        and row.variant in {"", xformers.variant}
    ]
    assert "7.0" in {str(sm) for sm in row.sms}


def test_xformers_does_not_move_a_torch_that_is_pinned() -> None:
    environment = the(lab("A100", "580.95.05"), target="xformers", packages=["torch==2.8.0"])
    assert package(environment, "torch").version.public == "2.8.0"
    assert package(environment, "xformers").how == "wheel"


# Packages that compile without nvcc, and one that needs a whole toolkit.


def answer(plan: Plan, question: str) -> tuple[str, str]:
    decision = next(item for item in plan.decisions if item.question.startswith(question))
    return decision.answer, " ".join(reason.text for reason in decision.because)


@pytest.mark.parametrize("name", ["numba-cuda", "cupy-cuda12x", "cupy-cuda13x", "cupy"])
@pytest.mark.parametrize("driver", ["550.54.15", "595.71.05"])
def test_numba_and_cupy_alone_get_no_nvcc_and_hear_why(name: str, driver: str) -> None:
    plan = ask(lab("RTX 4090", driver), target="develop-kernels", packages=[name])
    if name == "cupy-cuda13x" and driver < "580":
        assert plan.refusal is not None
        return
    (environment,) = plan.environments
    assert environment.toolkit is None
    assert not environment.has_torch
    assert dict(environment.layers)["toolkit"] is None
    assert not [text for text in environment.asked if "nvcc" in text]
    chosen, why = answer(plan, "Which toolkit")
    assert chosen == "none"
    assert "needs no nvcc" in why
    assert environment.cuda is not None
    assert driver_runs(str(environment.cuda), driver)


def test_beside_torch_numba_does_not_take_the_toolkit_away() -> None:
    packages = ["torch", "numba-cuda"]
    environment = the(lab("RTX 4090", "580.95.05"), target="develop-kernels", packages=packages)
    assert environment.toolkit is not None


@pytest.mark.parametrize("driver", DRIVERS[3:])
def test_pycuda_never_gets_the_toolkit_of_wheels(driver: str) -> None:
    """It is linked to the stub of libcuda, which no wheel has."""
    environments = planned(asked(lab("8.6", driver), target="develop-kernels", packages=["pycuda"]))
    for environment in environments:
        assert environment.toolkit is not None
        assert environment.toolkit.provider != "pip"
        assert package(environment, "pycuda").how == "build"
        assert not [text for text in environment.asked if text.startswith("cuda-toolkit")]
    assert environments


@pytest.mark.parametrize("gpu", ["3.7", "6.1", "7.0", "8.9", "12.0"])
def test_where_nothing_but_nvcc_is_planned_it_knows_the_gpu(gpu: str) -> None:
    """Without torch no machine code speaks for the GPU, so the compiler alone decides."""
    made = 0
    for driver in DRIVERS[4:]:
        for item in planned(asked(lab(gpu, driver), target="develop-kernels", packages=["pycuda"])):
            made += 1
            assert item.toolkit is not None
            assert compiles_for(str(item.toolkit.cuda), gpu), driver
            assert driver_runs(str(item.toolkit.cuda), driver)
    assert made > 4


def test_pycuda_with_wheels_alone_is_refused() -> None:
    plan = ask(lab("8.6", "595.71.05"), target="develop-kernels", packages=["pycuda"], provider="pip")
    assert plan.refusal is not None
    assert "provider `pip`" in plan.refusal.conflict


def test_the_tables_of_this_test_are_whole() -> None:
    assert len(CAPABILITIES) > 20
    assert "13.0" in TOOLKITS
