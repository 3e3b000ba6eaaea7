"""A process of its own for py-rattler: a request on standard input, an answer on standard output.

    python -m cudaenv.system.rattler_worker

A request is a JSON object with `do` (a name in `TASKS`), what that task takes, and for all of them `cache`
(a folder) and `mirrors` (where to fetch what lies below a canonical URL). The answer is JSON, an object
with `error` where the task failed. py-rattler's runtime crashes now and then while an interpreter shuts
down (pyo3-async-runtimes issue 40), so this process never shuts one down: it ends on the spot.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from rattler import Gateway, GenericVirtualPackage, PackageRecord, RepoDataRecord
    from rattler.networking import Client

_DIST_INFO = re.compile(r"(?:^|/)site-packages/([^/]+-[^/-]+)\.dist-info/METADATA$")
ORPHANED_S = 0.05
"""How long this process may outlive the one that asked."""

AT_ONCE = 8
"""Packages that are fetched at a time."""

SOLVER = "py-rattler"


async def query(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records of packages with these names, sorted; those of no other channel or platform.

    LookupError where there is no package at all: py-rattler takes a channel that does not exist for an
    empty one.
    """
    from rattler import Channel

    channel, platform, names = request["channel"], request["platform"], request["names"]
    gateway = _gateway(request)
    platforms: Any = [platform]  # a literal type, which a request cannot have
    found = await gateway.query([Channel(channel)], platforms, names, recursive=False)
    if not any(found) and not await gateway.names([Channel(channel)], platforms):
        raise LookupError(f"there are no packages for {platform}")
    # A channel may refer to others, which are read, too.
    own = f"{channel.rstrip('/')}/{platform}/"
    records = [described(record) for part in found for record in part if record.url.startswith(own)]
    return sorted(records, key=lambda record: (record["name"], record["version"], record["build"]))


def described(record: RepoDataRecord) -> dict[str, Any]:
    """Return the fields of a record as repodata have them: hashes in hexadecimal, milliseconds."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build).strip(),
        "build_number": record.build_number,
        "depends": list(record.depends),
        "constrains": list(record.constrains),
        "subdir": record.subdir,
        "timestamp": None if record.timestamp is None else round(record.timestamp.timestamp() * 1000),
        "md5": None if record.md5 is None else record.md5.hex(),
        "sha256": None if record.sha256 is None else record.sha256.hex(),
    }


async def solve(request: Mapping[str, Any]) -> dict[str, Any]:
    """Solve environments, each by itself, with one reading of the channels for all.

    Each of `environments` has `channels` in the order of their priority, `platform`, `specs`, `virtual`
    (versions by name, with a build behind a space) and `locked` (URLs of packages to keep). The answer
    has `solver` and `environments`: a list of records, those that others need first, or what excludes
    what.
    """
    from importlib.metadata import version

    gateway = _gateway(request)
    solving = [_solve_one(gateway, environment) for environment in request["environments"]]
    return {
        "solver": f"{SOLVER} {version('py-rattler')}",
        "environments": await asyncio.gather(*solving),
    }


async def _solve_one(gateway: Gateway, asked: Mapping[str, Any]) -> dict[str, Any]:
    from rattler import Channel, ChannelPriority, MatchSpec, PackageRecord
    from rattler import solve as rattler_solve
    from rattler.exceptions import SolverError

    channels = [Channel(url) for url in asked["channels"]]
    platforms: Any = [asked["platform"], "noarch"]
    locked = await _locked(gateway, channels, platforms, asked["locked"])
    try:
        found = await rattler_solve(
            channels,
            [MatchSpec(text, strict=False) for text in asked["specs"]],
            gateway=gateway,
            platforms=platforms,
            locked_packages=locked,
            virtual_packages=_virtual(asked["virtual"]),
            channel_priority=ChannelPriority.Strict,
        )
    except SolverError as error:
        return {"excluded": str(error)}
    by_name = {record.name.normalized: record for record in found}
    ordered = PackageRecord.sort_topologically(list(found))
    return {"records": [_locking(by_name[record.name.normalized]) for record in ordered]}


async def _locked(
    gateway: Gateway, channels: Any, platforms: Any, urls: Sequence[str]
) -> list[RepoDataRecord]:
    """The records of packages that are locked already, as far as the channels still have them."""
    if not urls:
        return []
    names = {url.rsplit("/", 1)[-1].rsplit("-", 2)[0] for url in urls}
    found = await gateway.query(channels, platforms, sorted(names), recursive=False)
    wanted = set(urls)
    return [record for part in found for record in part if record.url in wanted]


def _virtual(packages: Mapping[str, str]) -> list[GenericVirtualPackage]:
    from rattler import BuildString, GenericVirtualPackage, PackageName, Version

    found = []
    for name, text in packages.items():
        version, build = _version_and_build(text)
        found.append(GenericVirtualPackage(PackageName(name), Version(version), BuildString(build)))
    return found


def _version_and_build(text: str) -> tuple[str, str]:
    """A virtual package's version and its build, which stands behind a space or is `0`."""
    version, _, build = text.partition(" ")
    return version, build or "0"


def _locking(record: RepoDataRecord) -> dict[str, Any]:
    """What a lock holds of a record; `requires` are versions by name, several joined by a comma."""
    from rattler import MatchSpec

    requires: dict[str, str] = {}
    for text in record.depends:
        spec = MatchSpec(text, strict=False)
        name = (
            spec.name.normalized
            if spec.name is not None and hasattr(spec.name, "normalized")
            else str(spec.name)
        )
        version = "" if spec.version is None else str(spec.version)
        requires[name] = ",".join(filter(None, [requires.get(name, ""), version]))
    return {**described(record), "url": record.url, "size": record.size, "requires": requires}


async def validate(request: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a set of records lacks: `records` as a lock holds them, `virtual` as for solving."""
    from rattler import PackageRecord
    from rattler.exceptions import ValidatePackageRecordsError

    records: list[PackageRecord] = [_record(item) for item in request["records"]]
    records += [_virtual_record(name, text) for name, text in request["virtual"].items()]
    try:
        PackageRecord.validate(records)
    except ValidatePackageRecordsError as error:
        return {"lacks": str(error)}
    return {"lacks": ""}


def _record(item: Mapping[str, Any]) -> RepoDataRecord:
    from rattler import BuildString, PackageRecord, RepoDataRecord, VersionWithSource

    package = PackageRecord(
        item["name"],
        VersionWithSource(item["version"]),
        BuildString(item["build"]),
        0,
        item["subdir"],
        depends=[f"{name} {version}".strip() for name, version in item["requires"].items()],
        md5=bytes.fromhex(item["md5"]) or None,
        sha256=bytes.fromhex(item["sha256"]) or None,
    )
    url = item["url"]
    return RepoDataRecord(package, url.rsplit("/", 1)[-1], url, url.rsplit("/", 2)[0])


def _virtual_record(name: str, text: str) -> PackageRecord:
    from rattler import BuildString, PackageRecord, VersionWithSource

    version, build = _version_and_build(text)
    return PackageRecord(name, VersionWithSource(version), BuildString(build), 0, "noarch")


async def install(request: Mapping[str, Any]) -> dict[str, Any]:
    """Install `records`, as a lock holds them, into `prefix`, so that nothing else of conda is in it."""
    from rattler import Subdir
    from rattler import install as rattler_install

    await rattler_install(
        [_record(item) for item in request["records"]],
        request["prefix"],
        cache_dir=Path(request["cache"]) / "pkgs",
        platform=Subdir(request["platform"]),
        client=_client(request),
        show_progress=request["progress"],
        execute_link_scripts=False,
    )
    return {}


async def fetch(request: Mapping[str, Any]) -> dict[str, str]:
    """Fetch `files`, paths by URL; return the sha256 of each, by URL."""
    from rattler.package_streaming import download_to_path

    from cudaenv.system.files import file_sha256

    client = _client(request)
    free = asyncio.Semaphore(AT_ONCE)

    async def one(url: str, path: Path) -> str:
        async with free:
            path.parent.mkdir(parents=True, exist_ok=True)
            await download_to_path(client, url, path)
        return file_sha256(path)

    files = request["files"]
    hashes = await asyncio.gather(*(one(url, Path(path)) for url, path in files.items()))
    return dict(zip(files, hashes, strict=True))


async def distributions(request: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """The Python distributions in packages (`urls`), read by ranges: names and versions, by URL.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    from rattler.package_streaming import PackageArchive

    client = _client(request)
    free = asyncio.Semaphore(AT_ONCE)

    async def one(url: str) -> list[list[str]]:
        async with free:
            archive = await PackageArchive.from_url(client, url)
            paths = [str(entry.relative_path) for entry in (await archive.paths_json()).paths]
        found = {match[1] for path in paths if (match := _DIST_INFO.search(path))}
        return [stem.rsplit("-", 1) for stem in sorted(found)]

    urls = request["urls"]
    return dict(zip(urls, await asyncio.gather(*map(one, urls)), strict=True))


def _client(request: Mapping[str, Any]) -> Client:
    """A client with the mirrors, those of the user's configuration of rattler, and the user's credentials.

    Those are of the host that is asked in the end, so they come after the mirrors: a user and a password
    in a mirror's URL, `.netrc`, what `RATTLER_AUTH_FILE` names, rattler's own store.
    """
    from rattler.config import Config
    from rattler.networking import (
        AddHeadersMiddleware,
        AuthenticationMiddleware,
        Client,
        MirrorMiddleware,
        OciMiddleware,
        RetryMiddleware,
    )

    mirrors = dict(Config.load_from_default_locations("rattler").mirrors)
    headers = {}
    for canonical, url in request["mirrors"].items():
        parts = urlsplit(url)
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers[parts.hostname] = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        mirrors[canonical] = [parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()]
    return Client(
        [
            MirrorMiddleware(mirrors),
            AddHeadersMiddleware(lambda host, _: headers.get(host)),
            AuthenticationMiddleware(),
            OciMiddleware(),
            RetryMiddleware(),
        ]
    )


def _gateway(request: Mapping[str, Any]) -> Gateway:
    from rattler import Gateway, SourceConfig

    return Gateway(
        cache_dir=Path(request["cache"]) / "repodata",
        default_config=SourceConfig(
            bz2_enabled=False, cache_action="force-cache-only" if request.get("offline") else "cache-or-fetch"
        ),
        client=_client(request),
    )


TASKS: dict[str, Callable[[Mapping[str, Any]], Awaitable[Any]]] = {
    "query": query,
    "solve": solve,
    "validate": validate,
    "install": install,
    "fetch": fetch,
    "distributions": distributions,
}


def _end_with(parent: int) -> None:
    """End this process once the one that asked has: nobody waits for the answer, or for the installation.

    Else whoever comes next would install into the same prefix at the same time.
    """
    while os.getppid() == parent:
        time.sleep(ORPHANED_S)
    os._exit(1)


def main() -> int:
    """Answer one request; return 0, or 1 where the answer is an error. Ctrl-C ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    request = json.load(sys.stdin)
    answer: object
    try:
        answer, status = asyncio.run(TASKS[request["do"]](request)), 0  # type: ignore[arg-type]
    except Exception as error:
        # Whatever py-rattler raises, the process that asked has to explain it.
        answer, status = {"error": str(error) or type(error).__name__, "kind": type(error).__name__}, 1
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    os._exit(main())
