"""The tables: the shipped ones hold, and every way to spoil one is noticed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import chain

import pytest
import yaml

from cudaenv.errors import MatrixError
from cudaenv.matrix.document import Document
from cudaenv.matrix.load import TORCH, kind_of, read_documents
from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.refresh.merge import order_of
from cudaenv.matrix.refresh.merge import text_of as text_of_document
from cudaenv.matrix.refresh.surveys import all_surveys
from cudaenv.matrix.tables import Basis
from cudaenv.model.documents import Problems
from cudaenv.model.machine import Platform
from cudaenv.model.versions import ComputeCapability, CudaVersion
from tests.support.planning import ROOT, matrix

FOLDER = ROOT / "matrix"
TABLES = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


@cache
def text_of(table: str) -> str:
    return (FOLDER / f"{table}.yaml").read_text("utf-8")


def texts() -> dict[str, str]:
    return {table: text_of(table) for table in TABLES}


@cache
def documents() -> dict[str, Document]:
    problems = Problems("matrix")
    found = read_documents(texts(), problems)
    assert not problems.lines
    return found


def problems_of(tables: Mapping[str, str]) -> tuple[str, ...]:
    with pytest.raises(MatrixError) as caught:
        Matrix.from_texts(tables)
    assert caught.value.exit_code == 7
    return caught.value.details


def spoilt(table: str, old: str, new: str) -> tuple[str, ...]:
    """The problems of the tables with one place of one file changed."""
    assert old in text_of(table), f"{old!r} is not in {table}"
    return problems_of({**texts(), table: text_of(table).replace(old, new, 1)})


# The shipped tables.


def test_the_shipped_tables_load_and_every_invariant_holds() -> None:
    loaded = matrix()
    assert {build.version.release[:2] for build in loaded.tables.torch} >= {(1, 10), (2, 15)}
    assert loaded.target_names == ("run-only",)
    assert loaded.index_names == ("pytorch", "openmmlab")


@pytest.mark.parametrize("table", TABLES)
def test_reading_a_table_and_writing_it_gives_the_same_bytes(table: str) -> None:
    assert text_of_document(documents()[table]) == text_of(table)


@pytest.mark.parametrize("table", sorted({survey.table for survey in all_surveys(documents())}))
def test_rows_of_a_table_that_can_be_refreshed_stand_in_the_order_in_which_it_writes_them(table: str) -> None:
    rows = list(documents()[table].rows)
    assert rows == sorted(rows, key=lambda row: order_of(kind_of(table), row))


@pytest.mark.parametrize("table", TABLES)
def test_a_file_says_how_to_correct_a_row_and_where_its_rows_are_from(table: str) -> None:
    text = text_of(table)
    assert "# To correct a row: " in text
    assert max(map(len, text.split("\nrows:", 1)[0].splitlines())) < 400
    for source in yaml.safe_load(text)["sources"].values():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", source["read"])
        assert source.get("url", "https://").startswith("https://")
        assert len(source["says"]) > 20


def test_rows_of_a_table_cite_the_source_they_name() -> None:
    build = matrix().builds(Platform.LINUX_64)[-1]
    assert build.key == "2.15.0 cu132 linux-64"
    assert matrix().cite(build) == "packages/torch 2.15.0 cu132 linux-64 (measured: torch wheels on PyPI)"


def test_every_row_has_a_digest_of_its_own_that_follows_its_content() -> None:
    rows = list(chain(*matrix().tables.by_name.values()))
    digests = {row.digest for row in rows}
    assert len(digests) == len(rows) > 400
    edited = Matrix.from_texts(
        {
            **texts(),
            "cuda": text_of("cuda").replace(
                'linux_own: "410.48", windows_own: "411.31"', 'linux_own: "410.49", windows_own: "411.31"'
            ),
        }
    )
    again = {row.digest for row in chain(*edited.tables.by_name.values())}
    assert len(digests - again) == 1


def test_the_facts_that_users_trip_over_stand_in_the_tables() -> None:
    def variants(version: str, platform: Platform = Platform.LINUX_64) -> set[str]:
        return {item.variant for item in matrix().builds(platform) if str(item.version) == version}

    assert variants("2.14.1") == {"cpu", "cu126", "cu130", "cu132"}
    assert "cu126" not in variants("2.15.0")
    assert variants("2.6.0") == {"cpu", "cu118", "cu124", "cu126"}
    assert variants("2.10.0", Platform.LINUX_AARCH64) == {"cpu"}
    (new,) = [b for b in matrix().builds(Platform.LINUX_64) if b.label == "2.6.0+cu126"]
    (old,) = [b for b in matrix().builds(Platform.LINUX_64) if b.label == "2.6.0+cu124"]
    assert (str(new.glibc), str(old.glibc)) == ("2.28", "2.17")
    assert ComputeCapability(7, 0) not in next(
        b.sms for b in matrix().builds(Platform.LINUX_64) if b.label == "2.11.0+cu128"
    )


# Look-ups.


def test_unknown_names_are_key_errors_and_unknown_packages_have_no_rows() -> None:
    with pytest.raises(KeyError):
        matrix().index("nowhere")
    with pytest.raises(KeyError):
        matrix().target("train")
    with pytest.raises(KeyError):
        matrix().line(CudaVersion(12, 7))
    assert matrix().companions("numpy") == ()
    assert matrix().architecture(ComputeCapability(9, 9)) is None
    assert matrix().family == {"torch", "torchvision", "torchaudio", "xformers"}


def test_what_a_release_line_and_a_package_have_is_found_by_their_names() -> None:
    line = CudaVersion(13, 0)
    toolkit = matrix().toolkit(line)
    assert toolkit is not None
    assert (toolkit.cuda, matrix().toolkit(CudaVersion(9, 9))) == (line, None)
    found = matrix().toolkit_releases(line)
    assert {row.cuda for row in found} == {line}
    assert [row.version for row in found] == sorted(row.version for row in found)
    assert {row.package for row in matrix().source_builds("flash-attn")} == {"flash-attn"}
    assert matrix().source_builds("numpy") == ()


def test_an_index_url_is_that_of_the_variant() -> None:
    assert matrix().index_url("pytorch", "cu126") == "https://download.pytorch.org/whl/cu126"
    assert matrix().index_url("", "cu126") == ""


def test_a_product_that_is_unknown_or_ambiguous_has_no_capability() -> None:
    assert matrix().capability_of("RTX 4090") == ComputeCapability(8, 9)
    assert matrix().capability_of("RTX 5000") is None
    assert matrix().capability_of("RTX 4099") is None


# Every way to spoil a table.

TORCH_2_15 = '{version: "2.15.0", variant: "cu132", platform: "linux-64",'
FLAWS: list[tuple[str, str, str, str, str]] = [
    (
        "an unquoted version",
        "cuda",
        'cuda: "10.1"',
        "cuda: 10.1",
        "cuda rows[1].cuda: expected a quoted text, got 10.1; put versions in quotes",
    ),
    (
        "an unquoted list of one version",
        "packages/xformers",
        'ptx: "8.0"',
        "ptx: 8.0",
        "expected a quoted text, got 8.0",
    ),
    (
        "an unknown column",
        "cuda",
        "linux_minor:",
        "linux_miner:",
        "cuda rows[3].linux_miner: unknown column; did you mean `linux_minor`?",
    ),
    ("a column that is no text", "cuda", "{cuda:", "{7: x, cuda:", "cuda rows[0].7: unknown column"),
    ("a missing column", "cuda", 'linux_own: "418.39", ', "", "cuda rows[1]: column `linux_own` is missing"),
    (
        "a missing basis",
        "toolkits",
        ', basis: "documented"',
        "",
        "toolkits rows[0]: column `basis` is missing",
    ),
    ("a key twice", "cuda", "{cuda:", '{cuda: "9.9", cuda:', "cuda: not YAML: key `cuda` twice"),
    ("a source twice", "toolkits", "  ptx-isa:\n", "  nvcc-wheels:\n", "not YAML: key `nvcc-wheels` twice"),
    ("no YAML", "cuda", "rows:", "rows: [", "cuda: not YAML: "),
    ("a value of no type", "cuda", '"13.4"', "!!bool maybe", "cuda: not YAML: a value is none of its type"),
    (
        "a day that there is not",
        "cuda",
        '"13.4"',
        "2026-13-45",
        "cuda: not YAML: a value is none of its type",
    ),
    (
        "a number that is too large",
        "cuda",
        '"13.4"',
        "9" * 5000,
        "cuda: not YAML: a value is none of its type",
    ),
    ("another schema", "cuda", "schema: 1", "schema: 2", "cuda: expected `schema: 1`"),
    ("an unknown part of a file", "cuda", "schema: 1", "schema: 1\nextra: 1", "cuda: unknown key `extra`"),
    ("rows that are no list", "targets", "rows:\n- {", "rows:\n  {", "targets rows: expected a list of rows"),
    (
        "a source without a reading",
        "indexes",
        "    says: ",
        "    sys: ",
        "indexes sources.pytorch-start: expected url or artefact, says and read",
    ),
    (
        "a source without a place",
        "indexes",
        "    url: ",
        "    page: ",
        "indexes sources.pytorch-start: expected url or artefact, says and read",
    ),
    (
        "a source that was never read",
        "indexes",
        'read: "2026-11-20"',
        'read: "lately"',
        "indexes sources.pytorch-start: read on 'lately', expected a date",
    ),
    (
        "an unknown source",
        "cuda",
        'source: "compat-package"',
        'source: "hearsay"',
        "cuda 13.4: source `hearsay` is not among the sources of its table",
    ),
    (
        "a source that no row names",
        "cuda",
        'source: "compat-package"',
        'source: "release-notes"',
        "cuda sources.compat-package: nothing names it",
    ),
    (
        "an unknown second source",
        TORCH,
        'published: "release-matrix"',
        'published: "hearsay"',
        "source `hearsay` is not among the sources of its table",
    ),
    (
        "an inferred row without a note",
        "packages/torchaudio",
        ', note: "METADATA has no torch requirement; built with 2.11.0"',
        "",
        "packages/torchaudio 2.11.0: an inferred row needs a note",
    ),
    (
        "an unknown basis",
        "cuda",
        'basis: "documented"',
        'basis: "guessed"',
        "cuda rows[0].basis: 'guessed' is not a valid Basis",
    ),
    (
        "a row twice",
        "architectures",
        '{sm: "3.7", family: "Kepler", first: "6.5"',
        '{sm: "3.5", family: "Kepler", first: "5.0"',
        "architectures 3.5: 2 rows have this key",
    ),
    (
        "a build twice",
        TORCH,
        TORCH_2_15,
        '{version: "2.15.0", variant: "cpu", platform: "linux-64",',
        "packages/torch 2.15.0 cpu linux-64: 2 rows have this key",
    ),
    ("a GPU twice", "gpus", '{product: "A100X"', '{product: "A100"', "gpus A100: 2 rows have this key"),
    (
        "a floor that falls",
        "cuda",
        'linux_own: "455.23"',
        'linux_own: "450.20"',
        "cuda 11.1: linux_own 450.20 is older than 450.51.05 of 11.0",
    ),
    (
        "a minor floor that falls",
        "cuda",
        'linux_minor: "450.36.06"',
        'linux_minor: "450.90"',
        "cuda 11.1: linux_minor 450.80.02 is older than 450.90 of 11.0",
    ),
    (
        "a Windows floor that falls",
        "cuda",
        'windows_own: "496.04"',
        'windows_own: "470.04"',
        "cuda 11.5: windows_own 470.04 is older than 471.11 of 11.4",
    ),
    (
        "an own driver older than the minor floor",
        "cuda",
        'linux_own: "455.23"',
        'linux_own: "450.60"',
        "cuda 11.1: its own driver is older than the one for minor-version compatibility",
    ),
    (
        "a floor that is no driver",
        "cuda",
        '"455.23"',
        '"R-455"',
        "cuda rows[4].linux_own: not a driver version",
    ),
    (
        "an architecture that outlives its toolkits",
        "architectures",
        'first: "6.0", last: "12.9"',
        'first: "6.0", last: "13.0"',
        "architectures 5.0: first and last disagree with the lists in toolkits",
    ),
    (
        "an architecture that begins late",
        "architectures",
        'sm: "8.6", family: "Ampere", first: "11.1"',
        'sm: "8.6", family: "Ampere", first: "11.4"',
        "architectures 8.6: first and last disagree",
    ),
    (
        "an SM that its toolkit cannot compile",
        TORCH,
        'sms: "3.7 5.0 6.0 7.0"',
        'sms: "3.7 5.0 6.0 7.0 9.0"',
        "packages/torch 1.10.0 cu102 linux-64: the toolkit 10.2 cannot have compiled 9.0",
    ),
    (
        "PTX that its toolkit cannot write",
        TORCH,
        'sms: "3.7 5.0 6.0 7.0"',
        'sms: "3.7 5.0 6.0 7.0", ptx: "10.7"',
        "1.10.0 cu102 linux-64: the toolkit 10.2 cannot have compiled 10.7",
    ),
    (
        "code of a companion that its toolkit cannot write",
        "packages/xformers",
        'cuda: "12.8", platforms: "linux-64 win-64", pythons: "3.9 3.10 3.11 3.12 3.13 3.14 3.15", '
        'glibc: "2.28", sms: "7.5 8.0"',
        'cuda: "12.8", platforms: "linux-64 win-64", pythons: "3.9 3.10 3.11 3.12 3.13 3.14 3.15", '
        'glibc: "2.28", sms: "7.5 8.0 10.7"',
        "the toolkit 12.8 cannot have compiled 10.7",
    ),
    (
        "a companion of a CUDA that its torch never had",
        "packages/xformers",
        'torch: "==2.10.0", built_with: "2.10.0", cuda: "12.8"',
        'torch: "==2.10.0", built_with: "2.10.0", cuda: "11.8"',
        "packages/xformers 0.0.34: no torch in `==2.10.0` has a build of CUDA 11",
    ),
    (
        "a toolkit release of another line",
        "toolkit-releases",
        'version: "13.2.2", cuda: "13.2"',
        'version: "13.2.2", cuda: "13.1"',
        "toolkit-releases 13.2.2: its version is not one of CUDA 13.1",
    ),
    (
        "an image of an unknown system",
        "images",
        'os: "ubuntu26.04"',
        'os: "ubuntu99.04"',
        "`ubuntu99.04` has no row in systems",
    ),
    (
        "a conda variant that is none",
        "conda-builds",
        'variant: "cu129"',
        'variant: "cuda129"',
        "not a CUDA variant: 'cuda129'",
    ),
    (
        "a wheel's facts without a wheel",
        "packages/flash-attn",
        'files: "sdist"',
        'files: "sdist", cuda: "12.8"',
        "Pythons and CUDA are those of wheels, and it has none",
    ),
    (
        "a day that is none",
        "toolkits",
        'basis: "measured"',
        'basis: "measured", read: "soon"',
        "read on 'soon', expected a date",
    ),
    ("an SM that is none", TORCH, 'sms: "3.7 5.0', 'sms: "37 5.0', "sms: not a compute capability: '37'"),
    (
        "a CUDA build without machine code",
        TORCH,
        'sms: "3.7 5.0 6.0 7.0", ',
        "",
        "a CUDA build has an SM list",
    ),
    (
        "a CPU build with machine code",
        TORCH,
        'pythons: "3.6 3.7 3.8 3.9", glibc',
        'pythons: "3.6 3.7 3.8 3.9", sms: "8.0", glibc',
        "1.10.0 cpu linux-64: a CPU build has no SM list",
    ),
    (
        "a CUDA without a row",
        TORCH,
        TORCH_2_15,
        TORCH_2_15.replace("cu132", "cu127"),
        "2.15.0 cu127 linux-64: CUDA 12.7 has no row in cuda",
    ),
    (
        "a toolkit without a row",
        TORCH,
        TORCH_2_15,
        TORCH_2_15.replace("cu132", "cu101"),
        "2.15.0 cu101 linux-64: the toolkit 10.1 cannot have compiled it: no row in toolkits",
    ),
    (
        "a variant that is none",
        TORCH,
        TORCH_2_15,
        TORCH_2_15.replace("cu132", "cuda"),
        "variant: not a CUDA variant: 'cuda'",
    ),
    (
        "an unknown platform",
        TORCH,
        TORCH_2_15,
        TORCH_2_15.replace("linux-64", "linux-32"),
        "platform: 'linux-32' is not a valid Platform",
    ),
    ("an unknown index", TORCH, 'index: "pytorch"', 'index: "pytorhc"', "index `pytorhc` is not in indexes"),
    (
        "Pythons out of order",
        TORCH,
        '"3.6 3.7 3.8 3.9"',
        '"3.7 3.6 3.8 3.9"',
        "pythons are not a rising list",
    ),
    ("a Python twice", TORCH, '"3.6 3.7 3.8 3.9"', '"3.6 3.7 3.7 3.9"', "pythons are not a rising list"),
    ("no Python", TORCH, '"3.6 3.7 3.8 3.9"', '""', "pythons are not a rising list"),
    (
        "a Linux build without glibc",
        TORCH,
        ', glibc: "2.17"',
        "",
        "1.10.0 cpu linux-64: a Linux build has a glibc floor, and no other has one",
    ),
    (
        "a Windows build with glibc",
        TORCH,
        'platform: "win-64",',
        'platform: "win-64", glibc: "2.17",',
        "1.10.0 cpu win-64: a Linux build has a glibc floor, and no other has one",
    ),
    ("a version that is none", TORCH, 'version: "2.15.0"', 'version: "2.15.x"', "Invalid version: '2.15.x'"),
    (
        "a companion of no release",
        "packages/torchvision",
        'released_with: "2.14.0"',
        'released_with: "2.14.9"',
        "packages/torchvision 0.29.0: released with torch 2.14.9, which has no row",
    ),
    (
        "a companion that excludes its own torch",
        "packages/torchvision",
        'torch: "==2.14.0"',
        'torch: "==2.14.1"',
        "packages/torchvision 0.29.0: released with torch 2.14.0, which `==2.14.1` excludes",
    ),
    (
        "a companion of nothing",
        "packages/triton",
        'torch: "==2.15.0"',
        'torch: "==9.0"',
        "packages/triton 3.9.0: no torch release satisfies `==9.0`",
    ),
    (
        "a requirement that is none",
        "packages/triton",
        'torch: "==2.15.0"',
        'torch: "2.15.0"',
        "torch: Invalid specifier: '2.15.0'",
    ),
    (
        "a target with an unknown package",
        "targets",
        'packages: "torch"',
        'packages: "torch numpy"',
        "targets run-only: package `numpy` has no table",
    ),
    (
        "a GPU of no architecture",
        "gpus",
        'product: "A100", capability: "8.0"',
        'product: "A100", capability: "8.4"',
        "gpus A100: compute capability 8.4 is not in architectures",
    ),
    (
        "a GPU without capability",
        "gpus",
        'capability: "8.6", ',
        "",
        "gpus rows[0]: column `capability` is missing",
    ),
]


@pytest.mark.parametrize(
    ("table", "old", "new", "problem"), [flaw[1:] for flaw in FLAWS], ids=[flaw[0] for flaw in FLAWS]
)
def test_a_flaw_is_named_with_its_table_and_row(table: str, old: str, new: str, problem: str) -> None:
    lines = spoilt(table, old, new)
    assert any(problem in line for line in lines), lines
    assert all(line.startswith(table) for line in lines if problem in line)


def test_all_flaws_are_named_at_once() -> None:
    tables = texts()
    tables["cuda"] = (
        tables["cuda"].replace('cuda: "10.1"', "cuda: 10.1").replace("linux_minor", "linux_miner")
    )
    tables["targets"] = tables["targets"].replace("basis", "bases")
    lines = problems_of(tables)
    assert len(lines) > 20
    assert {line.split(" ", 1)[0] for line in lines} == {"cuda", "targets"}


def test_a_missing_table_is_named() -> None:
    tables = texts()
    del tables["toolkits"], tables[TORCH]
    assert problems_of(tables) == ("toolkits: the table is missing", "packages/torch: the table is missing")


def test_an_unknown_table_is_named() -> None:
    assert problems_of({**texts(), "drivers": text_of("cuda")}) == ("drivers: unknown table",)


def test_a_new_file_under_packages_is_a_new_companion() -> None:
    text = text_of("packages/torchvision").replace("torchvision", "torchtext")
    extended = Matrix.from_texts({**texts(), "packages/torchtext": text})
    assert len(extended.companions("torchtext")) == len(matrix().companions("torchvision"))
    assert "torchtext" in extended.family


def test_the_order_of_rows_is_no_flaw() -> None:
    head, _, rows = text_of("cuda").partition("rows:\n")
    turned = "".join(rows.splitlines(keepends=True)[::-1])
    assert Matrix.from_texts({**texts(), "cuda": f"{head}rows:\n{turned}"}).target_names == ("run-only",)


def test_every_inferred_row_says_from_what() -> None:
    rows = chain(*matrix().tables.by_name.values())
    inferred = [row for row in rows if row.basis == Basis.INFERRED]
    assert len(inferred) > 10
    assert all(row.note for row in inferred)
