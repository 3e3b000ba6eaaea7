"""Why packages beside torch, and the toolkit, are as they are."""

from __future__ import annotations

from collections.abc import Iterator

from cudaenv.matrix.packages import Release
from cudaenv.model.plan import Decision, How, Reason
from cudaenv.model.spec import Provider
from cudaenv.planner.picks import Pick
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.search import Choice
from cudaenv.planner.toolkits import newest_gcc, tag


def package_decision(choice: Choice, pick: Pick, problem: Problem) -> Decision:
    """Which release of a package, and why."""
    package, stack = pick.package, choice.candidate.stack
    reasons = list(_build_reasons(pick, choice, problem)) if pick.builds else []
    bound = pick.row.torch if isinstance(pick.row, Release) else None
    if package.how is not How.BUILD:
        text = f"it requires torch `{bound}`" if bound else "it goes with what is planned"
        if package.channel:
            text = f"the channel {package.channel} has it for this torch"
        reasons.append(Reason("companions", text, problem.matrix.cite(pick.row)))
    if package.index_url and package.listing:
        reasons.append(
            Reason("index", f"its wheels lie at {package.index_url}", problem.matrix.cite(pick.row))
        )
    if package.cuda_major is not None and package.variant not in {stack.variant, ""}:
        reasons.append(
            Reason(
                "companions",
                f"there is no {stack.variant} build of it; {package.variant} is of the same CUDA major",
                problem.matrix.cite(pick.row),
            )
        )
    return Decision(
        question=f"Which {pick.name} for {stack.name} {stack.label}?",
        answer=package.requirement,
        because=tuple(reasons),
    )


def _build_reasons(pick: Pick, choice: Choice, problem: Problem) -> Iterator[Reason]:
    stack = choice.candidate.stack
    if pick.package.how is How.WHEEL:
        for row in pick.builds:
            text = f"its wheel compiles its code when it is first imported: {row.breaks}"
            yield Reason("late-build", text, problem.matrix.cite(row))
        return
    yield Reason(
        "source-build",
        f"no prebuilt wheel of {pick.name} goes with {stack.title}, so it is built from source, without "
        f"build isolation",
        problem.matrix.cite(pick.row),
    )
    for row in pick.builds:
        if row.breaks:
            remedy = f"; {row.remedy}" if row.remedy else ""
            needs = f" (installed before: {', '.join(map(str, row.requires))})" if row.requires else ""
            yield Reason("source-build", f"{row.breaks}{remedy}{needs}", problem.matrix.cite(row))


def toolkit_decision(choice: Choice, problem: Problem) -> Decision:
    """Which toolkit, or why none is needed."""
    toolkit, stack = choice.candidate.toolkit, choice.candidate.stack
    question = f"Which toolkit for {stack.name} {stack.label}?"
    if toolkit is None:
        names = ", ".join(name for name in problem.requests if name != TORCH) or "what is planned"
        text = f"{names} needs no nvcc: it compiles with a library that comes with it"
        reason = Reason("toolkit", text, problem.target.origin)
        return Decision(question=question, answer="none", because=(reason,))
    reasons = [
        Reason(
            "toolkit",
            f"nvcc has to be of CUDA {toolkit.cuda.major} as torch is (another major is refused), and of "
            f"{toolkit.cuda} as another minor version is warned of"
            if stack.name == TORCH
            else f"the drivers run CUDA {toolkit.cuda}",
            problem.matrix.cite(toolkit.rows[0]),
        )
    ]
    newest = newest_gcc(stack, problem.matrix)
    if newest is not None:
        row = problem.matrix.toolkit(toolkit.cuda)
        assert row is not None  # noqa: S101  newest_gcc has read it
        reasons.append(
            Reason("host-compiler", f"its nvcc accepts gcc up to {newest}", problem.matrix.cite(row))
        )
    if toolkit.image is not None:
        reasons.append(Reason("image", f"{tag(toolkit.image)} has both", problem.matrix.cite(toolkit.image)))
    answer = {
        Provider.PIP: f"CUDA {toolkit.cuda} by wheels",
        Provider.CONDA: f"CUDA {toolkit.cuda} by conda",
        Provider.SYSTEM: f"CUDA {toolkit.cuda} of the system",
    }[toolkit.provider]
    return Decision(question=question, answer=answer, because=tuple(reasons))
