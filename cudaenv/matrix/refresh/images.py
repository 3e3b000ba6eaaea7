"""The survey of nvidia/cuda's tags, as the API of Docker Hub lists them.

The API: https://docs.docker.com/reference/api/hub/latest/. Tags say nothing of drivers;
that an image asks for a driver API version of its own release line is a rule of the Dockerfiles
(https://gitlab.com/nvidia/container-images/cuda, `NVIDIA_REQUIRE_CUDA` in `dist/*/*/base/Dockerfile`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cudaenv.matrix.refresh.artefacts import Artefacts, RawRow, Scope, Survey
from cudaenv.matrix.refresh.cells import words
from cudaenv.model.machine import Platform
from cudaenv.model.versions import CudaVersion

HUB: Final = "https://hub.docker.com"
"""Where the API of Docker Hub is."""

IMAGE: Final = "nvidia/cuda"
SOURCE, RULES_SOURCE = "docker-hub", "container-images"
"""The names of sources that measured rows state: of their tags, and of what tags do not say."""

SYSTEMS: Final = (
    *("ubuntu26.04", "ubuntu24.04", "ubuntu22.04", "ubuntu20.04"),
    *("rockylinux10", "rockylinux9", "rockylinux8", "ubi10", "ubi9", "ubi8", "amzn2023"),
)
"""The operating systems of tags that rows are made of, in their order: those that systems.yaml describes."""

FIRST_LINE: Final = CudaVersion(11, 0)

PAGE_SIZE: Final = 100
"""Tags on a page."""

MOST_PAGES: Final = 100
"""Pages that are read before the list is taken for an endless one; NVIDIA's own has some 1,300 tags."""

FLAVOURS: Final = ("base", "runtime", "devel")
"""What an image has: the runtime's own library; all libraries; headers and the compiler as well."""

# https://gitlab.com/nvidia/container-images/cuda/-/blob/master/doc/supported-tags.md: up to CUDA 12.2
# `cudnn8-`, then `cudnn9-`, from 12.4 on `cudnn-`; never with `base`.
_TAG = re.compile(
    r"(?P<release>\d{2}\.\d{1,2}\.\d{1,2})-"
    r"(?P<flavour>base|(?:cudnn[89]?-)?(?:runtime|devel))-"
    r"(?P<os>[a-z]{3,12}\d{1,4}(?:\.\d{2})?)",
    re.ASCII,
)
_ARCHITECTURES = {"amd64": Platform.LINUX_64, "arm64": Platform.LINUX_AARCH64}


@dataclass(frozen=True, slots=True)
class _Tag:
    """What a tag of the grammar says, and the platforms that it has images for."""

    release: tuple[int, int, int]
    flavour: str
    os: str
    platforms: frozenset[Platform]

    @property
    def line(self) -> CudaVersion:
        """The release line of its CUDA."""
        return CudaVersion(*self.release[:2])


def images_survey(hub: str = HUB) -> Survey:
    """Return the survey of nvidia/cuda at an API like Docker Hub's; `hub` is its address, without a path.

    Rows are those of the newest point release of each line, from 11.0 on, and operating system. Tags of other
    forms are left out. ValueError where the list is not as it should be, does not end, or has none of these.
    """

    def measure(artefacts: Artefacts, _: Scope) -> Iterable[RawRow]:
        return _rows(tag for entry in _entries(artefacts, hub) for tag in _read_tag(entry))

    return Survey(
        table="images",
        place="images",
        measure=measure,
        owns=lambda row: row.get("image") == IMAGE,
        sources=(
            (
                SOURCE,
                f"tags of {IMAGE} at {hub}",
                "name and architectures of each tag, as the registry lists them",
            ),
        ),
    )


def _entries(artefacts: Artefacts, hub: str) -> Iterator[Mapping[str, object]]:
    """The tags of all pages. Addresses of next pages are made here: those in an answer may lead anywhere."""
    for page in range(1, MOST_PAGES + 1):
        address = f"{hub}/v2/repositories/{IMAGE}/tags?page_size={PAGE_SIZE}&page={page}"
        [answer] = _objects([artefacts.document(address)], f"the answer of {address}")
        yield from _objects(answer.get("results"), f"`results` of {address}")
        if not _following(answer, address):
            return
    raise ValueError(f"{hub} lists more than {MOST_PAGES} pages of tags of {IMAGE}")


def _following(answer: Mapping[str, object], address: str) -> bool:
    """Whether there is a page after this one: `next` has its address, or is null on the last."""
    if "next" in answer and (answer["next"] is None or isinstance(answer["next"], str)):
        return bool(answer["next"])
    raise ValueError(f"{address} does not say whether a page follows")


def _objects(value: object, what: str) -> list[dict[str, object]]:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise ValueError(f"{what} is not as expected: no list of objects")


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key)
    if isinstance(value, str):
        return value
    raise ValueError(f"the list of tags of {IMAGE} has one without `{key}`")


def _read_tag(entry: Mapping[str, object]) -> Iterator[_Tag]:
    """What one tag says; nothing where it is of another form, or has no image for a platform of ours."""
    name = _text(entry, "name")
    images = _objects(entry.get("images"), f"`images` of a tag of {IMAGE}")
    match = _TAG.fullmatch(name)
    if match is None or match["os"] not in SYSTEMS:
        return
    major, minor, patch = (int(part) for part in match["release"].split("."))
    # Other architectures, and attestations, whose architecture is `unknown`, are no platform of ours.
    architectures = {_text(image, "architecture") for image in images if image.get("os") == "linux"}
    platforms = frozenset(_ARCHITECTURES[name] for name in architectures & set(_ARCHITECTURES))
    if platforms and CudaVersion(major, minor) >= FIRST_LINE:
        yield _Tag((major, minor, patch), match["flavour"], match["os"], platforms)


def _rows(tags: Iterable[_Tag]) -> list[RawRow]:
    """The rows of the newest point releases, the newest line first."""
    points: dict[tuple[CudaVersion, str], dict[tuple[int, int, int], dict[str, _Tag]]] = {}
    for tag in tags:
        points.setdefault((tag.line, tag.os), {}).setdefault(tag.release, {})[tag.flavour] = tag
    if not points:
        raise ValueError(f"there are no tags of {IMAGE} of the form `12.8.1-devel-ubuntu24.04`")
    ordered = sorted(points, key=lambda at: (-at[0].major, -at[0].minor, SYSTEMS.index(at[1])))
    return [_row(points[at][max(points[at])]) for at in ordered]


def _row(flavours: Mapping[str, _Tag]) -> RawRow:
    """The row of a point release on an operating system; it has the platforms that all its flavours have."""
    tag = next(iter(flavours.values()))
    ordered = sorted(flavours, key=_flavour_order)
    release = ".".join(str(number) for number in tag.release)
    platforms = frozenset.intersection(*(flavour.platforms for flavour in flavours.values()))
    if not platforms:
        raise ValueError(f"the flavours of {IMAGE} {release} on {tag.os} have no platform in common")
    return {
        "image": IMAGE,
        "release": release,
        "os": tag.os,
        "cuda": str(tag.line),
        "flavours": words(ordered),
        "require_cuda": str(tag.line),
        "platforms": words(platform for platform in Platform if platform in platforms),
        "source": SOURCE,
        "basis": "measured",
        "note": f"require_cuda: source {RULES_SOURCE}",
    }


def _flavour_order(flavour: str) -> tuple[bool, int]:
    """Flavours without cuDNN first; what builds on another one after it."""
    return "-" in flavour, FLAVOURS.index(flavour.rpartition("-")[2])


IMAGES: Final = images_survey()
"""The rows of nvidia/cuda in images.yaml."""
