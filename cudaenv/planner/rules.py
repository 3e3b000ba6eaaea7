"""The rules: each looks at a candidate and says, with its source, what stands against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import Release
from cudaenv.matrix.tables import Row
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import Reason
from cudaenv.model.spec import Provider
from cudaenv.model.versions import ComputeCapability, CudaBinding, CudaVersion, PythonVersion
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.compatibility import Code, reach
from cudaenv.planner.placing import admits, admitting_pythons, applies
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.toolkits import nearest

SpecRule = Callable[[Candidate, Problem], Iterator[Reason]]
MachineRule = Callable[[Candidate, Machine, Problem], Iterator[Reason]]


def listing(values: Iterable[object]) -> str:
    """Values for a sentence: `3.11 3.12`; `none` where there are none."""
    return " ".join(str(value) for value in values) or "none"


def package_pin(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """The user's version specifiers for torch hold; other packages were chosen by theirs."""
    stack, requests = candidate.stack, problem.requests.get(TORCH, [])
    if admitting_pythons(stack, requests):
        return
    for request in requests:
        if applies(request, stack.platform, stack.pythons) and not admits(
            request, stack.version, stack.variant
        ):
            yield Reason("package-pin", f"`{request.requirement}` excludes {stack.title}", request.origin)


def companions(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """Every package asked for has a release for this torch, of its CUDA major, on this platform.

    Machine code of a package is linked to one libcudart, whatever its metadata allow.
    """
    stack = candidate.stack
    for name in candidate.missing:
        asked = ", ".join(f"`{item.requirement}`" for item in problem.requests.get(name, [])) or name
        cuda = f"of CUDA {stack.cuda.major} " if stack.cuda else ""
        package = problem.matrix.package_of(name)
        yield Reason(
            "companions",
            f"no build {cuda}of {asked} for {stack.platform} goes with {stack.title}",
            f"matrix packages/{package[0] if package else name}",
        )


def broken(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """What would have to be built is not known to fail with this torch, CUDA and every Python."""
    for name in candidate.missing:
        rows = [row for row in problem.matrix.source_builds(name) if row.broken]
        for row in rows:
            if row.torch and candidate.stack.name == TORCH and row.torch.contains(candidate.stack.version):
                remedy = f"; {row.remedy}" if row.remedy else ""
                yield Reason(
                    "broken-build",
                    f"{name} {row.versions or ''} cannot be built with torch {candidate.stack.version}: "
                    f"{row.breaks}{remedy}".replace("  ", " "),
                    problem.matrix.cite(row),
                )


def nvidia_pins(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """What a package brings of CUDA is what torch has: one CUDA major, and one version of each library."""
    stack = candidate.stack
    if stack.provider is not Provider.PIP or stack.cuda is None:
        return
    own = {f"nvidia-cudnn-cu{stack.cuda.major}": stack.cudnn, f"nvidia-nccl-cu{stack.cuda.major}": stack.nccl}
    for pick in candidate.picks:
        row = pick.row
        brought = dict(row.extras) if isinstance(row, Release) else {}
        extras = set(brought) & set(pick.package.extras)
        if not isinstance(row, Release) or not extras:
            continue
        majors = {name: CudaBinding.parse(brought[name]).major for name in extras}
        other = next((major for major in majors.values() if major != stack.cuda.major), None)
        if other is not None:
            yield Reason(
                "nvidia-pins",
                f"{pick.package.requirement} brings nvidia-* wheels of CUDA {other}, and {stack.title} is of "
                f"CUDA {stack.cuda.major}",
                problem.matrix.cite(row),
            )
            continue
        for pin in row.pins:
            version = own.get(pin.name, "")
            text = ""
            if version and not pin.specifier.contains(version, prereleases=True):
                text = f"torch {stack.label} {pin.name}=={version}"
            elif pin.name.startswith(RUNTIME_WHEEL) and _line_of(pin) not in {None, stack.cuda}:
                text = f"torch {stack.label} that of CUDA {stack.cuda}"
            if text:
                yield Reason(
                    "nvidia-pins",
                    f"{pick.package.requirement} requires {pin}, and {text}",
                    problem.matrix.cite(row),
                )


RUNTIME_WHEEL = "nvidia-cuda-runtime"
"""The wheel whose own version tells its CUDA release line; torch pins it exactly."""


def _line_of(pin: Requirement) -> CudaVersion | None:
    """The release line that an exact pin of the runtime's wheel names; None for a range."""
    exact = [part.version for part in pin.specifier if part.operator == "=="]
    return CudaVersion.parse(exact[0].removesuffix(".*")) if exact else None


def python(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """There are builds of all planned packages for an allowed Python."""
    stack = candidate.stack
    if problem.spec.python is not None and not allowed_pythons(candidate, problem):
        names = [stack.title, *(pick.package.requirement for pick in candidate.picks)]
        yield Reason(
            "python",
            f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'} wheels for "
            f"Python {listing(candidate.pythons)} on {stack.platform}, not for `{problem.spec.python.text}`",
            problem.matrix.cite(stack.row),
        )


def allowed_pythons(candidate: Candidate, problem: Problem) -> tuple[PythonVersion, ...]:
    """The Pythons that the candidate has builds for and the user allows."""
    return tuple(
        python
        for python in candidate.pythons
        if problem.spec.python is None or problem.spec.python.allows(python)
    )


def cuda_request(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """The user's word on CUDA holds; where there is none, a CPU build is never chosen silently."""
    cuda, asked = candidate.stack.cuda, problem.spec.cuda
    if cuda is not None and not asked.allows(cuda):
        yield Reason("cuda", f'cuda = "{asked.text}" excludes CUDA {cuda}', "cuda of the spec")
    if cuda is None and asked.specifier is not None:
        yield Reason("cuda", f'cuda = "{asked.text}" excludes a CPU build', "cuda of the spec")


def provider(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """CUDA comes from the provider that the user asks for, and the target allows it."""
    asked, target = problem.spec.provider, problem.target
    if asked is Provider.AUTO:
        return
    if asked not in target.providers:
        yield Reason(
            "provider",
            f'provider = "{asked}" has nothing to supply for {target.name}: {target.why}',
            target.origin,
        )
    elif candidate.provider is not asked and candidate.stack.cuda is not None:
        yield Reason(
            "provider", f'provider = "{asked}" excludes CUDA from {candidate.provider}', "provider of the spec"
        )


def toolkit(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """Where something is compiled, a toolkit of torch's own CUDA line comes from an allowed provider.

    torch refuses an nvcc of another major and warns of another minor version
    (`_check_cuda_version` in torch/utils/cpp_extension.py).
    """
    stack = candidate.stack
    if candidate.lacks_toolkit and stack.cuda is not None:
        where = "wheels have a whole nvcc from CUDA 13 on only" if stack.provider is Provider.PIP else (
            f"the channels of {stack.title} have no nvcc of it"
        )
        yield Reason(
            "toolkit", f"no toolkit of CUDA {stack.cuda} is to be had: {where}", problem.matrix.cite(stack.row)
        )


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
                        f"{pick.package.requirement} has code for compute capability {row.oldest} and newer, not "
                        f"for {gpu.label} of `{machine.name}`",
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
        if nearest(gpu.capability, row.sms) is None:
            yield Reason(
                "compiler",
                f"nvcc of CUDA {row.cuda} compiles for {listing(row.sms)}, not for {gpu.label} of `{machine.name}`",
                problem.matrix.cite(row),
            )


def glibc(candidate: Candidate, machine: Machine, problem: Problem) -> Iterator[Reason]:
    """The machine's glibc is at least the one the builds were made against."""
    stack = candidate.stack
    floors = [(stack.title, stack.glibc, stack.row)]
    floors += [(pick.package.requirement, getattr(pick.row, "glibc", None), pick.row) for pick in candidate.picks]
    for what, floor, row in floors:
        if floor is not None and machine.glibc is not None and machine.glibc.value < floor:
            yield Reason(
                "glibc",
                f"glibc {machine.glibc.value} of `{machine.name}` is older than {floor}, which {what} needs",
                problem.matrix.cite(row),
            )


SPEC_RULES: tuple[SpecRule, ...] = (
    provider,
    package_pin,
    cuda_request,
    companions,
    broken,
    nvidia_pins,
    toolkit,
    python,
)
MACHINE_RULES: tuple[MachineRule, ...] = (
    cpu_by_request,
    machine_code,
    companion_code,
    cudnn,
    compiles_for,
    driver,
    glibc,
)


def spec_rejections(candidate: Candidate, problem: Problem) -> tuple[Reason, ...]:
    """All that stands against a candidate whatever the machine."""
    return tuple(reason for rule in SPEC_RULES for reason in rule(candidate, problem))


def machine_rejections(candidate: Candidate, machine: Machine, problem: Problem) -> tuple[Reason, ...]:
    """All that stands against a candidate on a machine."""
    return tuple(reason for rule in MACHINE_RULES for reason in rule(candidate, machine, problem))


def runs_on(candidate: Candidate, machine: Machine, problem: Problem) -> bool:
    """Whether nothing stands against a candidate on a machine."""
    return not any(True for rule in MACHINE_RULES for _ in rule(candidate, machine, problem))
