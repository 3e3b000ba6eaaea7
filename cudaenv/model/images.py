"""Container images: what they are for, and references to them.

References are `python:3.12-slim`, `nvidia/cuda:12.8.1-devel-ubuntu24.04`: the form is that of
https://pkg.go.dev/github.com/distribution/reference without upper case in names and with sha256 only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from cudaenv.model.machine import Platform

IMAGE: Final = re.compile(
    r"(?P<name>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?::[0-9]{1,5}(?=/))?"
    r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@sha256:[0-9a-f]{64})?"
)
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

Digests = Mapping[tuple[str, Platform], str]
"""Digests of the manifests that tags have for a platform, by reference and platform."""


class Shape(StrEnum):
    """What the container image of an environment is for.

    `run`: locked wheels and nothing to compile with. `develop`: a toolkit and a compiler to work with.
    `build`: one stage compiles, and the image has what it made. `conda`: locked conda packages;
    `conda-develop`: with a toolkit and a compiler among them to work with.
    """

    RUN = "run"
    DEVELOP = "develop"
    BUILD = "build"
    CONDA = "conda"
    CONDA_DEVELOP = "conda-develop"

    @property
    def is_conda(self) -> bool:
        """Whether conda's packages are in it."""
        return self in {Shape.CONDA, Shape.CONDA_DEVELOP}

    @property
    def is_to_work_in(self) -> bool:
        """Whether people develop in it."""
        return self in {Shape.DEVELOP, Shape.CONDA_DEVELOP}


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image by its tag. `registry` is empty for those of Docker Hub, `repository` its path there."""

    name: str
    tag: str
    registry: str
    repository: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference; without a tag `latest` is meant. ValueError for anything else.

        The first part is a registry where it has a dot or a port, or is `localhost`; what has no other part
        lies in `library`.
        """
        match = IMAGE.fullmatch(text)
        if match is None or "@" in text:
            raise ValueError(f"not an image with a tag: {text!r}")
        name, tag = match["name"], match["tag"] or "latest"
        first, slash, rest = name.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            is_hub = first == "docker.io"
            return cls(name, tag, "" if is_hub else first, rest)
        return cls(name, tag, "", name if slash else f"library/{name}")

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"

    def pinned(self, digest: str) -> str:
        """The same image by a digest. ValueError where that is none.

        Without its tag: some engines take no reference that has both.
        """
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"not a digest: {digest!r}")
        return f"{self.name}@{digest}"
