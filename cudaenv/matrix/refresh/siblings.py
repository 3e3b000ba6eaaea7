"""Releases made for releases of torch: torchvision, torchaudio and triton, from their wheels on PyPI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from cudaenv.matrix.refresh.artefacts import Artefacts, RawRow, Scope, Survey, Wheel
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.matrix.refresh.cudart import linked_cuda
from cudaenv.matrix.refresh.metadata import Metadata
from cudaenv.matrix.refresh.release_files import ReleaseFiles, naming, newest_python, releases
from cudaenv.matrix.refresh.torch import oldest_wheel, torch_releases
from cudaenv.model.machine import Platform
from cudaenv.model.versions import PythonVersion

METHOD: Final = "sibling-1"
"""Change it with what `read_sibling` returns: what was measured by another method is measured again."""

TOGETHER: Final = timedelta(days=3)
"""A release without a pin belongs to the torch release of its day, or to one so many days before."""

FIRST_VARIANTS: Final = {"torchaudio": Version("0.10.0")}
"""The first release with builds of its own for torch's variants, of projects that had none before.

Until then the one build, on PyPI, links no CUDA and goes with every variant of torch.
"""


def sibling_rows(project: str, artefacts: Artefacts, scope: Scope) -> list[RawRow]:
    """Measure the releases of torchvision or torchaudio that go with a torch of the matrix."""
    torches = torch_releases(artefacts)
    newest = newest_python(torches)
    first = torches[0].uploaded

    def row(release: ReleaseFiles) -> RawRow | None:
        return _sibling_row(project, artefacts, torches, newest, release)

    found = releases(project, artefacts.files(project))
    wanted = [
        release
        for release in found
        if release.platforms
        and scope.wants(release.uploaded)
        and (not release.uploaded or release.uploaded >= first)
    ]
    return [made for made in artefacts.each(row, wanted) if made is not None]


def triton_rows(artefacts: Artefacts, scope: Scope) -> list[RawRow]:
    """Measure the releases of triton that a torch of the matrix requires.

    A release is measured if it or one of these is of the days that are wanted.
    """
    torches = torch_releases(artefacts)
    newest = newest_python(torches)
    specifiers = artefacts.each(
        partial(_triton_requirement, artefacts, newest),
        [torch for torch in torches if Platform.LINUX_64 in torch.platforms],
    )
    rows = []
    for release in releases("triton", artefacts.files("triton")):
        takers = [torch for torch, specifier in specifiers if specifier and release.version in specifier]
        if takers and any(scope.wants(one.uploaded) for one in (release, *takers)):
            rows.append(_triton_row(release, takers, [torch.version for torch in torches], newest))
    return rows


SURVEYS: Final = (
    *(
        Survey(
            table=f"packages/{project}",
            place="pypi",
            measure=partial(sibling_rows, project),
            owns=lambda row: "index" not in row,
        )
        for project in ("torchvision", "torchaudio")
    ),
    Survey(table="packages/triton", place="pypi", measure=triton_rows, owns=lambda row: "index" not in row),
)


def read_sibling(wheel: Wheel, platform: Platform, python: PythonVersion) -> dict[str, str]:
    """Return `torch`, the specifier of METADATA, and `cuda`, the major of the linked CUDA runtime.

    Either is left out where the wheel has none.
    """
    requirement = Metadata.of_wheel(wheel).requirement_on("torch", platform, python)
    linked = linked_cuda(wheel)
    return filled(
        {
            "torch": str(requirement.specifier) if requirement else "",
            "cuda": str(linked.major) if linked else "",
        }
    )


def version_range(chosen: Sequence[Version], everything: Sequence[Version]) -> str:
    """Return a specifier for some of the versions that there are; both lists ascend."""
    first, last = chosen[0], chosen[-1]
    if first == last:
        return f"=={first}"
    missing = (version for version in everything if first < version < last and version not in chosen)
    return ",".join([f">={first}", f"<={last}", *(f"!={version}" for version in missing)])


def _sibling_row(
    project: str,
    artefacts: Artefacts,
    torches: Sequence[ReleaseFiles],
    newest: PythonVersion,
    release: ReleaseFiles,
) -> RawRow | None:
    platform = Platform.LINUX_64 if Platform.LINUX_64 in release.platforms else release.platforms[0]
    wheel, python = oldest_wheel(release.wheels_for(platform), newest)
    facts = dict(
        artefacts.measured(wheel.file, METHOD, lambda opened: read_sibling(opened, platform, python))
    )
    specifier = SpecifierSet(facts.get("torch", ""))
    with naming(wheel):
        built = _built_with(release, specifier, torches)
    if built is None:
        artefacts.say(f"{project} {release.version}: left out, no torch of the matrix is torch{specifier}")
        return None
    known = {"basis": "measured"}
    if "torch" not in facts:
        note = f"METADATA has no torch requirement; built with {built}"
        known = {"basis": "inferred", "note": note}
    return {
        "version": str(release.version),
        "torch": facts.pop("torch", f">={built}"),
        **_released_with(project, release, built),
        **facts,
        "platforms": words(release.platforms),
        "pythons": words(release.pythons(newest)),
        "source": "wheels",
        **known,
    }


def _released_with(project: str, release: ReleaseFiles, built: Version) -> dict[str, str]:
    has_variants = release.version >= FIRST_VARIANTS.get(project, release.version)
    return {"released_with": str(built)} if has_variants else {}


def _built_with(
    release: ReleaseFiles, specifier: SpecifierSet, torches: Sequence[ReleaseFiles]
) -> Version | None:
    """Return the torch release that a release was built with: the one that it pins, else that of its day.

    None where the pinned one is not among these.
    """
    allowed = [torch for torch in torches if torch.version in specifier]
    if any(part.operator == "==" for part in specifier):
        return allowed[0].version if len(allowed) == 1 else None
    if not release.uploaded:
        raise ValueError("its METADATA pins no torch, and the index does not tell when it was uploaded")
    day = date.fromisoformat(release.uploaded)
    near = [
        (torch.uploaded, torch.version)
        for torch in allowed
        if torch.uploaded and timedelta(0) <= day - date.fromisoformat(torch.uploaded) <= TOGETHER
    ]
    if not near:
        raise ValueError(f"its METADATA pins no torch, and none came out with it on {day}")
    return max(near)[1]


def _triton_requirement(
    artefacts: Artefacts, newest: PythonVersion, torch: ReleaseFiles
) -> tuple[ReleaseFiles, SpecifierSet | None]:
    wheel, python = oldest_wheel(torch.wheels_for(Platform.LINUX_64), newest)
    metadata = artefacts.metadata(wheel.file)
    with naming(wheel):
        found = Metadata.read(metadata).requirement_on("triton", Platform.LINUX_64, python)
    return torch, found.specifier if found else None


def _triton_row(
    release: ReleaseFiles, takers: Iterable[ReleaseFiles], torches: Sequence[Version], newest: PythonVersion
) -> RawRow:
    return {
        "version": str(release.version),
        "torch": version_range([torch.version for torch in takers], torches),
        "platforms": words(release.platforms),
        "pythons": words(release.pythons(newest)),
        "source": "wheels",
        "published": "torch-metadata",
        "basis": "measured",
    }
