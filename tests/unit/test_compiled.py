"""The compiled form of the tables: as good as the files, found by their digest only, never trusted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cudaenv.errors import MatrixError
from cudaenv.matrix.compiled import compile_documents, digest_of, read_compiled
from cudaenv.matrix.matrix import Matrix, read_checked
from cudaenv.workflow import tables
from cudaenv.workflow.tables import matrix_of, shipped_texts


def only_file(cache: Path) -> Path:
    (file,) = (cache / "matrix").iterdir()
    return file


def no_reading(_: object) -> None:
    raise AssertionError("the files were read")


def test_the_compiled_form_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = shipped_texts()
    first = matrix_of(texts, tmp_path)
    monkeypatch.setattr(tables, "read_checked", no_reading)
    again = matrix_of(texts, tmp_path)
    assert again.tables == first.tables == Matrix.from_texts(texts).tables


def test_other_texts_are_never_taken_for_these(tmp_path: Path) -> None:
    texts = shipped_texts()
    matrix_of(texts, tmp_path)
    edited = {**texts, "targets": texts["targets"].replace('title: "run PyTorch', 'title: "use PyTorch')}
    assert digest_of(edited) != digest_of(texts)
    assert matrix_of(edited, tmp_path).target("run-only").title.startswith("use PyTorch")
    assert matrix_of(texts, tmp_path).target("run-only").title.startswith("run PyTorch")


def test_a_name_and_a_text_cannot_change_places() -> None:
    assert digest_of({"a": "b c", "d": ""}) != digest_of({"a": "b", "c d": ""})
    assert digest_of({"a": "x\n", "b": "y"}) != digest_of({"a": "x", "b": "\ny"})


def test_tables_that_do_not_hold_are_not_compiled(tmp_path: Path) -> None:
    texts = shipped_texts()
    spoilt = {**texts, "targets": texts["targets"].replace('packages: "torch"', 'packages: "no-such"')}
    for _ in range(2):
        with pytest.raises(MatrixError, match="1 problem"):
            matrix_of(spoilt, tmp_path)
    assert not (tmp_path / "matrix").exists()


def sealed(body: str) -> bytes:
    """A body under its digest, as the form has it."""
    return f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}".encode()


def altered(file: Path) -> bytes:
    return file.read_bytes().replace(b"410.48", b"410.49")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        sealed(""),
        sealed("[]"),
        sealed("{}"),
        sealed("[" * 100_000),
        sealed('{"cuda": 1}'),
        sealed('{"cuda": {"sources": [[1, 2]], "sections": {}}}'),
        sealed('{"cuda": {"sources": [], "sections": {"rows": [{"cuda": "12.8"}]}}}'),
        sealed('{"cuda": {"sources": [], "sections": {"rows": [{"cuda": 12.8}]}}}'),
        sealed('{"cuda": {"sources": [["a", "url", "b", "c", null]], "sections": {}}}'),
        sealed('{"cuda": {"sources": [], "sections": {"rows": ["cuda"]}}}'),
    ],
)
def test_a_file_in_the_cache_that_is_no_compiled_form_is_replaced(content: bytes, tmp_path: Path) -> None:
    texts = shipped_texts()
    expected = matrix_of(texts, tmp_path).tables
    good = only_file(tmp_path).read_bytes()
    only_file(tmp_path).write_bytes(content)
    assert matrix_of(texts, tmp_path).tables == expected
    assert only_file(tmp_path).read_bytes() == good


def test_a_file_in_the_cache_that_was_altered_is_replaced(tmp_path: Path) -> None:
    texts = shipped_texts()
    expected = matrix_of(texts, tmp_path).tables
    only_file(tmp_path).write_bytes(altered(only_file(tmp_path)))
    assert matrix_of(texts, tmp_path).tables == expected


@pytest.mark.parametrize("value", ["12.8", "null", "[]", "true", '{"a": "b"}'])
def test_a_compiled_form_with_a_cell_of_another_type_is_replaced(value: str, tmp_path: Path) -> None:
    texts = shipped_texts()
    expected = matrix_of(texts, tmp_path).tables
    _, body = only_file(tmp_path).read_text().split("\n", 1)
    changed = body.replace('{"cuda":"13.4"', f'{{"cuda":{value}', 1)
    assert changed != body
    only_file(tmp_path).write_bytes(sealed(changed))
    assert matrix_of(texts, tmp_path).tables == expected


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert matrix_of(shipped_texts(), tmp_path / "file").target_names
    assert matrix_of(shipped_texts(), None).target_names


def test_a_few_compiled_forms_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "KEPT", 2)
    texts = shipped_texts()
    for number in range(4):
        matrix_of({**texts, "targets": f"# {number}\n{texts['targets']}"}, tmp_path)
    assert len(list((tmp_path / "matrix").iterdir())) == 2


def test_what_is_compiled_is_what_was_read() -> None:
    documents = read_checked(shipped_texts())
    again = read_compiled(compile_documents(documents))
    assert {name: found.sections for name, found in again.items()} == {
        name: dict(found.sections) for name, found in documents.items()
    }
    assert {name: found.sources for name, found in again.items()} == {
        name: dict(found.sources) for name, found in documents.items()
    }
