"""How the packages of OpenMMLab are measured: its pages of wheels, and what mmdet needs of the others.

There is a page for each variant and torch line (https://mmcv.readthedocs.io/en/latest/get_started/installation.html).
A wheel of it was built with the `.0` release of that line, and is meant for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from cudaenv.matrix.refresh.artefacts import Artefacts, Link, RawRow, Scope, Survey, Wheel
from cudaenv.matrix.refresh.cells import words
from cudaenv.matrix.refresh.metadata import Metadata
from cudaenv.matrix.refresh.release_files import releases
from cudaenv.matrix.refresh.releases import METADATA, Measure, surveys
from cudaenv.matrix.refresh.wheel_names import WheelName
from cudaenv.model.machine import Platform
from cudaenv.model.versions import CudaVersion, PythonVersion

INDEX = "openmmlab"
"""The index of OpenMMLab's own wheels (indexes.yaml), and the place of the surveys that read it."""

PAGES_SOURCE = (
    "wheel-pages",
    "wheel pages of OpenMMLab's index",
    "the wheels on the page of each CUDA variant and torch line: releases, platforms and Pythons",
)
"""Where the rows of these pages are from: name, artefact and what it says."""

FIRST_MMDET = Version("2.25.1")
"""The first release whose METADATA say what `mim` installs with it."""

_CPU = "cpu"
_VARIANT = re.compile(r"cu(?:\d{3}|9\d)|cpu")
_TORCH_LINE = re.compile(r"\d{1,2}\.\d{1,2}")
_TORCH_CELL = re.compile(r"==(\d{1,2}\.\d{1,2})\.\*")
_OURS = re.compile(r"mmcv[-_]")
_FAMILY = frozenset({"mmcv", "mmcv-full", "mmcv-lite", "mmengine"})
_EXTRA = re.compile(r'extra == "([\w.-]+)"')
_MAX_CODE = 1 << 16

# `mmdet/__init__.py` has bounds as constants, and asserts them when it is imported.
_BOUND = re.compile(r"^(mmcv|mmengine)_(minimum|maximum)_version = '([^'\n]{1,40})'$", re.MULTILINE)
_ASSERTED = re.compile(
    r"\b(mmcv|mmengine)_version\s*(<=|<|>=|>)\s*digit_version\(\1_(minimum|maximum)_version\)"
)


def wheel_pages(package: str, url: str, builds: Iterable[tuple[str, str]]) -> Survey:
    """Return the survey of a package (`mmcv`, `mmcv-full`) on the pages of OpenMMLab.

    `url` is that of a page, with `{variant}` and `{torch}` in it; `builds` are the pairs of these that are
    looked for: variants (`cu121`, `cpu`) and torch lines (`2.1`). Pages state no days, so every page is read
    whatever the scope is. Rows have the Pythons that all their platforms have.

    ValueError for `builds` that are no such pairs.
    """
    lines = tuple(dict.fromkeys(builds))
    for variant, torch in lines:
        if not (_VARIANT.fullmatch(variant) and _TORCH_LINE.fullmatch(torch)):
            raise ValueError(f"not a variant and a torch line: {variant!r}, {torch!r}")

    def measure(artefacts: Artefacts, _: Scope) -> Iterable[RawRow]:
        pages = artefacts.each(lambda line: _page_rows(artefacts, package, url, *line), lines)
        rows = [row for page in pages for row in page]
        return sorted(rows, key=lambda row: Version(row["version"]))

    def owns(row: RawRow) -> bool:
        torch = _TORCH_CELL.fullmatch(row.get("torch", ""))
        is_ours = row.get("index") == INDEX and torch is not None
        return is_ours and (row.get("variant", ""), torch[1] if torch else "") in lines

    return Survey(
        table=f"packages/{package}", place=INDEX, measure=measure, owns=owns, sources=(PAGES_SOURCE,)
    )


def _page_rows(artefacts: Artefacts, package: str, url: str, variant: str, torch: str) -> list[RawRow]:
    """The rows of one page; none where there is no such page, which is how a combination does not exist."""
    address = url.replace("{variant}", variant).replace("{torch}", torch)
    links = artefacts.links(address)
    if links is None:
        return []
    found: dict[Version, dict[Platform, set[PythonVersion]]] = {}
    for wheel in _wheels(links, address):
        if wheel.project == package and not wheel.version.is_prerelease and wheel.named_pythons:
            for platform in wheel.platforms:
                found.setdefault(wheel.version, {}).setdefault(platform, set()).update(wheel.named_pythons)
    head = {"index": INDEX, "variant": variant, "torch": f"=={torch}.*"}
    if variant != _CPU:
        head["cuda"] = str(CudaVersion.from_variant(variant))
    tail = {"source": PAGES_SOURCE[0], "basis": "measured"}
    return [
        {"version": str(version), **head, **_served(pythons), **tail} for version, pythons in found.items()
    ]


def _wheels(links: Iterable[Link], address: str) -> list[WheelName]:
    """The wheels of a page. ValueError for a page that has none, and for links that are not what they say.

    What has the ending of a wheel and a name that no installer accepts is left out.
    """
    wheels = []
    for link in links:
        folder, _, last = link.url.rpartition("/")
        name = unquote(last)
        if not (link.text.endswith(".whl") or name.endswith(".whl") or _OURS.match(name)):
            continue
        # The text is the address as it is written there: `./mmcv-2.2.0-….whl`.
        if name != link.text.rpartition("/")[2]:
            raise ValueError(f"`{address}` has a link to {name[:200]!r} that says {link.text[:200]!r}")
        if folder != address.rpartition("/")[0]:
            raise ValueError(f"`{address}` has a link to {name[:200]!r} in another place")
        if name.endswith((".tar.gz", ".zip")):
            continue
        if not name.endswith(".whl"):
            raise ValueError(f"`{address}` has a link to {name[:200]!r}, half the name of a wheel")
        try:
            wheels.append(WheelName.parse(name))
        except ValueError:
            continue
    if not wheels:
        raise ValueError(f"`{address}` lists no wheels")
    return wheels


def _served(found: Mapping[Platform, Collection[PythonVersion]]) -> dict[str, str]:
    """The cells for platforms and Pythons, and the note that says what they leave out.

    A row says that each of its platforms has each of its Pythons. Platforms without a Python in common with
    the first are left out, then Pythons that not all of the others have.
    """
    platforms = [platform for platform in Platform if platform in found]
    kept: list[Platform] = []
    common = set(found[platforms[0]])
    for platform in platforms:
        if common & set(found[platform]):
            common &= set(found[platform])
            kept.append(platform)
    more = {
        platform: words(sorted(set(found[platform]) - (common if platform in kept else set())))
        for platform in platforms
    }
    cells = {"platforms": words(kept), "pythons": words(sorted(common))}
    left_out = "; ".join(f"{platform}: {pythons}" for platform, pythons in more.items() if pythons)
    return cells | ({"note": f"there are also wheels for {left_out}"} if left_out else {})


def _measure_mmdet(artefacts: Artefacts, scope: Scope) -> Iterable[RawRow]:
    found = {str(release.version): release.wheels for release in releases("mmdet", artefacts.files("mmdet"))}

    rows = list(_MMDET_FILES.measure(artefacts, scope))
    for row in rows:
        if not found[row["version"]]:
            artefacts.say(f"mmdet {row['version']} is left out: it has no wheel that says what it needs")

    def complete(row: RawRow) -> RawRow:
        return {**row, **artefacts.measured(found[row["version"]][0].file, "mmdet-needs-1", mmdet_needs)}

    return artefacts.each(complete, [row for row in rows if found[row["version"]]])


def mmdet_needs(wheel: Wheel) -> dict[str, str]:
    """Return the cell `needs` of an mmdet wheel: its METADATA (extra `mim`), and what it asserts at import.

    The two differ before mmdet 3: METADATA of 2.x have no upper bound. ValueError where either is not as it
    was in all releases so far.
    """
    bounds = _asserted(wheel.read("mmdet/__init__.py", _MAX_CODE).decode())
    needs: dict[str, SpecifierSet] = {}
    for requirement in _required(Metadata.of_wheel(wheel)):
        name = canonicalize_name(requirement.name)
        module = name.removesuffix("-full").removesuffix("-lite")
        needs[name] = (
            needs.get(name, SpecifierSet()) & requirement.specifier & bounds.get(module, SpecifierSet())
        )
    if not needs:
        raise ValueError("METADATA of mmdet name no requirement on mmcv")
    return {"needs": words(f"{name}{specifiers}" for name, specifiers in sorted(needs.items()))}


def _required(metadata: Metadata) -> Iterator[Requirement]:
    """The requirements on packages of OpenMMLab: those that always hold, and those of the extra `mim`."""
    for requirement in metadata.requires:
        if canonicalize_name(requirement.name) not in _FAMILY:
            continue
        extra = _EXTRA.fullmatch(str(requirement.marker)) if requirement.marker else None
        if requirement.marker and not extra:
            raise ValueError(f"METADATA has a condition that is no extra: {ascii(str(requirement))[:200]}")
        if extra is None or extra[1] == "mim":
            yield requirement


def _asserted(code: str) -> dict[str, SpecifierSet]:
    """The bounds that `mmdet/__init__.py` asserts, by module; code is matched as text and never run."""
    bounds = {(module, end): version for module, end, version in _BOUND.findall(code)}
    used = set()
    found: dict[str, SpecifierSet] = {}
    for module, operator, end in _ASSERTED.findall(code):
        version = bounds.get((module, end))
        if version is None:
            raise ValueError(f"`mmdet/__init__.py` asserts a {end} of {module} that it does not state")
        used.add((module, end))
        try:
            found[module] = found.get(module, SpecifierSet()) & SpecifierSet(f"{operator}{version}")
        except InvalidSpecifier as error:
            raise ValueError(f"`mmdet/__init__.py` has the bound {version!r}") from error
    if used != set(bounds):
        raise ValueError("`mmdet/__init__.py` states a bound that it does not assert, or not as known here")
    return found


(_MMDET_FILES,) = surveys(
    "packages/mmdet",
    [Measure(project="mmdet", first=FIRST_MMDET, source="wheels", reads=METADATA)],
    {},
)

MMDET = replace(_MMDET_FILES, measure=_measure_mmdet)
"""The survey of mmdet: what is measured of any package on PyPI, and the column `needs`."""
