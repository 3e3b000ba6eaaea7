"""CUDA_HOME by wheels: what compilers and build systems look for, and no wheel has.

The wheels of CUDA 13 merge into one folder that is a whole toolkit but for two things. Libraries lie in
`lib`, where nvcc up to 13.2.51 and torch's extensions look in `lib64`; and there is `libcudart.so.13`, but no
`libcudart.so`, so that `-lcudart` and CMake's `find_package(CUDAToolkit)` find nothing
(https://github.com/flashinfer-ai/flashinfer/issues/5064). Wheels are zip files, whose members are no links.
And there is no stub of the driver's library, by which `-lcuda` and CMake's `CUDA::cuda_driver` are linked
where no driver is (https://docs.nvidia.com/cuda/cuda-driver-api/driver-entry-point-access.html).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cudaenv.errors import ToolError
from cudaenv.system.process import run

DRIVER_NAME = re.compile(r"\bcu[A-Z]\w*")
STUB_S = 60.0
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


def make_driver_stub(home: Path, compiler: str, environ: Mapping[str, str]) -> None:
    """Compile `lib/stubs/libcuda.so` with every name that cuda.h has, as functions that do nothing.

    What is linked to it asks for libcuda.so.1, which is the driver's: no loader looks into that folder.
    ToolError where it cannot be made.
    """
    header, stub = home / "include" / "cuda.h", home / "lib" / "stubs" / "libcuda.so"
    if not header.is_file():
        return
    names = sorted(set(DRIVER_NAME.findall(header.read_text(encoding="utf-8", errors="replace"))))
    text = "".join(f'extern "C" void {name}() {{}}\n' for name in names)
    try:
        stub.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=stub.parent) as folder:
            source, made = Path(folder, "stub.cpp"), Path(folder, stub.name)
            source.write_text(text, encoding="utf-8")
            command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(source), "-o", str(made)]
            done = run(command, env=environ, timeout_s=STUB_S)
            if done.status != 0:
                raise ToolError(
                    "the stub of the driver's library cannot be compiled", done.stderr.splitlines()
                )
            made.replace(stub)
    except OSError as error:
        raise ToolError("the stub of the driver's library cannot be made", [str(error)]) from error


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
