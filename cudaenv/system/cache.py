"""What was read from elsewhere, remembered: in files, and for the time of a run."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """What was found for each key; who asks while somebody else is at it waits for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Future[T]] = {}

    def get(self, key: str, find: Callable[[], T]) -> T:
        """What `find` returned or raised when it was called for this key."""
        with self._lock:
            is_first = key not in self._found
            future = self._found.setdefault(key, Future())
        if is_first:
            try:
                future.set_result(find())
            except BaseException as error:
                future.set_exception(error)
        return future.result()


def recall(file: Path, limit: int) -> bytes | None:
    """What was remembered; None where that is nothing, cannot be read, or is larger than `limit` bytes."""
    try:
        with file.open("rb") as source:
            found = source.read(limit + 1)
    except OSError:
        return None
    return found if len(found) <= limit else None


def remember(file: Path, content: bytes) -> None:
    """Replace a cache file in one step; a cache that cannot be written is none."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as target:
                target.write(content)
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
