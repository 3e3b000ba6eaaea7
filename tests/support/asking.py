"""Questions for the planner beyond run-only, and the tables of the matrix as plain texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import yaml

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Machine
from cudaenv.model.plan import Environment, Plan, PlannedPackage
from cudaenv.model.spec import CudaRequest, Provider, PythonRequest, Spec
from cudaenv.model.spec_reader import parse_package
from cudaenv.planner.environments import environments
from cudaenv.planner.plan import make_plan
from cudaenv.planner.problem import Problem
from cudaenv.planner.search import solve
from tests.support.planning import ROOT, machine, matrix

Row: TypeAlias = dict[str, str]

TARGETS = ("run-only", "develop-kernels", "mmcv-full", "xformers")
PROVIDERS = ("auto", "pip", "conda", "system")
PLATFORMS = ("linux-64", "linux-aarch64", "win-64")
DRIVERS = (
    "340.108", "418.67", "450.80.02", "470.82.01", "525.60.13", "535.104.05", "550.54.15", "560.35.03",
    "570.86.10", "580.95.05", "595.71.05", "615.71.09",
)  # fmt: skip


@cache
def rows(name: str, part: str = "rows") -> list[Row]:
    """Return a table as its file has it."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "matrix" / f"{name}.yaml").read_text("utf-8"))
    found: list[Row] = document[part]
    return found


@cache
def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare it by."""
    return tuple(int(part) for part in text.split("."))


CAPABILITIES = tuple(sorted((row["sm"] for row in rows("architectures")), key=numbers))
TEGRA = frozenset(row["sm"] for row in rows("architectures") if row.get("tegra"))
LINES = {row["cuda"]: row for row in rows("cuda")}
TOOLKITS = {row["cuda"]: row for row in rows("toolkits")}


def drivers_around_floors(os_name: str) -> list[str]:
    """Return every floor of `linux` or `windows` with the driver just below it, and the ends of the range."""
    floors = {row[column] for row in LINES.values() for column in row if column.startswith(os_name)}
    parts = [floor.rpartition(".") for floor in floors]
    below = {f"{head}.{int(tail) - 1}" for head, dot, tail in parts if dot and int(tail) > 0}
    exact = {floor for floor in floors if "." in floor}
    return sorted({*exact, *below, "340.108", "700.1"}, key=numbers)


def lab(gpu: str, driver: str = "", platform: str = "linux-64", **facts: Any) -> Machine:
    """Return a machine with one GPU."""
    return machine("lab", [gpu], driver, platform=platform, **facts)


def asked(
    *machines: Machine,
    target: str = "run-only",
    packages: Sequence[str] = (),
    provider: str = "auto",
    cuda: str = "any",
    python: str = "",
) -> Spec:
    """Return a spec; its parts as they are written in one."""
    return Spec(
        machines=machines,
        target=target,
        packages=tuple(parse_package(text, "test") for text in packages),
        provider=Provider(provider),
        cuda=CudaRequest.parse(cuda),
        python=PythonRequest.parse(python) if python else None,
    )


def ask(*machines: Machine, **parts: Any) -> Plan:
    """Plan for a spec; see `asked`."""
    return make_plan(asked(*machines, **parts), matrix())


def the(*machines: Machine, **parts: Any) -> Environment:
    """Return the only environment of a plan."""
    (environment,) = ask(*machines, **parts).environments
    return environment


def planned(spec: Spec, tables: Matrix | None = None) -> tuple[Environment, ...]:
    """Return the environments of a plan, none where it is refused, without looking for remedies."""
    problem = Problem(spec, tables or matrix())
    choices = solve(problem)
    return () if choices is None else environments(choices, problem)


def package(environment: Environment, name: str) -> PlannedPackage:
    """Return a package of an environment."""
    return next(item for item in environment.packages if item.name == name)


def has_own_driver(cuda: str, driver: str, platform: str = "linux-64") -> bool:
    """Whether a driver's own CUDA is at least a line, so that PTX of its toolkit loads."""
    own = LINES[cuda].get("windows_own" if platform == "win-64" else "linux_own")
    return own is not None and numbers(driver) >= numbers(own)


def driver_runs(cuda: str, driver: str, platform: str = "linux-64") -> bool:
    """Whether a driver runs a line, by itself or by minor-version compatibility."""
    minor = LINES[cuda].get("windows_minor" if platform == "win-64" else "linux_minor")
    return has_own_driver(cuda, driver, platform) or (minor is not None and numbers(driver) >= numbers(minor))


def runs_machine_code(sms: Sequence[str], gpu: str) -> bool:
    """Whether a GPU runs machine code: of its major and an equal or lower minor, a board's own alone."""
    if gpu in TEGRA:
        return gpu in sms
    major, minor = numbers(gpu)
    return any(numbers(sm)[0] == major and numbers(sm)[1] <= minor for sm in sms if sm not in TEGRA)


def compiles_for(cuda: str, gpu: str) -> bool:
    """Whether the nvcc of a line knows an architecture whose machine code runs on a GPU."""
    return runs_machine_code(TOOLKITS[cuda]["sms"].split(), gpu)
