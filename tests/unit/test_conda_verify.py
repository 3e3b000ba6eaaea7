"""Locked conda packages held against their plan: each check says what it is about, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cudaenv.errors import ToolError
from cudaenv.lock.conda import CondaLock, CondaRecord, explicit_text, record_of
from cudaenv.lock.conda_verify import verify_conda
from cudaenv.model.names import CHANNELS
from cudaenv.model.plan import Environment
from tests.support.planning import machine, plan_for


def record(name: str, version: str, build: str = "h1234567_0", **more: str) -> CondaRecord:
    subdir, channel = more.get("subdir", "linux-64"), more.get("channel", "conda-forge")
    return CondaRecord(
        name=name,
        version=version,
        build=build,
        subdir=subdir,
        url=f"{CHANNELS}/{channel}/{subdir}/{name}-{version}-{build}.conda",
        md5="0" * 32,
        sha256="1" * 64,
    )


@pytest.fixture(scope="module")
def environment() -> Environment:
    lab = machine("lab", ["RTX 4090"], "580.95.05", glibc="2.28", platform="linux-64")
    (found,) = plan_for(lab, platforms=["linux-64"], provider="conda", python="3.12").environments
    return found


GOOD = (
    record("python", "3.12.11", "h1_0_cpython"),
    record("pytorch", "2.12.0", "cuda130_mkl_py312_h1_300"),
    record("cuda-version", "13.0", subdir="noarch"),
    record("cuda-cudart", "13.0.96"),
)


def problems(environment: Environment, *changed: CondaRecord, without: str = "") -> list[str]:
    """What is wrong once some of the good records are others, or one is gone."""
    by_name = {item.name: item for item in (*GOOD, *changed) if item.name != without}
    return verify_conda(environment, CondaLock(tuple(by_name.values())))


def test_what_was_planned_is_fine(environment: Environment) -> None:
    assert environment.torch.version.public == "2.12.0"
    assert problems(environment) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (record("pytorch", "2.12.0", "cpu_mkl_py312_h1_100"), "locked as build cpu_mkl_py312_h1_100"),
        (record("pytorch", "2.12.0", "cuda129_mkl_py312_h1_300"), "planned is cuda130_*"),
        (record("pytorch", "2.11.0", "cuda130_mkl_py312_h1_300"), "`pytorch` is locked at 2.11.0"),
        (record("python", "3.11.9", "h1_0_cpython"), "Python 3.11.9 locked, planned is 3.12"),
        (
            record("cuda-version", "12.9", subdir="noarch"),
            "`cuda-version` is of CUDA 12.9, planned is CUDA 13.0",
        ),
        (
            record("cuda-version", "13.2", subdir="noarch"),
            "`cuda-version` is of CUDA 13.2, planned is CUDA 13.0",
        ),
        (record("cuda-cudart", "12.9.79"), "`cuda-cudart` is of CUDA 12.9"),
        (record("cudatoolkit", "11.8.0"), "`cudatoolkit` is of CUDA 11.8"),
        (record("cudatoolkit", "13.0.0"), "`cudatoolkit` and `cuda-cudart` both bring CUDA's libraries"),
        (record("zlib", "1.3", channel="elsewhere"), "which is no channel of the plan"),
        (record("zlib", "1.3", subdir="win-64"), "`zlib` is for win-64, planned is linux-64"),
        (replace(record("zlib", "1.3"), sha256=""), "`zlib` has no sha256"),
        (replace(record("zlib", "1.3"), md5=""), "`zlib` has no md5"),
    ],
)
def test_what_was_not_planned_is_named(environment: Environment, changed: CondaRecord, words: str) -> None:
    found = problems(environment, changed)
    assert any(words in problem for problem in found), found


@pytest.mark.parametrize(
    ("name", "words"), [("pytorch", "`pytorch` is not locked"), ("python", "Python is not")]
)
def test_what_is_missing_is_named(environment: Environment, name: str, words: str) -> None:
    assert any(words in problem for problem in problems(environment, without=name))


def test_a_driver_of_an_older_major_version_is_noticed(environment: Environment) -> None:
    assert environment.conda is not None
    older = {**dict(environment.conda.virtual_packages), "__cuda": "12.9"}
    part = replace(environment.conda, virtual_packages=tuple(older.items()))
    found = problems(replace(environment, conda=part))
    assert found == ["`cuda-version` is 13.0, and the machines' drivers are for CUDA 12.9"]


def test_a_lowest_capability_and_the_driver_stand_in_the_virtual_packages(environment: Environment) -> None:
    assert environment.conda is not None
    virtual = dict(environment.conda.virtual_packages)
    assert (virtual["__cuda"], virtual["__cuda_arch"]) == ("13.0", "8.9")


PLAIN = {
    "name": "zlib",
    "version": "1.3",
    "build": "h1_0",
    "subdir": "linux-64",
    "url": f"{CHANNELS}/conda-forge/linux-64/zlib-1.3-h1_0.conda",
    "md5": "0" * 32,
    "sha256": "1" * 64,
    "requires": {"libgcc": ">=14"},
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "zlib; rm -rf ~"),
        ("version", "1.3 && id"),
        ("build", "h1/../0"),
        ("url", "https://conda.anaconda.org/conda-forge/linux-64/zlib 1.3.conda"),
        ("url", "http://conda.anaconda.org/conda-forge/linux-64/zlib-1.3-h1_0.conda"),
        ("url", "https://user:word@conda.anaconda.org/conda-forge/linux-64/zlib-1.3-h1_0.conda"),
        ("url", "https://conda.anaconda.org/conda-forge/noarch/zlib-1.3-h1_0.conda"),
        ("requires", None),
        ("requires", ["libgcc"]),
    ],
)
def test_a_record_that_is_none_is_refused(key: str, value: object) -> None:
    assert record_of(PLAIN).requires == (("libgcc", ">=14"),)
    with pytest.raises(ToolError, match="record"):
        record_of({**PLAIN, key: value})


def test_an_explicit_file_has_a_url_and_a_hash_on_each_line() -> None:
    lines = explicit_text([record_of(PLAIN)], "linux-64").splitlines()
    assert lines[-2:] == ["@EXPLICIT", f"{PLAIN['url']}#{PLAIN['md5']}"]
