"""What requirements.build.txt is filled with: the phases of building."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cudaenv.model.plan import Environment, Phase, Plan
from cudaenv.render.plan_text import wrapped
from cudaenv.render.values import (
    VALUE,
    VARIABLE,
    checked,
    environment_file,
    package_text,
    requirement_text,
)

COMMENT_WIDTH: Final = 98


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
            notes=list(phase_notes(phase)),
            install=[package_text(built[text]) for text in phase.install],
            env=checked_variables(phase.env),
        )
        for phase in environment.phases
        if phase.builds
    ]


def phase_notes(phase: Phase) -> Iterator[str]:
    """What a build needs, with which variables, how long it takes, and why so."""
    if phase.requires:
        needed = ", ".join(requirement_text(text) for text in phase.requires)
        yield from wrapped(f"Needs before: {needed}", width=COMMENT_WIDTH)
    if phase.env:
        yield " ".join(f'{key}="{value}"' for key, value in phase.env)
    if phase.minutes:
        yield f"Measured to take {phase.minutes} minutes on 2 cores for these architectures."
    for note in phase.notes:
        yield from wrapped(note, "- ", "  ", COMMENT_WIDTH)


def checked_variables(env: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Variables whose names and values may stand in a file; ValueError for any other."""
    return [
        (checked(VARIABLE, key, "a name of a variable"), checked(VALUE, value, "a value of a variable"))
        for key, value in env
    ]
