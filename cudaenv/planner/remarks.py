"""What a plan takes to be so because nobody could tell, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cudaenv.matrix.packages import Release
from cudaenv.model.machine import Machine
from cudaenv.model.plan import How, Level, Remark
from cudaenv.model.spec import Provider
from cudaenv.planner.compatibility import is_newer_than_matrix
from cudaenv.planner.environments import driver_need
from cudaenv.planner.machine_rules import driver_text, listing
from cudaenv.planner.problem import Problem
from cudaenv.planner.search import UNKNOWN_MACHINE, Choice, MachineKind
from cudaenv.planner.toolkits import newest_gcc


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
    stack = choice.candidate.stack
    name = "the machine" if machine.name == UNKNOWN_MACHINE else f"`{machine.name}`"
    if machine.platform is None and not problem.spec.platforms:
        yield f"the platform of {name} is not known: taken to be {stack.platform}"
    if stack.cuda is not None:
        yield from _assumed_cuda(choice, machine, name, problem)
    if stack.macos:
        yield f"the macOS of {name} is not known: taken to be {stack.macos} or newer"
    if stack.glibc is not None and machine.glibc is None:
        yield f"the glibc of {name} is not known: taken to be {stack.glibc} or newer"


def _assumed_cuda(choice: Choice, machine: Machine, name: str, problem: Problem) -> Iterator[str]:
    stack = choice.candidate.stack
    need = driver_need(choice, problem)
    facts = problem.driver(machine)
    floor = need and (need.windows if facts.windows else need.linux)
    if not facts.is_known:
        yield f"the driver of {name} is not known: taken to be {floor} or newer, for CUDA {stack.cuda}"
    elif facts.version and floor and facts.version.is_branch and facts.version.branch == floor.branch:
        yield f"driver {facts.version} of {name} names a branch: taken to be {floor} or newer"
    if machine.gpus is None:
        yield f"the GPU of {name} is not known: taken to be of compute capability {listing(stack.sms)}"


def warnings(choices: Sequence[Choice], problem: Problem) -> tuple[Remark, ...]:
    """What holds only with a grain of salt."""
    remarks = (
        remark
        for choice in choices
        for remark in (
            *_release_remarks(choice, problem),
            *_machine_remarks(choice, problem),
            *_toolkit_remarks(choice, problem),
            *_unknown_builds(choice, problem),
        )
    )
    return tuple(dict.fromkeys((*remarks, *_divided(choices))))


def _divided(choices: Sequence[Choice]) -> Iterator[Remark]:
    """Machines whose GPUs are served by different environments."""
    homes: dict[str, set[str]] = {}
    for choice in choices:
        for kind in choice.kinds:
            for name, _ in kind.members:
                homes.setdefault(name, set()).add(choice.candidate.stack.label)
    for name, builds in homes.items():
        if len(builds) > 1:
            text = (
                f"no single environment serves all GPUs of `{name}`: show each environment its own GPU "
                "with CUDA_VISIBLE_DEVICES"
            )
            yield Remark("several-environments-on-one-machine", text, "the machine's GPUs")


def _release_remarks(choice: Choice, problem: Problem) -> Iterator[Remark]:
    stack = choice.candidate.stack
    if stack.is_unverified:
        newest = max(row.version for row in problem.matrix.tables.torch)
        yield Remark(
            "unverified",
            f"torch {stack.version} is newer than the matrix, whose newest is {newest}: "
            "taken to be built like it, and checked when it is locked",
            problem.matrix.cite(stack.row),
        )


def _machine_remarks(choice: Choice, problem: Problem) -> Iterator[Remark]:
    stack, matrix = choice.candidate.stack, problem.matrix
    if stack.cuda is None:
        return
    line = matrix.line(stack.cuda)
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
        branch = facts.version and matrix.driver_branch(facts.version.branch)
        if branch and branch.is_over(matrix.source(branch).read):
            when = f", in {branch.ends}" if branch.ends else ""
            text = f"NVIDIA ended the support of driver branch {branch.branch}, that of `{name}`{when}"
            yield Remark("driver-branch-ended", text, matrix.cite(branch))
        yield from _gpu_remarks(choice, kind, problem)


def _gpu_remarks(choice: Choice, kind: MachineKind, problem: Problem) -> Iterator[Remark]:
    stack, matrix = choice.candidate.stack, problem.matrix
    facts, name = problem.driver(kind.machine), kind.machine.name
    for gpu in kind.machine.gpus or ():
        architecture = matrix.architecture(gpu.capability)
        if architecture is not None and architecture.last is not None:
            text = (
                f"CUDA {architecture.last} is the last that compiles for {gpu.label} in `{name}`: "
                f"builds of torch for newer CUDA leave it out"
            )
            yield Remark("gpu-near-its-end", text, matrix.cite(architecture))
        if is_newer_than_matrix(gpu, matrix):
            text = f"{gpu.label} in `{name}` is newer than the matrix"
            yield Remark("unverified", text, matrix.cite(stack.row))
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


def _toolkit_remarks(choice: Choice, problem: Problem) -> Iterator[Remark]:
    """Toolkits and compilers that stand on machines and are not the planned ones, and images that may go."""
    toolkit, stack, matrix = choice.candidate.toolkit, choice.candidate.stack, problem.matrix
    for kind in choice.kinds:
        machine = kind.machine
        there = machine.toolkit.value if machine.toolkit else None
        if there is None or stack.cuda is None or there == stack.cuda:
            continue
        text = f"the toolkit of CUDA {there} on `{machine.name}` does not matter: "
        if toolkit is None:
            yield Remark("other-toolkit", f"{text}nothing is compiled with it", matrix.cite(stack.row))
        elif there.major != stack.cuda.major:
            text += f"{stack.title} needs nvcc of CUDA {stack.cuda.major}, and refuses another major"
            yield Remark("other-toolkit", text, matrix.cite(stack.row))
        else:
            text = (
                f"the toolkit of CUDA {there} on `{machine.name}` is of the major that {stack.title} needs, "
                f"but not of its {stack.cuda}: torch warns of it"
            )
            yield Remark("other-toolkit", text, matrix.cite(stack.row))
    if toolkit is None:
        return
    newest = newest_gcc(stack, matrix)
    for kind in choice.kinds:
        gcc = kind.machine.gcc
        is_used = gcc is not None and toolkit.provider is not Provider.CONDA
        if is_used and gcc is not None and newest is not None and gcc.value > newest:
            text = (
                f"gcc {gcc.value} of `{kind.machine.name}` is newer than {newest}, the newest that nvcc of "
                f"CUDA {toolkit.cuda} accepts: a g++ that it accepts has to be installed beside it"
            )
            yield Remark("gcc-too-new", text, matrix.cite(toolkit.rows[0]))
    if toolkit.image is not None and toolkit.image.note:
        image = toolkit.image
        text = f"image {image.image}:{image.release} ({image.os}): {image.note}"
        yield Remark("image-may-go", text, matrix.cite(toolkit.image))


def _unknown_builds(choice: Choice, problem: Problem) -> Iterator[Remark]:
    """What the tables cannot say of packages: their Pythons, or the commit that is built."""
    for pick in choice.candidate.picks:
        if isinstance(pick.row, Release) and not pick.row.pythons and pick.package.how is How.WHEEL:
            text = (
                f"for which Pythons there is a wheel of {pick.package.requirement} is not known: "
                f"the middle one of torch's is taken, and locking finds out"
            )
            yield Remark("unverified", text, problem.matrix.cite(pick.row))
        if pick.package.git:
            text = f"{pick.package.requirement} is built from a repository, which no hash can pin"
            yield Remark("not-pinned", text, problem.matrix.cite(pick.row))
        if pick.package.channel and not pick.package.build and isinstance(pick.row, Release):
            text = (
                f"builds of {pick.name} in the channel {pick.package.channel} are not in the matrix: "
                f"the solver takes the one for this torch"
            )
            yield Remark("unverified", text, problem.matrix.cite(pick.row))
