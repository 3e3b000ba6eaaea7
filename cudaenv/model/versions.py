"""Versions of the things a plan is about, each with the spellings its field uses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Self


@dataclass(frozen=True, order=True, slots=True)
class _TwoNumbers:
    """A version of two numbers, which versions of the same kind compare by."""

    major: int
    minor: int

    @classmethod
    def _of(cls, match: re.Match[str] | None, text: str, what: str, example: str) -> Self:
        """Make it of the two groups that matched in `text`; ValueError if nothing did."""
        if match is None:
            raise ValueError(f"not a {what}: {text!r} (expected for example `{example}`)")
        major, minor = (int(group) for group in match.groups() if group is not None)
        return cls(major, minor)

    @classmethod
    def _of_numbers(cls, text: str, what: str, example: str) -> Self:
        """Read one digit, a point and one or two more; a patch behind them is dropped."""
        return cls._of(re.fullmatch(r"(\d)\.(\d{1,2})(?:\.\d+)?", text.strip()), text, what, example)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class CudaVersion(_TwoNumbers):
    """A CUDA release line such as `12.8`; compatibility is promised per line, so it has no patch."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `12.8`; a patch (`12.8.1`) is accepted and dropped. ValueError otherwise."""
        match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})(?:\.\d+){0,2}", text.strip())
        return cls._of(match, text, "CUDA release line", "12.8")

    @classmethod
    def from_variant(cls, variant: str) -> Self:
        """Read the `cu128` of a wheel's local label: the last digit is the minor version."""
        match = re.fullmatch(r"cu(\d{1,2})(\d)", variant)
        return cls._of(match, variant, "CUDA variant", "cu128")

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


@dataclass(frozen=True, order=True, slots=True)
class CudaBinding:
    """What compiled code is bound to: a CUDA major, and the release line if that is known."""

    major: int
    minor: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `12` or `12.8`. ValueError otherwise."""
        match = re.fullmatch(r"(\d{1,2})(?:\.(\d{1,2}))?", text.strip())
        if match is None:
            raise ValueError(f"not a CUDA major or release line: {text!r} (expected `12` or `12.8`)")
        return cls(int(match[1]), int(match[2]) if match[2] else None)

    @classmethod
    def from_soname(cls, name: str) -> Self | None:
        """What a file name of the CUDA runtime tells; None for other files.

        Up to CUDA 10 it names the release line (`libcudart.so.10.2`), then the major: `libcudart.so.11.0` is
        that of all 11.x. auditwheel adds a hash to what it bundles: `libcudart-80664282.so.10.2`, later
        `libcudart.3eda8113.so.13`.
        """
        match = re.fullmatch(r"libcudart(?:[-.][0-9a-f]{8,})?\.so\.(\d{1,2})(?:\.(\d{1,2}))?(?:\.\d+)*", name)
        if match is None:
            return None
        major = int(match[1])
        return cls(major, int(match[2]) if match[2] and major < 11 else None)

    def __str__(self) -> str:
        return str(self.major) if self.minor is None else f"{self.major}.{self.minor}"


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


class ComputeCapability(_TwoNumbers):
    """What a GPU can run, such as `8.9`; an SM architecture of compiled code has the same numbers."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `8.9`, `12.0`, `sm_89` or `sm_120`. ValueError otherwise."""
        match = re.fullmatch(r"(\d{1,2})\.(\d)|sm_(\d{1,2})(\d)", text.strip())
        return cls._of(match, text, "compute capability", "8.9")

    @property
    def sm(self) -> str:
        """The name of machine code for it, for example `sm_89`."""
        return f"sm_{self.major}{self.minor}"


class PythonVersion(_TwoNumbers):
    """A Python release line such as `3.12`; wheels are built per line."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `3.12` or `3.12.4` (the patch is dropped). ValueError otherwise."""
        return cls._of_numbers(text, "Python version", "3.12")

    @property
    def tag(self) -> str:
        """The interpreter tag of CPython wheels, for example `cp312`."""
        return f"cp{self.major}{self.minor}"


class GlibcVersion(_TwoNumbers):
    """A GNU C library version such as `2.28`; a wheel's `manylinux_2_28` tag is its floor."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2.31`. ValueError otherwise."""
        return cls._of_numbers(text, "glibc version", "2.31")


def gcc_major(text: str) -> int:
    """Read the major version of a GCC, `13`, `13.3` or `gcc-13`. ValueError otherwise."""
    match = re.fullmatch(r"(?:g(?:cc|\+\+)-)?(\d{1,2})(?:\.\d+){0,2}", text.strip())
    if match is None:
        raise ValueError(f"not a version of GCC: {text!r} (expected for example `13`)")
    return int(match[1])
