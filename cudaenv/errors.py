"""Every failure a user can meet: one class per who must act, each with its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class CudaenvError(Exception):
    """A failure that is explained to the user: one sentence, details below it, and a hint.

    `message` is one sentence without a full stop that says what was asked and what was found;
    `details` are further lines, one fact each; `hint` says what would help.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, details: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message, *(f"  {line}" for line in self.details)]
        if self.hint:
            lines += ["", f"hint: {self.hint}"]
        return "\n".join(lines)


class SpecError(CudaenvError):
    """The user's file or flag is wrong; the user corrects it."""

    exit_code = 2


class NoPlanError(CudaenvError):
    """The request is well-formed, but nothing that exists satisfies it."""

    exit_code = 3


class DriftError(CudaenvError):
    """A lock no longer says what the spec, the matrix or the files beside it say."""

    exit_code = 4


class ToolError(CudaenvError):
    """A program that cudaenv called failed, or did something other than planned."""

    exit_code = 5


class FetchError(CudaenvError):
    """An index or a file could not be fetched."""

    exit_code = 6


class UnreachableError(FetchError):
    """A server did not answer, or said that it cannot now; another time it may."""


class MatrixError(CudaenvError):
    """The compatibility tables are wrong; whoever keeps them corrects them."""

    exit_code = 7
