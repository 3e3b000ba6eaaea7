"""Small registries that say what rows of the matrix say: what `cudaenv matrix refresh` is tested on."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import yaml

from tests.support.index import IndexServer, write_index
from tests.support.wheels import Wheel, compiled_wheel

Row = Mapping[str, str]

PLACES = {"default": "simple", "pytorch": "whl", "openmmlab": "mmcv/dist", "conda": "conda", "images": "hub"}
"""The folders of a registry, by the names that `--index` knows."""

TAGS = "/hub/v2/repositories/nvidia/cuda/tags?page_size=100&page={page}"

_MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
# What libc10.so exports for c10::Error, with the string of each ABI.
_STRINGS = {
    "0": b"\0_ZN3c105ErrorC1ENS_14SourceLocationESs\0",
    "1": b"\0_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE\0",
}


def rows_of(folder: Path, table: str) -> list[Row]:
    """The rows of a table in a folder of tables."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (folder / f"{table}.yaml").read_text(encoding="utf-8")
    rows: list[Row] = yaml.load(text, Loader=loader)["rows"]  # noqa: S506  safe ones, both
    return rows


def torch_wheels(row: Row, changes: Mapping[str, bytes] | None = None) -> list[Wheel]:
    """Wheels of torch from which this row can be measured, one for each of its Pythons.

    `changes` are members that they have instead of their own.
    """
    version, variant, platform = row["version"], row["variant"], row["platform"]
    cuda = f"{variant[2:4]}.{variant[4:]}" if variant.startswith("cu") else None
    files = {
        "torch/version.py": (
            "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda']\n"
            f"__version__ = '{version}+{variant}'\ndebug = False\ncuda: Optional[str] = {cuda!r}\n"
        ).encode(),
        "torch/include/ATen/ATen.h": (
            f"#error C++{row.get('cxx', '17')} or later compatible compiler is required to use ATen.\n"
        ).encode(),
    }
    if platform in _MACHINES:
        files["torch/lib/libc10.so"] = _STRINGS[row.get("cxx11_abi", "1")]
    if cuda:
        flags = " ".join(f"sm_{sm.replace('.', '')}" for sm in row["sms"].split())
        library = "torch_python.dll" if platform == "win-64" else "libtorch_python.so"
        files[f"torch/lib/{library}"] = f"invalid device\0{flags}\0more".encode()
    pins = [
        f"nvidia-{name}-cu{variant[2:4]}=={row[name]}; platform_system == 'Linux'"
        for name in ("cudnn", "nccl")
        if name in row
    ]
    pins += [f"triton{row['triton']}; platform_system == 'Linux'"] if "triton" in row else []
    label = f"{version}+{variant}" if "index" in row else version
    oldest = row["pythons"].split()[0]
    return [
        Wheel("torch", label, tag, ["filelock", *pins], f">={oldest}", {**files, **(changes or {})})
        for tag in _tags(row, platform)
    ]


def release_wheels(project: str, row: Row) -> list[Wheel]:
    """Wheels of torchvision or triton from which this row can be measured, for all its platforms."""
    requires = [f"torch{row['torch']}"] if "released_with" in row else []
    major = int(row["cuda"]) if "cuda" in row else None
    return [
        compiled_wheel(project, row["version"], tag, major, requires, requires_python=">=3.6")
        for platform in row["platforms"].split()
        for tag in _tags({"glibc": "2.28", "macos": "14.0", **row}, platform)
    ]


def xformers_wheel(row: Row) -> Wheel:
    """The wheel of xformers from which a row of a variant index can be measured."""
    major, minor = row["cuda"].split(".")
    targets = [*row["sms"].split(), *(f"{sm}a" for sm in row["exact"].split())]
    library = {
        "version": {"cuda": int(major) * 100 + int(minor), "torch": f"{row['built_with']}+{row['variant']}"},
        "env": {"TORCH_CUDA_ARCH_LIST": " ".join(targets)},
    }
    return Wheel(
        "xformers",
        f"{row['version']}+{row['variant']}",
        "cp39-abi3-manylinux_2_28_x86_64",
        [f"torch{row['torch']}"],
        ">=3.9",
        {"xformers/cpp_lib.json": json.dumps(library).encode()},
    )


def _tags(row: Row, platform: str) -> list[str]:
    pythons = [f"cp{python.replace('.', '')}" for python in row["pythons"].split()]
    if platform == "osx-arm64":
        return [f"{python}-none-macosx_{row['macos'].replace('.', '_')}_arm64" for python in pythons]
    end = "win_amd64"
    if platform in _MACHINES:
        glibc = row["glibc"]
        floor = "manylinux2014" if glibc == "2.17" else f"manylinux_{glibc.replace('.', '_')}"
        end = f"{floor}_{_MACHINES[platform]}"
    return [f"{python}-{python}-{end}" for python in pythons]


def image_tags(release: str, os: str, flavours: str = "base runtime devel") -> list[dict[str, object]]:
    """The tags of a release on an operating system, as Docker Hub's API lists them."""
    images = [
        {"architecture": name, "os": system, "variant": None, "digest": "sha256:0", "status": "active"}
        for known in ("amd64", "arm64")
        for name, system in ((known, "linux"), ("unknown", "unknown"))
    ]
    return [
        {"name": f"{release}-{flavour}-{os}", "images": images, "tag_status": "active"}
        for flavour in flavours.split()
    ]


def conda_record(package: str, version: str, build: str, *depends: str, platform: str) -> dict[str, object]:
    """A record of November 2026, as repodata have it."""
    return {
        "name": package,
        "version": version,
        "build": build,
        "build_number": int(build.rpartition("_")[2]),
        "depends": list(depends),
        "subdir": platform,
        "timestamp": 1_794_000_000_000,
        "md5": "0" * 32,
        "sha256": "0" * 64,
    }


@dataclass
class Registry:
    """All places that are measured, in the folder of a server: see `PLACES`."""

    server: IndexServer
    folder: Path
    _listed: dict[str, list[Wheel]] = field(default_factory=dict)
    _days: dict[str, str] = field(default_factory=dict)
    _yanked: set[str] = field(default_factory=set)
    _withdrawn: dict[str, list[Wheel]] = field(default_factory=dict)

    def url(self, place: str) -> str:
        """The address of a place."""
        return f"{self.server.url}/{PLACES[place]}"

    def mirrors(self, *places: str) -> list[str]:
        """The options that lead `cudaenv matrix refresh` to these places, to all of them by default."""
        return [part for place in places or PLACES for part in ("--index", f"{place}={self.url(place)}")]

    def pypi(self, wheels: Sequence[Wheel], day: str) -> None:
        """Put wheels on the default index, uploaded on a day; its pages are JSON, as PyPI's are."""
        for wheel in wheels:
            self._listed.setdefault(wheel.project, []).append(wheel)
            self._days[wheel.filename] = day
        self._write_pages({wheel.project for wheel in wheels})

    def withdraw(self, project: str, version: str, *, yank: bool = False) -> None:
        """Take a release from the default index, or mark it as yanked."""
        gone = [wheel for wheel in self._listed[project] if wheel.version == version]
        if yank:
            self._yanked |= {wheel.filename for wheel in gone}
        else:
            self._withdrawn.setdefault(project, self._listed[project])
            self._listed[project] = [wheel for wheel in self._listed[project] if wheel not in gone]
        self._write_pages({project})

    def restore(self, project: str) -> None:
        """List all files of a project again."""
        self._listed[project] = self._withdrawn.pop(project, self._listed[project])
        self._yanked.clear()
        self._write_pages({project})

    def _write_pages(self, projects: Iterable[str]) -> None:
        wheels = [wheel for project in projects for wheel in self._listed[project]]
        days, yanked = self._days, self._yanked
        write_index(self.folder / "simple", wheels, pages="json", uploaded=days, yanked=yanked)

    def pytorch(self, variant: str, wheels: Sequence[Wheel], *more: str) -> Path:
        """Write a page of a variant index as PyTorch's are: files lie beside the folder of the page.

        Every second link leads to the other host that PyTorch's own pages name. `more` are lines of the page.
        """
        folder = self.folder / "whl" / variant
        lines = []
        for number, wheel in enumerate(wheels):
            wheel.write(folder)
            host = "https://download-r2.pytorch.org" if number % 2 else ""
            address = f"{host}/whl/{variant}/{quote(wheel.filename)}#sha256={wheel.sha256}"
            metadata = f'data-dist-info-metadata="sha256={"0" * 64}"'
            lines.append(f'    <a href="{address}" {metadata}>{html.escape(wheel.filename)}</a><br/>\n')
        project = wheels[0].project
        page = (
            f"<!DOCTYPE html>\n<html>\n  <body>\n    <h1>Links for {project}</h1>\n"
            f"{''.join([*lines, *more])}  </body>\n</html>\n<!--TIMESTAMP 1794000000-->\n"
        )
        return _written(folder / project / "index.html", page)

    def openmmlab(self, variant: str, torch: str, *names: str) -> Path:
        """Write a page of wheels as OpenMMLab has them: nothing but links, each with its address as text."""
        lines = [f'<a href="./{name}">./{name}</a><br>\n' for name in names]
        return _written(
            self.folder / "mmcv/dist" / variant / f"torch{torch}.0" / "index.html", "".join(lines)
        )

    def channel(self, name: str, platform: str, *records: Mapping[str, object]) -> Path:
        """Write the repodata of a conda channel for a platform."""
        packages = {f"{item['name']}-{item['version']}-{item['build']}.conda": item for item in records}
        document = {"info": {"subdir": platform}, "packages": {}, "packages.conda": packages}
        return _written(self.folder / "conda" / name / platform / "repodata.json", json.dumps(document))

    def tags(self, *pages: Sequence[Mapping[str, object]]) -> None:
        """Serve the tags of nvidia/cuda as Docker Hub's API does, by pages."""
        for number, entries in enumerate(pages, start=1):
            following = f"https://hub.docker.com/v2/next?page={number + 1}" if number < len(pages) else None
            page = {"count": 1, "next": following, "previous": None, "results": list(entries)}
            self.server.replace(TAGS.format(page=number), json.dumps(page).encode())


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def without_rows(path: Path, pattern: str) -> str:
    """Remove the rows of a table's file that have a match; return the text that it had before."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not re.search(pattern, line)), encoding="utf-8")
    return text
