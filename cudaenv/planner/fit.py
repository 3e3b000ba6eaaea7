"""Whether a planned environment runs on a machine that stands before us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import Reason
from cudaenv.model.spec import CudaRequest, Provider, Spec
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.problem import Problem
from cudaenv.planner.rules import machine_rejections
from cudaenv.planner.search import units
from cudaenv.planner.stacks import Stack, of_wheel, stacks


def misfits(environment: Mapping[str, Any], machine: Machine, matrix: Matrix) -> tuple[Reason, ...]:
    """What stands against an environment, in its JSON form, on a machine.

    A machine without an NVIDIA GPU and driver has nothing that could misfit but platform and glibc; of
    several kinds of GPU one that it serves is enough.
    """
    platform = Platform(environment["platform"])
    if machine.platform is None or machine.platform.value is not platform:
        here = machine.platform.value if machine.platform else "not known"
        return (Reason("platform", f"it is for {platform}, and this machine is {here}", "cudaenv.lock"),)
    stack = _stack(environment, platform, matrix)
    if stack is None:
        return ()
    problem = Problem(Spec(cuda=CudaRequest("cpu") if stack.cuda is None else CudaRequest("any")), matrix)
    against = [
        tuple(
            reason
            for reason in machine_rejections(Candidate(stack=stack), unit, problem)
            if reason.rule != "no-gpu"
        )
        for unit, _ in units(machine)
    ]
    return min(against, key=len)


def _stack(environment: Mapping[str, Any], platform: Platform, matrix: Matrix) -> Stack | None:
    """The stack that an environment was planned on; None for one that the matrix no longer has."""
    torch = environment["packages"].get("torch")
    if torch is None:
        return None
    version = Version(Version(torch["version"]).public)
    if environment["provider"] == Provider.CONDA:
        asked = Problem(Spec(provider=Provider.CONDA), matrix)
        found = stacks(asked, platform)
    else:
        found = (of_wheel(build) for build in matrix.builds(platform))
    return next(
        (stack for stack in found if stack.version == version and stack.variant == environment["variant"]),
        None,
    )
