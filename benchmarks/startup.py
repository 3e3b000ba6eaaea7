"""Start-up as whole processes, beside an interpreter that only imports click and PyYAML."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from timing import report, run, side_by_side

RUNS = 15
PEER = [sys.executable, "-c", "import click, yaml"]
OURS = """
import sys
from cudaenv.cli.main import main
try:
    main()
except SystemExit as end:
    sys.exit(end.code not in (0, 3))
"""
A100 = ["--gpu", "A100", "--driver", "535.183.06"]
COMMANDS = {
    "cudaenv --help": ["--help"],
    "cudaenv plan, one machine": ["plan", "--gpu", "RTX 4090", "--driver", "595.71.05"],
    "cudaenv plan, mmcv-full": ["plan", "--target", "mmcv-full", *A100],
    "cudaenv plan, xformers": ["plan", "--target", "xformers", *A100],
    "cudaenv plan --json, no plan": ["plan", "--json", "--gpu", "P100", "--package", "torch>=2.15"],
}


def main() -> None:
    """Print a line a command; a refusal's exit status is an answer too."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, arguments in COMMANDS.items():
            command = [sys.executable, "-c", OURS, *arguments]
            figures = side_by_side(partial(run, command, cwd=place), partial(run, PEER, cwd=place), RUNS)
            report(name, "import click, yaml", figures)


if __name__ == "__main__":
    main()
