"""Addresses: which may be opened, where redirects may lead, and what messages may show of them."""

from __future__ import annotations

import re
import string
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from cudaenv.errors import FetchError
from cudaenv.model.addresses import is_loopback


def shown(url: str) -> str:
    """Return an address as messages may show it: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    return printable(f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path)


def checked(url: str) -> SplitResult:
    """Split an address that may be opened; FetchError for any other."""
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError as error:
        raise FetchError(f"`{shown(url)}` is not an address") from error
    if "@" in parts.netloc:
        raise FetchError(
            f"`{shown(url)}` was given with a user name or password in the address",
            hint=f"put them into `~/.netrc`: machine {parts.hostname} login ... password ...",
        )
    # What a resolver would not take either, as an error of its own kind.
    labels = (parts.hostname or "").removesuffix(".").split(".")
    has_host = all(0 < len(label) < 64 for label in labels)
    if (
        parts.scheme not in {"http", "https"}
        or not has_host
        or not has_port
        or not re.fullmatch(r"[!-~]+", url)
    ):
        raise FetchError(f"`{shown(url)}` is not an https or http address")
    return parts


def redirect_target(url: str, location: str) -> str:
    """Return the address that `location` means in an answer from `url`.

    FetchError if it is no HTTP address, or gives up encryption and leaves this machine.
    """
    try:
        # Header values arrive as latin-1; some servers send bare spaces and umlauts.
        target = urljoin(url, quote(location, safe=string.punctuation, encoding="latin-1", errors="replace"))
    except ValueError as error:
        raise FetchError(f"`{shown(url)}` redirects to something that is no address") from error
    source, parts = urlsplit(url), checked(target)
    is_local = is_loopback(source.hostname or "") and is_loopback(parts.hostname or "")
    if source.scheme == "https" and parts.scheme != "https" and not is_local:
        raise FetchError(
            f"`{shown(url)}` redirects to `{shown(target)}`, which is not followed",
            [f"the redirect leads from {source.scheme} to {parts.scheme}"],
            "an index that is fetched by https has to stay there",
        )
    return target


def printable(text: str) -> str:
    """Keep what others wrote from steering the terminal, or filling it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:500])
