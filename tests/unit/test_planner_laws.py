"""What holds for every plan: laws over the whole matrix, held against a naive second reading of its files.

The oracle below knows nothing of the planner: it reads the YAML itself and asks of each row of torch
whether it runs on a machine.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, pairwise
from typing import Any, TypeAlias

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.matrix.load import Tables
from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Fact, Machine
from cudaenv.model.plan import Environment, How, Plan
from cudaenv.model.plan_json import plan_json
from cudaenv.model.spec import CudaRequest, PackageRequest, Provider, PythonRequest, Spec
from cudaenv.model.spec_reader import parse_package
from cudaenv.model.versions import DriverVersion, GlibcVersion
from cudaenv.planner.plan import make_plan
from tests.support.asking import asked, drivers_around_floors, planned
from tests.support.planning import ROOT, machine, matrix, plan_for
from tests.support.schema import validated

Row: TypeAlias = dict[str, str]

# The oracle.


@cache
def table(name: str) -> list[Row]:
    rows: list[Row] = yaml.safe_load((ROOT / "matrix" / f"{name}.yaml").read_text("utf-8"))["rows"]
    return rows


@cache
def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@dataclass(frozen=True)
class Host:
    """A machine as texts; empty is unknown."""

    gpus: tuple[str, ...] = ()
    driver: str = ""
    platform: str = "linux-64"
    glibc: str = ""
    wsl: bool = False

    def machine(self, name: str = "lab") -> Machine:
        return machine(
            name,
            list(self.gpus) or None,
            self.driver,
            glibc=self.glibc,
            platform=self.platform,
            wsl=self.wsl,
        )


TEGRA = {row["sm"] for row in table("architectures") if row.get("tegra")}
NEWEST_SM = max((row["sm"] for row in table("architectures")), key=numbers)
CUDA = {row["cuda"].replace(".", ""): row for row in table("cuda")}
BUILDS = table("packages/torch")
GPU_BUILDS = [row for row in BUILDS if row["variant"] != "cpu"]


def line(row: Row) -> Row:
    return CUDA[row["variant"].removeprefix("cu")]


def has_own_driver(row: Row, host: Host) -> bool:
    """Whether PTX of the build's toolkit loads."""
    os_name = "windows" if host.wsl or host.platform == "win-64" else "linux"
    own = line(row).get(f"{os_name}_own")
    return own is not None and numbers(host.driver) >= numbers(own)


def driver_runs(row: Row, host: Host) -> bool:
    if not host.driver:
        return True
    os_name = "windows" if host.wsl or host.platform == "win-64" else "linux"
    minor = line(row).get(f"{os_name}_minor")
    return has_own_driver(row, host) or (minor is not None and numbers(host.driver) >= numbers(minor))


def gpu_runs(row: Row, gpu: str, host: Host) -> bool:
    code = row["sms"].split()
    if gpu in TEGRA:
        return gpu in code
    major, minor = numbers(gpu)
    for sm in code:
        if sm not in TEGRA and numbers(sm)[0] == major and numbers(sm)[1] <= minor:
            return True
    ptx = any(numbers(sm) <= numbers(gpu) for sm in row.get("ptx", "").split())
    return ptx and (not host.driver or has_own_driver(row, host))


def runs(row: Row, host: Host) -> bool:
    """Whether a CUDA build of torch runs on a machine."""
    return (
        row["platform"] == host.platform
        and driver_runs(row, host)
        and all(gpu_runs(row, gpu, host) for gpu in host.gpus)
        and not (host.glibc and "glibc" in row and numbers(host.glibc) < numbers(row["glibc"]))
    )


def possible(host: Host) -> list[Row]:
    """All CUDA builds that run on a machine; builds alike in all that counts are asked once."""
    return [row for alike in ALIKE for row in alike if runs(alike[0], host)]


def by_what_counts() -> list[list[Row]]:
    found: dict[tuple[str | None, ...], list[Row]] = {}
    for row in GPU_BUILDS:
        key = tuple(row.get(column) for column in ("platform", "variant", "sms", "ptx", "glibc"))
        found.setdefault(key, []).append(row)
    return list(found.values())


ALIKE = by_what_counts()


def place_of(row: Row, *, is_named: bool) -> str:
    """The index a build is taken from: of a default build with its CUDA named, the one that repeats it."""
    repeats = [
        other
        for other in table("indexes")
        if SpecifierSet(other.get("repeats", "<0")).contains(row["version"])
    ]
    return repeats[0]["index"] if is_named and not row.get("index") and repeats else row.get("index", "")


def made_for(*machines: Machine, **parts: Any) -> tuple[Environment, ...]:
    """The environments of a plan; none where it is refused, and nobody waits for the remedies."""
    return planned(asked(*machines, **parts))


def chosen(environments: Sequence[Environment], *, is_named: bool = False) -> list[Row]:
    """The rows of the builds that were chosen, all of them wheels; `is_named`: the CUDA was named."""
    found = []
    for environment in environments:
        key = (environment.torch.version.public, environment.variant, environment.platform)
        (row,) = [row for row in BUILDS if (row["version"], row["variant"], row["platform"]) == key]
        assert str(environment.python) in row["pythons"].split()
        assert environment.torch.how is How.WHEEL
        assert environment.torch.index == place_of(row, is_named=is_named)
        found.append(row)
    return found


def newest(rows: Sequence[Row]) -> tuple[int, ...]:
    return max(numbers(row["version"]) for row in rows)


# Pools.

CAPABILITIES = sorted({row["sm"] for row in table("architectures")}, key=numbers)
GPUS = ("3.7", "5.2", "6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0", "10.3", "12.0", "12.1")
DRIVERS = (
    "340.108", "418.67", "440.33.01", "450.80.02", "470.82.01", "515.65.01", "525.60.13", "535.104.05",
    "550.54.14", "560.35.03", "565.57.01", "570.86.10", "575.64.03", "580.65.06", "590.48.01", "595.71.05",
    "615.71.09",
)  # fmt: skip
GLIBCS = ("2.17", "2.27", "2.28", "2.35")
PLATFORMS = ("linux-64", "linux-aarch64", "win-64")
PINS = (
    "torch==2.15.0", "torch>=2.15", "torch<2.9", "torch==2.5.1", "torch>=2.0,<2.1", "torch==1.13.1",
    "torch~=2.8.0",
    "torch!=2.15.0", "torch==2.14.1+cu126", "torch==2.8.7", "torch>=2.16", "torchvision", "torchvision>=0.29",
    "torchvision==0.29.1", "torchvision<0.24", "torchaudio", "torchaudio==2.11.0", "triton", "triton==3.4.0",
    "numpy", "torch<2.12 ; python_version<'3.12'", "torchvision==0.20.0 ; sys_platform=='win32'",
)  # fmt: skip
RELEASES = ("1.10.2", "1.13.1", "2.0.1", "2.2.2", "2.5.1", "2.8.0", "2.9.0", "2.12.1", "2.14.1", "2.15.0")
PYTHONS = ("3.8", "3.10", "3.12", "3.14", "3.15", ">=3.11", ">=3.9,<3.12")
CUDAS = ("cpu", "11.8", "12.8", "13.0", ">=12.6,<13", "10.1")

hosts = st.builds(
    Host,
    gpus=st.lists(st.sampled_from(GPUS), max_size=1).map(tuple),
    driver=st.sampled_from(("", *DRIVERS)),
    glibc=st.sampled_from(("", *GLIBCS)),
)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """Specs that are often too much to ask."""
    found = draw(st.lists(hosts, max_size=3))
    python = draw(st.sampled_from(("", *PYTHONS)))
    return Spec(
        machines=tuple(host.machine(f"m{index}") for index, host in enumerate(found)),
        packages=tuple(
            parse_package(text, "spec") for text in draw(st.lists(st.sampled_from(PINS), max_size=2))
        ),
        python=PythonRequest.parse(python) if python else None,
        cuda=CudaRequest.parse(draw(st.sampled_from(("any", "any", *CUDAS)))),
        provider=draw(st.sampled_from((Provider.AUTO, Provider.PIP))),
    )


@cache
def few_releases() -> Matrix:
    """The matrix with a quarter of its releases, for laws that plan a thousand times."""
    tables = matrix().tables
    kept = {Version(release) for release in RELEASES}
    return Matrix(
        replace(
            tables,
            torch=tuple(row for row in tables.torch if row.version in kept),
            conda_builds=tuple(
                row for row in tables.conda_builds if row.package != "pytorch" or row.version in kept
            ),
            packages={
                name: tuple(row for row in rows if any(release in row.torch for release in kept))
                for name, rows in tables.packages.items()
            },
        )
    )


def plan(spec: Spec) -> Plan:
    return make_plan(spec, few_releases())


def fleet_of(found: Sequence[Host]) -> list[Machine]:
    return [host.machine(f"m{index}") for index, host in enumerate(found)]


def essence(made: Plan) -> object:
    """What of a plan may not hang on any order."""
    if made.refusal is not None:
        return "refused"
    return {
        (
            item.name,
            item.torch.requirement,
            item.variant,
            str(item.python),
            frozenset(item.machines),
            frozenset(package.requirement for package in item.packages),
        )
        for item in made.environments
    }


# A single machine: sound, and the best there is.


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_plan_is_the_newest_torch_that_runs_and_a_refusal_means_that_none_does(platform: str) -> None:
    refused = 0
    drivers = drivers_around_floors("windows" if platform == "win-64" else "linux")
    for gpu in GPUS[::2] if platform == "linux-64" else ("9.0", "11.0", "12.1"):
        for driver in drivers if gpu in {"3.7", "9.0"} else drivers[::6]:
            host = Host((gpu,), driver, platform)
            found = possible(host)
            rows = chosen(made_for(host.machine(), provider="pip"))
            refused += not rows
            assert bool(rows) == bool(found), host
            assert all(runs(row, host) for row in rows), host
            assert not found or [numbers(row["version"]) for row in rows] == [newest(found)], host
    assert refused > 5


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_gpu_gets_the_newest_torch_with_its_code_whatever_the_glibc(capability: str) -> None:
    for platform in PLATFORMS:
        for glibc in ("", "2.17", "2.28") if platform != "win-64" else ("",):
            for driver in ("", "535.104.05"):
                host = Host((capability,), driver, platform, glibc)
                found = possible(host)
                rows = chosen(made_for(host.machine(), provider="pip"))
                assert bool(rows) == bool(found), host
                assert all(runs(row, host) for row in rows), host
                assert not found or numbers(rows[0]["version"]) == newest(found), host


CONDA_BUILDS = [
    row
    for row in table("conda-builds")
    if row["package"] == "pytorch" and row["variant"] != "cpu" and "sms" in row
]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_conda_serves_a_machine_that_no_wheel_serves_by_its_newest_build_that_runs(platform: str) -> None:
    """`runs` is as well about conda builds; the cuDNN of a build is the law below this one's business."""
    served = {"pip": 0, "conda": 0, "": 0}
    for gpu in ("3.5", *GPUS):
        for driver in ("", "418.67", "450.80.02", "535.104.05", "595.71.05"):
            for glibc in ("", "2.17") if platform != "win-64" else ("",):
                host = Host((gpu,), driver, platform, glibc)
                made = made_for(host.machine())
                by_conda = [row for row in CONDA_BUILDS if runs(row, host)]
                (provider,) = {item.provider for item in made} or {""}
                served[provider] += 1
                assert provider == ("pip" if possible(host) else "conda" if by_conda else ""), host
                if provider == "conda":
                    (environment,) = made
                    assert numbers(environment.torch.version.public) == newest(by_conda), host
    assert served["pip"] > 5
    assert served[""] > 5
    assert (served["conda"] > 0) == (platform != "win-64")


def test_under_wsl_windows_floors_decide() -> None:
    for driver in drivers_around_floors("windows"):
        host = Host(("8.6",), driver, "linux-64", wsl=True)
        found = possible(host)
        rows = chosen(made_for(host.machine(), provider="pip"))
        assert bool(rows) == bool(found), host
        assert not found or numbers(rows[0]["version"]) == newest(found), host


@pytest.mark.parametrize("python", ["3.6", "3.9", "3.11", "3.14", "3.15"])
def test_a_python_gets_the_newest_torch_that_has_wheels_for_it(python: str) -> None:
    for platform in PLATFORMS:
        for release in ("", *RELEASES) if platform == "linux-64" else ("",):
            host = Host(platform=platform)
            found = [
                row
                for row in possible(host)
                if python in row["pythons"].split() and release in {"", row["version"]}
            ]
            pins = [f"torch=={release}"] if release else []
            rows = chosen(made_for(host.machine(), packages=pins, python=python, provider="pip"))
            assert bool(rows) == bool(found), (platform, release)
            assert not found or numbers(rows[0]["version"]) == newest(found), (platform, release)


def test_every_build_of_the_matrix_can_be_asked_for() -> None:
    for row in GPU_BUILDS:
        pins = [f"torch=={row['version']}"]
        made = made_for(machine(platform=row["platform"]), packages=pins, cuda=row["variant"], provider="pip")
        assert chosen(made, is_named=True) == [row]
        label = Version(made[0].torch.requirement.removeprefix("torch==")).local
        assert label == (row["variant"] if place_of(row, is_named=True) else None)


def test_the_python_of_a_plan_is_one_that_every_package_has() -> None:
    rows = {name: table(f"packages/{name}") for name in ("torchvision", "torchaudio", "triton")}
    for release in sorted({row["version"] for row in BUILDS}, key=Version):
        for name, releases in rows.items():
            for environment in made_for(packages=[f"torch=={release}", name]):
                (package,) = [item for item in environment.packages if item.name == name]
                (row,) = [row for row in releases if row["version"] == package.version.public]
                assert str(environment.python) in row["pythons"].split()
                assert environment.cuda is not None
                assert package.cuda_major in {None, environment.cuda.major}


# A newer driver is never worse.


@pytest.mark.parametrize(
    ("gpu", "platform"), [*((gpu, "linux-64") for gpu in GPUS[::2]), ("8.6", "win-64"), ("12.0", "linux-64")]
)
def test_a_newer_driver_never_gives_an_older_torch(gpu: str, platform: str) -> None:
    made = [
        max((item.torch.version for item in made_for(host.machine())), default=Version("0"))
        for driver in DRIVERS
        for host in [Host((gpu,), driver, platform)]
    ]
    assert all(older <= newer for older, newer in pairwise(made)), made


@settings(max_examples=25)
@given(found=st.lists(hosts, min_size=1, max_size=5), place=st.integers(0, 4), data=st.data())
def test_a_newer_driver_in_a_fleet_never_loses_a_plan_or_adds_an_environment(
    found: list[Host], place: int, data: st.DataObject
) -> None:
    old = found[place % len(found)]
    assume(old.driver)
    newer = data.draw(st.sampled_from(DRIVERS[DRIVERS.index(old.driver) :]))
    updated = [replace(host, driver=newer) if host is old else host for host in found]
    before, after = made_for(*fleet_of(found)), made_for(*fleet_of(updated))
    assert not before or 0 < len(after) <= len(before)


# Fleets.


@settings(max_examples=25)
@given(found=st.lists(hosts, min_size=1, max_size=5), one_more=hosts)
def test_one_more_machine_never_takes_an_environment_away(found: list[Host], one_more: Host) -> None:
    fewer, more = made_for(*fleet_of(found)), made_for(*fleet_of([*found, one_more]))
    assert not more or 0 < len(fewer) <= len(more)


def fewest(sets: set[frozenset[int]], count: int) -> int:
    """The size of the smallest cover, by trying all."""
    everything = frozenset(range(count))
    return next(
        size
        for size in range(1, count + 1)
        if any(frozenset[int]().union(*some) == everything for some in combinations(sets, size))
    )


@settings(max_examples=40)
@given(found=st.lists(hosts, min_size=1, max_size=6))
def test_a_fleet_gets_the_fewest_environments_each_of_which_runs_on_its_machines(found: list[Host]) -> None:
    covers = {frozenset(i for i, host in enumerate(found) if runs(row, host)) for row in GPU_BUILDS}
    made = made_for(*fleet_of(found), provider="pip")
    if frozenset[int]().union(*covers) != frozenset(range(len(found))):
        assert made == ()
        return
    assert len(made) == fewest(covers - {frozenset()}, len(found))
    served = [name for item in made for name in item.machines]
    assert sorted(served) == [f"m{index}" for index in range(len(found))]
    rows = chosen(made)
    for row, environment in zip(rows, made, strict=True):
        hosts_of_it = [found[int(name.removeprefix("m"))] for name in environment.machines]
        assert all(runs(row, host) for host in hosts_of_it)
        best = newest([row for row in GPU_BUILDS if all(runs(row, host) for host in hosts_of_it)])
        assert numbers(row["version"]) == best
        for host in hosts_of_it:
            assert numbers(row["version"]) == newest([other for other in rows if runs(other, host)])


def test_a_thousand_machines_of_24_kinds_are_planned_in_seconds() -> None:
    pairs = [
        (gpu, driver)
        for gpu in ("6.0", "6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0")
        for driver in ("525.60.13", "560.35.03", "580.95.05")
    ]
    assert len(pairs) == 24
    fleet = [machine(f"n{i:04}", [gpu], driver) for i in range(1000) for gpu, driver in [pairs[i % 24]]]
    began = time.process_time()
    made = plan_for(*fleet)
    assert time.process_time() - began < 2
    assert sum(len(item.machines) for item in made.environments) == 1000


# Taking something back.


def without(spec: Spec, text: str) -> Spec:
    """A spec without one of the statements that a refusal quotes."""
    for pattern, take_back in TAKE_BACK.items():
        if match := re.fullmatch(pattern, text):
            return take_back(spec, match)
    left = tuple(item for item in spec.packages if f"`{item.requirement}`" != text)
    assert len(left) < len(spec.packages), text
    return replace(spec, packages=left)


def on(spec: Spec, name: str, **facts: Any) -> Spec:
    """A spec with other facts of one machine."""
    assert name in {item.name for item in spec.machines}
    machines = tuple(replace(item, **facts) if item.name == name else item for item in spec.machines)
    return replace(spec, machines=machines)


TAKE_BACK: dict[str, Callable[[Spec, re.Match[str]], Spec]] = {
    r"python `.*`": lambda spec, _: replace(spec, python=None),
    r"cuda `.*`": lambda spec, _: replace(spec, cuda=CudaRequest("any")),
    r"provider `.*`": lambda spec, _: replace(spec, provider=Provider.AUTO),
    r"driver (?:API version )?\S+ on `(.*)`": lambda spec, match: on(
        spec, match[1], driver=None, driver_api=None
    ),
    r"glibc \S+ on `(.*)`": lambda spec, match: on(spec, match[1], glibc=None),
    r"[^`].* in `(.*)`": lambda spec, match: on(spec, match[1], gpus=None),
}


def is_known(request: PackageRequest) -> bool:
    return request.name in {"torch", "torchvision", "torchaudio", "triton"}


def statements(spec: Spec) -> Iterator[str]:
    """Everything of a spec that a refusal may quote."""
    yield from (f"`{item.requirement}`" for item in spec.packages if is_known(item))
    if spec.python:
        yield f"python `{spec.python.text}`"
    if not spec.cuda.is_any:
        yield f"cuda `{spec.cuda.text}`"
    if spec.provider is not Provider.AUTO:
        yield f"provider `{spec.provider}`"
    for item in spec.machines:
        yield from (f"{gpu.label} in `{item.name}`" for gpu in item.gpus or ())
        if item.driver:
            yield f"driver {item.driver.value} on `{item.name}`"
        if item.glibc:
            yield f"glibc {item.glibc.value} on `{item.name}`"


@settings(max_examples=30)
@given(spec=specs())
def test_taking_a_statement_back_never_turns_a_plan_into_a_refusal(spec: Spec) -> None:
    """All but `cuda = "cpu"`: without it the GPUs count, and that is more to ask."""
    assume(validated(plan(spec)).refusal is None)
    for text in set(statements(spec)) - {"cuda `cpu`"}:
        assert plan(without(spec, text)).refusal is None, text


@settings(max_examples=40)
@given(spec=specs())
def test_a_conflict_has_no_plan_and_has_one_without_any_of_its_statements(spec: Spec) -> None:
    refusal = validated(plan(spec)).refusal
    assume(refusal is not None)
    assert refusal is not None
    conflict = set(refusal.conflict)
    known = list(dict.fromkeys(statements(spec)))
    assert conflict
    assert conflict <= set(known)
    assert refusal.because
    alone = spec
    for text in known:
        if text not in conflict:
            alone = without(alone, text)
    assert plan(alone).refusal is not None
    for text in conflict:
        assert plan(without(alone, text)).refusal is None, text


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
    r"leave machine `(.*)` out": lambda spec, match: replace(
        spec, machines=tuple(item for item in spec.machines if item.name != match[1])
    ),
    r"leave (.*) out of this environment": lambda spec, match: without(spec, match[1]),
    r"leave (.*) out": lambda spec, match: without(spec, match[1]),
}


def replayed(spec: Spec, change: str) -> Spec:
    """A spec with a remedy applied as a reader of its text would."""
    matches = ((re.fullmatch(pattern, change), apply) for pattern, apply in CHANGES.items())
    match, apply = next(pair for pair in matches if pair[0])
    assert match is not None
    return apply(spec, match)


@settings(max_examples=40)
@given(spec=specs())
def test_every_remedy_makes_the_plan_that_it_promises(spec: Spec) -> None:
    refusal = plan(spec).refusal
    assume(refusal is not None)
    assert refusal is not None
    _, _, also = refusal.text.partition("nor is there one for ")
    stuck_too = set(re.findall(r"`([^`]*)`", also))
    others = replace(spec, machines=tuple(item for item in spec.machines if item.name not in stuck_too))
    for remedy in refusal.remedies:
        made = plan(replayed(others, remedy.change))
        assert made.refusal is None, remedy
        for environment in made.environments:
            assert f"{environment.torch.version.public}+{environment.variant}" in remedy.plan, remedy


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("pin", ["torch>=2.15", "torch==2.5.1", "torch==1.13.1"])
def test_a_refused_gpu_is_told_the_nearest_release_that_has_its_code(gpu: str, pin: str) -> None:
    host = Host((gpu,))
    refusal = plan_for(host.machine(), packages=[pin], provider="pip").refusal
    if refusal is None:
        return
    (first, *_) = refusal.remedies
    release = first.change.split()[1]
    asked = pin.rpartition("=")[2]
    versions = {row["version"] for row in possible(host)}
    between = sorted((numbers(release), numbers(asked)))
    nearer = {text for text in versions if between[0] < numbers(text) < between[1]}
    assert release in versions
    assert nearer == set()


# Order, and sameness.


def shuffled(tables: Tables, seed: int) -> Tables:
    """The same tables with their rows in another order."""
    dice = random.Random(seed)  # noqa: S311

    def mixed(rows: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(dice.sample(list(rows), len(rows)))

    return replace(
        tables,
        cuda=mixed(tables.cuda),
        toolkits=mixed(tables.toolkits),
        architectures=mixed(tables.architectures),
        torch=mixed(tables.torch),
        packages={name: mixed(rows) for name, rows in reversed(list(tables.packages.items()))},
    )


@settings(max_examples=15)
@given(spec=specs(), seed=st.integers(0, 3))
def test_the_order_of_rows_machines_and_packages_says_nothing(spec: Spec, seed: int) -> None:
    made = plan(spec)
    assert essence(make_plan(spec, other_order(seed))) == essence(made)
    turned = replace(spec, machines=spec.machines[::-1], packages=spec.packages[::-1])
    assert essence(plan(turned)) == essence(made)


@cache
def other_order(seed: int) -> Matrix:
    return Matrix(shuffled(few_releases().tables, seed))


@settings(max_examples=8)
@given(spec=specs())
def test_equal_specs_have_equal_plans_to_the_byte(spec: Spec) -> None:
    fresh = Matrix(few_releases().tables)
    assert json.dumps(plan_json(make_plan(replace(spec), fresh))) == json.dumps(plan_json(plan(spec)))


SCRIPT = """
import json, sys
from cudaenv.model.plan_json import plan_json
from tests.support.planning import machine, plan_for
for pins in (["torch>2.14.1,<2.15,!=2.13.0"], ["torchvision>=0.20,<0.29,!=0.25"], ["torch<2.0,>=2.5"]):
    print(json.dumps(plan_json(plan_for(machine("a", ["P100"]), machine("b", ["B200"]), packages=pins))))
"""


def test_a_plan_is_the_same_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
