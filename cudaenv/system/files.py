"""Files: the data that ships with the package, and sets of files that are replaced together or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cudaenv.errors import MatrixError, SpecError

PACKAGE = Path(__file__).resolve().parent.parent
JOURNAL = ".cudaenv-journal.json"
TEMPORARY = ".cudaenv-new-"
ABANDONED_S = 3600


def data_folder(name: str) -> Path:
    """The shipped folder `matrix` or `templates`: inside an installed package, or beside it in a checkout."""
    for place in (PACKAGE / "_data" / name, PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise MatrixError(f"the folder `{name}` that ships with cudaenv is missing", hint="Install cudaenv again")


def read_folder(folder: Path, suffix: str) -> dict[str, str]:
    """The texts of all files with a suffix below a folder, by relative name without the suffix."""
    return {
        path.relative_to(folder).as_posix().removesuffix(suffix): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob(f"*{suffix}"))
    }


def read_if_there(path: Path) -> str | None:
    """The text of a file, or None where there is none. SpecError where it cannot be read as text.

    Line ends come as line feeds whatever a checkout made of them, so that a lock is the same everywhere.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"`{path.name}` cannot be read", [str(error)]) from error


def file_sha256(path: Path) -> str:
    """The sha256 of a file in hexadecimal; empty where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def cache_folder(environ: Mapping[str, str]) -> Path | None:
    """Where downloads are remembered: `CUDAENV_CACHE_DIR`, else the system's usual place.

    None where no home folder is known.
    """
    if environ.get("CUDAENV_CACHE_DIR"):
        return Path(environ["CUDAENV_CACHE_DIR"])
    return _usual_folder(environ, "cudaenv/cache", "Caches", ("XDG_CACHE_HOME", ".cache"))


def user_data_folder(environ: Mapping[str, str]) -> Path | None:
    """Where a user's own data lie: `CUDAENV_DATA_DIR`, else the system's usual place.

    None where no home folder is known.
    """
    if environ.get("CUDAENV_DATA_DIR"):
        return Path(environ["CUDAENV_DATA_DIR"])
    return _usual_folder(environ, "cudaenv", "Application Support", ("XDG_DATA_HOME", ".local/share"))


def _usual_folder(
    environ: Mapping[str, str], windows: str, macos: str, linux: tuple[str, str]
) -> Path | None:
    """The system's place for a kind of a user's files; for Linux a variable and what it stands for if unset.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    with contextlib.suppress(RuntimeError):
        if sys.platform == "win32":
            return Path(environ.get("LOCALAPPDATA") or Path.home()) / windows
        if sys.platform == "darwin":
            return Path.home() / "Library" / macos / "cudaenv"
        variable, usual = linux
        return Path(environ.get(variable) or Path.home() / usual) / "cudaenv"
    return None


def write_together(folder: Path, texts: Mapping[str, str | None]) -> None:
    """Replace several files of a folder, and remove those whose text is None: all of them, or none.

    Each text goes to a temporary file first. Then a journal names what moves where; from that moment
    the new set counts, and whoever comes next finishes the moves (`finish_moves`) if this process
    dies between two of them. SpecError where the folder cannot be written; the old files are intact then.
    """
    finish_moves(folder)
    _sweep(folder)
    for name in texts:
        _inside(folder, name)
    moves: dict[str, str | None] = {}
    try:
        for name, text in texts.items():
            moves[name] = None if text is None else _temporary(folder, text)
        (folder / _temporary(folder, json.dumps(moves))).replace(folder / JOURNAL)
    except OSError as error:
        for temporary in moves.values():
            if temporary is not None:
                (folder / temporary).unlink(missing_ok=True)
        raise SpecError("the files cannot be written; the old ones are as they were", [str(error)]) from error
    with _uninterrupted():
        finish_moves(folder)


def finish_moves(folder: Path) -> None:
    """Finish what a killed run had begun to replace. SpecError where that cannot be done."""
    journal = folder / JOURNAL
    try:
        moves = json.loads(journal.read_text(encoding="utf-8"))
        for name, temporary in moves.items():
            target = _inside(folder, name)
            if temporary is None:
                target.unlink(missing_ok=True)
            elif _inside(folder, temporary).exists():  # else it was moved before the run was killed
                target.parent.mkdir(parents=True, exist_ok=True)
                _inside(folder, temporary).replace(target)
        journal.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError, TypeError, RuntimeError) as error:
        raise SpecError(
            f"`{JOURNAL}` cannot be followed",
            [str(error)],
            "Remove it, then run the command that wrote it again",
        ) from error


def _sweep(folder: Path) -> None:
    """Remove temporary files of runs that were killed before they counted; young ones may be in use."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder or below it. A journal is a file like any other: it may not lead elsewhere."""
    is_plain = not ("\\" in name or ":" in name or any(part in {"", ".", ".."} for part in name.split("/")))
    # A folder on the way may be a link to another place.
    if not is_plain or not (folder / name).parent.resolve().is_relative_to(folder.resolve()):
        raise SpecError(f"`{JOURNAL}` names a file outside its folder: {name!r}", hint="Remove it")
    return folder / name


def _temporary(folder: Path, text: str) -> str:
    handle, path = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if os.name == "posix":
            Path(path).chmod(0o666 & ~_umask())
    except OSError:
        Path(path).unlink(missing_ok=True)
        raise
    return Path(path).name


def _umask() -> int:
    """The permissions that new files do not get; mkstemp gives none to anybody else."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until a few renames are done."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt
