"""buildah, and images made here under the names of others: rendered Dockerfiles are built unchanged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support import python_archive

PACKAGES = "ca-certificates,python3,python3-venv,python3-pip"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

# Python's images have a `python` to install anything for; that which uv fetches from afar lies here.
# The certificates are this machine's, for whoever has an authority of its own.
STAND_IN = f"""\
FROM scratch
ADD base.tar /
COPY ca-certificates.crt {CERTIFICATES}
COPY python_archive.py /opt/pythons/
RUN ln -s /usr/bin/python3 /usr/local/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED \\
    && python /opt/pythons/python_archive.py
ENV PIP_CERT={CERTIFICATES} SSL_CERT_FILE={CERTIFICATES} UV_PYTHON_DOWNLOADS_JSON_URL={python_archive.LIST}
"""


def obstacle() -> str:
    """Why no image can be built here; empty where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "building images of a system needs Linux and root"
    missing = [name for name in ("buildah", "debootstrap", "apt-get") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    return "" if _codename() else "this system has no name that debootstrap knows"


@cache
def _driver() -> str:
    """The storage that shares what images have in common where there is one; else a copy for each."""
    return "overlay" if "\toverlay\n" in Path("/proc/filesystems").read_text() else "vfs"


def _codename() -> str:
    found = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else ""


def _mirror(codename: str) -> str:
    """Where this machine's own packages come from."""
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        f"Codename: {codename}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


@dataclass(frozen=True)
class Engine:
    """A buildah with its own storage below a folder."""

    folder: Path

    def buildah(self, *arguments: str | Path, status: int | None = 0) -> str:
        """Run a command of buildah; return all that it says. Fail where it does not end with `status`."""
        options: list[str | Path] = [
            "--root",
            self.folder / "storage",
            "--runroot",
            self.folder / "run",
            "--storage-driver",
            _driver(),
        ]
        done = subprocess.run(
            ["buildah", *options, *arguments],
            # Cache mounts lie below TMPDIR, so that each test session has its own.
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )
        said: str = done.stdout
        assert status is None or (done.returncode != 0) == bool(status), said[-6000:]
        return said

    def build(
        self,
        context: Path,
        tag: str,
        *,
        file: str = "Dockerfile",
        arguments: Mapping[str, str] | None = None,
        secrets: Mapping[str, Path] | None = None,
        status: int = 0,
    ) -> str:
        """Build an image as `docker build` does; nothing is pulled."""
        given = [
            part for name, value in (arguments or {}).items() for part in ("--build-arg", f"{name}={value}")
        ]
        given += [
            part for name, path in (secrets or {}).items() for part in ("--secret", f"id={name},src={path}")
        ]
        options = [
            "--pull-never",
            "--isolation",
            "chroot",
            "--format",
            "docker",
            "--ulimit",
            "nofile=20000:20000",
        ]
        return self.buildah("bud", *options, *given, "-t", tag, "-f", context / file, context, status=status)

    def run(self, image: str, *command: str, user: str = "", status: int = 0) -> str:
        """Run a program in a new container of an image; return what it says."""
        container = self.start(image)
        try:
            return self.inside(container, *command, user=user, status=status)
        finally:
            self.buildah("rm", container)

    def start(self, image: str) -> str:
        """Make a container of an image; return its name."""
        return self.buildah("from", "--pull-never", image).split()[-1]

    def inside(self, container: str, *command: str, user: str = "", status: int = 0) -> str:
        """Run a program in a container; return what it says.

        By a file: in a chroot buildah hands output over by pipes, and on a busy machine some of it is lost.
        """
        folder = self.folder / "said"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        said = folder / container
        said.unlink(missing_ok=True)
        options = [
            "--isolation",
            "chroot",
            "--volume",
            f"{folder}:/said",
            *(["--user", user] if user else []),
        ]
        writing = ["sh", "-c", f'exec "$@" >/said/{container} 2>&1', "sh"]
        self.buildah("run", *options, container, "--", *writing, *command, status=status)
        return said.read_text()

    def rename(self, image: str, name: str) -> None:
        """Give an image another name, too: that of one that cannot be pulled here."""
        self.buildah("tag", image, f"localhost/{name}")

    def clear(self) -> None:
        """Remove everything, gigabytes that pytest would keep for its last sessions."""
        self.buildah("rm", "--all", status=None)
        self.buildah("rmi", "--all", "--force", status=None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove(self, *images: str) -> None:
        """Remove images: storage without layers has a copy of everything in each."""
        self.buildah("rmi", "--force", *images)


def make_stand_in(engine: Engine, image: str) -> str:
    """Make an image of this machine's system from nothing; return the Python that it has."""
    codename = _codename()
    root, context = engine.folder / "root", engine.folder / "stand-in"
    context.mkdir()
    run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", codename, root, _mirror(codename)])
    for sources in ("sources.list", "sources.list.d"):
        _copy(Path("/etc/apt") / sources, root / "etc/apt" / sources)
    _copy(Path(CERTIFICATES), context / "ca-certificates.crt")
    _copy(Path(python_archive.__file__), context / "python_archive.py")
    run(["tar", "-C", root, "-cf", context / "base.tar", "."])
    shutil.rmtree(root)
    (context / "Dockerfile").write_text(STAND_IN)
    engine.build(context, image)
    shutil.rmtree(context)
    said = engine.run(image, "python", "-c", "import sys; print('{}.{}'.format(*sys.version_info))")
    return said.split()[-1]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy(source, target)


def run(command: Sequence[str | Path]) -> None:
    """Run a program; fail with what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def only(lock: str, names: Sequence[str]) -> str:
    """The lines of a requirements.lock that are about these packages."""
    found = re.findall(r"^(\S+)( @ \S+ \\\n    --hash=\S+\n)", lock, re.MULTILINE)
    kept = [name + rest for name, rest in found if name in names]
    assert len(kept) == len(names), f"not all of {names} are in the lock"
    return "".join(kept)
