"""The user's own configuration of conda: where it fetches channels, with the credentials it has for them.

https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/settings.html
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def condarc_places(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Where the user's conda fetches these channels, by name, if not where everybody does.

    `custom_channels` and `channel_alias` count. The URLs may hold credentials: they are to be used, never
    to be written. A file that cannot be read says nothing, as for conda's own configuration of a machine.
    """
    settings = _settings(environ)
    custom = settings.get("custom_channels")
    alias = settings.get("channel_alias")
    found = {}
    for name in names:
        base = custom.get(name, alias) if isinstance(custom, Mapping) else alias
        if isinstance(base, str) and base.startswith(("https://", "http://")):
            found[name] = f"{os.path.expandvars(base).rstrip('/')}/{name}"
    return found


def _settings(environ: Mapping[str, str]) -> Mapping[str, Any]:
    home = environ.get("HOME") or environ.get("USERPROFILE") or ""
    paths = [
        environ.get("CONDARC", ""),
        *(f"{home}/{name}" for name in (".condarc", ".conda/.condarc") if home),
    ]
    for path in filter(None, paths):
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        import yaml  # few have such a file, and every installation looks for it

        try:
            settings = yaml.safe_load(text)
        except yaml.YAMLError:
            continue
        if isinstance(settings, Mapping):
            return settings
    return {}
