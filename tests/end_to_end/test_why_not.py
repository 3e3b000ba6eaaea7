"""`cudaenv plan --why-not`: what stands against another plan, or which preference decides against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import RTX_4090, RTX_5090, V100, Machine, Project
from tests.support.wheels import Wheel

NEWEST = "the newest torch"


def answer(project: Project, asked: str, *options: str) -> dict[str, Any]:
    """What the command answers, as JSON."""
    found: dict[str, Any] = json.loads(project.run("plan", "--why-not", asked, "--json", *options).out)
    return found


def torches(plan: dict[str, Any]) -> list[str]:
    """The torch of each environment of a plan."""
    return [item["packages"]["torch"]["version"] for item in plan["environments"]]


def test_a_torch_that_cannot_run_on_the_gpu_is_refused_with_the_rule_and_its_source(project: Project) -> None:
    project.spec(V100)
    done = project.run("plan", "--why-not", "torch==2.15")
    assert done.out.startswith("Why not torch==2.15?\n")
    flat = " ".join(done.out.split())
    assert "No plan: no environment satisfies `torch==2.15` and Tesla V100-SXM2-32GB (7.0) in `lab`" in flat
    assert "none for Tesla V100-SXM2-32GB (7.0)" in flat
    assert "source: packages/torch 2.15.0 cu132 linux-64 (measured:" in flat
    assert "torch 2.14.1 instead of `torch==2.15`" in flat
    assert done.err == ""


@pytest.mark.parametrize(
    ("machine", "asked", "other", "reason"),
    [
        (RTX_4090, "torch==2.14.1", "cu130: torch 2.14.1+cu130", ("torch 2.15.0+cu132", NEWEST)),
        (V100, "torch<2.9", "torch 2.8.0+cu128", ("cu126: torch 2.14.1+cu126", NEWEST)),
        (RTX_4090, "cuda=12.8", "cu128: torch 2.11.0+cu128", ("torch 2.15.0+cu132", NEWEST)),
        (RTX_4090, "cuda=>=12.6,<13", "torch 2.14.1+cu126", ("torch 2.15.0+cu132", NEWEST)),
        (RTX_4090, "python=3.10", "Python 3.10", ("torch 2.15.0+cu132", NEWEST)),
        (RTX_4090, "provider=conda", "CUDA 13.0", ("torch 2.15.0+cu132", "wheels come before conda")),
    ],
)
def test_a_plan_that_would_do_is_shown_beside_the_planned_one_and_what_decides(
    project: Project, machine: Machine, asked: str, other: str, reason: tuple[str, str]
) -> None:
    planned, decides = reason
    project.spec(machine)
    out = project.run("plan", "--why-not", asked).out
    assert f"Why not {asked}? It can be planned:" in out
    before, _, after = out.partition("Planned instead:")
    assert other in before
    assert planned not in before
    assert planned in after
    assert f"What decides: {decides}" in after


def test_what_is_planned_anyway_is_said_to_be(project: Project) -> None:
    project.spec(V100)
    found = answer(project, "torch==2.14.1")
    assert found["reason"] == "it is what is planned"
    assert found["other"]["environments"][0]["name"] == found["plan"]["environments"][0]["name"] == "cu126"


@pytest.mark.parametrize("asked", ["python=3.12", "torchvision==0.29.1"])
def test_the_same_torch_with_another_python_or_more_packages_is_not_what_is_planned(
    project: Project, asked: str
) -> None:
    project.spec(V100, python="3.11")
    found = answer(project, asked)
    assert torches(found["plan"]) == torches(found["other"]) == ["2.14.1+cu126"]
    assert found["reason"] == "nothing, it has the same CUDA"


def test_the_answer_as_json_has_both_plans(project: Project) -> None:
    project.spec(RTX_4090)
    found = answer(project, "torch==2.14.1")
    assert found["asked"] == "torch==2.14.1"
    assert (torches(found["plan"]), torches(found["other"])) == (["2.15.0"], ["2.14.1"])
    assert found["reason"] == "the newest torch"
    refused = answer(project, "torch==1.0")
    assert refused["reason"] == ""
    assert refused["other"]["refusal"]
    assert torches(refused["plan"]) == ["2.15.0"]


def test_an_environment_that_serves_more_machines_is_no_reason_against_itself(project: Project) -> None:
    project.spec({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    found = answer(project, "provider=conda")
    assert (len(found["plan"]["environments"]), len(found["other"]["environments"])) == (2, 1)
    assert found["reason"] == "wheels come before conda where both will do"


def test_fewer_environments_are_a_reason(project: Project) -> None:
    project.spec(V100, RTX_5090)
    found = answer(project, "torch==2.14.1")
    assert (len(found["plan"]["environments"]), len(found["other"]["environments"])) == (1, 2)
    assert found["reason"] == "1 is fewer environments than 2"


def test_of_several_environments_those_that_differ_decide(project: Project) -> None:
    project.spec({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    found = answer(project, "torch==2.14.1")
    assert torches(found["plan"]) == ["2.14.1+cu126", "2.15.0"]
    assert torches(found["other"]) == ["2.14.1+cu126", "2.14.1"]
    assert found["reason"] == "the newest torch"


def test_another_target_is_an_answer_too(project: Project) -> None:
    project.spec(RTX_4090)
    found = answer(project, "target=xformers")
    assert "xformers" in found["other"]["environments"][0]["packages"]
    assert "xformers" not in found["plan"]["environments"][0]["packages"]


def test_options_of_the_command_line_hold_for_both_plans(project: Project) -> None:
    project.spec(V100, python="3.11")
    given = ("--gpu", "RTX 5090", "--driver", "595.71.05", "-p", "torchvision", "--python", "3.12")
    found = answer(project, "cuda=12.8", *given)
    assert torches(found["plan"]) == ["2.15.0"]
    assert [item["cuda"] for item in found["other"]["environments"]] == ["12.8"]
    for plan in (found["plan"], found["other"]):
        assert "torchvision" in plan["environments"][0]["packages"]
        assert plan["environments"][0]["machines"] == ["the machine"]
        assert plan["environments"][0]["python"] == "3.12"


def test_the_rest_of_the_spec_holds_for_the_other_plan(project: Project) -> None:
    project.spec(RTX_4090, packages={"torch": "*", "torchvision": "*"}, cuda="13.0")
    found = answer(project, "torch==2.11.0")
    (other,) = found["other"]["environments"]
    assert (other["cuda"], other["packages"]["torchvision"]["version"].split("+")[0]) == ("13.0", "0.26.0")


def test_a_bound_that_the_lock_holds_is_what_stands_against_it(own_project: Project) -> None:
    own_project.world.add("simple", Wheel("picky", "1.0", "py3-none-any", ["torch<2.9"]))
    own_project.lock(V100, packages={"torch": "*", "picky": "*"})
    found = answer(own_project, "torch==2.14.1")
    assert torches(found["plan"]) == ["2.8.0"]
    assert found["other"]["environments"] == []
    out = " ".join(own_project.run("plan", "--why-not", "torch==2.14.1").out.split())
    assert "picky 1.0" in out


def test_an_answer_writes_nothing(project: Project) -> None:
    project.lock(V100)
    before = project.files()
    project.run("plan", "--why-not", "torch==2.8")
    assert project.files() == before
    assert project.run("check").out == "up to date\n"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("torch==", "not a requirement: 'torch=='"),
        ("gpu=V100", "not a requirement: 'gpu=V100'"),
        ("torch @ https://example.org/torch.whl", "a name and versions only"),
        ("provider=nope", "unknown provider `nope`"),
        ("target=nope", "unknown target `nope`"),
        ("cuda=nope", "not a CUDA request: 'nope'"),
    ],
)
def test_what_cannot_be_asked_is_an_error_of_the_command_line(
    project: Project, asked: str, said: str
) -> None:
    project.spec(V100)
    done = project.run("plan", "--why-not", asked, status=2)
    assert said in done.err
    assert done.out == ""


def test_without_a_spec_the_command_line_is_all(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = ["--project", str(empty), "--gpu", "V100", "--driver", "580.95.05", "-p", "torch"]
    out = project.run("plan", *arguments, "--why-not", "torch==2.15").out
    assert "No plan:" in out
    assert "V100" in out
