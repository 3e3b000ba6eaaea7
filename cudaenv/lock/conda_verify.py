"""Locked conda packages checked against their plan: a solver can keep to the letter and miss the point."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from packaging.version import InvalidVersion, Version

from cudaenv.lock.conda import CondaLock, channel_urls
from cudaenv.model.names import SHA256
from cudaenv.model.plan import CondaPart, Environment, How
from cudaenv.model.versions import CudaVersion

MD5 = re.compile(r"[0-9a-f]{32}")
SELECTORS = ("cuda-version", "cudatoolkit", "pytorch-cuda", "cuda-nvcc", "cuda-cudart")
"""Packages whose version names a CUDA release line, or at least its major version, and its minor one."""

MONOLITH = "cudatoolkit"
COMPONENT = "cuda-cudart"


@dataclass(frozen=True, slots=True)
class CondaEvidence:
    """An environment of a plan, what of it conda installs, and what was locked for it."""

    environment: Environment
    part: CondaPart
    lock: CondaLock


def verify_conda(environment: Environment, lock: CondaLock) -> list[str]:
    """All that is wrong with locked conda packages, in sentences; empty where they are what was planned."""
    if environment.conda is None:
        return []
    evidence = CondaEvidence(environment, environment.conda, lock)
    return [problem for check in CHECKS for problem in check(evidence)]


def planned_packages(evidence: CondaEvidence) -> Iterator[str]:
    """Every planned package is locked, in the planned version and build: that of its CUDA."""
    for package in evidence.environment.packages:
        if package.how is not How.CONDA:
            continue
        name = package.conda_name or package.name
        record = evidence.lock.find(name)
        if record is None:
            yield f"`{name}` is not locked"
        elif package.match_spec not in evidence.part.specs:
            continue  # the solver had the choice
        elif record.version != str(package.version):
            yield f"`{name}` is locked at {record.version}, planned is {package.version}"
        elif package.build and not fnmatchcase(record.build, package.build):
            yield f"`{name}` is locked as build {record.build}, planned is {package.build}"


def python(evidence: CondaEvidence) -> Iterator[str]:
    """Python is the planned one."""
    record = evidence.lock.find("python")
    planned = str(evidence.environment.python)
    if record is None or not record.version.startswith(f"{planned}."):
        yield f"Python {record.version if record else 'is not'} locked, planned is {planned}"


def hashes(evidence: CondaEvidence) -> Iterator[str]:
    """Every package has a sha256, and the md5 that conda-lock's format has for all."""
    for record in evidence.lock.records:
        if not SHA256.fullmatch(record.sha256):
            yield f"`{record.name}` has no sha256"
        if not MD5.fullmatch(record.md5):
            yield f"`{record.name}` has no md5"


def places(evidence: CondaEvidence) -> Iterator[str]:
    """Every package is of a channel of the plan, and for the platform or for all."""
    channels = channel_urls(evidence.part)
    platform = str(evidence.environment.platform)
    for record in evidence.lock.records:
        if record.channel not in channels:
            yield f"`{record.name}` comes from {record.channel}, which is no channel of the plan"
        if record.subdir not in {platform, "noarch"}:
            yield f"`{record.name}` is for {record.subdir}, planned is {platform}"


def one_cuda(evidence: CondaEvidence) -> Iterator[str]:
    """Everything is of the planned CUDA; in a CPU environment there is none."""
    planned = evidence.environment.cuda
    for name in SELECTORS:
        record = evidence.lock.find(name)
        if record is None:
            continue
        found = _line(record.version)
        if planned is None:
            yield f"a CPU environment was planned, but `{name}` {record.version} is locked"
        elif (found is not None and found.major != planned.major) or (
            name in {"cuda-version", "pytorch-cuda"} and found is not None and found != planned
        ):
            yield f"`{name}` is of CUDA {found}, planned is CUDA {planned}"
    if evidence.lock.find(MONOLITH) and evidence.lock.find(COMPONENT):
        yield f"`{MONOLITH}` and `{COMPONENT}` both bring CUDA's libraries"


def driver(evidence: CondaEvidence) -> Iterator[str]:
    """CUDA is of no later major version than the one that the machines' drivers have."""
    own = dict(evidence.part.virtual_packages).get("__cuda")
    record = evidence.lock.find("cuda-version")
    if own is None or record is None:
        return
    found, most = _line(record.version), CudaVersion.parse(own)
    if found is not None and found.major > most.major:
        yield f"`cuda-version` is {record.version}, and the machines' drivers are for CUDA {own}"


def _line(text: str) -> CudaVersion | None:
    try:
        release = Version(text).release
    except InvalidVersion:
        return None
    return CudaVersion(release[0], release[1]) if len(release) > 1 else None


CHECKS: tuple[Callable[[CondaEvidence], Iterator[str]], ...] = (
    planned_packages,
    python,
    hashes,
    places,
    one_cuda,
    driver,
)
