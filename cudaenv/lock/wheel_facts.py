"""What a wheel file tells about itself: its requirements, and which CUDA major it was built against."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import PurePosixPath
from typing import TypeVar

from packaging.metadata import parse_email

from cudaenv.model.versions import CudaBinding

# What is looked at of one wheel. Real extension packages stay far below these bounds; a library
# above them (libtorch_cuda.so) has small neighbours that link the same runtime.
MAX_MEMBERS = 24
MAX_UNPACKED = 64 << 20  # bytes of one library
MAX_PACKED = 64 << 20  # bytes of all libraries of one wheel together

Item = TypeVar("Item")

_SCHEMA = 1
_LIBRARY = re.compile(r".+\.so(?:\.\d+)*")
# `libbitsandbytes_cuda118.so`: one build a CUDA release line in the same wheel.
_LABEL = re.compile(r"cu(?:da)?[-_]?(\d{2})\d*")


@dataclass(frozen=True, slots=True)
class WheelFacts:
    """The requirements of a wheel (Requires-Dist, as written), and the CUDA majors that it links.

    `cudart` is empty where no compiled member names libcudart: a pure wheel, a CPU build, one that
    opens the runtime at run time or carries it inside itself, or was not asked about. It has several
    entries where one wheel carries builds for several CUDA release lines and picks one at import.
    """

    requires: tuple[str, ...]
    cudart: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of one wheel from earlier; None: nobody looked yet."""

    requires: tuple[str, ...] | None = None
    cudart: tuple[int, ...] | None = None

    def dump(self) -> str:
        """Return the text of the cache file."""
        document = {"schema": _SCHEMA, "requires": self.requires, "cudart": self.cudart}
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def load(cls, text: str) -> Remembered:
        """Read what `dump` wrote; nothing is known where the text is anything else."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            return cls()
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            return cls()
        return cls(_tuple_of(str, document.get("requires")), _tuple_of(int, document.get("cudart")))


def _tuple_of(kind: type[Item], value: object) -> tuple[Item, ...] | None:
    # `type(item) is kind`: True is not a number here.
    if isinstance(value, list) and all(type(item) is kind for item in value):
        return tuple(value)
    return None


def parse_requires(metadata: bytes) -> tuple[str, ...]:
    """Read the Requires-Dist fields of a METADATA file, in its order.

    ValueError where it is not one: a proxy's login page has no requirements either.
    https://packaging.python.org/en/latest/specifications/core-metadata/
    """
    raw, _ = parse_email(metadata)
    if not raw.get("metadata_version") or not raw.get("name"):
        raise ValueError("Metadata-Version or Name is missing")
    return tuple(" ".join(text.split()) for text in raw.get("requires_dist", ()))


def cudart_majors(needed: Iterable[str]) -> tuple[int, ...]:
    """Return the majors of the CUDA runtimes among DT_NEEDED names, ascending."""
    runtimes = map(CudaBinding.from_soname, needed)
    return tuple(sorted({runtime.major for runtime in runtimes if runtime is not None}))


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel; sizes in bytes, as the wheel's directory states them."""

    name: str
    packed: int
    unpacked: int
    crc: int = 0

    @property
    def label(self) -> str:
        """The CUDA major in the file's name, which comes from packages with a build for each; or empty."""
        match = _LABEL.search(PurePosixPath(self.name).name)
        return match[1] if match else ""

    @property
    def is_library(self) -> bool:
        """Whether this may be a library that the package itself compiled: not one of NVIDIA's."""
        path = PurePosixPath(self.name)
        return (
            _LIBRARY.fullmatch(path.name) is not None
            and "nvidia" not in path.parts
            and not path.name.startswith(("libcudart", "libcudnn"))
        )

    @property
    def is_bundled(self) -> bool:
        """Whether auditwheel put it there: libjpeg and the like."""
        return any(part.endswith(".libs") for part in PurePosixPath(self.name).parts)


def linked_majors(members: Iterable[Member], needed: Callable[[Member], Iterable[str]]) -> tuple[int, ...]:
    """Return the CUDA majors that the compiled members of a wheel link, ascending.

    `needed` reads the DT_NEEDED names of a member. One library that names libcudart settles it, as
    all of one build are linked alike; after that only those are read whose file names speak of
    other majors (bitsandbytes carries a library for each CUDA release line). A wheel that carries
    libcudart itself, as those of torch up to 1.12 do, needs no reading.
    """
    everything = list(members)
    found = set(cudart_majors(PurePosixPath(member.name).name for member in everything))
    labels = {""}
    for member in libraries(everything):
        if found and member.label in labels:
            continue
        majors = cudart_majors(needed(member))
        if majors:
            found.update(majors)
            labels.add(member.label)
    return tuple(sorted(found))


def libraries(members: Iterable[Member]) -> Iterator[Member]:
    """Yield the members in which a reference to libcudart is worth looking for, in this order.

    The package's own come before what was bundled with it, small ones before large ones, copies once,
    all within the bounds of this module.
    """
    distinct = {(member.crc, member.unpacked): member for member in members if member.is_library}
    small = (member for member in distinct.values() if member.unpacked <= MAX_UNPACKED)
    left = MAX_PACKED
    for member in sorted(small, key=attrgetter("is_bundled", "packed", "name"))[:MAX_MEMBERS]:
        if member.packed <= left:
            left -= member.packed
            yield member
