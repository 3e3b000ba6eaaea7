"""Building: the phases of an environment that come after its wheels, each package on what is there by then.

A wheel that was built before from the same source, beside the same torch, with the same toolkit, compiler and
variables is taken again.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from cudaenv.errors import ToolError
from cudaenv.lock.document import LockDocument
from cudaenv.lock.pylock import read_pylock
from cudaenv.matrix.failures import causes
from cudaenv.model.names import file_name
from cudaenv.system.built_wheels import keep_wheel, kept_wheel
from cudaenv.system.capacity import free_disk, free_memory, processors
from cudaenv.system.credentials import index_credentials
from cudaenv.system.files import cache_folder
from cudaenv.system.http import Client
from cudaenv.system.uv import build_wheel, install_wheel
from cudaenv.workflow.built import locked_wheels, wheel_at
from cudaenv.workflow.installed import FOLDER, is_venv
from cudaenv.workflow.origins import Origin
from cudaenv.workflow.project import Project
from cudaenv.workflow.sources import BUILD_LOCK, Source, locked_sources
from cudaenv.workflow.workshop import Workshop, filled, missing_before, programs, workshop

JOBS = "MAX_JOBS"
JOB_MEMORY = 4 << 30
"""Bytes for one compiler at a time. A file that includes torch's headers was measured to take 1.9 GB with
nvcc 13.2, and 3.1 GB as a larger one; kernels with many templates take more."""

MEASURED_CORES = 2
"""The processors on which the minutes of the matrix were measured."""

UNPACKED = 1.8
"""Bytes on disk for each byte of wheels: torch 2.15 with its toolkit are 3.2 GB to download, 5.7 GB there."""


MAX_SOURCE = 1 << 30  # bytes
SHOWN_LINES, SHOWN_WIDTH = 25, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where is built: a project's locked environment in a prefix, its workshop, where sources come from."""

    project: Project
    environment: Mapping[str, Any]
    prefix: Path
    shop: Workshop
    origin: Origin


def look_ahead(
    project: Project,
    document: LockDocument,
    environment: Mapping[str, Any],
    prefix: Path,
    pylock: str | None,
) -> None:
    """See that what will be compiled can be, before hours are spent; say how much will be fetched and built.

    ToolError names what is missing and what brings it.
    """
    locked = locked_wheels(project, document, environment)
    for wheel in locked.values():
        wheel_at(project, wheel)
    here = locked_sources(project, document, _lock_name(document, environment)).keys() - locked.keys()
    phases = [phase for phase in _phases(environment) if _names(phase) & here]
    missing = missing_before(environment, prefix, project.environ)
    compiled = [text for phase in phases if phase.get("components") for text in phase["install"]]
    if compiled and missing:
        raise ToolError(f"{', '.join(compiled)} cannot be compiled on this machine", missing)
    if pylock is not None and not is_venv(prefix):
        for line in _estimate(pylock, prefix):
            project.talk(line)
    if phases:
        built = [text for phase in phases for text in phase["install"]]
        known = sum(_minutes(phase, _jobs(project)) or 0 for phase in phases)
        project.talk(f"then built from source: {', '.join(built)}" + (f", {known} minutes" if known else ""))


def _estimate(pylock: str, prefix: Path) -> Iterator[str]:
    sizes = [wheel.size for wheel in read_pylock(pylock).wheels]
    needed = UNPACKED * sum(size or 0 for size in sizes) if None not in sizes else 0
    told = f", {needed / UNPACKED / 1e9:.1f} GB to download, {needed / 1e9:.1f} GB on disk" if needed else ""
    free = free_disk(prefix)
    there = f"; {free / 1e9:.1f} GB of disk are free" if free is not None else ""
    yield f"{len(sizes)} wheel{'s' if len(sizes) != 1 else ''}{told}{there}"
    if free is not None and free < needed:
        yield "that may not fit: `--prefix FOLDER` installs elsewhere, UV_CACHE_DIR moves the downloads"


def build_phases(
    project: Project,
    document: LockDocument,
    environment: Mapping[str, Any],
    prefix: Path,
    origin: Origin,
) -> list[str]:
    """Build what is planned to be built, in its order; return notes on what no hash pins, which is left out.

    DriftError where the lock of sources is another; ToolError where a build fails, with the end of its log.
    """
    phases = _phases(environment)
    if not phases:
        return []
    sources = locked_sources(project, document, _lock_name(document, environment))
    locked = locked_wheels(project, document, environment)
    site = Site(
        project=project,
        environment=environment,
        prefix=prefix,
        shop=workshop(environment, prefix, project.environ),
        origin=origin,
    )
    notes = []
    for phase in phases:
        for text in phase["install"]:
            name = _name(text)
            if name in locked:
                install_wheel(wheel_at(project, locked[name]), prefix, project.environ)
            elif name in sources:
                install_wheel(_wheel(site, phase, text, sources[name]), prefix, project.environ)
            else:
                shown = " ".join(f"{key}={value}" for key, value in phase["env"].items())
                notes.append(
                    f"no hash pins it, build it yourself: {shown} pip install --no-build-isolation {text}"
                )
    return notes


def _phases(environment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [phase for phase in environment["phases"] if phase["builds"]]


def _lock_name(document: LockDocument, environment: Mapping[str, Any]) -> str:
    return file_name(BUILD_LOCK, document.apart(environment))


def _names(phase: Mapping[str, Any]) -> set[str]:
    return {_name(text) for text in phase["install"]}


def _name(requirement: str) -> str:
    return canonicalize_name(re.split(r"[\s\[=@]", requirement, maxsplit=1)[0])


def _wheel(site: Site, phase: Mapping[str, Any], text: str, source: Source) -> Path:
    """The wheel of a source: one that was built before from and with the same, else a new one."""
    shelf = cache_folder(site.project.environ)
    facts = _facts(site, phase, source)
    kept = kept_wheel(shelf / "built", facts) if shelf else None
    if kept is not None:
        site.project.talk(f"{text} was built before with the same torch, toolkit and compiler: {kept.name}")
        return kept
    with tempfile.TemporaryDirectory(prefix="cudaenv-build-") as temporary:
        wheel = _built(site, phase, text, source, Path(temporary))
        return keep_wheel(shelf / "built" if shelf else site.prefix / FOLDER / "built", facts, wheel)


def _facts(site: Site, phase: Mapping[str, Any], source: Source) -> dict[str, str]:
    """All that decides what a build makes; the number of compilers at a time does not."""
    environment, machine = site.environment, site.project.machine
    toolkit, torch = environment["toolkit"], environment["packages"].get("torch")
    compiles = bool(phase.get("components")) and toolkit is not None
    variables = {key: value for key, value in phase["env"].items() if key != JOBS}
    return {
        "source": source.sha256,
        "python": environment["python"],
        "platform": environment["platform"],
        "glibc": str(machine.glibc.value) if machine.glibc else "",
        "torch": f"{torch['version']} {environment['variant']}" if torch else "",
        "cuda": f"{toolkit['version']} by {toolkit['provider']}" if compiles else "",
        "architectures": " ".join(toolkit["arch_list"]) if compiles else "",
        "compiler": f"gcc {site.shop.compiler.version}" if compiles and site.shop.compiler else "",
        "variables": " ".join(f"{key}={value}" for key, value in sorted(variables.items())),
    }


def _built(site: Site, phase: Mapping[str, Any], text: str, source: Source, folder: Path) -> Path:
    """Fetch and build a source. ToolError with the end of the log, and what it shows, where it fails."""
    if phase.get("components") and site.shop.missing:
        raise ToolError(f"{text} cannot be compiled", site.shop.missing)
    log = site.prefix / FOLDER / f"build-{source.name}.log"
    log.parent.mkdir(exist_ok=True)
    jobs, minutes = _jobs(site.project), _minutes(phase, _jobs(site.project))
    time = f", about {minutes} minutes" if minutes else ""
    site.project.talk(f"building {text} with {jobs} at a time{time}; its log is {log}")
    archive = _fetched(site, source, folder)
    out = folder / "wheel"
    out.mkdir()
    variables = _variables(site, phase, jobs)
    wheel = build_wheel(archive, out, site.prefix, site.project.environ, variables, log=log)
    if wheel is None:
        raise _failure(site, text, log)
    return wheel


def _variables(site: Site, phase: Mapping[str, Any], jobs: int) -> dict[str, str]:
    usual = site.project.environ.get("PATH")
    path = os.pathsep.join([*programs(site.prefix, site.shop), *([usual] if usual else [])])
    return {**site.shop.variables, **filled(phase["env"], site.prefix), JOBS: str(jobs), "PATH": path}


def _fetched(site: Site, source: Source, folder: Path) -> Path:
    place = folder / source.file_name
    credentials = index_credentials(site.project.environ, site.origin.indexes(site.environment))
    with Client(credentials=credentials) as client, place.open("w+b") as file:
        found = client.download(site.origin.to_fetch(source.url), file, limit=MAX_SOURCE)
    if found != source.sha256:
        raise ToolError(
            "a file on the index is not the one that was locked",
            [f"file: {source.file_name}", f"locked: sha256 {source.sha256}", f"found: sha256 {found}"],
            hint="Do not build it before you know who changed it; `cudaenv lock --upgrade` locks anew",
        )
    return place


def _failure(site: Site, text: str, log: Path) -> ToolError:
    """What to say of a build that failed: the end of its log, and the causes that the matrix knows for it."""
    said = log.read_text(encoding="utf-8", errors="replace")
    # What follows is the installer's own advice, which is about isolated builds.
    lines = [line for line in said.partition("\nerror: Failed to build")[0].splitlines() if line.strip()]
    found = causes(site.project.matrix.tables.build_failures, said)
    likely = [
        f"likely cause: {row.cause} (`{line[:SHOWN_WIDTH]}`); {row.remedy} [{site.project.matrix.cite(row)}]"
        for row, line in found[:2]
    ]
    return ToolError(
        f"{text} could not be built", [*lines[-SHOWN_LINES:], *likely], hint=f"The whole log is {log}"
    )


def _jobs(project: Project) -> int:
    """Compilers at a time: what the user says, else as many as there are processors and memory for."""
    said = project.environ.get(JOBS, "")
    if said.isdigit() and int(said):
        return int(said)
    return jobs_for(processors(), free_memory())


def jobs_for(cores: int, memory: int | None) -> int:
    """Compilers at a time on a machine with this many processors and bytes of memory."""
    fitting = cores if memory is None else memory // JOB_MEMORY
    return max(1, min(cores, fitting))


def _minutes(phase: Mapping[str, Any], jobs: int) -> int | None:
    """How long a phase takes, by what was measured on few processors; None where nothing was."""
    return math.ceil(phase["minutes"] * MEASURED_CORES / jobs) if phase["minutes"] else None
