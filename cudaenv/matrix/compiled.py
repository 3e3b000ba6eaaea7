"""The compiled form of the tables: what their checked files say, as JSON, which is read faster than YAML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any, Final

from cudaenv import __version__
from cudaenv.matrix.document import Document
from cudaenv.matrix.tables import Source, SourceKind

FORM: Final = 2


def digest_of(texts: Mapping[str, str]) -> str:
    """The sha256 of names and texts of the files, and of the code that checked them."""
    found = hashlib.sha256(f"{FORM} {__version__}\n".encode())
    for name, text in sorted(texts.items()):
        found.update(f"{name} {len(text)}\n{text}\n".encode())
    return found.hexdigest()


def compile_documents(documents: Mapping[str, Document]) -> str:
    """The text of the compiled form of documents that were found to be right, under its own sha256."""
    body = json.dumps(
        {
            name: {
                "sources": [astuple(source) for source in document.sources.values()],
                "sections": document.sections,
            }
            for name, document in documents.items()
        },
        separators=(",", ":"),
    )
    return f"{_sha256(body)}\n{body}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_compiled(text: str) -> dict[str, Document]:
    """Documents from their compiled form, without heads. ValueError where it is none."""
    digest, _, body = text.partition("\n")
    if digest != _sha256(body):
        raise ValueError("not a compiled matrix, or not all of one")
    try:
        return {name: _document(name, entry) for name, entry in json.loads(body).items()}
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a compiled matrix: {error}") from error


def _document(name: str, entry: dict[str, Any]) -> Document:
    sources = [_source(*item) for item in entry["sources"]]
    sections = {section: tuple(rows) for section, rows in entry["sections"].items()}
    if not all(type(cell) is str for rows in sections.values() for row in rows for cell in row.values()):
        raise ValueError(f"not a compiled matrix: a row of {name} has something else than texts")
    return Document(name, sources={source.name: source for source in sources}, sections=sections)


def _source(name: str, kind: str, where: str, says: str, read: str) -> Source:
    return Source(name, SourceKind(kind), where, says, read)
