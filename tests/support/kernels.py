"""The example of kernels in a folder of its own, with the machine's own CUDA hidden."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.planning import ROOT
from tests.support.project import PYTHON

EXAMPLE = ROOT / "examples" / "cuda-kernels"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", README, re.MULTILINE)
HIDDEN = {
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDACXX",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "NVCC_PREPEND_FLAGS",
    "MAX_JOBS",
}


def without_cuda() -> dict[str, str]:
    """The environment of this machine as if it had no CUDA."""
    kept = {key: value for key, value in os.environ.items() if key not in HIDDEN}
    path = [part for part in kept["PATH"].split(":") if not (Path(part) / "nvcc").exists()]
    return kept | {"PATH": ":".join(path), "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Kernels:
    """The example in a folder of its own, and what the commands of its README said, by command."""

    folder: Path
    said: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return Path(self.run("sh", "-c", "echo $CUDA_HOME").stdout.strip())

    @property
    def planned(self) -> set[str]:
        """The SM architectures of the plan, `sm_90`."""
        (environment,) = json.loads((self.folder / "cudaenv.lock").read_text("utf-8"))["environments"]
        return {f"sm_{sm.replace('.', '')}" for sm in environment["toolkit"]["arch_list"]}

    def cudaenv(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.call(sys.executable, "-m", "cudaenv", *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self.cudaenv("run", "--", *command)

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=without_cuda(), capture_output=True, text=True, check=False
        )

    def loads(self, *files: str) -> dict[str, str]:
        """Where the loader finds the libraries of CUDA that files are linked to, by soname."""
        said = "".join(self.call("ldd", file).stdout for file in files)
        return dict(re.findall(r"(libcu\w+\.so\.\d+) => (\S+)", said))


def follow_readme(folder: Path) -> Kernels:
    """Do in a new folder what the README of the example says, with the Python that runs the tests."""
    made = Kernels(folder)
    shutil.copytree(EXAMPLE, folder)
    spec = folder / "cudaenv.toml"
    text, count = re.subn(r'^python = ".*"$', f'python = "{PYTHON}"', spec.read_text("utf-8"), flags=re.M)
    assert count == 1
    spec.write_text(text, encoding="utf-8")
    assert len(COMMANDS) == 7
    for line in COMMANDS:
        name, *arguments = shlex.split(line)
        assert name == "cudaenv"
        done = made.cudaenv(*arguments)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        made.said[line] = done.stderr
    return made
