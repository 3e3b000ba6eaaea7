"""Tables from the texts of their files: strict about keys, types and quoting; all problems at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Generic, TypeVar

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from cudaenv.errors import MatrixError
from cudaenv.matrix.gpus import GpuRow
from cudaenv.matrix.tables import (
    Architecture,
    Basis,
    Companion,
    CudaLine,
    Index,
    Row,
    Source,
    TargetRow,
    Toolkit,
    TorchBuild,
)
from cudaenv.model.documents import Problems, nearest
from cudaenv.model.machine import Platform
from cudaenv.model.versions import (
    ComputeCapability,
    CudaVersion,
    DriverVersion,
    GlibcVersion,
    PythonVersion,
)

R = TypeVar("R", bound=Row | GpuRow)

SCHEMA = 1
COMPANIONS = "packages/"
TORCH = "packages/torch"


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML in which a key may stand once only."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"key `{twice}` twice", node.start_mark)
        return mapping


@dataclass(frozen=True, slots=True)
class Table:
    """A table as read: its sources and its raw rows."""

    name: str
    sources: dict[str, Source]
    rows: tuple[Mapping[str, Any], ...]


def read_table(name: str, text: str, problems: Problems) -> Table:
    """Parse one file into sources and raw rows; what is wrong is noted in `problems`."""
    try:
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader with one more check
    except yaml.YAMLError as error:
        problems.add(name, f"not YAML: {' '.join(str(error).split())}")
        return Table(name, {}, ())
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        problems.add(name, f"expected `schema: {SCHEMA}`")
        return Table(name, {}, ())
    for key in set(document) - {"schema", "sources", "rows"}:
        problems.add(name, f"unknown key `{key}`")
    sources = _sources(name, document.get("sources"), problems)
    rows = document.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        problems.add(f"{name} rows", "expected a list of rows")
        rows = []
    return Table(name, sources, tuple(rows))


def _sources(name: str, data: object, problems: Problems) -> dict[str, Source]:
    found = {}
    for key, item in (data if isinstance(data, dict) else {}).items():
        where = [item.get(kind) for kind in ("url", "artefact")] if isinstance(item, dict) else []
        texts = [text for text in where if isinstance(text, str)]
        if len(texts) != 1 or set(item) - {"url", "artefact"} != {"says", "read"}:
            problems.add(f"{name} sources.{key}", "expected url or artefact, says and read")
            continue
        found[str(key)] = Source(str(key), texts[0], str(item["says"]), str(item["read"]))
    return found


def _words(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(parse(word) for word in text.split())


@functools.cache
def _version(text: str) -> Version:
    return Version(text)


def _variant(text: str) -> str:
    if text != "cpu":
        CudaVersion.from_variant(text)
    return text


@functools.cache
def _pythons(text: str) -> tuple[PythonVersion, ...]:
    return tuple(PythonVersion.parse(word) for word in text.split())


@functools.cache
def _capabilities(text: str) -> tuple[ComputeCapability, ...]:
    return tuple(ComputeCapability.parse(word) for word in text.split())


PARSERS: Mapping[str, Callable[[str], Any]] = {
    "basis": Basis,
    "cc": ComputeCapability.parse,
    "components": lambda text: tuple(text.split()),
    "cuda": CudaVersion.parse,
    "first": CudaVersion.parse,
    "glibc": GlibcVersion.parse,
    "last": CudaVersion.parse,
    "linux_minor": DriverVersion.parse,
    "linux_own": DriverVersion.parse,
    "packages": lambda text: tuple(text.split()),
    "platform": Platform,
    "platforms": _words(Platform),
    "providers": lambda text: tuple(text.split()),
    "ptx": _capabilities,
    "pythons": _pythons,
    "released_with": _version,
    "sm": ComputeCapability.parse,
    "sms": _capabilities,
    "torch": SpecifierSet,
    "variant": _variant,
    "version": _version,
    "windows_minor": DriverVersion.parse,
    "windows_own": DriverVersion.parse,
}
"""How a column is read; columns that are not here are texts."""


def typed_rows(table: Table, kind: type[R], problems: Problems, **constants: str) -> tuple[R, ...]:
    """The rows of a table as values of a type; what cannot be read is noted and left out."""
    names = {field.name: field for field in fields(kind) if field.name not in constants}
    reader = _RowReader(
        kind=kind,
        columns=tuple(_column(name) for name in names),
        required=tuple(_column(name) for name, field in names.items() if field.default is MISSING),
        constants=constants,
        problems=problems,
    )
    rows = (reader.read(f"{table.name} rows[{index}]", raw) for index, raw in enumerate(table.rows))
    return tuple(row for row in rows if row is not None)


def _column(name: str) -> str:
    return "cc" if name == "capability" else name


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowReader(Generic[R]):
    """How the rows of one table become values; `constants` are columns that the file's name gives."""

    kind: type[R]
    columns: tuple[str, ...]
    required: tuple[str, ...]
    constants: Mapping[str, str]
    problems: Problems

    def read(self, where: str, raw: Mapping[str, Any]) -> R | None:
        before = len(self.problems.lines)
        for key in raw:
            if key not in self.columns:
                self.problems.add(f"{where}.{key}", f"unknown column{nearest(str(key), self.columns)}")
        for key in self.required:
            if key not in raw:
                self.problems.add(where, f"column `{key}` is missing")
        values = {key: _cell(f"{where}.{key}", key, value, self.problems) for key, value in raw.items()}
        if len(self.problems.lines) > before:
            return None
        if self.kind is TorchBuild and raw["variant"] != "cpu":
            values["cuda"] = CudaVersion.from_variant(raw["variant"])
        if "cc" in values:
            values["capability"] = values.pop("cc")
        return self.kind(**{**values, **self.constants})


def _cell(where: str, key: str, value: object, problems: Problems) -> Any:
    if key == "tegra" and value is True:
        return True
    if not isinstance(value, str):
        hint = "; put versions in quotes" if isinstance(value, int | float) else ""
        problems.add(where, f"expected a quoted text, got {value!r}{hint}")
        return None
    try:
        return PARSERS[key](value) if key in PARSERS else value
    except (ValueError, InvalidVersion, InvalidSpecifier) as error:
        problems.add(where, str(error))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """All tables, typed, in the order of their files."""

    sources: Mapping[str, Mapping[str, Source]]
    cuda: tuple[CudaLine, ...]
    toolkits: tuple[Toolkit, ...]
    architectures: tuple[Architecture, ...]
    gpus: tuple[GpuRow, ...]
    indexes: tuple[Index, ...]
    targets: tuple[TargetRow, ...]
    torch: tuple[TorchBuild, ...]
    companions: Mapping[str, tuple[Companion, ...]]


def load_tables(texts: Mapping[str, str]) -> Tables:
    """Read all tables from the texts of their files, keyed `cuda`, `packages/torch` and so on.

    MatrixError names every problem as `cuda rows[3].linux_own`.
    """
    problems = Problems("matrix")
    needed = ("cuda", "toolkits", "architectures", "gpus", "indexes", "targets", TORCH)
    for name in needed:
        if name not in texts:
            problems.add(name, "the table is missing")
    read = {name: read_table(name, text, problems) for name, text in texts.items()}
    empty = Table("", {}, ())

    def rows(name: str, kind: type[R]) -> tuple[R, ...]:
        return typed_rows(read.get(name, empty), kind, problems)

    for name in read:
        if name not in needed and not name.startswith(COMPANIONS):
            problems.add(name, "unknown table")
    tables = Tables(
        sources={name: table.sources for name, table in read.items()},
        cuda=rows("cuda", CudaLine),
        toolkits=rows("toolkits", Toolkit),
        architectures=rows("architectures", Architecture),
        gpus=rows("gpus", GpuRow),
        indexes=rows("indexes", Index),
        targets=rows("targets", TargetRow),
        torch=rows(TORCH, TorchBuild),
        companions={
            package: typed_rows(table, Companion, problems, package=package)
            for name, table in read.items()
            if name.startswith(COMPANIONS) and name != TORCH
            for package in [name.removeprefix(COMPANIONS)]
        },
    )
    raise_for(problems)
    return tables


def raise_for(problems: Problems) -> None:
    """Raise a MatrixError if anything was noted."""
    if problems.lines:
        noun = "problem" if len(problems.lines) == 1 else "problems"
        raise MatrixError(
            f"the matrix has {len(problems.lines)} {noun}",
            problems.lines,
            hint="`cudaenv matrix check` names them all; how to correct a row stands at the head of its file",
        )
