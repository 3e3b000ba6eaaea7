"""Why a plan is as it is: decisions with reasons and sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from cudaenv.matrix.tables import DEFAULT_INDEX
from cudaenv.model.plan import Decision, Level, Reason
from cudaenv.model.spec import Provider
from cudaenv.planner.alternatives import better
from cudaenv.planner.compatibility import Code, sass_for
from cudaenv.planner.environments import pins, served
from cudaenv.planner.explain_packages import package_decision, toolkit_decision
from cudaenv.planner.machine_rules import driver_text, listing
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.search import Choice, MachineKind


def decisions(choices: Sequence[Choice], problem: Problem) -> tuple[Decision, ...]:
    """The questions that the plan answers, for every environment."""
    found = [_provider(choices, problem)]
    if len(choices) > 1:
        found.append(_several(choices))
    for choice in choices:
        found.append(_stack(choice, problem))
        found += _sharing(choice, problem)
        found += [package_decision(choice, pick, problem) for pick in choice.candidate.picks]
        found += (
            [toolkit_decision(choice, problem)] if problem.target.compiles or choice.candidate.toolkit else []
        )
        found += _held_back(choice, problem)
    found.append(_python(choices, problem))
    return tuple(dict.fromkeys(found))


def _for(choice: Choice, problem: Problem) -> str:
    names = served(choice, problem)
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{shown} ({choice.candidate.stack.platform})"


def _provider(choices: Sequence[Choice], problem: Problem) -> Decision:
    target = problem.target
    if all(choice.candidate.stack.cuda is None for choice in choices):
        row = choices[0].candidate.stack.row
        reason = Reason("cpu", "only CPU builds are planned", problem.matrix.cite(row))
        return Decision(question="Where does CUDA come from?", answer="nowhere", because=(reason,))
    reasons = [Reason("target", target.why, target.origin)]
    if problem.spec.provider is not Provider.AUTO:
        text = f'provider = "{problem.spec.provider}" asks for it'
        reasons = [Reason("provider", text, "provider of the spec")]
    stacks = {choice.candidate.stack for choice in choices}
    eras = {stack.era for stack in stacks if stack.era}
    reasons += [Reason("conda-era", era.says, problem.matrix.cite(era)) for era in eras]
    if eras:
        reasons += _other_eras(choices, problem)
    answers = dict.fromkeys(
        ANSWERS[choice.candidate.provider] for choice in choices if choice.candidate.stack.cuda
    )
    return Decision(
        question="Where does CUDA come from?", answer=" and ".join(answers), because=tuple(reasons)
    )


ANSWERS = {
    Provider.PIP: "pip wheels",
    Provider.CONDA: "conda packages",
    Provider.SYSTEM: "pip wheels, and a toolkit of the system",
}


def _other_eras(choices: Sequence[Choice], problem: Problem) -> Iterator[Reason]:
    """Where conda-forge serves, why not the channels that upstream once built for."""
    used = {choice.candidate.stack.channel for choice in choices}
    for era in problem.matrix.tables.conda_eras:
        if era.channels[0] not in used and "nvidia" in era.channels[1:]:
            yield Reason(
                "conda-era",
                f"the channel {era.channels[0]} would be for torch {era.torch} alone, and takes CUDA from "
                f"the channel nvidia, which mirrors of conda channels often lack",
                problem.matrix.cite(era),
            )


def _several(choices: Sequence[Choice]) -> Decision:
    """Why one environment is not enough: what stands against each for the machines of the others."""
    reasons: list[Reason] = []
    for choice in choices:
        for other in choices:
            if other is not choice and other.assessment.platform is choice.assessment.platform:
                reasons += islice(choice.assessment.rejections(choice.candidate, other.kinds), 1)
    return Decision(
        question="How many environments?",
        answer=str(len(choices)),
        because=tuple(dict.fromkeys(reasons))
        or (
            Reason("platform", "each platform has its own wheels", "platforms of the spec and the machines"),
        ),
    )


def _stack(choice: Choice, problem: Problem) -> Decision:
    stack = choice.candidate.stack
    return Decision(
        question=f"Which {stack.name} for {_for(choice, problem)}?",
        answer=f"{stack.name} {stack.label}",
        because=tuple(_stack_reasons(choice, problem)),
        instead_of=tuple(better(choice)),
    )


def _stack_reasons(choice: Choice, problem: Problem) -> Iterator[Reason]:
    stack, matrix = choice.candidate.stack, problem.matrix
    if stack.cuda is None:
        asked = choice.assessment.problem.spec.cuda.is_cpu
        why = "a CPU build was asked for" if asked else "there is no NVIDIA GPU"
        yield Reason("cpu", why, matrix.cite(stack.row))
    for kind in choice.kinds:
        for gpu in kind.machine.gpus or ():
            sm = sass_for(Code.of(stack), gpu.capability, matrix) if stack.name == TORCH else None
            if stack.cuda is not None and sm is not None:
                yield Reason(
                    "machine-code", f"{gpu.label} runs its machine code for {sm.sm}", matrix.cite(stack.row)
                )
        driver = _driver_reason(choice, kind, problem)
        if driver is not None:
            yield driver
    yield from _place_reasons(choice, problem)


def _place_reasons(choice: Choice, problem: Problem) -> Iterator[Reason]:
    stack, matrix = choice.candidate.stack, problem.matrix
    if stack.provider is Provider.CONDA:
        yield Reason("channel", f"the channel {stack.channel} has it", matrix.cite(stack.row))
    elif stack.index != DEFAULT_INDEX:
        url = matrix.index_url(stack.index, stack.variant)
        text = f"the {stack.variant} build lies at {url}"
        if stack.labelled:
            text = f"at {url} its version says `+{stack.variant}`, which no other build satisfies"
        yield Reason("index", text, matrix.cite(matrix.index(stack.index)))
    elif stack.name != TORCH:
        text = f"NVIDIA's wheels have the runtime of CUDA {stack.cuda}, and nothing here needs torch"
        yield Reason("default-index", text, matrix.cite(stack.row))
    elif stack.cuda is not None:
        yield Reason(
            "default-index", f"PyPI itself carries the {stack.variant} build", matrix.cite(stack.row)
        )


def _driver_reason(choice: Choice, kind: MachineKind, problem: Problem) -> Reason | None:
    cuda = choice.candidate.stack.cuda
    facts = problem.driver(kind.machine)
    if cuda is None or not facts.is_known:
        return None
    line = problem.matrix.line(cuda)
    level = facts.level(line)
    how = "directly" if level is Level.DIRECT else "by minor-version compatibility"
    return Reason(
        "driver",
        f"{driver_text(kind.machine)} on `{kind.machine.name}` runs CUDA {line.cuda} {how}",
        problem.matrix.cite(line),
    )


def _sharing(choice: Choice, problem: Problem) -> Iterator[Decision]:
    """What machines that share an environment would have each for itself, where that is more."""
    assessment = choice.assessment
    if len(choice.kinds) < 2:
        return
    reasons = []
    for kind in choice.kinds:
        place = assessment.kinds.index(kind)
        alone = [candidate for candidate, covered in assessment.coverage if place in covered]
        best = min(alone, key=lambda candidate: assessment.rank(candidate, [kind]))
        if best.stack.version > choice.candidate.stack.version:
            name, _ = kind.members[0]
            text = f"`{name}` alone would have {best.stack.title}"
            reasons.append(Reason("sharing", text, problem.matrix.cite(best.stack.row)))
    if reasons:
        yield Decision(
            question=f"What does it cost to share {choice.candidate.stack.title}?",
            answer="a newer torch for some",
            because=tuple(reasons),
        )


def _held_back(choice: Choice, problem: Problem) -> Iterator[Decision]:
    """What must not be newer beside the planned packages."""
    stack = choice.candidate.stack
    channel = stack.channel or "pypi"
    for pin in pins(choice, channel, problem):
        yield Decision(
            question=f"Which {pin.package} for {stack.name} {stack.label}?",
            answer=f"{pin.package}{pin.versions}",
            because=(Reason("pins", pin.says, problem.matrix.cite(pin)),),
        )


def _python(choices: Sequence[Choice], problem: Problem) -> Decision:
    pythons = sorted({choice.python for choice in choices})
    spec = problem.spec.python
    is_conda = any(choice.candidate.stack.provider is Provider.CONDA for choice in choices)
    noun = "builds" if is_conda else "wheels"
    text = (
        f"`{spec.text}` was asked for, and it is the newest of it that has {noun} of all planned packages"
        if spec
        else f"the newest that has {noun} of all planned packages"
    )
    if any(choice.candidate.has_unknown_pythons for choice in choices):
        text = "the middle one of torch's, for it is not known for which Pythons all packages have wheels"
    common = sorted(set.intersection(*(set(choice.candidate.pythons) for choice in choices)))
    row = choices[0].candidate.stack.row
    return Decision(
        question="Which Python?",
        answer=" and ".join(str(python) for python in pythons),
        because=(Reason("python", f"{text} ({listing(common)})", problem.matrix.cite(row)),),
    )
