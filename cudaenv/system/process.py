"""Running other programs: a list of arguments, never a shell, output captured."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


def run_logged(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, timeout_s: float
) -> int:
    """Run a program to its end with all that it prints in a file; return its exit status.

    ToolError where it cannot be started, does not end in time, or the file cannot be written.
    """
    name = Path(arguments[0]).name
    try:
        with log.open("wb") as file:
            return subprocess.run(
                list(arguments),
                env=dict(env),
                cwd=cwd,
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"`{name}` did not end within {timeout_s:.0f} s", [f"log: {log}"]) from error
    except OSError as error:
        raise ToolError(f"`{name}` cannot be started, or its log not be written", [str(error)]) from error


def become(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    path: Sequence[str],
    variables: Mapping[str, str],
    unset: Sequence[str],
) -> int:
    """Give way to a program: this process becomes it, so that signals, terminal and exit status are its own.

    `path` are folders to search before those of PATH. Where a process cannot become another, the
    program's exit status is returned. ToolError where there is no such program, or it cannot be started.
    """
    searched = os.pathsep.join([*path, *filter(None, [env.get("PATH", os.defpath)])])
    kept = {key: value for key, value in env.items() if key not in unset}
    whole = {**kept, **variables, "PATH": searched}
    program = shutil.which(arguments[0], path=searched)
    if program is None:
        raise ToolError(
            f"there is no program `{arguments[0]}` in the environment, nor on PATH",
            [f"searched: {searched}"],
        )
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if os.name == "posix":
            os.execve(program, list(arguments), whole)  # noqa: S606  (a list, no shell)
        return subprocess.run([program, *arguments[1:]], env=whole, check=False).returncode
    except OSError as error:
        raise ToolError(f"`{arguments[0]}` cannot be started", [str(error)]) from error
