"""The rules: each looks at a candidate and says, with its source, what stands against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.tables import Row
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import Reason
from cudaenv.model.spec import Provider
from cudaenv.model.versions import ComputeCapability, PythonVersion
from cudaenv.planner.candidates import Candidate, admits, admitting_pythons, applies
from cudaenv.planner.compatibility import Code, reach
from cudaenv.planner.problem import Problem

SpecRule = Callable[[Candidate, Problem], Iterator[Reason]]
MachineRule = Callable[[Candidate, Machine, Problem], Iterator[Reason]]


def listing(values: Iterable[object]) -> str:
    """Values for a sentence: `3.11 3.12`; `none` where there are none."""
    return " ".join(str(value) for value in values) or "none"


def package_pin(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """The user's version specifiers for torch hold; companions were chosen by theirs."""
    build, requests = candidate.build, problem.requests["torch"]
    if admitting_pythons(build, requests):
        return
    for request in requests:
        if applies(request, build.platform, build.pythons) and not admits(
            request, build.version, build.variant
        ):
            yield Reason(
                "package-pin", f"`{request.requirement}` excludes torch {build.label}", request.origin
            )


def companions(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """Every companion asked for has a release for this torch, of its CUDA major, on this platform.

    Machine code of a companion is linked to one libcudart, whatever its metadata allow.
    """
    build = candidate.build
    requests = problem.requests
    for name in candidate.missing:
        asked = ", ".join(f"`{request.requirement}`" for request in requests[name]) or name
        cuda = f"of CUDA {build.cuda.major} " if build.cuda else ""
        yield Reason(
            "companions",
            f"no build {cuda}of {asked} for {build.platform} goes with torch {build.label}",
            f"matrix packages/{name}",
        )


def python(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """There are wheels of all planned packages for an allowed Python."""
    build = candidate.build
    if problem.spec.python is not None and not allowed_pythons(candidate, problem):
        names = " and ".join(
            ["torch " + build.label, *(package.requirement for package, _ in candidate.companions)]
        )
        yield Reason(
            "python",
            f"{names} {'have' if candidate.companions else 'has'} wheels for "
            f"Python {listing(candidate.pythons)} on {build.platform}, not for `{problem.spec.python.text}`",
            problem.matrix.cite(build),
        )


def allowed_pythons(candidate: Candidate, problem: Problem) -> tuple[PythonVersion, ...]:
    """The Pythons that the candidate has wheels for and the user allows."""
    return tuple(
        python
        for python in candidate.pythons
        if problem.spec.python is None or problem.spec.python.allows(python)
    )


def cuda_request(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """The user's word on CUDA holds; where there is none, a CPU build is never chosen silently."""
    build = candidate.build
    if build.cuda is not None and not problem.spec.cuda.allows(build.cuda):
        yield Reason(
            "cuda", f'cuda = "{problem.spec.cuda.text}" excludes CUDA {build.cuda}', "cuda of the spec"
        )
    if build.cuda is None and problem.spec.cuda.specifier is not None:
        yield Reason("cuda", f'cuda = "{problem.spec.cuda.text}" excludes a CPU build', "cuda of the spec")


def provider(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """CUDA comes from the provider that the user asks for."""
    asked = problem.spec.provider
    if asked not in {Provider.AUTO, candidate.provider}:
        yield Reason(
            "provider",
            f'provider = "{asked}" excludes {candidate.provider} wheels, and no other is planned yet',
            "provider of the spec",
        )


def cpu_by_request(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """A CPU build is for machines that are known to have no GPU, or for whoever asks for one."""
    build = candidate.build
    needs_none = machine.has_no_gpu or build.platform is Platform.OSX_ARM64
    if build.cuda is None and not problem.spec.cuda.is_cpu and not needs_none:
        yield Reason(
            "no-silent-cpu",
            f"torch {build.label} is a CPU build, and `{machine.name}` is not known to be without a GPU",
            problem.matrix.cite(build),
        )
    if build.cuda is not None and machine.has_no_gpu and problem.spec.cuda.is_any:
        yield Reason(
            "no-gpu", f"`{machine.name}` has no GPU, so the CPU build serves it", f"{machine.name}: gpu"
        )


def driver(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """The driver runs the build's CUDA, directly or by minor-version compatibility."""
    build = candidate.build
    facts = problem.driver(machine)
    if build.cuda is None or machine.has_no_gpu or not facts.is_known:
        return
    line = problem.matrix.line(build.cuda)
    if facts.level(line) is None:
        floor = line.minor_driver(windows=facts.windows) or line.own_driver(windows=facts.windows)
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
    build = candidate.build
    yield from _without_code(f"torch {build.label}", Code.of(build), build, machine, problem)


def companion_code(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """Every GPU finds code in the compiled companions whose code is known."""
    for package, row in candidate.companions:
        code = Code.of_release(row)
        if code is not None:
            yield from _without_code(package.requirement, code, row, machine, problem)


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


def glibc(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """The machine's glibc is at least the one the wheels were built against."""
    build = candidate.build
    if build.glibc is not None and machine.glibc is not None and machine.glibc.value < build.glibc:
        yield Reason(
            "glibc",
            f"glibc {machine.glibc.value} of `{machine.name}` is older than {build.glibc}, "
            f"which torch {build.label} needs",
            problem.matrix.cite(build),
        )


SPEC_RULES: tuple[SpecRule, ...] = (provider, package_pin, cuda_request, companions, python)
MACHINE_RULES: tuple[MachineRule, ...] = (
    cpu_by_request,
    machine_code,
    companion_code,
    driver,
    glibc,
)


def spec_rejections(candidate: Candidate, problem: Problem) -> tuple[Reason, ...]:
    """All that stands against a candidate whatever the machine."""
    return tuple(reason for rule in SPEC_RULES for reason in rule(candidate, problem))


def machine_rejections(candidate: Candidate, machine: Machine, problem: Problem) -> tuple[Reason, ...]:
    """All that stands against a candidate on a machine."""
    return tuple(reason for rule in MACHINE_RULES for reason in rule(candidate, machine, problem))
