"""Preferences: which of the candidates that will do is better, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cudaenv.matrix.tables import DEFAULT_INDEX
from cudaenv.model.machine import Machine
from cudaenv.model.plan import Level
from cudaenv.model.spec import Provider
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.compatibility import Code, Reach, is_newer_than_matrix, reach
from cudaenv.planner.problem import TORCH, Problem

Rank = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Preference:
    """One step of the order of preference: a name for people, and a value of which the lower is better."""

    name: str
    value: Callable[[Candidate, Sequence[Machine], Problem], Any]


def level(candidate: Candidate, machines: Sequence[Machine], problem: Problem) -> Level:
    """How the drivers run a candidate, the weakest of them; an unknown driver by minor compatibility."""
    if candidate.stack.cuda is None:
        return Level.DIRECT
    line = problem.matrix.line(candidate.stack.cuda)
    levels = {problem.driver(machine).level(line) for machine in machines}
    return Level.DIRECT if levels == {Level.DIRECT} else Level.MINOR


def _unverified(candidate: Candidate, machines: Sequence[Machine], problem: Problem) -> bool:
    """Whether a GPU is let through only because it is newer than the matrix."""
    stack = candidate.stack
    if stack.name != TORCH:
        return False
    return any(
        reach(Code.of(stack), gpu, problem.driver(machine), problem.matrix) is Reach.UNVERIFIED
        for machine in machines
        for gpu in machine.gpus or ()
        if is_newer_than_matrix(gpu, problem.matrix)
    )


def _indirect(candidate: Candidate, machines: Sequence[Machine], problem: Problem) -> bool:
    return level(candidate, machines, problem) is not Level.DIRECT


def _beside(candidate: Candidate, _machines: Sequence[Machine], _problem: Problem) -> bool:
    """Whether the compiler comes from elsewhere although conda has one for other CUDAs."""
    toolkit = candidate.toolkit
    return (
        candidate.stack.provider is Provider.CONDA
        and toolkit is not None
        and toolkit.provider is not Provider.CONDA
    )


def _indirect_compiler(candidate: Candidate, machines: Sequence[Machine], problem: Problem) -> bool:
    """Compiling makes PTX, which only a driver as new as the toolkit can load."""
    return problem.target.compiles and _indirect(candidate, machines, problem)


def _release(candidate: Candidate, _machines: Sequence[Machine], _problem: Problem) -> tuple[int, ...]:
    return tuple(-part for part in (*candidate.stack.version.release, 0, 0, 0)[:4])


def _provider(candidate: Candidate, _machines: Sequence[Machine], problem: Problem) -> int:
    order = problem.target.providers
    return order.index(candidate.provider) if candidate.provider in order else len(order)


def _place(candidate: Candidate, _machines: Sequence[Machine], _problem: Problem) -> int:
    """The build whose version names its CUDA where the user names one, else the one that PyPI has."""
    stack = candidate.stack
    if stack.labelled:
        return 0
    return 1 if stack.index == DEFAULT_INDEX else 2


def _cuda(candidate: Candidate, _machines: Sequence[Machine], _problem: Problem) -> tuple[int, int]:
    cuda = candidate.stack.cuda
    return (-cuda.major, -cuda.minor) if cuda else (0, 0)


PREFERENCES: tuple[Preference, ...] = (
    Preference("a Python that still gets security fixes", lambda candidate, _m, _p: candidate.is_outdated),
    Preference("fewer packages to build", lambda candidate, _m, _p: len(candidate.built)),
    Preference("machine code or PTX that is known for every GPU", _unverified),
    Preference("a compiler from conda where the rest is from conda", _beside),
    Preference("a driver that loads the PTX which is compiled", _indirect_compiler),
    Preference("the newest torch", _release),
    Preference("the order of the target's providers", _provider),
    Preference("a driver that is directly compatible", _indirect),
    Preference("the build that PyPI itself has, or the CUDA that is named", _place),
    Preference("the newest CUDA", _cuda),
)
"""The order of preference among environments of one tier (see `Candidate.tier`), the first decides."""


def rank(candidate: Candidate, machines: Sequence[Machine], problem: Problem) -> Rank:
    """The order of preference as values, the best first."""
    return tuple(preference.value(candidate, machines, problem) for preference in PREFERENCES)


def advantage(better: Candidate, worse: Candidate, machines: Sequence[Machine], problem: Problem) -> str:
    """The name of the first preference by which one candidate is before another."""
    if better.tier[0] != worse.tier[0]:
        return "nothing has to be built"
    if better.tier[1] != worse.tier[1]:
        return "wheels come before conda where both will do"
    pairs = zip(PREFERENCES, rank(better, machines, problem), rank(worse, machines, problem), strict=True)
    return next((item.name for item, ours, theirs in pairs if ours != theirs), "equal")
