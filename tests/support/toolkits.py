"""Toolkits and compilers for tests: real folders with a real version.json, and small real programs."""

from __future__ import annotations

import json
from pathlib import Path

NVCC = """\
#!/bin/sh
case "$*" in
*--dryrun*) echo "#$ _HERE_={here}" >&2 ;;
*) echo "Cuda compilation tools, release {cuda}, V{cuda}.88" ;;
esac
"""


def program(path: Path, text: str) -> Path:
    """Write a shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def toolkit(home: Path, cuda: str, *, version: str = "json") -> Path:
    """Make a toolkit whose release stands in version.json, in version.txt, or is only known to its nvcc."""
    program(home / "bin" / "nvcc", NVCC.format(here=home / "bin", cuda=cuda))
    (home / "include").mkdir(exist_ok=True)
    (home / "include" / "cuda_runtime.h").touch()
    if version == "json":
        text = json.dumps({"cuda": {"name": "CUDA SDK", "version": f"{cuda}.1"}, "nvcc": {"version": "1.0"}})
        (home / "version.json").write_text(text, encoding="utf-8")
    elif version == "txt":
        (home / "version.txt").write_text(f"CUDA Version {cuda}.89\n", encoding="utf-8")
    return home


def gxx(folder: Path, name: str, version: str) -> Path:
    """Make a program that tells its version as GCC does."""
    return program(folder / name, f'#!/bin/sh\n[ "$1" = -dumpfullversion ] && echo {version}\n')
