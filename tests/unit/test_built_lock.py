"""Which files are wheels of what is planned to be built, and their lock."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from packaging.version import Version

from cudaenv.lock.built import BuiltWheel, built_lock, is_build_of, read_built
from cudaenv.model.machine import Platform
from cudaenv.model.plan import Environment, PlannedPackage
from cudaenv.model.versions import PythonVersion
from tests.support.planning import machine, plan_for


@cache
def environment() -> Environment:
    (found,) = plan_for(
        machine(gpus=["A100"], driver="595.71.05", glibc="2.35", platform="linux-64"), python="3.12"
    ).environments
    return found


BUILT = PlannedPackage(name="flash-attn", version=Version("2.8.3"), variant="", index="", index_url="")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flash_attn-{v}-cp312-cp312-linux_x86_64.whl", True),
        ("Flash_Attn-{v}-1-cp312-cp312-manylinux_2_28_x86_64.whl", True),
        ("flash_attn-{v}+cu128torch2.8-cp312-cp312-linux_x86_64.whl", True),
        ("flash_attn-{v}-cp39-abi3-linux_x86_64.whl", True),
        ("flash_attn-{v}-py3-none-any.whl", True),
        ("flash_attn-{v}-py2.py3-none-any.whl", True),
        ("flash_attn-{v}-cp313-abi3-linux_x86_64.whl", False),
        ("flash_attn-{v}-cp311-cp311-linux_x86_64.whl", False),
        ("flash_attn-{v}-cp312-cp312-linux_aarch64.whl", False),
        ("flash_attn-{v}-cp312-cp312-win_amd64.whl", False),
        ("flash_attn-{v}-cp312-cp312-musllinux_1_2_x86_64.whl", False),
        ("flash_attn-0.1-cp312-cp312-linux_x86_64.whl", False),
        ("flash-attn-{v}.tar.gz", False),
        ("other-{v}-cp312-cp312-linux_x86_64.whl", False),
        ("nonsense.whl", False),
    ],
)
def test_a_wheel_is_of_a_package_by_name_version_python_and_platform(name: str, expected: bool) -> None:
    file_name = name.format(v="2.8.3")
    assert is_build_of(file_name, BUILT, environment()) is expected


def test_of_what_is_built_from_a_commit_any_version_will_do() -> None:
    from_git = replace(BUILT, git="git+https://example.org/x")
    assert is_build_of("flash_attn-9.9-py3-none-any.whl", from_git, environment())


def test_the_platform_and_the_python_are_the_environments() -> None:
    arm = replace(environment(), platform=Platform.LINUX_AARCH64, python=PythonVersion.parse("3.11"))
    assert is_build_of("flash_attn-2.8.3-cp311-cp311-linux_aarch64.whl", BUILT, arm)
    assert not is_build_of("flash_attn-2.8.3-cp312-cp312-linux_x86_64.whl", BUILT, arm)


def test_a_lock_is_read_as_it_was_written() -> None:
    wheels = [
        BuiltWheel("wheels/flash_attn-1-py3-none-any.whl", "0" * 64),
        BuiltWheel("b/c.d/a_b-1.whl", "f" * 64),
    ]
    text = built_lock(environment(), wheels)
    assert list(read_built(text).values()) == wheels
    assert set(read_built(text)) == {"flash-attn", "a-b"}
    assert f"Python {environment().python} on linux-64" in text


@pytest.mark.parametrize(
    "path", ["../a-1.whl", "b/../../a-1.whl", "/a-1.whl", ".hidden/a-1.whl", "a-1.tar.gz"]
)
def test_a_path_that_leads_elsewhere_is_none(path: str) -> None:
    assert read_built(built_lock(environment(), [BuiltWheel(path, "0" * 64)])) == {}
