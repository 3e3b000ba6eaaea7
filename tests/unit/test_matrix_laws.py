"""Laws of the shipped tables, on the YAML as it stands: without the loader, so that the two can disagree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

Row = dict[str, str]
Numbers = tuple[int, ...]

FOLDER = Path(__file__).parents[2] / "matrix"
TABLES = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))
PACKAGES = [name for name in TABLES if name.startswith("packages/")]
TORCH = "packages/torch"
COMPANIONS = ["packages/torchvision", "packages/torchaudio"]
SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
BASES = {"measured", "documented", "inferred"}

INFERRED_AT_MOST = {
    "conda-builds": 42,
    "cudnn": 1,
    "gpus": 100,
    "images": 4,
    "pins": 1,
    "targets": 3,
    "systems": 3,
    "packages/flash-attn": 10,
    "packages/gsplat": 1,
    "packages/mamba-ssm": 1,
    "packages/mmcv": 2,
    "packages/mmcv-full": 3,
    "packages/pytorch3d": 1,
    "packages/torch": 62,
    "packages/torch-cluster": 29,
    "packages/torch-scatter": 29,
    "packages/torch-sparse": 29,
    "packages/torch-spline-conv": 29,
    "packages/torchaudio": 1,
    "packages/xformers": 40,
}
"""How many rows of a table may be inferred; none of the tables that are not named here."""

MEASURED_AT_LEAST = {
    "conda-builds": 100,
    "nvidia-wheels": 70,
    "toolkit-releases": 40,
    "toolkits": 17,
    "packages/mmdet": 12,
    "packages/torch": 160,
    "packages/torchaudio": 39,
    "packages/torchvision": 47,
    "packages/triton": 18,
    "packages/xformers": 35,
}
"""How many rows of a table are measured at least; of every other one with `measure` lines, most rows are."""

OTHER_TOOLS = re.compile(
    r"\bcog\b|\bspack\b|\buv\b|astral|torch-?check|light-the-torch|conda-lock|\bpixi\b|\bpoetry\b|easybuild"
    r"|wikipedia|stackoverflow|medium\.com|reddit",
    re.IGNORECASE,
)
REGISTRIES = re.compile(r"\b(pypi|pythonhosted|debian|npmjs)\.(org|com|net)\b", re.IGNORECASE)
MACHINE_PATHS = re.compile(r"(?<![\w./:*~-])/(home|root|tmp|work|opt|mnt|usr|var|Users)/|file:/|\b[A-Z]:\\")

WITHOUT_DRIVER = {"13.5"}
"""Lines with a compiler on PyPI, but neither release notes nor a release of `cuda-toolkit`."""

WITHOUT_TRITON = {"2.5.0": {"3.13"}, "2.5.1": {"3.13"}}
"""Pythons for which METADATA of a torch release does not ask for triton (`python_version < "3.13"`)."""

WITHOUT_CUDA = {"0.8.0"}
"""Releases of torchvision whose wheel on PyPI has no code for GPUs, unlike the torch there."""

WITHOUT_PARTNER = {("0.9.1", "osx-arm64")}
"""Wheels of torchaudio for a platform that the torch they pin has none for."""

WITHOUT_SDIST = {"1.3.2"}
"""Releases of mmcv-full with wheels at OpenMMLab and nothing on PyPI."""

WITHOUT_LABEL = {("cu102", "==1.5.*"), ("cu102", "==1.6.*"), ("cu102", "==1.7.*")}
"""Variants and torch lines of mmcv-full for Windows whose torch has no local label there, and so no row."""

WITHOUT_TORCH = {("0.0.32.post2", "cu129", "win-64")}
"""Builds of xformers whose torch build has no row: no primary page states its code."""


@cache
def text_of(table: str) -> str:
    return (FOLDER / f"{table}.yaml").read_text("utf-8")


@cache
def document(table: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(text_of(table), Loader=SAFE)  # noqa: S506 (CSafeLoader is a safe one)
    return found


def rows(table: str) -> list[Row]:
    found: list[Row] = document(table)["rows"]
    return found


def all_rows(table: str) -> list[Row]:
    """Return the rows and the `builds`."""
    return [*rows(table), *document(table).get("builds", [])]


def numbers(text: str) -> Numbers:
    """Return the numbers of a version: `570.26` is (570, 26), and `r12.8` is (12, 8)."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def line_of(variant: str) -> Numbers:
    """Return the release line of a variant: `cu126` is (12, 6)."""
    digits = variant.removeprefix("cu")
    return int(digits[:-1]), int(digits[-1])


def words(row: Row, column: str) -> list[str]:
    return row.get(column, "").split()


def admits(specifier: str, version: str) -> bool:
    return SpecifierSet(specifier).contains(version, prereleases=True)


def shown(row: Row) -> str:
    return " ".join(
        str(row[key]) for key in ("version", "index", "variant", "platform", "torch") if key in row
    )


@cache
def torch_builds() -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows(TORCH):
        found.setdefault(row["version"], []).append(row)
    return found


def builds_for(specifier: str) -> Iterator[Row]:
    """Return the torch builds of the releases that a requirement admits."""
    return (
        build for version, found in torch_builds().items() if admits(specifier, version) for build in found
    )


def is_cuda(build: Row) -> bool:
    return build["variant"] != "cpu"


# Sources.


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_a_source_of_its_file_and_a_basis_and_an_inferred_one_a_note(table: str) -> None:
    sources = document(table)["sources"]
    for row in all_rows(table):
        assert row["source"] in sources, row
        assert row.get("published", row["source"]) in sources, row
        assert row["basis"] in BASES, row
        assert row["basis"] != "inferred" or len(row.get("note", "").split()) > 2, row


@pytest.mark.parametrize("table", TABLES)
def test_a_measured_row_is_measured_from_an_artefact(table: str) -> None:
    sources = document(table)["sources"]
    for row in all_rows(table):
        assert row["basis"] != "measured" or "artefact" in sources[row["source"]], row


@pytest.mark.parametrize("table", TABLES)
def test_rows_do_not_slide_from_measured_to_inferred(table: str) -> None:
    bases = Counter(row["basis"] for row in all_rows(table))
    assert bases["inferred"] <= INFERRED_AT_MOST.get(table, 0)
    if table in MEASURED_AT_LEAST:
        assert bases["measured"] >= MEASURED_AT_LEAST[table]
    elif "measure" in document(table):
        own = [row for row in rows(table) if "index" not in row]
        assert bases["measured"] >= len(own) > 0


def test_the_tables_that_the_counts_name_exist() -> None:
    assert {*INFERRED_AT_MOST, *MEASURED_AT_LEAST} <= set(TABLES)


@pytest.mark.parametrize("table", [table for table in TABLES if table != "tools"])
def test_no_source_is_a_table_of_another_tool(table: str) -> None:
    """The table `tools` is of such tools themselves."""
    for name, source in document(table)["sources"].items():
        where = source.get("url", source.get("artefact"))
        assert not OTHER_TOOLS.search(where), (name, where)


@pytest.mark.parametrize("table", TABLES)
def test_no_table_names_a_registry_or_a_path_of_a_machine(table: str) -> None:
    assert not REGISTRIES.findall(text_of(table))
    assert not MACHINE_PATHS.findall(text_of(table))


# Drivers and toolkits.


@pytest.mark.parametrize("column", ["linux_minor", "linux_own", "windows_minor", "windows_own"])
def test_a_newer_cuda_never_needs_an_older_driver(column: str) -> None:
    lines = sorted((row for row in rows("cuda") if column in row), key=lambda row: numbers(row["cuda"]))
    assert len(lines) > 15
    floors = [numbers(row[column]) for row in lines]
    assert floors == sorted(floors)


def test_every_torch_variant_has_a_driver_floor() -> None:
    floors = {numbers(row["cuda"]): row for row in rows("cuda")}
    for build in filter(is_cuda, rows(TORCH)):
        line = line_of(build["variant"])
        system = "windows" if build["platform"] == "win-64" else "linux"
        assert floors[line]["linux_own"], shown(build)
        column = f"{system}_minor" if line >= (11, 0) else f"{system}_own"
        assert floors[line].get(column), shown(build)


def test_toolkits_and_drivers_are_known_for_the_same_lines() -> None:
    lines = {row["cuda"] for row in rows("cuda") if numbers(row["cuda"]) >= (11, 0)}
    toolkits = {row["cuda"] for row in rows("toolkits") if numbers(row["cuda"]) >= (11, 0)}
    assert toolkits - lines == WITHOUT_DRIVER
    assert lines <= toolkits
    assert not WITHOUT_DRIVER & {row["cuda"] for row in rows("toolkit-releases")}


def test_newer_toolkits_write_newer_ptx_and_take_newer_host_compilers() -> None:
    ordered = sorted(rows("toolkits"), key=lambda row: numbers(row["cuda"]))
    for column, last in (("ptx_isa", slice(None)), ("gcc", slice(None)), ("clang", slice(-1, None))):
        found = [numbers(row[column])[last] for row in ordered if column in row]
        assert found == sorted(found), column
    ranges = [numbers(row["msvc"]) for row in ordered if "msvc" in row]
    assert all(low <= high for low, high in ranges)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(ranges))


def test_an_architecture_that_toolkits_drop_does_not_come_back() -> None:
    ordered = sorted(rows("toolkits"), key=lambda row: numbers(row["cuda"]))
    for architecture in rows("architectures"):
        sm = architecture["sm"]
        listed = [row["cuda"] for row in ordered if sm in words(row, "sms")]
        between = [
            row["cuda"]
            for row in ordered
            if numbers(architecture["first"]) <= numbers(row["cuda"])
            and numbers(row["cuda"]) <= numbers(architecture.get("last", "99"))
        ]
        assert listed == between, sm
    known = {row["sm"] for row in rows("architectures")}
    assert {row["capability"] for row in rows("gpus")} <= known


def test_targets_for_exactly_one_gpu_or_family_are_those_of_gpus_that_the_toolkit_has() -> None:
    for row in rows("toolkits"):
        sms = words(row, "sms")
        assert sms == sorted(set(sms), key=numbers), row["cuda"]
        assert set(words(row, "exact")) <= set(sms), row["cuda"]
        assert set(words(row, "family")) <= set(words(row, "exact")), row["cuda"]


# Code in wheels.


def toolkits_of(binding: str) -> list[Row]:
    """Return the toolkits of `12.8`, or those of all lines of `12`."""
    wanted = numbers(binding)
    return [row for row in rows("toolkits") if numbers(row["cuda"])[: len(wanted)] == wanted]


def has(toolkits: Iterable[Row], column: str) -> set[str]:
    return {sm for row in toolkits for sm in words(row, column)}


def test_every_sm_list_of_torch_is_within_that_of_its_toolkit() -> None:
    for build in rows(TORCH):
        if is_cuda(build):
            toolkits = toolkits_of(".".join(map(str, line_of(build["variant"]))))
            assert len(toolkits) == 1, shown(build)
            assert build["sms"], shown(build)
            assert {*words(build, "sms"), *words(build, "ptx")} <= has(toolkits, "sms"), shown(build)
        else:
            assert "sms" not in build, shown(build)


@pytest.mark.parametrize("table", [name for name in PACKAGES if name != TORCH])
def test_code_of_a_package_is_within_what_its_toolkit_can_write(table: str) -> None:
    for row in rows(table):
        toolkits = [toolkit for binding in words(row, "cuda") for toolkit in toolkits_of(binding)]
        assert bool(toolkits) == bool(words(row, "cuda")), shown(row)
        assert {*words(row, "sms"), *words(row, "ptx")} <= has(toolkits, "sms"), shown(row)
        assert set(words(row, "exact")) <= has(toolkits, "exact"), shown(row)
        if re.fullmatch(r"cu\d{3}", row.get("variant", "")):
            assert [numbers(cuda) for cuda in words(row, "cuda")] == [line_of(row["variant"])], shown(row)


def test_a_newer_torch_never_takes_an_older_c_plus_plus_standard_or_abi() -> None:
    ordered = sorted(rows(TORCH), key=lambda row: numbers(row["version"]))
    standards = [int(row["cxx"]) for row in ordered if "cxx" in row]
    assert standards == sorted(standards)
    for platform in ("linux-64", "linux-aarch64"):
        abis = [row["cxx11_abi"] for row in ordered if row["platform"] == platform and "cxx11_abi" in row]
        assert abis == sorted(abis)


# Companions of torch.


@pytest.mark.parametrize("table", COMPANIONS)
def test_every_companion_goes_with_the_torch_it_was_released_with(table: str) -> None:
    for row in rows(table):
        torch = torch_of(row)
        assert admits(row["torch"], torch), shown(row)
        builds = torch_builds()[torch]
        platforms = {one for one in words(row, "platforms") if (row["version"], one) not in WITHOUT_PARTNER}
        assert platforms <= {build["platform"] for build in builds}, shown(row)
        pythons = {python for build in builds for python in words(build, "pythons")}
        if "py3-none" in row.get("note", ""):
            assert set(words(row, "pythons")) >= pythons, shown(row)
        else:
            assert set(words(row, "pythons")) <= pythons, shown(row)


def torch_of(companion: Row) -> str:
    """Return the torch that a companion was made for; what has no builds of its own for variants pins it."""
    return companion.get("released_with") or companion["torch"].removeprefix("==")


def test_torchaudio_has_builds_for_variants_once_it_links_cuda() -> None:
    for row in rows("packages/torchaudio"):
        assert ("released_with" in row) == ("cuda" in row) == (numbers(row["version"]) >= (0, 10)), shown(row)


@pytest.mark.parametrize("table", COMPANIONS)
def test_the_companion_on_the_default_index_is_of_the_cuda_of_torch_there(table: str) -> None:
    linked = [row for row in rows(table) if "released_with" in row and row["version"] not in WITHOUT_CUDA]
    assert len(linked) > 25
    for row in linked:
        (build,) = [
            build
            for build in torch_builds()[row["released_with"]]
            if build["platform"] == "linux-64" and "index" not in build
        ]
        assert row["cuda"] == str(line_of(build["variant"])[0]), shown(row)


def test_torch_releases_have_companions() -> None:
    vision = Counter(
        torch_of(row) for row in rows("packages/torchvision") if row["version"] not in WITHOUT_CUDA
    )
    audio = Counter(torch_of(row) for row in rows("packages/torchaudio"))
    assert vision == Counter(torch_builds().keys())
    newest = max(audio, key=numbers)
    assert audio == Counter(version for version in torch_builds() if numbers(version) <= numbers(newest))


def test_the_triton_that_a_torch_build_requires_exists_for_its_platform_and_pythons() -> None:
    found = [build for build in rows(TORCH) if "triton" in build]
    assert len(found) > 30
    for build in found:
        matching = [
            row
            for row in rows("packages/triton")
            if admits(build["triton"], row["version"])
            and admits(row["torch"], build["version"])
            and build["platform"] in words(row, "platforms")
            and set(words(build, "pythons")) - WITHOUT_TRITON.get(build["version"], set())
            <= set(words(row, "pythons"))
        ]
        assert matching, shown(build)


# xformers, mmcv and what needs them.


def test_every_xformers_is_of_the_cuda_major_of_a_torch_it_may_be_planned_with() -> None:
    for row in rows("packages/xformers"):
        if "cuda" in row:
            partners = {
                build["version"]
                for build in builds_for(row["torch"])
                if is_cuda(build)
                and line_of(build["variant"])[0] == numbers(row["cuda"])[0]
                and build["platform"] in words(row, "platforms")
            }
            assert row["built_with"] in partners, shown(row)


def test_every_xformers_of_an_index_stands_beside_the_torch_build_that_it_was_compiled_with() -> None:
    found = [row for row in rows("packages/xformers") if "index" in row]
    assert len(found) > 40
    torch = {(build["version"], build["variant"], build["platform"]) for build in rows(TORCH)}
    without = {
        (row["version"], row["variant"], platform)
        for row in found
        for platform in words(row, "platforms")
        if (row["built_with"], row["variant"], platform) not in torch
    }
    assert without == WITHOUT_TORCH


@pytest.mark.parametrize("package", ["mmcv", "mmcv-full"])
def test_every_wheel_of_openmmlab_goes_with_a_torch_build_that_exists(package: str) -> None:
    found = [row for row in rows(f"packages/{package}") if row.get("index") == "openmmlab"]
    assert len(found) > 80
    for row in found:
        assert re.fullmatch(r"==\d+\.\d+\.\*", row["torch"]), shown(row)
        places = {
            build["platform"] for build in builds_for(row["torch"]) if build["variant"] == row["variant"]
        }
        if (row["variant"], row["torch"]) in WITHOUT_LABEL:
            places.add("win-64")
        assert set(words(row, "platforms")) <= places, shown(row)


@pytest.mark.parametrize("package", ["mmcv", "mmcv-full"])
def test_every_wheel_of_openmmlab_is_of_a_release_with_a_source_distribution(package: str) -> None:
    released = {row["version"] for row in rows(f"packages/{package}") if "index" not in row}
    assert {row["version"] for row in rows(f"packages/{package}")} == released | (
        WITHOUT_SDIST if package == "mmcv-full" else set()
    )


@pytest.mark.parametrize("table", PACKAGES)
def test_what_a_package_needs_is_there_in_a_version_that_it_takes(table: str) -> None:
    for row in rows(table):
        for need in map(Requirement, words(row, "needs")):
            there = [found["version"] for found in rows(f"packages/{need.name}")]
            assert any(admits(str(need.specifier), version) for version in there), (shown(row), str(need))


# Toolkits of wheels.


def test_toolkit_releases_have_the_compiler_of_their_line_with_all_its_parts() -> None:
    for row in rows("toolkit-releases"):
        parts = dict(part.split("=") for part in words(row, "components"))
        assert numbers(row["version"])[:2] == numbers(row["cuda"]), row["version"]
        assert numbers(parts["nvcc"])[:2] == numbers(row["cuda"]), row["version"]
        assert ("compiles" in row) == (numbers(row["cuda"]) >= (13, 0)), row["version"]
        assert ("lib" in row) == ("compiles" in row), row["version"]
        if "compiles" in row:
            assert {"nvcc", "nvvm", "crt", "cudart", "cccl"} <= set(parts), row["version"]
        assert set(words(row, "skew")) <= set(parts), row["version"]
        assert not set(words(row, "loose")) & set(parts), row["version"]


def test_toolkit_releases_rise_and_so_do_their_compilers() -> None:
    versions = [numbers(row["version"]) for row in rows("toolkit-releases")]
    assert versions == sorted(set(versions))
    compilers = [
        numbers(dict(part.split("=") for part in words(row, "components"))["nvcc"])
        for row in rows("toolkit-releases")
    ]
    assert compilers == sorted(compilers)


def test_a_wheel_of_the_newest_toolkit_is_no_newer_than_the_newest_wheel() -> None:
    newest = {row["wheel"]: numbers(row["last"]) for row in rows("nvidia-wheels")}
    assert all(numbers(row["first"]) <= newest[row["wheel"]] for row in rows("nvidia-wheels"))
    parts = dict(part.split("=") for part in words(rows("toolkit-releases")[-1], "components"))
    for extra, wheel in (("nvcc", "nvidia-cuda-nvcc"), ("nvvm", "nvidia-nvvm"), ("cublas", "nvidia-cublas")):
        assert numbers(parts[extra]) <= newest[wheel], wheel


# Conda, images.


def test_conda_builds_ask_for_no_newer_driver_than_their_variant() -> None:
    lines = {numbers(row["cuda"]) for row in rows("cuda")}
    for row in rows("conda-builds"):
        if row["variant"] != "cpu":
            line = line_of(row["variant"])
            assert line in lines, shown(row)
            assert numbers(row.get("needs_cuda", "0") + ".0")[0] <= line[0], shown(row)
        else:
            assert "needs_cuda" not in row, shown(row)


def test_conda_components_are_of_the_line_that_their_version_says() -> None:
    found = [row for row in rows("conda-builds") if row["package"] in {"cuda-nvcc", "cudatoolkit"}]
    assert len(found) > 50
    for row in found:
        assert numbers(row["version"])[:2] == line_of(row["variant"]), shown(row)
        assert (row["package"] == "cudatoolkit") == (line_of(row["variant"]) < (12, 0)), shown(row)


def test_conda_builds_come_from_channels_of_the_eras_and_those_of_pytorch_end_with_2_5() -> None:
    channels = {channel for row in rows("conda-eras") for channel in words(row, "channels")}
    for row in rows("conda-builds"):
        assert row["channel"] in channels, shown(row)
        if (row["channel"], row["package"]) == ("pytorch", "pytorch"):
            assert numbers(row["version"]) < (2, 6), shown(row)


def test_an_image_asks_for_a_driver_of_its_own_cuda() -> None:
    systems = {row["os"] for row in rows("systems")}
    for row in rows("images"):
        assert row["os"] in systems, row
        assert row.get("require_cuda") == row.get("cuda"), row
        if "cuda" in row:
            assert numbers(row["release"])[:2] == numbers(row["cuda"]), row


def test_there_is_one_point_release_of_a_cuda_image_per_line_and_system() -> None:
    found = Counter((row["cuda"], row["os"]) for row in rows("images") if "cuda" in row)
    assert len(found) > 80
    assert set(found.values()) == {1}


def cudnn_words(line: Numbers) -> set[str]:
    """Return how tags spell cuDNN: with its major before CUDA 12.4, plainly since."""
    if line < (12, 3):
        return {"cudnn8"}
    return {"cudnn9"} if line < (12, 4) else {"cudnn"}


def test_flavours_of_images_are_spelled_as_in_their_time() -> None:
    for row in rows("images"):
        if "cuda" in row:
            spelled = {word.split("-")[0] for word in words(row, "flavours") if "-" in word}
            assert spelled <= cudnn_words(numbers(row["cuda"])), row
            plain = {word.split("-")[-1] for word in words(row, "flavours")}
            assert plain <= {"base", "runtime", "devel"}, row
