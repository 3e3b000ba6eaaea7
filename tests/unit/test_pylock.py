"""pylock.toml as it is kept: one wheel a package."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cudaenv.errors import ToolError
from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import canonical_pylock
from cudaenv.model.versions import PythonVersion
from tests.support.planning import machine, plan_for

ENVIRONMENT = plan_for(machine(gpus=["RTX 4090"], driver="595.71.05", platform="linux-64")).environments[0]
NOWHERE = Mirrors(())


def pylock(*files: str) -> str:
    wheels = "".join(
        f"""[[packages.wheels]]
url = "https://files.example/{file}"
hashes = {{ sha256 = "{number:064x}" }}
"""
        for number, file in enumerate(files)
    )
    return f"""lock-version = "1.0"
created-by = "a resolver"
[[packages]]
name = "torch"
version = "2.10.0"
{wheels}"""


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_builds_of_one_wheel_the_highest_number_is_kept(order: tuple[int, ...]) -> None:
    files = [f"torch-2.10.0-{build}cp312-cp312-manylinux_2_28_x86_64.whl" for build in ("", "2-", "10-")]
    locked = canonical_pylock(pylock(*(files[place] for place in order)), ENVIRONMENT, NOWHERE)
    (wheel,) = locked.wheels
    assert wheel.file_name == "torch-2.10.0-10-cp312-cp312-manylinux_2_28_x86_64.whl"


CHOICES = (
    "cp312-cp312-manylinux_2_31_x86_64",
    "cp312-cp312-manylinux1_x86_64.manylinux_2_28_x86_64.manylinux_2_5_x86_64",
    "cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64",
    "cp312-abi3-manylinux_2_28_x86_64",
    "cp37-abi3-manylinux_2_28_x86_64",
    "py3-none-manylinux_2_28_x86_64",
    "py3-none-any",
)
"""From the best for Python 3.12 to the one for any machine."""


@pytest.mark.parametrize("first", range(len(CHOICES)))
def test_of_several_wheels_that_fit_the_one_is_kept_that_installers_choose(first: int) -> None:
    files = [f"torch-2.10.0-{tag}.whl" for tag in CHOICES[first:]]
    environment = replace(ENVIRONMENT, python=PythonVersion(3, 12))
    for order in (files, files[::-1]):
        (wheel,) = canonical_pylock(pylock(*order), environment, NOWHERE).wheels
        assert wheel.file_name == files[0]


def test_a_file_that_is_no_wheel_is_an_error() -> None:
    with pytest.raises(ToolError, match="the pylock is not valid"):
        canonical_pylock(pylock("torch-2.10.0.tar.gz"), ENVIRONMENT, NOWHERE)
