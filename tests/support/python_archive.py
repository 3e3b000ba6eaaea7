"""Run in an image: archives its own Python as uv fetches them, and lists it with its hash."""

import hashlib
import json
import platform
import shutil
import sys
from pathlib import Path

PLACE = Path("/opt/pythons")
LIST = PLACE / "downloads.json"
"""What UV_PYTHON_DOWNLOADS_JSON_URL names."""


def main() -> None:
    """Copy the program and its library to where archives have them, and list them."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    tree = PLACE / "tree" / "python"
    (tree / "bin").mkdir(parents=True)
    shutil.copy(f"/usr/bin/{name}", tree / "bin")
    shutil.copytree(f"/usr/lib/{name}", tree / "lib" / name, ignore_dangling_symlinks=True)
    archive = Path(shutil.make_archive(str(PLACE / name), "gztar", tree.parent))
    shutil.rmtree(tree.parent)
    LIST.write_text(json.dumps(_listed(archive)))


def _listed(archive: Path) -> dict[str, object]:
    version, machine = platform.python_version(), platform.machine()
    entry = {
        "name": "cpython",
        "arch": {"family": machine, "variant": None},
        "os": "linux",
        "libc": "gnu",
        **dict(zip(("major", "minor", "patch"), sys.version_info[:3], strict=True)),
        "prerelease": "",
        "url": archive.as_uri(),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
        "build": "20261125",
    }
    return {f"cpython-{version}-linux-{machine}-gnu": entry}


if __name__ == "__main__":
    main()
