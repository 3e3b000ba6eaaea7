"""Which tables are in force, and reading them fast: checked once, then from a compiled form in the cache."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cudaenv.errors import MatrixError
from cudaenv.matrix.compiled import compile_documents, digest_of, read_compiled
from cudaenv.matrix.matrix import Matrix, read_checked, type_checked
from cudaenv.system.cache import recall, remember
from cudaenv.system.files import (
    cache_folder,
    data_folder,
    finish_moves,
    read_folder,
    read_if_there,
    user_data_folder,
)

SUFFIX: Final = ".yaml"
SHIPPED: Final = "shipped.sha256"
"""Beside refreshed tables: the digest of the shipped ones that they were made from."""
KEPT: Final = 8
"""Compiled forms that the cache has at most: those of other projects' tables, of other releases."""

MAX_COMPILED: Final = 64 << 20  # bytes


def shipped_texts() -> dict[str, str]:
    """The texts of the tables that ship with the package, by name."""
    return read_folder(data_folder("matrix"), SUFFIX)


def refreshed_folder(environ: Mapping[str, str]) -> Path | None:
    """Where `cudaenv matrix refresh --write` puts a user's tables; None where no home folder is known."""
    folder = user_data_folder(environ)
    return None if folder is None else folder / "matrix"


def table_texts(environ: Mapping[str, str], talk: Callable[[str], None]) -> tuple[Path, dict[str, str]]:
    """The folder of the tables in force and their texts.

    That of `CUDAENV_MATRIX`; else the user's refreshed ones, if they were made from the shipped ones of this
    release; else the shipped ones. MatrixError where the folder of `CUDAENV_MATRIX` cannot be read.
    """
    chosen = environ.get("CUDAENV_MATRIX")
    if chosen:
        folder = Path(chosen)
        if not folder.is_dir():
            raise MatrixError(f"CUDAENV_MATRIX names `{folder}`, which is not a folder")
        return folder, _texts(folder)
    shipped = shipped_texts()
    refreshed = refreshed_folder(environ)
    made_from = None if refreshed is None else _made_from(refreshed)
    if refreshed is not None and made_from is not None:
        if made_from == digest_of(shipped):
            return refreshed, _texts(refreshed)
        talk(
            f"note: the refreshed tables in {refreshed} were made from those of another release of cudaenv, "
            "and are not used; `cudaenv matrix refresh --write` makes them anew"
        )
    return data_folder("matrix"), shipped


def _made_from(folder: Path) -> str | None:
    """The digest of the tables that refreshed ones were made from; None where there are none."""
    try:
        if not folder.is_dir():
            return None
    except OSError as error:
        raise MatrixError(f"the tables in `{folder}` cannot be read", [str(error)]) from error
    finish_moves(folder)
    text = read_if_there(folder / SHIPPED)
    return None if text is None else text.strip()


def _texts(folder: Path) -> dict[str, str]:
    try:
        finish_moves(folder)
        return read_folder(folder, SUFFIX)
    except (OSError, UnicodeDecodeError) as error:
        raise MatrixError(f"the tables in `{folder}` cannot be read", [str(error)]) from error


def load_matrix(environ: Mapping[str, str], talk: Callable[[str], None]) -> Matrix:
    """The tables in force, checked. MatrixError names all that is wrong with them."""
    return matrix_of(table_texts(environ, talk)[1], cache_folder(environ))


def matrix_of(texts: Mapping[str, str], cache: Path | None) -> Matrix:
    """The matrix of these texts. What was checked before comes from its compiled form in the cache.

    The form is kept under the digest of the texts, so it is never one of other texts.
    """
    if cache is None:
        return Matrix.from_texts(texts)
    file = cache / "matrix" / f"{digest_of(texts)}.json"
    with contextlib.suppress(ValueError, MatrixError):
        documents = read_compiled((recall(file, MAX_COMPILED) or b"").decode())
        if documents.keys() == texts.keys():
            return Matrix(type_checked(documents))
    documents = read_checked(texts)
    remember(file, compile_documents(documents).encode())
    _forget_old(file.parent)
    return Matrix(type_checked(documents))


def _forget_old(folder: Path) -> None:
    """Keep the youngest files of a folder; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[KEPT:]:
            file.unlink(missing_ok=True)
