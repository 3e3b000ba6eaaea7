"""Plans as a person reads them on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaenv.model.machine import Gpu, Machine
from cudaenv.model.plan import Plan
from cudaenv.model.versions import ComputeCapability
from cudaenv.render.plan_text import (
    environment_decisions,
    general_decisions,
    plan_lines,
    plan_summary,
)
from tests.support.planning import cases, machine, plan_for


def text_of(plan: Plan, *, explain: bool = False) -> str:
    return "\n".join(plan_lines(plan, explain=explain))


@pytest.mark.parametrize("name", list(cases()))
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}/plan.txt", text_of(cases()[name]) + "\n")
    golden(f"{name}/explain.txt", text_of(cases()[name], explain=True) + "\n")


@cache
def some_plans() -> list[Plan]:
    gpus = ["GTX 1080 Ti", "V100", "RTX 4090", "RTX 5090", "Tesla K80", "Jetson AGX Orin"]
    drivers = ["", "340", "525.60.13", "580.95.05"]
    requests = ((), ("torch==2.5.*", "torchvision", "numpy"))
    single = [
        plan_for(machine("lab", [gpu], driver, platform="linux-64"), packages=packages)
        for gpu, driver, packages in product(gpus, drivers, requests)
    ]
    fleet = [machine(f"node-{gpu}-{number}", [gpu]) for gpu in gpus[:4] for number in range(50)]
    platforms = ("linux-64", "win-64", "linux-aarch64")
    return [*single, *cases().values(), plan_for(*fleet), plan_for(platforms=platforms), plan_for()]


def test_lines_fit_the_terminal() -> None:
    for plan, explain in product(some_plans(), (False, True)):
        for line in plan_lines(plan, explain=explain):
            # Only what has no space, such as the address of a source, is longer.
            assert len(line) <= 100 or " " not in line.strip(), line
            assert line == line.rstrip()
            assert line.isprintable()


def test_every_decision_is_shown_and_at_its_place() -> None:
    for plan in some_plans():
        questions = {decision.question.split(" ")[0:2][1] for decision in general_decisions(plan)}
        assert questions <= {"does", "many", "Python?"}
        placed = [decision for item in plan.environments for decision in environment_decisions(plan, item)]
        assert {*placed, *general_decisions(plan)} == set(plan.decisions)
        for environment in plan.environments:
            assert len(environment_decisions(plan, environment)) == len(environment.packages)


def test_explain_has_every_source_and_every_alternative() -> None:
    for plan in some_plans():
        text = " ".join(text_of(plan, explain=True).split())
        for decision in plan.decisions:
            reasons = [*decision.because, *(other.reason for other in decision.instead_of)]
            assert all(" ".join(reason.text.split()) in text for reason in reasons)
            assert all(f"source: {' '.join(reason.source.split())}" in text for reason in reasons)


def test_the_short_text_shows_neither() -> None:
    short = text_of(cases()["v100"])
    assert "source:" not in short
    assert "2.15.0" not in short
    assert "--explain shows what ranks higher" in short


def test_how_the_driver_runs_it() -> None:
    direct, minor = (
        text_of(plan_for(machine("lab", ["V100"], driver))) for driver in ("580.95.05", "535.54.03")
    )
    assert "the machines' drivers run CUDA 12.6 directly" in direct
    assert "CUDA 12.6 runs by minor-version compatibility on drivers older than its own" in minor
    for text in (direct, minor):
        assert "from the host: 525.60.13 or newer (WSL: Windows driver 528.33 or newer)" in text


def test_a_cpu_build_needs_no_driver() -> None:
    text = text_of(cases()["cpu"])
    assert "driver       not needed" in text
    assert "runtime      none: a CPU build" in text


def test_warnings_and_assumptions_are_shown() -> None:
    for plan in some_plans():
        text = " ".join(text_of(plan, explain=True).split())
        for shown in (*plan.assumptions, *(warning.text for warning in plan.warnings)):
            assert shown in text


def test_a_refusal_says_what_would_help() -> None:
    plan = cases()["no-plan"]
    assert plan.refusal is not None
    assert plan.refusal.remedies
    text = " ".join(text_of(plan).split())
    for shown in (plan.refusal.text, *plan.refusal.conflict):
        assert shown in text
    for remedy in plan.refusal.remedies:
        assert f"- {remedy.change} plan: {remedy.plan}" in text


def test_one_statement_that_nothing_satisfies() -> None:
    text = text_of(plan_for(machine("old", driver="340")))
    assert "What nothing satisfies\n  - driver 340 on `old`\n" in text
    assert "What excludes each other" not in text


def test_summary() -> None:
    assert [plan_summary(item) for item in cases()["gtx-1080-ti-and-rtx-5090"].environments] == [
        "cu126: torch 2.14.1+cu126, torchaudio 2.11.0+cu126, CUDA 12.6, Python 3.14, linux-64, for old",
        "cu132: torch 2.15.0+cu132, torchaudio 2.11.0+cu130, CUDA 13.2, Python 3.14, linux-64, for new",
    ]
    assert (
        plan_summary(cases()["cpu"].environments[0])
        == "cpu: torch 2.15.0+cpu, no CUDA, Python 3.15, linux-64, for runner"
    )


def test_long_lists_are_cut_unless_explained() -> None:
    plan = plan_for(*(machine(f"n{number}", ["A100"], f"580.95.{number:02}") for number in range(20)))
    reasons, *_, assumed, warnings = text_of(plan).split("\n\n")[2:]
    assert reasons.endswith("\n  - and 14 more")
    assert assumed.endswith("\n  - and 32 more")
    assert warnings.endswith("\n  - and 12 more")
    assert len(text_of(plan).splitlines()) < 60
    whole = text_of(plan, explain=True)
    assert "- driver 580.95.19 on `n19`" in whole
    assert "glibc of `n19`" in whole
    assert " more\n" not in whole.replace("and 15 more\n", "")


def test_a_rare_warning_is_not_cut_off_by_frequent_ones() -> None:
    fleet = [machine(f"n{number}", ["A100"], f"580.95.{number:02}") for number in range(20)]
    plan = plan_for(*fleet, machine("odd", ["8.9"], "990.10"))
    assert "driver 990.10 of `odd` is newer than the matrix" in text_of(plan)


@given(st.text(min_size=1, max_size=60), st.booleans())
def test_no_name_steers_the_terminal(name: str, explain: bool) -> None:
    gpu = Gpu(name=name, capability=ComputeCapability(7, 0))
    plan = plan_for(Machine(name=name, gpus=(gpu,)))
    assert all(line.isprintable() for line in plan_lines(plan, explain=explain))
    assert all(plan_summary(environment).isprintable() for environment in plan.environments)
