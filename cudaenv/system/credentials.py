"""Credentials of indexes: where uv looks for them too, and never written anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from cudaenv.system.http import Credentials, netrc_credentials


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
