"""Typed tables from documents: strict about columns and values; all problems at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, TypeVar

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.errors import MatrixError, SpecError
from cudaenv.matrix.document import BUILDS, LAST_COLUMNS, ROWS, TRUE, Document, read_document
from cudaenv.matrix.failures import BuildFailure
from cudaenv.matrix.gpus import GpuRow
from cudaenv.matrix.packages import Module, Release, SourceBuild, TorchBuild
from cudaenv.matrix.places import CondaBuild, CondaEra, Image, Pin, System, SystemLibraries, Tool
from cudaenv.matrix.tables import (
    Architecture,
    Basis,
    Component,
    CudaLine,
    CudnnSupport,
    DriverBranch,
    Index,
    NvidiaWheel,
    PythonLine,
    Row,
    Source,
    TargetRow,
    Toolkit,
    ToolkitRelease,
)
from cudaenv.model.documents import Problems, nearest
from cudaenv.model.machine import Platform
from cudaenv.model.versions import (
    ComputeCapability,
    CudaBinding,
    CudaVersion,
    DriverVersion,
    GlibcVersion,
    PythonVersion,
)

R = TypeVar("R", bound=Row)

PACKAGES: Final = "packages/"
TORCH: Final = TorchBuild.TABLE

KINDS: Final[Mapping[str, type[Row]]] = {
    kind.TABLE: kind
    for kind in (
        CudaLine,
        DriverBranch,
        PythonLine,
        Toolkit,
        ToolkitRelease,
        NvidiaWheel,
        CudnnSupport,
        Architecture,
        GpuRow,
        Index,
        TargetRow,
        Component,
        CondaBuild,
        CondaEra,
        Pin,
        Module,
        Image,
        System,
        SystemLibraries,
        Tool,
        BuildFailure,
        TorchBuild,
    )
}
"""The tables that there must be, and what a row of each is; every other file of packages/ has releases."""


def full_name(name: str, tables: Collection[str]) -> str:
    """The name of a table among these; `torch` stands for `packages/torch`. SpecError for an unknown one."""
    for known in (name, f"{PACKAGES}{name}"):
        if known in tables:
            return known
    names = sorted(known.removeprefix(PACKAGES) for known in tables)
    raise SpecError(
        f"there is no table `{name}`{nearest(name.removeprefix(PACKAGES), names)}",
        [f"tables: {', '.join(names)}"],
    )


def kind_of(table: str, section: str = ROWS) -> type[Row]:
    """What the rows of a table's section are."""
    return KINDS.get(table, Release if section == ROWS else SourceBuild)


# Texts recur in many rows, so each is parsed once.
_once = functools.cache


def _words(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return functools.cache(lambda text: tuple(parse(word) for word in text.split()))


def _pair(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key and equals and value):
        raise ValueError(f"expected KEY=VALUE, got `{word}`")
    return key, value


def _flag(text: str) -> bool:
    if text != TRUE:
        raise ValueError(f"expected a bare `true`, got `{text}`")
    return True


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"expected a number, got `{text}`")
    return int(text)


PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "str": str,
    "bool": _flag,
    "int": _number,
    "Basis": _once(Basis),
    "ComputeCapability": _once(ComputeCapability.parse),
    "CudaVersion": _once(CudaVersion.parse),
    "DriverVersion": _once(DriverVersion.parse),
    "GlibcVersion": _once(GlibcVersion.parse),
    "Platform": _once(Platform),
    "PythonVersion": _once(PythonVersion.parse),
    "SpecifierSet": _once(SpecifierSet),
    "Version": _once(Version),
    "tuple[ComputeCapability, ...]": _words(ComputeCapability.parse),
    "tuple[CudaBinding, ...]": _words(CudaBinding.parse),
    "tuple[Platform, ...]": _words(Platform),
    "tuple[PythonVersion, ...]": _words(PythonVersion.parse),
    "tuple[Requirement, ...]": _words(Requirement),
    "tuple[str, ...]": _words(str),
    "tuple[tuple[str, str], ...]": _words(_pair),
}
"""How a cell is read, by the annotation of its column's field."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a kind of row, in their canonical order, and how each is read."""

    kind: type[Row]
    parsers: Mapping[str, Callable[[str], Any]]
    required: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns in their order."""
        return tuple(self.parsers)


def shape_of(kind: type[Row]) -> Shape:
    """The shape of a kind of row: its own fields, then those that all kinds share."""
    if kind not in _SHAPES:
        _SHAPES[kind] = _shape(kind)
    return _SHAPES[kind]


_SHAPES: dict[type[Row], Shape] = {}
_GIVEN: Final[Mapping[type[Row], str]] = {Release: "package", SourceBuild: "package", TorchBuild: "cuda"}
"""Fields that are no columns: they follow from the name of the file, or from another column."""


def _shape(kind: type[Row]) -> Shape:
    given = _GIVEN.get(kind, "")
    own = {field.name: field for field in fields(kind) if field.name != given}
    order = [name for name in own if name not in LAST_COLUMNS] + [
        name for name in LAST_COLUMNS if name in own
    ]
    return Shape(
        kind,
        {name: PARSERS[str(own[name].type).removesuffix(" | None")] for name in order},
        tuple(name for name in order if own[name].default is MISSING),
    )


def columns_of(document: Document) -> dict[str, tuple[str, ...]]:
    """The columns of each section of a document, in their order."""
    return {section: shape_of(kind_of(document.name, section)).columns for section in document.sections}


def typed_row(
    where: str, raw: Mapping[str, str], shape: Shape, package: str, problems: Problems
) -> Row | None:
    """A row as a value; None after noting what cannot be read."""
    values: dict[str, Any] = {}
    before = len(problems.lines)
    parsers = shape.parsers
    for column, text in raw.items():
        parse = parsers.get(column)
        if parse is None:
            problems.add(f"{where}.{column}", f"unknown column{nearest(column, shape.columns)}")
            continue
        try:
            values[column] = parse(text)
        except (ValueError, RecursionError) as error:
            problems.add(f"{where}.{column}", str(error))
    for column in shape.required:
        if column not in raw:
            problems.add(where, f"column `{column}` is missing")
    if package:
        values["package"] = package
    elif shape.kind is TorchBuild and raw.get("variant", "cpu") != "cpu":
        try:
            values["cuda"] = _variant_cuda(raw["variant"])
        except ValueError as error:
            problems.add(f"{where}.variant", str(error))
    return shape.kind(**values) if len(problems.lines) == before else None


_variant_cuda = _once(CudaVersion.from_variant)


def typed_rows(document: Document, kind: type[R], problems: Problems, section: str = ROWS) -> tuple[R, ...]:
    """The rows of a document's section as values; what cannot be read is noted and left out."""
    shape = shape_of(kind)
    package = document.name.removeprefix(PACKAGES) if kind in {Release, SourceBuild} else ""
    found = (
        typed_row(f"{document.name} {section}[{index}]", raw, shape, package, problems)
        for index, raw in enumerate(document.sections.get(section, ()))
    )
    return tuple(row for row in found if isinstance(row, kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """All tables, typed, in the order of their files."""

    sources: Mapping[str, Mapping[str, Source]]
    cuda: tuple[CudaLine, ...]
    driver_branches: tuple[DriverBranch, ...]
    pythons: tuple[PythonLine, ...]
    toolkits: tuple[Toolkit, ...]
    toolkit_releases: tuple[ToolkitRelease, ...]
    nvidia_wheels: tuple[NvidiaWheel, ...]
    cudnn: tuple[CudnnSupport, ...]
    architectures: tuple[Architecture, ...]
    gpus: tuple[GpuRow, ...]
    indexes: tuple[Index, ...]
    targets: tuple[TargetRow, ...]
    components: tuple[Component, ...]
    conda_builds: tuple[CondaBuild, ...]
    conda_eras: tuple[CondaEra, ...]
    pins: tuple[Pin, ...]
    modules: tuple[Module, ...]
    images: tuple[Image, ...]
    systems: tuple[System, ...]
    system_libraries: tuple[SystemLibraries, ...]
    tools: tuple[Tool, ...]
    build_failures: tuple[BuildFailure, ...]
    torch: tuple[TorchBuild, ...]
    packages: Mapping[str, tuple[Release, ...]]
    builds: Mapping[str, tuple[SourceBuild, ...]]

    @property
    def by_name(self) -> dict[str, tuple[Row, ...]]:
        """The rows of each table by its name; those of a package's two sections together."""
        found: dict[str, tuple[Row, ...]] = {
            name: getattr(self, name.removeprefix(PACKAGES).replace("-", "_")) for name in KINDS
        }
        for package, rows in self.packages.items():
            found[f"{PACKAGES}{package}"] = (*rows, *self.builds.get(package, ()))
        return dict(sorted(found.items()))


def read_documents(texts: Mapping[str, str], problems: Problems) -> dict[str, Document]:
    """Read all files, keyed `cuda`, `packages/torch` and so on; missing and unknown ones are noted."""
    for name in KINDS:
        if name not in texts:
            problems.add(name, "the table is missing")
    for name in texts:
        if name not in KINDS and not name.startswith(PACKAGES):
            problems.add(name, "unknown table")
    documents = {name: read_document(name, text, problems) for name, text in texts.items()}
    for name, document in documents.items():
        if BUILDS in document.sections and name in KINDS:
            problems.add(name, f"only files of {PACKAGES} have `{BUILDS}`")
    return documents


def type_tables(documents: Mapping[str, Document], problems: Problems) -> Tables:
    """The rows of all documents as values."""

    def rows(kind: type[R]) -> tuple[R, ...]:
        return typed_rows(documents.get(kind.TABLE, Document(kind.TABLE)), kind, problems)

    packages = {
        name.removeprefix(PACKAGES): document
        for name, document in documents.items()
        if name.startswith(PACKAGES) and name not in KINDS
    }
    return Tables(
        sources={name: document.sources for name, document in documents.items()},
        cuda=rows(CudaLine),
        driver_branches=rows(DriverBranch),
        pythons=rows(PythonLine),
        toolkits=rows(Toolkit),
        toolkit_releases=rows(ToolkitRelease),
        nvidia_wheels=rows(NvidiaWheel),
        cudnn=rows(CudnnSupport),
        architectures=rows(Architecture),
        gpus=rows(GpuRow),
        indexes=rows(Index),
        targets=rows(TargetRow),
        components=rows(Component),
        conda_builds=rows(CondaBuild),
        conda_eras=rows(CondaEra),
        pins=rows(Pin),
        modules=rows(Module),
        images=rows(Image),
        systems=rows(System),
        system_libraries=rows(SystemLibraries),
        tools=rows(Tool),
        build_failures=rows(BuildFailure),
        torch=rows(TorchBuild),
        packages={name: typed_rows(found, Release, problems) for name, found in packages.items()},
        builds={
            name: typed_rows(found, SourceBuild, problems, BUILDS)
            for name, found in packages.items()
            if BUILDS in found.sections
        },
    )


def raise_for(problems: Problems) -> None:
    """Raise a MatrixError if anything was noted."""
    if problems.lines:
        noun = "problem" if len(problems.lines) == 1 else "problems"
        raise MatrixError(
            f"the matrix has {len(problems.lines)} {noun}",
            problems.lines,
            hint="`cudaenv matrix check` names them all; how to correct a row stands at the head of its file",
        )
