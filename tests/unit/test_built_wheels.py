"""Wheels that were built here: found again by equal facts, and only as they were kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaenv.system.built_wheels import RECORD, keep_wheel, kept_wheel, key_of

FACTS = {"source": "0" * 64, "torch": "2.15.0 cu132", "compiler": "gcc 12.2.0"}
NAME = "tiny-1.0-py3-none-any.whl"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(b"a wheel")
    return path


def test_a_kept_wheel_is_found_by_its_facts_and_no_others(tmp_path: Path, wheel: Path) -> None:
    shelf = tmp_path / "shelf"
    assert kept_wheel(shelf, FACTS) is None
    kept = keep_wheel(shelf, FACTS, wheel)
    assert kept_wheel(shelf, dict(reversed(FACTS.items()))) == kept
    assert (kept.name, kept.read_bytes()) == (NAME, b"a wheel")
    for name in FACTS:
        assert kept_wheel(shelf, FACTS | {name: "other"}) is None
    assert sorted(path.name for path in shelf.iterdir()) == [key_of(FACTS)]


@pytest.mark.parametrize(
    "harm", ["altered", "no wheel", "no record", "empty", "list", "other facts", "a way out"]
)
def test_what_is_not_as_it_was_kept_is_none_and_can_be_kept_anew(
    tmp_path: Path, wheel: Path, harm: str
) -> None:
    shelf = tmp_path / "shelf"
    kept = keep_wheel(shelf, FACTS, wheel)
    record = kept.parent / RECORD
    text = record.read_text()
    if harm == "altered":
        kept.write_bytes(b"another")
    elif harm in {"no wheel", "no record"}:
        (kept if harm == "no wheel" else record).unlink()
    else:
        broken = {"empty": "{}", "list": "[]", "other facts": text.replace("12.2.0", "12.3.0")}
        record.write_text(broken.get(harm, text.replace(NAME, f"../../{NAME}")))
    expected = kept if harm == "a way out" else None  # the name alone counts
    assert kept_wheel(shelf, FACTS) == expected
    assert kept_wheel(shelf, FACTS) == expected
    again = keep_wheel(shelf, FACTS, wheel)
    assert kept_wheel(shelf, FACTS) == again
    assert again.read_bytes() == b"a wheel"


@given(
    st.dictionaries(st.text(max_size=3), st.text(max_size=3)), st.dictionaries(st.text(max_size=3), st.text())
)
def test_equal_facts_have_equal_keys_and_others_have_others(one: dict[str, str], two: dict[str, str]) -> None:
    assert (key_of(one) == key_of(two)) == (one == two)
