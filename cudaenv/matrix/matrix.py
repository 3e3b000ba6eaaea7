"""The matrix: look-ups over the tables, with nothing decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from cudaenv.matrix.document import Document, cited
from cudaenv.matrix.gpus import GpuTable
from cudaenv.matrix.grouping import grouped
from cudaenv.matrix.invariants import check
from cudaenv.matrix.load import Tables, raise_for, read_documents, type_tables
from cudaenv.matrix.packages import Release, SourceBuild, TorchBuild
from cudaenv.matrix.places import CondaBuild, Pin
from cudaenv.matrix.tables import (
    DEFAULT_INDEX,
    Architecture,
    Component,
    CudaLine,
    CudnnSupport,
    DriverBranch,
    Index,
    Row,
    Source,
    TargetRow,
    Toolkit,
    ToolkitRelease,
)
from cudaenv.model.documents import Problems
from cudaenv.model.machine import Gpu, Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion, PythonVersion


class Matrix:
    """The compatibility tables and the questions the planner asks of them."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._lines = {line.cuda: line for line in tables.cuda}
        self._architectures = {row.sm: row for row in tables.architectures}
        self._indexes = {row.index: row for row in tables.indexes}
        self._targets = {row.target: row for row in tables.targets}
        self._toolkits = {row.cuda: row for row in tables.toolkits}
        self._pythons = {row.python: row for row in tables.pythons}
        self._components = {row.component: row for row in tables.components}
        self.memory: dict[object, Any] = {}
        """Answers about rows that recur; whoever asks chooses the keys."""
        self._branches = {row.branch: row for row in tables.driver_branches}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Matrix:
        """Read and check the tables from the texts of their files, keyed `cuda`, `packages/torch` and so on.

        MatrixError names every problem as `cuda rows[3].linux_own`.
        """
        return cls(type_checked(read_checked(texts)))

    @cached_property
    def gpus(self) -> GpuTable:
        """GPU products by name."""
        return GpuTable(self.tables.gpus)

    def line(self, cuda: CudaVersion) -> CudaLine:
        """The row of a CUDA release line that a build of the matrix uses; KeyError for another."""
        return self._lines[cuda]

    def has_line(self, cuda: CudaVersion) -> bool:
        """Whether the drivers of a release line are known."""
        return cuda in self._lines

    def architecture(self, capability: ComputeCapability) -> Architecture | None:
        """The SM architecture of a compute capability, if it is known."""
        return self._architectures.get(capability)

    @cached_property
    def newest_architecture(self) -> ComputeCapability:
        """The newest compute capability that is known."""
        return max(row.sm for row in self.tables.architectures)

    def builds(self, platform: Platform, version: Version | None = None) -> Sequence[TorchBuild]:
        """The builds of torch for a platform, of all releases or of one, in the order of the table."""
        return self._builds.get((platform, version), ())

    @cached_property
    def _builds(self) -> Mapping[tuple[Platform, Version | None], Sequence[TorchBuild]]:
        found: dict[tuple[Platform, Version | None], list[TorchBuild]] = {}
        for build in self.tables.torch:
            for version in (None, build.version):
                found.setdefault((build.platform, version), []).append(build)
        return found

    def conda_builds(self, package: str) -> Sequence[CondaBuild]:
        """The builds of a package in the channels of conda, in the order of the table."""
        return self._conda_builds.get(package, ())

    @cached_property
    def _conda_builds(self) -> Mapping[str, Sequence[CondaBuild]]:
        return grouped(self.tables.conda_builds, lambda row: row.package)

    def releases(self, package: str) -> tuple[Release, ...]:
        """All releases of a package beside torch, wherever they lie; empty for an unknown one."""
        return self.tables.packages.get(package, ())

    def sources(self, package: str) -> Sequence[Release]:
        """The releases of a package with a source distribution, the newest first."""
        return self._sources.get(package, ())

    @cached_property
    def _sources(self) -> Mapping[str, Sequence[Release]]:
        rows = (row for rows in self.tables.packages.values() for row in rows if "sdist" in row.files)
        newest_first = sorted(rows, key=lambda row: row.version, reverse=True)
        return grouped(newest_first, lambda row: row.package)

    def companions(self, package: str) -> tuple[Release, ...]:
        """The wheels of a package that are bound to a torch release and to one CUDA major at most."""
        return self._companions.get(package, ())

    @cached_property
    def _companions(self) -> Mapping[str, tuple[Release, ...]]:
        found = {
            package: tuple(row for row in rows if self._is_companion(row))
            for package, rows in self.tables.packages.items()
        }
        return {package: rows for package, rows in found.items() if rows}

    def _is_companion(self, row: Release) -> bool:
        is_bound = row.released_with is not None or bool(row.torch)
        carried = row.index == DEFAULT_INDEX or not self._indexes[row.index].files
        return is_bound and carried and "wheel" in row.files and len(row.cuda_majors) < 2

    def source_builds(self, package: str) -> tuple[SourceBuild, ...]:
        """What building a package from source needs and where it fails; empty for an unknown one."""
        return self.tables.builds.get(package, ())

    def package_of(self, project: str) -> tuple[str, str] | None:
        """The package and the variant that a project on PyPI is, however its name is spelled.

        A package's own name means it in whichever variant; None for what is no package of the matrix.
        """
        return self._projects.get(project) or self._projects.get(canonicalize_name(project))

    @cached_property
    def _projects(self) -> Mapping[str, tuple[str, str]]:
        found = {name: (name, "") for name in ("torch", *self.tables.packages)}
        for package, rows in self.tables.packages.items():
            found |= {row.project: (package, row.variant) for row in rows if row.project != package}
        return found

    def pins(self, package: str, version: Version, channel: str) -> tuple[Pin, ...]:
        """What to hold back beside a release of a package from a channel (`pypi` for wheels)."""
        return tuple(
            row
            for row in self.tables.pins
            if row.beside == package
            and row.releases.contains(version, prereleases=True)
            and (not row.channels or channel in row.channels)
        )

    def rivals(self, package: str) -> frozenset[str]:
        """The packages that install the same import package as one does, and so cannot stand beside it."""
        rows = [row for row in self.tables.modules if package in row.packages]
        return frozenset(name for row in rows for name in row.packages if name != package)

    def component(self, name: str) -> Component:
        """The row of a component of CUDA; KeyError for an unknown one, and for `runtime`, which has none."""
        return self._components[name]

    def cudnn_oldest(
        self, version: Version, cuda_major: int
    ) -> tuple[ComputeCapability, CudnnSupport] | None:
        """The oldest compute capability that a cuDNN for a CUDA major serves, and its row, if it is known."""
        rows = [row for row in self.tables.cudnn if row.cuda == cuda_major and row.first <= version]
        row = max(rows, key=lambda row: row.first, default=None)
        return None if row is None else (row.oldest, row)

    def is_supported(self, python: PythonVersion) -> bool:
        """Whether a Python line still got security fixes when its row was read."""
        row = self._pythons.get(python)
        return row is None or row.ends >= self.source(row).read[: len("2026-11")]

    def driver_branch(self, branch: int) -> DriverBranch | None:
        """How long a branch of the driver is supported, if it is known."""
        return self._branches.get(branch)

    def toolkit(self, cuda: CudaVersion) -> Toolkit | None:
        """What the toolkit of a release line compiles for and with, if it is known."""
        return self._toolkits.get(cuda)

    def toolkit_releases(self, cuda: CudaVersion) -> Sequence[ToolkitRelease]:
        """The releases of the `cuda-toolkit` metapackage of a line, oldest first."""
        return self._toolkit_releases.get(cuda, ())

    @cached_property
    def _toolkit_releases(self) -> Mapping[CudaVersion, Sequence[ToolkitRelease]]:
        ordered = sorted(self.tables.toolkit_releases, key=lambda row: row.version)
        return grouped(ordered, lambda row: row.cuda)

    @cached_property
    def family(self) -> frozenset[str]:
        """The packages whose builds carry a CUDA variant: torch and what is bound to it."""
        bound = {
            package
            for package, rows in self._companions.items()
            if any(row.released_with or row.cuda for row in rows)
        }
        return frozenset({"torch", *bound})

    @property
    def index_names(self) -> tuple[str, ...]:
        """The indexes beside the default one."""
        return tuple(self._indexes)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The conda channels that a plan may name."""
        return tuple(dict.fromkeys(name for row in self.tables.conda_eras for name in row.channels))

    @property
    def component_names(self) -> tuple[str, ...]:
        """The components of CUDA that a target may name beside the runtime."""
        return tuple(self._components)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The targets that can be planned."""
        return tuple(self._targets)

    def index(self, name: str) -> Index:
        """The row of an index; KeyError for the default one and unknown ones."""
        return self._indexes[name]

    def is_flat(self, index: str) -> bool:
        """Whether an index is pages of links, one for each variant and torch; the default one is none."""
        return index != DEFAULT_INDEX and self._indexes[index].is_flat

    def index_url(self, name: str, variant: str, torch: Version | None = None) -> str:
        """The canonical URL of an index for a variant; empty for the default index.

        Some indexes have a page for each release line of torch, too: there it must be given.
        """
        if name == DEFAULT_INDEX:
            return ""
        return self._indexes[name].url.format(variant=variant, torch=_line(torch) if torch else "{torch}")

    def wheel_url(self, row: Release, torch: Version, python: PythonVersion, platform: Platform) -> str:
        """The URL of the wheel of a row whose index lists none (`direct`), for one Python and platform."""
        return self._indexes[row.index].url.format(
            version=row.version,
            variant=row.variant,
            torch=_line(torch),
            abi=_ABIS[row.abi],
            python=python.tag,
            platform=_WHEEL_PLATFORMS[platform],
        )

    def target(self, name: str) -> TargetRow:
        """The row of a target; KeyError for an unknown one."""
        return self._targets[name]

    def source(self, row: Row) -> Source:
        """Where a row comes from."""
        return self.tables.sources[row.table][row.source]

    def cite(self, row: Row) -> str:
        """A row and its source on one line, for a reader who wants to check it."""
        source = self.source(row)
        return f"{row.table} {row.key} ({row.basis}: {source.where})"

    def find_gpu(self, text: str) -> Gpu:
        """A GPU by product name or compute capability.

        ValueError, with the nearest products, where the name is unknown or means GPUs of several
        compute capabilities.
        """
        try:
            capability = ComputeCapability.parse(text)
        except ValueError:
            return self._gpu_of_product(text)
        return Gpu(name=str(capability), capability=capability)

    def _gpu_of_product(self, text: str) -> Gpu:
        found = self.gpus.find(text)
        capabilities = {row.capability for row in found}
        if len(capabilities) == 1:
            platforms = {row.platform for row in found}
            platform = platforms.pop() if len(platforms) == 1 else None
            return Gpu(name=text, capability=found[0].capability, platform=platform)
        if capabilities:
            names = ", ".join(f"`{row.product}` ({row.capability})" for row in found)
            raise ValueError(
                f"GPU `{text}` is ambiguous: {names}; write one of them or its compute capability"
            )
        names = ", ".join(f"`{name}`" for name in self.gpus.nearest(text))
        raise ValueError(
            f"unknown GPU `{text}`; nearest: {names}; or give its compute capability, for example `8.9`"
        )

    def capability_of(self, product: str) -> ComputeCapability | None:
        """The compute capability of a product name, or None where it is unknown or ambiguous."""
        capabilities = {row.capability for row in self.gpus.find(product)}
        return capabilities.pop() if len(capabilities) == 1 else None


_ABIS = {"": "", "0": "FALSE", "1": "TRUE"}
_WHEEL_PLATFORMS = {
    Platform.LINUX_64: "linux_x86_64",
    Platform.LINUX_AARCH64: "linux_aarch64",
    Platform.WIN_64: "win_amd64",
}


def _line(torch: Version) -> str:
    """The release line of a torch as URLs of wheels for it have it: `2.8`."""
    return f"{torch.major}.{torch.minor}"


def read_checked(texts: Mapping[str, str]) -> dict[str, Document]:
    """The documents of all files, checked each and against each other. MatrixError names all problems."""
    problems = Problems("matrix")
    documents = read_documents(texts, problems)
    tables = type_tables(documents, problems)
    raise_for(problems)
    check(tables, problems)
    for document in documents.values():
        for source in sorted(document.sources.keys() - cited(document)):
            problems.add(f"{document.name} sources.{source}", "nothing names it")
    raise_for(problems)
    return documents


def type_checked(documents: Mapping[str, Document]) -> Tables:
    """The tables of documents that were checked before."""
    problems = Problems("matrix")
    tables = type_tables(documents, problems)
    raise_for(problems)
    return tables
