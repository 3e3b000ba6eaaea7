"""py-rattler, asked in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from cudaenv.system.addresses import printable

TIMEOUT_S: Final = 3600.0
"""Enough for the repodata of conda-forge, or the packages of an environment, over a slow connection."""

# A user with a password, and the tokens of channels: https://host/t/TOKEN/channel
_SECRET = re.compile(r"(?<=//)[^/@\s]*@|(?<=/t/)[^/\s]+")


class RattlerError(Exception):
    """py-rattler failed: `kind` is the name of its error, `lines` what it said, without any secret."""

    def __init__(self, kind: str, lines: list[str]) -> None:
        super().__init__(kind)
        self.kind = kind
        self.lines = lines


def ask(request: Mapping[str, object], *, progress: bool = False) -> Any:
    """Have one task done; what it takes and answers stands in `cudaenv.system.rattler_worker`.

    With `progress` its bars go to the user's terminal. RattlerError where it fails, KeyboardInterrupt where
    it was interrupted.
    """
    # -P: a module beside the user's files is not taken for one of ours.
    command = [sys.executable, "-P", "-m", "cudaenv.system.rattler_worker"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=None if progress else subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RattlerError(type(error).__name__, [printable(str(error))]) from error
    if done.returncode == -signal.SIGINT:
        raise KeyboardInterrupt  # it went to both processes, and may have got lost in this one
    if done.returncode not in {0, 1} or not done.stdout:
        text = (done.stderr or b"").decode(errors="replace").strip()
        raise RattlerError("", [f"py-rattler ended with {done.returncode}", harmless(text)])
    answer = json.loads(done.stdout)
    if isinstance(answer, dict) and "error" in answer:
        lines = [harmless(line) for line in str(answer["error"]).splitlines() if line.strip()]
        raise RattlerError(str(answer.get("kind", "")), lines)
    return answer


def harmless(text: str) -> str:
    """The end of a message, without what authenticates in its addresses."""
    return printable(_SECRET.sub("...", " ".join(text.split()))[-400:])
