"""Why a plan is as it is: decisions with reasons and sources, what was assumed, what to beware of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from cudaenv.matrix.tables import DEFAULT_INDEX
from cudaenv.model.machine import Machine
from cudaenv.model.plan import Alternative, Decision, Level, Reason, Remark
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.compatibility import Code, is_newer_than_matrix, sass_for
from cudaenv.planner.environments import driver_need, served
from cudaenv.planner.problem import Problem
from cudaenv.planner.rules import driver_text, listing
from cudaenv.planner.search import UNKNOWN_MACHINE, Choice, MachineKind


def decisions(choices: Sequence[Choice], problem: Problem) -> tuple[Decision, ...]:
    """The questions that the plan answers, for every environment."""
    found = [_provider(choices, problem)]
    if len(choices) > 1:
        found.append(_several(choices))
    for choice in choices:
        found.append(_build(choice, problem))
        found += [_companion(choice, place, problem) for place in range(len(choice.candidate.companions))]
    found.append(_python(choices, problem))
    return tuple(found)


def _for(choice: Choice, problem: Problem) -> str:
    names = served(choice, problem)
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{shown} ({choice.candidate.build.platform})"


def _provider(choices: Sequence[Choice], problem: Problem) -> Decision:
    row = problem.matrix.target(problem.spec.target)
    if all(choice.candidate.build.cuda is None for choice in choices):
        build = choices[0].candidate.build
        reason = Reason("cpu", "only CPU builds are planned", problem.matrix.cite(build))
        return Decision(question="Where does CUDA come from?", answer="nowhere", because=(reason,))
    return Decision(
        question="Where does CUDA come from?",
        answer="pip wheels",
        because=(Reason("target", row.why, problem.matrix.cite(row)),),
    )


def _several(choices: Sequence[Choice]) -> Decision:
    """Why one environment is not enough: what stands against each for the machines of the others."""
    reasons: list[Reason] = []
    for choice in choices:
        for other in choices:
            if other is not choice and other.assessment.platform is choice.assessment.platform:
                reasons += choice.assessment.rejections(choice.candidate, other.kinds)[:1]
    return Decision(
        question="How many environments?",
        answer=str(len(choices)),
        because=tuple(dict.fromkeys(reasons))
        or (
            Reason("platform", "each platform has its own wheels", "platforms of the spec and the machines"),
        ),
    )


def _build(choice: Choice, problem: Problem) -> Decision:
    build = choice.candidate.build
    return Decision(
        question=f"Which torch for {_for(choice, problem)}?",
        answer=f"torch {build.label}",
        because=tuple(_build_reasons(choice, problem)),
        instead_of=tuple(_better(choice)),
    )


def _build_reasons(choice: Choice, problem: Problem) -> Iterator[Reason]:
    build, matrix = choice.candidate.build, problem.matrix
    if build.cuda is None:
        why = "a CPU build was asked for" if problem.spec.cuda.is_cpu else "there is no NVIDIA GPU"
        yield Reason("cpu", why, matrix.cite(build))
    for kind in choice.kinds:
        for gpu in kind.machine.gpus or ():
            sm = sass_for(Code.of(build), gpu.capability, matrix)
            if build.cuda is not None and sm is not None:
                yield Reason(
                    "machine-code",
                    f"{gpu.label} runs its machine code for {sm.sm}",
                    matrix.cite(build),
                )
        driver = _driver_reason(choice, kind, problem)
        if driver is not None:
            yield driver
    if build.index == DEFAULT_INDEX and build.cuda is not None:
        yield Reason("default-index", f"PyPI itself carries the {build.variant} build", matrix.cite(build))
    elif build.index != DEFAULT_INDEX:
        url = matrix.index_url(build.index, build.variant)
        yield Reason(
            "index", f"the {build.variant} build lies at {url}", matrix.cite(matrix.index(build.index))
        )


def _driver_reason(choice: Choice, kind: MachineKind, problem: Problem) -> Reason | None:
    build = choice.candidate.build
    facts = problem.driver(kind.machine)
    if build.cuda is None or not facts.is_known:
        return None
    line = problem.matrix.line(build.cuda)
    level = facts.level(line)
    how = "directly" if level is Level.DIRECT else "by minor-version compatibility"
    return Reason(
        "driver",
        f"{driver_text(kind.machine)} on `{kind.machine.name}` runs CUDA {line.cuda} {how}",
        problem.matrix.cite(line),
    )


def _better(choice: Choice) -> Iterator[Alternative]:
    """What ranks above the choice and its first obstacle; neighbours with one obstacle as one line."""
    assessment = choice.assessment
    rank = assessment.rank(choice.candidate, choice.kinds)
    ahead = [
        (other_rank, candidate, reasons[0])
        for candidate in assessment.candidates
        for other_rank in [assessment.rank(candidate, choice.kinds)]
        if other_rank < rank
        for reasons in [assessment.rejections(candidate, choice.kinds)]
        if reasons and reasons[0].rule not in {"no-silent-cpu", "package-pin"}
    ]
    ahead.sort(key=lambda item: item[0])
    for _, group in groupby(ahead, key=lambda item: (item[2].rule, item[1].build.variant)):
        items = list(group)
        yield Alternative(_span([candidate for _, candidate, _ in items]), items[0][2])


def _span(candidates: Sequence[Candidate]) -> str:
    first, last = candidates[0].build, candidates[-1].build
    if first is last:
        return f"torch {first.label}"
    return f"torch {last.label} to {first.label}"


def _companion(choice: Choice, place: int, problem: Problem) -> Decision:
    package, row = choice.candidate.companions[place]
    build = choice.candidate.build
    reasons = [
        Reason("companions", f"it requires torch `{row.torch}`", problem.matrix.cite(row)),
    ]
    if package.cuda_major is not None and package.variant != build.variant:
        reasons.append(
            Reason(
                "companions",
                f"there is no {build.variant} build of it; {package.variant} is of the same CUDA major",
                problem.matrix.cite(row),
            )
        )
    return Decision(
        question=f"Which {package.name} for torch {build.label}?",
        answer=package.requirement,
        because=tuple(reasons),
    )


def _python(choices: Sequence[Choice], problem: Problem) -> Decision:
    pythons = sorted({choice.python for choice in choices})
    spec = problem.spec.python
    text = (
        f"`{spec.text}` was asked for, and it is the newest of it that has wheels of all planned packages"
        if spec
        else "the newest that has wheels of all planned packages"
    )
    common = sorted(set.intersection(*(set(choice.candidate.pythons) for choice in choices)))
    return Decision(
        question="Which Python?",
        answer=" and ".join(str(python) for python in pythons),
        because=(
            Reason("python", f"{text} ({listing(common)})", problem.matrix.cite(choices[0].candidate.build)),
        ),
    )


def assumptions(choices: Sequence[Choice], problem: Problem) -> tuple[str, ...]:
    """What nobody could tell and the plan therefore takes to be so."""
    return tuple(
        dict.fromkeys(
            text
            for choice in choices
            for kind in choice.kinds
            for text in _assumed(choice, kind.machine, problem)
        )
    )


def _assumed(choice: Choice, machine: Machine, problem: Problem) -> Iterator[str]:
    build = choice.candidate.build
    name = "the machine" if machine.name == UNKNOWN_MACHINE else f"`{machine.name}`"
    if machine.platform is None and not problem.spec.platforms:
        yield f"the platform of {name} is not known: taken to be {build.platform}"
    if build.cuda is not None:
        yield from _assumed_cuda(choice, machine, name, problem)
    if build.macos:
        yield f"the macOS of {name} is not known: taken to be {build.macos} or newer"
    if build.glibc is not None and machine.glibc is None:
        yield f"the glibc of {name} is not known: taken to be {build.glibc} or newer"


def _assumed_cuda(choice: Choice, machine: Machine, name: str, problem: Problem) -> Iterator[str]:
    build = choice.candidate.build
    need = driver_need(choice, problem)
    facts = problem.driver(machine)
    floor = need and (need.windows if facts.windows else need.linux)
    if not facts.is_known:
        yield f"the driver of {name} is not known: taken to be {floor} or newer, for CUDA {build.cuda}"
    elif facts.version and floor and facts.version.is_branch and facts.version.branch == floor.branch:
        yield f"driver {facts.version} of {name} names a branch: taken to be {floor} or newer"
    if machine.gpus is None:
        yield f"the GPU of {name} is not known: taken to be of compute capability {listing(build.sms)}"


def warnings(choices: Sequence[Choice], problem: Problem) -> tuple[Remark, ...]:
    """What holds only with a grain of salt."""
    remarks = (
        remark
        for choice in choices
        for remark in (*_release_remarks(choice, problem), *_machine_remarks(choice, problem))
    )
    return tuple(dict.fromkeys((*remarks, *_divided(choices))))


def _divided(choices: Sequence[Choice]) -> Iterator[Remark]:
    """Machines whose GPUs are served by different environments."""
    homes: dict[str, set[str]] = {}
    for choice in choices:
        for kind in choice.kinds:
            for name, _ in kind.members:
                homes.setdefault(name, set()).add(choice.candidate.build.label)
    for name, builds in homes.items():
        if len(builds) > 1:
            text = (
                f"no single environment serves all GPUs of `{name}`: show each environment its own GPU "
                "with CUDA_VISIBLE_DEVICES"
            )
            yield Remark("several-environments-on-one-machine", text, "the machine's GPUs")


def _release_remarks(choice: Choice, problem: Problem) -> Iterator[Remark]:
    build = choice.candidate.build
    if choice.candidate.is_unverified:
        newest = max(row.version for row in problem.matrix.tables.torch)
        yield Remark(
            "unverified",
            f"torch {build.version} is newer than the matrix, whose newest is {newest}: "
            "taken to be built like it, and checked when it is locked",
            problem.matrix.cite(build),
        )


def _machine_remarks(choice: Choice, problem: Problem) -> Iterator[Remark]:
    build, matrix = choice.candidate.build, problem.matrix
    if build.cuda is None:
        return
    line = matrix.line(build.cuda)
    newest = max(matrix.tables.cuda, key=lambda row: row.cuda)
    for kind in choice.kinds:
        facts, name = problem.driver(kind.machine), kind.machine.name
        known = newest.own_driver(windows=facts.windows) or newest.linux_own  # branches have the same numbers
        if (facts.version and facts.version.branch > known.branch) or (facts.api and facts.api > newest.cuda):
            text = (
                f"{driver_text(kind.machine)} of `{name}` is newer than the matrix, "
                f"whose newest is {known} for CUDA {newest.cuda}"
            )
            yield Remark("unverified", text, matrix.cite(newest))
        if facts.is_known and facts.level(line) is Level.MINOR:
            own = line.own_driver(windows=facts.windows)
            direct = f"driver {own}" if own else f"a driver that shows CUDA {line.cuda}"
            text = (
                f"`{name}` runs CUDA {line.cuda} by minor-version compatibility: "
                f"what hands the driver PTX made at run time needs {direct}"
            )
            yield Remark("minor-version-compatibility", text, matrix.cite(line))
        yield from _gpu_remarks(choice, kind, problem)


def _gpu_remarks(choice: Choice, kind: MachineKind, problem: Problem) -> Iterator[Remark]:
    build, matrix = choice.candidate.build, problem.matrix
    facts, name = problem.driver(kind.machine), kind.machine.name
    for gpu in kind.machine.gpus or ():
        architecture = matrix.architecture(gpu.capability)
        if is_newer_than_matrix(gpu, matrix):
            text = f"{gpu.label} in `{name}` is newer than the matrix"
            yield Remark("unverified", text, matrix.cite(build))
        first = architecture and next(
            (row for row in matrix.tables.cuda if row.cuda == architecture.first), None
        )
        own = first and first.own_driver(windows=facts.windows)
        if first and own and facts.version and facts.version.branch < own.branch:
            text = (
                f"driver {facts.version} of `{name}` is older than {own}, the first whose CUDA knows "
                f"{gpu.label}: it may not drive this GPU at all"
            )
            yield Remark("driver-older-than-gpu", text, matrix.cite(first))
