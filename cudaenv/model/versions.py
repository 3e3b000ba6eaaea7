"""Versions of the things a plan is about, each with the spellings its field uses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Self


@dataclass(frozen=True, order=True, slots=True)
class CudaVersion:
    """A CUDA release line such as `12.8`; compatibility is promised per line, so it has no patch."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `12.8`; a patch (`12.8.1`) is accepted and dropped. ValueError otherwise."""
        match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})(?:\.\d+){0,2}", text.strip())
        if match is None:
            raise ValueError(f"not a CUDA release line: {text!r} (expected for example `12.8`)")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def from_variant(cls, variant: str) -> Self:
        """Read the `cu128` of a wheel's local label: the last digit is the minor version."""
        match = re.fullmatch(r"cu(\d{1,2})(\d)", variant)
        if match is None:
            raise ValueError(f"not a CUDA variant: {variant!r} (expected for example `cu128`)")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def from_driver_api(cls, code: int) -> Self:
        """Read NVML's integer, 12040 for 12.4.

        A query that failed quietly leaves 0 behind, so implausible numbers are a ValueError.
        """
        if not 1_000 <= code < 100_000:
            raise ValueError(f"not a driver API version: {code}")
        return cls(code // 1000, code % 1000 // 10)

    @classmethod
    def parse_driver_api(cls, text: str) -> Self:
        """Read a driver API version as `12.8`, `12080`, or torch's `found version 12080`."""
        stripped = re.sub(r"^\(?found version\s+", "", text.strip()).rstrip(")")
        if re.fullmatch(r"\d{4,5}", stripped):
            return cls.from_driver_api(int(stripped))
        return cls.parse(stripped)

    @property
    def variant(self) -> str:
        """The name PyTorch gives to builds of this release line, for example `cu128`."""
        return f"cu{self.major}{self.minor}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class DriverVersion:
    """A driver version such as `570.86.10`, compared by its numbers and printed as written.

    `580` alone names a branch; which release of it is not said, see `is_branch`.
    """

    parts: tuple[int, ...]
    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read two to four numbers (`551.78`, `570.86.10`) or a branch (`570`, `R570`)."""
        stripped = text.strip().removeprefix("R").removeprefix("r")
        if not re.fullmatch(r"\d{2,4}(\.\d{1,4}){0,3}", stripped):
            raise ValueError(f"not a driver version: {text!r} (expected for example `570.86.10`)")
        return cls(tuple(int(part) for part in stripped.split(".")), stripped)

    @property
    def is_branch(self) -> bool:
        """Whether only the branch is known, so that any release of it may be meant."""
        return len(self.parts) == 1

    @property
    def branch(self) -> int:
        """The driver branch, the 570 of `570.86.10`."""
        return self.parts[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DriverVersion) and self.parts == other.parts

    def __lt__(self, other: DriverVersion) -> bool:
        return self.parts < other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, order=True, slots=True)
class ComputeCapability:
    """What a GPU can run, such as `8.9`; an SM architecture of compiled code has the same numbers."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `8.9`, `12.0`, `sm_89` or `sm_120`. ValueError otherwise."""
        match = re.fullmatch(r"(\d{1,2})\.(\d)|sm_(\d{1,2})(\d)", text.strip())
        if match is None:
            raise ValueError(f"not a compute capability: {text!r} (expected for example `8.9`)")
        major, minor = (match[1], match[2]) if match[1] else (match[3], match[4])
        return cls(int(major), int(minor))

    @property
    def sm(self) -> str:
        """The name of machine code for it, for example `sm_89`."""
        return f"sm_{self.major}{self.minor}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, order=True, slots=True)
class PythonVersion:
    """A Python release line such as `3.12`; wheels are built per line."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `3.12` or `3.12.4` (the patch is dropped). ValueError otherwise."""
        match = re.fullmatch(r"(\d)\.(\d{1,2})(?:\.\d+)?", text.strip())
        if match is None:
            raise ValueError(f"not a Python version: {text!r} (expected for example `3.12`)")
        return cls(int(match[1]), int(match[2]))

    @property
    def tag(self) -> str:
        """The interpreter tag of CPython wheels, for example `cp312`."""
        return f"cp{self.major}{self.minor}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, order=True, slots=True)
class GlibcVersion:
    """A GNU C library version such as `2.28`; a wheel's `manylinux_2_28` tag is its floor."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2.31`. ValueError otherwise."""
        match = re.fullmatch(r"(\d)\.(\d{1,2})(?:\.\d+)?", text.strip())
        if match is None:
            raise ValueError(f"not a glibc version: {text!r} (expected for example `2.31`)")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"
