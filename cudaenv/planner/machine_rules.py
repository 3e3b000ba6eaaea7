"""Rules about machines: what stands against a candidate on each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from packaging.version import InvalidVersion, Version

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import Release
from cudaenv.matrix.places import CondaBuild
from cudaenv.matrix.tables import Row
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import Reason
from cudaenv.model.versions import ComputeCapability
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.compatibility import Code, reach
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.toolkits import nearest

MachineRule = Callable[[Candidate, Machine, Problem], Iterator[Reason]]


def listing(values: Iterable[object]) -> str:
    """Values for a sentence: `3.11 3.12`; `none` where there are none."""
    return " ".join(str(value) for value in values) or "none"


def cpu_by_request(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """A CPU build is for machines that are known to have no GPU, or for whoever asks for one."""
    stack = candidate.stack
    needs_none = machine.has_no_gpu or stack.platform is Platform.OSX_ARM64
    if stack.cuda is None and not problem.spec.cuda.is_cpu and not needs_none:
        yield Reason(
            "no-silent-cpu",
            f"{stack.title} is a CPU build, and `{machine.name}` is not known to be without a GPU",
            problem.matrix.cite(stack.row),
        )
    if stack.cuda is not None and machine.has_no_gpu and problem.spec.cuda.is_any:
        yield Reason(
            "no-gpu", f"`{machine.name}` has no GPU, so the CPU build serves it", f"{machine.name}: gpu"
        )


def driver(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """The driver runs the build's CUDA, directly or by minor-version compatibility."""
    stack = candidate.stack
    if stack.cuda is None:
        return
    facts, line = problem.driver(machine), problem.matrix.line(stack.cuda)
    if facts.is_known and facts.level(line) is None:
        own, minor = line.own_driver(windows=facts.windows), line.minor_driver(windows=facts.windows)
        floor = minor or own or "any that is known"
        yield Reason(
            "driver",
            f"{driver_text(machine)} on `{machine.name}` is older than {floor}, which CUDA {line.cuda} needs",
            problem.matrix.cite(line),
        )


def driver_text(machine: Machine) -> str:
    """The driver as the user or the machine stated it."""
    if machine.driver is not None:
        return f"driver {machine.driver.value}"
    return f"driver API version {machine.driver_api.value}" if machine.driver_api else "the unknown driver"


def machine_code(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """Every GPU finds machine code in the build, or PTX that its driver can load."""
    stack = candidate.stack
    if stack.name == TORCH:
        code = Code.of(stack)
        yield from _without_code(stack.title, code, stack.row, machine, problem)


def companion_code(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """Every GPU finds code in the compiled packages whose code is known."""
    for pick in candidate.picks:
        code = Code.of_release(pick.row) if isinstance(pick.row, Release) else None
        if code is not None and not pick.builds:
            yield from _without_code(pick.package.requirement, code, pick.row, machine, problem)
        for row in pick.builds:
            for gpu in machine.gpus or ():
                if row.oldest is not None and gpu.capability < row.oldest:
                    yield Reason(
                        "machine-code",
                        f"{pick.package.requirement} has code for compute capability {row.oldest} and newer, "
                        f"not for {gpu.label} of `{machine.name}`",
                        problem.matrix.cite(row),
                    )


def _without_code(what: str, code: Code, row: Row, machine: Machine, problem: Problem) -> Iterator[Reason]:
    facts = problem.driver(machine)
    ptx = f" and PTX for {listing(code.ptx)}" if code.ptx else ""
    for gpu in machine.gpus or ():
        if reach(code, gpu, facts, problem.matrix) is None:
            yield Reason(
                "machine-code",
                f"{what} has machine code for {listing(sorted({*code.sms, *code.exact}))}{ptx}, "
                f"none for {gpu.label} of `{machine.name}`{_tegra(gpu.capability, problem.matrix)}",
                problem.matrix.cite(row),
            )


def _tegra(capability: ComputeCapability, matrix: Matrix) -> str:
    architecture = matrix.architecture(capability)
    if architecture is None or not architecture.tegra:
        return ""
    return "; a Jetson runs only code made for exactly it: these are server builds, see NVIDIA's Jetson index"


def cudnn(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """The cuDNN that torch brings still serves the GPU; torch's own code for it is not enough."""
    stack = candidate.stack
    if not stack.cudnn or stack.cuda is None:
        return
    try:
        served = problem.matrix.cudnn_oldest(Version(stack.cudnn), stack.cuda.major)
    except InvalidVersion:
        return
    for gpu in machine.gpus or ():
        if served is not None and gpu.capability < served[0]:
            yield Reason(
                "cudnn",
                f"cuDNN {stack.cudnn}, which {stack.title} brings, serves compute capability {served[0]} and "
                f"newer, not {gpu.label} of `{machine.name}`",
                problem.matrix.cite(served[1]),
            )


def compiles_for(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """The toolkit's compiler knows an architecture whose code runs on each GPU."""
    found = candidate.toolkit
    row = problem.matrix.toolkit(found.cuda) if found else None
    if row is None:
        return
    for gpu in machine.gpus or ():
        if nearest(gpu.capability, row.sms, problem.matrix) is None:
            yield Reason(
                "compiler",
                f"nvcc of CUDA {row.cuda} compiles for {listing(row.sms)}, "
                f"not for {gpu.label} of `{machine.name}`",
                problem.matrix.cite(row),
            )


def glibc(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """The machine's glibc is at least the one the builds were made against."""
    stack = candidate.stack
    floors = [(stack.title, stack.glibc, stack.row)]
    for pick in candidate.picks:
        if isinstance(pick.row, Release | CondaBuild):
            floors.append((pick.package.requirement, pick.row.glibc, pick.row))
    for what, floor, row in floors:
        if floor is not None and machine.glibc is not None and machine.glibc.value < floor:
            yield Reason(
                "glibc",
                f"glibc {machine.glibc.value} of `{machine.name}` is older than {floor}, which {what} needs",
                problem.matrix.cite(row),
            )


STACK_RULES: tuple[MachineRule, ...] = (cpu_by_request, driver, machine_code, cudnn, glibc)
"""The rules that are about a candidate's stack; those that exclude most come first."""

BESIDE_RULES: tuple[MachineRule, ...] = (companion_code, compiles_for, glibc)
"""The rules that are about what stands beside a stack."""

MACHINE_RULES: tuple[MachineRule, ...] = (
    cpu_by_request,
    machine_code,
    companion_code,
    cudnn,
    compiles_for,
    driver,
    glibc,
)
"""All rules, in the order in which a candidate is told what stands against it."""
