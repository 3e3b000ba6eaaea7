"""Environments of a plan, written out from the choices of the search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cudaenv.matrix.packages import Release
from cudaenv.matrix.places import Pin
from cudaenv.matrix.tables import DIRECT, CudaLine, Row
from cudaenv.model.images import Shape
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import DriverNeed, Environment, How, Phase, PlannedPackage, PlannedToolkit
from cudaenv.model.spec import Provider
from cudaenv.planner.building import components, in_order, phase
from cudaenv.planner.compatibility import Code, Reach, reach
from cudaenv.planner.conda_part import conda_part
from cudaenv.planner.images import Images, images
from cudaenv.planner.layers import layers
from cudaenv.planner.offers import applies
from cudaenv.planner.picks import Pick
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.search import Choice, units
from cudaenv.planner.stacks import Stack
from cudaenv.planner.toolkits import planned_toolkit


def environments(choices: Sequence[Choice], problem: Problem) -> tuple[Environment, ...]:
    """One environment for each choice, the first platform first, then by name."""
    names = _names([choice.candidate.stack for choice in choices])
    made = [
        _with_libraries(_environment(choice, name, problem), problem)
        for choice, name in zip(choices, names, strict=True)
    ]
    return tuple(sorted(made, key=lambda item: (item.platform != made[0].platform, item.platform, item.name)))


def _names(stacks: Sequence[Stack]) -> list[str]:
    """The variant names an environment; platform and release are added where several have it.

    Letters, digits and dashes only: PEP 751 allows no dot in `pylock.NAME.toml`
    (https://packaging.python.org/en/latest/specifications/pylock-toml/#file-name).
    """
    spelt = [
        (
            stack.variant,
            f"{stack.variant}-{stack.platform}",
            f"{stack.variant}-{stack.platform}-{stack.name.lower()}{str(stack.version).replace('.', '-')}",
            f"{stack.variant}-{stack.platform}-{stack.provider}-{str(stack.version).replace('.', '-')}",
        )
        for stack in stacks
    ]
    counts = Counter(name for names in spelt for name in names)
    return [next((name for name in names if counts[name] == 1), names[-1]) for names in spelt]


def _environment(choice: Choice, name: str, problem: Problem) -> Environment:
    candidate, stack = choice.candidate, choice.candidate.stack
    machines = [kind.machine for kind in choice.kinds]
    need = driver_need(choice, problem)
    packages = _packages(choice, problem)
    toolkit = _toolkit(choice, machines, problem)
    rest = _rest(choice, problem)
    glibcs = [machine.glibc.value for machine in machines if machine.glibc]
    container = _container(choice, problem)
    return Environment(
        name=name,
        platform=stack.platform,
        machines=served(choice, problem),
        label=stack.label if stack.name == TORCH else f"CUDA {stack.label}",
        target=problem.spec.target,
        provider=str(candidate.provider),
        python=choice.python,
        cuda=stack.cuda,
        variant=stack.variant,
        packages=packages,
        rest=rest,
        layers=layers(choice, packages, toolkit, need),
        driver_required=need,
        sms=stack.sms,
        ptx=stack.ptx,
        glibc=stack.glibc,
        glibc_target=(min(glibcs) if glibcs else stack.glibc) if stack.platform.is_linux else None,
        macos=stack.macos,
        base_image=container.run,
        build_image=container.build,
        shape=_shape(choice, container, problem),
        python_tool=container.python_tool,
        toolkit=toolkit,
        phases=tuple(_phases(choice, packages, toolkit)),
        env=tuple(_variables(toolkit, candidate.stack)),
        conda=conda_part(choice, packages, toolkit, problem, has_pip=bool(rest)),
        rows=tuple((f"{row.table} {row.key}", row.digest) for row in _rows(choice, problem)),
    )


def _with_libraries(environment: Environment, problem: Problem) -> Environment:
    """An environment with what its wheels need of a system, as far as it is known which those are."""
    asked = {canonicalize_name(Requirement(text).name) for text in environment.asked}
    rows = [row for row in problem.matrix.tables.system_libraries if row.package in asked]
    if environment.shape is None or not rows:
        return environment
    return replace(
        environment,
        libraries=tuple(dict.fromkeys(name for row in rows for name in row.apt)),
        rows=(*environment.rows, *((f"{row.table} {row.key}", row.digest) for row in rows)),
    )


def _container(choice: Choice, problem: Problem) -> Images:
    candidate = choice.candidate
    stays = _runs_in_devel(choice, problem)
    return images(candidate.stack, candidate.toolkit, choice.python, problem, stays=stays)


def _shape(choice: Choice, container: Images, problem: Problem) -> Shape | None:
    """What the image of an environment is for; None where no container is made of it."""
    if choice.candidate.stack.provider is Provider.CONDA:
        conda = Shape.CONDA_DEVELOP if problem.target.compiles else Shape.CONDA
        return conda if container.run else None
    if choice.candidate.toolkit is None:
        return Shape.RUN if container.run else None
    if not container.build:
        return None
    return Shape.DEVELOP if problem.target.compiles and container.build == container.run else Shape.BUILD


def _packages(choice: Choice, problem: Problem) -> tuple[PlannedPackage, ...]:
    stack = choice.candidate.stack
    own: list[PlannedPackage] = []
    if stack.name == TORCH:
        extras = {extra for request in problem.requests[TORCH] for extra in request.extras}
        own.append(stack.package(problem.matrix, tuple(sorted(extras))))
    return (*own, *(_located(pick, choice, problem) for pick in choice.candidate.picks))


def _located(pick: Pick, choice: Choice, problem: Problem) -> PlannedPackage:
    """A package with the URL of its wheel, where that follows from the Python and nothing lists it."""
    package, stack = pick.package, choice.candidate.stack
    if package.listing != DIRECT or not isinstance(pick.row, Release):
        return package
    url = problem.matrix.wheel_url(pick.row, stack.version, choice.python, stack.platform)
    return replace(package, index_url=url)


def _rest(choice: Choice, problem: Problem) -> tuple[str, ...]:
    """What is resolved freely: the user's other packages, what planned ones need besides, and held back."""
    stack, candidate = choice.candidate.stack, choice.candidate
    asked = [
        request.requirement
        for request in problem.spec.packages
        if not problem.is_known(request.name) and applies(request, stack.platform, [choice.python])
    ]
    needed = [str(need) for need in candidate.placement.needs if not problem.is_known(need.name)]
    if stack.provider is not Provider.CONDA:
        needed += [f"{pin.package}{pin.versions}" for pin in pins(choice, "pypi", problem)]
    return tuple(dict.fromkeys((*asked, *needed)))


def pins(choice: Choice, channel: str, problem: Problem) -> Iterator[Pin]:
    """What has to be held back beside the packages of a choice that come from a channel."""
    for name, version in choice.candidate.releases.items():
        yield from problem.matrix.pins(name, version, channel)


def _toolkit(choice: Choice, machines: Sequence[Machine], problem: Problem) -> PlannedToolkit | None:
    candidate = choice.candidate
    if candidate.toolkit is None:
        return None
    return planned_toolkit(
        candidate.toolkit,
        candidate.stack,
        machines,
        problem,
        parts=components(candidate.picks),
        python=choice.python,
    )


def _runs_in_devel(choice: Choice, problem: Problem) -> bool:
    """Whether a container of the toolkit's image starts: NVIDIA_REQUIRE_CUDA is held against the driver.

    https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
    """
    toolkit = choice.candidate.toolkit
    compiles = problem.target.compiles or choice.candidate.compiles_late
    if toolkit is None or toolkit.image is None or not compiles:
        return False
    need = toolkit.image.require_cuda
    if need is None or not problem.matrix.has_line(need):
        return False
    line = problem.matrix.line(need)
    facts = [problem.driver(kind.machine) for kind in choice.kinds]
    return all(not fact.is_known or fact.level(line) == "direct" for fact in facts)


def _phases(
    choice: Choice, packages: Sequence[PlannedPackage], toolkit: PlannedToolkit | None
) -> Iterator[Phase]:
    """Wheels and conda packages first, then each package that is built."""
    ready = tuple(package.name for package in packages if package.how is not How.BUILD)
    yield Phase(install=ready)
    there = frozenset(ready)
    for pick in in_order(choice.candidate.built):
        yield phase(pick, toolkit.sms if toolkit else (), toolkit.home if toolkit else "", there)
        there |= {pick.package.name}


def _variables(toolkit: PlannedToolkit | None, stack: Stack) -> Iterator[tuple[str, str]]:
    """What compiling needs to be told; LD_LIBRARY_PATH is never among it."""
    if toolkit is None:
        return
    yield "CUDA_HOME", toolkit.home
    yield "CUDAARCHS", ";".join(f"{sm.major}{sm.minor}" for sm in toolkit.sms)
    if stack.name == TORCH:
        yield "TORCH_CUDA_ARCH_LIST", ";".join(str(sm) for sm in toolkit.sms)
        yield "FORCE_CUDA", "1"
    if toolkit.provider == Provider.CONDA and stack.cuda and stack.cuda.major >= SPLIT:
        folder = {Platform.LINUX_64: "x86_64-linux", Platform.LINUX_AARCH64: "sbsa-linux"}.get(stack.platform)
        if folder:
            yield "CPATH", f"$CONDA_PREFIX/targets/{folder}/include"
    compiler = toolkit.host_compiler
    if toolkit.provider == Provider.SYSTEM and compiler and compiler.kind == "gcc" and compiler.planned:
        yield "NVCC_PREPEND_FLAGS", f"-ccbin=g++-{compiler.planned}"


SPLIT = 12
"""From this major on conda-forge has CUDA's headers below `targets/`
(https://github.com/conda-forge/cuda-feedstock/blob/main/recipe/doc/end_user_compile_guide.md)."""


def served(choice: Choice, problem: Problem) -> tuple[str, ...]:
    """The machines a choice is for; with the GPU where it serves only some kinds of a machine's."""
    members = [member for kind in choice.kinds for member in kind.members]
    kinds = {machine.name: len(units(machine)) for machine in problem.spec.machines}
    counts = Counter(name for name, _ in members)
    return tuple(
        dict.fromkeys(
            name if counts[name] == kinds.get(name, 1) else f"{name} ({gpu})" for name, gpu in members
        )
    )


def ptx_lines(choice: Choice, problem: Problem) -> tuple[CudaLine, ...]:
    """The release lines whose PTX a GPU is reached by, which only a driver as new as the line can load."""
    candidate, matrix = choice.candidate, problem.matrix
    codes = [Code.of(candidate.stack)] if candidate.stack.name == TORCH else []
    for pick in candidate.picks:
        code = Code.of_release(pick.row) if isinstance(pick.row, Release) and not pick.builds else None
        codes += [code] if code else []
    return tuple(
        matrix.line(code.cuda)
        for code in codes
        if code.cuda is not None
        if any(
            reach(code, gpu, problem.driver(kind.machine), matrix) is Reach.PTX
            for kind in choice.kinds
            for gpu in kind.machine.gpus or ()
        )
    )


def driver_need(choice: Choice, problem: Problem) -> DriverNeed | None:
    """The oldest drivers the environment runs on; None for a CPU build."""
    cuda = choice.candidate.stack.cuda
    if cuda is None:
        return None
    line, loading = problem.matrix.line(cuda), ptx_lines(choice, problem)
    windows = [line.windows_minor or line.windows_own, *(other.windows_own for other in loading)]
    return DriverNeed(
        linux=max([line.linux_minor or line.linux_own, *(other.linux_own for other in loading)]),
        windows=max((driver for driver in windows if driver is not None), default=None),
        level=choice.assessment.level(choice.candidate, choice.kinds),
    )


def _rows(choice: Choice, problem: Problem) -> list[Row]:
    """The rows of the matrix that this environment rests on."""
    matrix, candidate = problem.matrix, choice.candidate
    stack = candidate.stack
    rows: list[Row] = [] if problem.spec.targets else [matrix.target(problem.spec.target)]
    rows += [stack.row, *(pick.row for pick in candidate.picks)]
    rows += [row for pick in candidate.picks for row in pick.builds]
    rows += [stack.era] if stack.era else []
    rows += candidate.toolkit.rows if candidate.toolkit else ()
    rows += _container(choice, problem).rows
    if stack.cuda is not None:
        rows.append(matrix.line(stack.cuda))
    indexes = {stack.index, *(pick.package.index for pick in candidate.picks)}
    rows += [matrix.index(name) for name in sorted(indexes - {""})]
    capabilities = {gpu.capability for kind in choice.kinds for gpu in kind.machine.gpus or ()}
    rows += [row for capability in sorted(capabilities) for row in [matrix.architecture(capability)] if row]
    return list(dict.fromkeys(rows))
