"""Wheels that were built here, kept by what they were built from and with, and checked before use."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cudaenv.system.files import file_sha256

RECORD = "built.json"


def key_of(facts: Mapping[str, str]) -> str:
    """The key of a build: equal for equal facts, and for no others."""
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()


def kept_wheel(shelf: Path, facts: Mapping[str, str]) -> Path | None:
    """The wheel that was built from exactly these facts; None where there is none, or it was altered."""
    folder = shelf / key_of(facts)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        wheel = folder / Path(record["wheel"]).name
        is_same = file_sha256(wheel) == record["sha256"] and record["facts"] == dict(facts)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return wheel if is_same else None


def keep_wheel(shelf: Path, facts: Mapping[str, str], wheel: Path) -> Path:
    """Keep a wheel with its facts, in one step; return where it lies now.

    OSError where the shelf cannot be written.
    """
    shelf.mkdir(parents=True, exist_ok=True)
    folder = shelf / key_of(facts)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=shelf) as temporary:
        place = Path(temporary) / "entry"
        place.mkdir()
        shutil.copyfile(wheel, place / wheel.name)
        record = {"wheel": wheel.name, "sha256": file_sha256(wheel), "facts": dict(facts)}
        (place / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if folder.exists():
            # What is there is broken, or another process was faster; both give way.
            folder.rename(Path(temporary) / "old")
        place.rename(folder)
    return folder / wheel.name
