"""What must hold across the tables; a typing error in one of them breaks one of these."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from cudaenv.matrix.load import TORCH, Tables, raise_for
from cudaenv.matrix.tables import Basis, CudaLine, Row, TorchBuild
from cudaenv.model.documents import Problems
from cudaenv.model.machine import Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion

DATE = re.compile(r"20\d\d-[01]\d-[0-3]\d")


def check(tables: Tables, problems: Problems) -> None:
    """Check every invariant; MatrixError names all that do not hold."""
    _sources(tables, problems)
    _floors_rise(tables.cuda, problems)
    _architectures(tables, problems)
    _torch(tables, problems)
    _companions(tables, problems)
    _targets(tables, problems)
    _unique_gpus(tables, problems)
    raise_for(problems)


def _rows(tables: Tables) -> Iterable[tuple[str, Sequence[Row]]]:
    yield "cuda", tables.cuda
    yield "toolkits", tables.toolkits
    yield "architectures", tables.architectures
    yield "indexes", tables.indexes
    yield "targets", tables.targets
    yield TORCH, tables.torch
    for package, rows in tables.companions.items():
        yield f"packages/{package}", rows


def _sources(tables: Tables, problems: Problems) -> None:
    cited: dict[str, list[tuple[str, str, Basis | str, str]]] = {
        name: [(row.key, row.source, row.basis, row.note) for row in rows] for name, rows in _rows(tables)
    }
    cited["gpus"] = [(row.product, row.source, row.basis, row.note) for row in tables.gpus]
    for name, items in cited.items():
        sources = tables.sources.get(name, {})
        for key, source, basis, note in items:
            if source not in sources:
                problems.add(f"{name} {key}", f"source `{source}` is not among the sources of its table")
            if basis == Basis.INFERRED and not note:
                problems.add(f"{name} {key}", "an inferred row needs a note")
        named = {source for _, source, _, _ in items} | _mentioned(tables, name, items)
        for source in sorted(set(sources) - named):
            problems.add(f"{name} sources.{source}", "no row names it")
        for item in sources.values():
            if not DATE.fullmatch(item.read):
                problems.add(f"{name} sources.{item.name}", f"read on {item.read!r}, expected a date")
        for key, count in Counter(key for key, *_ in items).items():
            if count > 1:
                problems.add(f"{name} {key}", f"{count} rows have this key")


def _mentioned(tables: Tables, name: str, items: Iterable[tuple[str, str, Basis | str, str]]) -> set[str]:
    """Sources that a row names beside its own: in `published`, or as `source X` in its note."""
    notes = {word for *_, note in items for word in re.findall(r"source ([\w.-]+)", note)}
    heading = (
        set(tables.sources.get(name, {})) & {"previous-versions"} if name.startswith("packages/") else set()
    )
    rows = dict(_rows(tables)).get(name, ())
    return notes | heading | {published for row in rows if (published := getattr(row, "published", ""))}


def _floors_rise(lines: Sequence[CudaLine], problems: Problems) -> None:
    """A newer line never needs an older driver: https://docs.nvidia.com/deploy/cuda-compatibility/."""
    ordered = sorted(lines, key=lambda line: line.cuda)
    for older, newer in pairwise(ordered):
        for column in ("linux_minor", "linux_own", "windows_minor", "windows_own"):
            low: DriverVersion | None = getattr(older, column)
            high: DriverVersion | None = getattr(newer, column)
            if low is not None and high is not None and high < low:
                problems.add(f"cuda {newer.cuda}", f"{column} {high} is older than {low} of {older.cuda}")
    for line in lines:
        if line.linux_minor is not None and line.linux_own < line.linux_minor and line.cuda.minor:
            problems.add(
                f"cuda {line.cuda}", "its own driver is older than the one for minor-version compatibility"
            )


def _architectures(tables: Tables, problems: Problems) -> None:
    """First and last toolkit of an architecture agree with what the toolkits list."""
    for row in tables.architectures:
        listing = [toolkit.cuda for toolkit in tables.toolkits if row.sm in toolkit.sms]
        covered = [toolkit.cuda for toolkit in tables.toolkits]
        expected = [cuda for cuda in covered if row.first <= cuda and (row.last is None or cuda <= row.last)]
        if sorted(listing) != sorted(expected):
            problems.add(f"architectures {row.sm}", "first and last disagree with the lists in toolkits")


def _torch(tables: Tables, problems: Problems) -> None:
    lines = {line.cuda for line in tables.cuda}
    toolkits = {toolkit.cuda: set(toolkit.sms) for toolkit in tables.toolkits}
    indexes = {"", *(row.index for row in tables.indexes)}
    for build in tables.torch:
        where = f"{TORCH} {build.key}"
        if build.index not in indexes:
            problems.add(where, f"index `{build.index}` is not in indexes")
        if build.published and build.published not in tables.sources.get(TORCH, {}):
            problems.add(where, f"source `{build.published}` is not among the sources of its table")
        if not build.pythons or list(build.pythons) != sorted(set(build.pythons)):
            problems.add(where, "pythons are not a rising list")
        if build.platform.is_linux != (build.glibc is not None):
            problems.add(where, "a Linux build has a glibc floor, and no other has one")
        if (build.platform is Platform.OSX_ARM64) != bool(build.macos):
            problems.add(where, "a macOS build has a macOS floor, and no other has one")
        _cuda_build(build, lines, toolkits, where, problems)


def _cuda_build(
    build: TorchBuild,
    lines: set[CudaVersion],
    toolkits: dict[CudaVersion, set[ComputeCapability]],
    where: str,
    problems: Problems,
) -> None:
    if build.cuda is None:
        if build.sms or build.ptx:
            problems.add(where, "a CPU build has no SM list")
        return
    if not build.sms:
        problems.add(where, "a CUDA build has an SM list")
    if build.cuda not in lines:
        problems.add(where, f"CUDA {build.cuda} has no row in cuda")
    unknown = {*build.sms, *build.ptx} - toolkits.get(build.cuda, {*build.sms, *build.ptx})
    if build.cuda not in toolkits or unknown:
        listed = ", ".join(sorted(str(sm) for sm in unknown))
        problems.add(
            where, f"the toolkit {build.cuda} cannot have compiled {listed or 'it: no row in toolkits'}"
        )


def _companions(tables: Tables, problems: Problems) -> None:
    releases = {build.version for build in tables.torch}
    for package, rows in tables.companions.items():
        for row in rows:
            where = f"packages/{package} {row.version}"
            if row.released_with is not None and row.released_with not in releases:
                problems.add(where, f"released with torch {row.released_with}, which has no row")
            if row.released_with is not None and row.released_with not in row.torch:
                problems.add(where, f"released with torch {row.released_with}, which `{row.torch}` excludes")
            if not any(release in row.torch for release in releases):
                problems.add(where, f"no torch release satisfies `{row.torch}`")


def _targets(tables: Tables, problems: Problems) -> None:
    known = {"torch", *tables.companions}
    for row in tables.targets:
        for package in row.packages:
            if package not in known:
                problems.add(f"targets {row.target}", f"package `{package}` has no table")


def _unique_gpus(tables: Tables, problems: Problems) -> None:
    known = {row.sm for row in tables.architectures}
    for row in tables.gpus:
        if row.capability not in known:
            problems.add(
                f"gpus {row.product}", f"compute capability {row.capability} is not in architectures"
            )
