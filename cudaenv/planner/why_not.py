"""Why a plan is not another one: what stands against what the user has in mind, or what is better than it."""

from __future__ import annotations

from dataclasses import dataclass

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.plan import Plan
from cudaenv.model.spec import Spec
from cudaenv.planner.plan import make_plan
from cudaenv.planner.problem import Problem
from cudaenv.planner.ranking import advantage
from cudaenv.planner.search import solve


@dataclass(frozen=True, slots=True)
class Answer:
    """The plan for what the user has in mind, or its refusal, and why it is not the one that is made."""

    other: Plan
    reason: str


def why_not(spec: Spec, other: Spec, matrix: Matrix) -> Answer:
    """Plan what the user has in mind, and say by which preference what is planned is before it.

    The reason is empty where one of them is refused: then the refusal says it.
    """
    plan = make_plan(other, matrix)
    problem = Problem(spec, matrix)
    ours, theirs = solve(problem), solve(Problem(other, matrix))
    if ours is None or theirs is None:
        return Answer(plan, "")
    if len(ours) < len(theirs):
        # More are no reason by themselves: then those with a preference are apart from the others.
        verb = "is" if len(ours) == 1 else "are"
        return Answer(plan, f"{len(ours)} {verb} fewer environments than {len(theirs)}")
    if [choice.candidate.stack.title for choice in ours] == [item.candidate.stack.title for item in theirs]:
        is_planned = make_plan(spec, matrix).environments == plan.environments
        return Answer(plan, "it is what is planned" if is_planned else "nothing, it has the same CUDA")
    pairs = zip(ours, theirs, strict=False)
    chosen, rival = next(
        (pair for pair in pairs if pair[0].candidate.stack.title != pair[1].candidate.stack.title),
        (ours[0], theirs[0]),
    )
    machines = [kind.machine for kind in chosen.kinds]
    return Answer(plan, advantage(chosen.candidate, rival.candidate, machines, problem))
