"""What must hold across the tables; a typing error in one of them breaks one of these."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from string import Formatter
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.matrix.invariants_of_builds import OF_BUILDS
from cudaenv.matrix.load import TORCH, Tables
from cudaenv.matrix.packages import Release, TorchBuild
from cudaenv.matrix.tables import DIRECT, FLAT, Basis, CudaLine, Row
from cudaenv.model.documents import Problems
from cudaenv.model.machine import Platform
from cudaenv.model.names import SHA256
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion

DATE: Final = re.compile(r"20\d\d-[01]\d-[0-3]\d")
MONTH: Final = re.compile(r"20\d\d-(0[1-9]|1[0-2])")


def check(tables: Tables, problems: Problems) -> None:
    """Note every invariant that does not hold."""
    for name, rows in tables.by_name.items():
        _rows(name, rows, problems)
        _sources(tables, name, rows, problems)
    for invariant in INVARIANTS:
        invariant(tables, problems)


def _rows(name: str, rows: Sequence[Row], problems: Problems) -> None:
    for row in rows:
        if row.basis == Basis.INFERRED and not row.note:
            problems.add(f"{name} {row.key}", "an inferred row needs a note")
        if row.read and not DATE.fullmatch(row.read):
            problems.add(f"{name} {row.key}", f"read on {row.read!r}, expected a date")
    for (_, key), count in Counter((type(row), row.key) for row in rows).items():
        if count > 1:
            problems.add(f"{name} {key}", f"{count} rows have this key")


def _sources(tables: Tables, name: str, rows: Sequence[Row], problems: Problems) -> None:
    sources = tables.sources.get(name, {})
    for row in rows:
        for source in filter(None, (row.source, getattr(row, "published", ""))):
            if source not in sources:
                problems.add(f"{name} {row.key}", f"source `{source}` is not among the sources of its table")
    for source in sources.values():
        if not DATE.fullmatch(source.read):
            problems.add(f"{name} sources.{source.name}", f"read on {source.read!r}, expected a date")


def _floors_rise(tables: Tables, problems: Problems) -> None:
    """A newer line never needs an older driver: https://docs.nvidia.com/deploy/cuda-compatibility/."""
    ordered = sorted(tables.cuda, key=lambda line: line.cuda)
    for older, newer in pairwise(ordered):
        for column in ("linux_minor", "linux_own", "windows_minor", "windows_own"):
            low: DriverVersion | None = getattr(older, column)
            high: DriverVersion | None = getattr(newer, column)
            if low is not None and high is not None and high < low:
                problems.add(f"cuda {newer.cuda}", f"{column} {high} is older than {low} of {older.cuda}")
    for line in tables.cuda:
        _own_covers_minor(line, problems)


def _own_covers_minor(line: CudaLine, problems: Problems) -> None:
    if line.linux_minor is not None and line.linux_own < line.linux_minor and line.cuda.minor:
        problems.add(
            f"cuda {line.cuda}", "its own driver is older than the one for minor-version compatibility"
        )


def _architectures(tables: Tables, problems: Problems) -> None:
    """First and last toolkit of an architecture agree with what the toolkits list."""
    covered = [toolkit.cuda for toolkit in tables.toolkits]
    for row in tables.architectures:
        listing = [toolkit.cuda for toolkit in tables.toolkits if row.sm in toolkit.sms]
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


def _releases(tables: Tables, problems: Problems) -> None:
    indexes = {"", *(row.index for row in tables.indexes)}
    majors: dict[Version, set[int]] = {}
    for build in tables.torch:
        majors.setdefault(build.version, set()).update({build.cuda.major} if build.cuda else ())

    @functools.cache
    def partners(torch: SpecifierSet) -> frozenset[Version]:
        return frozenset(version for version in majors if version in torch)

    for package, rows in tables.packages.items():
        for row in rows:
            where = f"packages/{package} {row.key}"
            if row.index not in indexes:
                problems.add(where, f"index `{row.index}` is not in indexes")
            if "wheel" not in row.files and (row.pythons or row.cuda):
                problems.add(where, "Pythons and CUDA are those of wheels, and it has none")
            for how, made in (("released", row.released_with), ("built", row.built_with)):
                if made is not None and made not in majors:
                    problems.add(where, f"{how} with torch {made}, which has no row")
                elif made is not None and made not in partners(row.torch):
                    problems.add(where, f"{how} with torch {made}, which `{row.torch}` excludes")
            if not partners(row.torch):
                problems.add(where, f"no torch release satisfies `{row.torch}`")
            found = {major for version in partners(row.torch) for major in majors[version]}
            if row.torch and row.cuda_majors and not row.cuda_majors & found:
                problems.add(where, f"no torch in `{row.torch}` has a build of CUDA {min(row.cuda_majors)}")
            _release_code(tables, row, where, problems)


def _release_code(tables: Tables, row: Release, where: str, problems: Problems) -> None:
    """Code for a GPU can only be in a wheel if the toolkit that made the wheel knows that GPU."""
    toolkit = next((toolkit for toolkit in tables.toolkits if row.cuda_lines == (toolkit.cuda,)), None)
    if toolkit is not None:
        for sm in sorted({*row.sms, *row.exact, *row.ptx} - set(toolkit.sms)):
            problems.add(where, f"the toolkit {toolkit.cuda} cannot have compiled {sm}")


def _indexes(tables: Tables, problems: Problems) -> None:
    """An index is of a kind that there is, and its URL is one of that kind."""
    for row in tables.indexes:
        where = f"indexes {row.index}"
        if row.files not in PLACE_HOLDERS:
            problems.add(where, f"files `{row.files}`, expected one of {FLAT}, {DIRECT} or no cell")
            continue
        if not row.files and row.url.endswith(tuple(ENDINGS.values())):
            problems.add(where, "its URL is no index with a page a project")
        if row.files and not row.url.endswith(ENDINGS[row.files]):
            problems.add(where, f"its URL does not end with `{ENDINGS[row.files]}`")
        named = {name for _, name, _, _ in Formatter().parse(row.url) if name is not None}
        for name in sorted(named - PLACE_HOLDERS[row.files]):
            problems.add(where, f"`{{{name}}}` in its URL stands for nothing")


def _builds(tables: Tables, problems: Problems) -> None:
    for package, rows in tables.builds.items():
        for row in rows:
            where = f"packages/{package} {row.key}"
            if row.broken and not row.breaks:
                problems.add(where, "what is broken says what breaks")
            if row.minutes and not row.minutes.isdecimal():
                problems.add(where, f"minutes are {row.minutes!r}, expected a number")
            if row.git and not row.git.startswith("git+https://"):
                problems.add(where, f"git is {row.git!r}, expected `git+https://…`")


def _targets(tables: Tables, problems: Problems) -> None:
    known = {"torch", *tables.packages}
    components = {RUNTIME, *(row.component for row in tables.components)}
    for row in tables.targets:
        where = f"targets {row.target}"
        for package in (name for group in row.packages for name in group.split("|")):
            if package not in known:
                problems.add(where, f"package `{package}` has no table")
        for component in row.components:
            if component not in components:
                problems.add(where, f"component `{component}` has no row in components")
        for provider in row.providers:
            if provider not in PROVIDERS:
                problems.add(where, f"provider `{provider}`, expected one of {', '.join(PROVIDERS)}")


def _pins(tables: Tables, problems: Problems) -> None:
    known = {"torch", *tables.packages}
    channels = {PYPI, *(channel for row in tables.conda_eras for channel in row.channels)}
    for row in tables.pins:
        where = f"pins {row.key}"
        if row.beside not in known:
            problems.add(where, f"package `{row.beside}` has no table")
        for channel in row.channels:
            if channel not in channels:
                problems.add(where, f"channel `{channel}` is not in conda-eras")


def _modules(tables: Tables, problems: Problems) -> None:
    for row in tables.modules:
        for package in row.packages:
            if package not in tables.packages:
                problems.add(f"modules {row.key}", f"package `{package}` has no table")
        if len(row.packages) < 2:
            problems.add(f"modules {row.key}", "one package is no danger to itself")


def _tools(tables: Tables, problems: Problems) -> None:
    for row in tables.tools:
        if not SHA256.fullmatch(row.sha256):
            problems.add(f"tools {row.key}", f"sha256 is {row.sha256!r}, expected 64 hexadecimal digits")
    known = {row.platform for row in tables.tools}
    if missing := [platform for platform in Platform if platform.is_linux and platform not in known]:
        problems.add("tools", f"no row for {', '.join(missing)}")


def _branches(tables: Tables, problems: Problems) -> None:
    for row in tables.driver_branches:
        where = f"driver-branches {row.key}"
        if row.kind and row.kind not in BRANCH_KINDS:
            problems.add(where, f"kind `{row.kind}`, expected one of {', '.join(BRANCH_KINDS)}")
        if row.over == bool(row.ends):
            problems.add(where, "it ends in a month, or it is over without one")
        elif row.ends and not MONTH.fullmatch(row.ends):
            problems.add(where, f"ends in {row.ends!r}, expected a month such as `2028-08`")


def _pythons(tables: Tables, problems: Problems) -> None:
    for row in tables.pythons:
        if not MONTH.fullmatch(row.ends):
            problems.add(f"pythons {row.key}", f"ends in {row.ends!r}, expected a month such as `2028-08`")


def _cudnn(tables: Tables, problems: Problems) -> None:
    """A newer cuDNN never serves an older GPU again."""
    known = {row.sm for row in tables.architectures}
    for row in tables.cudnn:
        if row.oldest not in known:
            problems.add(f"cudnn {row.key}", f"compute capability {row.oldest} is not in architectures")
    for major in sorted({row.cuda for row in tables.cudnn}):
        ordered = sorted((row for row in tables.cudnn if row.cuda == major), key=lambda row: row.first)
        for older, newer in pairwise(ordered):
            if newer.oldest <= older.oldest:
                problems.add(
                    f"cudnn {newer.key}", f"serves {newer.oldest}, and {older.first} served {older.oldest}"
                )


ENDINGS: Final[Mapping[str, str]] = {FLAT: ".html", DIRECT: ".whl"}
"""How the URL of what is no index with a page a project ends."""

PLACE_HOLDERS: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"variant"}),
    FLAT: frozenset({"variant", "torch"}),
    DIRECT: frozenset({"version", "variant", "torch", "abi", "python", "platform"}),
}
"""What may stand in braces in the URL of each kind of index."""

RUNTIME: Final = "runtime"
PROVIDERS: Final = ("pip", "conda", "system")
PYPI: Final = "pypi"
BRANCH_KINDS: Final = ("production", "new-feature", "long-term")

INVARIANTS: Final[Iterable[Callable[[Tables, Problems], None]]] = (
    _floors_rise,
    _architectures,
    _torch,
    _releases,
    _indexes,
    _builds,
    _targets,
    _pins,
    _modules,
    _tools,
    _branches,
    _pythons,
    _cudnn,
    *OF_BUILDS,
)
