"""Loading the tables in fresh processes, beside reading the same files with libyaml and nothing more."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from timing import report, side_by_side

RUNS = 15
TIMED = """
import time
{imports}
start = time.perf_counter()
{work}
print(time.perf_counter() - start)
"""
LOADING = TIMED.format(
    imports="""import sys
from pathlib import Path
from cudaenv.workflow.tables import matrix_of, shipped_texts""",
    work="matrix_of(shipped_texts(), Path(sys.argv[1]))",
)
PEER = TIMED.format(
    imports="import yaml\nfrom cudaenv.workflow.tables import shipped_texts",
    work="[yaml.load(text, Loader=yaml.CSafeLoader) for text in shipped_texts().values()]",
)


def seconds(script: str, *arguments: str) -> float:
    """What a script in a process of its own measures, imports left out."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def main() -> None:
    """Print a line for the compiled form, and one for reading and checking all files."""
    with tempfile.TemporaryDirectory() as cache:
        warm = side_by_side(lambda: seconds(LOADING, cache), lambda: seconds(PEER), RUNS)
    report("the tables from their compiled form", "yaml.CSafeLoader alone", warm)

    def first() -> float:
        with tempfile.TemporaryDirectory() as empty:
            return seconds(LOADING, empty)

    cold = side_by_side(first, lambda: seconds(PEER), RUNS)
    report("the tables read, checked, compiled", "yaml.CSafeLoader alone", cold)


if __name__ == "__main__":
    main()
