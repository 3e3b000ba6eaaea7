"""pylock.toml as it is kept: one wheel a package."""

from __future__ import annotations

import pytest

from cudaenv.errors import ToolError
from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import canonical_pylock
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


def test_wheels_for_different_tags_are_no_builds_of_one() -> None:
    files = (f"torch-2.10.0-cp312-cp312-{tag}_x86_64.whl" for tag in ("manylinux_2_28", "linux"))
    with pytest.raises(ToolError, match="something other than one wheel for `torch`"):
        canonical_pylock(pylock(*files), ENVIRONMENT, NOWHERE)


def test_a_file_that_is_no_wheel_is_an_error() -> None:
    with pytest.raises(ToolError, match="the pylock is not valid"):
        canonical_pylock(pylock("torch-2.10.0.tar.gz"), ENVIRONMENT, NOWHERE)
