"""The tables: the shipped ones hold, and every way to spoil one is noticed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import chain

import pytest
import yaml
from packaging.version import Version

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
from cudaenv.model.versions import ComputeCapability, CudaVersion, PythonVersion
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
    assert loaded.target_names == ("run-only", "develop-kernels", "mmcv-full", "xformers")
    assert loaded.index_names == ("pytorch", "openmmlab", "pyg", "detectron2", "flash-attn")


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
    url = matrix().index_url("openmmlab", "cu121", Version("2.1.2"))
    assert url == "https://download.openmmlab.com/mmcv/dist/cu121/torch2.1.0/index.html"


def test_the_url_of_a_wheel_that_nothing_lists_follows_from_its_row() -> None:
    (row,) = [
        row
        for row in matrix().releases("flash-attn")
        if row.index == "flash-attn" and (str(row.torch), row.abi) == ("==2.6.*", "0")
    ]
    assert matrix().index(row.index).is_direct
    url = matrix().wheel_url(row, Version("2.6.0"), PythonVersion(3, 12), Platform.LINUX_64)
    assert url == (
        "https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/"
        "flash_attn-2.8.3+cu12torch2.6cxx11abiFALSE-cp312-cp312-linux_x86_64.whl"
    )
    assert row.key == "2.8.3 flash-attn cu12 ==2.6.* abi0"
    assert row not in matrix().companions("flash-attn")


def test_a_project_on_pypi_is_a_package_and_a_variant() -> None:
    assert matrix().package_of("cupy-cuda12x") == ("cupy", "cuda12x")
    assert matrix().package_of("Flash_Attn") == ("flash-attn", "")
    assert matrix().package_of("spconv-cu120") == ("spconv", "cu120")
    assert matrix().package_of("torch") == ("torch", "")
    assert matrix().package_of("xformers") == ("xformers", "")
    assert matrix().package_of("xformers-cu126") is None
    projects = {row.project for row in matrix().releases("cupy")}
    assert projects == {"cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"}
    assert {row.project for row in matrix().releases("xformers")} == {"xformers"}


def test_what_is_held_back_beside_a_package_depends_on_its_release_and_channel() -> None:
    def pins(package: str, version: str, channel: str) -> dict[str, str]:
        return {row.package: str(row.versions) for row in matrix().pins(package, Version(version), channel)}

    assert pins("torch", "2.2.2", "pypi") == {"numpy": "<2"}
    assert pins("torch", "2.2.2", "pytorch") == {"mkl": "<2024.1", "numpy": "<2"}
    assert pins("torch", "2.2.2", "conda-forge") == {}
    assert pins("torch", "2.3.0", "pypi") == {}
    assert pins("mmengine", "0.10.7", "pypi") == {"setuptools": "<82"}
    assert pins("numpy", "1.26.4", "pypi") == {}


@pytest.mark.parametrize(
    ("version", "major", "oldest"),
    [
        ("8.7.0.84", 11, "3.5"),
        ("8.9.2.26", 11, "5.0"),
        ("9.10.2.21", 12, "5.0"),
        ("9.11.0.98", 12, "7.5"),
        ("9.26.0.51", 13, "7.5"),
        ("7.6.5", 11, None),
        ("9.1.0", 10, None),
    ],
)
def test_cudnn_serves_gpus_from_a_capability_on(version: str, major: int, oldest: str | None) -> None:
    found = matrix().cudnn_oldest(Version(version), major)
    assert (None if found is None else str(found[0])) == oldest
    assert found is None or found[1].first <= Version(version)


def test_the_support_of_a_driver_branch_ends() -> None:
    def is_over(branch: int, day: str) -> bool:
        found = matrix().driver_branch(branch)
        assert found is not None
        return found.is_over(day)

    assert not is_over(570, "2026-02-28")
    assert is_over(570, "2026-03-01")
    assert is_over(550, "2025-12-31")
    assert not is_over(580, "2026-11-25")
    assert matrix().driver_branch(999) is None


def test_components_name_extras_that_every_toolkit_with_a_compiler_has() -> None:
    named = {extra for row in matrix().tables.components for extra in row.pip}
    assert {"nvcc", "crt", "nvvm", "cudart", "cccl"} <= named
    for release in matrix().tables.toolkit_releases:
        if release.compiles:
            there = {name for name, _ in release.components} | set(release.loose)
            assert named <= there, release.key
    assert matrix().component("compiler").conda == ("cuda-nvcc",)
    with pytest.raises(KeyError):
        matrix().component("runtime")


def test_what_cannot_be_built_says_so() -> None:
    rows = list(chain(*matrix().tables.builds.values()))
    broken = {(row.package, row.topic) for row in rows if row.broken}
    assert {("mmcv", "c++17"), ("mmcv", "python-3.13"), ("flash-attn", "c++20")} <= broken
    (row,) = [row for row in matrix().source_builds("mmcv") if row.topic == "python-3.13"]
    assert ("3.13" in row.python, "3.12" in row.python) == (True, False)
    (row,) = [row for row in matrix().source_builds("pytorch3d") if row.git]
    assert row.git.format(version="0.7.8") == "git+https://github.com/facebookresearch/pytorch3d.git@V0.7.8"


def test_an_extra_that_installs_cuda_pins_nvidias_wheels() -> None:
    (row,) = [row for row in matrix().releases("tensorflow") if str(row.version) == "2.18.0"]
    assert {pin.name: str(pin.specifier) for pin in row.pins}["nvidia-cudnn-cu12"] == "==9.3.0.75"
    assert all(not row.pins for row in matrix().releases("jax"))


def test_a_build_of_torch_that_lies_on_pypi_lies_on_pytorchs_own_index_too() -> None:
    repeats = matrix().index("pytorch").repeats
    assert repeats is not None
    assert [version in repeats for version in ("1.12.1", "1.13.1", "2.0.1", "2.1.0", "2.14.1", "2.15.0")] == [
        False,
        True,
        False,
        True,
        True,
        False,
    ]


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
        "cuda rows[2].cuda: expected a quoted text, got 10.1; put versions in quotes",
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
        "cuda rows[4].linux_miner: unknown column; did you mean `linux_minor`?",
    ),
    ("a column that is no text", "cuda", "{cuda:", "{7: x, cuda:", "cuda rows[0].7: unknown column"),
    ("a missing column", "cuda", 'linux_own: "418.39", ', "", "cuda rows[2]: column `linux_own` is missing"),
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
    (
        "rows that are no list",
        "targets",
        "rows:\n- {",
        "rows: 1\nrest:\n- {",
        "targets rows: expected a list of rows",
    ),
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
        "cuda rows[5].linux_own: not a driver version",
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
        "packages/torch 1.6.0 cu92 linux-64: the toolkit 9.2 cannot have compiled 9.0",
    ),
    (
        "PTX that its toolkit cannot write",
        TORCH,
        'sms: "3.7 5.0 6.0 7.0"',
        'sms: "3.7 5.0 6.0 7.0", ptx: "10.7"',
        "1.6.0 cu92 linux-64: the toolkit 9.2 cannot have compiled 10.7",
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
        "1.7.1 cpu linux-64: a CPU build has no SM list",
    ),
    (
        "a CUDA without a row",
        TORCH,
        TORCH_2_15,
        TORCH_2_15.replace("cu132", "cu127"),
        "2.15.0 cu127 linux-64: CUDA 12.7 has no row in cuda",
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
        "1.4.0 cpu linux-64: a Linux build has a glibc floor, and no other has one",
    ),
    (
        "a Windows build with glibc",
        TORCH,
        'platform: "win-64",',
        'platform: "win-64", glibc: "2.17",',
        "1.4.0 cpu win-64: a Linux build has a glibc floor, and no other has one",
    ),
    (
        "a conda build of code that its toolkit cannot write",
        "conda-builds",
        'ptx: "12.0"',
        'ptx: "10.7"',
        "the toolkit 12.9 cannot have compiled 10.7",
    ),
    (
        "a conda build for the CPU with machine code",
        "conda-builds",
        'package: "pytorch", version: "2.10.0", variant: "cu129"',
        'package: "pytorch", version: "2.10.1", variant: "cpu"',
        "a CPU build has no SM list",
    ),
    (
        "an index of no kind",
        "indexes",
        'files: "flat"',
        'files: "pages"',
        "indexes openmmlab: files `pages`, expected one of flat, direct or no cell",
    ),
    (
        "an index whose URL is that of another kind",
        "indexes",
        'files: "flat"',
        'files: "direct"',
        "indexes openmmlab: its URL does not end with `.whl`",
    ),
    (
        "an index with pages that does not say so",
        "indexes",
        ', files: "flat"',
        "",
        "indexes openmmlab: its URL is no index with a page a project",
    ),
    (
        "a place-holder for nothing",
        "indexes",
        "/whl/{variant}",
        "/whl/{cuda}",
        "indexes pytorch: `{cuda}` in its URL stands for nothing",
    ),
    (
        "a component without a row",
        "targets",
        "runtime compiler",
        "runtime nvcc",
        "targets develop-kernels: component `nvcc` has no row in components",
    ),
    (
        "an unknown provider",
        "targets",
        'providers: "pip conda"',
        'providers: "pip apt"',
        "targets run-only: provider `apt`, expected one of pip, conda, system",
    ),
    (
        "a pin beside nothing",
        "pins",
        'beside: "mmengine"',
        'beside: "mmengin"',
        "pins setuptools mmengin <=0.10.7: package `mmengin` has no table",
    ),
    (
        "a pin for a channel that there is not",
        "pins",
        'channels: "pytorch"',
        'channels: "torch"',
        "pins mkl torch <2.6: channel `torch` is not in conda-eras",
    ),
    (
        "a driver branch of no kind",
        "driver-branches",
        'kind: "long-term"',
        'kind: "lts"',
        "driver-branches 418: kind `lts`, expected one of production, new-feature, long-term",
    ),
    (
        "a driver branch that ends on a day",
        "driver-branches",
        'ends: "2022-03"',
        'ends: "2022-03-31"',
        "driver-branches 418: ends in '2022-03-31', expected a month such as `2028-08`",
    ),
    (
        "a driver branch that does not end",
        "driver-branches",
        ', ends: "2022-03"',
        "",
        "driver-branches 418: it ends in a month, or it is over without one",
    ),
    (
        "a driver branch that is no number",
        "driver-branches",
        'branch: "418"',
        'branch: "R418"',
        "driver-branches rows[1].branch: expected a number, got `R418`",
    ),
    (
        "a cuDNN that serves older GPUs than the last",
        "cudnn",
        'first: "9.11.0", cuda: "12", oldest: "7.5"',
        'first: "9.11.0", cuda: "12", oldest: "3.5"',
        "cudnn 9.11.0 12: serves 3.5, and 8.9.1 served 5.0",
    ),
    (
        "a cuDNN for a GPU that there is not",
        "cudnn",
        'oldest: "3.5"',
        'oldest: "3.9"',
        "cudnn 8.0.2 11: compute capability 3.9 is not in architectures",
    ),
    (
        "a broken build that does not say what breaks",
        "packages/mmcv",
        ', broken: true, breaks: "setup.py asks for C++14, and the headers of torch refuse it"',
        ", broken: true",
        "packages/mmcv c++14: what is broken says what breaks",
    ),
    (
        "a time that is none",
        "packages/mmcv",
        'minutes: "20"',
        'minutes: "an hour"',
        "packages/mmcv time: minutes are 'an hour', expected a number",
    ),
    (
        "a repository that pip does not take",
        "packages/detectron2",
        'git: "git+https://',
        'git: "https://',
        "packages/detectron2 git: git is 'https://",
    ),
    (
        "a flag that is none",
        "packages/mmcv",
        "broken: true",
        'broken: "yes"',
        "expected a bare `true`, got `yes`",
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


def test_a_toolkit_without_a_row_is_named_by_the_builds_of_its_line() -> None:
    lines = spoilt("toolkits", 'cuda: "13.2", ptx_isa', 'cuda: "13.9", ptx_isa')
    problem = "2.15.0 cu132 linux-64: the toolkit 13.2 cannot have compiled it: no row in toolkits"
    assert f"packages/torch {problem}" in lines


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
    assert (
        Matrix.from_texts({**texts(), "cuda": f"{head}rows:\n{turned}"}).target_names == matrix().target_names
    )


def test_every_inferred_row_says_from_what() -> None:
    rows = chain(*matrix().tables.by_name.values())
    inferred = [row for row in rows if row.basis == Basis.INFERRED]
    assert len(inferred) > 10
    assert all(row.note for row in inferred)
