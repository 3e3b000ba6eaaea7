"""The matrix: look-ups over the tables, with nothing decided here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from cudaenv.matrix.document import Document, cited
from cudaenv.matrix.gpus import GpuTable
from cudaenv.matrix.invariants import check
from cudaenv.matrix.load import Tables, raise_for, read_documents, type_tables
from cudaenv.matrix.packages import Release, SourceBuild, TorchBuild
from cudaenv.matrix.tables import (
    DEFAULT_INDEX,
    Architecture,
    CudaLine,
    Index,
    Row,
    Source,
    TargetRow,
    Toolkit,
    ToolkitRelease,
)
from cudaenv.model.documents import Problems
from cudaenv.model.machine import Gpu, Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion


class Matrix:
    """The compatibility tables and the questions the planner asks of them."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._lines = {line.cuda: line for line in tables.cuda}
        self._architectures = {row.sm: row for row in tables.architectures}
        self._indexes = {row.index: row for row in tables.indexes}
        self._targets = {row.target: row for row in tables.targets}
        self._toolkits = {row.cuda: row for row in tables.toolkits}

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

    def architecture(self, capability: ComputeCapability) -> Architecture | None:
        """The SM architecture of a compute capability, if it is known."""
        return self._architectures.get(capability)

    def builds(self, platform: Platform) -> tuple[TorchBuild, ...]:
        """All builds of torch for a platform, in the order of the table."""
        return tuple(build for build in self.tables.torch if build.platform is platform)

    def releases(self, package: str) -> tuple[Release, ...]:
        """All releases of a package beside torch, wherever they lie; empty for an unknown one."""
        return self.tables.packages.get(package, ())

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
        carried = row.index == DEFAULT_INDEX or not self._indexes[row.index].is_flat
        return is_bound and carried and "wheel" in row.files and len(row.cuda_majors) < 2

    def source_builds(self, package: str) -> tuple[SourceBuild, ...]:
        """What building a package from source needs and where it fails; empty for an unknown one."""
        return self.tables.builds.get(package, ())

    def toolkit(self, cuda: CudaVersion) -> Toolkit | None:
        """What the toolkit of a release line compiles for and with, if it is known."""
        return self._toolkits.get(cuda)

    def toolkit_releases(self, cuda: CudaVersion) -> tuple[ToolkitRelease, ...]:
        """The releases of the `cuda-toolkit` metapackage of a line, oldest first."""
        return tuple(
            sorted(
                (row for row in self.tables.toolkit_releases if row.cuda == cuda), key=lambda row: row.version
            )
        )

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
    def target_names(self) -> tuple[str, ...]:
        """The targets that can be planned."""
        return tuple(self._targets)

    def index(self, name: str) -> Index:
        """The row of an index; KeyError for the default one and unknown ones."""
        return self._indexes[name]

    def index_url(self, name: str, variant: str) -> str:
        """The canonical URL of an index for a variant; empty for the default index."""
        return "" if name == DEFAULT_INDEX else self._indexes[name].url.format(variant=variant)

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
