"""The workshop: what an installed environment compiles with on this machine, and what of it is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cudaenv.errors import ToolError
from cudaenv.model.spec import Provider
from cudaenv.model.versions import CudaVersion
from cudaenv.system.activation import activated
from cudaenv.system.cuda_home import complete, make_driver_stub
from cudaenv.system.toolkits import FoundCompiler, FoundToolkit, find_compiler, find_toolkits
from cudaenv.workflow.project import Project

CCBIN = "-ccbin="
FLAGS = "NVCC_PREPEND_FLAGS"
CXX = "CXX"
PREFIXES = ("$VIRTUAL_ENV", "$CONDA_PREFIX")
"""How a plan spells the folder of an environment, which it does not know."""

OLDEST_GCC = 7
"""No release of torch that is planned compiles with an older one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Variables that hold for every command, the compiler, and a sentence for each thing that is missing.

    `home` is the folder of the toolkit; None where nothing is to be compiled.
    """

    variables: Mapping[str, str]
    home: Path | None = None
    compiler: FoundCompiler | None = None
    no_toolkit: str = ""
    no_compiler: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """What is missing."""
        return tuple(filter(None, (self.no_toolkit, self.no_compiler)))


def workshop(environment: Mapping[str, Any], prefix: Path, environ: Mapping[str, str]) -> Workshop:
    """What an environment of a lock compiles with, where it is installed in `prefix`.

    Where the machine's toolkit lies elsewhere than usual, or another compiler than the planned one will
    do, the variables say so. What the scripts of conda's packages set is among them.
    """
    variables = filled(environment["env"], prefix)
    toolkit = environment["toolkit"]
    if environment["conda"] is not None:
        variables = activated(prefix, environ) | variables
    if toolkit is None:
        return Workshop(variables=variables)
    home, no_toolkit = _home(toolkit, prefix, environ)
    compiler, no_compiler = None, ""
    if toolkit["host_compiler"]["kind"] == "gcc":
        compiler, no_compiler = _host_compiler(toolkit, variables, prefix, environ)
        if toolkit["provider"] != Provider.CONDA:
            variables.pop(FLAGS, None)
            variables |= (
                {FLAGS: f"{CCBIN}{compiler.program}"} if compiler and compiler.program != "g++" else {}
            )
    return Workshop(
        variables=variables | {"CUDA_HOME": str(home)} | _linking(home, environ),
        home=home,
        compiler=compiler,
        no_toolkit=no_toolkit,
        no_compiler=no_compiler,
    )


def programs(prefix: Path, shop: Workshop) -> tuple[str, ...]:
    """The folders to search first: the toolkit's programs before those of the environment."""
    own = [prefix / name for name in ("bin", "Scripts") if (prefix / name).is_dir()]
    folders = [*([shop.home / "bin"] if shop.home else []), *own]
    return tuple(dict.fromkeys(str(folder) for folder in folders))


def missing_before(
    environment: Mapping[str, Any], prefix: Path, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """What compiling lacks before anything is installed.

    Wheels bring a toolkit and no compiler of C++, conda's packages bring both.
    """
    toolkit = environment["toolkit"]
    if toolkit is None or toolkit["provider"] == Provider.CONDA:
        return ()
    shop = workshop(environment, prefix, environ)
    comes = toolkit["provider"] == Provider.PIP
    return tuple(filter(None, (shop.no_compiler,))) if comes else shop.missing


def complete_toolkit(project: Project, environment: Mapping[str, Any], prefix: Path) -> None:
    """Make the links and the stub that a toolkit of wheels lacks; no other provider's needs any.

    The stub needs the compiler without which nothing is compiled.
    """
    toolkit = environment["toolkit"]
    if toolkit is None or toolkit["provider"] != Provider.PIP:
        return
    home = _planned_home(toolkit, prefix)
    complete(home)
    compiler = workshop(environment, prefix, project.environ).compiler
    if compiler is not None and sys.platform == "linux":
        try:
            make_driver_stub(home, compiler.program, project.environ)
        except ToolError as error:
            project.talk(
                f"warning: nothing can be linked to libcuda: {'; '.join([error.message, *error.details])}"
            )


def _planned_home(toolkit: Mapping[str, Any], prefix: Path) -> Path:
    return Path(filled({"home": toolkit["home"]}, prefix)["home"])


def filled(variables: Mapping[str, str], prefix: Path) -> dict[str, str]:
    """A plan's variables with the folder of the environment in them."""
    values = dict(variables)
    for name in PREFIXES:
        values = {key: value.replace(name, str(prefix)) for key, value in values.items()}
    return values


def _home(toolkit: Mapping[str, Any], prefix: Path, environ: Mapping[str, str]) -> tuple[Path, str]:
    """The toolkit's folder, and what is wrong with it; the system's counts wherever it stands."""
    planned = _planned_home(toolkit, prefix)
    if toolkit["provider"] != Provider.SYSTEM:
        is_there = any((planned / "bin" / name).is_file() for name in ("nvcc", "nvcc.exe"))
        return planned, "" if is_there else f"there is no nvcc in {planned}: `cudaenv sync` installs it"
    cuda = CudaVersion.parse(toolkit["version"])
    found = find_toolkits({**environ, "CUDA_HOME": environ.get("CUDA_HOME", str(planned))})
    fitting = next((item for item in found if item.cuda == cuda), None)
    if fitting is not None:
        return fitting.home, ""
    return planned, _no_toolkit(toolkit, found)


def _no_toolkit(toolkit: Mapping[str, Any], found: tuple[FoundToolkit, ...]) -> str:
    others = ", ".join(f"{item.cuda} in {item.home}" for item in found)
    there = f" (there is {others})" if others else ""
    ways = "; ".join(toolkit["steps"])
    return f"there is no toolkit of CUDA {toolkit['version']} on this machine{there}: {ways}"


def _linking(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Where linkers find the driver's library without a driver, as NVIDIA's images say it.

    https://gcc.gnu.org/onlinedocs/gcc/Environment-Variables.html#index-LIBRARY_005fPATH
    """
    stubs = home / "lib64" / "stubs"
    if not stubs.is_dir():
        return {}
    return {"LIBRARY_PATH": os.pathsep.join(filter(None, (str(stubs), environ.get("LIBRARY_PATH"))))}


def _host_compiler(
    toolkit: Mapping[str, Any], variables: Mapping[str, str], prefix: Path, environ: Mapping[str, str]
) -> tuple[FoundCompiler | None, str]:
    """The compiler that nvcc calls, and what is wrong where there is none."""
    if toolkit["provider"] == Provider.CONDA:
        compiler = find_compiler(variables.get(CXX, ""), environ)
        return compiler, "" if compiler else f"there is no compiler in {prefix}: `cudaenv sync` installs it"
    compiler = _compiler(toolkit["host_compiler"], variables.get(FLAGS, ""), environ)
    return compiler, "" if compiler else _no_compiler(toolkit, environ)


def _compiler(host: Mapping[str, Any], flags: str, environ: Mapping[str, str]) -> FoundCompiler | None:
    """The planned compiler, else the usual one, else the newest: the first that is there and accepted."""
    newest = int(host["newest"] or 0)
    for program in _programs(flags, newest):
        found = find_compiler(program, environ)
        if found is not None and (not newest or found.major <= newest):
            return found
    return None


def _programs(flags: str, newest: int) -> Iterator[str]:
    if flags.startswith(CCBIN):
        yield flags.removeprefix(CCBIN)
    yield "g++"
    yield from (f"g++-{major}" for major in range(newest, OLDEST_GCC - 1, -1))


def _no_compiler(toolkit: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    newest = toolkit["host_compiler"]["newest"]
    package = toolkit["host_compiler"]["package"] or "g++"
    accepted = f"gcc {newest} at most" if newest else "gcc"
    usual = find_compiler("g++", environ)
    there = f"`g++` is {usual.version}" if usual else "there is no `g++` on PATH"
    return (
        f"{there}, and nvcc of CUDA {toolkit['version']} needs a host compiler that it accepts ({accepted}): "
        f"the package {package} of Debian and Ubuntu, `module load gcc/{newest or ''}` on a cluster"
    )
