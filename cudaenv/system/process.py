"""Running other programs: a list of arguments, never a shell, output captured."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cudaenv.errors import ToolError


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended and what it printed."""

    status: int
    stdout: str
    stderr: str


def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    timeout_s: float | None = None,
    show_stderr: bool = False,
) -> Completed:
    """Run a program to its end; with `show_stderr` its progress goes to the user's terminal.

    ToolError where it cannot be started or does not end in time; any exit status is an answer.
    """
    try:
        done = subprocess.run(
            list(arguments),
            env=dict(env),
            cwd=cwd,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if show_stderr else subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"`{Path(arguments[0]).name}` did not end within {timeout_s:.0f} s") from error
    except OSError as error:
        raise ToolError(f"`{Path(arguments[0]).name}` cannot be started", [str(error)]) from error
    return Completed(done.returncode, done.stdout, done.stderr or "")
