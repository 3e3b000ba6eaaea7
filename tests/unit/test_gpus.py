"""Which GPU a name means: spellings of drivers and people, ambiguous and unknown names, the shipped table."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cudaenv.matrix.gpus import GpuRow, GpuTable
from cudaenv.matrix.tables import Basis
from cudaenv.model.machine import Platform
from cudaenv.model.versions import ComputeCapability

FILE = Path(__file__).parents[2] / "matrix" / "gpus.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
COLUMNS = ("product", "capability", "line", "platform", "source", "basis", "note")
OPTIONAL = {"platform", "note"}
LINES = {"data center", "GeForce", "Titan", "workstation", "Jetson", "laptop-only"}


def gpu_row(raw: dict[str, str]) -> GpuRow:
    return GpuRow(
        product=raw["product"],
        capability=ComputeCapability.parse(raw["capability"]),
        line=raw["line"],
        source=raw["source"],
        basis=Basis(raw["basis"]),
        platform=Platform(raw["platform"]) if "platform" in raw else None,
        note=raw.get("note", ""),
    )


TABLE = GpuTable(gpu_row(raw) for raw in DOCUMENT["rows"])


def found(name: str) -> list[str]:
    return [str(capability) for capability in TABLE.capabilities(name)]


DRIVER_NAMES = """
    NVIDIA GeForce RTX 5090                                   12.0
    NVIDIA GeForce RTX 5090 D v2                              12.0
    NVIDIA GeForce RTX 5070 Ti Laptop GPU                     12.0
    NVIDIA GeForce RTX 4090                                   8.9
    NVIDIA GeForce RTX 4090 D                                 8.9
    NVIDIA GeForce RTX 4090 Laptop GPU                        8.9
    NVIDIA GeForce RTX 4070 Ti SUPER                          8.9
    NVIDIA GeForce RTX 3050 A Laptop GPU                      8.9
    NVIDIA GeForce RTX 3050 6GB Laptop GPU                    8.6
    NVIDIA GeForce RTX 3050Ti Laptop GPU                      8.6
    NVIDIA GeForce RTX 3050 OEM                               8.6
    NVIDIA GeForce RTX 2050                                   8.6
    NVIDIA GeForce MX570 A                                    8.6
    NVIDIA GeForce MX450                                      7.5
    NVIDIA GeForce RTX 2080 Super with Max-Q Design           7.5
    NVIDIA GeForce GTX 1660 Ti with Max-Q Design              7.5
    NVIDIA GeForce GTX 1650                                   7.5
    GeForce GTX 1080 Ti                                       6.1
    GeForce GTX 1060 6GB                                      6.1
    GeForce GTX 1060 with Max-Q Design                        6.1
    GeForce MX150                                             6.1
    GeForce MX130                                             5.0
    GeForce GTX 980 Ti                                        5.2
    GeForce GTX 970M                                          5.2
    GeForce GTX 960                                           5.2
    GeForce GTX 960M                                          5.0
    GeForce GTX 750 Ti                                        5.0
    GeForce 940MX                                             5.0
    GeForce GTX 780                                           3.5
    GeForce GTX TITAN                                         3.5
    GeForce GTX TITAN Black                                   3.5
    GeForce GTX TITAN X                                       5.2
    NVIDIA TITAN X (Pascal)                                   6.1
    TITAN X (Pascal)                                          6.1
    TITAN Xp                                                  6.1
    NVIDIA TITAN Xp COLLECTORS EDITION                        6.1
    NVIDIA TITAN V                                            7.0
    NVIDIA TITAN RTX                                          7.5
    Tesla K40m                                                3.5
    Tesla K80                                                 3.7
    Tesla M10                                                 5.0
    Tesla M40 24GB                                            5.2
    Tesla M60                                                 5.2
    Tesla P4                                                  6.1
    Tesla P40                                                 6.1
    Tesla P100-PCIE-16GB                                      6.0
    Tesla P100-SXM2-16GB                                      6.0
    Tesla V100-SXM2-32GB                                      7.0
    Tesla V100-PCIE-16GB                                      7.0
    Tesla V100-FHHL-16GB                                      7.0
    Tesla V100-DGXS-32GB                                      7.0
    Tesla V100S-PCIE-32GB                                     7.0
    Tesla T4                                                  7.5
    NVIDIA T4G                                                7.5
    NVIDIA A100-SXM4-80GB                                     8.0
    NVIDIA A100-PCIE-40GB                                     8.0
    NVIDIA A100 80GB PCIe                                     8.0
    NVIDIA A100-SXM-64GB                                      8.0
    NVIDIA A100-SXM4-40GB MIG 1g.5gb                          8.0
    NVIDIA A800 80GB PCIe LC                                  8.0
    NVIDIA A800 40GB Active                                   8.0
    NVIDIA A30                                                8.0
    NVIDIA A2                                                 8.6
    NVIDIA A10                                                8.6
    NVIDIA A10G                                               8.6
    NVIDIA A40                                                8.6
    NVIDIA L4                                                 8.9
    NVIDIA L40S                                               8.9
    NVIDIA H100 80GB HBM3                                     9.0
    NVIDIA H100 80GB HBM3 MIG 1c.3g.40gb                      9.0
    NVIDIA H100 PCIe                                          9.0
    NVIDIA H100 NVL                                           9.0
    NVIDIA H200                                               9.0
    NVIDIA H200 NVL                                           9.0
    NVIDIA H20-3e                                             9.0
    NVIDIA H20 NVL16                                          9.0
    NVIDIA GH200 480GB                                        9.0
    NVIDIA GH200 144G HBM3e                                   9.0
    NVIDIA B200                                               10.0
    NVIDIA GB200                                              10.0
    NVIDIA B300 SXM6 AC                                       10.3
    NVIDIA GB300                                              10.3
    NVIDIA VR200                                              10.7
    NVIDIA GB10                                               12.1
    Quadro K620                                               5.0
    Quadro M2000                                              5.2
    Quadro M2000M                                             5.0
    Quadro P2000                                              6.1
    Quadro P520                                               6.1
    Quadro GP100                                              6.0
    Quadro GV100                                              7.0
    Quadro RTX 6000                                           7.5
    Quadro RTX 5000 with Max-Q Design                         7.5
    Quadro T1000 with Max-Q Design                            7.5
    NVIDIA T1200 Laptop GPU                                   7.5
    NVIDIA T400 4GB                                           7.5
    NVIDIA RTX A6000                                          8.6
    NVIDIA RTX A2000 12GB                                     8.6
    NVIDIA RTX A2000 8GB Laptop GPU                           8.6
    NVIDIA RTX A500 Embedded GPU                              8.6
    NVIDIA RTX 6000 Ada Generation                            8.9
    NVIDIA RTX 5000 Ada Generation Laptop GPU                 8.9
    NVIDIA RTX 4000 SFF Ada Generation                        8.9
    NVIDIA RTX 2000E Ada Generation                           8.9
    NVIDIA RTX 6000D                                          12.0
    NVIDIA RTX PRO 6000 Blackwell Workstation Edition         12.0
    NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition   12.0
    NVIDIA RTX PRO 6000 Blackwell Server Edition              12.0
    NVIDIA RTX PRO 5000 72GB Blackwell                        12.0
    NVIDIA RTX PRO 2000 Blackwell Generation Laptop GPU       12.0
    GRID T4-8Q                                                7.5
    GRID M60-1Q                                               5.2
    NVIDIA A40-48Q                                            8.6
    Orin (nvgpu)                                              8.7
    Xavier                                                    7.2
    NVIDIA Thor                                               11.0
    NVIDIA Jetson AGX Orin Developer Kit                      8.7
    NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super   8.7
    nvidia_a100-sxm4-80gb                                     8.0
    nvidia_rtx_5000_ada_generation                            8.9
"""

TYPED_NAMES = """
    rtx4090              8.9
    RTX-4090             8.9
    Rtx 4090             8.9
    4090                 8.9
    RTX 4090D            8.9
    RTX 4090 D           8.9
    RTX 4090-D           8.9
    4090 d               8.9
    rtx 4090 24 gb       8.9
    RTX 4090 24GiB       8.9
    geforce rtx 4090     8.9
    GeForceRTX4090       8.9
    geforce_rtx_4090     8.9
    4070tisuper          8.9
    4070 Ti Super        8.9
    GeForce RTX 4090™    8.9
    RTX 3070 with Max-Q Design   8.6
    3070 max-q           8.6
    3070 maxq            8.6
    3060ti 8g            8.6
    GTX1080Ti            6.1
    1080 Ti              6.1
    1080Ti               6.1
    1060 laptop          6.1
    GT1030               6.1
    GT 1030              6.1
    MX 450               7.5
    mx450                7.5
    960m                 5.0
    960                  5.2
    980 notebook m       5.2
    titan xp             6.1
    TitanXp              6.1
    GTX Titan X          5.2
    Titan X Pascal       6.1
    RTX Titan            7.5
    v100                 7.0
    V100 32GB            7.0
    p100                 6.0
    A10G                 8.6
    a100 40g             8.0
    A100 MIG             8.0
    Tesla A100           8.0
    DGX A100             8.0
    H100                 9.0
    H100 80GB            9.0
    H100 SXM5            9.0
    h100-nvl             9.0
    HGX H200             9.0
    GB200 NVL72          10.0
    R200                 10.7
    A6000                8.6
    rtxa6000             8.6
    RTX A6000            8.6
    Quadro RTX A6000     8.6
    Quadro A4000         8.6
    P2000                6.1
    M2000M               5.0
    T2000                7.5
    6000 Ada             8.9
    RTX 6000 Ada         8.9
    RTX6000-Ada-8Q       8.9
    RTX 6000 Pro         12.0
    PRO 6000             12.0
    RTX 6000 Blackwell   12.0
    RTX PRO 6000         12.0
    RTX 8000             7.5
    DGX Spark            12.1
    NVIDIA GB10 (DGX Spark)   12.1
    Jetson AGX Orin      8.7
    Jetson AGX Orin 64GB 8.7
    Jetson Orin          8.7
    Orin NX              8.7
    Jetson Orin Nano Super    8.7
    Jetson Nano          5.3
    Jetson Nano 2GB      5.3
    Jetson Xavier NX     7.2
    TX2                  6.2
    Jetson Thor          11.0
"""

AMBIGUOUS_NAMES = """
    RTX 5000                 7.5 8.9 12.0
    NVIDIA RTX 5000          7.5 8.9 12.0
    RTX 6000                 7.5 8.9 12.0
    GRID RTX6000-8Q          7.5 8.9 12.0
    6000                     7.5 8.9 12.0
    RTX 4000 Max-Q           7.5 8.9 12.0
    RTX 3000                 7.5 8.9 12.0
    RTX 2000                 8.9 12.0
    500                      8.9 12.0
    TITAN X                  5.2 6.1
    NVIDIA TITAN X           5.2 6.1
"""

UNKNOWN_NAMES = [
    "",
    " ",
    "NVIDIA",
    "NVIDIA GeForce",
    "RTX",
    "RTX PRO",
    "GTX Ti",
    "Ada",
    "Laptop GPU",
    "80GB",
    "RTX 4099",
    "RTX 9999 Ti",
    "RTX 960",
    "GTX 4090",
    "RTX 1080 Ti",
    "GTX 960 Ti",
    "GTX 980X",
    "RTX 4090 Ti",
    "RTX 4090 SUPER",
    "RTX 3090 D",
    "RTX 4090 M",
    "RTX 40",
    "RTX 409",
    "RTX 40900",
    "RTX 40 90",
    "RTX 40.90",
    "RTX 4090 4080",
    "RTX 4090Ω",
    "RTX 4090²",
    "2x RTX 4090",
    "A1000 Ti",
    "A100D",
    "A10X",
    "A 6000 Blackwell",
    "RTX A6000 Ada",
    "H1000",
    "L40X",
    "V10",
    "T40",
    "Rubin",
    "Rubin CPX",
    "Nano",
    "Titan",
    "GeForce Titan",
    "NX",
    "Jetson",
    "Jetson TK1",
    "Jetson Orin Nano Ti",
    # Cards of 2010 with compute capability 2.0; the Quadro RTX ones are others.
    "Quadro 4000",
    "Quadro 5000",
    "Quadro 6000",
    "Quadro RTX 6000 Ada",
    # Desktop names with laptop words, from the time when laptops had chips of their own.
    "GTX 960 Laptop GPU",
    "GeForce GTX 780 Mobile",
    "Quadro M2000 notebook",
    # NVIDIA gives it as 3.0/5.0: two chips under one name.
    "GeForce GTX 860M",
    # NVIDIA's table and the chip disagree.
    "Quadro M4000M",
    "Quadro M620",
    "GeForce 910M",
    "AMD Radeon RX 7900 XTX",
    "Intel Arc A770",
    "8.9",
    "sm_89",
]


def cases(text: str) -> list[tuple[str, list[str]]]:
    """The names of a list, each with the compute capabilities that end its line."""
    pairs = []
    for line in text.strip().splitlines():
        words = line.split()
        count = sum(word.replace(".", "", 1).isdigit() and "." in word for word in words)
        pairs.append((" ".join(words[:-count]), words[-count:]))
    return pairs


@pytest.mark.parametrize(("name", "expected"), cases(DRIVER_NAMES))
def test_names_that_drivers_print(name: str, expected: list[str]) -> None:
    assert found(name) == expected


@pytest.mark.parametrize(("name", "expected"), cases(TYPED_NAMES))
def test_names_that_people_type(name: str, expected: list[str]) -> None:
    assert found(name) == expected


@pytest.mark.parametrize(("name", "expected"), cases(AMBIGUOUS_NAMES))
def test_ambiguous_names_give_every_capability(name: str, expected: list[str]) -> None:
    assert found(name) == expected


@pytest.mark.parametrize("name", UNKNOWN_NAMES)
def test_unknown_names_find_nothing(name: str) -> None:
    assert TABLE.find(name) == ()


def test_ambiguous_name_gives_the_products_to_choose_from() -> None:
    products = [row.product for row in TABLE.find("RTX 5000")]
    assert products == ["Quadro RTX 5000", "RTX 5000 Ada", "RTX PRO 5000 Blackwell"]
    assert [found(product) for product in products] == [["7.5"], ["8.9"], ["12.0"]]


def test_an_exact_name_means_one_product() -> None:
    assert [row.product for row in TABLE.find("RTX 4070")] == ["GeForce RTX 4070"]
    assert [row.product for row in TABLE.find("RTX 4070 Ti")] == ["GeForce RTX 4070 Ti"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RTX 4099", "GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 1080 Ti Laptop GPU", "GeForce GTX 1080 Ti"),
        ("GTX 860M", "GeForce GTX 960M"),
        ("RTX A6000 Ada", "RTX 6000 Ada"),
        ("H1000", "H100"),
        ("Nano", "Jetson Nano"),
        ("Jetson AGX Orion", "Jetson AGX Orin"),
    ],
)
def test_nearest_names_are_offered(name: str, expected: str) -> None:
    assert not TABLE.find(name)
    assert expected in TABLE.nearest(name)


def test_nearest_gives_as_many_products_as_asked_for() -> None:
    products = {row.product for row in TABLE.rows}
    assert len(set(TABLE.nearest("something else"))) == 3
    assert len(TABLE.nearest("RTX PRO 6000", count=5)) == 5
    assert set(TABLE.nearest("RTX PRO 6000", count=5)) <= products


def test_an_empty_table_finds_nothing() -> None:
    table = GpuTable([])
    assert (table.find("RTX 4090"), table.capabilities("RTX 4090"), table.nearest("RTX 4090")) == ((), (), ())


@pytest.mark.parametrize(
    "change",
    [
        str,
        str.lower,
        str.upper,
        lambda product: product.replace(" ", "_"),
        lambda product: f"NVIDIA {product}",
        lambda product: f"{product}-SXM4-80GB",
        lambda product: f"{product} 24GB",
        lambda product: f"NVIDIA {product} 8 GiB",
    ],
)
def test_every_product_finds_itself(change: Callable[[str], str]) -> None:
    for row in TABLE.rows:
        name = change(row.product)
        assert row in TABLE.find(name), name
        assert found(name) == [str(row.capability)], name


def test_every_product_since_pascal_finds_itself_in_a_laptop() -> None:
    for row in TABLE.rows:
        if row.capability >= ComputeCapability(6, 0) or row.line == "laptop-only":
            assert found(f"NVIDIA {row.product} Laptop GPU") == [str(row.capability)], row


@pytest.mark.parametrize("word", ["Ti", "SUPER", "D", "M", "X", "G", "E", "9999"])
def test_a_word_more_is_never_dropped(word: str) -> None:
    for row in TABLE.rows:
        for other in TABLE.find(f"{row.product} {word}"):
            assert re.search(rf"[ 0-9]{word}\b", other.product, re.IGNORECASE), row


def test_rows_are_sorted_and_unique() -> None:
    products = [row.product for row in TABLE.rows]
    assert products == sorted(set(products))


def test_rows_have_the_columns_in_order_and_quoted_texts() -> None:
    for raw in DOCUMENT["rows"]:
        assert tuple(raw) == tuple(column for column in COLUMNS if column in raw)
        assert set(raw) >= set(COLUMNS) - OPTIONAL
        assert all(isinstance(value, str) and value for value in raw.values())


def test_every_row_is_one_line_as_the_file_writes_it() -> None:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    written = ["- {" + ", ".join(f'{key}: "{raw[key]}"' for key in raw) + "}" for raw in DOCUMENT["rows"]]
    assert lines == written


def test_every_row_names_a_source_and_every_source_is_used() -> None:
    in_notes = {name for row in TABLE.rows for name in re.findall(r"source ([\w-]+)", row.note)}
    assert {row.source for row in TABLE.rows} | in_notes == set(DOCUMENT["sources"])
    for source in DOCUMENT["sources"].values():
        assert set(source) == {"url", "says", "read"}


def test_lines_and_bases_are_known_and_an_inferred_row_has_a_note() -> None:
    assert {row.line for row in TABLE.rows} == LINES
    assert {row.basis for row in TABLE.rows} <= {"measured", "documented", "inferred"}
    assert all(row.note for row in TABLE.rows if row.basis == "inferred")


def test_every_chip_has_one_capability() -> None:
    """A note such as `AD102, as GeForce RTX 4090` holds against the row it names."""
    capability = {row.product: row.capability for row in TABLE.rows}
    for row in TABLE.rows:
        chip, _, others = row.note.partition(", as ")
        if row.source == "pci-ids":
            assert chip, row
            named = [product for product in capability if product in others]
            assert named, row
            longest = max(named, key=len)
            assert capability[longest] == row.capability, row


@given(st.text())
def test_no_text_breaks_the_search(text: str) -> None:
    assert isinstance(TABLE.find(text), tuple)
    assert len(TABLE.nearest(text, count=1)) == 1


@given(
    st.lists(
        st.sampled_from(["RTX", "4090", "4099", "Ti", "M", "GTX", "960", "Quadro", "5000", "Ada", "80GB"])
    )
)
def test_no_words_in_any_order_break_the_search(words: list[str]) -> None:
    for row in TABLE.find(" ".join(words)):
        numbers = {word for word in words if word.isdigit()}
        assert numbers <= set(row.product.replace("M", " ").split())


def test_arm_only_products_say_their_platform() -> None:
    arm = {row.product for row in TABLE.rows if row.platform is not None}
    assert {"GH200", "GB200", "GB300", "GB10", "DGX Spark"} <= arm
    assert {row.product for row in TABLE.rows if row.line == "Jetson"} <= arm
    assert {"H100", "RTX 5090"}.isdisjoint(arm)
