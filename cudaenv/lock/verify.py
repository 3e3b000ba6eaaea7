"""A lock checked against its plan: a resolver knows versions, but not which build is meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cudaenv.lock.mirrors import Mirrors
from cudaenv.lock.pylock import LockedEnvironment, LockedWheel
from cudaenv.lock.wheel_facts import WheelFacts
from cudaenv.matrix.tables import DEFAULT_INDEX
from cudaenv.model.addresses import is_loopback
from cudaenv.model.markers import marker_environment
from cudaenv.model.names import SHA256
from cudaenv.model.plan import Environment
from cudaenv.model.requirements import parse_requirement
from cudaenv.model.versions import CudaVersion

SUFFIXED = re.compile(r"nvidia-.+-cu(\d+)")
CUDA_LIBRARY = re.compile(r"nvidia-(?!ml-py).+|cuda-toolkit|cuda-bindings")
RUNTIMES = ("cuda-toolkit", "nvidia-cuda-runtime")
"""Packages without a suffix whose own version is a CUDA version (from CUDA 13 on)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A locked environment, its plan, and what is known of wheels by file name."""

    environment: Environment
    locked: LockedEnvironment
    mirrors: Mirrors
    family: frozenset[str]
    facts: Mapping[str, WheelFacts]


def wheels_to_read(locked: LockedEnvironment) -> tuple[LockedWheel, ...]:
    """The wheels whose metadata the checks need: torch's, the metapackage's, all compiled ones."""
    return tuple(
        wheel
        for wheel in locked.wheels
        if SHA256.fullmatch(wheel.sha256)
        and (
            wheel.name in {"torch", "cuda-toolkit"}
            or not (wheel.is_pure or wheel.name.startswith("nvidia-") or wheel.name == "triton")
        )
    )


def needs_library(wheel: LockedWheel, requires: tuple[str, ...], family: frozenset[str]) -> bool:
    """Whether only its compiled code can tell a wheel's CUDA.

    That is so where it goes with torch, has no local label and, for torch itself, requires no CUDA
    library. Windows wheels hold no ELF code and have a label wherever they are CUDA builds.
    """
    if wheel.version.local or not wheel.file_name.endswith(("x86_64.whl", "aarch64.whl")):
        return False
    names = {canonicalize_name(parse_requirement(text).name) for text in requires}
    if wheel.name == "torch":
        return not any(CUDA_LIBRARY.fullmatch(name) for name in names)
    return wheel.name in family or "torch" in names


def verify(evidence: Evidence) -> list[str]:
    """All that is wrong with a lock, in sentences; empty where it is what was planned."""
    return [problem for check in CHECKS for problem in check(evidence)]


def planned_versions(evidence: Evidence) -> Iterator[str]:
    """Every planned package is locked in the planned version, local label included."""
    for package in evidence.environment.wheels:
        wheel = evidence.locked.find(package.name)
        if wheel is None:
            yield f"`{package.name}` is not locked"
        elif wheel.version != package.version:
            yield f"`{package.name}` is locked at {wheel.version}, planned is {package.version}"


def hashes(evidence: Evidence) -> Iterator[str]:
    """Every wheel has a sha256."""
    for wheel in evidence.locked.wheels:
        if not SHA256.fullmatch(wheel.sha256):
            yield f"`{wheel.name}` has no sha256"


def places(evidence: Evidence) -> Iterator[str]:
    """Planned packages come from their index, all others from the default one, and from one host.

    A package that another index could shadow is how dependency confusion works.
    """
    planned = {package.name: package for package in evidence.environment.packages}
    default_hosts: dict[str, str] = {}
    for wheel in evidence.locked.wheels:
        package = planned.get(wheel.name)
        place = evidence.mirrors.place_of(wheel.url)
        url = urlsplit(wheel.url)
        host = url.hostname or ""
        if package is not None and package.index != DEFAULT_INDEX:
            if package.listing:
                continue  # a page of links or a URL: what lies there is what was planned, by hash
            if not wheel.url.startswith(f"{package.index_url}/"):
                yield f"`{wheel.name}` comes from {wheel.url}, planned is {package.index_url}"
            continue
        if place is not None:
            yield f"`{wheel.name}` comes from the index `{place.name}`, planned is the default index"
        elif url.scheme != "https" and not is_loopback(host):
            yield f"`{wheel.name}` does not come by https: {wheel.url}"
        default_hosts.setdefault(host, wheel.name)
    if len(default_hosts) > 1:
        places = ", ".join(f"{host} (`{name}`)" for host, name in sorted(default_hosts.items()))
        yield f"the default index serves files from more than one host: {places}"


def one_cuda(evidence: Evidence) -> Iterator[str]:
    """Exactly the planned CUDA major: no second runtime, no CPU build with CUDA libraries."""
    planned = evidence.environment.cuda
    majors: dict[int, str] = {}
    for wheel in evidence.locked.wheels:
        suffix = SUFFIXED.fullmatch(wheel.name)
        if suffix is not None:
            majors.setdefault(int(suffix[1]), wheel.name)
        elif wheel.name in RUNTIMES:
            majors.setdefault(wheel.version.major, wheel.name)
    for major, name in sorted(majors.items()):
        if planned is None:
            yield f"a CPU environment was planned, but `{name}` of CUDA {major} is locked"
        elif major != planned.major:
            yield f"`{name}` is of CUDA {major}, planned is CUDA {planned}"


def one_runtime(evidence: Evidence) -> Iterator[str]:
    """Where conda supplies CUDA, no wheel brings a second one."""
    if evidence.environment.conda is not None:
        for wheel in evidence.locked.wheels:
            if CUDA_LIBRARY.fullmatch(wheel.name):
                yield f"`{wheel.name}` would bring CUDA's libraries a second time, beside those of conda"


def planned_variant(evidence: Evidence) -> Iterator[str]:
    """The torch wheel is the planned build: by its local label, else by the CUDA its metadata require."""
    torch = evidence.locked.find("torch")
    environment = evidence.environment
    if torch is None or torch.version.local is not None:
        return
    found = _required_cuda(evidence)
    if environment.cuda is None:
        if found is not None:
            yield f"torch {torch.version} requires CUDA {found}, planned is a CPU build"
    elif found is not None and found != environment.cuda:
        yield f"torch {torch.version} requires CUDA {found}, planned is {environment.cuda}"
    elif found is None and environment.cuda.major not in _facts(evidence, torch).cudart:
        yield f"torch {torch.version} requires no CUDA: a CPU build, planned is CUDA {environment.cuda}"


def _required_cuda(evidence: Evidence) -> CudaVersion | None:
    """The CUDA release line that torch's own requirements name."""
    for requirement in _requirements(evidence, "torch"):
        name = canonicalize_name(requirement.name)
        if name in RUNTIMES or re.fullmatch(r"nvidia-cuda-runtime-cu\d+", name):
            for part in requirement.specifier:
                if part.operator == "==":
                    release = Version(part.version.removesuffix(".*")).release
                    return CudaVersion(release[0], release[1])
    return None


def own_pins(evidence: Evidence) -> Iterator[str]:
    """Every CUDA library is what torch (and its metapackage) asks for, whatever else asked for more."""
    for owner in ("torch", "cuda-toolkit"):
        for requirement in _requirements(evidence, owner):
            name = canonicalize_name(requirement.name)
            wheel = evidence.locked.find(name)
            if not CUDA_LIBRARY.fullmatch(name):
                continue
            if wheel is None:
                yield f"{owner} requires `{requirement}`, which is not locked"
            elif not requirement.specifier.contains(wheel.version, prereleases=True):
                yield f"`{name}` is locked at {wheel.version}, but {owner} requires `{requirement.specifier}`"


def libraries(evidence: Evidence) -> Iterator[str]:
    """Compiled packages that go with torch are linked to the planned CUDA major, or to none.

    A wheel that is linked to several carries a library for each and picks one when it is imported.
    """
    planned = evidence.environment.cuda
    for wheel in evidence.locked.wheels:
        majors = _facts(evidence, wheel).cudart
        fits = planned.major in majors if planned else wheel.name not in evidence.family
        if majors and not fits:
            wanted = f"CUDA {planned.major}" if planned else "a CPU build"
            found = " and ".join(str(major) for major in majors)
            linked = f"`{wheel.name}` {wheel.version} is linked to CUDA {found} (libcudart)"
            yield f"{linked}, planned is {wanted}"


def _facts(evidence: Evidence, wheel: LockedWheel) -> WheelFacts:
    return evidence.facts.get(wheel.file_name, WheelFacts((), ()))


def _requirements(evidence: Evidence, owner: str) -> Iterator[Requirement]:
    """The requirements of a locked package that hold in this environment.

    Of extras those count that torch asks of the metapackage.
    """
    wheel = evidence.locked.find(owner)
    if wheel is None:
        return
    extras = _toolkit_extras(evidence) if owner == "cuda-toolkit" else frozenset({""})
    platform, python = evidence.environment.platform, evidence.environment.python
    for text in _facts(evidence, wheel).requires:
        requirement = parse_requirement(text)
        holds = requirement.marker is None or any(
            requirement.marker.evaluate(marker_environment(platform, python, extra)) for extra in extras
        )
        if holds:
            yield requirement


def _toolkit_extras(evidence: Evidence) -> frozenset[str]:
    asked = [item for item in _requirements(evidence, "torch") if item.name == "cuda-toolkit"]
    return frozenset({"", *(extra for item in asked for extra in item.extras)})


CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    planned_versions,
    hashes,
    places,
    one_cuda,
    one_runtime,
    planned_variant,
    own_pins,
    libraries,
)
