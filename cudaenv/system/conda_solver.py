"""Another solver than the embedded one: a conda, mamba or micromamba of this machine, asked by conda-lock.

    python -m cudaenv.system.conda_solver REQUEST

takes a file with a request and answers on standard output, in a process of its own, since conda-lock reads
its settings from the environment.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cudaenv.errors import NoPlanError, ToolError
from cudaenv.lock.conda import CondaLock, file_parts, record_of
from cudaenv.system.addresses import printable
from cudaenv.system.process import run

SETTINGS = {"CONDA_CHANNEL_PRIORITY": "strict", "MAMBA_CHANNEL_PRIORITY": "strict"}
"""What decides over a solution, so that a user's own configuration does not."""

EXCLUDED = 3
"""How the process ends where the program finds no solution."""


def find_solver(name: str, environ: Mapping[str, str]) -> str:
    """The path of a program on PATH, or at the path given. ToolError where it is not there."""
    found = shutil.which(name, path=environ.get("PATH", ""))
    if found is None:
        raise ToolError(
            f"there is no program `{name}` to solve with",
            hint="Without --solver the solver that comes with cudaenv is used",
        )
    return str(Path(found).resolve())


def solve_by_program(
    requests: Sequence[Mapping[str, Any]], program: str, environ: Mapping[str, str]
) -> tuple[CondaLock, ...]:
    """Solve environments one after the other, each as `cudaenv.lock.conda.solve_request` asks.

    Nothing that is locked is kept: these programs solve anew. NoPlanError, with what the program said,
    where it finds no solution; ToolError where it cannot be started.
    """
    solver = f"{Path(program).name} {_version(program, environ)}"
    found = []
    for asked in requests:
        with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
            request = Path(folder) / "request.json"
            request.write_text(json.dumps({"program": program, **asked}), encoding="utf-8")
            command = [sys.executable, "-P", "-m", "cudaenv.system.conda_solver", str(request)]
            done = run(command, env={**environ, **SETTINGS})
        lines = [printable(line) for line in done.stderr.splitlines() if line.strip()][-40:]
        if done.status == EXCLUDED:
            raise NoPlanError(f"`{Path(program).name}` has no solution for {asked['platform']}", lines)
        if done.status != 0:
            raise ToolError(f"`{Path(program).name}` could not be asked to solve", lines)
        found.append(CondaLock(tuple(record_of(item) for item in json.loads(done.stdout)), solver))
    return tuple(found)


def _version(program: str, environ: Mapping[str, str]) -> str:
    found = re.search(r"\d+(\.\d+)+", run([program, "--version"], env=environ).stdout)
    return found[0] if found else "unknown"


def _solved(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records that the program finds, those that others need first."""
    from conda_lock.conda_solver import solve_specs_for_arch
    from conda_lock.interfaces.vendored_conda import toposort
    from conda_lock.models.channel import Channel
    from conda_lock.virtual_package import virtual_package_repo_from_specification

    with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
        file = Path(folder) / "virtual-packages.yml"
        # JSON is YAML, too.
        file.write_text(json.dumps({"subdirs": {asked["platform"]: {"packages": asked["virtual"]}}}))
        repository = virtual_package_repo_from_specification(file)
        with repository:
            channels = [Channel.from_string(url) for url in (*asked["channels"], repository.channel_url)]
            found = solve_specs_for_arch(asked["program"], channels, asked["specs"], asked["platform"])
    records = {
        item["name"]: _record(item) for item in found["actions"]["FETCH"] if not item["name"].startswith("__")
    }
    order = toposort({name: set(record["requires"]) for name, record in records.items()})
    return [records[name] for name in order if name in records]


def _record(item: Mapping[str, Any]) -> dict[str, Any]:
    url = item["url"]
    requires: dict[str, str] = {}
    for text in item.get("depends", []):
        name, *rest = text.split()
        requires[name] = ",".join(filter(None, [requires.get(name, ""), *rest[:1]]))
    return {
        **{key: item.get(key) for key in ("name", "version", "md5", "sha256", "size")},
        "build": file_parts(url)[2],
        "subdir": url.rsplit("/", 2)[1],
        "url": url,
        "requires": requires,
    }


def main() -> None:
    """Answer the request in the file that is named; what conda-lock says goes to standard error."""
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = _solved(asked)
    except subprocess.CalledProcessError:
        sys.exit(EXCLUDED)  # conda-lock has said what the program said
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
