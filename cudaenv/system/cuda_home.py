"""CUDA_HOME by wheels: the links that compilers and build systems look for, and that no wheel can carry.

The wheels of CUDA 13 merge into one folder that is a whole toolkit but for two things. Libraries lie in
`lib`, where nvcc up to 13.2.51 and torch's extensions look in `lib64`; and there is `libcudart.so.13`, but no
`libcudart.so`, so that `-lcudart` and CMake's `find_package(CUDAToolkit)` find nothing
(https://github.com/flashinfer-ai/flashinfer/issues/5064). Wheels are zip files, whose members are no links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cudaenv.errors import ToolError

LIBRARY = re.compile(r"(lib[^/]+?\.so)\.([0-9]+(?:\.[0-9]+)*)")


def complete(home: Path) -> tuple[str, ...]:
    """Make the links that are missing below a toolkit's folder; return them by their names in it.

    What is there stays as it is, of whatever kind. Links of an earlier run whose library has gone are
    removed. ToolError where the folder cannot be written.
    """
    made = []
    try:
        _remove_dead(home)
        for place, target in _wanted(home):
            if not (place.exists() or place.is_symlink()):
                place.symlink_to(target)
                made.append(place.relative_to(home).as_posix())
    except OSError as error:
        raise ToolError("the links of the CUDA toolkit cannot be made", [str(error)]) from error
    return tuple(made)


def _wanted(home: Path) -> Iterator[tuple[Path, str]]:
    """Each link and what it leads to, in its own folder."""
    folder = home / "lib"
    if not folder.is_dir():
        return
    yield home / "lib64", "lib"
    newest: dict[str, tuple[tuple[int, ...], str]] = {}
    for path in folder.iterdir():
        match = LIBRARY.fullmatch(path.name)
        if match:
            release = tuple(int(part) for part in match[2].split("."))
            newest[match[1]] = max(newest.get(match[1], ((), "")), (release, path.name))
    yield from ((folder / name, target) for name, (_, target) in sorted(newest.items()))


def _remove_dead(home: Path) -> None:
    """Remove links to what an update took away; a link of ours leads to a name in its own folder."""
    for path in (home / "lib64", *(home / "lib").glob("lib*.so")):
        if path.is_symlink() and not path.exists() and "/" not in str(path.readlink()):
            path.unlink()
