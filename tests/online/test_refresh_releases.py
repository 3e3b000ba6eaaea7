"""The newest rows of xformers and bitsandbytes, measured again from the wheels on the real PyPI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from packaging.version import Version

from cudaenv.matrix.document import Document, read_document
from cudaenv.matrix.refresh.artefacts import ProjectFile, Scope
from cudaenv.matrix.refresh.release_files import releases
from cudaenv.matrix.refresh.releases import PYPI, Measure, surveys
from cudaenv.model.documents import Problems
from cudaenv.system.artefacts import RemoteArtefacts
from cudaenv.system.http import Client
from cudaenv.system.uv import default_index

pytestmark = pytest.mark.online

PACKAGES = Path(__file__).parents[2] / "matrix" / "packages"
NEWEST_TORCH = "2.15.0"
"""The shipped rows end with the Pythons of this release; later ones are no reason to fail."""


class Shipped(RemoteArtefacts):
    """PyPI with a few releases only."""

    versions: frozenset[Version]

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        wanted = {Version(NEWEST_TORCH)} if project == "torch" else self.versions
        found = releases(project, super().files(project))
        return tuple(
            file
            for release in found
            if release.version in wanted
            for file in (*release.sdists, *(wheel.file for wheel in release.wheels))
        )


def document(table: str) -> Document:
    problems = Problems(table)
    found = read_document(table, (PACKAGES / f"{table}.yaml").read_text(encoding="utf-8"), problems)
    assert not problems.lines
    return found


@pytest.mark.parametrize("table", ["xformers", "bitsandbytes"])
def test_the_newest_rows_are_what_their_wheels_say(table: str) -> None:
    shipped = document(table)
    lines = [Measure.read(item) for item in shipped.measure]
    survey = next(item for item in surveys(table, lines, {"pytorch": ""}) if item.place == PYPI)
    rows = sorted(filter(survey.owns, shipped.rows), key=lambda row: Version(row["version"]))[-2:]
    assert len(rows) == 2
    with Client() as client:
        pypi = Shipped(client, default_index(os.environ), None, {}, lambda _: None)
        pypi.versions = frozenset(Version(row["version"]) for row in rows)
        measured = list(survey.measure(pypi, Scope()))
    assert measured == [{column: cell for column, cell in row.items() if column != "read"} for row in rows]
