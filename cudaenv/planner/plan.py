"""The planner: a spec and the matrix in, a plan out."""

from __future__ import annotations

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.plan import Plan
from cudaenv.model.spec import Spec
from cudaenv.planner.environments import environments
from cudaenv.planner.explain import decisions
from cudaenv.planner.problem import Problem
from cudaenv.planner.refusal import refuse
from cudaenv.planner.remarks import assumptions, warnings
from cudaenv.planner.search import solve


def make_plan(spec: Spec, matrix: Matrix) -> Plan:
    """Plan the environments that a spec asks for, or refuse with reasons and remedies.

    The spec holds its machines; what nobody could tell of them is assumed, and the plan says so.
    """
    problem = Problem(spec, matrix)
    choices = solve(problem)
    if choices is None:
        return Plan(refusal=refuse(problem))
    return Plan(
        environments=environments(choices, problem),
        decisions=decisions(choices, problem),
        assumptions=assumptions(choices, problem),
        warnings=warnings(choices, problem),
    )
