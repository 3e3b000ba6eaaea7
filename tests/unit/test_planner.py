"""What the planner decides in situations that people meet, one by one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from packaging.version import Version

from cudaenv.errors import SpecError
from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import Environment, Level, Plan, Refusal
from cudaenv.model.plan_json import plan_json
from cudaenv.model.spec import Provider, Spec
from cudaenv.model.spec_reader import Known, read_spec
from cudaenv.model.versions import ComputeCapability
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.compatibility import Code, DriverFacts, Reach, reach, sass_for
from cudaenv.planner.machine_rules import BESIDE_RULES, MACHINE_RULES, STACK_RULES
from cudaenv.planner.plan import make_plan
from cudaenv.planner.problem import Problem
from cudaenv.planner.rules import machine_rejections
from cudaenv.planner.stacks import of_wheel
from tests.support.planning import machine, matrix, plan_for
from tests.support.schema import validated

PYTORCH = "https://download.pytorch.org/whl/"


def environments(*machines: Machine, **asked: Any) -> tuple[Environment, ...]:
    """The environments of a plan there must be."""
    plan = validated(plan_for(*machines, **asked))
    assert plan.refusal is None, plan.refusal
    return plan.environments


def environment(*machines: Machine, **asked: Any) -> Environment:
    """The only environment of a plan."""
    (only,) = environments(*machines, **asked)
    return only


def torch(*machines: Machine, **asked: Any) -> str:
    """The release and variant of torch in the only environment of a plan."""
    return label(environment(*machines, **asked))


def label(environment: Environment) -> str:
    return f"{environment.torch.version.public}+{environment.variant}"


def refusal(*machines: Machine, **asked: Any) -> Refusal:
    """The refusal of a plan there must not be."""
    plan = validated(plan_for(*machines, **asked))
    assert plan.refusal is not None, [label(item) for item in plan.environments]
    return plan.refusal


def words(plan_or_refusal: Plan | Refusal) -> str:
    """All that a user reads of a plan or a refusal."""
    plan = plan_or_refusal if isinstance(plan_or_refusal, Plan) else Plan(refusal=plan_or_refusal)
    return json.dumps(plan_json(plan), ensure_ascii=False)


def changes(refused: Refusal) -> list[str]:
    return [remedy.change for remedy in refused.remedies]


def packages(environment: Environment) -> dict[str, str]:
    return {package.name: str(package.version) for package in environment.packages}


# The cases that the planner was built for.


def test_a_v100_steps_back_to_the_last_torch_that_has_volta_code() -> None:
    volta = environment(machine(gpus=["Tesla V100-SXM2-32GB"], driver="580.95.05"))
    assert label(volta) == "2.14.1+cu126"
    assert volta.torch.index_url == PYTORCH + "cu126"
    assert torch(machine(gpus=["V100"], driver="580")) == "2.14.1+cu126"


def test_an_rtx_5090_with_a_570_driver_has_one_window() -> None:
    assert torch(machine(gpus=["RTX 5090"], driver="570.86")) == "2.11.0+cu128"
    older = environment(machine(gpus=["RTX 5090"], driver="570.86.10"), packages=["torch<2.9"])
    assert older.variant in {"cu128", "cu129"}


def test_an_h100_with_a_535_driver_gets_a_new_torch_by_minor_version_compatibility() -> None:
    plan = validated(plan_for(machine(gpus=["H100"], driver="535.104.05")))
    (hopper,) = plan.environments
    assert label(hopper) == "2.14.1+cu126"
    assert hopper.driver_required is not None
    assert hopper.driver_required.level is Level.MINOR
    assert str(hopper.driver_required.linux) == "525.60.13"
    assert [warning.name for warning in plan.warnings] == [
        "minor-version-compatibility",
        "driver-branch-ended",
    ]
    assert "driver branch 535, that of `lab`, in 2026-06" in plan.warnings[1].text


def test_a_driver_branch_in_support_is_not_called_ended() -> None:
    assert plan_for(machine(gpus=["H100"], driver="595.71.05")).warnings == ()
    minor = plan_for(machine(gpus=["H100"], driver="580.95.05"))
    assert [warning.name for warning in minor.warnings] == ["minor-version-compatibility"]


def test_pascal_and_blackwell_machines_need_two_environments() -> None:
    pascal, blackwell = environments(
        machine("old", ["GTX 1080 Ti"], "580.95.05"), machine("new", ["RTX 5090"], "595.71.05")
    )
    assert (label(pascal), pascal.machines, pascal.name) == ("2.14.1+cu126", ("old",), "cu126")
    assert (label(blackwell), blackwell.machines, blackwell.name) == ("2.15.0+cu132", ("new",), "cu132")
    assert pascal.python == blackwell.python


def test_a_machine_that_two_environments_would_serve_is_in_the_better_one() -> None:
    fleet = [machine(gpu, [gpu], "595.71.05") for gpu in ("A100", "P100", "B200", "L4")]
    old, new = environments(*fleet)
    assert (old.machines, new.machines) == (("P100",), ("A100", "B200", "L4"))


def test_a_plan_of_two_environments_says_why_one_is_not_enough() -> None:
    plan = plan_for(machine("old", ["GTX 1080 Ti"]), machine("new", ["RTX 5090"]))
    (several,) = [item for item in plan.decisions if item.question == "How many environments?"]
    assert several.answer == "2"
    assert {reason.rule for reason in several.because} == {"machine-code"}
    assert "GTX 1080 Ti" in words(Plan(decisions=(several,)))


def test_pascal_and_blackwell_in_one_machine_get_an_environment_each() -> None:
    plan = validated(plan_for(machine(gpus=["GTX 1080 Ti", "RTX 5090"])))
    assert [(label(item), item.machines) for item in plan.environments] == [
        ("2.14.1+cu126", ("lab (GTX 1080 Ti)",)),
        ("2.15.0+cu132", ("lab (RTX 5090)",)),
    ]
    ending, several = plan.warnings
    assert ending.name == "gpu-near-its-end"
    assert "CUDA 12.9 is the last that compiles for GTX 1080 Ti (6.1) in `lab`" in ending.text
    assert several.name == "several-environments-on-one-machine"
    assert "CUDA_VISIBLE_DEVICES" in several.text


def test_pascal_and_blackwell_in_one_machine_are_refused_a_torch_that_serves_one_of_them() -> None:
    refused = refusal(machine(gpus=["GTX 1080 Ti", "RTX 5090"]), packages=["torch==2.15.0"])
    assert refused.conflict == ("`torch==2.15.0`", "GTX 1080 Ti (6.1) in `lab`")
    assert changes(refused) == [
        "torch 2.14.1 instead of `torch==2.15.0`",
        "leave GTX 1080 Ti (6.1) in `lab` out of this environment",
    ]


def test_equal_gpus_under_two_names_are_one_kind() -> None:
    twins = environment(machine(gpus=["RTX 4090", "L40S", "8.9"]))
    assert twins.machines == ("lab",)


def test_volta_and_blackwell_in_one_machine_share_a_torch_between_2_8_and_2_10() -> None:
    assert torch(machine(gpus=["V100", "RTX 5090"], driver="570.86.10")) == "2.10.0+cu128"
    two_machines = (machine("a", ["V100"], "535.54.03"), machine("b", ["RTX 5090"], "570.86.10"))
    assert torch(*two_machines) == "2.10.0+cu128"


@pytest.mark.parametrize("driver", ["470", "R470", "470.82.01", "470.256.02"])
def test_a_470_driver_runs_cuda_11(driver: str) -> None:
    assert torch(machine(driver=driver)) == "2.7.1+cu118"


def test_a_340_driver_is_refused_with_the_drivers_that_would_do() -> None:
    refused = refusal(machine(driver="340.108"))
    assert refused.conflict == ("driver 340.108 on `lab`",)
    assert changes(refused) == ["driver 396.26 or newer on `lab`", "driver 580.65.06 or newer on `lab`"]
    assert [remedy.plan for remedy in refused.remedies] == [
        "torch 1.7.1+cu92, Python 3.9",
        "torch 2.15.0+cu132, Python 3.15",
    ]


def test_a_565_driver_runs_torch_2_12_as_the_cu126_build() -> None:
    assert torch(machine(driver="565.57.01"), packages=["torch==2.12.*"]) == "2.12.1+cu126"


def test_glibc_2_17_ends_at_torch_2_6() -> None:
    old = environment(machine(glibc="2.17"))
    assert label(old) == "2.6.0+cu124"
    assert str(old.glibc_target) == "2.17"


def test_python_3_14_with_torch_2_5_is_refused_in_words() -> None:
    refused = refusal(packages=["torch==2.5.*"], python="3.14")
    assert refused.text == "no environment satisfies `torch==2.5.*` and python `3.14`"
    assert "has wheels for Python 3.9 3.10 3.11 3.12 3.13 on linux-64, not for `3.14`" in words(refused)
    assert changes(refused) == ["torch 2.9.0 instead of `torch==2.5.*`", "Python 3.13"]


def test_cuda_for_windows_comes_from_the_pytorch_index() -> None:
    windows = environment(machine(gpus=["RTX 4090"], driver="596.10", platform="win-64"))
    assert label(windows) == "2.14.1+cu130"
    assert windows.torch.index_url == PYTORCH + "cu130"
    assert windows.torch.requirement == "torch==2.14.1+cu130"
    assert windows.glibc is None


def test_a_gh200_gets_a_server_arm_build_with_cuda() -> None:
    grace = environment(machine(gpus=["GH200"], driver="580.95.05", platform="linux-aarch64"))
    assert (label(grace), grace.torch.index) == ("2.15.0+cu132", "")
    pinned = environment(
        machine(gpus=["GH200"], driver="580.95.05", platform="linux-aarch64", glibc="2.39"),
        packages=["torch>=2.12"],
        python="3.12",
    )
    assert pinned.cuda is not None


def test_an_unknown_gpu_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown GPU `RTX 4099`; nearest: `GeForce RTX 4090`"):
        matrix().find_gpu("RTX 4099")


def test_an_unknown_gpu_in_a_spec_is_an_error_with_its_key() -> None:
    known = Known(targets=("run-only",), indexes=("pytorch",), find_gpu=matrix().find_gpu)
    with pytest.raises(
        SpecError, match=r"machine\[0\]\.gpu: unknown GPU `RTX 5099`; nearest: `GeForce RTX 5090`"
    ):
        read_spec({"machine": [{"gpu": "RTX 5099"}]}, "cudaenv.toml", known)


def test_a_machine_of_which_nothing_is_known_is_planned_and_the_assumptions_stated() -> None:
    plan = validated(plan_for())
    (only,) = plan.environments
    assert (label(only), only.machines) == ("2.15.0+cu132", ("any machine",))
    assert plan.assumptions == (
        "the platform of the machine is not known: taken to be linux-64",
        "the driver of the machine is not known: taken to be 580.65.06 or newer, for CUDA 13.2",
        "the GPU of the machine is not known: taken to be of compute capability 7.5 8.0 8.6 9.0 10.0 12.0",
        "the glibc of the machine is not known: taken to be 2.28 or newer",
    )


def test_a_machine_of_which_everything_is_known_needs_no_assumptions() -> None:
    plan = plan_for(machine(gpus=["RTX 4090"], driver="595.71.05", glibc="2.35", platform="linux-64"))
    assert plan.assumptions == ()
    assert label(plan.environments[0]) == "2.15.0+cu132"
    assert plan.environments[0].torch.index == ""


# Drivers and how people state them.


@pytest.mark.parametrize("text", ["11.4", "11040", "found version 11040", "(found version 11040)"])
def test_the_number_of_torchs_error_message_is_a_driver_api_version(text: str) -> None:
    assert torch(machine(gpus=["RTX 3050 Laptop GPU"], driver_api=text)) == "2.7.1+cu118"


def test_a_driver_api_version_of_11_6_is_enough_for_cuda_11_8() -> None:
    assert torch(machine(driver_api="found version 11060"), packages=["torch>=2.0"]) == "2.7.1+cu118"


def test_a_driver_api_version_between_two_lines_counts_as_the_lower_one() -> None:
    assert torch(machine(driver_api="12.7"), packages=["torch==2.12.*"]) == "2.12.1+cu126"


def test_a_laptop_with_a_470_driver_reads_why_cuda_12_is_out() -> None:
    plan = plan_for(
        machine(gpus=["RTX 3050 Laptop GPU"], driver="470.86", glibc="2.33"), packages=["torch>=2.0"]
    )
    assert label(plan.environments[0]) == "2.7.1+cu118"
    assert "driver 470.86 on `lab` is older than 525.60.13, which CUDA 12.6 needs" in words(plan)


def test_minor_version_compatibility_begins_with_cuda_11() -> None:
    refused = refusal(machine(driver="418.67"), packages=["torch==1.10.*"], cuda="10.2")
    assert "driver 418.67 on `lab` is older than 440.33, which CUDA 10.2 needs" in words(refused)
    assert torch(machine(driver="440.33.01"), packages=["torch==1.10.*"]) == "1.10.2+cu102"
    assert torch(machine(driver="450.80.02"), packages=["torch==1.10.*"], cuda="11.3") == "1.10.2+cu113"


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ("450.80.02", "2.7.1+cu118"),
        ("450.66", "1.12.1+cu102"),
        ("525.60.13", "2.14.1+cu126"),
        ("525.60.11", "2.7.1+cu118"),
        ("579.99", "2.14.1+cu126"),
        ("580.65.06", "2.15.0+cu132"),
        ("580.65.05", "2.14.1+cu126"),
    ],
)
def test_the_floor_of_each_major_is_met_exactly(driver: str, expected: str) -> None:
    assert torch(machine(driver=driver)) == expected


@pytest.mark.parametrize(("branch", "expected"), [("525", "cu126"), ("R580", "cu132"), ("450", "cu118")])
def test_a_branch_alone_may_be_any_release_of_it_and_the_plan_says_so(branch: str, expected: str) -> None:
    plan = plan_for(machine(driver=branch))
    assert plan.environments[0].variant == expected
    assert any("names a branch: taken to be" in text for text in plan.assumptions)


def test_a_windows_driver_is_held_against_windows_floors() -> None:
    def on_windows(driver: str) -> str:
        return torch(machine(gpus=["RTX 3090"], driver=driver, platform="win-64"))

    assert on_windows("526.00") == "2.7.1+cu118"
    assert on_windows("528.33") == "2.14.1+cu126"
    assert on_windows("580.88") == "2.14.1+cu130"


def test_under_wsl_the_windows_driver_serves_linux_wheels() -> None:
    wsl = environment(machine(gpus=["RTX 3090"], driver="551.78", platform="linux-64", wsl=True))
    assert (label(wsl), wsl.platform) == ("2.14.1+cu126", "linux-64")
    assert wsl.base_image == "python:3.14-slim-trixie"
    old = machine(gpus=["RTX 3090"], driver="526.00", platform="linux-64", wsl=True)
    assert torch(old) == "2.7.1+cu118"


def test_a_driver_on_a_platform_of_the_spec_is_one_of_that_platform() -> None:
    unsaid = machine(gpus=["RTX 3090"], driver="526.00")
    assert torch(unsaid, platforms=["win-64"]) == "2.7.1+cu118"
    both = environments(unsaid, platforms=["linux-64", "win-64"])
    assert [(str(item.platform), label(item)) for item in both] == [
        ("linux-64", "2.14.1+cu126"),
        ("win-64", "2.7.1+cu118"),
    ]


def test_a_consumer_card_with_a_535_driver_stays_with_cuda_12() -> None:
    old = environment(machine(gpus=["8.6"], driver="535.183.01"), packages=["torch>=2.6"])
    assert old.cuda is not None
    assert old.cuda.major == 12
    assert "nvidia/cuda" not in old.base_image


def test_two_drivers_in_a_cluster_are_planned_for_the_older() -> None:
    plan = plan_for(
        machine("a", ["A100"], "515.65.01"), machine("b", ["V100"], "470.141.03"), packages=["torch>=2.0"]
    )
    assert [label(item) for item in plan.environments] == ["2.7.1+cu118"]
    assert "driver 470.141.03 on `b` runs CUDA 11.8 by minor-version compatibility" in words(plan)


def test_torch_2_9_on_a_570_driver_is_not_the_cuda_13_build() -> None:
    found = torch(machine(gpus=["L4"], driver="570.133.07"), packages=["torch==2.9.0"])
    assert found == "2.9.0+cu128"


def test_torch_2_15_on_a_570_driver_is_refused_and_the_driver_named() -> None:
    refused = refusal(
        machine(gpus=["L40S"], driver="570.133.07", glibc="2.35"), packages=["torch==2.15.0"], python="3.11"
    )
    assert refused.conflict == ("`torch==2.15.0`", "driver 570.133.07 on `lab`")
    assert changes(refused) == [
        "torch 2.14.1 instead of `torch==2.15.0`",
        "driver 580.65.06 or newer on `lab`",
    ]


def test_a_driver_newer_than_the_matrix_is_planned_and_called_unverified() -> None:
    for stated in (
        machine(driver="700.10"),
        machine(driver_api="14.1"),
        machine(driver="700.10", platform="win-64"),
    ):
        plan = validated(plan_for(stated))
        assert plan.refusal is None
        assert [warning.name for warning in plan.warnings] == ["unverified"]


# GPUs and machine code.


def test_code_for_sm_86_serves_an_rtx_4090() -> None:
    found = environment(machine(gpus=["RTX 4090"], driver="535.183.01"), packages=["torch==1.13.1"])
    assert label(found) == "1.13.1+cu117"


def test_code_for_sm_120_serves_a_gb10() -> None:
    spark = environment(
        machine(gpus=["NVIDIA GB10"], driver="580.95.05", platform="linux-aarch64", glibc="2.39")
    )
    assert spark.cuda is not None
    assert spark.cuda.major == 13


def test_code_for_sm_100_serves_a_b300() -> None:
    assert torch(machine(gpus=["B300"], driver="575.57.08")) == "2.11.0+cu128"


def test_code_for_newer_gpus_does_not_run_on_older_ones() -> None:
    assert "none for GTX 980 (5.2)" in words(refusal(machine(gpus=["GTX 980"]), cuda="12.8"))
    arm = refusal(machine(gpus=["T4"], platform="linux-aarch64"), provider="pip")
    assert arm.conflict == ("provider `pip`", "T4 (7.5) in `lab`")
    assert changes(arm) == ["leave provider `pip` out"]


@pytest.mark.parametrize(
    ("code", "gpu", "used"),
    [
        ("8.0 8.6", "8.9", "8.6"),
        ("8.9", "8.6", None),
        ("8.0", "9.0", None),
        ("8.0 8.7", "8.9", "8.0"),
        ("8.0 8.6", "8.7", None),
        ("8.0 8.7", "8.7", "8.7"),
        ("5.0", "5.3", None),
        ("12.0", "12.1", "12.0"),
        ("10.0", "10.7", "10.0"),
        ("12.0", "13.0", None),
    ],
)
def test_machine_code_runs_on_its_major_upwards_and_on_jetsons_exactly(
    code: str, gpu: str, used: str | None
) -> None:
    build = replace(
        matrix().builds(Platform.LINUX_64)[1], sms=tuple(map(ComputeCapability.parse, code.split()))
    )
    found = sass_for(Code.of(build), ComputeCapability.parse(gpu), matrix())
    assert (found and str(found)) == used


def test_a_blackwell_workstation_card_with_a_575_driver_takes_cuda_12() -> None:
    found = environment(machine(gpus=["RTX PRO 4500 Blackwell"], driver="575.64.03"))
    assert found.variant in {"cu128", "cu129"}
    assert label(found).startswith("2.11")


def test_an_rtx_5090_with_torch_2_5_is_refused_and_2_7_named() -> None:
    refused = refusal(machine(gpus=["RTX 5090"], driver="590.48.01"), packages=["torch==2.5.1"])
    assert refused.conflict == ("`torch==2.5.1`", "RTX 5090 (12.0) in `lab`")
    assert changes(refused) == ["torch 2.7.0 instead of `torch==2.5.1`"]


def test_an_h100_with_torch_2_0_takes_cu118() -> None:
    found = torch(machine(gpus=["H100"], driver="525.105.17"), packages=["torch>=2.0,<2.1"], python="3.8")
    assert found == "2.0.1+cu118"


def test_an_h100_with_torch_1_13_is_refused_and_2_0_named() -> None:
    refused = refusal(
        machine(gpus=["H100 80GB HBM3"], driver="535.104.05"), packages=["torch==1.13.1"], python="3.8"
    )
    assert "(9.0)" in refused.text
    assert changes(refused) == ["torch 2.0.0 instead of `torch==1.13.1`"]


def test_a_pascal_card_gets_the_cu126_build_of_the_release_it_is_pinned_to() -> None:
    found = environment(
        machine(gpus=["GTX 1080 Ti"], driver="550.163.01", glibc="2.41"), packages=["torch>=2.8.0,<2.9.0"]
    )
    assert found.torch.requirement == "torch==2.8.0+cu126"


def test_a_p100_with_torch_2_15_is_refused_and_2_14_named() -> None:
    refused = refusal(machine(gpus=["Tesla P100"], driver="580.95.05"), packages=["torch>=2.15"])
    assert refused.conflict == ("`torch>=2.15`", "Tesla P100 (6.0) in `lab`")
    assert changes(refused) == ["torch 2.14.1 instead of `torch>=2.15`"]


def test_a_k80_ends_before_torch_2_4() -> None:
    plan = plan_for(machine(gpus=["Tesla K80"], driver="470.223.02"), python="3.12")
    assert label(plan.environments[0]) == "2.3.1+cu118"
    assert "(3.7) runs its machine code for sm_37" in words(plan)


def test_a_k40_has_no_build_and_no_remedy_is_invented() -> None:
    old = machine(gpus=["Tesla K40"], driver="470.223.02", platform="win-64")
    refused = refusal(old, packages=["torch>=1.5"])
    assert refused.conflict == ("Tesla K40 (3.5) in `lab`",)
    assert refused.remedies == ()


def test_an_orin_is_refused_and_the_jetson_index_named() -> None:
    refused = refusal(machine(gpus=["Jetson AGX Orin"], platform="linux-aarch64", glibc="2.35"))
    assert "see NVIDIA's Jetson index" in words(refused)


def test_a_thor_runs_server_builds_that_have_its_code() -> None:
    assert torch(machine(gpus=["Jetson AGX Thor"], platform="linux-aarch64")) == "2.15.0+cu132"


def test_code_for_a_jetson_runs_on_no_other_gpu() -> None:
    assert refusal(machine(gpus=["11.1"], platform="linux-aarch64"), packages=["torch==2.10.0"])


@pytest.mark.parametrize(
    ("gpu", "driver", "expected"),
    [
        ("12.0", "", Reach.PTX),
        ("12.0", "570.26", Reach.PTX),
        ("12.0", "560.28.03", None),
        ("8.9", "560.28.03", None),
        ("9.0", "560.28.03", Reach.SASS),
        ("11.0", "570.26", None),
        ("13.0", "570.26", Reach.PTX),
        ("13.0", "560.28.03", Reach.UNVERIFIED),
    ],
)
def test_ptx_loads_with_the_driver_of_its_own_toolkit_on_newer_gpus_that_are_no_jetsons(
    gpu: str, driver: str, expected: Reach | None
) -> None:
    (build,) = [item for item in matrix().builds(Platform.LINUX_64) if item.label == "2.7.1+cu128"]
    hopper = (ComputeCapability(9, 0),)
    facts = DriverFacts.of(machine(driver=driver), matrix())
    made = replace(build, sms=hopper, ptx=hopper)
    assert reach(Code.of(made), matrix().find_gpu(gpu), facts, matrix()) is expected


def test_a_gpu_that_is_reached_by_ptx_raises_the_driver_that_is_required() -> None:
    tables = matrix().tables
    blackwell = (ComputeCapability(12, 0),)
    with_ptx = tuple(replace(row, ptx=blackwell) if row.sms else row for row in tables.torch)

    def required(driver: str) -> str:
        asked = machine(gpus=["13.0"], driver=driver)
        changed = Matrix(replace(tables, torch=with_ptx))
        plan = plan_for(asked, packages=["torch==2.14.1"], cuda="13.2", tables=changed)
        assert "unverified" in {warning.name for warning in plan.warnings} or driver == "595.71.05"
        need = plan.environments[0].driver_required
        return str(need and need.linux)

    assert required("595.71.05") == "595.45.04"
    assert required("580.65.06") == "580.65.06"


def test_every_gpu_of_a_machine_is_held_against_a_build() -> None:
    (build,) = [item for item in matrix().builds(Platform.LINUX_64) if item.label == "2.14.1+cu126"]
    both = machine(gpus=["V100", "RTX 5090"])
    (reason,) = machine_rejections(
        Candidate(stack=of_wheel(build)), both, Problem(Spec(machines=(both,)), matrix())
    )
    assert reason.rule == "machine-code"
    assert "none for RTX 5090 (12.0) of `lab`" in reason.text


def test_a_gpu_newer_than_the_matrix_is_planned_and_called_unverified() -> None:
    plan = validated(plan_for(machine(gpus=["13.0"], driver="615.71.09")))
    assert plan.refusal is None
    assert [warning.name for warning in plan.warnings] == ["unverified"]


def test_a_driver_older_than_the_gpu_is_planned_with_a_warning() -> None:
    plan = plan_for(machine(gpus=["H100"], driver="515.65.01"))
    assert "driver-older-than-gpu" in {warning.name for warning in plan.warnings}


# glibc, Python, platforms.


def test_torch_2_5_runs_on_glibc_2_17() -> None:
    found = environment(machine(driver="535.104.05", glibc="2.17"), packages=["torch==2.5.1"], python="3.11")
    assert found.variant in {"cu118", "cu121", "cu124"}


def test_torch_2_6_on_glibc_2_17_is_never_the_cu126_build() -> None:
    def found(driver: str) -> str:
        old = machine(gpus=["A100"], driver=driver, glibc="2.17")
        return environment(old, packages=["torch==2.6.0"], python="3.11").variant

    assert found("535.104.05") == "cu118"
    assert found("550.54.14") == "cu124"
    assert found("560.35.03") == "cu124"


def test_torch_2_7_on_glibc_2_17_is_refused_with_both_ways_out() -> None:
    refused = refusal(machine(glibc="2.17"), packages=["torch>=2.7"], provider="pip")
    assert refused.conflict == ("`torch>=2.7`", "provider `pip`", "glibc 2.17 on `lab`")
    assert changes(refused) == [
        "torch 2.6.0 instead of `torch>=2.7`",
        "leave provider `pip` out",
        "glibc 2.28 or newer on `lab`",
    ]


def test_glibc_counts_on_linux_only() -> None:
    assert torch(machine(gpus=["RTX 3090"], platform="win-64", glibc="2.17")).startswith("2.14")


def test_python_3_12_with_torch_1_13_is_refused_in_words() -> None:
    refused = refusal(packages=["torch==1.13.1"], python="3.12")
    assert refused.text == "no environment satisfies `torch==1.13.1` and python `3.12`"
    assert "Python 3.11" in changes(refused)


def test_python_3_11_with_torch_1_12_and_cuda_11_3_on_windows_is_refused_in_words() -> None:
    refused = refusal(machine(platform="win-64"), packages=["torch==1.12.1"], python="3.11", cuda="11.3")
    assert "torch 1.12.1+cu113 has wheels for Python 3.7 3.8 3.9 3.10 on win-64" in words(refused)
    assert "Python 3.10" in changes(refused)


def test_cuda_10_1_was_never_built_for_torch_1_10_and_cpu_is_no_answer() -> None:
    refused = refusal(machine(platform="win-64"), packages=["torch==1.10.0"], cuda="10.1")
    assert refused.conflict == ("`torch==1.10.0`", "cuda `10.1`")
    assert changes(refused) == ["torch 1.8.1 instead of `torch==1.10.0`", 'cuda = "11.3"']


def test_a_gtx_1650_under_windows_is_not_given_the_cpu_wheel_of_pypi() -> None:
    found = environment(
        machine(gpus=["GTX 1650"], platform="win-64"), packages=["torch==2.9.1"], python="3.12"
    )
    assert found.torch.index_url.startswith(PYTORCH + "cu1")


def test_the_python_is_the_newest_that_all_packages_have() -> None:
    assert str(environment().python) == "3.15"
    assert str(environment(packages=["torchaudio"]).python) == "3.14"
    assert str(environment(python=">=3.11,<3.13").python) == "3.12"


def test_the_environments_of_a_team_share_a_python_where_there_is_one() -> None:
    team = environments(machine("a", ["P100"]), machine("b", ["B200"]), python=">=3.10")
    assert [str(item.python) for item in team] == ["3.14", "3.14"]


def test_a_python_for_each_environment_where_there_is_none_in_common() -> None:
    team = environments(machine("a", driver="440.33.01"), machine("b", ["B200"]))
    assert {label(item): str(item.python) for item in team} == {
        "1.12.1+cu102": "3.10",
        "2.15.0+cu132": "3.15",
    }


def test_aarch64_had_no_wheels_with_cuda_before_torch_2_11() -> None:
    arm = machine(gpus=["GH200"], platform="linux-aarch64")
    refused = refusal(arm, packages=["torch<=2.10"], provider="pip")
    assert changes(refused) == ["torch 2.11.0 instead of `torch<=2.10`", "leave provider `pip` out"]
    assert "is a CPU build" in words(refused)
    older = environment(arm, packages=["torch<=2.10"])
    assert (older.provider, label(older)) == ("conda", "2.10.0+cu130")


def test_each_platform_of_a_spec_gets_an_environment() -> None:
    found = environments(platforms=["linux-64", "linux-aarch64", "win-64", "osx-arm64"])
    assert {str(item.platform): label(item) for item in found} == {
        "linux-64": "2.15.0+cu132",
        "linux-aarch64": "2.15.0+cu132",
        "win-64": "2.14.1+cu132",
        "osx-arm64": "2.15.0+cpu",
    }


def test_names_of_environments_hold_no_dots_and_tell_platforms_apart() -> None:
    found = environments(platforms=["linux-64", "linux-aarch64"])
    assert [item.name for item in found] == ["cu132-linux-64", "cu132-linux-aarch64"]


# CPU: asked for, or known, but never by accident.


def test_no_gpu_means_a_cpu_build() -> None:
    cpu = environment(machine(gpus=[]))
    assert cpu.torch.requirement == "torch==2.15.0+cpu"
    assert cpu.torch.index_url == PYTORCH + "cpu"
    assert (cpu.cuda, cpu.driver_required, cpu.sms) == (None, None, ())


def test_cuda_cpu_means_a_cpu_build_whatever_the_gpu() -> None:
    asked = environment(machine(gpus=["RTX 4090"], driver="340.108"), cuda="cpu")
    assert asked.torch.requirement == "torch==2.15.0+cpu"
    windows = environment(platforms=["win-64"], cuda="cpu")
    assert (windows.torch.requirement, windows.torch.index) == ("torch==2.15.0", "")


def test_cuda_may_be_asked_for_on_a_machine_without_a_gpu() -> None:
    assert torch(machine(gpus=[]), cuda="12.8") == "2.11.0+cu128"


def test_a_mac_gets_the_wheel_that_pypi_carries() -> None:
    mac = environment(platforms=["osx-arm64"])
    assert (mac.torch.requirement, mac.torch.index, mac.variant) == ("torch==2.15.0", "", "cpu")
    refused = refusal(platforms=["osx-arm64"], cuda="12.8")
    assert changes(refused) == ['cuda = "any"']


def test_a_team_with_gpus_without_and_with_macs_gets_named_environments() -> None:
    team = environments(
        machine("server", ["RTX 4090"], "595.71.05"),
        machine("ci", []),
        machine("mac", [], platform="osx-arm64"),
    )
    assert {item.name: item.machines for item in team} == {
        "cpu-linux-64": ("ci",),
        "cu132": ("server",),
        "cpu-osx-arm64": ("mac",),
    }


def test_a_cuda_range_is_kept() -> None:
    assert torch(cuda=">=12.6,<13") == "2.14.1+cu126"
    assert torch(cuda="cu128") == "2.11.0+cu128"


# The packages beside torch.


def test_torchvision_beside_a_cuda_12_torch_is_never_the_cuda_13_build() -> None:
    found = environment(machine(gpus=["V100"], driver="580.95.05"), packages=["torchvision"])
    assert packages(found) == {"torch": "2.14.1+cu126", "torchvision": "0.29.1+cu126"}
    assert {package.index_url for package in found.packages} == {PYTORCH + "cu126"}
    assert {package.cuda_major for package in found.packages} == {12}


def test_a_torchvision_that_exists_for_cuda_13_only_excludes_older_gpus() -> None:
    refused = refusal(machine(gpus=["V100"]), packages=["torchvision==0.29.2"])
    assert refused.conflict == ("`torchvision==0.29.2`", "V100 (7.0) in `lab`")


def test_a_companion_is_of_torchs_own_variant_where_there_is_one() -> None:
    found = environment(
        machine(gpus=["RTX 4090"], driver="580.95.05"), packages=["torch==2.14.1", "torchvision"]
    )
    assert packages(found) == {"torch": "2.14.1", "torchvision": "0.29.1"}
    assert {package.variant for package in found.packages} == {"cu130"}


@pytest.mark.parametrize(
    ("gpu", "expected"), [("V100", "2.11.0+cu126"), ("RTX 5090", "2.11.0"), ("H100", "2.11.0")]
)
def test_the_last_torchaudio_follows_torch_across_cuda_majors(gpu: str, expected: str) -> None:
    found = environment(machine(gpus=[gpu]), packages=["torchaudio"])
    assert packages(found)["torchaudio"] == expected
    (audio,) = [package for package in found.packages if package.name == "torchaudio"]
    assert found.cuda is not None
    assert audio.cuda_major == found.cuda.major


def test_a_companion_of_another_variant_is_explained() -> None:
    plan = plan_for(packages=["torchaudio"])
    assert "there is no cu132 build of it; cu130 is of the same CUDA major" in words(plan)


def test_a_companion_pin_chooses_torch() -> None:
    assert torch(packages=["torchvision==0.20.1"]) == "2.5.1+cu124"
    assert torch(packages=["torchaudio==2.9.1"]) == "2.9.1+cu128"
    assert torch(packages=["triton==3.4.0"]) == "2.8.0+cu128"


def test_companions_that_never_met_are_refused() -> None:
    refused = refusal(packages=["torch==2.5.1", "torchvision==0.29.2"])
    assert refused.conflict == ("`torch==2.5.1`", "`torchvision==0.29.2`")
    assert len(refused.remedies) == 2


def test_extras_of_planned_packages_are_kept() -> None:
    found = environment(packages=["torch[opt-einsum]", "torchvision[scipy]"])
    assert [package.requirement for package in found.packages] == [
        "torch[opt-einsum]==2.15.0",
        "torchvision[scipy]==0.29.2",
    ]


def test_other_packages_are_left_to_the_resolver() -> None:
    found = environment(packages=["diffusers[torch]>=0.30", "numpy<3", "numpy<3"])
    assert found.rest == ("diffusers[torch]>=0.30", "numpy<3")
    assert list(packages(found)) == ["torch"]


def test_a_request_counts_where_its_marker_holds() -> None:
    asked = ["torchvision==0.20.0 ; sys_platform == 'win32'", "torchvision ; sys_platform == 'linux'"]
    assert packages(environment(packages=asked))["torchvision"] == "0.29.2"
    windows = environment(packages=asked, platforms=["win-64"])
    assert packages(windows)["torchvision"].startswith("0.20.0+cu")
    assert environment(packages=["colorama ; sys_platform == 'win32'"]).rest == ()
    assert "torchvision" not in packages(environment(packages=["torchvision ; sys_platform == 'darwin'"]))


def test_a_marker_about_python_pins_torch_for_that_python_only() -> None:
    asked = ["torch<2.15 ; python_version < '3.12'", "torch>=2.15 ; python_version >= '3.12'"]
    assert torch(packages=asked, python="3.11") == "2.14.1+cu130"
    assert torch(packages=asked, python="3.12") == "2.15.0+cu132"
    assert torch(packages=asked) == "2.15.0+cu132"


def test_a_pin_with_a_variants_label_asks_for_that_variant() -> None:
    assert torch(packages=["torch==2.14.1+cu126"]) == "2.14.1+cu126"
    carried = environment(packages=["torch==2.15.0+cu132", "torchvision==0.29.2+cu132"])
    assert packages(carried) == {"torch": "2.15.0", "torchvision": "0.29.2"}
    assert "cu999" in refusal(packages=["torch==2.14.1+cu999"]).text


# Releases that the matrix does not know.


@pytest.mark.parametrize("pin", ["torch==2.16.0", "torch>=2.16", "torch~=2.16.1"])
def test_a_torch_newer_than_the_matrix_is_planned_and_called_unverified(pin: str) -> None:
    plan = validated(plan_for(packages=[pin, "torchvision"]))
    assert plan.refusal is None
    assert plan.environments[0].torch.version.release[:2] == (2, 16)
    (warning,) = plan.warnings
    assert warning.name == "unverified"
    assert "whose newest is 2.15.0" in warning.text


def test_a_torch_that_never_was_is_refused_with_its_neighbour() -> None:
    assert changes(refusal(packages=["torch==2.9.7"])) == ["torch 2.10.0 instead of `torch==2.9.7`"]
    assert refusal(packages=["torch===nonsense"]).conflict == ("`torch===nonsense`",)


# Refusals.


def test_a_refusal_names_the_other_machines_without_a_plan() -> None:
    refused = refusal(machine("a", driver="340.108"), machine("b", driver="304.137"), machine("c"))
    assert refused.text == "no environment satisfies driver 340.108 on `a`; nor is there one for `b`"
    assert changes(refused)


def test_a_gpu_in_the_way_can_be_left_out_with_its_machine() -> None:
    refused = refusal(
        machine("a", ["V100"]), machine("b", ["RTX 5090"], "570.86.10"), packages=["torch>=2.14"]
    )
    assert refused.conflict == (
        "`torch>=2.14`", "RTX 5090 (12.0) in `b`", "driver 570.86.10 on `b`",
    )  # fmt: skip
    assert "leave machine `b` out" in changes(refused)


def test_a_provider_that_has_nothing_to_supply_is_refused() -> None:
    plan = validated(make_plan(Spec(provider=Provider.SYSTEM), matrix()))
    assert plan.refusal is not None
    assert plan.refusal.conflict == ("provider `system`",)
    assert changes(plan.refusal) == ["leave provider `system` out"]
    assert make_plan(Spec(provider=Provider.PIP), matrix()).refusal is None


@pytest.mark.parametrize("provider", ["auto", "pip", "conda"])
def test_the_provider_that_is_asked_for_supplies_all_of_it(provider: str) -> None:
    found = environment(machine(gpus=["RTX 4090"], driver="595.71.05"), provider=provider)
    asked = "pip" if provider == "auto" else provider
    assert found.provider == asked
    assert [str(package.how) for package in found.packages] == ["conda" if asked == "conda" else "wheel"]
    assert (found.conda is not None) == (asked == "conda")


def test_conda_serves_only_what_no_wheel_serves() -> None:
    """conda-forge builds torch for a T4 on Arm; wheels for Arm begin with newer GPUs."""
    arm = environment(machine(gpus=["T4"], platform="linux-aarch64"))
    assert arm.provider == "conda"
    assert arm.torch.channel == "conda-forge"
    assert ComputeCapability(7, 5) in arm.sms
    assert arm.conda is not None
    assert arm.conda.channels == ("conda-forge",)
    assert arm.torch.match_spec in arm.conda.specs
    assert environment(machine(gpus=["GH200"], platform="linux-aarch64")).provider == "pip"


def test_a_conda_build_of_which_no_python_is_known_is_not_planned() -> None:
    tables = matrix().tables
    (newest, *_) = sorted(
        (
            row
            for row in tables.conda_builds
            if row.package == "pytorch" and row.platform is Platform.LINUX_64
        ),
        key=lambda row: row.version,
        reverse=True,
    )
    ahead = replace(newest, version=Version("2.99.0"), pythons=())
    with_it = Matrix(replace(tables, conda_builds=(*tables.conda_builds, ahead)))
    found = plan_for(machine(platform="linux-64"), provider="conda", tables=with_it)
    assert [item.torch.version for item in found.environments] == [newest.version]


def test_a_toolkit_without_an_image_has_no_image_to_build_in() -> None:
    old = plan_for(target="develop-kernels", cuda="10.2")
    (image,) = [item["base_image"] for item in plan_json(old)["environments"]]
    assert image == {"build": None, "run": "python:3.10-slim-trixie"}
    newer = plan_for(target="develop-kernels", cuda="11.8")
    (image,) = [item["base_image"] for item in plan_json(newer)["environments"]]
    assert image["build"].startswith("nvidia/cuda:11.8.0-devel-")


def test_what_needs_no_torch_is_planned_on_a_cuda_alone_with_a_reason() -> None:
    plan = validated(plan_for(packages=["cupy-cuda12x"]))
    (only,) = plan.environments
    assert (only.has_torch, only.title, only.sms) == (False, f"CUDA {only.cuda}", ())
    (which,) = [item for item in plan.decisions if item.question.startswith("Which CUDA for")]
    assert "nothing here needs torch" in which.because[0].text


@pytest.mark.parametrize(
    ("package", "requirement", "major"),
    [
        ("tensorflow", "tensorflow[and-cuda]==2.21.0", 12),
        ("jax", "jax[cuda13]==0.12.0.1", 13),
        ("cupy-cuda12x", "cupy-cuda12x[ctk]==", 12),
    ],
)
def test_a_package_that_needs_no_torch_is_asked_for_with_the_cuda_that_it_can_have(
    package: str, requirement: str, major: int
) -> None:
    found = environment(machine(gpus=["RTX 4090"], driver="595.71.05"), packages=[package])
    assert found.packages[0].requirement.startswith(requirement)
    assert found.cuda is not None
    assert found.cuda.major == major


def test_every_reason_names_its_row_and_source() -> None:
    plan = plan_for(machine(gpus=["V100"], driver="580.95.05"), packages=["torchvision"])
    reasons = [reason for decision in plan.decisions for reason in decision.because]
    reasons += [other.reason for decision in plan.decisions for other in decision.instead_of]
    cited = [reason.source for reason in reasons]
    assert len(cited) > 5
    assert all(": " in source and ("http" in source or "wheels" in source) for source in cited), cited


def test_what_was_better_is_said_with_its_obstacle_and_nothing_twice() -> None:
    plan = plan_for(machine(gpus=["V100"], driver="580.95.05"))
    (which,) = [item for item in plan.decisions if item.question.startswith("Which torch")]
    assert [other.what for other in which.instead_of] == ["torch 2.15.0+cu132", "torch 2.14.1+cu130"]
    assert {other.reason.rule for other in which.instead_of} == {"machine-code"}


def test_machines_that_differ_in_name_only_are_planned_as_one_kind() -> None:
    found = environment(*(machine(f"n{index}", ["A100"], "535.54.03") for index in range(3)))
    assert found.machines == ("n0", "n1", "n2")


def test_a_lock_can_tell_on_which_rows_an_environment_rests() -> None:
    found = environment(machine(gpus=["V100"]), packages=["torchvision"])
    assert [row for row, _ in found.rows] == [
        "targets run-only",
        "packages/torch 2.14.1 cu126 linux-64",
        "packages/torchvision 0.29.1",
        "images python 3.14-slim-trixie debian13",
        "cuda 12.6",
        "indexes pytorch",
        "architectures 7.0",
    ]
    assert all(len(digest) == 64 for _, digest in found.rows)


def test_files_of_several_environments_carry_their_names() -> None:
    one = plan_for()
    assert one.file_name(one.environments[0], "pylock.toml") == "pylock.toml"
    two = plan_for(machine("a", ["P100"]), machine("b", ["B200"]))
    assert [two.file_name(item, "pylock.toml") for item in two.environments] == [
        "pylock.cu126.toml", "pylock.cu132.toml",
    ]  # fmt: skip
    assert two.file_name(two.environments[0], "Dockerfile") == "Dockerfile.cu126"


def test_a_count_of_machines_changes_nothing() -> None:
    lab = machine(gpus=["V100"])
    assert plan_for(lab) == plan_for(replace(lab, count=40))


def test_a_machine_that_is_stuck_on_two_platforms_is_refused_on_the_first_with_remedies() -> None:
    stuck = plan_for(machine("old", ["RTX 4090"], "340.108"), platforms=["linux-64", "win-64"])
    assert stuck.refusal is not None
    assert stuck.refusal.text.startswith("no environment satisfies")
    assert stuck.refusal.remedies


def test_a_platform_without_a_cuda_build_is_named_and_innocent_machines_are_not() -> None:
    refused = plan_for(
        machine("good", ["RTX 4090"], "595.71.05", platform="linux-64"),
        packages=["torch==2.15.0"],
        platforms=["linux-64", "win-64"],
    ).refusal
    assert refused is not None
    assert "on win-64" in refused.text
    assert "good" not in refused.text


def test_every_rule_about_machines_is_about_a_stack_or_about_what_stands_beside_it() -> None:
    """A candidate is held against the second ones alone where its stack is known to run."""
    assert {*STACK_RULES, *BESIDE_RULES} == {*MACHINE_RULES}
