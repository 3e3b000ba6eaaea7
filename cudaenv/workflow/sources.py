"""Source distributions: which file of the index each package that is built comes from, with its hash."""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from cudaenv.errors import NoPlanError
from cudaenv.lock.document import LockDocument
from cudaenv.lock.mirrors import Mirrors
from cudaenv.matrix.refresh.artefacts import ProjectFile
from cudaenv.model.plan import Environment, Plan, PlannedPackage
from cudaenv.system.artefacts import RemoteArtefacts
from cudaenv.system.files import cache_folder
from cudaenv.system.uv import default_index
from cudaenv.workflow.checking import locked_text
from cudaenv.workflow.project import Project
from cudaenv.workflow.verifying import client_for

BUILD_LOCK = "requirements.build.lock"
LOCKED_SOURCE = r"^([\w.-]+) @ (\S+/[\w.+%-]+\.(?:tar\.gz|zip)) \\\n +--hash=sha256:([0-9a-f]{64})$"
"""A name that may be part of a file's name, an address that ends with one, and the hash."""


@dataclass(frozen=True, slots=True)
class Source:
    """A locked source distribution."""

    name: str
    url: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its file name."""
        return self.url.rsplit("/", 1)[-1]


def build_locks(project: Project, plan: Plan, mirrors: Mirrors) -> dict[str, str]:
    """The locks of what is built, by file name: each package by URL and hash, in the order of building.

    What lies in a repository alone has no hash and is left out. NoPlanError where the index has no source
    distribution of a planned release.
    """
    building = [environment for environment in plan.environments if _hashed(environment)]
    if not building:
        return {}
    with client_for(project, plan, mirrors) as client:
        index = mirrors.default or default_index(project.environ)
        artefacts = RemoteArtefacts(client, index, cache_folder(project.environ), {}, project.talk)
        return {
            plan.file_name(environment, BUILD_LOCK): _text(environment, artefacts) for environment in building
        }


def _hashed(environment: Environment) -> list[PlannedPackage]:
    return [package for package in environment.built if not package.git]


def _text(environment: Environment, artefacts: RemoteArtefacts) -> str:
    lines = [
        f"# To be built for Python {environment.python} on {environment.platform}, in this order,",
        "# each with the variables that requirements.build.txt has for it:",
        "# pip install --no-build-isolation --no-deps --require-hashes -r THIS-FILE",
    ]
    for package in _hashed(environment):
        file = _source(package, artefacts)
        lines += [f"{package.name} @ {file.url} \\", f"    --hash=sha256:{file.sha256}"]
    return "\n".join(lines) + "\n"


def _source(package: PlannedPackage, artefacts: RemoteArtefacts) -> ProjectFile:
    """The source distribution of a release on the default index."""
    for file in artefacts.files(package.name):
        if file.sha256 and _release(file.name) == (canonicalize_name(package.name), package.version):
            return file
    raise NoPlanError(
        f"the default index has no source distribution of {package.requirement} to build",
        hint="`cudaenv matrix refresh` measures what there is now",
    )


def _release(name: str) -> tuple[str, Version] | None:
    try:
        return parse_sdist_filename(name)
    except InvalidSdistFilename:
        return None


def locked_sources(project: Project, document: LockDocument, file: str) -> dict[str, Source]:
    """The locked sources of a file by name. DriftError where it is not the one that was locked."""
    if file not in document.files:
        return {}
    text = locked_text(project, document, file)
    found = re.findall(LOCKED_SOURCE, text, re.MULTILINE)
    return {canonicalize_name(name): Source(name, url, sha256) for name, url, sha256 in found}
