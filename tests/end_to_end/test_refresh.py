"""`cudaenv matrix refresh`: new releases and builds reach the tables and the plans, from every place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.planning import ROOT
from tests.support.refreshing import (
    DATE,
    NEW,
    NEW_TRITON,
    NEW_VISION,
    SHIPPED,
    SHIPPED_ON,
    TORCH,
    TRITON,
    VISION,
    Bench,
    contents,
    difference_of,
    make_bench,
    new_rows,
    patched,
    put_2_16,
    put_builds,
    put_channels,
    put_releases,
    shipped_row,
)
from tests.support.registry import (
    Row,
    image_tags,
    rows_of,
    without_rows,
    xformers_wheel,
)

MEASURED_2_15 = r'^- \{version: "2\.15\.0", .*basis: "measured"'
VISION_0_29_2, TRITON_3_9 = r'^- \{version: "0\.29\.2"', r'^- \{version: "3\.9\.0"'


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with make_bench(tmp_path) as made:
        yield made


def forget_2_15(folder: Path) -> dict[str, str]:
    """Remove the measured rows of torch 2.15.0 and what belongs to it; return what refreshing has to make.

    Those are the texts that were there, but for two notes: a row that is gone takes its note with it.
    """
    patterns = {TORCH: MEASURED_2_15, VISION: VISION_0_29_2, TRITON: TRITON_3_9}
    texts = {name: without_rows(folder / f"{name}.yaml", pattern) for name, pattern in patterns.items()}
    return {
        name: re.sub(rf"({patterns[name]}.*), note: .*\}}$", r"\1}", text, flags=re.MULTILINE)
        for name, text in texts.items()
    }


# New releases.


def test_a_release_that_was_removed_comes_back_and_is_planned_again(bench: Bench) -> None:
    put_releases(bench, "2.14.1", "2.15.0")
    expected = forget_2_15(bench.tables)
    assert "torch 2.14.1+cu130 " in bench.plan("-p", "torch", "-p", "torchvision")
    since = ("--since", "2026-10-01")
    done = bench.refresh(
        "torch", "torchvision", "triton", "--from", "pypi", *since, "--write", date=SHIPPED_ON
    )
    shipped = contents(SHIPPED)
    del shipped["README.md"]
    assert bench.files() == shipped | {f"{name}.yaml": text.encode() for name, text in expected.items()}
    assert re.search(r"^packages/torch: 4 added$", done.err, re.MULTILINE)
    plan = bench.plan("-p", "torch", "-p", "torchvision")
    assert "torch 2.15.0+cu132 " in plan
    assert "torchvision 0.29.2" in plan
    assert bench.project.run("matrix", "check").out.endswith("every invariant holds\n")


def test_a_release_that_nobody_knew_is_planned_with_what_belongs_to_it(bench: Bench) -> None:
    put_2_16(bench)
    before = bench.files()
    tables = ("torch", "torchvision", "triton", "--from", "pypi", "--since", "2026-11-01")
    shown = bench.refresh(*tables)
    assert bench.files() == before
    done = bench.refresh(*tables, "--write")
    assert done.out == shown.out
    added = {TORCH: NEW, VISION: NEW_VISION, TRITON: NEW_TRITON}
    for table, row in added.items():
        name = f"{table}.yaml"
        (line,) = difference_of(done.out, table).splitlines()[1:]
        # The cells in their order, and nothing else in the file.
        cells = ", ".join(f'{column}: "{text}"' for column, text in row.items())
        assert line == f"+- {{{cells}}}"
        assert patched(before[name].decode(), difference_of(done.out, table)) == bench.files()[name].decode()
    assert {name for name, data in bench.files().items() if data != before[name]} == {
        f"{table}.yaml" for table in added
    }
    plan = bench.plan("-p", "torch", "-p", "torchvision")
    assert "torch 2.16.0+cu132 " in plan
    assert "torchvision 0.30.0" in plan
    document = json.loads(bench.plan("-p", "torch", "--json"))
    assert "packages/torch 2.16.0 cu132 linux-64" in json.dumps(document)


@pytest.mark.online
def test_a_release_that_was_removed_comes_back_from_the_real_pypi(tmp_path: Path) -> None:
    tables = tmp_path / "matrix"
    shutil.copytree(SHIPPED, tables, ignore=shutil.ignore_patterns("README.md"))
    expected = forget_2_15(tables)
    own = {"CUDAENV_MATRIX": str(tables), "CUDAENV_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cudaenv", *arguments],
            env={**os.environ, **own},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    plan = ("plan", "--gpu", "RTX 4090", "--driver", "615.71.09", "--python", "3.12", "-p", "torch==2.15.0")
    assert run(*plan).returncode == 3
    options = ("--from", "pypi", "--since", "2026-10-01", "--date", SHIPPED_ON, "--write")
    done = run("matrix", "refresh", "torch", "torchvision", "triton", *options)
    assert done.returncode == 0, done.stderr
    for table, text in expected.items():
        found = (tables / f"{table}.yaml").read_text(encoding="utf-8").splitlines()
        # Releases that came out after the tables were made are there, too.
        new = [line for line in found if line not in text.splitlines()]
        assert [line for line in found if line not in new] == text.splitlines()
        assert all(line.startswith("- {version: ") for line in new)
    assert "torch 2.15.0+cu132 " in run(*plan).stdout


# The other places.


def test_builds_on_pytorchs_own_indexes_replace_what_documents_said(bench: Bench) -> None:
    put_builds(bench)
    before = bench.files()
    old = before[f"{TORCH}.yaml"].decode()
    shown = bench.refresh("torch", "--from", "pytorch")
    assert bench.files() == before
    assert "measuring packages/torch from pytorch" in shown.err.splitlines()
    assert shown.err.splitlines()[-1] == "packages/torch: 1 added, 7 changed"
    written = bench.refresh("torch", "--from", "pytorch", "--write")
    assert written.out == shown.out
    assert written.err.splitlines()[-1] == f"written to {bench.tables}"
    after = bench.files()
    assert [name for name, data in after.items() if data != before[name]] == [f"{TORCH}.yaml"]
    assert patched(old, difference_of(written.out, TORCH)) == after[f"{TORCH}.yaml"].decode()
    assert re.search(r"^-  builder-windows:$", shown.out, re.MULTILINE)
    assert re.search(
        rf'^\+  index-wheels:\n\+    artefact: .*\n.*\n\+    read: "{DATE}"$', shown.out, re.MULTILINE
    )
    assert bench.project.run("matrix", "check").status == 0


CITING = {"source", "published", "basis"}


def key_of(row: Row) -> tuple[str, ...]:
    return row["version"], row["variant"], row["platform"]


def test_rows_of_pytorchs_own_indexes_say_what_the_wheels_say(bench: Bench) -> None:
    put_builds(bench)
    bench.refresh("torch", "--from", "pytorch", "--write")
    before, after, new = rows_of(SHIPPED, TORCH), rows_of(bench.tables, TORCH), new_rows(bench, TORCH)
    measured = {"source": "index-wheels", "basis": "measured"}
    # The day of these rows is that of their source, which is new.
    assert all(measured.items() <= row.items() and "read" not in row for row in new)
    (added,) = (row for row in new if row["version"] == "2.15.1")
    assert (added["variant"], added["platform"], added["index"]) == ("cu130", "linux-64", "pytorch")
    assert (added["cudnn"], added["triton"], added["cxx"]) == ("9.24.0.43", "~=3.9.0", "20")
    new.remove(added)
    known = {key_of(row): row for row in before}
    for row in new:
        stayed = {key: text for key, text in known[key_of(row)].items() if key not in CITING}
        assert stayed.items() <= row.items()
    (noted,) = (row for row in new if row["version"] == "2.7.1")
    assert noted["note"] == shipped_row(TORCH, version="2.7.1", variant="cu118", platform="linux-64")["note"]
    # What the default index carries in the same variant has no row of its own.
    assert [row for row in after if row["version"] == "2.14.1" and row["variant"] == "cu130"] == [
        row for row in before if row["version"] == "2.14.1" and row["variant"] == "cu130"
    ]


def test_xformers_on_a_variant_index(bench: Bench) -> None:
    put_releases(bench, "2.15.0")
    known = shipped_row("packages/xformers", version="0.0.35", variant="cu130")
    new = {**known, "version": "0.0.36", "torch": ">=2.14", "built_with": "2.14.1"}
    bench.registry.pytorch("cu130", [xformers_wheel(known), xformers_wheel(new)])
    bench.refresh("xformers", "--from", "pytorch", "--write")
    measured = {"platforms": "linux-64", "source": "wheels", "basis": "measured", "read": DATE}
    rows = new_rows(bench, "packages/xformers")
    gone = {"published", "ptx"}  # cpp_lib.json of these wheels lists no PTX
    assert rows == [
        {key: text for key, text in {**row, **measured}.items() if key not in gone} for row in (known, new)
    ]
    assert bench.project.run("matrix", "check").status == 0


def test_the_wheel_pages_of_openmmlab(bench: Bench) -> None:
    names = [
        f"mmcv-2.2.0-{python}-{python}-{end}.whl"
        for python in ("cp310", "cp311", "cp38", "cp39")
        for end in ("manylinux1_x86_64", "win_amd64")
    ]
    bench.registry.openmmlab("cu121", "2.1", *names, "mmcv-2.2.0-cp312-cp312-manylinux1_x86_64.whl")
    bench.registry.openmmlab("cu128", "2.8", "mmcv-2.2.1-cp312-cp312-manylinux_2_28_x86_64.whl")
    done = bench.refresh("mmcv", "--from", "openmmlab", "--write")
    assert "packages/mmcv: 1 added, 1 changed" in done.err.splitlines()
    rows = new_rows(bench, "packages/mmcv")
    cells = {"index": "openmmlab", "source": "wheel-pages", "basis": "measured"}
    assert rows == [
        {
            "version": "2.2.0",
            "variant": "cu121",
            "torch": "==2.1.*",
            "cuda": "12.1",
            "platforms": "linux-64 win-64",
            "pythons": "3.8 3.9 3.10 3.11",
            "note": "there are also wheels for linux-64: 3.12",
            **cells,
        },
        {
            "version": "2.2.1",
            "variant": "cu128",
            "torch": "==2.8.*",
            "cuda": "12.8",
            "platforms": "linux-64",
            "pythons": "3.12",
            **cells,
        },
    ]
    assert bench.project.run("matrix", "check").status == 0


def test_a_conda_channel(bench: Bench) -> None:
    put_channels(bench)
    done = bench.refresh("conda-builds", "--since", "2026-11-01", "--write")
    assert done.err.splitlines()[-2] == "conda-builds: 1 added"
    (row,) = new_rows(bench, "conda-builds")
    assert row == {
        "channel": "conda-forge",
        "package": "pytorch",
        "version": "2.15.0",
        "variant": "cu132",
        "platform": "linux-64",
        "pythons": "3.12 3.13",
        "build": "cuda132_mkl_py*",
        "cudnn": "9.26.0.51",
        "glibc": "2.28",
        "needs_cuda": "*",
        "source": "repodata",
        "basis": "measured",
        "read": DATE,
    }


def test_the_tags_of_an_image_registry(bench: Bench) -> None:
    bench.registry.tags(
        image_tags("13.4.1", "ubuntu24.04", "base runtime devel cudnn-runtime cudnn-devel"),
        [*image_tags("12.9.2", "rockylinux9"), *image_tags("12.9.1", "rockylinux9")],
    )
    done = bench.refresh("images", "--write")
    changed = new_rows(bench, "images")
    assert {(row["release"], row["os"], row["flavours"]) for row in changed} == {
        ("13.4.1", "ubuntu24.04", "base runtime devel cudnn-runtime cudnn-devel"),
        ("12.9.2", "rockylinux9", "base runtime devel"),
    }
    assert all(row["source"] == "docker-hub" and row["basis"] == "measured" for row in changed)
    assert f"written to {bench.tables}" in done.err.splitlines()
    assert "13.4.1" in bench.project.run("matrix", "show", "images").out
