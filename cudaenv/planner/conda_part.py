"""The part of an environment that conda installs: channels, match specs and virtual packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import CondaPart, How, PlannedPackage, PlannedToolkit
from cudaenv.model.spec import Provider
from cudaenv.model.versions import CudaVersion, GlibcVersion
from cudaenv.planner.problem import Problem
from cudaenv.planner.search import Choice
from cudaenv.planner.stacks import Stack

USUAL_GLIBC = GlibcVersion(2, 28)
"""What the libraries of CUDA 12 and later in conda-forge ask for; taken where a machine's is not known."""

KERNEL = "5.10"
"""The `__linux` that conda-lock takes by default; nothing here asks for a newer one."""


def conda_part(
    choice: Choice,
    packages: Sequence[PlannedPackage],
    toolkit: PlannedToolkit | None,
    problem: Problem,
    *,
    has_pip: bool,
) -> CondaPart | None:
    """What conda is asked for; None where the runtime does not come from it."""
    stack = choice.candidate.stack
    if stack.provider is not Provider.CONDA or stack.era is None:
        return None
    machines = [kind.machine for kind in choice.kinds]
    specs = dict.fromkeys(_specs(choice, packages, toolkit, machines, problem))
    on_top = has_pip or any(package.how is not How.CONDA for package in packages)
    return CondaPart(
        era=stack.era.era,
        # A channel that a match spec names comes first: all that it has is to be taken from it alone.
        channels=tuple(dict.fromkeys((*_named_channels(specs), *stack.era.channels))),
        specs=(*specs, *(("pip",) if on_top else ())),
        virtual_packages=tuple(_virtual_packages(stack, machines, problem)),
    )


def _named_channels(specs: Iterable[str]) -> Iterator[str]:
    for spec in specs:
        channel, sign, _ = spec.partition("::")
        if sign:
            yield channel


def _specs(
    choice: Choice,
    packages: Sequence[PlannedPackage],
    toolkit: PlannedToolkit | None,
    machines: Sequence[Machine],
    problem: Problem,
) -> Iterator[str]:
    stack = choice.candidate.stack
    yield f"python={choice.python}.*"
    if stack.era is not None:
        yield stack.era.selector.format(cuda=f"{stack.cuda}", release=f"{stack.cuda}.0")
    for package in packages:
        if package.how is How.CONDA:
            # A sibling of torch without a row goes by the torch that its own builds pin.
            yield package.match_spec if package.build or not _is_sibling(package, problem) else package.name
    for name, version in choice.candidate.releases.items():
        for pin in problem.matrix.pins(name, version, stack.channel):
            yield f"{pin.package}{pin.versions}"
    yield from _cudnn_bound(stack, machines, problem.matrix)
    if toolkit is not None:
        # Beside a system toolkit these are build tools, which conda has by the names of PyPI.
        yield from toolkit.requirements


def _is_sibling(package: PlannedPackage, problem: Problem) -> bool:
    return any(row.released_with is not None for row in problem.matrix.releases(package.name))


def _cudnn_bound(stack: Stack, machines: Sequence[Machine], matrix: Matrix) -> Iterator[str]:
    """Below the first cuDNN that no longer serves a GPU: the solver takes the newest otherwise."""
    if stack.cuda is None or stack.era is None or not stack.era.toolkit:
        return  # only where CUDA comes in components cuDNN is a package of its own
    oldest = min((gpu.capability for machine in machines for gpu in machine.gpus or ()), default=None)
    dropped = [
        row.first
        for row in matrix.tables.cudnn
        if row.cuda == stack.cuda.major and oldest is not None and row.oldest > oldest
    ]
    if dropped:
        yield f"cudnn<{min(dropped)}"


def _virtual_packages(
    stack: Stack, machines: Sequence[Machine], problem: Problem
) -> Iterator[tuple[str, str]]:
    """What a solver has to take for granted of the machines: it may run where no GPU is.

    https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html
    """
    if stack.platform.is_linux:
        yield "__unix", "0"
        yield "__linux", KERNEL
        glibcs = [machine.glibc.value for machine in machines if machine.glibc]
        yield "__glibc", str(min(glibcs, default=max(stack.glibc or USUAL_GLIBC, USUAL_GLIBC)))
    elif stack.platform is Platform.WIN_64:
        yield "__win", "0"
    yield "__archspec", "1 aarch64" if stack.platform is Platform.LINUX_AARCH64 else "1 x86_64"
    if stack.cuda is not None:
        own = [_own(machine, problem) or stack.cuda for machine in machines]
        yield "__cuda", str(min(own, default=stack.cuda))
        capabilities = [gpu.capability for machine in machines for gpu in machine.gpus or ()]
        if capabilities and all(machine.gpus for machine in machines):
            # https://conda.org/learn/ceps/cep-0046/: the lowest one; packages that ask for it need it here.
            yield "__cuda_arch", str(min(capabilities))


def _own(machine: Machine, problem: Problem) -> CudaVersion | None:
    """The newest CUDA that a machine's driver has itself; None where it is not known."""
    facts = problem.driver(machine)
    if facts.api is not None:
        return facts.api
    if facts.version is None:
        return None
    lines = [line.cuda for line in problem.matrix.tables.cuda if facts.level(line) == "direct"]
    return max(lines, default=None)
