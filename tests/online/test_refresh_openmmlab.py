"""Rows of OpenMMLab's shipped tables, measured again from the wheels on the real PyPI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cudaenv.matrix.document import read_document
from cudaenv.matrix.refresh.artefacts import ProjectFile, Scope
from cudaenv.matrix.refresh.openmmlab import MMDET
from cudaenv.matrix.refresh.wheel_names import WheelName
from cudaenv.model.documents import Problems
from cudaenv.system.artefacts import RemoteArtefacts
from cudaenv.system.http import Client
from cudaenv.system.uv import default_index

pytestmark = pytest.mark.online

MATRIX = Path(__file__).parents[2] / "matrix"


class Only(RemoteArtefacts):
    """PyPI with some releases of mmdet only."""

    versions: frozenset[str]

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        found = super().files(project)
        if project != "mmdet":
            return found
        wheels = (file for file in found if file.name.endswith(".whl"))
        return tuple(file for file in wheels if str(WheelName.parse(file.name).version) in self.versions)


def test_the_two_newest_releases_of_mmdet_are_measured_as_they_are_shipped() -> None:
    problems = Problems("matrix")
    text = (MATRIX / f"{MMDET.table}.yaml").read_text(encoding="utf-8")
    newest = read_document(MMDET.table, text, problems).rows[-2:]
    said: list[str] = []
    with Client() as client:
        artefacts = Only(client, default_index(os.environ), None, {}, said.append)
        artefacts.versions = frozenset(row["version"] for row in newest)
        measured = [dict(row) for row in MMDET.measure(artefacts, Scope())]
    # The source distributions are hidden here, and Pythons end with the newest that torch serves today.
    changing = {"read", "files", "pythons"}
    expected = [{column: cell for column, cell in row.items() if column not in changing} for row in newest]
    assert [{column: row[column] for column in row if column not in changing} for row in measured] == expected
    assert all("mmcv<2.2.0,>=2.0.0rc4" in row["needs"] for row in measured)
