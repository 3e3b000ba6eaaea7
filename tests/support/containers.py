"""buildah: rendered Dockerfiles are built unchanged, of images that have the names of others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support import debian


def obstacle() -> str:
    """Why no image can be built here; empty where one can."""
    return debian.obstacle("buildah")


@cache
def _driver() -> str:
    """The storage that shares what images have in common where there is one; else a copy for each."""
    return "overlay" if "\toverlay\n" in Path("/proc/filesystems").read_text() else "vfs"


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
        # Cache mounts lie below TMPDIR, so that each test session has its own.
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)}
        ended, said = debian.output(["buildah", *options, *arguments], env)
        assert status is None or (ended != 0) == bool(status), said[-6000:]
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
