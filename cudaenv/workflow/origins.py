"""Origins: where the files of a lock are fetched, from indexes and channels or from a bundle of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from packaging.version import Version

from cudaenv.errors import SpecError
from cudaenv.lock.mirrors import Mirrors
from cudaenv.model.names import CHANNELS, index_name
from cudaenv.system.conda import CondaNetwork
from cudaenv.system.serving import served
from cudaenv.workflow.conda_locking import conda_network
from cudaenv.workflow.project import Project

CONDA = "conda"
"""The folder of a bundle for conda's packages, as their channels have them."""

WHEELS = "wheels"
"""The folder of a bundle for wheels and source distributions."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where locked files are fetched: conda's by a network, all others by what their URLs become.

    `indexes` says where an environment's indexes are, by the names that their credentials go by.
    """

    network: CondaNetwork
    to_fetch: Callable[[str], str]
    indexes: Callable[[Mapping[str, Any]], dict[str, str]]


@contextmanager
def origin_of(project: Project, bundle: Path | None = None) -> Iterator[Origin]:
    """Fetch from the spec's mirrors, or from a bundle alone. SpecError where the folder is none."""
    network = conda_network(project)
    if bundle is None:
        mirrors = Mirrors.of(project.matrix.tables.indexes, project.spec.indexes)
        yield Origin(network, mirrors.to_fetch, lambda environment: index_urls(environment, mirrors))
        return
    if not any((bundle / name).is_dir() for name in (CONDA, WHEELS)):
        raise SpecError(f"`{bundle}` is no bundle", hint="`cudaenv bundle FOLDER` makes one")
    with served(bundle) as url:
        yield Origin(
            replace(network, mirrors={f"{CHANNELS}/": f"{url}/{CONDA}/"}),
            lambda text: f"{url}/{WHEELS}/{quote(locked_file(text))}",
            lambda _: {},
        )


def locked_file(url: str) -> str:
    """The name of the file at a URL."""
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def index_urls(environment: Mapping[str, Any], mirrors: Mirrors) -> dict[str, str]:
    """Where the indexes of an environment, in its JSON form, are fetched.

    What an index beside the default one gives has its variant as the version's local label.
    """
    return mirrors.fetched(
        {
            index_name(item["source"], Version(item["version"]).local or ""): item["index"]
            for item in environment["packages"].values()
            if item["index"] and not item["index"].endswith((".html", ".whl"))
        }
    )
