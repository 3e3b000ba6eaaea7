"""Rows of the shipped toolkit tables, measured again from the wheels on the real PyPI."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cudaenv.matrix.document import read_document
from cudaenv.matrix.refresh import nvidia_wheels, toolkit_releases, toolkits
from cudaenv.matrix.refresh.artefacts import ProjectFile, RawRow, Scope, Survey
from cudaenv.model.documents import Problems
from cudaenv.system.artefacts import RemoteArtefacts
from cudaenv.system.http import Client
from cudaenv.system.uv import default_index

pytestmark = pytest.mark.online

MATRIX = Path(__file__).parents[2] / "matrix"


class Only(RemoteArtefacts):
    """PyPI with some releases only, by project; all of a project that is not named."""

    wanted: dict[str, str]

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        pattern = re.compile(rf"[a-z0-9_]+-({self.wanted.get(project, '.*')})-.*")
        return tuple(file for file in super().files(project) if pattern.fullmatch(file.name))


@pytest.fixture
def artefacts() -> Iterator[Only]:
    said: list[str] = []
    with Client() as client:
        yield Only(client, default_index(os.environ), None, {}, said.append)


def shipped(table: str) -> list[RawRow]:
    problems = Problems("matrix")
    document = read_document(table, (MATRIX / f"{table}.yaml").read_text(encoding="utf-8"), problems)
    return [
        {column: cell for column, cell in row.items() if column not in {"note", "read", "torch_gcc"}}
        for row in document.rows
    ]


def measured(survey: Survey, artefacts: Only) -> list[RawRow]:
    return [dict(row) for row in survey.measure(artefacts, Scope())]


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="runs programs for Linux x86_64"
)
def test_two_release_lines_are_measured_as_they_are_shipped(artefacts: Only) -> None:
    artefacts.wanted = {
        "nvidia-cuda-nvcc-cu11": "none",
        "nvidia-cuda-nvcc-cu12": r"12\.9\.86",
        "nvidia-cuda-nvcc": r"13\.5\.37",
    }
    rows = measured(toolkits.SURVEY, artefacts)
    assert rows == [row for row in shipped("toolkits") if row["cuda"] in {"12.9", "13.5"}]
    assert len(rows) == 2


def test_releases_of_the_metapackage_are_measured_as_they_are_shipped(artefacts: Only) -> None:
    artefacts.wanted = {"cuda-toolkit": r"12\.9\.1|13\.0\.2|13\.4\.3"}
    rows = measured(toolkit_releases.SURVEY, artefacts)
    assert rows == [
        row for row in shipped("toolkit-releases") if row["version"] in {"12.9.1", "13.0.2", "13.4.3"}
    ]
    assert [row.get("skew") for row in rows] == [None, "crt cudart nvvm", None]


def test_every_family_of_wheels_is_where_it_was(artefacts: Only) -> None:
    artefacts.wanted = {}
    places = {
        row["wheel"]: (row["major"], row["prefix"]) for row in measured(nvidia_wheels.SURVEY, artefacts)
    }
    assert places == {row["wheel"]: (row["major"], row["prefix"]) for row in shipped("nvidia-wheels")}
