"""Systems of Debian's packages, made in a folder from where this machine has its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def obstacle(*programs: str) -> str:
    """Why no system can be made here, of which these programs make something; empty where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "building images of a system needs Linux and root"
    missing = [name for name in ("debootstrap", "apt-get", *programs) if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    return "" if codename() else "this system has no name that debootstrap knows"


def codename() -> str:
    """The name of this machine's own release."""
    found = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else ""


class SuiteError(AssertionError):
    """A suite has not, or not now, what was asked of it."""


def debootstrap(suite: str, root: Path, packages: Sequence[str]) -> None:
    """Make a system of a suite, with nothing but what has to be there and these packages; or SuiteError."""
    included = f"--include={','.join(packages)}"
    try:
        run(["debootstrap", "--variant=minbase", included, suite, root, _mirror(codename())])
    except AssertionError as error:
        raise SuiteError(f"{suite}: {error}") from error


def _mirror(release: str) -> str:
    """Where this machine's own packages come from."""
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        f"Codename: {release}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def run(command: Sequence[str | Path]) -> None:
    """Run a program; fail with what it said where it fails."""
    status, said = output(command)
    assert status == 0, said[-4000:]


def output(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a program; return how it ended and all that it said."""
    done = subprocess.run(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout
