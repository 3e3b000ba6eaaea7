"""Container images of an environment: what it is built in and what it runs in, and the rows that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cudaenv.matrix.places import Image, System
from cudaenv.matrix.tables import Row
from cudaenv.model.machine import Platform
from cudaenv.model.spec import Provider
from cudaenv.model.versions import GlibcVersion, PythonVersion
from cudaenv.planner.problem import Problem
from cudaenv.planner.stacks import Stack
from cudaenv.planner.toolkits import LEAST_GCC, Toolkit, gcc_limit, tag

PYTHON, DEBIAN, UBUNTU, MICROMAMBA = "python", "debian", "ubuntu", "mambaorg/micromamba"
"""Images with a Python, plain systems, and the program that installs conda packages."""

UV = "uv"
"""The tool that brings a Python."""

SLIM = "-slim"


@dataclass(frozen=True, slots=True)
class Images:
    """What to build in, empty where nothing is compiled, and what to run in; empty where there is none.

    `python_tool` is what brings the Python to those that have another, with its hash.
    """

    build: str = ""
    run: str = ""
    rows: tuple[Row, ...] = ()
    python_tool: str = ""


def images(
    stack: Stack,
    toolkit: Toolkit | None,
    python: PythonVersion,
    problem: Problem,
    *,
    stays: bool,
) -> Images:
    """The images for a stack; `stays` says that it runs where it compiles.

    Of the systems that have an image, the first of systems.yaml that will do. To run in is never older than
    what was compiled in: programs need the C and C++ libraries that they were linked to, or newer ones.
    """
    if not stack.platform.is_linux:
        return Images()
    if stack.provider is Provider.CONDA:
        return _conda(stack, problem)
    if toolkit is None:
        return _plain(python, stack, problem)
    if toolkit.provider is Provider.SYSTEM:
        return _beside_devel(toolkit, python, stack, problem, stays=stays)
    found = next(_pythons(python, stack, problem, compiles_for=toolkit), None)
    name = _name(found) if found else f"{PYTHON}:{python}{SLIM}"
    return Images(name, name, (found,) if found else ())


def _plain(python: PythonVersion, stack: Stack, problem: Problem) -> Images:
    """A plain image with a Python; where the tables have none, by the tag that names no system."""
    found = next(_pythons(python, stack, problem), None)
    return Images("", _name(found), (found,)) if found else Images("", f"{PYTHON}:{python}{SLIM}")


def _beside_devel(
    toolkit: Toolkit, python: PythonVersion, stack: Stack, problem: Problem, *, stays: bool
) -> Images:
    """NVIDIA's development image to compile in; to run in a plain one, unless it `stays` there."""
    devel = toolkit.image
    if devel is None:
        return Images("", _plain(python, stack, problem).run)
    tool = next(
        row for row in problem.matrix.tables.tools if (row.tool, row.platform) == (UV, stack.platform)
    )
    text = f"{tool.tool}=={tool.version} --hash=sha256:{tool.sha256}"
    if stays:
        return Images(tag(devel), tag(devel), (devel, tool), text)
    system = _systems(problem)[devel.os]
    found = next(_pythons(python, stack, problem, made_on=system), None)
    found = found or next(
        (row for row in problem.matrix.tables.images if row.image == UBUNTU and row.os == devel.os), None
    )
    run = _name(found) if found else tag(devel)
    return Images(tag(devel), run, (devel, *([found] if found else []), tool), text)


def _conda(stack: Stack, problem: Problem) -> Images:
    """A plain system; conda's packages bring everything but the C library."""
    rows = problem.matrix.tables.images
    installer = next(
        (row for row in rows if row.image == MICROMAMBA and stack.platform in row.platforms), None
    )
    found = next(_by_system(DEBIAN, stack.platform, stack.glibc, problem), None)
    if installer is None or found is None:
        return Images()
    return Images(_name(installer), _name(found), (installer, found))


def _pythons(
    python: PythonVersion,
    stack: Stack,
    problem: Problem,
    *,
    compiles_for: Toolkit | None = None,
    made_on: System | None = None,
) -> Iterator[Image]:
    """Slim images of a Python; with a compiler that a toolkit takes, or for what was made on a system."""
    systems = _systems(problem)
    for row in _by_system(PYTHON, stack.platform, stack.glibc, problem):
        system = systems[row.os]
        if row.python != python or SLIM not in row.release:
            continue
        if compiles_for is not None and not _compiles(system, compiles_for, stack, problem):
            continue
        if made_on is None or (system.glibc >= made_on.glibc and int(system.gcc) >= int(made_on.gcc)):
            yield row


def _by_system(
    image: str, platform: Platform, glibc: GlibcVersion | None, problem: Problem
) -> Iterator[Image]:
    """The slim tags of an image for a platform whose C library is new enough, by the order of systems."""
    for system in problem.matrix.tables.systems:
        for row in problem.matrix.tables.images:
            if (
                row.image == image
                and row.os == system.os
                and platform in row.platforms
                and SLIM in row.release
                and (glibc is None or system.glibc >= glibc)
            ):
                yield row


def _compiles(system: System, toolkit: Toolkit, stack: Stack, problem: Problem) -> bool:
    """Whether nvcc, torch's own check and torch's headers take the compiler of a system."""
    limit = gcc_limit(toolkit, stack, problem.matrix)
    gcc = int(system.gcc)
    return (limit is None or gcc <= limit) and gcc >= LEAST_GCC.get(stack.cxx, 0)


def _systems(problem: Problem) -> dict[str, System]:
    return {system.os: system for system in problem.matrix.tables.systems}


def _name(image: Image) -> str:
    return f"{image.image}:{image.release}"
