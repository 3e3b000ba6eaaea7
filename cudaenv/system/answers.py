"""Answers of servers: what they say of a file or a part of it, read within a bound."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cudaenv.errors import FetchError
from cudaenv.system.addresses import shown

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address answered.

    `status` is 200 (all of it), 206 (exactly the part that was asked for) or one that the caller
    allowed. A part was asked for and `status` is 200: the server does not do ranges, and `body` is
    empty. `total` is the whole file's size in bytes (None: not told). `content_type` is what a whole
    file is said to be, as the server writes it; empty where it does not say. Of a refusal, `challenge` is
    how the server wants to be asked (WWW-Authenticate) and `retry_after` when (Retry-After).
    """

    status: int
    body: bytes = b""
    total: int | None = None
    content_type: str = ""
    challenge: str = ""
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file: from `start` up to but not including `end`, or the last `suffix` bytes."""

    start: int | None
    end: int | None
    suffix: int | None

    @classmethod
    def of(cls, start: int | None, end: int | None, suffix: int | None) -> Part | None:
        """Return the part so given, None where nothing is; ValueError for what is no part."""
        if start is None and end is None and suffix is None:
            return None
        if suffix is not None:
            valid = start is None and end is None and suffix > 0
        else:
            valid = start is not None and start >= 0 and (end is None or start < end)
        if not valid:
            raise ValueError(f"no part of a file: {start=}, {end=}, {suffix=}")
        return cls(start, end, suffix)

    @property
    def header(self) -> str:
        """The value of the Range header, which counts the last byte in."""
        if self.suffix is not None:
            return f"bytes=-{self.suffix}"
        return f"bytes={self.start}-{'' if self.end is None else self.end - 1}"

    def within(self, total: int) -> tuple[int, int]:
        """Return start and end in a file of `total` bytes; nothing is left of it if they are equal."""
        if self.suffix is not None:
            return max(total - self.suffix, 0), total
        start = min(self.start or 0, total)
        return start, total if self.end is None else min(self.end, total)


class TransientError(Exception):
    """A failure that another attempt may not meet."""


def read_answer(url: str, response: http.client.HTTPResponse, part: Part | None, limit: int) -> Answer:
    """Read the whole file or the part that was asked for, of at most `limit` bytes."""
    if response.status not in {200, 206}:
        return Answer(
            response.status,
            challenge=response.getheader("WWW-Authenticate") or "",
            retry_after=response.getheader("Retry-After") or "",
        )
    if part is None:
        body = b"".join(_chunks(url, response, limit))
        return Answer(200, body, len(body), response.getheader("Content-Type") or "")
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", response.getheader("Content-Range") or "")
    if response.status == 200 or found is None:
        return Answer(200, b"", length(response) if response.status == 200 else None)
    first, last, total = map(int, found.groups())
    if (first, last + 1) != part.within(total):
        # Some servers take the last N bytes for the first N.
        return Answer(200, b"", total)
    body = b"".join(_chunks(url, response, limit))
    if len(body) != last + 1 - first:
        raise TransientError(f"{len(body)} bytes came where {last + 1 - first} were announced")
    return Answer(206, body, total)


def length(response: http.client.HTTPResponse) -> int | None:
    """Return the size that is announced, in bytes."""
    text = response.getheader("Content-Length") or ""
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


def _chunks(url: str, response: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
    """Yield the body, which is whole when this ends without an error."""
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise FetchError(f"`{shown(url)}` was answered in compressed form, which was not asked for")
    announced = response.length
    if announced is not None and announced > limit:
        raise _too_large(url, limit)
    received = 0
    while chunk := response.read(min(_CHUNK, limit + 1 - received)):
        received += len(chunk)
        if received > limit:
            raise _too_large(url, limit)
        yield chunk
    if announced is not None and received < announced:
        raise TransientError(f"the connection ended after {received} of {announced} bytes")


def _too_large(url: str, limit: int) -> FetchError:
    return FetchError(f"`{shown(url)}` is larger than what is expected there", [f"more than {limit} bytes"])


def drain(response: http.client.HTTPResponse) -> None:
    """Read the short text of a redirect or an error, so that the connection can be used again."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        if response.chunked or (response.length is not None and response.length <= _CHUNK):
            response.read(_CHUNK)


def copy_body(url: str, response: http.client.HTTPResponse, file: BinaryIO, limit: int) -> str:
    """Replace what is in `file` by the body; return its sha256 in hexadecimal."""
    file.seek(0)
    file.truncate()
    digest = hashlib.sha256()
    for chunk in _chunks(url, response, limit):
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()
