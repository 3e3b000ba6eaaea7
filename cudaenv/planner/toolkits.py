"""Toolkits: who can supply nvcc and what belongs to it for a stack, and which host compiler it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.places import CondaEra, Image, System
from cudaenv.matrix.tables import Row
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import HostCompiler, PlannedToolkit
from cudaenv.model.spec import COMPILER, Provider
from cudaenv.model.versions import ComputeCapability, CudaVersion, PythonVersion
from cudaenv.planner.compatibility import Code, sass_for
from cudaenv.planner.problem import TORCH, Problem
from cudaenv.planner.stacks import Stack

SITE_PACKAGES = "lib/python{python}/site-packages"
WINDOWS_SITE_PACKAGES = "Lib/site-packages"
"""Where a virtual environment has its packages
(https://docs.python.org/3/library/sysconfig.html#installation-paths). In it the merged wheels of CUDA 13
have one root with `bin`, `include`, `lib` and `nvvm`, on Windows, too."""

NVCC_WHEEL = "nvidia-cuda-nvcc"
CONDA_NVCC = "cuda-nvcc"
NVIDIA_IMAGE = "nvidia/cuda"
DEVEL = "devel"
LABEL_RELEASE = "{release}"
LEAST_GCC = {"20": 11, "17": 7}
"""The oldest GCC that has each C++ standard (https://gcc.gnu.org/projects/cxx-status.html)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolkit:
    """A toolkit of a release line from one provider, with the rows that say so and an image that has it.

    `label` is the way in which conda has it where its packages lie under a label for each release.
    """

    provider: Provider
    cuda: CudaVersion
    rows: tuple[Row, ...] = ()
    image: Image | None = None
    label: CondaEra | None = None


def toolkits(stack: Stack, parts: frozenset[str], problem: Problem) -> Iterator[Toolkit]:
    """The toolkits for a stack from the providers that are allowed; `parts` are extras that are needed."""
    if stack.cuda is None:
        return
    asked = problem.spec.provider
    allowed = {*problem.target.providers, Provider.SYSTEM} if asked is Provider.AUTO else {asked}
    row = problem.matrix.toolkit(stack.cuda)
    conda = _conda(stack, problem) if stack.provider is Provider.CONDA else None
    if conda is not None:
        yield conda
    elif Provider.PIP in allowed and stack.provider is Provider.PIP and _pip_has(stack, parts, problem):
        release = problem.matrix.toolkit_releases(stack.cuda)[-1]
        yield Toolkit(provider=Provider.PIP, cuda=stack.cuda, rows=(release, *([row] if row else [])))
    if row is not None and conda is None and Provider.SYSTEM in allowed | _beside_conda(stack):
        image = image_of(stack, problem)
        yield Toolkit(
            provider=Provider.SYSTEM, cuda=stack.cuda, rows=(row, *([image] if image else [])), image=image
        )


def _beside_conda(stack: Stack) -> set[Provider]:
    """Where a conda era has no compiler, extensions need one from the system."""
    return {Provider.SYSTEM} if stack.provider is Provider.CONDA else set()


def _pip_has(stack: Stack, parts: frozenset[str], problem: Problem) -> bool:
    """Whether wheels have the whole toolkit: nvcc only from CUDA 13 on, and no stubs of the driver."""
    assert stack.cuda is not None  # noqa: S101
    releases = problem.matrix.toolkit_releases(stack.cuda)
    nvcc = next((row for row in problem.matrix.tables.nvidia_wheels if row.wheel == NVCC_WHEEL), None)
    if not releases or not releases[-1].compiles or nvcc is None or stack.platform not in nvcc.platforms:
        return False
    return parts <= {name for name, _ in releases[-1].components}


def _conda(stack: Stack, problem: Problem) -> Toolkit | None:
    """The compiler of a channel for a stack's line, from conda-forge or a label of NVIDIA's."""
    matrix, era = problem.matrix, stack.era
    if era is not None and era.toolkit:
        for row in matrix.conda_builds(CONDA_NVCC):
            if (row.variant, row.platform, row.channel) == (stack.variant, stack.platform, era.channels[0]):
                cuda = CudaVersion.from_variant(row.variant)
                return Toolkit(provider=Provider.CONDA, cuda=cuda, rows=(row, era))
    return _label(stack, matrix)


def _label(stack: Stack, matrix: Matrix) -> Toolkit | None:
    """NVIDIA's label for a release of CUDA 11: the only compiler that conda has for it."""
    assert stack.cuda is not None  # noqa: S101
    for era in matrix.tables.conda_eras:
        if LABEL_RELEASE in era.selector and era.toolkit and era.cuda.contains(str(stack.cuda)):
            return Toolkit(provider=Provider.CONDA, cuda=stack.cuda, rows=(era,), label=era)
    return None


def image_of(stack: Stack, problem: Problem) -> Image | None:
    """The development image of a stack's line: one whose compiler nvcc and torch's headers accept."""
    images = _development_images(problem.matrix)
    newest = newest_gcc(stack, problem.matrix)
    # The systems stand in the order in which they are preferred.
    return next(
        (
            image
            for system in problem.matrix.tables.systems
            for image in images.get((stack.cuda, system.os), ())
            if stack.platform in image.platforms and _suits(system, stack, newest)
        ),
        None,
    )


def _development_images(matrix: Matrix) -> dict[tuple[CudaVersion | None, str], list[Image]]:
    """NVIDIA's development images by CUDA and operating system; sorted out once."""
    key = "development images"
    if key not in matrix.memory:
        images: dict[tuple[CudaVersion | None, str], list[Image]] = {}
        for image in matrix.tables.images:
            if image.image == NVIDIA_IMAGE and DEVEL in image.flavours:
                images.setdefault((image.cuda, image.os), []).append(image)
        matrix.memory[key] = images
    found: dict[tuple[CudaVersion | None, str], list[Image]] = matrix.memory[key]
    return found


def _suits(system: System, stack: Stack, newest: int | None) -> bool:
    gcc = int(system.gcc)
    return (
        (newest is None or gcc <= newest)
        and gcc >= LEAST_GCC.get(stack.cxx, 0)
        and (stack.glibc is None or stack.glibc <= system.glibc)
        and system.os.startswith("ubuntu")
    )


def newest_gcc(stack: Stack, matrix: Matrix) -> int | None:
    """The newest GCC that the nvcc of a stack's line accepts, if it is known."""
    row = matrix.toolkit(stack.cuda) if stack.cuda else None
    return int(row.gcc) if row is not None and row.gcc else None


def gcc_limit(toolkit: Toolkit, stack: Stack, matrix: Matrix) -> int | None:
    """The newest GCC that nvcc accepts and, beside torch, torch's own check.

    That is CUDA_GCC_VERSIONS of torch.utils.cpp_extension.
    """
    row = matrix.toolkit(toolkit.cuda)
    is_checked = row is not None and row.torch_gcc and stack.name == TORCH
    return int(row.torch_gcc) if row is not None and is_checked else newest_gcc(stack, matrix)


def architectures(
    toolkit: CudaVersion, stack: Stack, machines: Sequence[Machine], matrix: Matrix
) -> tuple[ComputeCapability, ...]:
    """The SM architectures to compile for: that of each GPU, or the nearest of its major that nvcc knows.

    Where no GPU is known, those that torch itself has code for; without torch all that the toolkit knows.
    """
    gpus = {gpu.capability for machine in machines for gpu in machine.gpus or ()}
    row = matrix.toolkit(toolkit)
    known = row.sms if row is not None else ()
    if not gpus:
        return tuple(sm for sm in (stack.sms or known) if not known or sm in known)
    found = {sm for gpu in gpus for sm in [nearest(gpu, known, matrix)] if sm is not None}
    return tuple(sorted(found))


def nearest(
    gpu: ComputeCapability, known: Sequence[ComputeCapability], matrix: Matrix
) -> ComputeCapability | None:
    """The newest architecture whose code runs on a GPU among those that a compiler knows: see `sass_for`."""
    return sass_for(Code(None, tuple(known), ()), gpu, matrix)


def planned_toolkit(
    toolkit: Toolkit,
    stack: Stack,
    machines: Sequence[Machine],
    problem: Problem,
    *,
    parts: frozenset[str],
    python: PythonVersion,
) -> PlannedToolkit:
    """A toolkit written out: what to ask for, where it is, what it compiles with and for."""
    matrix = problem.matrix
    components = tuple(name for name in problem.target.components if name != "runtime") or (
        COMPILER,
        "headers",
    )
    return PlannedToolkit(
        provider=str(toolkit.provider),
        cuda=toolkit.cuda,
        components=components,
        requirements=tuple(_requirements(toolkit, components, parts, stack, problem)),
        host_compiler=_host_compiler(toolkit, stack, machines, matrix),
        home=_home(toolkit, python, stack.platform, matrix),
        sms=architectures(toolkit.cuda, stack, machines, matrix),
        steps=tuple(_steps(toolkit, stack.platform, machines)) if toolkit.provider is Provider.SYSTEM else (),
    )


def _home(toolkit: Toolkit, python: PythonVersion, platform: Platform, matrix: Matrix) -> str:
    wheel = next((row for row in matrix.tables.nvidia_wheels if row.wheel == NVCC_WHEEL), None)
    is_windows = platform is Platform.WIN_64
    packages = WINDOWS_SITE_PACKAGES if is_windows else SITE_PACKAGES.format(python=python)
    return {
        Provider.PIP: f"$VIRTUAL_ENV/{packages}/{wheel.prefix if wheel else ''}",
        Provider.CONDA: "$CONDA_PREFIX/Library" if is_windows else "$CONDA_PREFIX",
        Provider.SYSTEM: f"/usr/local/cuda-{toolkit.cuda}",
    }[toolkit.provider]


def _requirements(
    toolkit: Toolkit, components: Sequence[str], parts: frozenset[str], stack: Stack, problem: Problem
) -> Iterator[str]:
    """What pip or conda is asked for. Of wheels all parts of one release, since nvcc's leave some open."""
    rows = [problem.matrix.component(name) for name in components]
    if toolkit.provider is Provider.PIP:
        known = {name for name, _ in problem.matrix.toolkit_releases(toolkit.cuda)[-1].components}
        extras = sorted(({extra for row in rows for extra in row.pip} | parts) & known)
        yield f"cuda-toolkit[{','.join(extras)}]=={toolkit.cuda}.*"
    if toolkit.label is not None:
        yield toolkit.label.selector.format(cuda=toolkit.cuda, release=_newest_release(toolkit.cuda, problem))
        newest = newest_gcc(stack, problem.matrix)
        yield f"gxx_{stack.platform}={newest}.*" if newest else f"gxx_{stack.platform}"
        yield from dict.fromkeys(name for row in rows for name in row.wheels)
    elif toolkit.provider is Provider.CONDA:
        yield from dict.fromkeys(name for row in rows for name in row.conda)
    else:
        yield from dict.fromkeys(name for row in rows for name in row.wheels)


def _newest_release(cuda: CudaVersion, problem: Problem) -> str:
    """The newest point release of a line, by the packages that are named like it."""
    releases = [
        row.version
        for row in problem.matrix.conda_builds("cudatoolkit")
        if CudaVersion.from_variant(row.variant) == cuda
    ]
    return str(max(releases)) if releases else f"{cuda}.0"


def _host_compiler(
    toolkit: Toolkit, stack: Stack, machines: Sequence[Machine], matrix: Matrix
) -> HostCompiler | None:
    """The newest compiler that nvcc accepts, and the one to use: the machine's if it will do."""
    row = matrix.toolkit(toolkit.cuda)
    if stack.platform is Platform.WIN_64:
        return HostCompiler(kind="msvc", newest=row.msvc if row else "", package="Visual Studio Build Tools")
    newest = newest_gcc(stack, matrix)
    if toolkit.provider is Provider.CONDA:
        return HostCompiler(kind="gcc", newest=str(newest or ""), package="cxx-compiler")
    safest = gcc_limit(toolkit, stack, matrix)
    there = [machine.gcc.value for machine in machines if machine.gcc]
    usable = [gcc for gcc in there if safest is None or gcc <= safest]
    systems = {system.os: system for system in matrix.tables.systems}
    of_image = int(systems[toolkit.image.os].gcc) if toolkit.image else None
    offered = [int(system.gcc) for system in matrix.tables.systems if safest and int(system.gcc) <= safest]
    planned = min(usable, default=None) or of_image or max(offered, default=None) or safest
    return HostCompiler(
        kind="gcc",
        newest=str(newest or ""),
        planned=str(planned or ""),
        package=f"g++-{planned}" if planned else "g++",
    )


def _steps(toolkit: Toolkit, platform: Platform, machines: Sequence[Machine]) -> Iterator[str]:
    """How to get a toolkit of a line where it is not there already; none of it touches the driver.

    https://docs.nvidia.com/cuda/cuda-installation-guide-linux/ : the package `cuda-toolkit-X-Y` and the
    runfile with `--toolkit` leave the driver alone.
    """
    cuda = toolkit.cuda
    there = [machine.name for machine in machines if machine.toolkit and machine.toolkit.value == cuda]
    if there:
        yield f"it is there on {', '.join(there)}"
    if there and len(there) == len(machines):
        return
    if platform is Platform.WIN_64:
        yield f"NVIDIA's installer of CUDA {cuda}, without its driver"
        return
    yield f"on a cluster: module load cuda/{cuda}"
    yield f"as root, from NVIDIA's repository: the package cuda-toolkit-{cuda.major}-{cuda.minor}"
    yield f"without root: NVIDIA's runfile of CUDA {cuda} with --silent --toolkit --toolkitpath=DIR"
    if toolkit.image is not None:
        yield f"in a container: {tag(toolkit.image)}"


def tag(image: Image) -> str:
    """The whole name of a development image."""
    return f"{image.image}:{image.release}-{DEVEL}-{image.os}"
