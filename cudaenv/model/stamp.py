"""Stamps: a last line by which a generated file shows whether a person has edited it."""

from __future__ import annotations

import hashlib

PREFIX = "# cudaenv checksum: "


JSON_COMMENT = "// "


def stamped(text: str, lead: str = "") -> str:
    """The text, which uses `#` comments, with its checksum as the last line.

    `lead` begins that line where comments are written otherwise.
    """
    body = text + lead
    return f"{body}{PREFIX}{_checksum(body)}\n"


def unstamped(text: str) -> str:
    """A text without its checksum, ready to be stamped again."""
    return text.rpartition(PREFIX)[0] if PREFIX in text else text


def is_untouched(text: str) -> bool:
    """Whether a text carries a stamp and nothing above it was changed since."""
    body, found, checksum = text.rpartition(PREFIX)
    return bool(found) and checksum == f"{_checksum(body)}\n"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
