"""A Debian of its own in a folder, for programs that this machine's release does not have."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import debian

SUITE = "sid"
USER = "someone"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}

# A chroot alone is not enough: engines mount things, and want a root directory that is a mount point.
ENTER = """\
set -e
root=$1 work=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount --bind "$work" "$root/work"
cd "$root"
pivot_root . .host
umount -l /.host
cd /work
exec "$@"
"""

# When it ends, whatever it started ends, too, and with that its mounts.
UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
DIES_WITH_THE_TESTS = ("setpriv", "--pdeathsig", "KILL")

TRIAL = """\
cd "$0"
mkdir lower upper work merged
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
"""


def obstacle() -> str:
    """Why no such system, nor an engine in it, can be had here; empty where it can."""
    reason = debian.obstacle("unshare", "setpriv", "pivot_root")
    if reason:
        return reason
    if not os.access("/sys/fs/cgroup", os.W_OK):
        return "there are no cgroups that may be changed"
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(
            [*UNSHARE, "sh", "-ec", TRIAL, folder], capture_output=True, text=True, check=False
        )
    return f"mounting is refused: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass(frozen=True)
class System:
    """A system in a folder. What runs in it has a folder of this machine as /work, and this network."""

    root: Path

    @property
    def work(self) -> Path:
        """The folder that services have as /work."""
        return self.root / "work"

    def run(self, work: Path, *command: str, user: str = "", status: int = 0) -> str:
        """Run a program there; return all that it says. Fail where it does not end with `status`."""
        identity = (
            ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "env", f"HOME=/home/{user}"]
            if user
            else []
        )
        ended, said = debian.output(self._command(work, *identity, *command), ENVIRONMENT)
        assert ended == status, said[-6000:]
        return said

    @contextlib.contextmanager
    def service(self, *command: str) -> Iterator[Path]:
        """Let a program run as long as it is needed; give the file with what it says."""
        log = self.root / "var/log" / f"{Path(command[0]).name}.log"
        with log.open("w") as said:
            process = subprocess.Popen(
                [*DIES_WITH_THE_TESTS, *self._command(self.work, *command)],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield log
        finally:
            _end(process)

    def _command(self, work: Path, *command: str) -> list[str | Path]:
        return [*UNSHARE, "sh", "-c", ENTER, "enter", self.root, work, *command]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children: first as it is asked to, so that it leaves nothing behind."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def make_system(root: Path, packages: tuple[str, ...]) -> System:
    """Make a system with these packages and a user who is not root."""
    debian.debootstrap(SUITE, root, packages)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc") / name, root / "etc" / name)
    (root / ".host").mkdir()
    system = System(root)
    system.work.mkdir()
    system.run(system.work, "useradd", "--create-home", USER)
    return system
