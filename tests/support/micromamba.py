#!/usr/bin/python3
"""Stands in for micromamba in an image, as far as Dockerfiles of ours call it.

`create` fetches the packages of an explicit file and checks their hashes; an environment it makes of the
system's Python, and of a compiler's script that is to be heeded. `run` heeds it.
"""

import argparse
import hashlib
import os
import subprocess
import urllib.request
from pathlib import Path

SCRIPT = 'export CXX="$CONDA_PREFIX/bin/of-conda-c++"\n'
RUN = 'for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do . "$script"; done; exec "$0" "$@"'


def main() -> None:
    """Do as micromamba does."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    for command, does in (("create", create), ("run", run)):
        options = commands.add_parser(command)
        options.set_defaults(does=does)
        options.add_argument("--root-prefix", type=Path, required=True)
        options.add_argument("--prefix", type=Path, required=True)
        if does is create:
            for flag in ("--yes", "--no-rc", "--always-copy"):
                options.add_argument(flag, action="store_true", required=True)
            options.add_argument("--file", type=Path, required=True)
        else:
            options.add_argument("words", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    arguments.does(arguments)


def create(arguments: argparse.Namespace) -> None:
    """Fetch, compare, and make an environment."""
    lines = arguments.file.read_text().splitlines()
    wanted = [line.split("#") for line in lines if line.startswith("http")]
    for url, md5 in wanted:
        with urllib.request.urlopen(url) as answer:
            if hashlib.md5(answer.read(), usedforsecurity=False).hexdigest() != md5:
                raise SystemExit(f"{url}: the hash is another")
    subprocess.run(["/usr/bin/python3", "-m", "venv", arguments.prefix], check=True)
    scripts = arguments.prefix / "etc/conda/activate.d"
    scripts.mkdir(parents=True)
    (scripts / "compiler.sh").write_text(SCRIPT)
    (arguments.prefix / "conda-meta").mkdir()
    (arguments.prefix / "conda-meta/names").write_text("\n".join(url.rsplit("/", 1)[1] for url, _ in wanted))


def run(arguments: argparse.Namespace) -> None:
    """Run a command as in an activated environment."""
    path = f"{arguments.prefix}/bin:{os.environ['PATH']}"
    environ = {**os.environ, "CONDA_PREFIX": str(arguments.prefix), "PATH": path}
    command = ["/bin/bash", "-c", RUN, *arguments.words]
    raise SystemExit(subprocess.run(command, env=environ, check=False).returncode)


if __name__ == "__main__":
    main()
