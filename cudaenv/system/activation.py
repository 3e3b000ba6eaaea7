"""What the packages of a conda prefix set when it is activated, compilers above all: CC, CXX, CFLAGS, -ccbin.

Packages bring scripts for it (https://docs.conda.io/projects/conda-build/en/stable/resources/activate-scripts.html),
which are written for bash; without them nvcc would call whatever g++ the machine has.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cudaenv.errors import ToolError
from cudaenv.system.addresses import printable
from cudaenv.system.process import run

SCRIPTS: Final = "etc/conda/activate.d"
TIMEOUT_S: Final = 60.0

_RUN: Final = """\
program=$1 code=$2
shift 2
for script; do . "$script"; done >&2
exec "$program" -I -c "$code"
"""
_SHOW: Final = "import json, os; print(json.dumps(dict(os.environ)))"
_OF_THE_SHELL: Final = frozenset({"PATH", "PWD", "OLDPWD", "SHLVL", "_", "CONDA_PREFIX"})


def activated(prefix: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables, but for PATH, that the scripts of a prefix set, run in the order of their names.

    ToolError where there are scripts and no bash, or one of them fails to be read.
    """
    scripts = sorted((prefix / SCRIPTS).glob("*.sh"))
    if not scripts or sys.platform == "win32":
        return {}
    given = {**environ, "CONDA_PREFIX": str(prefix), "PATH": f"{prefix / 'bin'}:{environ.get('PATH', '')}"}
    bash = shutil.which("bash", path=given["PATH"]) or "/bin/bash"
    command = [bash, "--noprofile", "--norc", "-c", _RUN, bash, sys.executable, _SHOW, *map(str, scripts)]
    try:
        found: dict[str, str] = json.loads(run(command, env=given, timeout_s=TIMEOUT_S).stdout)
    except (ToolError, ValueError) as error:
        raise ToolError(
            f"`{prefix}` cannot be activated",
            [printable(line.strip()) for line in str(error).splitlines()],
            hint="The scripts of its packages need bash",
        ) from error
    return {
        name: value for name, value in found.items() if name not in _OF_THE_SHELL and given.get(name) != value
    }
