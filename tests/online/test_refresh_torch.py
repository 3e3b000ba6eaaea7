"""The newest rows of torch and torchvision and the oldest of torch, measured again from the real PyPI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from cudaenv.matrix.document import read_document
from cudaenv.matrix.refresh import siblings, torch
from cudaenv.matrix.refresh.artefacts import ProjectFile, RawRow, Scope
from cudaenv.model.documents import Problems
from cudaenv.system.artefacts import RemoteArtefacts
from cudaenv.system.http import Client
from cudaenv.system.uv import default_index

pytestmark = pytest.mark.online

PACKAGES = Path(__file__).parents[2] / "matrix" / "packages"


class Shipped(RemoteArtefacts):
    """PyPI with the newest releases of the shipped tables only: later ones are no reason to fail."""

    newest: dict[str, set[str]]

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        return tuple(
            file
            for file in super().files(project)
            if file.name.endswith(".whl") and str(parse_wheel_filename(file.name)[1]) in self.newest[project]
        )


@pytest.fixture
def artefacts() -> Iterator[Shipped]:
    said: list[str] = []
    with Client() as client:
        shipped = Shipped(client, default_index(os.environ), None, {}, said.append)
        shipped.newest = {"torch": newest("torch", 5), "torchvision": newest("torchvision", 3)}
        yield shipped


def rows_of(project: str) -> list[RawRow]:
    """The rows for PyPI; what a person added to them aside."""
    text = (PACKAGES / f"{project}.yaml").read_text(encoding="utf-8")
    return [
        {column: cell for column, cell in row.items() if column not in {"note", "read"}}
        for row in read_document(project, text, Problems(project)).rows
        if "index" not in row
    ]


def newest(project: str, count: int) -> set[str]:
    versions = {Version(row["version"]) for row in rows_of(project)}
    return set(map(str, sorted(versions)[-count:]))


def test_the_five_newest_releases_of_torch_are_measured_as_they_are_shipped(artefacts: Shipped) -> None:
    shipped = [row for row in rows_of("torch") if row["version"] in artefacts.newest["torch"]]
    measured = torch.pypi_rows(artefacts, Scope())
    assert [list(row.items()) for row in measured] == [list(row.items()) for row in shipped]


def test_the_oldest_release_of_torch_is_measured_as_it_is_shipped(artefacts: Shipped) -> None:
    oldest = str(torch.FIRST)
    artefacts.newest["torch"] = {oldest}
    shipped = [row for row in rows_of("torch") if row["version"] == oldest]
    measured = torch.pypi_rows(artefacts, Scope())
    assert [list(row.items()) for row in measured] == [list(row.items()) for row in shipped]
    assert "sms" in measured[0]


def test_the_three_newest_releases_of_torchvision_are_measured_as_they_are_shipped(
    artefacts: Shipped,
) -> None:
    shipped = [row for row in rows_of("torchvision") if row["version"] in artefacts.newest["torchvision"]]
    measured = siblings.sibling_rows("torchvision", artefacts, Scope())
    assert [list(row.items()) for row in measured] == [list(row.items()) for row in shipped]
