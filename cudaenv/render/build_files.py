"""Files of environments in which something is compiled: the phases of building, and an image for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cudaenv.model.plan import Environment, Phase, Plan
from cudaenv.render.plan_text import wrapped
from cudaenv.render.values import (
    IMAGE,
    PYTHON,
    VALUE,
    VARIABLE,
    checked,
    environment_file,
    package_text,
    requirement_text,
)

COMMENT_WIDTH: Final = 98
HOST_COMPILER_FLAGS: Final = "NVCC_PREPEND_FLAGS"
"""Which compiler nvcc calls on a machine; an image is chosen for its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseView:
    """One build: what it installs, with which variables, and why so."""

    notes: list[str]
    install: list[str]
    env: list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildsView:
    """What requirements.build.txt is filled with."""

    notes: list[str]
    phases: list[PhaseView]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildImageView:
    """What a Dockerfile with a compiler is filled with.

    `base_image` is empty where it runs in the image that it is built in, `uv_python` where that has the
    Python.
    """

    notes: list[str]
    build_image: str
    base_image: str
    uv_python: str
    apt: list[str]
    env: list[tuple[str, str]]
    lock: str
    phases: list[PhaseView]


def builds_view(plan: Plan, environment: Environment) -> BuildsView:
    """The packages that are built, each after those before it."""
    name = environment_file(plan, environment, "requirements.build.txt")
    requirements = environment_file(plan, environment, "requirements.txt")
    notes = [
        *wrapped(
            f"Built from source after {requirements} is installed, for building needs torch. Each on its "
            "own, with the variables that stand above it:",
            width=COMMENT_WIDTH,
        ),
        f"  pip install --no-build-isolation --no-deps -r {name}",
    ]
    return BuildsView(notes=notes, phases=_phases(environment))


def _phases(environment: Environment) -> list[PhaseView]:
    built = {package.requirement: package for package in environment.built}
    return [
        PhaseView(
            notes=list(_phase_notes(phase)),
            install=[package_text(built[text]) for text in phase.install],
            env=_checked(phase.env),
        )
        for phase in environment.phases
        if phase.builds
    ]


def _phase_notes(phase: Phase) -> Iterator[str]:
    if phase.requires:
        needed = ", ".join(requirement_text(text) for text in phase.requires)
        yield from wrapped(f"Needs before: {needed}", width=COMMENT_WIDTH)
    if phase.env:
        yield " ".join(f'{key}="{value}"' for key, value in phase.env)
    if phase.minutes:
        yield f"Measured to take {phase.minutes} minutes on 2 cores for these architectures."
    for note in phase.notes:
        yield from wrapped(note, "- ", "  ", COMMENT_WIDTH)


def _checked(env: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (checked(VARIABLE, key, "a name of a variable"), checked(VALUE, value, "a value of a variable"))
        for key, value in env
    ]


def build_image_view(plan: Plan, environment: Environment, notes: Sequence[str]) -> BuildImageView:
    """An image that compiles, and a smaller one that runs where it does not have to compile, too."""
    build = checked(IMAGE, environment.build_image, "an image reference")
    run = checked(IMAGE, environment.base_image, "an image reference")
    is_slim = build.startswith("python:")
    compiles_later = build == run
    return BuildImageView(
        notes=list(notes),
        build_image=build,
        base_image="" if compiles_later else _runtime(build, run),
        uv_python="" if is_slim else checked(PYTHON, str(environment.python), "a Python version"),
        apt=["g++", "git"] if is_slim else ["g++", "git", "python3-venv"],
        env=[item for item in _checked(environment.env) if item[0] != HOST_COMPILER_FLAGS],
        lock=environment_file(plan, environment, "requirements.lock"),
        phases=_phases(environment),
    )


def _runtime(build: str, run: str) -> str:
    """The image to run in: the same system as it was built on, so that its libraries are there."""
    system = build.rpartition("-")[2]
    return f"ubuntu:{system.removeprefix('ubuntu')}" if system.startswith("ubuntu") else run
