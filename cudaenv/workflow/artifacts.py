"""Artifacts: every file that a lock names, fetched to be checked, or to be installed where no network is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cudaenv.errors import DriftError, SpecError
from cudaenv.lock.document import LockDocument
from cudaenv.lock.pylock import read_pylock
from cudaenv.model.names import file_name, lock_name
from cudaenv.system.conda import fetch_conda
from cudaenv.system.conda_lock_file import read_conda_lock
from cudaenv.system.credentials import index_credentials
from cudaenv.system.files import file_sha256
from cudaenv.system.http import Client
from cudaenv.workflow.checking import locked_text, require_lock
from cudaenv.workflow.origins import CONDA, WHEELS, Origin, locked_file, origin_of
from cudaenv.workflow.parallel import side_by_side
from cudaenv.workflow.project import Project
from cudaenv.workflow.sources import BUILD_LOCK, locked_sources

MOST_BYTES = 16 << 30
"""No wheel is larger: torch's have some three gigabytes."""

UNDONE = ".undone"
"""How a file is called while it is fetched."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file of a lock: its canonical URL, its sha256, and where it lies in a bundle."""

    url: str
    sha256: str
    place: str

    @property
    def is_conda(self) -> bool:
        """Whether it is a package of a conda channel."""
        return self.place.startswith(f"{CONDA}/")


def artifacts(project: Project, document: LockDocument, names: Sequence[str] = ()) -> tuple[Artifact, ...]:
    """The files of a lock's environments, or of those named.

    SpecError for a name that the lock does not have, DriftError where a lockfile has changed.
    """
    known = [str(item["name"]) for item in document.environments]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise SpecError(f"the lock has no environment `{unknown[0]}`", [f"it has {', '.join(known)}"])
    found = {
        item.url: item
        for name in known
        if not names or name in names
        for item in _of(project, document, name if len(known) > 1 else "")
    }
    return tuple(found.values())


def _of(project: Project, document: LockDocument, environment: str) -> Iterator[Artifact]:
    conda, pylock = lock_name(environment), file_name("pylock.toml", environment)
    if conda in document.files:
        for record in read_conda_lock(locked_text(project, document, conda), conda)[0].records:
            yield Artifact(record.url, record.sha256, CONDA + urlsplit(record.url).path)
    if pylock in document.files:
        for wheel in read_pylock(locked_text(project, document, pylock)).wheels:
            yield Artifact(wheel.url, wheel.sha256, f"{WHEELS}/{wheel.file_name}")
    for source in locked_sources(project, document, file_name(BUILD_LOCK, environment)).values():
        yield Artifact(source.url, source.sha256, f"{WHEELS}/{locked_file(source.url)}")


def check_artifacts(project: Project) -> int:
    """Fetch every file of a lock and compare its sha256; return how many there are.

    DriftError names all that are not the locked ones, FetchError one that cannot be fetched.
    """
    document = require_lock(project)
    found = artifacts(project, document)
    project.talk(f"fetching {len(found)} files to check them")
    with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
        _fetch(project, document, found, Path(folder), keep=False)
    return len(found)


def make_bundle(project: Project, folder: Path, names: Sequence[str]) -> int:
    """Put every file of a lock, or of some of its environments, into a folder; return how many there are.

    What is there already, and is the locked file, is not fetched again. Errors are as in `check_artifacts`.
    """
    document = require_lock(project)
    found = artifacts(project, document, names)
    missing = [item for item in found if file_sha256(folder / item.place) != item.sha256]
    project.talk(f"fetching {len(missing)} of {len(found)} files into {folder}")
    _fetch(project, document, missing, folder, keep=True)
    return len(found)


def _fetch(
    project: Project, document: LockDocument, wanted: Sequence[Artifact], folder: Path, *, keep: bool
) -> None:
    """Fetch files and compare their hashes; only those that are the locked ones stay, if any are to stay."""
    with origin_of(project) as origin:
        conda = [item for item in wanted if item.is_conda]
        found = fetch_conda({item.url: folder / f"{item.place}{UNDONE}" for item in conda}, origin.network)
        found |= _fetch_others(
            [item for item in wanted if not item.is_conda], document, folder, origin, project
        )
    wrong = []
    for item in wanted:
        path = folder / f"{item.place}{UNDONE}"
        if found[item.url] != item.sha256:
            wrong.append(f"{item.url} has sha256 {found[item.url]}, locked is {item.sha256}")
        if keep and found[item.url] == item.sha256:
            path.replace(folder / item.place)
        else:
            path.unlink()
    if wrong:
        raise DriftError(
            "files of the lock are not those that were locked",
            wrong,
            hint="Do not install them before you know who changed them",
        )


def _fetch_others(
    wanted: Sequence[Artifact], document: LockDocument, folder: Path, origin: Origin, project: Project
) -> dict[str, str]:
    """Fetch wheels and source distributions; return their hashes by URL."""
    indexes = {key: url for item in document.environments for key, url in origin.indexes(item).items()}

    def one(item: Artifact) -> str:
        path = folder / f"{item.place}{UNDONE}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb+") as file:
            return client.download(origin.to_fetch(item.url), file, limit=MOST_BYTES)

    with Client(credentials=index_credentials(project.environ, indexes)) as client:
        return dict(zip((item.url for item in wanted), side_by_side(one, wanted), strict=True))
