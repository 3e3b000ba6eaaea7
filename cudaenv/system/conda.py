"""conda's packages by py-rattler: solving, checking and installing them; no conda is needed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cudaenv.errors import CudaenvError, FetchError, NoPlanError, ToolError
from cudaenv.lock.conda import CondaLock, CondaRecord, record_of
from cudaenv.system.rattler import RattlerError, ask

_OTHER_HASH = re.compile(r"expected [0-9a-f]{32,64}, got [0-9a-f]{32,64}|hash mismatch")
NETWORK_ERRORS = {"GatewayError", "FetchRepoDataError"}
HINT = "Check the network, or name a mirror under [channels] in the spec"


@dataclass(frozen=True, slots=True)
class CondaNetwork:
    """How channels are reached: where files are kept, and what is fetched from where.

    `mirrors` are URLs by the canonical prefix that they stand for. They may hold credentials, so they are
    passed on and never shown. Without a `cache` nothing outlives the call.
    """

    cache: Path | None
    mirrors: Mapping[str, str]
    offline: bool = False


def solve_conda(requests: Sequence[Mapping[str, Any]], network: CondaNetwork) -> tuple[CondaLock, ...]:
    """Solve environments at once, each as `cudaenv.lock.conda.solve_request` asks.

    NoPlanError where the channels have no set of packages that satisfies one, with the solver's own
    explanation; FetchError where a channel does not answer; ToolError otherwise.
    """
    with _asking(network, "the conda channels cannot be read") as common:
        answer = ask({"do": "solve", "environments": list(requests), **common})
    found = []
    for asked, environment in zip(requests, answer["environments"], strict=True):
        if "excluded" in environment:
            raise NoPlanError(
                f"the conda channels have no set of packages for {asked['platform']} that satisfies the plan",
                [line for line in str(environment["excluded"]).splitlines() if line.strip()],
            )
        records = tuple(record_of(item) for item in environment["records"])
        found.append(CondaLock(records, str(answer["solver"])))
    return tuple(found)


def what_lacks(records: Iterable[CondaRecord], virtual: Mapping[str, str]) -> str:
    """What packages require of each other and do not find; empty where nothing lacks."""
    with _asking(CondaNetwork(None, {}), "the locked conda packages cannot be checked") as common:
        answer = ask({"do": "validate", "records": _plain(records), "virtual": dict(virtual), **common})
    return str(answer["lacks"])


def install_conda(records: Iterable[CondaRecord], platform: str, prefix: Path, network: CondaNetwork) -> None:
    """Install exactly these packages into a prefix; what else conda had in it goes.

    Progress is shown where a terminal is there to show it. A file that has not the locked sha256 is
    refused with a ToolError that names both. FetchError where a file cannot be fetched.
    """
    progress = sys.stderr.isatty()
    request = {"do": "install", "records": _plain(records), "platform": platform, "prefix": str(prefix)}
    with _asking(network, f"the locked conda packages cannot be installed into {prefix}") as common:
        ask({**request, "progress": progress, **common}, progress=progress)


def fetch_conda(places: Mapping[str, Path], network: CondaNetwork) -> dict[str, str]:
    """Fetch packages, paths by URL, and return the sha256 of what came, by URL.

    FetchError where one cannot be fetched.
    """
    if not places:
        return {}
    with _asking(network, "conda's packages cannot be fetched") as common:
        files = {url: str(path) for url, path in places.items()}
        return dict(ask({"do": "fetch", "files": files, **common}))


def python_distributions(
    records: Iterable[CondaRecord], network: CondaNetwork
) -> dict[str, tuple[tuple[str, str], ...]]:
    """The Python distributions that packages hold, names and versions, by URL; remembered by sha256.

    Old packages (`.tar.bz2`) are left out: they can only be read whole. FetchError where one cannot be read.
    """
    places = {
        record.url: network.cache / "conda" / "distributions" / record.sha256 if network.cache else None
        for record in records
        if record.url.endswith(".conda")
    }
    found = {url: json.loads(path.read_text()) for url, path in places.items() if path and path.is_file()}
    if missing := sorted(set(places) - set(found)):
        with _asking(network, "conda's packages cannot be read") as common:
            answer = ask({"do": "distributions", "urls": missing, **common})
        for url in missing:
            _remember(places[url], found.setdefault(url, answer[url]))
    return {url: tuple((name, version) for name, version in items) for url, items in found.items()}


def _remember(path: Path | None, items: list[list[str]]) -> None:
    """Keep what a package holds; that it cannot be kept is no failure."""
    if path is not None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.{os.getpid()}")
            temporary.write_text(json.dumps(items), encoding="utf-8")
            temporary.replace(path)


def _plain(records: Iterable[CondaRecord]) -> list[dict[str, Any]]:
    return [{**asdict(record), "requires": dict(record.requires)} for record in records]


@contextmanager
def _asking(network: CondaNetwork, what: str) -> Iterator[dict[str, Any]]:
    """What all requests have; py-rattler's failures become ours."""
    with tempfile.TemporaryDirectory(prefix="cudaenv-", ignore_cleanup_errors=True) as folder:
        place = Path(folder) if network.cache is None else network.cache / "conda"
        try:
            yield {"cache": str(place), "mirrors": dict(network.mirrors), "offline": network.offline}
        except RattlerError as error:
            raise _failure(what, error) from error


def _failure(what: str, error: RattlerError) -> CudaenvError:
    text = " ".join(error.lines)
    if _OTHER_HASH.search(text):
        return ToolError(
            "a file of a conda channel is not the one that was locked",
            error.lines,
            hint="Do not install it before you know who changed it; `cudaenv lock --upgrade` locks anew",
        )
    if error.kind in NETWORK_ERRORS or "error sending request" in text or "HTTP status" in text:
        return FetchError(what, error.lines, HINT)
    return ToolError(what, error.lines)
