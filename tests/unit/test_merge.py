"""Measured rows into a table: what is new, what changed, what is gone, and nothing else touched."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cudaenv.matrix.document import Document, read_document
from cudaenv.matrix.refresh.artefacts import Survey
from cudaenv.matrix.refresh.merge import Change, difference, merge, text_of
from cudaenv.model.documents import Problems

HEAD = """# Releases of a package.
schema: 1
sources:
  wheels:
    artefact: "wheels on PyPI"
    says: "tags and METADATA"
    read: "2026-11-20"
  page:
    url: "https://example.org/releases"
    says: "releases that there are"
    read: "2026-11-20"
rows:
"""
MEASURED = {"source": "wheels", "basis": "measured"}
OLD = """\
- {version: "1.0", files: "wheel", torch: "==2.9.0", source: "wheels", basis: "measured", note: "ours"}
- {version: "1.0", index: "pytorch", variant: "cu126", files: "wheel", source: "page", basis: "documented"}
- {version: "1.1", files: "wheel", torch: "==2.10.0", source: "wheels", basis: "measured", read: "2026-12-01"}
"""
ONE = {"version": "1.0", "files": "wheel", "torch": "==2.9.0", **MEASURED}
TWO = {"version": "1.1", "files": "wheel", "torch": "==2.10.0", **MEASURED}
NEW = {"version": "1.2", "files": "wheel", "torch": ">=2.10", **MEASURED}
INDEXED = {"version": "1.0", "index": "pytorch", "variant": "cu126", "files": "wheel"}


def document(rows: str = OLD, name: str = "packages/made-up", head: str = HEAD) -> Document:
    problems = Problems("test")
    found = read_document(name, f"{head}{rows}", problems)
    assert not problems.lines
    return found


def merged(
    *rows: Mapping[str, str],
    old: Document | None = None,
    date: str = "2027-01-15",
    index: str = "",
    whole: bool = True,
    sources: tuple[tuple[str, str, str], ...] = (),
) -> tuple[Document, Change]:
    before = document() if old is None else old
    survey = Survey(
        table=before.name,
        place="pypi",
        measure=lambda *_: rows,
        owns=lambda row: row.get("index", "") == index,
        sources=sources,
    )
    return merge(before, rows, survey, date, whole=whole)


def test_rows_that_say_what_they_said_stay_with_their_day_and_note() -> None:
    after, change = merged(ONE, TWO)
    assert change == Change()
    assert text_of(after) == f"{HEAD}{OLD}"


def test_a_new_release_is_dated_and_stands_in_its_place() -> None:
    after, change = merged(ONE, NEW, TWO)
    assert change == Change(added=(("1.2", "", ""),))
    assert after.rows[-1] == {**NEW, "read": "2027-01-15"}


def test_a_row_of_its_sources_day_needs_no_day_of_its_own() -> None:
    after, _ = merged(ONE, NEW, TWO, date="2026-11-20")
    assert after.rows[-1] == NEW


def test_a_changed_row_keeps_what_a_person_wrote_and_takes_the_day() -> None:
    after, change = merged({**ONE, "torch": "==2.9.1"}, TWO)
    assert change == Change(changed=(("1.0", "", ""),))
    assert after.rows[0] == {**ONE, "torch": "==2.9.1", "read": "2027-01-15", "note": "ours"}


def test_what_was_not_found_again_is_gone_only_if_all_was_looked_for() -> None:
    after, change = merged(ONE)
    assert change == Change(removed=(("1.1", "", ""),))
    assert [row["version"] for row in after.rows] == ["1.0", "1.0"]
    assert merged(ONE, whole=False)[1] == Change()


def test_rows_that_nobody_measured_stay_whatever_is_found() -> None:
    after, change = merged(index="pytorch")
    assert change == Change()
    assert len(after.rows) == 3


def test_the_code_of_a_conda_build_that_repodata_do_not_state_is_kept() -> None:
    cells = (
        'channel: "conda-forge", package: "pytorch", version: "2.0", variant: "cu120", platform: "linux-64"'
    )
    row = f'- {{{cells}, sms: "8.0 9.0", ptx: "9.0", source: "wheels", basis: "measured", note: "ours"}}\n'
    found = {"channel": "conda-forge", "package": "pytorch", "version": "2.0", "variant": "cu120"}
    found |= {"platform": "linux-64", "glibc": "2.17", **MEASURED}
    after, change = merged(found, old=document(row, "conda-builds"))
    assert len(change.changed) == 1
    (kept,) = after.rows
    assert {**kept, "read": ""} == {**found, "sms": "8.0 9.0", "ptx": "9.0", "note": "ours", "read": ""}


def test_a_documented_row_that_was_read_becomes_measured_and_its_source_goes() -> None:
    found = {**INDEXED, "source": "index-wheels", "basis": "measured"}
    said = ("index-wheels", "wheels of the index", "tags and METADATA of each wheel")
    after, change = merged(found, index="pytorch", sources=(said,))
    assert change == Change(changed=(("1.0", "pytorch", "cu126", ""),))
    assert list(after.sources) == ["wheels", "index-wheels"]
    assert after.sources["index-wheels"].read == "2027-01-15"
    assert after.rows[1] == found, "the day is its source's"
    again = read_document(after.name, text_of(after), Problems("test"))
    assert text_of(again) == text_of(after)


def test_rows_twice_are_an_error_in_what_is_measured_and_in_what_there_was() -> None:
    with pytest.raises(ValueError, match=r"two measured rows of packages/made-up are 1\.1"):
        merged(ONE, TWO, TWO)
    with pytest.raises(ValueError, match=r"two rows of packages/made-up are 1\.0"):
        merged(ONE, old=document(OLD.replace("1.1", "1.0")))


def test_releases_are_in_the_order_of_versions_and_not_of_texts() -> None:
    rows = [{**ONE, "version": version} for version in ("1.10", "1.9", "1.9.post1", "1.10rc1")]
    after, _ = merged(*rows, old=document("", head=HEAD.replace("rows:\n", "rows: []\n")))
    assert [row["version"] for row in after.rows] == ["1.9", "1.9.post1", "1.10rc1", "1.10"]


def test_the_next_point_release_of_an_image_takes_the_row_of_the_last() -> None:
    row = {"image": "nvidia/cuda", "release": "13.3.1", "os": "ubuntu24.04", "cuda": "13.3", **MEASURED}
    flow = ", ".join(f'{key}: "{value}"' for key, value in row.items())
    before = document(f"- {{{flow}}}\n", "images")
    after, change = merged({**row, "release": "13.3.2"}, old=before)
    assert change == Change(changed=(("nvidia/cuda", "13.3", "ubuntu24.04"),))
    assert [row["release"] for row in after.rows] == ["13.3.2"]


def test_a_difference_is_a_unified_diff_of_the_file() -> None:
    lines = difference("a\nb\n", "a\nc\n", "packages/torch")
    assert lines == ["--- a/packages/torch.yaml", "+++ b/packages/torch.yaml", "@@ -2 +2 @@", "-b", "+c"]
    assert difference("a\n", "a\n", "cuda") == []
