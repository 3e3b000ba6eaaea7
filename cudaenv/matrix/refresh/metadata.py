"""METADATA of wheels: whose they are, and what they require.

https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from cudaenv.matrix.refresh.artefacts import Wheel
from cudaenv.model.machine import Platform
from cudaenv.model.markers import marker_environment
from cudaenv.model.requirements import parse_requirement
from cudaenv.model.versions import PythonVersion

MAX_METADATA: Final = 4 << 20
MAX_REQUIREMENT: Final = 2000
"""The most characters of a requirement; longer ones are nothing that anybody wrote."""

_MEMBER = re.compile(r"[^/]+\.dist-info/METADATA")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What METADATA say; the name and the extras are normalized, `requires_python` is as written."""

    name: str
    requires: tuple[Requirement, ...]
    extras: tuple[str, ...]
    requires_python: str

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Read a METADATA file. ValueError for what is none, and for a requirement that is none."""
        fields = metadata_fields(text)
        return cls(
            canonicalize_name(fields["name"]),
            tuple(map(_requirement, fields.get("requires_dist", ()))),
            tuple(sorted({canonicalize_name(extra) for extra in fields.get("provides_extra", ())})),
            fields.get("requires_python", ""),
        )

    @classmethod
    def of_wheel(cls, wheel: Wheel) -> Self:
        """Read those of a wheel. ValueError where it does not have exactly one such file."""
        return cls.read(archived_metadata(wheel))

    def required(self, platform: Platform, python: PythonVersion, extra: str = "") -> Iterator[Requirement]:
        """The requirements that apply on a platform: those that always hold, and those of an extra."""
        environment = marker_environment(platform, python, extra)
        return (item for item in self.requires if _applies(item, environment))

    def requirement_on(self, project: str, platform: Platform, python: PythonVersion) -> Requirement | None:
        """The requirement on a project, by a regular expression for its normalized name; None without one.

        Extras are aside. ValueError for several that are not alike, and for one on a URL.
        """
        found = [
            item
            for item in self.required(platform, python)
            if re.fullmatch(project, canonicalize_name(item.name))
        ]
        if len({str(item.specifier) for item in found}) > 1 or any(item.url for item in found):
            raise ValueError(f"METADATA requires {', '.join(map(str, found))}")
        return found[0] if found else None


def metadata_fields(text: bytes) -> RawMetadata:
    """The fields of a METADATA file, its name among them. ValueError for what is none."""
    fields, _ = parse_email(text)
    if not fields.get("metadata_version") or not fields.get("name"):
        raise ValueError("it is no METADATA file: Metadata-Version or Name is missing")
    return fields


def archived_metadata(wheel: Wheel) -> bytes:
    """The METADATA file of a wheel. ValueError where it does not have exactly one."""
    names = [name for name in wheel.sizes if _MEMBER.fullmatch(name)]
    if len(names) != 1:
        raise ValueError(f"the wheel has {len(names)} METADATA files")
    return wheel.read(names[0], MAX_METADATA)


def _applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    try:
        return requirement.marker is None or requirement.marker.evaluate(environment)
    except (ValueError, KeyError) as error:  # a comparison or a variable that no installer knows
        shown = ascii(str(requirement))[:200]
        raise ValueError(f"METADATA requires {shown}, whose condition has no meaning") from error


def _requirement(text: str) -> Requirement:
    if len(text) > MAX_REQUIREMENT:
        raise ValueError(f"METADATA has a requirement of {len(text)} characters")
    try:
        return parse_requirement(text)
    except (InvalidRequirement, RecursionError) as error:
        raise ValueError(f"METADATA requires {ascii(text)[:200]}, which is no requirement") from error
