"""matrix/README.md against the loader: every table, every column, in order."""

from __future__ import annotations

import re

import pytest

from cudaenv.matrix.document import LAST_COLUMNS
from cudaenv.matrix.load import KINDS, shape_of
from cudaenv.matrix.packages import Release, SourceBuild
from cudaenv.matrix.tables import Row
from tests.support.planning import ROOT

TEXT = (ROOT / "matrix" / "README.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (`[^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
DOCUMENTED = {
    **{f"`{name}`": kind for name, kind in KINDS.items()},
    "`packages/*`": Release,
    "`builds` in `packages/*`": SourceBuild,
}


def listed(text: str) -> list[str]:
    """The columns that a text lists, in its order."""
    lines = re.findall(r"^- ((?:`\w+`(?:, )?)+):", text, re.MULTILINE)
    return [column for line in lines for column in re.findall(r"`(\w+)`", line)]


def test_there_is_a_section_for_each_table_and_no_other() -> None:
    assert set(SECTIONS) == set(DOCUMENTED)


@pytest.mark.parametrize(("title", "kind"), DOCUMENTED.items(), ids=DOCUMENTED)
def test_a_section_lists_the_columns_of_its_table_in_their_order(title: str, kind: type[Row]) -> None:
    own = [column for column in shape_of(kind).columns if column not in LAST_COLUMNS or column == "published"]
    assert listed(SECTIONS[title]) == own


def test_the_columns_of_all_tables_are_described_once() -> None:
    head = TEXT.split("## `", 1)[0]
    assert listed(head) == list(LAST_COLUMNS)
