"""What conda reads of a plan: environment.yml, and the virtual packages to solve it for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cudaenv.model.plan import CondaPart, Environment, Plan
from cudaenv.render.plan_text import wrapped
from cudaenv.render.values import NAME, checked, environment_file

NODEFAULTS = "nodefaults"
"""Keeps conda's own default channels out of `conda env create`."""
COMMENT_WIDTH = 98


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentView:
    """What environment.yml is filled with."""

    name: str
    notes: list[str]
    installing: list[str]
    channels: list[str]
    platform: str
    specs: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualView:
    """What virtual-packages.yml is filled with."""

    notes: list[str]
    platform: str
    packages: list[tuple[str, str]]


def environment_view(plan: Plan, environment: Environment, notes: Sequence[str]) -> EnvironmentView:
    """What conda, mamba, micromamba and conda-lock install; pip's part stands in files of its own."""
    part = _part(environment)
    return EnvironmentView(
        name=checked(NAME, f"cudaenv-{environment.name}", "a name of an environment"),
        notes=list(notes),
        installing=list(_installing(plan, environment, part)),
        channels=[*part.channels, NODEFAULTS],
        platform=str(environment.platform),
        specs=list(part.specs),
    )


def _installing(plan: Plan, environment: Environment, part: CondaPart) -> Iterator[str]:
    name = environment_file(plan, environment, "environment.yml")
    virtual = environment_file(plan, environment, "virtual-packages.yml")
    cuda = dict(part.virtual_packages).get("__cuda", "")
    yield "The order of the channels counts; the build strings make a CPU build impossible."
    yield f"  conda env create -f {name}"
    yield f"Where there is no GPU (CI, docker build, a GPU-less node): CONDA_OVERRIDE_CUDA={cuda} before it."
    yield "`cudaenv lock` locks it for these machines; conda-lock does where it is told of them:"
    yield f"  conda-lock lock -f {name} --virtual-package-spec {virtual}"
    if environment.env:
        yield "After activating, for compiling:"
        yield "  export " + " ".join(f'{key}="{value}"' for key, value in environment.env)
    if environment.asked:
        requirements = environment_file(plan, environment, "requirements.txt")
        yield f"Then, inside of it: pip install -r {requirements}"
    if environment.built:
        builds = environment_file(plan, environment, "requirements.build.txt")
        yield f"And last, without build isolation: {builds}"


def virtual_view(environment: Environment) -> VirtualView:
    """What a solver takes for granted of the machines."""
    part = _part(environment)
    notes = wrapped(
        "What the solver assumes of the machines. Without it conda-lock assumes CUDA 11.4, and takes CPU "
        "builds.",
        width=COMMENT_WIDTH,
    )
    return VirtualView(notes=notes, platform=str(environment.platform), packages=list(part.virtual_packages))


def _part(environment: Environment) -> CondaPart:
    if environment.conda is None:
        raise ValueError(f"{environment.name} is not from conda")
    return environment.conda
