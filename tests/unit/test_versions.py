"""Versions in the spellings of their fields: what is read, what is refused, and how they compare."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaenv.model.versions import (
    ComputeCapability,
    CudaBinding,
    CudaVersion,
    DriverVersion,
    GlibcVersion,
    PythonVersion,
)

PARSERS: tuple[Callable[[str], Any], ...] = (
    CudaVersion.parse,
    CudaVersion.from_variant,
    CudaVersion.parse_driver_api,
    DriverVersion.parse,
    ComputeCapability.parse,
    PythonVersion.parse,
    GlibcVersion.parse,
)
small = st.integers(0, 99)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("libcudart.so.12", "12"),
        ("libcudart.so.11.0", "11"),
        ("libcudart.so.11.8.89", "11"),
        ("libcudart-80664282.so.10.2", "10.2"),
        ("libcudart.3eda8113.so.13", "13"),
        ("libcudart.so", "None"),
        ("libcudart_static.so.12", "None"),
        ("libnvcudart.so.12", "None"),
        ("libcudart.so.12\n", "None"),
    ],
)
def test_the_cuda_runtime_tells_its_cuda_by_its_name(name: str, expected: str) -> None:
    assert str(CudaBinding.from_soname(name)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12.8", "12.8"), ("12.8.1", "12.8"), ("13.0.3.0", "13.0"), (" 11.8 ", "11.8"), ("9.2", "9.2")],
)
def test_a_cuda_release_line_has_no_patch(text: str, expected: str) -> None:
    assert str(CudaVersion.parse(text)) == expected


@pytest.mark.parametrize("text", ["", "12", "cu128", "12.x", "12.8.1.2.3", "v12.8", "12,8", "123.4", "-1.2"])
def test_what_is_no_cuda_release_line_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a CUDA release line: .* \(expected for example `12\.8`\)"):
        CudaVersion.parse(text)


@pytest.mark.parametrize(
    ("variant", "line"), [("cu92", "9.2"), ("cu102", "10.2"), ("cu118", "11.8"), ("cu130", "13.0")]
)
def test_the_last_digit_of_a_variant_is_the_minor_version(variant: str, line: str) -> None:
    assert str(CudaVersion.from_variant(variant)) == line
    assert CudaVersion.parse(line).variant == variant


@pytest.mark.parametrize("variant", ["cpu", "cu", "cu1", "cu12.8", "cu1234", "128", "CU128", "rocm6.4"])
def test_what_is_no_variant_is_refused(variant: str) -> None:
    with pytest.raises(ValueError, match="not a CUDA variant"):
        CudaVersion.from_variant(variant)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("12.8", "12.8"),
        ("12080", "12.8"),
        ("11040", "11.4"),
        ("9020", "9.2"),
        ("13000", "13.0"),
        ("found version 11040", "11.4"),
        ("(found version 11040)", "11.4"),
        ("found version 12.4", "12.4"),
    ],
)
def test_a_driver_api_version_is_read_as_any_program_prints_it(text: str, line: str) -> None:
    assert str(CudaVersion.parse_driver_api(text)) == line


@pytest.mark.parametrize("code", [0, -1, 7, 550, 999, 100_000, 57_086_10])
def test_numbers_that_a_failed_query_leaves_behind_are_no_driver_api_version(code: int) -> None:
    with pytest.raises(ValueError, match="not a driver API version"):
        CudaVersion.from_driver_api(code)


@pytest.mark.parametrize("text", ["0000", "535.104.05", "found version", "R550"])
def test_a_driver_is_no_driver_api_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        CudaVersion.parse_driver_api(text)


@pytest.mark.parametrize("text", ["570.86.10", "551.78", "525.60.13", "580.126.20", "615.71.09", "340"])
def test_a_driver_is_printed_as_it_was_written(text: str) -> None:
    assert str(DriverVersion.parse(text)) == text


def test_a_branch_may_be_written_with_its_r() -> None:
    branch = DriverVersion.parse("R580")
    assert (str(branch), branch.is_branch, branch.branch) == ("580", True, 580)
    assert not DriverVersion.parse("580.65.06").is_branch


@pytest.mark.parametrize("text", ["", "5", "12345", "driver 570", "570.", "570.86.10.1.2", "570,86", "RR570"])
def test_what_is_no_driver_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="not a driver version"):
        DriverVersion.parse(text)


def test_drivers_compare_by_their_numbers_and_not_as_text() -> None:
    texts = ["99.10", "340.108", "450.36.06", "450.80.02", "525.60.13", "525.105.17", "570.26", "570.124.06"]
    drivers = [DriverVersion.parse(text) for text in texts]
    assert all(older < newer for older, newer in pairwise(drivers))


def test_leading_zeros_make_no_other_driver() -> None:
    zeros, plain = DriverVersion.parse("525.60.06"), DriverVersion.parse("525.60.6")
    assert zeros == plain
    assert hash(zeros) == hash(plain)
    assert not zeros < plain
    assert zeros != "525.60.06"


@pytest.mark.parametrize(
    ("text", "expected"), [("8.9", "8.9"), ("12.0", "12.0"), ("sm_89", "8.9"), ("sm_120", "12.0")]
)
def test_a_compute_capability_is_read_as_number_and_as_sm(text: str, expected: str) -> None:
    capability = ComputeCapability.parse(text)
    assert str(capability) == expected
    assert ComputeCapability.parse(capability.sm) == capability


@pytest.mark.parametrize(
    "text", ["", "9", "89", "8.90", "sm_9", "sm_90a", "sm_100f", "compute_90", "RTX 4090"]
)
def test_what_is_no_compute_capability_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a compute capability"):
        ComputeCapability.parse(text)


def test_compute_capability_10_0_is_after_9_0() -> None:
    assert ComputeCapability.parse("9.0") < ComputeCapability.parse("10.0") < ComputeCapability.parse("12.0")


def test_a_python_is_a_release_line_with_a_wheel_tag() -> None:
    assert str(PythonVersion.parse("3.12.4")) == "3.12"
    assert PythonVersion.parse("3.9") < PythonVersion.parse("3.10")
    assert PythonVersion.parse("3.15").tag == "cp315"


@pytest.mark.parametrize("text", ["", "3", "312", "3.x", ">=3.11", "3.12.4.5", "cp312"])
def test_what_is_no_python_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Python version"):
        PythonVersion.parse(text)


def test_glibc_2_9_is_before_2_28() -> None:
    assert GlibcVersion.parse("2.9") < GlibcVersion.parse("2.28")
    assert str(GlibcVersion.parse("2.31")) == "2.31"


@pytest.mark.parametrize("text", ["", "2", "glibc 2.31", "musl", "2.31-0ubuntu9"])
def test_what_is_no_glibc_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a glibc version"):
        GlibcVersion.parse(text)


@given(major=st.integers(1, 99), minor=st.integers(0, 9))
def test_lines_variants_and_codes_are_one_to_one(major: int, minor: int) -> None:
    line = CudaVersion(major, minor)
    assert CudaVersion.parse(str(line)) == line
    assert CudaVersion.from_variant(line.variant) == line
    assert CudaVersion.from_driver_api(major * 1000 + minor * 10) == line
    assert CudaVersion.parse_driver_api(f"found version {major * 1000 + minor * 10}") == line


@given(one=st.tuples(small, small), other=st.tuples(small, small))
def test_lines_order_as_their_numbers(one: tuple[int, int], other: tuple[int, int]) -> None:
    kinds: tuple[Callable[[int, int], Any], ...] = (
        CudaVersion,
        ComputeCapability,
        PythonVersion,
        GlibcVersion,
    )
    for kind in kinds:
        assert (kind(*one) < kind(*other)) == (one < other)
        assert (kind(*one) == kind(*other)) == (one == other)


parts = st.lists(st.integers(0, 9999), min_size=0, max_size=3)


@given(head=st.integers(10, 9999), one=parts, other=parts)
def test_drivers_order_as_their_numbers(head: int, one: list[int], other: list[int]) -> None:
    def driver(tail: list[int]) -> DriverVersion:
        return DriverVersion.parse(".".join(map(str, [head, *tail])))

    assert (driver(one) < driver(other)) == (one < other)
    assert (driver(one) == driver(other)) == (one == other)
    assert DriverVersion.parse(str(driver(one))) == driver(one)


@given(text=st.text(max_size=12) | st.from_regex(r"[0-9.a-zR_]{1,10}", fullmatch=True))
def test_any_text_is_read_or_refused_with_a_value_error_that_quotes_it(text: str) -> None:
    for parse in PARSERS:
        try:
            value = parse(text)
        except ValueError as error:
            assert str(error).startswith("not a")
        else:
            assert parse(text) == value
