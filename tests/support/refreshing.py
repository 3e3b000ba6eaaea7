"""`cudaenv matrix refresh` on copies of the shipped tables, with all places on the loopback."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.index import IndexServer, World
from tests.support.planning import ROOT
from tests.support.project import Done, Project, make_project
from tests.support.registry import Registry, Row, conda_record, release_wheels, rows_of, torch_wheels

SHIPPED = ROOT / "matrix"
DATE = "2026-11-21"
"""The day that tests measure on; the shipped tables were read on another."""
SHIPPED_ON = "2026-11-20"
"""The day that sources of the shipped tables were read."""


TORCH, VISION, TRITON = "packages/torch", "packages/torchvision", "packages/triton"
"""Tables."""

NEW = {
    "version": "2.16.0",
    "variant": "cu132",
    "platform": "linux-64",
    "pythons": "3.12 3.13 3.14 3.15 3.16",
    "sms": "7.5 8.0 9.0 10.0 12.0",
    "glibc": "2.34",
    "cudnn": "9.30.0.1",
    "nccl": "2.31.2",
    "triton": "==3.10.0",
    "cxx": "20",
    "cxx11_abi": "1",
    "source": "wheels",
    "basis": "measured",
    "read": DATE,
}
NEW_VISION = {
    "version": "0.30.0",
    "torch": "==2.16.0",
    "released_with": "2.16.0",
    "cuda": "13",
    "platforms": "linux-64",
    "pythons": "3.12 3.13 3.14 3.15 3.16",
    "source": "wheels",
    "basis": "measured",
    "read": DATE,
}
NEW_TRITON = {
    "version": "3.10.0",
    "torch": "==2.16.0",
    "platforms": "linux-64",
    "pythons": "3.12 3.13 3.14 3.15 3.16",
    "source": "wheels",
    "published": "torch-metadata",
    "basis": "measured",
    "read": DATE,
}

CHANNELS = {
    "conda-forge": ("linux-64", "linux-aarch64", "win-64"),
    "nvidia": ("linux-64", "linux-aarch64", "win-64"),
    "pytorch": ("linux-64", "win-64"),
}


@dataclass
class Bench:
    """A folder of tables, the places that they are measured at, and the program."""

    tables: Path
    registry: Registry
    project: Project

    def refresh(self, *arguments: str, status: int = 0, date: str = DATE) -> Done:
        """Run `cudaenv matrix refresh ARGUMENTS` with all places at the registry."""
        options = [*self.registry.mirrors(), *(["--date", date] if date else [])]
        return self.project.run("matrix", "refresh", *arguments, *options, status=status)

    def plan(self, *arguments: str) -> str:
        """The plan for a new machine."""
        machine = ("--gpu", "RTX 4090", "--driver", "615.71.09", "--glibc", "2.39", "--python", "3.12")
        return self.project.run("plan", *machine, *arguments).out

    def files(self) -> dict[str, bytes]:
        """Everything in the folder of tables."""
        return contents(self.tables)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def make_bench(folder: Path) -> Iterator[Bench]:
    """A bench in a folder, whose tables are those that ship with the program, and whose places are empty."""
    served = folder / "served"
    served.mkdir()
    tables = folder / "matrix"
    shutil.copytree(SHIPPED, tables, ignore=shutil.ignore_patterns("README.md"))
    with IndexServer(served) as server:
        project = make_project(folder, World(served, {}), server)
        project.environ |= {"CUDAENV_MATRIX": str(tables), "CUDAENV_DATA_DIR": str(folder / "data")}
        yield Bench(tables, Registry(server, served), project)


def shipped_row(table: str, **cells: str) -> Row:
    """The one shipped row with these cells."""
    (row,) = (row for row in rows_of(SHIPPED, table) if cells.items() <= row.items())
    return row


def new_rows(bench: Bench, table: str) -> list[Row]:
    """The rows that the shipped table does not have like this."""
    shipped = rows_of(SHIPPED, table)
    return [row for row in rows_of(bench.tables, table) if row not in shipped]


def from_pypi(version: str) -> list[Row]:
    """The shipped rows of a torch release on PyPI."""
    return [row for row in rows_of(SHIPPED, TORCH) if row["version"] == version and "index" not in row]


def put_releases(bench: Bench, *versions: str) -> None:
    """Put releases of torch and what belongs to them on the default index, as the shipped rows have them."""
    days = {"2.14.1": ("2026-09-16", "0.29.1", "3.8.0"), "2.15.0": ("2026-10-28", "0.29.2", "3.9.0")}
    for version in versions:
        day, vision, triton = days[version]
        bench.registry.pypi([wheel for row in from_pypi(version) for wheel in torch_wheels(row)], day)
        bench.registry.pypi(release_wheels("torchvision", shipped_row(VISION, version=vision)), day)
        bench.registry.pypi(release_wheels("triton", shipped_row(TRITON, version=triton)), day)


def put_2_16(bench: Bench) -> None:
    put_releases(bench, "2.15.0")
    bench.registry.pypi(torch_wheels(NEW), "2026-11-20")
    bench.registry.pypi(release_wheels("torchvision", NEW_VISION), "2026-11-20")
    bench.registry.pypi(release_wheels("triton", NEW_TRITON), "2026-11-20")


def put_builds(bench: Bench) -> None:
    """Put builds on the variant indexes that the shipped tables know from documents, and one more."""
    put_releases(bench, "2.14.1")
    builds = [row for row in rows_of(SHIPPED, TORCH) if row.get("index") == "pytorch"]
    for variant, version, platform in (
        ("cpu", "2.14.1", "linux-64"),
        ("cu118", "2.7.1", "linux-64"),
        ("cu126", "2.14.1", "linux-aarch64"),
    ):
        wanted = {"version": version, "variant": variant, "platform": platform}
        wheels = [wheel for row in builds if wanted.items() <= row.items() for wheel in torch_wheels(row)]
        bench.registry.pytorch(variant, wheels)
    windows = [row for row in builds if row["source"] == "builder-windows"]
    other = (
        '<a href="/whl/cu117/torch-2.0.1%2Bcu117.with.pypi.cudnn-cp310-cp310-linux_x86_64.whl">torch</a>\n'
    )
    bench.registry.pytorch("cu117", [wheel for row in windows for wheel in torch_wheels(row)], other)
    carried = shipped_row(TORCH, version="2.14.1", variant="cu130", platform="linux-64")
    new = {**carried, "version": "2.15.1", "index": "pytorch", "triton": "~=3.9.0"}
    bench.registry.pytorch("cu130", [*torch_wheels({**carried, "index": "pytorch"}), *torch_wheels(new)])


def put_channels(bench: Bench) -> None:
    """Write channels in which conda-forge alone has something new."""
    for channel, platforms in CHANNELS.items():
        for platform in platforms:
            bench.registry.channel(
                channel, platform, conda_record("zlib", "1.3.1", "hb9d3cd8_2", platform=platform)
            )
    cuda = ("__cuda", "__glibc >=2.28,<3.0.a0", "cuda-version >=13.2,<14", "libcudnn >=9.26.0.51,<10.0a0")
    records = [
        conda_record(
            "pytorch",
            "2.15.0",
            f"cuda132_mkl_py{python.replace('.', '')}_h6b7d41d_300",
            *cuda,
            f"python_abi {python}.* *_cp{python.replace('.', '')}",
            platform="linux-64",
        )
        for python in ("3.12", "3.13")
    ]
    bench.registry.channel("conda-forge", "linux-64", *records)


def patched(text: str, difference: str) -> str:
    """A text after a unified diff without context. AssertionError where the diff is not one of this text."""
    lines, old = [], text.splitlines()
    at = 0
    expected = (0, 0)
    for line in difference.splitlines():
        hunk = re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line)
        if hunk:
            assert expected == (0, 0)
            first, removed, _, added = (1 if part is None else int(part) for part in hunk.groups())
            # What is only added stands behind the line that the hunk names.
            start = first - 1 if removed else first
            lines += old[at:start]
            at, expected = start, (removed, added)
        elif line.startswith("-"):
            assert old[at] == line[1:]
            at, expected = at + 1, (expected[0] - 1, expected[1])
        else:
            assert line.startswith("+")
            lines.append(line[1:])
            expected = (expected[0], expected[1] - 1)
    assert expected == (0, 0)
    return "".join(f"{line}\n" for line in [*lines, *old[at:]])


def difference_of(out: str, table: str) -> str:
    """The part of standard output that is the diff of a table, without the lines that name it."""
    parts = re.split(r"^--- a/(\S+)\.yaml\n\+\+\+ b/\1\.yaml\n", out, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return found[table]
