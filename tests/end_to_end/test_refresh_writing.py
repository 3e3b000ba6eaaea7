"""`cudaenv matrix refresh --write`: what goes, what stays, where to, and all of it or nothing."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from datetime import date as date_type
from pathlib import Path

import pytest

from tests.end_to_end.test_kill import SUICIDAL, TEMPORARY
from tests.support.index import IndexServer
from tests.support.planning import ROOT
from tests.support.refreshing import (
    DATE,
    NEW,
    SHIPPED,
    SHIPPED_ON,
    TORCH,
    VISION,
    Bench,
    contents,
    from_pypi,
    make_bench,
    new_rows,
    put_2_16,
    put_builds,
    put_releases,
    shipped_row,
)
from tests.support.registry import (
    release_wheels,
    rows_of,
    torch_wheels,
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with make_bench(tmp_path) as made:
        yield made


# What goes, and what stays.


@pytest.fixture(scope="module")
def whole_torch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench whose default index has every release of torch that the shipped table has from PyPI."""
    with make_bench(tmp_path_factory.mktemp("whole")) as made:
        rows = [row for row in rows_of(SHIPPED, TORCH) if "index" not in row]
        made.registry.pypi([wheel for row in rows for wheel in torch_wheels(row)], "2026-01-01")
        yield made


@pytest.fixture
def whole(whole_torch: Bench) -> Iterator[Bench]:
    yield whole_torch
    whole_torch.registry.restore("torch")
    for name, data in contents(SHIPPED).items():
        if name != "README.md":
            (whole_torch.tables / name).write_bytes(data)


def test_what_says_the_same_stays_as_it_is(whole: Bench) -> None:
    before = whole.files()
    done = whole.refresh("torch", "--from", "pypi", "--write")
    assert done.out == ""
    assert done.err.splitlines()[-2] == "packages/torch: as it was"
    assert whole.files() == before


@pytest.mark.parametrize("yank", [False, True])
def test_releases_that_are_gone_are_removed_only_if_that_is_allowed(whole: Bench, yank: bool) -> None:
    before = whole.files()
    whole.registry.withdraw("torch", "2.13.0", yank=yank)
    shown = whole.refresh("torch", "--from", "pypi")
    assert shown.err.splitlines()[-1] == "packages/torch: 4 removed"
    refused = whole.refresh("torch", "--from", "pypi", "--write", status=7)
    assert refused.out == shown.out
    message = refused.err[refused.err.index("error: ") :].splitlines()
    assert message[0] == "error: 4 rows would be removed, so nothing was written"
    assert message[1:5] == [
        "  packages/torch 2.13.0 cpu osx-arm64",
        "  packages/torch 2.13.0 cpu win-64",
        "  packages/torch 2.13.0 cu130 linux-64",
        "  packages/torch 2.13.0 cu130 linux-aarch64",
    ]
    assert "--allow-removals" in message[-1]
    assert whole.files() == before
    whole.refresh("torch", "--from", "pypi", "--write", "--allow-removals")
    left = rows_of(whole.tables, TORCH)
    gone = [row for row in rows_of(SHIPPED, TORCH) if row not in left]
    assert gone == from_pypi("2.13.0")
    assert new_rows(whole, TORCH) == []


def test_with_since_nothing_is_gone(bench: Bench) -> None:
    put_releases(bench, "2.15.0")
    before = bench.files()
    done = bench.refresh("torch", "--from", "pypi", "--since", "2026-10-01", "--write")
    assert "packages/torch: as it was" in done.err.splitlines()
    assert bench.files() == before


def closed_address() -> str:
    """An address where nothing answers any more."""
    with IndexServer(SHIPPED) as server:
        return server.url


def test_a_place_that_is_down_is_skipped_and_its_rows_stay(bench: Bench) -> None:
    put_2_16(bench)
    down = ["--index", f"pytorch={closed_address()}/whl"]
    done = bench.project.run(
        *("matrix", "refresh", "torch", "--since", "2026-11-01", "--write", "--date", DATE),
        *bench.registry.mirrors("default"),
        *down,
    )
    (warning,) = (line for line in done.err.splitlines() if line.startswith("warning: "))
    assert re.match(r"warning: packages/torch from pytorch was not measured, its rows stay: ", warning)
    assert "http://127.0.0.1:" in warning
    assert new_rows(bench, TORCH) == [NEW]
    assert len(rows_of(bench.tables, TORCH)) == len(rows_of(SHIPPED, TORCH)) + 1


def test_it_fails_where_nothing_answers(bench: Bench) -> None:
    before = bench.files()
    down = closed_address()
    addresses = ("--index", f"default={down}/simple", "--index", f"pytorch={down}/whl")
    done = bench.project.run("matrix", "refresh", "torch", *addresses, "--write", status=6)
    message = done.err[done.err.index("error: ") :].splitlines()
    assert message[0] == "error: nothing could be measured"
    assert [line for line in message if f"{down}/simple/torch/" in line]
    assert done.out == ""
    assert bench.files() == before


def test_notes_and_curated_rows_stay_and_only_what_changed_is_dated_anew(bench: Bench) -> None:
    put_releases(bench, "2.14.1", "2.15.0")
    known = shipped_row(VISION, version="0.29.2")
    assert "note" in known
    changed = {**known, "platforms": "linux-64", "pythons": "3.11"}
    bench.registry.withdraw("torchvision", "0.29.2")
    bench.registry.pypi(release_wheels("torchvision", changed), "2026-10-28")
    bench.refresh("torchvision", "--from", "pypi", "--since", "2026-09-01", "--write")
    assert new_rows(bench, VISION) == [{**changed, "read": DATE}]
    # The day of the row is kept by later runs that find the same.
    before = bench.files()
    done = bench.refresh(
        "torchvision", "--from", "pypi", "--since", "2026-09-01", "--write", date="2026-12-24"
    )
    assert done.out == ""
    assert bench.files() == before


def test_a_row_that_changes_on_the_day_of_its_source_has_no_day_of_its_own(bench: Bench) -> None:
    put_2_16(bench)
    bench.refresh("torch", "--from", "pypi", "--since", "2026-11-01", "--write", date=SHIPPED_ON)
    assert new_rows(bench, TORCH) == [{key: text for key, text in NEW.items() if key != "read"}]


def test_new_rows_are_dated_today_unless_a_date_is_given(bench: Bench) -> None:
    put_2_16(bench)
    bench.refresh("torch", "--from", "pypi", "--since", "2026-11-01", "--write", date="")
    (row,) = new_rows(bench, TORCH)
    assert row.get("read", SHIPPED_ON) >= SHIPPED_ON
    assert abs(datetime.now(UTC).date() - date_type.fromisoformat(row.get("read", SHIPPED_ON))).days <= 1


# Where the tables go.


def test_without_a_folder_of_ones_own_the_tables_go_to_the_users_data(bench: Bench) -> None:
    put_2_16(bench)
    del bench.project.environ["CUDAENV_MATRIX"]
    data = bench.tables.parent / "data" / "matrix"
    assert "torch 2.15.0+cu132 " in bench.plan("-p", "torch")
    done = bench.refresh("torch", "--from", "pypi", "--since", "2026-11-01", "--write")
    assert done.err.splitlines()[-1] == f"written to {data}"
    assert contents(data).keys() == bench.files().keys() | {"shipped.sha256"}
    assert bench.project.run("matrix", "check").err == f"tables in {data}\n"
    assert "2.16.0" in bench.project.run("matrix", "show", "torch").out
    assert "torch 2.16.0+cu132 " in bench.plan("-p", "torch")
    # A folder that is named counts more.
    named = {"CUDAENV_MATRIX": str(bench.tables)}
    assert "2.16.0" not in bench.project.run("matrix", "show", "torch", env=named).out
    assert contents(SHIPPED) == contents(ROOT / "matrix")


def test_tables_made_from_those_of_another_release_are_not_used_and_made_anew(bench: Bench) -> None:
    put_2_16(bench)
    del bench.project.environ["CUDAENV_MATRIX"]
    data = bench.tables.parent / "data" / "matrix"
    refresh = ("torch", "--from", "pypi", "--since", "2026-11-01", "--write")
    bench.refresh(*refresh)
    made = contents(data)
    (data / "shipped.sha256").write_text("0" * 64 + "\n", encoding="utf-8")
    # That release had a table that this one has not.
    (data / "packages" / "gone.yaml").write_text("schema: 1\nrows: []\n", encoding="utf-8")
    done = bench.project.run("matrix", "check")
    note, folder = done.err.splitlines()
    assert note.startswith(f"note: the refreshed tables in {data} were made from those of another release")
    assert folder == f"tables in {SHIPPED}"
    assert "torch 2.15.0+cu132 " in bench.plan("-p", "torch")
    bench.refresh(*refresh)
    assert contents(data) == made
    assert bench.project.run("matrix", "check").err == f"tables in {data}\n"


def test_tables_that_would_not_hold_together_are_not_written(bench: Bench) -> None:
    put_releases(bench, "2.15.0")
    impossible = {**NEW, "variant": "cu139"}
    bench.registry.pypi(torch_wheels(impossible), "2026-11-20")
    before = bench.files()
    done = bench.refresh("torch", "--from", "pypi", "--since", "2026-11-01", "--write", status=7)
    assert "packages/torch 2.16.0 cu139 linux-64: CUDA 13.9 has no row in cuda" in done.err
    assert bench.files() == before


without_windows = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")


@without_windows
@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("moves", [0, 1, 3])
def test_a_kill_while_it_writes_leaves_all_old_tables_or_all_new_ones(
    bench: Bench, moves: int, chosen: bool
) -> None:
    """The new tables count from the first move on, that of the journal; the next command finishes."""
    put_2_16(bench)
    refresh = ("torch", "torchvision", "triton", "--from", "pypi", "--since", "2026-11-01", "--write")
    folder = bench.tables
    if not chosen:
        del bench.project.environ["CUDAENV_MATRIX"]
        folder = bench.tables.parent / "data" / "matrix"
        bench.refresh("triton", "--from", "pypi", "--since", "2026-12-01", "--write")
    old = contents(folder)
    options = [*refresh, *bench.registry.mirrors(), "--date", DATE]
    done = subprocess.run(
        [sys.executable, "-c", SUICIDAL, str(moves), str(folder), "matrix", "refresh", *options],
        env=bench.project.env(),
        cwd=bench.project.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    bench.project.run("matrix", "check")
    found = {name: data for name, data in contents(folder).items() if not name.startswith(TEMPORARY)}
    bench.refresh(*refresh)
    new = {name: data for name, data in contents(folder).items() if not name.startswith(TEMPORARY)}
    assert new.keys() == old.keys()
    assert new != old
    assert found == (new if moves else old)


# Mistakes.


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["torhc"], "there is no table `torhc`; did you mean `torch`?"),
        (["toolkit"], "there is no table `toolkit`; did you mean `toolkits`?"),
        (["packages/torchvison"], "there is no table `packages/torchvison`; did you mean"),
        (["gpus"], "nothing of gpus can be measured"),
        (["toolkits", "--from", "pytorch"], "nothing of toolkits can be measured from pytorch"),
        (["--from", "pytroch"], "there is no place `pytroch` to measure; did you mean `pytorch`?"),
        (["--since", "2026-13-01"], "--since"),
        (["--since", "yesterday"], "--since"),
        (["--date", "20.11.2026"], "--date"),
        (["--date", "1926-11-20"], "--date"),
        (["--index", "pytorhc=http://127.0.0.1:1"], "there is no index `pytorhc`; did you mean `pytorch`?"),
        (["--index", "defalt=http://127.0.0.1:1"], "there is no index `defalt`; did you mean `default`?"),
        (["--index", "pytorch"], "--index"),
        (["--index", "pytorch="], "index `pytorch`: not an https URL: ''"),
        (["--index", "default=ftp://mirror.example/simple"], "index `default`: not an https URL"),
        (
            ["--index", "conda=https://me:secret@mirror.example"],
            "index `conda` was given with a user",
        ),
    ],
)
def test_mistakes_on_the_command_line(bench: Bench, arguments: list[str], told: str) -> None:
    before = bench.files()
    options = bench.registry.mirrors("default", "pytorch")
    done = bench.project.run("matrix", "refresh", *options, "torch", *arguments, "--write", status=2)
    assert told in done.err
    assert "secret" not in done.err
    assert done.out == ""
    assert bench.files() == before


# The same again.


def test_the_same_places_give_the_same_bytes_and_wheels_are_fetched_once(bench: Bench) -> None:
    put_2_16(bench)
    put_builds(bench)
    arguments = ("torch", "torchvision", "triton", "--since", "2026-10-01", "--write")
    before = bench.files()
    first = bench.refresh(*arguments)
    fetched = wheels_asked_for(bench)
    assert len(fetched) > 10
    tables = bench.files()
    for name, data in before.items():
        (bench.tables / name).write_bytes(data)
    again = bench.refresh(*arguments)
    assert (again.out, bench.files()) == (first.out, tables)
    assert wheels_asked_for(bench) == []
    # With nothing remembered the bytes are the same, too.
    for name, data in before.items():
        (bench.tables / name).write_bytes(data)
    bench.project.environ["CUDAENV_CACHE_DIR"] = str(bench.project.home / "another-cache")
    assert bench.refresh(*arguments).out == first.out
    assert bench.files() == tables
    assert sorted(wheels_asked_for(bench)) == sorted(fetched)


def wheels_asked_for(bench: Bench) -> list[str]:
    """What was fetched of wheels and METADATA since the last call."""
    requests = bench.registry.server.requests
    found = [request.path for request in requests if ".whl" in request.path]
    requests.clear()
    return found
