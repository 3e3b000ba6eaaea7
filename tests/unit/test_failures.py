"""What logs of failed builds show: lines as the programs printed them, and lines that mean nothing."""

from __future__ import annotations

import pytest

from cudaenv.matrix.failures import causes
from tests.support.planning import matrix

LINES = {
    "disk": "OSError: [Errno 28] No space left on device",
    "gcc-killed": "g++: fatal error: Killed signal terminated program cc1plus",
    "killed": "Killed",
    "gcc-too-new": "host_config.h:137:2: error: #error -- unsupported GNU version! "
    "gcc versions later than 15 are not supported! The nvcc flag '-allow-unsupported-compiler' can be used",
    "no-compiler": "nvcc fatal   : Failed to preprocess host compiler properties.",
    "architecture": "nvcc fatal   : Unsupported gpu architecture 'compute_70'",
    "skew": "ptxas fatal   : Unsupported .version 9.5; current version is '9.0'",
    "cccl": "include/cuda_fp16.h:4500:10: fatal error: nv/target: No such file or directory",
    "cudart": "/usr/bin/ld: cannot find -lcudart: No such file or directory",
    "libcuda": "/usr/bin/ld: cannot find -lcuda: No such file or directory",
    "cuda-major": "RuntimeError: ('The detected CUDA version (%s) mismatches the version that was used to "
    "compilePyTorch (%s). Please make sure to use the same CUDA versions.', '12.6', '13.2')",
    "cuda-home": "error: nvcc not found at '/nope/bin/nvcc'. Ensure CUDA path '/nope' is correct.",
    "arch-list": "    arch_list[-1] += '+PTX'",
    "c++-standard": "all.h:9:2: error: #error C++20 or later compatible compiler is required to use PyTorch.",
    "thc": "src/cuda.cu:4:10: fatal error: THC/THC.h: No such file or directory",
    "pkg-resources": "ModuleNotFoundError: No module named 'pkg_resources'",
    "exec-locals": "KeyError: '__version__'",
    "python-headers": "pybind11/detail/common.h:213:10: fatal error: Python.h: No such file or directory",
}
FINE = """\
[1/2] nvcc -gencode=arch=compute_90,code=sm_90 -std=c++20 -c kernels.cu -lcudart -DTHC_H
cannot find -lcudadevrt_of_mine
Unsupported option ignored
Killed time by waiting
"""


def found(log: str) -> list[str]:
    return [row.failure for row, _ in causes(matrix().tables.build_failures, log)]


def test_every_failure_of_the_table_is_here() -> None:
    assert set(LINES) == {row.failure for row in matrix().tables.build_failures}


@pytest.mark.parametrize(("failure", "line"), LINES.items())
def test_a_line_of_a_log_is_the_failure_that_made_it_and_no_other(failure: str, line: str) -> None:
    assert found(f"{FINE}{line}\n{FINE}") == [failure]


def test_the_line_that_shows_it_is_told() -> None:
    ((_, line),) = causes(matrix().tables.build_failures, f"{FINE}   {LINES['cccl']}\nmore\n")
    assert line == "nv/target: No such file or directory", "from where it was found"


def test_a_log_without_any_shows_none() -> None:
    assert found(FINE) == found("") == []


def test_the_likeliest_comes_first() -> None:
    log = f"{LINES['no-compiler']}\n{LINES['gcc-killed']}\nKilled\n"
    assert found(log) == ["gcc-killed", "killed", "no-compiler"]
