"""Rows of conda-builds.yaml from records of channels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from cudaenv.matrix.places import CondaBuild
from cudaenv.matrix.refresh import conda
from cudaenv.matrix.refresh.artefacts import Artefacts, RawRow, Scope

REPODATA = os.environ.get("CUDAENV_CONDA_REPODATA", "")
"""A folder with `<channel>/<platform>/repodata.json.zst` of real channels, or of a part of them."""

TABLE = Path(__file__).parents[2] / "matrix" / "conda-builds.yaml"
NAMES = ("pytorch", "torchvision", "xformers", "mmcv", "cuda-nvcc", "cudatoolkit")
GLIBC = "__glibc >=2.17,<3.0.a0"
KEY = CondaBuild.KEY


def record(package: str, version: str, build: str, *depends: str, **more: object) -> dict[str, object]:
    """A record as repodata have it; the build number is what the build string ends with."""
    number = build.rpartition("_")[2]
    return {
        "name": package,
        "version": version,
        "build": build,
        "build_number": int(number) if number.isdigit() else 0,
        "depends": list(depends),
        "constrains": [],
        "subdir": "linux-64",
        "timestamp": 1_764_979_992_711,
        "md5": "0" * 32,
        "sha256": "0" * 64,
        **more,
    }


def py(line: str) -> tuple[str, str]:
    """What a conda-forge package for one Python depends on."""
    major, _, minor = line.partition(".")
    bound = f"{major}.{int(minor) + 1}"
    return f"python >={line},<{bound}.0a0", f"python_abi {line}.* *_cp{major}{minor}"


@dataclass
class Channels:
    """The records of channels, by channel and platform; every question is remembered."""

    data: Mapping[tuple[str, str], list[dict[str, object]]]
    asked: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def records(
        self, channel: str, platform: str, names: Collection[str]
    ) -> tuple[Mapping[str, object], ...]:
        self.asked.append((channel, platform, tuple(names)))
        return tuple(item for item in self.data.get((channel, platform), []) if item["name"] in names)

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [function(item) for item in items]

    def say(self, line: str) -> None:
        self.lines.append(line)


def measure(records: list[dict[str, object]], channel: str = "conda-forge", since: str = "") -> list[RawRow]:
    artefacts: Artefacts = Channels({(channel, "linux-64"): records})  # type: ignore[assignment]
    return list(conda.BUILDS.measure(artefacts, Scope(since=since)))


def one(*records: dict[str, object], channel: str = "conda-forge") -> RawRow:
    (row,) = measure(list(records), channel)
    return row


def torch_builds() -> list[dict[str, object]]:
    cuda = ("__cuda", GLIBC, "cuda-version >=12.9,<13", "libcudnn >=9.10.2.21,<10.0a0", "mkl >=2026.0.0")
    new = ("__cuda", "__glibc >=2.16,<3.0.a0", cuda[2], "libcudnn >=9.9.0.52,<10.0a0")
    return [
        record("pytorch", "2.10.0", "cuda129_mkl_py311_h6b7d41d_303", *cuda, *py("3.11")),
        record("pytorch", "2.10.0", "cuda129_mkl_py312_h9ac99b3_303", *cuda, *py("3.12")),
        record("pytorch", "2.10.0", "cuda129_mkl_py314_hfa65069_305", *new, *py("3.14")),
        record("pytorch", "2.10.0", "cuda129_generic_py314_h0123abc_205", *cuda, *py("3.14")),
        record("pytorch", "2.10.0", "cpu_mkl_py314_hf472749_104", GLIBC, *py("3.14")),
        record("pytorch", "2.10.0", "cpu_generic_py311_h1234567_4", GLIBC, *py("3.11")),
    ]


def test_builds_of_a_release_are_one_row_per_variant() -> None:
    cpu, cuda = measure(torch_builds())
    assert cuda == {
        "channel": "conda-forge",
        "package": "pytorch",
        "version": "2.10.0",
        "variant": "cu129",
        "platform": "linux-64",
        "pythons": "3.11 3.12 3.14",
        "build": "cuda129_*",
        "cudnn": "9.9.0.52",
        "glibc": "2.16",
        "needs_cuda": "*",
        "source": "repodata",
        "basis": "measured",
    }
    assert (cpu["variant"], cpu["build"], cpu["pythons"]) == ("cpu", "cpu_*", "3.11 3.14")
    assert "needs_cuda" not in cpu
    assert "cudnn" not in cpu


def test_rows_have_the_columns_of_the_table_in_their_order() -> None:
    columns = [
        item.name for item in fields(CondaBuild) if item.name not in {"source", "basis", "read", "note"}
    ]
    for row in measure(torch_builds()):
        own = [column for column in row if column not in {"source", "basis"}]
        assert own == [column for column in columns if column in row]
        assert all(row.values())


@pytest.mark.parametrize(
    ("channel", "build", "depends", "variant", "shape"),
    [
        ("conda-forge", "cuda120_py312h26b3cf7_301", ["cuda-version >=12.0,<13"], "cu120", "cuda120_py*"),
        ("conda-forge", "cuda112py310he33e0d6_201", ["cudatoolkit >=11.2,<12"], "cu112", "cuda112py*"),
        ("conda-forge", "cuda112py38he33e0d6_1", ["cudatoolkit 11.2|11.2.*"], "cu112", "cuda112py*"),
        (
            "pytorch",
            "py3.10_cuda11.7_cudnn8.5.0_0",
            ["pytorch-cuda >=11.7,<11.8"],
            "cu117",
            "py*_cuda11.7_cudnn8.5.0_*",
        ),
        (
            "pytorch",
            "py3.8_cuda10.1.243_cudnn7.6.3_0",
            ["cudatoolkit >=10.1,<10.2"],
            "cu101",
            "py*_cuda10.1.243_cudnn7.6.3_*",
        ),
        (
            "pytorch",
            "py3.6_cuda9.2.148_cudnn7.6.3_0",
            ["cudatoolkit >=9.2,<9.3"],
            "cu92",
            "py*_cuda9.2.148_cudnn7.6.3_*",
        ),
        ("pytorch", "py3.11_cpu_0", ["pytorch-mutex 1.0 cpu"], "cpu", "py*_cpu_*"),
        ("conda-forge", "py310hd41b1e2_0", [], "cpu", ""),
    ],
)
def test_the_variant_is_in_the_build_string_or_the_dependencies(
    channel: str, build: str, depends: list[str], variant: str, shape: str
) -> None:
    row = one(record("pytorch", "1.13.1", build, *depends), channel=channel)
    assert row["variant"] == variant
    assert fnmatchcase(build, row.get("build", "*"))
    assert row.get("build", "") == shape


@pytest.mark.parametrize("written", ["8.5.0", "8"])
def test_cudnn_may_stand_in_the_build_string(written: str) -> None:
    row = one(record("pytorch", "2.3.0", f"py3.10_cuda11.8_cudnn{written}_0"), channel="pytorch")
    assert row["cudnn"] == written


def test_what_is_rebuilt_for_another_torch_has_a_row_for_each() -> None:
    def build(torch: str, name: str) -> dict[str, object]:
        needs = ("python", "pytorch * cuda*", f"pytorch {torch}", "cuda-version >=12.9,<13", GLIBC)
        return record("xformers", "0.0.34", name, *needs)

    rows = measure(
        [
            build(">=2.11.0,<2.12.0a0", "cuda_129py310hf1392a5_1"),
            build(">=2.10.0,<2.11.0a0", "cuda_129py310h7a047de_0"),
        ]
    )
    assert [row["torch"] for row in rows] == [">=2.10.0,<2.11.0", ">=2.11.0,<2.12.0"]
    assert {row["build"] for row in rows} == {"cuda_129py*"}
    assert all("pythons" not in row for row in rows)


@pytest.mark.parametrize(
    ("constraints", "specifier"),
    [
        (["2.3.1"], "==2.3.1"),
        (["==2.0.0"], "==2.0.0"),
        (["2.10.0.* *cuda130*", ">=2.10.0,<2.11.0a0"], "==2.10.0.*,>=2.10.0,<2.11.0"),
        (["=1.13"], "==1.13.*"),
        (["=1.13.*"], "==1.13.*"),
        (["1.9.0=cuda112*"], "==1.9.0"),
        (["=*=cuda*"], ""),
        (["* cpu*"], ""),
        ([""], ""),
    ],
)
def test_the_torch_of_a_package_is_read_as_conda_means_it(constraints: list[str], specifier: str) -> None:
    depends = [f"pytorch {text}" for text in constraints]
    assert one(record("torchvision", "0.18.1", "py311_cpu", *depends)).get("torch", "") == specifier


def test_the_highest_lower_bound_on_cuda_is_the_one_it_was_built_with() -> None:
    bounds = ("cuda-version >=12,<13.0a0", "cuda-version >=12.9,<13", "cuda-version >=12.0,<13")
    needs = (*bounds, "pytorch >=2.9.1,<2.10.0a0")
    row = one(record("mmcv", "2.2.0", "cuda129py311hc5e0d66_209", *needs, "python_abi 3.11.* *_cp311"))
    assert (row["variant"], row["pythons"], row["torch"]) == ("cu129", "3.11", ">=2.9.1,<2.10.0")


def test_toolkits_are_of_the_line_of_their_version() -> None:
    rows = measure(
        [
            record("cuda-nvcc", "12.9.86", "hcdd1206_6", "cuda-nvcc_linux-64 12.9.86.*"),
            record("cuda-nvcc", "13.1.115", "hcdd1206_2", "cuda-nvcc_linux-64 13.1.115.*"),
            record("cudatoolkit", "11.7.0", "hd8887f6_11", GLIBC, constrains=["__cuda >=11"]),
        ]
    )
    assert [row["variant"] for row in rows] == ["cu129", "cu131", "cu117"]
    assert not any("build" in row for row in rows)


def test_builds_for_other_accelerators_and_release_candidates_are_left_out() -> None:
    assert measure([record("pytorch", "2.10.0", "xpu_mkl_py312_h0123456_200")]) == []
    assert measure([record("pytorch", "2.10.0.rc3", "cpu_mkl_py312_h0123456_100")]) == []


def test_versions_of_cuda_that_the_solver_must_know_are_kept() -> None:
    row = one(record("pytorch", "1.8.0", "cuda111py38h0123456_1", "__cuda >=11.1", "cudatoolkit 11.1|11.1.*"))
    assert row["needs_cuda"] == ">=11.1"


def test_a_build_string_that_contradicts_the_dependencies_is_refused() -> None:
    wrong = record("pytorch", "2.10.0", "cuda129_mkl_py312_h9ac99b3_303", "cuda-version >=13.0,<14")
    with pytest.raises(ValueError, match=r"conda-forge/linux-64: pytorch 2\.10\.0 .* CUDA 12\.9 and 13\.0"):
        measure([wrong])


@pytest.mark.parametrize(
    "wrong",
    [
        record("pytorch", "2.10.0", "mkl_py312_h9ac99b3_303", "__cuda"),
        record("pytorch", "2.10.0", "cuda_h9ac99b3_303"),
    ],
)
def test_a_cuda_build_of_no_known_line_is_no_cpu_build(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"pytorch 2\.10\.0 .* for which release line it does not say"):
        measure([wrong])


def test_a_pattern_that_cannot_tell_variants_apart_is_refused() -> None:
    same = [
        record("mmcv", "2.2.0", "cuda118py310h0123456_1"),
        record("mmcv", "2.2.0", "cu118_py310_1"),
        record("mmcv", "2.2.0", "cuda120py310h0123456_1"),
    ]
    with pytest.raises(ValueError, match=r"mmcv 2\.2\.0 cuda120.*cu118"):
        measure(same)


def test_a_torch_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torchvision 0\.18\.1 .* cannot be read"):
        measure([record("torchvision", "0.18.1", "py311_cpu", "pytorch 2.3|2.4")])


@pytest.mark.parametrize(
    "change",
    [
        {"version": None},
        {"version": "2.10.0; rm"},
        {"version": "9" * 70},
        {"version": "2_x"},
        {"build": 7},
        {"build": "cuda129 mkl"},
        {"build": "x" * 200},
        {"build_number": "305"},
        {"build_number": True},
        {"build_number": -1},
        {"depends": "python"},
        {"depends": None},
        {"depends": [7]},
        {"depends": ["-rf /"]},
        {"depends": ["python >=3\n"]},
        {"depends": ["python " + "9" * 1000]},
        {"depends": ["python"] * 2000},
        {"subdir": "osx-64"},
        {"timestamp": "today"},
        {"timestamp": 10**20},
    ],
)
def test_malformed_records_name_their_channel_and_package(change: dict[str, object]) -> None:
    wrong = {**torch_builds()[0], **change}
    with pytest.raises(ValueError, match=r"^conda-forge/linux-64: pytorch"):
        measure([wrong])


@pytest.mark.parametrize("name", [None, 7, "PyTorch", "../pytorch", "numpy"])
def test_a_record_that_was_not_asked_for_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match="conda-forge/linux-64: a record of"):
        conda.read_record("conda-forge", "linux-64", NAMES, {**torch_builds()[0], "name": name})


def test_missing_keys_are_refused_and_a_missing_timestamp_is_not() -> None:
    for key in ("version", "build", "build_number", "depends", "subdir"):
        with pytest.raises(ValueError, match="conda-forge/linux-64: pytorch"):
            measure([{name: value for name, value in torch_builds()[0].items() if name != key}])
    assert one({name: value for name, value in torch_builds()[0].items() if name != "timestamp"})


def test_an_absurd_number_of_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conda, "MOST_RECORDS", 5)
    with pytest.raises(ValueError, match="conda-forge/linux-64: 6 records"):
        measure(torch_builds())


def test_a_release_with_a_build_of_the_scope_is_measured_whole() -> None:
    old, new, *_ = torch_builds()
    old["timestamp"] = 1_700_000_000_000
    new["timestamp"] = 1_780_000_000
    other = record("pytorch", "2.4.0", "cuda120_py312h26b3cf7_301", timestamp=1_724_927_484_593)
    (row,) = measure([old, new, other], since="2026-01-01")
    assert row["pythons"] == "3.11 3.12"
    assert measure([old, new, other], since="2026-12-31") == []


def test_each_channel_is_asked_for_its_own_packages_only() -> None:
    channels = Channels({})
    assert list(conda.BUILDS.measure(channels, Scope())) == []  # type: ignore[arg-type]
    assert ("nvidia", "linux-aarch64", ("cuda-nvcc",)) in channels.asked
    assert ("pytorch", "win-64", ("pytorch", "torchvision", "torchaudio")) in channels.asked
    assert not any(
        channel == "pytorch" and platform == "linux-aarch64" for channel, platform, _ in channels.asked
    )
    assert "conda-forge/linux-64: 0 records" in channels.lines


def test_it_owns_what_was_measured_from_its_channels() -> None:
    (row, _) = measure(torch_builds())
    assert conda.BUILDS.owns(row)
    assert not conda.BUILDS.owns({**row, "basis": "documented"})
    assert not conda.BUILDS.owns({**row, "channel": "esri"})


@pytest.mark.skipif(not REPODATA, reason="CUDAENV_CONDA_REPODATA names no folder with repodata of channels")
def test_the_table_has_the_rows_of_real_repodata() -> None:
    zstandard = pytest.importorskip("zstandard")
    data: dict[tuple[str, str], list[dict[str, object]]] = {}
    for path in sorted(Path(REPODATA).glob("*/*/repodata.json.zst")):
        with path.open("rb") as stream:
            document = json.loads(zstandard.ZstdDecompressor().stream_reader(stream).read())
        channel, platform = path.parts[-3:-1]
        data[(channel, platform)] = [*document["packages"].values(), *document["packages.conda"].values()]
    channels: Artefacts = Channels(data)  # type: ignore[assignment]
    measured = list(conda.BUILDS.measure(channels, Scope()))
    rows = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["rows"]
    table = {tuple(row.get(column, "") for column in KEY): row for row in rows}
    for row in measured:
        assert table[tuple(row.get(column, "") for column in KEY)] == row
    torch = [
        (channel, platform, item)
        for (channel, platform), items in data.items()
        for item in items
        if item["name"] == "pytorch" and channel in conda.CHANNELS
    ]
    assert torch
    for channel, platform, item in torch:
        found = conda.read_record(channel, platform, ("pytorch",), item)
        row = table[(channel, "pytorch", found.version, conda.variant(found), platform, "")]
        assert fnmatchcase(found.build, row.get("build", "*"))
        assert conda.python(found) in row["pythons"].split()
