"""What surveys read, fetched: index pages, wheels by ranges, documents; everything once a run."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name, canonicalize_version

from cudaenv.errors import FetchError
from cudaenv.matrix.refresh.artefacts import Link, ProjectFile, Wheel
from cudaenv.matrix.refresh.metadata import MAX_METADATA, archived_metadata, metadata_fields
from cudaenv.matrix.refresh.pages import ACCEPT_PAGE, read_links, read_project_page
from cudaenv.model.names import SHA256
from cudaenv.system.addresses import printable, shown
from cudaenv.system.cache import Once, recall, remember
from cudaenv.system.http import Client
from cudaenv.system.programs import fetch_program, run_program
from cudaenv.system.remote_wheels import NO_RANGES, RemoteWheel, open_archive
from cudaenv.system.repodata import read_records
from cudaenv.system.wheels import NOT_THERE, published_metadata

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 8
"""Things that are fetched at a time; more only wait for the network."""

MAX_PAGE: Final = 64 << 20  # bytes of an index page or a document; the largest pages have some 20 MB
MAX_MEASURED: Final = 4 << 20  # bytes of what is remembered of one wheel


class RemoteArtefacts:
    """Fetches what surveys ask for, see `cudaenv.matrix.refresh.artefacts.Artefacts`.

    `index_url` is that of the default index (`.../simple`), `channels` maps the names of conda channels to
    their addresses, `say` gets lines for the user. `served_by` names, for the host of a listing, the other
    hosts that its links may lead to (`download.pytorch.org` has files on another one). `moved` are prefixes
    of canonical addresses, each with that of the mirror from which they are fetched; surveys get to see the
    canonical ones.

    Nothing is fetched twice in the life of an object; METADATA and what was measured of wheels is remembered
    below `cache` by the hashes of the wheels.

    Every failure is a FetchError, those of what a page or wheel says among them; it names the address,
    without credentials. It is an UnreachableError where another time may be better.
    """

    def __init__(
        self,
        client: Client,
        index_url: str,
        cache: Path | None,
        channels: Mapping[str, str],
        say: Callable[[str], None],
        *,
        served_by: Mapping[str, Collection[str]] | None = None,
        moved: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._index_url = index_url
        self._cache = cache
        self._channels = dict(channels)
        self._served_by = served_by or {}
        self._moved = moved or {}
        self._say = say
        self._saying = threading.Lock()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="artefacts")
        self._pages: Once[tuple[ProjectFile, ...]] = Once()
        self._links: Once[tuple[Link, ...] | None] = Once()
        self._documents: Once[object] = Once()
        self._metadata: Once[bytes] = Once()
        self._measured: Once[dict[str, str]] = Once()
        self._programs: Once[Path] = Once()
        self._records: Once[tuple[Mapping[str, object], ...]] = Once()

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        """The files of a project on the default index, PyPI."""
        url = f"{self._index_url.rstrip('/')}/{canonicalize_name(project)}/"

        def fetch() -> tuple[ProjectFile, ...]:
            answer = self._client.get(url, limit=MAX_PAGE, accept=ACCEPT_PAGE)
            with _expected(url):
                found = read_project_page(answer.body, answer.content_type, url, project)
            return tuple(replace(file, url=self._canonical(file.url)) for file in found)

        return self._pages.get(url, fetch)

    def links(self, url: str) -> tuple[Link, ...] | None:
        """The links of an HTML page; None where there is no such page."""

        def fetch() -> tuple[Link, ...] | None:
            place, host = self._fetched(url), urlsplit(url).netloc
            # Storage servers answer 403 for what they do not have.
            answer = self._client.get(place, limit=MAX_PAGE, allow={403, 404}, accept="text/html")
            if answer.status != 200:
                return None
            hosts = {*self._served_by.get(host, ()), *([host] if place != url else [])}
            with _expected(place):
                found = read_links(answer.body, answer.content_type, place, hosts)
                if not found:
                    raise ValueError("the page has no links")
            return tuple(replace(link, url=self._canonical(link.url)) for link in found)

        return self._links.get(url, fetch)

    def document(self, url: str) -> object:
        """A JSON document, parsed."""

        def fetch() -> object:
            place = self._fetched(url)
            answer = self._client.get(place, limit=MAX_PAGE, accept="application/json")
            with _expected(place):
                return _parsed(answer.body)

        return self._documents.get(url, fetch)

    def metadata(self, file: ProjectFile) -> bytes:
        """The METADATA of a wheel: as published beside it, else from inside it."""
        return self._metadata.get(file.url, lambda: self._find_metadata(file))

    def measured(
        self, file: ProjectFile, method: str, measure: Callable[[Wheel], Mapping[str, str]]
    ) -> Mapping[str, str]:
        """What `measure` makes of a wheel, remembered by the wheel's hash and the name of the method.

        Give the method another name whenever the same wheel would give other results.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", method):
            raise ValueError(f"no name of a method of measuring: {method!r}")

        def find() -> dict[str, str]:
            url = self._fetched(file.url)
            with open_archive(url, file.sha256, self._client) as archive, _expected(url):
                wheel = RemoteWheel(url, archive)
                _check_release(wheel, file.name)
                return dict(measure(wheel))

        return self._remembered(file, method, find)

    def run(self, file: ProjectFile, member: str, arguments: Collection[str]) -> str:
        """The output of a program that a wheel carries, run here; FetchError where it cannot be run.

        Standard output and error together, whatever the exit status; remembered like what is measured.
        """
        url = self._fetched(file.url)
        name = f"`{member.rpartition('/')[2]}` of `{shown(url)}`"
        asked = json.dumps([member, *arguments])

        def fetch() -> Path:
            return fetch_program(url, file.sha256, self._client, member, self._folder)

        def find() -> dict[str, str]:
            program = self._programs.get(f"{url} {member}", fetch)
            return {"output": run_program(program, tuple(arguments), name)}

        method = f"run.{hashlib.sha256(asked.encode()).hexdigest()[:32]}"
        return self._remembered(file, method, find).get("output", "")

    def records(
        self, channel: str, platform: str, names: Collection[str]
    ) -> tuple[Mapping[str, object], ...]:
        """Records of packages in a conda channel, as its repodata have them."""
        known = self._channels.get(channel)
        if known is None:
            raise FetchError(f"the address of the conda channel `{printable(channel)}` is not known")
        address = self._fetched(known)
        key = " ".join([channel, platform, *sorted(names)])

        def find() -> tuple[Mapping[str, object], ...]:
            try:
                return read_records(address, platform, names, self._cache)
            except FetchError:
                # py-rattler does not tell whether the channel is to blame or the network: ask once more.
                if urlsplit(address).scheme != "file":
                    page = f"{address.rstrip('/')}/{platform}/repodata.json.zst"
                    self._client.get(page, start=0, end=1, limit=1, allow=NOT_THERE | NO_RANGES)
                raise

        return self._records.get(key, find)

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """The results of a function for all items, in their order, several at a time.

        The first failure is raised, once what had begun has ended. Calls may be nested: what no thread has
        begun yet is done by the one that waits for it.
        """
        futures = [(self._pool.submit(function, item), item) for item in items]
        try:
            return [function(item) if future.cancel() else future.result() for future, item in futures]
        except BaseException:
            for future, _ in futures:
                future.cancel()
            wait([future for future, _ in futures])
            raise

    def say(self, line: str) -> None:
        """Tell the user what is going on."""
        with self._saying:
            self._say(printable(line))

    def _fetched(self, url: str) -> str:
        """Where a canonical address is fetched from."""
        for prefix, mirror in self._moved.items():
            if url.startswith(prefix):
                return mirror + url.removeprefix(prefix)
        return url

    def _canonical(self, url: str) -> str:
        """The canonical address of what a mirror serves: surveys compare addresses of pages and files."""
        found = [(prefix, mirror) for prefix, mirror in self._moved.items() if url.startswith(mirror)]
        if not found:
            return url
        prefix, mirror = max(found, key=lambda pair: len(pair[1]))
        return prefix + url.removeprefix(mirror)

    @cached_property
    def _folder(self) -> Path:
        """A temporary folder that goes when this object goes."""
        folder = tempfile.mkdtemp(prefix="cudaenv-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _remembered(
        self, file: ProjectFile, method: str, find: Callable[[], dict[str, str]]
    ) -> dict[str, str]:
        place = self._place("measured", file.sha256, f"-{method}.json")

        def recalled() -> dict[str, str]:
            known = _load_measured(None if place is None else recall(place, MAX_MEASURED))
            if known is not None:
                return known
            found = find()
            if place is not None:
                remember(place, json.dumps(found, indent=1).encode())
            return found

        return self._measured.get(f"{method} {file.sha256 or file.url}", recalled)

    def _find_metadata(self, file: ProjectFile) -> bytes:
        place = self._place("metadata", file.sha256, ".txt")
        known = _load_metadata(None if place is None else recall(place, MAX_METADATA + 100), file.name)
        if known is not None:
            return known
        found = self._published_metadata(file) if file.has_metadata else None
        if found is None:
            url = self._fetched(file.url)
            with open_archive(url, file.sha256, self._client) as archive, _expected(url):
                found = archived_metadata(RemoteWheel(url, archive))
                _check_metadata(found, file.name)
        if place is not None:
            remember(place, hashlib.sha256(found).hexdigest().encode() + b"\n" + found)
        return found

    def _published_metadata(self, file: ProjectFile) -> bytes | None:
        """What lies beside a wheel; None for what is not its METADATA."""
        found = published_metadata(self._fetched(file.url), self._client)
        try:
            if found is not None:
                _check_metadata(found, file.name)
        except ValueError:
            return None
        return found

    def _place(self, kind: str, sha256: str, ending: str) -> Path | None:
        if self._cache is None or not SHA256.fullmatch(sha256):
            return None
        return self._cache / kind / sha256[:2] / f"{sha256}{ending}"


@contextmanager
def _expected(url: str) -> Iterator[None]:
    """Turn a ValueError about what was read into a FetchError that names where it is from."""
    try:
        yield
    except ValueError as error:
        raise FetchError(
            f"`{shown(url)}` is not what was expected there",
            [printable(str(error))],
            "the server, or something on the way to it, gave another page or file, or its form has changed",
        ) from error


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON document, or not all of one") from error


def _load_measured(content: bytes | None) -> dict[str, str] | None:
    try:
        found = json.loads((content or b"").decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        return None
    return found


def _load_metadata(content: bytes | None, name: str) -> bytes | None:
    digest, _, text = (content or b"").partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        return None
    try:
        _check_metadata(text, name)
    except ValueError:
        return None
    return text


def _check_metadata(text: bytes, name: str) -> None:
    """ValueError for what is no METADATA of the wheel with that file name: a proxy's login page."""
    fields = metadata_fields(text)
    found = f"{fields['name'].replace('-', '_')}-{fields.get('version', '')}"
    if not name.endswith(".whl") or _release(found) != _release(name):
        raise ValueError(f"it is the METADATA of `{found}`")


def _check_release(wheel: Wheel, name: str) -> None:
    """ValueError for a wheel of another project or release than its file name says: one that was renamed."""
    folders = {member.partition("/")[0] for member in wheel.sizes}
    found = [folder.removesuffix(".dist-info") for folder in folders if folder.endswith(".dist-info")]
    if found and _release(name) not in map(_release, found):
        raise ValueError(f"it is the wheel of `{' '.join(sorted(found))}`")


def _release(name: str) -> str:
    """Project and public version that the name of a wheel or of its `.dist-info` begins with."""
    project, version, *_ = (*name.split("-"), "")
    return f"{canonicalize_name(project)} {canonicalize_version(version.partition('+')[0])}"
