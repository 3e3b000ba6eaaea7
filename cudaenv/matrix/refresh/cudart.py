"""The CUDA that the compiled members of a wheel for Linux are linked to, by their libcudart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from cudaenv.matrix.refresh.artefacts import Wheel
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.model.versions import CudaBinding

# What is looked at of one wheel: libraries of a package that link libcudart are among its smaller ones.
MAX_LIBRARIES: Final = 32
MAX_LIBRARY: Final = 64 << 20  # bytes, unpacked
MAX_LIBRARIES_SIZE: Final = 256 << 20  # bytes of those of one wheel together

_LIBRARY = re.compile(r".+\.so(?:\.\d+)*")
# `libbitsandbytes_cuda118.so`, one library for each CUDA release line.
_LABELLED = re.compile(r"lib\w+_cuda(\d{2})(\d)(?:_[a-z]+)?\.so")


def read_cudart(wheel: Wheel) -> dict[str, str]:
    """Return the column `cuda` of a wheel: the CUDA that its compiled members ask for, if they do.

    Libraries with a release line in their names (`libbitsandbytes_cuda118.so`) state it, and so does a
    libcudart in the wheel. Else it is what the package's own libraries are linked to.
    """
    paths = [PurePosixPath(name) for name in wheel.sizes]
    labels = {match.groups() for path in paths if (match := _LABELLED.fullmatch(path.name))}
    if labels:
        return {"cuda": words(sorted(CudaBinding(int(major), int(minor)) for major, minor in labels))}
    carried = _runtimes(path.name for path in paths)
    return filled({"cuda": words(sorted(carried, key=str)) or str(linked_cuda(wheel) or "")})


def linked_cuda(wheel: Wheel) -> CudaBinding | None:
    """Return the CUDA that the package's own libraries are linked to; None if they are to none.

    The smallest library that asks for libcudart settles it: all of one build are linked alike. ValueError
    where that one asks for several.
    """
    for name in _worth_reading(wheel):
        found = _runtimes(wheel.needed(name))
        if len(found) > 1:
            listed = ", ".join(sorted(map(str, found)))
            raise ValueError(f"{name} asks for libcudart of CUDA {listed}")
        if found:
            return found.pop()
    return None


def _worth_reading(wheel: Wheel) -> Iterator[str]:
    """Yield the package's own libraries within the bounds of this module, small ones first."""
    left = MAX_LIBRARIES_SIZE
    own = sorted((size, name) for name, size in wheel.sizes.items() if _is_own(PurePosixPath(name)))
    for size, name in own[:MAX_LIBRARIES]:
        left -= size
        if size <= MAX_LIBRARY and left >= 0:
            yield name


def _is_own(path: PurePosixPath) -> bool:
    """Whether a package compiled this library itself: not NVIDIA's, nor what auditwheel bundled."""
    is_foreign = any(part == "nvidia" or part.endswith(".libs") for part in path.parts)
    return _LIBRARY.fullmatch(path.name) is not None and not is_foreign


def _runtimes(names: Iterable[str]) -> set[CudaBinding]:
    """The CUDA of each libcudart among file names."""
    return {cuda for cuda in map(CudaBinding.from_soname, names) if cuda is not None}
