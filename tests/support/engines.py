"""The engines that rendered files are for: Docker with BuildKit and Compose, Apptainer, and a registry.

All are Debian's. They run in a system of their own, and the registry is Docker Hub to them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.chroot import USER, System, make_system
from tests.support.stand_in import StandIn

PACKAGES = (
    "apptainer",
    "ca-certificates",
    "docker-buildx",
    "docker-cli",
    "docker-compose",
    "docker-registry",
    "docker.io",
)
STAND_IN = "stand-in"
OTHER = "other-platform"

# Nothing of this machine's network is changed, so containers have all of it, or none.
DAEMON = (
    "dockerd",
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--ip-masq=false",
    "--userland-proxy=false",
    "--storage-driver=overlay2",
)

REGISTRY = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: /var/lib/docker-registry}}}}
http: {{addr: "{hub}"}}
"""

# https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
REGISTRIES = """\
[[registry]]
location = "docker.io"

[[registry.mirror]]
location = "{hub}"
insecure = true
"""


@dataclass(frozen=True)
class Engines:
    """Engines for which `hub`, a registry on the loopback, is Docker Hub."""

    system: System
    hub: str

    @property
    def shared(self) -> Path:
        """The folder that is /work to the daemon, too, so that containers may have it mounted."""
        return self.system.work

    def docker(self, folder: Path, *arguments: str, status: int = 0) -> str:
        """Run a command of docker in a folder; return what it says."""
        return self.system.run(folder, "docker", *arguments, status=status)

    def build(self, folder: Path, tag: str, *options: str, status: int = 0) -> str:
        """Build an image as `docker build` does; RUN lines have this machine's network."""
        building = ["buildx", "build", "--network=host", "--progress=plain", "--tag", tag]
        return self.docker(folder, *building, *options, ".", status=status)

    def run(self, image: str, *command: str, user: str = "", status: int = 0) -> str:
        """Run a program in a new container of an image; return what it says."""
        options = ["--rm", "--network=none", *([f"--user={user}"] if user else [])]
        return self.docker(self.shared, "run", *options, image, *command, status=status)

    def health(self, image: str, *command: str) -> str:
        """Run a program in a container of an image; return what came of the first check of its health."""
        container = self.docker(self.shared, "run", "--detach", "--network=none", image, *command).strip()
        try:
            return self._health(container)
        finally:
            self.docker(self.shared, "rm", "--force", container)

    def _health(self, container: str) -> str:
        for _ in range(60):
            said = self.docker(self.shared, "inspect", "--format={{.State.Health.Status}}", container)
            if said.strip() != "starting":
                break
            time.sleep(0.5)
        return said.strip()

    def apptainer(self, folder: Path, *arguments: str, status: int = 0) -> str:
        """Run a command of apptainer in a folder, as people on a cluster do: they are not root."""
        return self.system.run(folder, "apptainer", *arguments, user=USER, status=status)

    def rename(self, *images: str) -> None:
        """Give the stand-in the names of these images, in the daemon alone."""
        for image in images:
            self.docker(self.shared, "tag", STAND_IN, image)

    def publish(self, image: str) -> str:
        """Put the stand-in into the registry by a tag of Docker Hub's; return its digest.

        The tag is, as it is there, one of an index, in which there is another platform, too.
        """
        name = f"{self.hub}/{image if '/' in image else f'library/{image}'}"
        digests = [self._push(local, f"{name}-{local}") for local in (STAND_IN, OTHER)]
        repository = name.rpartition(":")[0]
        both = [f"{repository}@{digest}" for digest in digests]
        self.docker(self.shared, "buildx", "imagetools", "create", "--tag", name, *both)
        return digests[0]

    def _push(self, local: str, name: str) -> str:
        self.docker(self.shared, "tag", local, name)
        said = self.docker(self.shared, "push", name)
        (digest,) = re.findall(r"digest: (sha256:[0-9a-f]{64})", said)
        return str(digest)


@contextlib.contextmanager
def running_engines(folder: Path, stand_in: StandIn) -> Iterator[Engines]:
    """Make a system with the engines in a folder, and let them run; of all that nothing is left.

    SuiteError where the suite, which is never released, has not all of them now.
    """
    try:
        system = make_system(folder / "root", PACKAGES)
        hub = f"127.0.0.1:{_free_port()}"
        _configure(system.root / "etc", hub)
        with system.service("docker-registry", "serve", "/etc/registry.yml"), _daemon(system, hub):
            engines = Engines(system, hub)
            engines.build(stand_in.context, STAND_IN)
            _build_other_platform(engines)
            yield engines
    finally:
        shutil.rmtree(folder)


def _configure(etc: Path, hub: str) -> None:
    (etc / "registry.yml").write_text(REGISTRY.format(hub=hub))
    (etc / "containers").mkdir(exist_ok=True)
    (etc / "containers/registries.conf").write_text(REGISTRIES.format(hub=hub))


@contextlib.contextmanager
def _daemon(system: System, hub: str) -> Iterator[None]:
    # Its cgroups outlive it, and those of another Docker here are not to be touched.
    parent = f"cudaenv-tests-{os.getpid()}"
    options = (f"--registry-mirror=http://{hub}", f"--cgroup-parent={parent}")
    try:
        with system.service(*DAEMON, *options) as log:
            _wait_for(system.root / "run/docker.sock", log)
            yield
    finally:
        for cgroup in sorted(Path("/sys/fs/cgroup").glob(f"**/{parent}/**/"), reverse=True):
            cgroup.rmdir()


def _wait_for(socket_path: Path, log: Path) -> None:
    """Wait until the daemon answers, which it does from the moment that its socket is there."""
    for _ in range(300):
        if socket_path.is_socket():
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-4000:])


def _build_other_platform(engines: Engines) -> None:
    """Build an image that nothing runs in: what the other platform has under the same tag."""
    context = engines.system.root / "srv/other"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    engines.build(context, OTHER, "--platform=linux/arm64")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
