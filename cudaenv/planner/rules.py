"""The rules: each looks at a candidate and says, with its source, what stands against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from packaging.requirements import Requirement
from packaging.version import Version

from cudaenv.matrix.packages import Release
from cudaenv.model.machine import Machine
from cudaenv.model.plan import Reason
from cudaenv.model.spec import PackageRequest, Provider
from cudaenv.model.versions import CudaBinding, CudaVersion, PythonVersion
from cudaenv.planner.candidates import Candidate
from cudaenv.planner.machine_rules import MACHINE_RULES, MachineRule, listing
from cudaenv.planner.offers import admits, admitting_pythons, applies
from cudaenv.planner.problem import TORCH, Problem

SpecRule = Callable[[Candidate, Problem], Iterator[Reason]]


def package_pin(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """The user's version specifiers for torch hold; other packages were chosen by theirs."""
    stack, requests = candidate.stack, problem.requests.get(TORCH, [])
    if admitting_pythons(stack, requests):
        return
    for request in requests:
        if applies(request, stack.platform, stack.pythons) and not admits(
            request, stack.version, stack.variant
        ):
            who = f"{request.by}, which requires `{request.requirement}`," if request.by else ""
            rule = "bound" if request.by else "package-pin"
            said = who or f"`{request.requirement}`"
            yield Reason(rule, f"{said} excludes {stack.title}", request.origin)


def modules(_: Candidate, problem: Problem) -> Iterator[Reason]:
    """No two packages that install the same import package: one hides parts of the other."""
    for row in problem.clashes:
        names = f"{', '.join(row.packages[:-1])} and {row.packages[-1]}"
        text = f"{names} install one import package, `{row.module}`, so that one of them alone can be there"
        yield Reason("modules", text, problem.matrix.cite(row))


def companions(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """Every package asked for has a release for this torch, of its CUDA major, on this platform.

    Machine code of a package is linked to one libcudart, whatever its metadata allow.
    """
    stack = candidate.stack
    clashing = {name for row in problem.clashes for name in row.packages}
    for name in candidate.missing:
        if name in clashing:
            continue
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
        newest = _newest_asked(name, problem)
        # What fails with the newest release that is allowed comes first: older ones fail by more.
        for row in sorted(rows, key=lambda row: newest is not None and newest not in row.versions):
            if row.torch and candidate.stack.name == TORCH and row.torch.contains(candidate.stack.version):
                remedy = f"; {row.remedy}" if row.remedy else ""
                yield Reason(
                    "broken-build",
                    f"{name} {row.versions or ''} cannot be built with torch {candidate.stack.version}: "
                    f"{row.breaks}{remedy}".replace("  ", " "),
                    problem.matrix.cite(row),
                )


def _newest_asked(name: str, problem: Problem) -> Version | None:
    """The newest release of a package that the user's requests allow."""
    requests = problem.requests.get(name, [])
    memory, key = problem.matrix.memory, ("newest", name, *(str(item.specifier) for item in requests))
    if key not in memory:
        memory[key] = _newest(name, requests, problem)
    found: Version | None = memory[key]
    return found


def _newest(name: str, requests: list[PackageRequest], problem: Problem) -> Version | None:
    return max(
        (
            row.version
            for row in problem.matrix.releases(name)
            if all(item.specifier.contains(row.version, prereleases=True) for item in requests)
        ),
        default=None,
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
            "provider",
            f'provider = "{asked}" excludes CUDA from {candidate.provider}',
            "provider of the spec",
        )


def toolkit(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """Where something is compiled, a toolkit of torch's own CUDA line comes from an allowed provider.

    torch refuses an nvcc of another major and warns of another minor version
    (`_check_cuda_version` in torch/utils/cpp_extension.py).
    """
    stack = candidate.stack
    if candidate.lacks_toolkit and stack.cuda is not None:
        where = (
            "wheels have a whole nvcc from CUDA 13 on only"
            if stack.provider is Provider.PIP
            else (f"the channels of {stack.title} have no nvcc of it")
        )
        yield Reason(
            "toolkit",
            f"no toolkit of CUDA {stack.cuda} is to be had: {where}",
            problem.matrix.cite(stack.row),
        )


SPEC_RULES: tuple[SpecRule, ...] = (
    provider,
    package_pin,
    cuda_request,
    modules,
    companions,
    broken,
    nvidia_pins,
    toolkit,
    python,
)


def spec_rejections(candidate: Candidate, problem: Problem) -> Iterator[Reason]:
    """All that stands against a candidate whatever the machine."""
    return (reason for rule in SPEC_RULES for reason in rule(candidate, problem))


def machine_rejections(
    candidate: Candidate, machine: Machine, problem: Problem, rules: Sequence[MachineRule] = MACHINE_RULES
) -> Iterator[Reason]:
    """All that stands against a candidate on a machine, by some of the rules."""
    return (reason for rule in rules for reason in rule(candidate, machine, problem))
