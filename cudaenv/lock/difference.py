"""What differs between a lock and what would be locked now, in lines a person can act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cudaenv.lock.document import LockDocument


def differences(locked: LockDocument, now: LockDocument, files: Mapping[str, str | None]) -> list[str]:
    """Lines such as `spec.python: 3.11 in the lock, 3.12 now`; empty where nothing differs.

    `files` holds the sha256 of each file as it lies there, None for a missing one.
    """
    return [
        *_values("spec", locked.spec, now.spec),
        *_named("machine", locked.machines, now.machines),
        *_named("environment", locked.environments, now.environments),
        *_rows(locked.rows, now.rows),
        *_files(locked.files, files),
    ]


def _values(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _values(f"{path}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and all(isinstance(x, str) for x in (*old, *new)):
        for item in sorted({*old, *new}, key=str):
            if old.count(item) != new.count(item):
                yield f"{path}: `{item}` is {'only in the lock' if item in old else 'not in the lock'}"
    elif old != new:
        yield f"{path}: {_shown(old)} in the lock, {_shown(new)} now"


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"`{value}`"


def _named(what: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    before = {str(item["name"]): item for item in old}
    after = {str(item["name"]): item for item in new}
    for name in sorted({*before, *after}):
        if name not in after:
            yield f"{what} `{name}` is only in the lock"
        elif name not in before:
            yield f"{what} `{name}` is not in the lock"
        else:
            yield from _values(f"{what} `{name}`", before[name], after[name])


def _rows(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"matrix row `{name}` is no longer in use"
        elif name not in old:
            yield f"matrix row `{name}` is newly in use"
        elif old[name] != new[name]:
            yield f"matrix row `{name}` has changed"


def _files(locked: Mapping[str, str], found: Mapping[str, str | None]) -> Iterator[str]:
    for name in sorted(locked):
        if found.get(name) is None:
            yield f"file `{name}` is missing"
        elif found[name] != locked[name]:
            yield f"file `{name}` has changed"
