"""Credentials of indexes: where uv looks for them too, and never written anywhere."""

from __future__ import annotations

import netrc
import os
import re
import threading
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

Credentials = Callable[[str], tuple[str, str] | None]
"""User name and password for a host name, None where it needs none."""


def where_credentials_go(host: str = "") -> str:
    """A hint for whoever is refused by an index."""
    whose = f"credentials for `{host}`" if host else "credentials"
    return (
        f"{whose} are read from UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD, where <NAME> is "
        "DEFAULT or for example PYTORCH_CU126, and from ~/.netrc"
    )


def index_credentials(environ: Mapping[str, str], indexes: Mapping[str, str]) -> Credentials:
    """A look-up of (user, password) by host, for indexes given by name and URL.

    `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD` first, as uv does
    (https://docs.astral.sh/uv/concepts/indexes/#providing-credentials-directly), then `.netrc`.
    """
    named = {}
    for name, url in indexes.items():
        variable = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', name.upper())}"
        user, password = environ.get(f"{variable}_USERNAME"), environ.get(f"{variable}_PASSWORD")
        host = urlsplit(url).hostname
        if host and (user or password):
            named[host.lower()] = (user or "", password or "")
    from_netrc = netrc_credentials()

    def look_up(host: str) -> tuple[str, str] | None:
        return named.get(host.lower()) or from_netrc(host)

    return look_up


def netrc_credentials() -> Credentials:
    """Return a look-up in `$NETRC` or `~/.netrc`, which is read at the first question.

    Only entries that name the host count: a `default` entry would give a password to every server.
    A file that cannot be read has no entries, as for pip.
    """
    lock = threading.Lock()
    hosts: dict[str, tuple[str, str]] | None = None

    def look_up(host: str) -> tuple[str, str] | None:
        nonlocal hosts
        with lock:
            if hosts is None:
                hosts = _netrc_hosts()
        return hosts.get(host.lower())

    return look_up


def _netrc_hosts() -> dict[str, tuple[str, str]]:
    try:
        # Without a name, the module also checks that nobody else can read the file.
        found = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}
    return {
        host.lower(): (login or "", password or "")
        for host, (login, _, password) in found.items()
        if host != "default"
    }
