"""`cudaenv lock` of conda packages for three platforms beside `conda-lock lock` of the same specs.

The channels are on the loopback: real records where a checkout has them beside it, and otherwise those of
the tests. conda-lock solves with the same solver, as `cudaenv-conda`, and with the conda inside of its own
wheel, which takes minutes on real records: `--without-conda` leaves that out. Then an unchanged lock, and the
memory that a lock takes of channels with a million records. All repodata are cached before, but for the last.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml
from timing import report, run, side_by_side

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.channel import Channels, cuda_channels  # noqa: E402
from tests.support.channel_server import ChannelServer  # noqa: E402
from tests.support.conda_oracle import Oracle  # noqa: E402
from tests.support.inflation import inflate  # noqa: E402
from tests.support.real_channels import real_channels  # noqa: E402

RUNS = 7
OLDER = 300
"""How many versions more each package of the channel gets that is to be large; what is needed, too."""

CODE = "import sys; from cudaenv.cli.main import run; sys.exit(run(['lock', *sys.argv[1:]]))"
LOCK = [sys.executable, "-c", CODE]

# A selector of conda-lock for each platform.
PLATFORMS = {"linux-64": "linux64", "linux-aarch64": "aarch64", "win-64": "win"}
SPEC = """python = "3.12"
provider = "conda"
[packages]
torch = "==2.10.0"
[channels]
conda-forge = "{url}/conda-forge"
pytorch = "{url}/pytorch"
nvidia = "{url}/nvidia"
"""
MACHINE = """[[machine]]
name = "{name}"
gpu = "RTX 4090"
driver-api = "12.9"
platform = "{platform}"
"""


@dataclass(frozen=True)
class Bench:
    """A folder with a project, a home, and the files of the same environments for conda-lock."""

    folder: Path
    server: ChannelServer

    @property
    def project(self) -> Path:
        """Where `cudaenv.toml` and its locks are."""
        return self.folder / "project"

    @property
    def peer(self) -> Path:
        """Where conda-lock's files are."""
        return self.folder / "peer"

    def prepare(self, platforms: Sequence[str]) -> None:
        """Write the spec, lock it once, and write for conda-lock what it asks of conda."""
        for folder in (self.project, self.peer):
            folder.mkdir(parents=True)
        machines = [MACHINE.format(name=f"at-{platform}", platform=platform) for platform in platforms]
        text = SPEC.format(url=self.server.url) + "".join(machines)
        (self.project / "cudaenv.toml").write_text(text, encoding="utf-8")
        run([*LOCK], cwd=self.project, env=self.environ)
        parts = json.loads((self.project / "cudaenv.lock").read_text(encoding="utf-8"))["environments"]
        by_platform = {part["platform"]: part["conda"] for part in parts}
        assert set(by_platform) == set(platforms)
        lines = [
            f"  - {json.dumps(spec)}  # [{PLATFORMS[platform]}]\n"
            for platform, part in by_platform.items()
            for spec in part["specs"]
        ]
        head = f"channels: [conda-forge]\nplatforms: {json.dumps(list(by_platform))}\ndependencies:\n"
        (self.peer / "environment.yml").write_text(head + "".join(lines), encoding="utf-8")
        virtual = {name: {"packages": dict(part["virtual_packages"])} for name, part in by_platform.items()}
        (self.peer / "virtual.yml").write_text(yaml.safe_dump({"subdirs": virtual}), encoding="utf-8")
        (self.peer / "mapping.json").write_text("{}", encoding="utf-8")
        condarc = {"custom_channels": {"conda-forge": self.server.url}}
        (self.folder / ".condarc").write_text(yaml.safe_dump(condarc), encoding="utf-8")

    @property
    def environ(self) -> dict[str, str]:
        """The environment of both."""
        own = {"HOME": str(self.folder), "CUDAENV_CACHE_DIR": str(self.folder / "cache"), "LANG": "C.UTF-8"}
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **own}

    def ours(self, *options: str) -> float:
        """Seconds for one `cudaenv lock`."""
        return run([*LOCK, *options], cwd=self.project, env=self.environ)

    def conda_lock(self, conda: Path) -> float:
        """Seconds for one `conda-lock lock` with this conda."""
        (self.peer / "conda-lock.yml").unlink(missing_ok=True)
        arguments = ["lock", "--conda", str(conda), "-f", "environment.yml"]
        arguments += ["--virtual-package-spec", "virtual.yml", "--pypi_to_conda_lookup_file", "mapping.json"]
        return run([sys.executable, "-m", "conda_lock", *arguments], cwd=self.peer, env=self.environ)


def compare(bench: Bench, *, with_conda: bool) -> None:
    """Print the lines about time."""
    again = partial(bench.ours, "--upgrade")
    own = Path(sys.executable).with_name("cudaenv-conda")
    figures = side_by_side(again, partial(bench.conda_lock, own), RUNS)
    report("cudaenv lock --upgrade, three platforms", "conda-lock, cudaenv-conda", figures)
    if with_conda:
        bench.server.unpacked()
        oracle = Oracle(bench.folder / "oracle", bench.server.url)
        figures = side_by_side(again, partial(bench.conda_lock, oracle.executable()), 1)
        report("cudaenv lock --upgrade, three platforms", "conda-lock, its own conda", figures)
    bench.ours()
    empty = [sys.executable, "-c", "import click, yaml"]
    figures = side_by_side(bench.ours, partial(run, empty), RUNS)
    report("cudaenv lock, nothing changed", "import click, yaml", figures)


def peak_memory(arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[float, int]:
    """Seconds that a command takes, and the most bytes that its processes had at once; on Linux."""
    start = time.perf_counter()
    process = subprocess.Popen(
        arguments, cwd=cwd, env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    most = 0
    while process.poll() is None:
        most = max(most, sum(_resident(folder, process.pid) for folder in Path("/proc").glob("[0-9]*")))
        time.sleep(0.01)
    assert process.stderr is not None
    assert process.returncode == 0, process.stderr.read().decode()
    return time.perf_counter() - start, most


def _resident(process: Path, group: int) -> int:
    """What a process of a group has in memory: not twice what it shares with the others."""
    try:
        # After the name in parentheses: state, parent, group.
        if int((process / "stat").read_text().rpartition(")")[2].split()[2]) != group:
            return 0
        lines = (process / "smaps_rollup").read_text().splitlines()
    except (OSError, ValueError):
        return 0  # it has just ended
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measure_memory(folder: Path, channels: Path) -> None:
    """Print what locking of a million records takes, in shards and whole."""
    for kind in ("shards", "whole"):
        place = folder / kind
        for file in (path for path in channels.rglob("repodata.json.zst") if path.is_file()):
            copy = place / "channels" / file.relative_to(channels)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
        for subdir, count in (("linux-64", 600_000), ("noarch", 400_000)):
            own = place / "channels" / "conda-forge"
            inflate(own, subdir, count, older=OLDER, sharded=kind == "shards")
        with ChannelServer(Channels(place / "channels", {})) as server:
            bench = Bench(place, server)
            bench.prepare(["linux-64"])
            shutil.rmtree(place / "cache")
            seconds, most = peak_memory([*LOCK, "--upgrade"], bench.project, bench.environ)
            print(f"a million records, {kind}: {most / 2**20:.0f} MB at most, {seconds:.1f} s with no cache")
        shutil.rmtree(place)


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        channels = real_channels() or cuda_channels(folder / "channels").folder
        print(f"channels: {'real records' if real_channels() else 'those of the tests'}")
        with ChannelServer(Channels(channels, {})) as server:
            bench = Bench(folder / "bench", server)
            bench.prepare(list(PLATFORMS))
            compare(bench, with_conda="--without-conda" not in sys.argv)
        if sys.platform == "linux":
            measure_memory(folder / "memory", channels)


if __name__ == "__main__":
    main()
