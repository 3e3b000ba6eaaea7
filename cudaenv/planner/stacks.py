"""Stacks: what decides about CUDA in an environment, and from where it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from packaging.version import Version

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import TorchBuild
from cudaenv.matrix.places import CondaBuild, CondaEra
from cudaenv.matrix.tables import DEFAULT_INDEX, Row
from cudaenv.model.machine import Platform
from cudaenv.model.plan import How, PlannedPackage
from cudaenv.model.spec import PackageRequest, Provider
from cudaenv.model.versions import ComputeCapability, CudaVersion, GlibcVersion, PythonVersion
from cudaenv.planner.problem import TORCH, Problem

UNVERIFIED_NOTE = "no row yet: taken to be built like the newest release of the matrix"
CUDA = "CUDA"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """A build of torch, or a CUDA release line where nothing needs torch, with who supplies its runtime.

    `row` is what says all this. `version` is torch's release, or the CUDA line. `index` is that of wheels;
    `channel`, `build` and `era` are those of conda.
    """

    row: Row
    name: str
    version: Version
    variant: str
    platform: Platform
    provider: Provider
    cuda: CudaVersion | None
    pythons: tuple[PythonVersion, ...]
    sms: tuple[ComputeCapability, ...] = ()
    ptx: tuple[ComputeCapability, ...] = ()
    glibc: GlibcVersion | None = None
    macos: str = ""
    cudnn: str = ""
    nccl: str = ""
    cxx: str = ""
    abi: str = ""
    index: str = DEFAULT_INDEX
    labelled: bool = False
    era: CondaEra | None = None
    channel: str = ""
    build: str = ""

    @property
    def label(self) -> str:
        """The version and variant as people write them, whichever index carries it."""
        return f"{self.version}+{self.variant}" if self.name == TORCH else str(self.version)

    @property
    def title(self) -> str:
        """What it is, for a sentence."""
        where = f" of {self.channel}" if self.channel else ""
        return f"{self.name} {self.label}{where}"

    @property
    def is_unverified(self) -> bool:
        """Whether its release is newer than the matrix knows."""
        return self.row.note == UNVERIFIED_NOTE

    def package(self, matrix: Matrix, extras: tuple[str, ...]) -> PlannedPackage:
        """Its torch as a planned package."""
        if self.provider is Provider.CONDA:
            return PlannedPackage(
                name=TORCH,
                version=self.version,
                variant=self.variant,
                index="",
                index_url="",
                cuda_major=self.cuda.major if self.cuda else None,
                how=How.CONDA,
                channel=self.channel,
                conda_name="pytorch",
                build=self.build,
            )
        return planned(TORCH, self.version, self, matrix, extras)


def planned(
    name: str, version: Version, stack: Stack | TorchBuild, matrix: Matrix, extras: tuple[str, ...]
) -> PlannedPackage:
    """A package of torch's family at the place and in the variant of a torch build."""
    is_default = stack.index == DEFAULT_INDEX
    return PlannedPackage(
        name=name,
        version=version if is_default else Version(f"{version}+{stack.variant}"),
        variant=stack.variant,
        index=stack.index,
        index_url=matrix.index_url(stack.index, stack.variant),
        cuda_major=stack.cuda.major if stack.cuda else None,
        extras=extras,
    )


def stacks(problem: Problem, platform: Platform) -> Iterator[Stack]:
    """All stacks for a platform, of the providers that are asked for or that the target allows."""
    allowed = problem.target.providers
    asked = problem.spec.provider
    wanted = allowed if asked is Provider.AUTO else (asked,)
    uses_wheels = {Provider.PIP, Provider.SYSTEM} & set(wanted)
    if problem.needs_torch:
        if uses_wheels:
            yield from _wheel_builds(problem, platform)
        if Provider.CONDA in wanted:
            yield from _conda_builds(problem, platform)
    else:
        if uses_wheels:
            yield from _bare_lines(problem, platform)
        if Provider.CONDA in wanted:
            yield from _bare_conda(problem, platform)


def _wheel_builds(problem: Problem, platform: Platform) -> Iterator[Stack]:
    matrix, requests = problem.matrix, problem.requests[TORCH]
    memory, key = matrix.memory, ("wheel stacks", platform)
    if key not in memory:
        memory[key] = tuple(of_wheel(build) for build in matrix.builds(platform))
    newer = (of_wheel(build) for build in _newer_than_matrix(requests, platform, matrix))
    for stack in (*memory[key], *newer):
        yield stack
        repeated = _repeated(stack, problem)
        if repeated is not None:
            yield repeated


def of_wheel(build: TorchBuild) -> Stack:
    """The stack of a build of torch in a wheel."""
    return Stack(
        row=build,
        name=TORCH,
        version=build.version,
        variant=build.variant,
        platform=build.platform,
        provider=Provider.PIP,
        cuda=build.cuda,
        pythons=build.pythons,
        sms=build.sms,
        ptx=build.ptx,
        glibc=build.glibc,
        macos=build.macos,
        cudnn=build.cudnn,
        nccl=build.nccl,
        cxx=build.cxx,
        abi=build.cxx11_abi,
        index=build.index,
    )


def _repeated(stack: Stack, problem: Problem) -> Stack | None:
    """The same build from the index where it has its variant in its version, for who names its CUDA."""
    if stack.index != DEFAULT_INDEX or stack.cuda is None or problem.spec.cuda.line != stack.cuda:
        return None
    for index in problem.matrix.tables.indexes:
        if index.repeats is not None and index.repeats.contains(stack.version):
            return replace(stack, index=index.index, labelled=True)
    return None


def _newer_than_matrix(
    requests: list[PackageRequest], platform: Platform, matrix: Matrix
) -> Iterator[TorchBuild]:
    """Builds of a release that the user names and the matrix does not know yet, like the newest known."""
    newest = max(build.version for build in matrix.tables.torch)
    named = {
        version
        for request in requests
        for part in request.specifier
        if part.operator in {"==", ">=", "~="}
        for version in [Version(Version(part.version.replace("*", "0")).public)]
        if version > newest
    }
    for version in sorted(named):
        for build in matrix.builds(platform, newest):
            yield replace(build, version=version, note=UNVERIFIED_NOTE)


def era_of(build: CondaBuild, matrix: Matrix) -> CondaEra | None:
    """The way in which a conda build of torch chooses its CUDA; None for a CPU build."""
    cuda = _line(build.variant)
    if cuda is None:
        return None
    return next(
        (
            era
            for era in matrix.tables.conda_eras
            if era.channels[0] == build.channel
            and era.cuda.contains(str(cuda))
            and era.torch.contains(build.version)
        ),
        None,
    )


def _line(variant: str) -> CudaVersion | None:
    return None if variant == "cpu" else CudaVersion.from_variant(variant)


def _conda_builds(problem: Problem, platform: Platform) -> tuple[Stack, ...]:
    """The builds of torch in conda's channels; read once."""
    memory, key = problem.matrix.memory, ("conda stacks", platform)
    if key not in memory:
        memory[key] = tuple(_read_conda_builds(problem.matrix, platform))
    found: tuple[Stack, ...] = memory[key]
    return found


def _read_conda_builds(matrix: Matrix, platform: Platform) -> Iterator[Stack]:
    for build in matrix.conda_builds("pytorch"):
        if build.platform is not platform:
            continue
        cuda = _line(build.variant)
        era = era_of(build, matrix)
        pythons = build.pythons or _pythons_of(build.version, matrix)
        if cuda is None or era is None or not build.sms or not pythons:
            continue
        yield Stack(
            row=build,
            name=TORCH,
            version=build.version,
            variant=build.variant,
            platform=platform,
            provider=Provider.CONDA,
            cuda=cuda,
            pythons=pythons,
            sms=build.sms,
            ptx=build.ptx,
            glibc=build.glibc,
            cudnn=build.cudnn,
            era=era,
            channel=build.channel,
            build=build.build or _pattern(build, cuda),
        )


def _pattern(build: CondaBuild, cuda: CudaVersion) -> str:
    """The pattern of build strings where no record was read: the channels have one way of writing each."""
    return f"*cuda{cuda}*" if build.channel == "pytorch" else f"cuda{cuda.major}{cuda.minor}*"


def _pythons(builds: Iterable[TorchBuild]) -> tuple[PythonVersion, ...]:
    return tuple(sorted({python for build in builds for python in build.pythons}))


def _pythons_of(version: Version, matrix: Matrix) -> tuple[PythonVersion, ...]:
    """Where the Pythons of a conda build are not known, those of torch's wheels of the release."""
    return _pythons(build for platform in Platform for build in matrix.builds(platform, version))


def _bare_lines(problem: Problem, platform: Platform) -> Iterator[Stack]:
    """CUDA by wheels alone: the release lines of the `cuda-toolkit` metapackage."""
    matrix = problem.matrix
    pythons = _pythons(matrix.tables.torch)
    for cuda in sorted({row.cuda for row in matrix.tables.toolkit_releases}):
        row = matrix.toolkit_releases(cuda)[-1]
        if platform is not Platform.OSX_ARM64 and matrix.has_line(cuda):
            yield _bare(row, cuda, platform, pythons, Provider.PIP)


def _bare(
    row: Row, cuda: CudaVersion, platform: Platform, pythons: tuple[PythonVersion, ...], provider: Provider
) -> Stack:
    return Stack(
        row=row,
        name=CUDA,
        version=Version(str(cuda)),
        variant=cuda.variant,
        platform=platform,
        provider=provider,
        cuda=cuda,
        pythons=pythons,
    )


def _bare_conda(problem: Problem, platform: Platform) -> Iterator[Stack]:
    """CUDA by conda alone: the lines whose components a channel is known to have."""
    matrix = problem.matrix
    pythons = _pythons(matrix.tables.torch)
    for row in matrix.tables.conda_builds:
        if row.package not in {"cudatoolkit", "cuda-nvcc"} or row.platform is not platform:
            continue
        cuda = CudaVersion.from_variant(row.variant)
        era = next(
            (
                era
                for era in matrix.tables.conda_eras
                if era.channels[0] == row.channel and era.cuda.contains(str(cuda))
            ),
            None,
        )
        if era is not None and matrix.has_line(cuda):
            yield replace(_bare(row, cuda, platform, pythons, Provider.CONDA), era=era, channel=row.channel)
