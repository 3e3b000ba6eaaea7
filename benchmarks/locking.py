"""`cudaenv lock` beside the same `uv pip compile` alone, with a warm cache, on PyPI.

One environment against one compile; four environments, which cudaenv resolves side by side, against the
sum of four compiles one after the other. The torch of all four is on PyPI. With `--upgrade` everything is
resolved; without it, nothing is where nothing has changed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from timing import report, run, side_by_side

from cudaenv.system.uv import find_uv, uv_environment

RUNS = 7
LOCK = "import sys; from cudaenv.cli.main import run; sys.exit(run(['lock', *sys.argv[1:]]))"
ONE = 'python = "3.12"\nplatforms = ["linux-64"]\n[packages]\ntorch = "==2.15.0"\n'
FOUR = """python = "3.12"
[packages]
torch = "==2.15.0"
[[machine]]
name = "server"
gpu = "H100"
platform = "linux-64"
[[machine]]
name = "arm"
gpu = "GH200"
platform = "linux-aarch64"
[[machine]]
name = "laptop"
platform = "osx-arm64"
[[machine]]
name = "office"
gpu = "none"
platform = "win-64"
"""
PLATFORMS = (
    "x86_64-manylinux_2_28",
    "aarch64-manylinux_2_28",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)


def compile_once(folder: Path, requirement: str, platform: str) -> float:
    """The bare peer: one resolution to a pylock with hashes."""
    (folder / "requirements.in").write_text(f"{requirement}\n")
    (folder / "uv.toml").write_text("")
    arguments = [find_uv(), "pip", "compile", "requirements.in", "--quiet", "--python-version", "3.12"]
    arguments += ["--python", sys.executable, "--python-platform", platform, "--only-binary", ":all:"]
    arguments += ["--prerelease", "explicit", "--format", "pylock.toml", "--no-header", "-o", "pylock.toml"]
    arguments += ["--upgrade"]
    env = uv_environment(os.environ, folder / "uv.toml") | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    return run(arguments, cwd=folder, env=env)


def compile_in_turn(folder: Path, requirement: str, platforms: tuple[str, ...]) -> float:
    """Seconds for one resolution after the other."""
    return sum(compile_once(folder, requirement, platform) for platform in platforms)


def main() -> None:
    """Print both comparisons."""
    with tempfile.TemporaryDirectory() as folder:
        for name, spec, platforms in (("one environment", ONE, PLATFORMS[:1]), ("four", FOUR, PLATFORMS)):
            ours, peer = Path(folder, name, "ours"), Path(folder, name, "peer")
            ours.mkdir(parents=True)
            peer.mkdir()
            (ours / "cudaenv.toml").write_text(spec)
            figures = side_by_side(
                partial(run, [sys.executable, "-c", LOCK, "--upgrade"], cwd=ours),
                partial(compile_in_turn, peer, "torch==2.15.0", platforms),
                RUNS,
            )
            report(f"cudaenv lock --upgrade, {name}", f"uv pip compile, {len(platforms)} in turn", figures)
            figures = side_by_side(
                partial(run, [sys.executable, "-c", LOCK], cwd=ours),
                partial(compile_in_turn, peer, "torch==2.15.0", platforms),
                RUNS,
            )
            report(
                f"cudaenv lock, nothing changed, {name}", f"uv pip compile, {len(platforms)} in turn", figures
            )


if __name__ == "__main__":
    main()
