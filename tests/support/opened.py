"""A wheel in memory, opened as surveys see one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping


class OpenedWheel:
    """Reads members; what an ELF member links is not among what these wheels are asked."""

    def __init__(self, data: bytes) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(data))

    @property
    def sizes(self) -> Mapping[str, int]:
        """The unpacked size of each member, by name."""
        return {item.filename: item.file_size for item in self._archive.infolist()}

    def read(self, name: str, limit: int) -> bytes:
        """All of a member. ValueError where there is none, or it is larger than `limit` bytes."""
        if self.sizes.get(name, limit + 1) > limit:
            raise ValueError(f"no {name} of at most {limit} bytes")
        return self._archive.read(name)

    def needed(self, name: str) -> tuple[str, ...]:
        """Refuse: no survey that is tested with this asks it."""
        raise NotImplementedError
