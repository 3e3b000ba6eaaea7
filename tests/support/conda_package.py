"""Real conda packages for tests, built in memory: `.conda` and `.tar.bz2`."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from tests.support.wheels import Wheel

PREFIX = "/placeholder_of_the_prefix_" * 4
"""What stands in a file for the folder that it will be installed into."""

TIMESTAMP = 1_764_000_000_000
"""When every package was built, in milliseconds: the same arguments give the same bytes."""


@dataclass(frozen=True)
class Link:
    """A file that is a symbolic link to another one, relative to its own folder."""

    target: str


Files = Mapping[str, bytes | Link]


@dataclass(frozen=True, eq=False)
class CondaPackage:
    """A package of `files`, for a platform or `noarch`; the build number is the end of `build`.

    A file that contains `PREFIX` gets the folder that it is installed into in its place; what lies in `bin`
    is executable. `python` says that one build serves all Pythons: its files begin with `site-packages/`.
    """

    name: str
    version: str
    build: str
    subdir: str = "noarch"
    depends: Sequence[str] = ()
    constrains: Sequence[str] = ()
    files: Files = field(default_factory=dict, repr=False)
    python: bool = False
    kind: Literal["conda", "tar.bz2"] = "conda"
    features: str = ""

    @property
    def filename(self) -> str:
        """The file name: `pytorch-2.12.0-cuda130_mkl_py312_h1234567_300.conda`."""
        return f"{self._stem}.{self.kind}"

    @property
    def record(self) -> dict[str, Any]:
        """What `info/index.json` and repodata say of it, but for hashes and size."""
        number = re.search(r"\d+$", self.build)
        return {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": int(number[0]) if number else 0,
            "depends": list(self.depends),
            "constrains": list(self.constrains),
            "subdir": self.subdir,
            "timestamp": TIMESTAMP,
            **self._noarch(),
            **({"track_features": self.features} if self.features else {}),
        }

    @cached_property
    def data(self) -> bytes:
        """The whole file."""
        info = {path: json.dumps(document).encode() for path, document in self._info().items()}
        if self.kind == "tar.bz2":
            return bz2.compress(_tar({**info, **self.files}), 1)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            _store(archive, "metadata.json", b'{"conda_pkg_format_version": 2}')
            _store(archive, f"pkg-{self._stem}.tar.zst", zstd(_tar(self.files)))
            _store(archive, f"info-{self._stem}.tar.zst", zstd(_tar(info)))
        return buffer.getvalue()

    @cached_property
    def sha256(self) -> str:
        """The hash that repodata and locks state, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def write(self, channel: Path) -> Path:
        """Put the file into the folder of its platform in a channel's; return its path."""
        folder = channel / self.subdir
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.filename
        path.write_bytes(self.data)
        return path

    @property
    def _stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    def _noarch(self) -> dict[str, str]:
        if self.python:
            return {"noarch": "python"}
        return {"noarch": "generic"} if self.subdir == "noarch" else {}

    def _info(self) -> dict[str, Any]:
        link = {"noarch": {"type": "python"}, "package_metadata_version": 1}
        paths = [_path_entry(path, content) for path, content in self.files.items()]
        return {
            "info/index.json": self.record,
            "info/paths.json": {"paths": paths, "paths_version": 1},
            **({"info/link.json": link} if self.python else {}),
        }


def build_string(pattern: str, *what: object) -> str:
    """A build string by a pattern with `{hash}` in it: a hash of what the build is of."""
    return pattern.format(hash=hashlib.sha256(repr(what).encode()).hexdigest()[:7])


def stand_in(
    name: str,
    version: str,
    subdir: str = "noarch",
    depends: Sequence[str] = (),
    constrains: Sequence[str] = (),
) -> CondaPackage:
    """A package of nothing but a file with its version."""
    build = build_string("h{hash}_0", name, version, subdir, depends)
    files = {f"share/{name}/VERSION": version.encode()}
    return CondaPackage(name, version, build, subdir, depends, constrains, files)


def site_packages(python: str, subdir: str) -> str:
    """Where modules lie in a prefix."""
    return "Lib/site-packages" if subdir == "win-64" else f"lib/python{python}/site-packages"


def below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Put files into a folder."""
    return {f"{folder}/{path}": content for path, content in files.items()}


def distribution(name: str, version: str, requires: Sequence[str] = ()) -> dict[str, bytes]:
    """The `.dist-info` of a package of Python that conda installed, below site-packages."""
    metadata = Wheel(name, version, "py3-none-any", requires).metadata
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    return {f"{folder}/METADATA": metadata, f"{folder}/INSTALLER": b"conda\n", f"{folder}/RECORD": b""}


def _path_entry(path: str, content: bytes | Link) -> dict[str, Any]:
    target = content.target.encode() if isinstance(content, Link) else content
    entry: dict[str, Any] = {
        "_path": path,
        "path_type": "softlink" if isinstance(content, Link) else "hardlink",
        "sha256": hashlib.sha256(target).hexdigest(),
        "size_in_bytes": len(target),
    }
    if PREFIX.encode() in target:
        entry |= {"file_mode": "text", "prefix_placeholder": PREFIX}
    return entry


def _tar(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.mode = 0o755 if path.startswith("bin/") else 0o644
            if isinstance(content, Link):
                member.type, member.linkname = tarfile.SYMTYPE, content.target
                archive.addfile(member)
            else:
                member.size = len(content)
                # Python takes a compiled module for that of a source by the source's time and size.
                member.mtime = zlib.crc32(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0))
    info.create_system = 3  # Unix; ZipInfo would note the system it runs on
    info.external_attr = 0o100644 << 16
    archive.writestr(info, content)


@cache
def _compressor() -> Any:
    import zstandard  # conda-lock brings it

    return zstandard.ZstdCompressor(level=1)


def zstd(data: bytes) -> bytes:
    """Compress data as repodata and the parts of a package are."""
    compressed: bytes = _compressor().compress(data)
    return compressed


def unzstd(data: bytes) -> bytes:
    """Undo `zstd`, for files that do not say how large they were, too."""
    import zstandard

    plain: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return plain
