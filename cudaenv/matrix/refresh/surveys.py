"""All surveys: those with code of their own, and those that `measure` lines of the tables ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from packaging.version import Version

from cudaenv.matrix.document import Document
from cudaenv.matrix.load import PACKAGES, TORCH
from cudaenv.matrix.refresh import conda, images, nvidia_wheels, siblings, toolkit_releases, toolkits, torch
from cudaenv.matrix.refresh.artefacts import Survey
from cudaenv.matrix.refresh.openmmlab import INDEX as OPENMMLAB
from cudaenv.matrix.refresh.openmmlab import MMDET, wheel_pages
from cudaenv.matrix.refresh.releases import Measure
from cudaenv.matrix.refresh.releases import surveys as release_surveys

PLACES: Final = ("pypi", "pytorch", "openmmlab", "conda", "images")
"""Where rows are measured: package indexes, conda channels, the registry of images."""

BASES: Final[Mapping[str, str]] = {"conda": "https://conda.anaconda.org", "images": images.HUB}
"""The addresses of places that are no package index, and so have no row in `indexes`."""

_FIXED: Final = (
    *torch.SURVEYS,
    *siblings.SURVEYS,
    toolkits.SURVEY,
    toolkit_releases.SURVEY,
    nvidia_wheels.SURVEY,
    MMDET,
    conda.BUILDS,
    images.IMAGES,
)


def all_surveys(documents: Mapping[str, Document]) -> tuple[Survey, ...]:
    """Every survey of these tables, torch first.

    ValueError where a `measure` line is not as it should be, or an index is not among `indexes`.
    """
    indexes = {row["index"]: row["url"] for row in documents["indexes"].rows}
    builds = sorted({(row["variant"], _line(row["version"])) for row in documents[TORCH].rows})
    try:
        pages = [wheel_pages(package, indexes[OPENMMLAB], builds) for package in ("mmcv", "mmcv-full")]
        found = (*_FIXED, *pages, *_measured(documents, indexes))
    except KeyError as error:
        raise ValueError(f"there is no index {error} among `indexes`") from error
    return tuple(survey for survey in found if survey.table in documents)


def _measured(documents: Mapping[str, Document], indexes: Mapping[str, str]) -> Iterator[Survey]:
    for name, document in documents.items():
        if document.measure and name.startswith(PACKAGES):
            try:
                yield from release_surveys(name, map(Measure.read, document.measure), indexes)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from error


def _line(version: str) -> str:
    return ".".join(map(str, Version(version).release[:2]))
