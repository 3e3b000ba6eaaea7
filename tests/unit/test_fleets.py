"""Fleets, order and refusals, with every target and provider."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Fact, Machine
from cudaenv.model.plan import Environment
from cudaenv.model.spec import CudaRequest, PythonRequest, Spec
from cudaenv.model.spec_reader import parse_package
from cudaenv.model.versions import DriverVersion, GlibcVersion
from cudaenv.planner.plan import make_plan
from cudaenv.planner.problem import Problem
from cudaenv.planner.search import assessments, is_plannable
from cudaenv.planner.statements import statements
from tests.support.asking import DRIVERS, PROVIDERS, TARGETS, asked, planned
from tests.support.planning import machine, matrix

GPUS = ("3.7", "5.2", "6.1", "7.0", "7.5", "8.0", "8.9", "9.0", "10.0", "12.0", "12.1")
PACKAGES = (
    "torch==2.15.0",
    "torch<2.9",
    "torch==2.8.0",
    "torchvision",
    "flash-attn",
    "numpy",
    "xformers<0.0.30",
)

KNOWN = frozenset(re.split("[<=]", text)[0] for text in PACKAGES) - {"numpy"}

machines = st.builds(
    lambda gpu, driver, glibc: (gpu, driver, glibc),
    st.sampled_from(GPUS),
    st.sampled_from(DRIVERS[2:]),
    st.sampled_from(("", "2.17", "2.35")),
)


def fleet(hosts: Sequence[tuple[str, str, str]]) -> tuple[Machine, ...]:
    return tuple(
        machine(f"m{number}", [gpu], driver, glibc=glibc, platform="linux-64")
        for number, (gpu, driver, glibc) in enumerate(hosts)
    )


@st.composite
def specs(draw: st.DrawFn, most: int = 3) -> Spec:
    return asked(
        *fleet(draw(st.lists(machines, min_size=1, max_size=most))),
        target=draw(st.sampled_from(TARGETS)),
        provider=draw(st.sampled_from(PROVIDERS)),
        packages=sorted(draw(st.sets(st.sampled_from(PACKAGES), max_size=2))),
        cuda=draw(st.sampled_from(("any", "any", "12.8", ">=12.6,<13", "11.8"))),
        python=draw(st.sampled_from(("", "", "3.10", ">=3.12"))),
    )


def homes(environments: Sequence[Environment]) -> Counter[str]:
    return Counter(name for item in environments for name in item.machines)


def essence(environments: Sequence[Environment]) -> object:
    """What of a plan hangs on no order."""
    return {
        (
            item.provider,
            item.title,
            str(item.python),
            frozenset(item.machines),
            frozenset(package.requirement for package in item.packages),
            item.toolkit and (item.toolkit.provider, str(item.toolkit.cuda), item.toolkit.sms),
            item.conda and (item.conda.channels, frozenset(item.conda.specs)),
            item.build_image,
        )
        for item in environments
    }


# Fleets.

KINDS = (
    *(("6.1", driver) for driver in DRIVERS[4:9]),
    *(("7.0", driver) for driver in DRIVERS[4:9]),
    *(("8.0", driver) for driver in DRIVERS[4:11]),
    *(("9.0", driver) for driver in DRIVERS[6:9]),
    *(("12.0", driver) for driver in DRIVERS[8:12]),
)
A_THOUSAND = 1_000


@cache
def thousand() -> tuple[Machine, ...]:
    hosts = [(*KINDS[number % len(KINDS)], "") for number in range(A_THOUSAND)]
    return fleet(hosts)


@pytest.mark.parametrize("target", ["run-only", "develop-kernels"])
def test_a_thousand_machines_of_24_kinds_are_planned_at_once(target: str) -> None:
    assert len(set(KINDS)) == 24
    spec = asked(*thousand(), target=target)
    plan = make_plan(spec, matrix())
    assert homes(plan.environments) == Counter(item.name for item in spec.machines)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        make_plan(spec, matrix())
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("target", TARGETS)
def test_every_machine_is_in_exactly_one_environment(target: str) -> None:
    hosts = [(gpu, driver, "") for gpu in GPUS[2:-1] for driver in DRIVERS[8::2]]
    spec = asked(*fleet(hosts), target=target)
    environments = planned(spec)
    assert environments
    assert homes(environments) == Counter(item.name for item in spec.machines)


@settings(max_examples=20)
@given(spec=specs(), extra=machines)
def test_another_machine_never_makes_fewer_environments(spec: Spec, extra: tuple[str, str, str]) -> None:
    more = replace(spec, machines=(*spec.machines, replace(fleet([extra])[0], name="extra")))
    before, after = planned(spec), planned(more)
    assume(after)
    assert before, "a machine less is less to ask"
    assert len(before) <= len(after)


@pytest.mark.parametrize("target", TARGETS)
def test_the_environments_are_as_few_as_can_be(target: str) -> None:
    """Held against every set of candidates, by the machines that each may serve."""
    hosts = [
        ("6.1", "525.60.13", ""),
        ("7.0", "470.82.01", ""),
        ("8.0", "535.104.05", ""),
    ]
    hosts += [("12.0", "580.95.05", ""), ("8.9", "550.54.15", "2.17")]
    counts = set()
    for found in combinations(hosts, 3):
        spec = asked(*fleet(found), target=target)
        (assessment,) = assessments(Problem(spec, matrix()))
        sets = {covered for _, covered in assessment.coverage}
        fewest = next(
            (
                size
                for size in (1, 2, 3)
                if any(len(frozenset().union(*some)) == 3 for some in combinations(sets, size))
            ),
            0,
        )
        assert len(planned(spec)) == fewest, found
        counts.add(fewest)
    assert len(counts) > 1


# Order says nothing.


@cache
def other_order(seed: int) -> Matrix:
    """The matrix with the rows of each table in another order; that of systems and eras is a preference."""
    dice = random.Random(seed)  # noqa: S311

    def mixed(rows: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(dice.sample(list(rows), len(rows)))

    tables = matrix().tables
    kept = {"systems", "conda_eras", "targets"}
    changes: dict[str, Any] = {}
    for field in fields(tables):
        value = getattr(tables, field.name)
        if field.name in kept:
            continue
        if isinstance(value, tuple):
            changes[field.name] = mixed(value)
        elif field.name == "packages":
            changes[field.name] = {name: mixed(rows) for name, rows in reversed(list(value.items()))}
    assert {"torch", "conda_builds", "toolkit_releases", "images", "packages"} <= set(changes)
    return Matrix(replace(tables, **changes))


@settings(max_examples=25)
@given(spec=specs(), seed=st.integers(0, 1))
def test_the_order_of_rows_and_of_keys_says_nothing(spec: Spec, seed: int) -> None:
    usual = essence(planned(spec))
    assert essence(planned(spec, other_order(seed))) == usual
    turned = replace(spec, machines=spec.machines[::-1], packages=spec.packages[::-1])
    assert essence(planned(turned)) == usual


# Refusals.


def plannable(spec: Spec) -> bool:
    return is_plannable(Problem(spec, matrix()))


def without(spec: Spec, text: str) -> Spec:
    (statement,) = [item for item in statements(spec, KNOWN) if item.text == text][:1]
    return statement.without(spec)


def on(spec: Spec, name: str, **facts: Any) -> Spec:
    return replace(
        spec, machines=tuple(replace(item, **facts) if item.name == name else item for item in spec.machines)
    )


def torch_instead(spec: Spec, match: re.Match[str]) -> Spec:
    others = tuple(item for item in spec.packages if item.name != "torch")
    return replace(spec, packages=(parse_package(f"torch=={match[1]}", "remedy"), *others))


CHANGES: dict[str, Callable[[Spec, re.Match[str]], Spec]] = {
    r"driver (\S+) or newer on `(.*)`": lambda spec, match: on(
        spec, match[2], driver=Fact(DriverVersion.parse(match[1]), "remedy")
    ),
    r"glibc (\S+) or newer on `(.*)`": lambda spec, match: on(
        spec, match[2], glibc=Fact(GlibcVersion.parse(match[1]), "remedy")
    ),
    r"Python (\S+)": lambda spec, match: replace(spec, python=PythonRequest.parse(match[1])),
    r'cuda = "(.*)"': lambda spec, match: replace(spec, cuda=CudaRequest.parse(match[1])),
    r"torch (\S+) instead of `.*`": torch_instead,
    r"leave (.*?) out(?: of this environment)?": lambda spec, match: without(spec, match[1]),
}


def replayed(spec: Spec, change: str) -> Spec:
    """A spec with a remedy applied as a reader of its text would."""
    found = ((re.fullmatch(pattern, change), apply) for pattern, apply in CHANGES.items())
    match, apply = next(pair for pair in found if pair[0])
    assert match is not None
    return apply(spec, match)


@settings(max_examples=12)
@given(spec=specs(most=1))
def test_a_conflict_is_minimal_and_its_remedies_plan(spec: Spec) -> None:
    assume(not plannable(spec))
    refusal = make_plan(spec, matrix()).refusal
    assert refusal is not None
    assert refusal.because
    conflict = set(refusal.conflict)
    known = [item.text for item in statements(spec, KNOWN)]
    assert conflict <= set(known)
    alone = spec
    for text in known:
        if text not in conflict:
            alone = without(alone, text)
    assert not plannable(alone)
    for text in conflict:
        assert plannable(without(alone, text)), text
    for remedy in refusal.remedies:
        made = planned(replayed(spec, remedy.change))
        assert made, remedy
        assert all(item.title.split()[-1] in remedy.plan for item in made), remedy


def test_the_refusals_of_this_sample_are_of_many_kinds() -> None:
    """A sample that meets every subject: what is stated last in each is what a remedy has to change."""
    host = ("8.0", "535.104.05", "2.17")
    asking: list[dict[str, Any]] = [
        {"target": "develop-kernels", "provider": "pip"},
        {"provider": "system"},
        {"packages": ["torch==2.15.0"]},
        {"target": "xformers", "packages": ["xformers<0.0.30"], "python": ">=3.13"},
        {"target": "mmcv-full", "cuda": ">=13"},
    ]
    changes = set()
    for parts in asking:
        spec = asked(*fleet([host]), **parts)
        refusal = make_plan(spec, matrix()).refusal
        assert refusal is not None, parts
        for remedy in refusal.remedies:
            assert planned(replayed(spec, remedy.change)), remedy
            changes.add(remedy.change.split()[0])
    assert changes >= {"leave", "driver", "cuda", "Python"}
