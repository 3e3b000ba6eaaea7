"""Toolkits to develop kernels with: the CUDA of torch, every GPU's architecture, and who may supply them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from packaging.requirements import Requirement

from cudaenv.model.machine import Fact
from cudaenv.model.plan import Environment
from cudaenv.model.versions import PythonVersion
from tests.support.asking import (
    CAPABILITIES,
    DRIVERS,
    TOOLKITS,
    ask,
    asked,
    compiles_for,
    driver_runs,
    has_own_driver,
    lab,
    numbers,
    planned,
    rows,
    runs_machine_code,
    the,
)
from tests.support.planning import machine, matrix, plan_for

KERNELS = "develop-kernels"
BUILDS = [row for row in rows("packages/torch") if row["variant"] != "cpu" and row["platform"] == "linux-64"]
NEWER = tuple(driver for driver in DRIVERS if numbers(driver) >= (450,))


@cache
def pool() -> tuple[tuple[str, str, Environment], ...]:
    """Plans for every GPU, each with every third driver, another third for the next."""
    return tuple(
        (gpu, driver, item)
        for number, gpu in enumerate(CAPABILITIES)
        for driver in NEWER[number % 3 :: 3]
        for item in planned(asked(lab(gpu, driver), target=KERNELS))
    )


def cuda_of(row: dict[str, str]) -> str:
    digits = row["variant"].removeprefix("cu")
    return f"{digits[:-1]}.{digits[-1]}"


def test_the_pool_has_every_provider_and_many_lines() -> None:
    toolkits = [item.toolkit for _, _, item in pool() if item.toolkit]
    assert {toolkit.provider for toolkit in toolkits} >= {"pip", "system"}
    assert len({toolkit.cuda for toolkit in toolkits}) > 4
    assert len(toolkits) > 40


def test_the_toolkit_is_of_the_cuda_of_torch() -> None:
    for gpu, driver, item in pool():
        assert item.toolkit is not None, (gpu, driver)
        assert item.toolkit.cuda == item.cuda


def test_nvcc_knows_an_architecture_for_each_gpu() -> None:
    for gpu, driver, item in pool():
        assert item.toolkit is not None
        assert compiles_for(str(item.toolkit.cuda), gpu), (gpu, driver)
        assert runs_machine_code([str(sm) for sm in item.toolkit.sms], gpu), (gpu, driver)


def test_the_architectures_are_those_of_the_machines_and_never_ptx() -> None:
    for gpu, _, item in pool():
        assert item.toolkit is not None
        values = dict(item.env)
        assert values["TORCH_CUDA_ARCH_LIST"].split(";") == [str(sm) for sm in item.toolkit.sms]
        assert len(item.toolkit.sms) == 1
        assert "+PTX" not in values["TORCH_CUDA_ARCH_LIST"]
        assert values["CUDAARCHS"] == values["TORCH_CUDA_ARCH_LIST"].replace(".", "")
        if gpu in TOOLKITS[str(item.toolkit.cuda)]["sms"].split():
            assert values["TORCH_CUDA_ARCH_LIST"] == gpu


def test_several_gpus_are_all_compiled_for() -> None:
    machines = (
        lab("V100", "570.86.10"),
        machine("b", ["A100", "RTX 5090"], "580.95.05", platform="linux-64"),
    )
    environment = the(*machines, target=KERNELS)
    assert dict(environment.env)["TORCH_CUDA_ARCH_LIST"] == "7.0;8.0;12.0"
    assert str(environment.cuda) == "12.8"


def test_library_paths_are_nobodys_business() -> None:
    for _, _, item in pool():
        names = {name for name, _ in item.env} | {name for phase in item.phases for name, _ in phase.env}
        assert not [name for name in names if name.endswith("LIBRARY_PATH")]


def loads_its_ptx(gpu: str, driver: str) -> list[str]:
    """The lines of torch's builds, for Pythons that live, that a driver has and whose nvcc knows the GPU."""
    cudnn = rows("cudnn")

    def served(row: dict[str, str], cuda: str) -> bool:
        if not row.get("cudnn"):
            return True
        since = [
            item
            for item in cudnn
            if item["cuda"] == cuda.split(".", maxsplit=1)[0]
            and numbers(item["first"]) <= numbers(row["cudnn"])
        ]
        newest = max(since, key=lambda item: numbers(item["first"]), default=None)
        return newest is None or numbers(gpu) >= numbers(newest["oldest"])

    return [
        cuda
        for row in BUILDS
        for cuda in [cuda_of(row)]
        if any(matrix().is_supported(PythonVersion.parse(python)) for python in row["pythons"].split())
        and has_own_driver(cuda, driver)
        and runs_machine_code(row["sms"].split(), gpu)
        and cuda in TOOLKITS
        and compiles_for(cuda, gpu)
        and served(row, cuda)
    ]


def test_the_driver_loads_what_nvcc_makes_wherever_some_build_allows_it() -> None:
    found = {True: 0, False: 0}
    for gpu, driver, item in pool():
        allowed = loads_its_ptx(gpu, driver)
        found[bool(allowed)] += 1
        assert driver_runs(str(item.cuda), driver)
        assert has_own_driver(str(item.cuda), driver) or not allowed, (gpu, driver, item.title, set(allowed))
    assert found[True] > 40
    assert found[False] > 0


def test_what_the_driver_loads_comes_before_the_newest_torch() -> None:
    develop, run = (the(lab("A100", "550.54.15"), target=target) for target in (KERNELS, "run-only"))
    assert numbers(str(develop.cuda)) <= (12, 4)
    assert develop.torch.version < run.torch.version


def test_wheels_have_a_toolkit_from_cuda_13_on() -> None:
    for gpu, driver, item in pool():
        assert item.toolkit is not None
        if item.toolkit.provider == "pip":
            assert item.toolkit.cuda.major >= 13, (gpu, driver)
        elif item.conda is None:
            assert item.toolkit.requirements == ("ninja", "cmake")
            assert item.toolkit.cuda.major < 13, "wheels come first where they will do"


def test_below_cuda_13_wheels_alone_are_refused() -> None:
    refusal = ask(lab("V100", "580.95.05"), target=KERNELS, provider="pip").refusal
    assert refusal is not None
    assert "provider `pip`" in refusal.conflict
    assert any(
        "from CUDA 13 on only" in reason.text or "machine code" in reason.text for reason in refusal.because
    )


@pytest.mark.parametrize("cuda", ["13.0", "13.2"])
def test_all_parts_of_the_compiler_are_asked_for_together(cuda: str) -> None:
    environment = the(lab("RTX 5090", "615.71.09"), target=KERNELS, cuda=cuda, provider="pip")
    assert environment.toolkit is not None
    (text,) = [text for text in environment.toolkit.requirements if text.startswith("cuda-toolkit")]
    requirement = Requirement(text)
    releases = [row for row in rows("toolkit-releases") if row["cuda"] == cuda]
    newest = max(releases, key=lambda row: numbers(row["version"]))
    left_open = {extra for row in releases for extra in row.get("skew", "").split()}
    assert left_open
    assert {"nvcc", *left_open} <= requirement.extras
    assert requirement.extras <= {word.partition("=")[0] for word in newest["components"].split()}
    assert requirement.specifier.contains(newest["version"])
    assert not requirement.specifier.contains("14.0.0")
    assert text in environment.asked


def test_a_toolkit_of_wheels_lies_in_the_environment() -> None:
    environment = the(lab("RTX 5090", "595.71.05"), target=KERNELS, provider="pip")
    (wheel,) = [row for row in rows("nvidia-wheels") if row["wheel"] == "nvidia-cuda-nvcc"]
    home = dict(environment.env)["CUDA_HOME"]
    assert home == f"$VIRTUAL_ENV/lib/python{environment.python}/site-packages/{wheel['prefix']}"


# The system's toolkit.


def test_the_system_toolkit_has_a_host_compiler_that_its_nvcc_accepts() -> None:
    systems = {row["os"]: row for row in rows("systems")}
    seen = 0
    for _, _, item in pool():
        toolkit = item.toolkit
        assert toolkit is not None
        newest = TOOLKITS[str(toolkit.cuda)].get("gcc")
        if toolkit.provider != "system" or newest is None:
            continue
        assert toolkit.host_compiler is not None
        assert toolkit.host_compiler.newest == newest
        assert int(toolkit.host_compiler.planned) <= int(newest)
        assert dict(item.env)["NVCC_PREPEND_FLAGS"] == f"-ccbin=g++-{toolkit.host_compiler.planned}"
        if item.build_image:
            seen += 1
            name, flavour, system = item.build_image.rsplit("-", 2)
            assert (flavour, name.partition(":")[0]) == ("devel", "nvidia/cuda")
            assert numbers(name.partition(":")[2])[:2] == numbers(str(toolkit.cuda))
            assert int(systems[system]["gcc"]) <= int(newest)
    assert seen > 10


def test_the_compiler_of_a_machine_is_used_where_nvcc_accepts_it_and_else_named() -> None:
    v100 = lab("V100", "570.86.10")
    fitting = the(replace(v100, gcc=Fact(12, "test")), target=KERNELS).toolkit
    assert fitting is not None
    assert fitting.host_compiler is not None
    assert fitting.host_compiler.planned == "12"
    plan = ask(replace(v100, gcc=Fact(15, "test")), target=KERNELS)
    assert "gcc-too-new" in {warning.name for warning in plan.warnings}
    (environment,) = plan.environments
    assert environment.toolkit is not None
    assert environment.toolkit.host_compiler is not None
    assert int(environment.toolkit.host_compiler.planned) < 15


def test_no_step_to_the_toolkit_touches_the_driver() -> None:
    for _, _, item in pool():
        for step in item.toolkit.steps if item.toolkit else ():
            assert not [word for word in ("cuda-drivers", "nvidia-driver", " cuda ") if word in step]


def test_a_container_runs_the_devel_image_only_where_the_driver_has_its_cuda() -> None:
    """The image's own check refuses to start otherwise."""
    for gpu, driver, item in pool():
        assert item.toolkit is not None
        if item.base_image.startswith("nvidia/cuda"):
            assert item.base_image == item.build_image
            assert has_own_driver(str(item.toolkit.cuda), driver), (gpu, driver)


def test_windows_takes_wheels_or_the_installer() -> None:
    newer = the(lab("RTX 4090", "580.97", "win-64"), target=KERNELS)
    older = the(lab("RTX 4090", "560.76", "win-64"), target=KERNELS)
    for item in (newer, older):
        assert item.toolkit is not None
        assert item.toolkit.host_compiler is not None
        assert item.toolkit.host_compiler.kind == "msvc"
        assert item.build_image == ""
    assert newer.toolkit is not None
    assert newer.toolkit.provider == "pip"
    assert older.toolkit is not None
    assert older.toolkit.provider == "system"
    assert "without its driver" in older.toolkit.steps[0]


@pytest.mark.parametrize(
    ("provider", "home"),
    [
        ("pip", "$VIRTUAL_ENV/Lib/site-packages/nvidia/cu13"),
        ("conda", "$CONDA_PREFIX/Library"),
    ],
)
def test_on_windows_a_toolkit_lies_where_windows_has_it(provider: str, home: str) -> None:
    desk = machine("desk", ["RTX 4090"], "596.21", platform="win-64")
    (found,) = plan_for(
        desk, platforms=["win-64"], target="develop-kernels", provider=provider, cuda=">=13"
    ).environments
    assert found.toolkit is not None
    assert found.toolkit.home.startswith(home)
    assert dict(found.env)["CUDA_HOME"] == found.toolkit.home
