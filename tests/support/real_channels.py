"""Real records of conda-forge, nvidia and pytorch, for tests where a checkout has them beside it.

They are whole records of a part of what these channels have, for linux-64, linux-aarch64 and win-64; the
packages themselves are not there. Channels have them as `repodata.json.zst` alone.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.planning import ROOT

_FOLDER = ROOT.parent / "shared" / "repodata"


def real_channels() -> Path | None:
    """The folder of the channels, for a server of it: None where it is not there."""
    return _FOLDER if (_FOLDER / "conda-forge" / "noarch" / "repodata.json.zst").is_file() else None
