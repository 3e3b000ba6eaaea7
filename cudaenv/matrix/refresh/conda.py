"""Builds of packages in conda channels, measured from the records of their repodata.

What a record says: https://docs.conda.io/projects/conda-build/en/stable/concepts/generating-index.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import takewhile

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from cudaenv.matrix.refresh.artefacts import Artefacts, RawRow, Scope, Survey
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.model.machine import Platform
from cudaenv.model.versions import CudaVersion

CUDA_PLATFORMS = (Platform.LINUX_64, Platform.LINUX_AARCH64, Platform.WIN_64)
CHANNELS: Mapping[str, tuple[tuple[Platform, ...], tuple[str, ...]]] = {
    "conda-forge": (
        CUDA_PLATFORMS,
        ("pytorch", "torchvision", "torchaudio", "xformers", "mmcv", "mmcv-full", "cuda-nvcc", "cudatoolkit"),
    ),
    "nvidia": (CUDA_PLATFORMS, ("cuda-nvcc",)),
    "pytorch": ((Platform.LINUX_64, Platform.WIN_64), ("pytorch", "torchvision", "torchaudio")),
}
"""What is read of each channel: its platforms with CUDA and its packages."""

TOOLKITS = ("cuda-nvcc", "cudatoolkit")
"""Packages that are of the CUDA release line that their version names."""

SELECTORS = ("pytorch-cuda", "cudatoolkit", "cuda-version")
"""Packages whose version is a CUDA release line."""

MOST_RECORDS = 50_000
MOST_DEPENDS = 1_000
LONGEST = 500
"""The most characters of one text of a record."""

VERSION = re.compile(r"[0-9][0-9A-Za-z._+]{0,63}")
BUILD = re.compile(r"[0-9A-Za-z_.+]{1,128}")
DEPENDENCY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)\s*([ -~]*)")
BUILT_WITH = re.compile(r"(?:^|_)cu(?:da)?_?(\d{1,2})\.?(\d)(?:\.\d+)?(?=_|py|h|$)")
"""CUDA in build strings: `cuda129_mkl_…`, `cuda_129py310…`, `py3.8_cuda11.7_cudnn8.5.0_0`, `py38_cu117`."""
OTHER_ACCELERATORS = re.compile(r"(?:^|_)(?:xpu|sycl|rocm|hip|mps)")
PINNED_PYTHON = re.compile(r"(?:==?|>=)?(\d\.\d{1,2})(?:\.\*|,<\d\.\d{1,2}(?:\.0)?a0)(?: .*)?")
MILLISECONDS = 10**11
"""Timestamps from here on are milliseconds; older records count seconds (as conda does)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One package file, as repodata have it. `asks`: its constraints, by the package that they are on."""

    channel: str
    platform: str
    package: str
    version: str
    build: str
    number: int
    asks: Mapping[str, tuple[str, ...]]
    day: str

    def __str__(self) -> str:
        return f"{self.channel}/{self.platform}: {self.package} {self.version} {self.build}"


def read_record(channel: str, platform: str, names: Collection[str], data: Mapping[str, object]) -> Record:
    """Check one record; ValueError names the channel and the package if it is not as it must be."""
    package = data.get("name")
    if not isinstance(package, str) or package not in names:
        raise ValueError(f"{channel}/{platform}: a record of {str(package)[:60]!r}, which was not asked for")
    where = f"{channel}/{platform}: {package}"
    version, build = (_text(where, data, key, form) for key, form in (("version", VERSION), ("build", BUILD)))
    try:
        Version(version)
    except InvalidVersion as error:
        raise ValueError(f"{where}: {error}") from None
    number = data.get("build_number")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 10**9:
        raise ValueError(f"{where} {version}: build_number is {str(number)[:40]!r}")
    if data.get("subdir") not in (platform, "noarch"):
        raise ValueError(f"{where} {version}: its subdir is {str(data.get('subdir'))[:40]!r}")
    return Record(
        channel=channel,
        platform=platform,
        package=package,
        version=version,
        build=build,
        number=number,
        asks=_asks(f"{where} {version}", data.get("depends")),
        day=_day(f"{where} {version}", data.get("timestamp")),
    )


def _text(where: str, data: Mapping[str, object], key: str, form: re.Pattern[str]) -> str:
    text = data.get(key)
    if not isinstance(text, str) or not form.fullmatch(text):
        raise ValueError(f"{where}: {key} is {str(text)[:60]!r}")
    return text


def _asks(where: str, depends: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(depends, list | tuple) or len(depends) > MOST_DEPENDS:
        raise ValueError(f"{where}: depends is no list of at most {MOST_DEPENDS} texts")
    asks: dict[str, tuple[str, ...]] = {}
    for item in depends:
        short = isinstance(item, str) and len(item) <= LONGEST
        match = DEPENDENCY.fullmatch(item) if short else None
        if match is None:
            raise ValueError(f"{where}: depends on {str(item)[:60]!r}")
        asks[match[1]] = (*asks.get(match[1], ()), match[2].strip())
    return asks


def _day(where: str, timestamp: object) -> str:
    if timestamp is None:
        return ""
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or not 0 <= timestamp < 10**14:
        raise ValueError(f"{where}: timestamp is {str(timestamp)[:40]!r}")
    seconds = timestamp // 1000 if timestamp >= MILLISECONDS else timestamp
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def variant(record: Record) -> str:
    """The CUDA release line that a record is built for (`cu129`), `cpu`, or nothing: for another accelerator.

    Where its build string and its dependencies both name one they must agree, and one that asks for `__cuda`
    must name one: ValueError otherwise.
    """
    if record.package in TOOLKITS:
        return CudaVersion.parse(record.version).variant
    written = {CudaVersion(int(major), int(minor)) for major, minor in BUILT_WITH.findall(record.build)}
    asked = {line for name in SELECTORS for ask in record.asks.get(name, ()) for line in _lines(ask)}
    # A build for 12.9 asks for `>=12.9,<13`, and may ask for `>=12.0` besides: the highest is meant.
    lines = written | ({max(asked)} if asked else set())
    if len(lines) > 1:
        raise ValueError(f"{record} is for CUDA {' and '.join(sorted(map(str, lines)))} at once")
    if lines:
        return lines.pop().variant
    if OTHER_ACCELERATORS.search(record.build):
        return ""
    if "__cuda" in record.asks or "cuda" in record.build:
        raise ValueError(f"{record} is for CUDA, but for which release line it does not say")
    return "cpu"


def _lines(constraint: str) -> Iterable[CudaVersion]:
    """Release lines that a constraint begins with: 12.9 of `>=12.9,<13`, 11.7 of `11.7|11.7.*`."""
    version, _, _ = constraint.partition(" ")
    for part in re.split(r"[,|]", version):
        match = re.fullmatch(r"(?:==?|>=)?(\d{1,2}\.\d{1,2})(?:\.\d+)*(?:\.?\*|a0)?", part)
        if match:
            yield CudaVersion.parse(match[1])


def torch(record: Record) -> str:
    """The torch that a package is built against, as a version specifier; empty for torch itself."""
    if record.package == "pytorch":
        return ""
    parts: set[str] = set()
    for constraint in record.asks.get("pytorch", ()):
        version, _, _ = constraint.partition(" ")
        # `1.9.0=cuda112*`, `=*=cuda*`: in old records the build follows the version without a space.
        version = re.sub(r"(?<=[\d*])=[^=,]+$", "", version)
        parts |= {_specifier(part) for part in version.split(",") if part.lstrip("=") not in ("", "*")}
    try:
        SpecifierSet(",".join(parts))
    except InvalidSpecifier as error:
        raise ValueError(f"{record} asks for a torch that cannot be read: {error}") from None
    return ",".join(sorted(parts, key=lambda part: (not part.startswith((">", "=")), part)))


def _specifier(part: str) -> str:
    """A conda constraint in Python's terms: `2.3.1` is exact, `=2.3` is not, `<2.11.0a0` excludes 2.11.0."""
    part = re.sub(r"^(<[\d.]*\d)\.?a0$", r"\1", part)
    if re.match(r"=\d", part):
        return f"={part.removesuffix('.*')}.*"
    return f"=={part}" if part[0].isdigit() else part


def python(record: Record) -> str:
    """The Python release line that a record is built for; empty if it is for several."""
    for name in ("python_abi", "python"):
        for constraint in record.asks.get(name, ()):
            match = PINNED_PYTHON.fullmatch(constraint)
            if match:
                return match[1]
    return ""


def _lowest(record: Record, *names: str) -> str:
    """The highest of the lower bounds that a record has on packages, empty if none."""
    bounds = [
        match[1]
        for name in names
        for constraint in record.asks.get(name, ())
        for match in [re.match(r">=(\d[\d.]*\d)", constraint)]
        if match
    ]
    return max(bounds, key=Version, default="")


def _cudnn(record: Record) -> str:
    written = re.search(r"_cudnn(\d[\d.]*)(?:_|$)", record.build)
    return _lowest(record, "cudnn", "libcudnn") or (written[1] if written else "")


def _needs_cuda(record: Record) -> str:
    """The version that `__cuda` must have: `>=11`, or `*` where any driver will do for the solver."""
    return ",".join(constraint or "*" for constraint in record.asks.get("__cuda", ()))


def pattern(builds: Iterable[str]) -> str:
    """What build strings have in common, `*` for Python, hash and build number; empty if that is nothing.

    A match spec takes it: `pytorch=2.10.*=cuda129_mkl_py*`.
    """
    shapes = {_shape(build) for build in builds}
    least, most = min(shapes), max(shapes)
    common = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(least, most, strict=False)))
    whole = common if least == most or common.endswith("*") else f"{common}*"
    return "" if re.fullmatch(r"(?:py|h)?\*|\d+", whole) else whole


def _shape(build: str) -> str:
    shape = re.sub(r"(^|_|\d)py[23]\.?\d{1,2}(?=_|h|$)", r"\1py*", build)
    shape = re.sub(r"(^|_|\*)h[0-9a-f]{7,8}(?=_|$)", r"\1h*", shape)
    shape = re.sub(r"_\d+$", "_*", shape)
    return re.sub(r"\*(?:_?h?\*)+$", "*", shape)


Key = tuple[str, str, str, str]
"""What records of a row have in common: package, version, variant, torch."""


def rows(records: Sequence[Record]) -> list[RawRow]:
    """Rows of conda-builds.yaml of the records of one channel and platform, by version, variant and torch.

    `pythons` and `build` are those of all builds of a row, other columns those of the newest build number.
    """
    groups: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        name = variant(record)
        # Release candidates have a label of their own; whoever meets one here did not ask for it.
        if name and not Version(record.version).is_prerelease:
            groups[(record.package, record.version, name, torch(record))].append(record)
    ordered = sorted(groups, key=lambda key: (key[0], Version(key[1]), key[2], key[3]))
    return [_row(key, groups) for key in ordered]


def _row(key: Key, groups: Mapping[Key, Sequence[Record]]) -> RawRow:
    package, version, name, beside = key
    builds = groups[key]
    number = max(record.number for record in builds)
    newest = [record for record in builds if record.number == number]
    pythons = sorted({python(record) for record in builds} - {""}, key=Version)
    cells = {
        "channel": builds[0].channel,
        "package": package,
        "version": version,
        "variant": name,
        "platform": builds[0].platform,
        "torch": beside,
        "pythons": words(pythons),
        "build": _distinct(key, groups),
        "cudnn": _highest(_cudnn(record) for record in newest),
        "glibc": _highest(_lowest(record, "__glibc") for record in newest),
        "needs_cuda": max(_needs_cuda(record) for record in newest),
        "source": "repodata",
        "basis": "measured",
    }
    return filled(cells)


def _highest(versions: Iterable[str]) -> str:
    return max((text for text in versions if text), key=Version, default="")


def _distinct(key: Key, groups: Mapping[Key, Sequence[Record]]) -> str:
    """The pattern of a row; ValueError if it also matches builds of the same release for another CUDA."""
    shape = pattern(record.build for record in groups[key])
    for other, records in groups.items():
        if shape and other[:2] == key[:2] and other[2] != key[2]:
            for record in records:
                if fnmatchcase(record.build, shape):
                    raise ValueError(
                        f"{record}: builds for {key[2]} have no name that sets them apart from it"
                    )
    return shape


def measure(artefacts: Artefacts, scope: Scope) -> Iterable[RawRow]:
    """All rows of all channels; of a row that has a build of the scope, all its builds count."""
    asked = [(channel, str(name)) for channel, (platforms, _) in CHANNELS.items() for name in platforms]
    for found in artefacts.each(lambda ask: _of_channel(artefacts, scope, *ask), asked):
        yield from found


def _of_channel(artefacts: Artefacts, scope: Scope, channel: str, platform: str) -> list[RawRow]:
    _, names = CHANNELS[channel]
    data = artefacts.records(channel, platform, names)
    if len(data) > MOST_RECORDS:
        raise ValueError(f"{channel}/{platform}: {len(data)} records of {len(names)} packages")
    records = [read_record(channel, platform, names, item) for item in data]
    artefacts.say(f"{channel}/{platform}: {len(records)} records")
    wanted = {(record.package, record.version) for record in records if scope.wants(record.day)}
    return rows([record for record in records if (record.package, record.version) in wanted])


def owns(row: RawRow) -> bool:
    """Whether a row of conda-builds.yaml was measured from a channel that is read here."""
    return row.get("basis") == "measured" and row.get("channel") in CHANNELS


BUILDS = Survey(table="conda-builds", place="conda", measure=measure, owns=owns)
