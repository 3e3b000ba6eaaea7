"""Releases of extension packages, measured as the `measure` lines of their files say.

A package on PyPI or on an index like PyTorch's needs a file with such a line and no code of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from packaging.version import Version

from cudaenv.matrix.refresh.artefacts import Artefacts, ProjectFile, RawRow, Scope, Survey
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.matrix.refresh.cudart import read_cudart
from cudaenv.matrix.refresh.dependencies import Dependencies
from cudaenv.matrix.refresh.release_files import NamedWheel, ReleaseFiles, naming, newest_python, releases
from cudaenv.matrix.refresh.xformers import read_cpp_lib
from cudaenv.model.machine import Platform
from cudaenv.model.versions import CudaBinding, CudaVersion, PythonVersion

PYPI: Final = "pypi"
"""The place of what lies on the default index."""

METADATA, CUDART, CPP_LIB = "metadata", "cudart", "cpp_lib"
READS: Final = (METADATA, CUDART, CPP_LIB)

_CODE = ("cuda", "built_with", "sms", "exact", "ptx")
_VARIANT = re.compile(r"cu(?P<line>\d{3})|cuda(?P<major>\d{2})x")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One `measure` line: a project, and what is read of its releases from `first` on.

    `source` is the source that its rows cite. `reads` is what is read of wheels: METADATA (`metadata`), also
    the libcudart that compiled members ask for (`cudart`), also xformers' own account (`cpp_lib`). `variant`
    is the CUDA in the project's name (`cu120` of spconv-cu120, `cuda12x` of cupy-cuda12x). For another index
    than PyPI there are its name, `index`, and the `variants` that it is asked for.
    """

    project: str
    first: Version
    source: str
    reads: str
    variant: str = ""
    index: str = ""
    variants: tuple[str, ...] = ()

    @classmethod
    def read(cls, mapping: Mapping[str, str]) -> Measure:
        """Check a line. ValueError for unknown or missing keys, and for values that are none of theirs."""
        keys = {"project", "first", "source", "reads"}
        _refuse(mapping.keys() - keys - {"variant", "index", "variants"}, "unknown key")
        _refuse(keys - mapping.keys(), "missing key")
        _refuse((key for key in mapping if not mapping[key]), "empty")
        project, variants = mapping["project"], tuple(mapping.get("variants", "").split())
        if not _NAME.fullmatch(project):
            raise ValueError(f"measure: project {project!r} is not a normalized name")
        if mapping["reads"] not in READS:
            raise ValueError(f"measure: reads {mapping['reads']!r}, expected one of {', '.join(READS)}")
        if ("index" in mapping) != bool(variants) or (variants and "variant" in mapping):
            raise ValueError("measure: `index` goes with `variants` and not with `variant`")
        found = [*variants, *([mapping["variant"]] if "variant" in mapping else [])]
        _refuse((name for name in found if not _VARIANT.fullmatch(name)), "not a variant")
        try:
            first = Version(mapping["first"])
        except ValueError as error:
            raise ValueError(f"measure: first is {mapping['first']!r}") from error
        return cls(**{**mapping, "first": first, "variants": variants})  # type: ignore[arg-type]  # checked above

    @property
    def place(self) -> str:
        """The place that it is measured at."""
        return self.index or PYPI

    def owns(self, row: RawRow) -> bool:
        """Whether a row of the table is one that this line would find if it still existed."""
        variants = self.variants or (self.variant,)
        ours = row.get("index", "") == self.index and row.get("variant", "") in variants
        return ours and Version(row["version"]) >= self.first


def _refuse(found: Iterable[str], what: str) -> None:
    names = ", ".join(sorted(found))
    if names:
        raise ValueError(f"measure: {what}: {names[:200]}")


def surveys(table: str, measures: Iterable[Measure], indexes: Mapping[str, str]) -> tuple[Survey, ...]:
    """Return one survey for each place that the lines of a table name.

    `indexes` are the URLs of indexes by name, `{variant}` standing for the variant. KeyError for an index
    that is not there.
    """
    lines = tuple(measures)
    places = dict.fromkeys(line.place for line in lines)
    return tuple(
        _survey(table, place, tuple(line for line in lines if line.place == place), indexes)
        for place in places
    )


def _survey(table: str, place: str, lines: tuple[Measure, ...], indexes: Mapping[str, str]) -> Survey:
    url = "" if place == PYPI else indexes[place]

    def measure(artefacts: Artefacts, scope: Scope) -> Iterator[RawRow]:
        # A `py3-none` wheel goes with every later Python: such rows end with the newest that torch serves.
        newest = newest_python(releases("torch", artefacts.files("torch")))
        for line in lines:
            for variant, found in _listed(line, url, artefacts):
                wanted = [release for release in found if _is_wanted(release, line, scope)]
                artefacts.say(f"{line.project} {variant}".rstrip() + f": {len(wanted)} releases")
                yield from artefacts.each(_Reader(line, variant, artefacts, newest).row, wanted)

    def owns(row: RawRow) -> bool:
        return any(line.owns(row) for line in lines)

    return Survey(table=table, place=place, measure=measure, owns=owns)


def _listed(line: Measure, url: str, artefacts: Artefacts) -> Iterator[tuple[str, tuple[ReleaseFiles, ...]]]:
    """Yield the variants of a line, and the releases that their index lists."""
    if not line.index:
        yield line.variant, releases(line.project, artefacts.files(line.project))
        return
    pages = {
        variant: artefacts.links(f"{url.format(variant=variant).rstrip('/')}/{line.project}/")
        for variant in line.variants
    }
    if all(links is None for links in pages.values()):
        raise ValueError(f"the index {line.index} has no page of {line.project} for any of its variants")
    for variant, links in pages.items():
        files = [ProjectFile(name=link.text, url=link.url, sha256=link.sha256) for link in links or ()]
        yield variant, releases(line.project, files)


def _is_wanted(release: ReleaseFiles, line: Measure, scope: Scope) -> bool:
    """Whether a release gets a row: it has a file for somebody, not only wheels for Intel Macs."""
    is_ours = bool(release.platforms or release.sdists)
    return is_ours and release.version >= line.first and scope.wants(release.uploaded)


@dataclass(frozen=True, slots=True)
class _Reader:
    line: Measure
    variant: str
    artefacts: Artefacts
    newest: PythonVersion

    def row(self, release: ReleaseFiles) -> RawRow:
        """The row of a release. ValueError, which names the file, for a wheel that is not as expected."""
        kinds = {"wheel": bool(release.platforms), "sdist": bool(release.sdists)}
        cells = {
            "version": str(release.version),
            "index": self.line.index,
            "variant": self.variant,
            "files": words(kind for kind, is_there in kinds.items() if is_there),
            "platforms": words(release.platforms),
            "source": self.line.source,
            "basis": "measured",
        }
        if release.platforms:
            platform = release.platforms[0]  # Linux on x86_64 wherever there is such a wheel
            cells |= self._wheels(release, platform)
            cells["note"] = "; ".join(self._differences(release, platform, cells))
        return filled(cells)

    def _wheels(self, release: ReleaseFiles, platform: Platform) -> dict[str, str]:
        wheel = self._newest(release, platform)
        needs = self._dependencies(wheel, platform)
        served = {
            line
            for item in release.wheels
            if item.name.platforms
            for line in item.name.pythons(self.newest, item.file.requires_python or needs.requires_python)
        }
        cells = {
            "torch": needs.torch,
            "extras": needs.extras,
            "pins": needs.pins,
            "pythons": words(sorted(served)),
            "glibc": str(release.glibc(platform) or ""),
        }
        return cells | self._code(wheel, platform)

    def _newest(self, release: ReleaseFiles, platform: Platform) -> NamedWheel:
        """The wheel of a platform that is read for all: that of the newest Python."""
        return max(
            release.wheels_for(platform), key=lambda item: (item.pythons(self.newest)[-1:], item.file.name)
        )

    def _dependencies(self, wheel: NamedWheel, platform: Platform) -> Dependencies:
        python = (self.newest, *wheel.pythons(self.newest))[-1]
        with naming(wheel):
            return Dependencies.read(self.artefacts.metadata(wheel.file), platform, python)

    def _code(self, wheel: NamedWheel, platform: Platform) -> dict[str, str]:
        """What is read of a wheel's binaries; nothing for a pure one."""
        found: Mapping[str, str] = {}
        with naming(wheel):
            if self._is_read(wheel, platform) and self.line.reads == CPP_LIB:
                found = self.artefacts.measured(wheel.file, "cpp-lib", read_cpp_lib)
            elif self._is_read(wheel, platform):
                found = self.artefacts.measured(wheel.file, "cudart", read_cudart)
            return {**found, **_agreed(found.get("cuda", ""), self.variant)}

    def _is_read(self, wheel: NamedWheel, platform: Platform) -> bool:
        is_readable = self.line.reads == CPP_LIB or (self.line.reads == CUDART and platform.is_linux)
        return is_readable and not wheel.name.is_pure

    def _differences(
        self, release: ReleaseFiles, platform: Platform, cells: Mapping[str, str]
    ) -> Iterator[str]:
        """What holds for other platforms than the one of the row."""
        for other in release.platforms:
            floor = str(release.glibc(other) or "")
            if other.is_linux and floor != cells["glibc"]:
                yield f"{other}: glibc {floor or 'unknown'}"
            wheel = self._newest(release, other)
            if other is not platform and self._is_read(wheel, other):
                code = self._code(wheel, other)
                if code and code != {column: cells[column] for column in _CODE if cells.get(column)}:
                    yield f"{other}: " + ", ".join(f"{column} {text}" for column, text in code.items())


def _agreed(cuda: str, variant: str) -> dict[str, str]:
    """The column `cuda`, of which a variant knows more than a soname: `cu126` is 12.6, `cuda12x` is 12."""
    match = _VARIANT.fullmatch(variant)
    if match is None:
        return {"cuda": cuda} if cuda else {}
    named = CudaBinding.parse(str(CudaVersion.from_variant(variant)) if match["line"] else match["major"])
    found = [CudaBinding.parse(item) for item in cuda.split()]
    if any(binding.major != named.major for binding in found):
        raise ValueError(f"linked to CUDA {cuda}, which variant {variant} is not")
    is_exact = any(binding.minor is not None for binding in found)
    return {"cuda": cuda if is_exact else str(named)}
