"""Registries of container images: the digest that a tag has now for a platform.

The protocol: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests, and for
tokens https://distribution.github.io/distribution/spec/auth/token/.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from cudaenv.errors import FetchError, UnreachableError
from cudaenv.model.addresses import is_loopback
from cudaenv.model.images import DIGEST, ImageReference
from cudaenv.model.machine import Platform
from cudaenv.system.addresses import shown
from cudaenv.system.answers import Answer
from cudaenv.system.http import Client

DOCKER_HUB: Final = "https://registry-1.docker.io"
"""Where images lie whose names have no registry."""

LISTS: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ARCHITECTURES: Final = {Platform.LINUX_64: "amd64", Platform.LINUX_AARCH64: "arm64"}

MAX_MANIFEST: Final = 4 << 20  # bytes: what a registry has to accept at least
MAX_TOKEN: Final = 1 << 20  # bytes
LONGEST_WAIT_S: Final = 2
"""How long a registry that counts requests may ask to be left alone."""

_CHALLENGE = re.compile(r'([a-z]+)="([^"]*)"')


def image_digest(reference: ImageReference, platform: Platform, client: Client, hub: str = DOCKER_HUB) -> str:
    """Return the digest of the manifest that a tag has now for a platform, `sha256:` and 64 digits.

    Of a tag with images for several platforms the index is read, no more: what fetches a manifest counts as
    a pull, and of those some registries allow few. `hub` is where images without a registry lie.
    FetchError where the registry has no such tag, or nothing for the platform; UnreachableError where it
    does not answer, or wants to be left alone for longer.
    """
    base = f"https://{reference.registry}" if reference.registry else hub.rstrip("/")
    found = _manifests(reference, _Repository(f"{base}/v2/{reference.repository}", client))
    digest = found.get(("linux", ARCHITECTURES[platform]))
    if digest is None:
        raise FetchError(f"`{reference}` has no image for {platform}")
    if not DIGEST.fullmatch(digest):
        raise FetchError(f"the registry gives `{reference}` a digest that is none")
    return digest


class _Repository:
    """A repository of a registry, with the token for it once that was asked for."""

    def __init__(self, url: str, client: Client) -> None:
        self._url = url
        self._client = client
        self._authorization = ""

    def get(self, path: str, accept: str = "") -> Answer:
        """The registry's answer; with a token where it wants one, again after the pause that it asks for."""
        url = f"{self._url}/{path}"
        for is_last in (False, False, True):
            answer = self._client.get(
                url,
                limit=MAX_MANIFEST,
                allow={401, 403, 404, 429},
                accept=accept,
                authorization=self._authorization,
            )
            if answer.status == 429:
                _wait(url, answer, is_last=is_last)
            elif answer.status == 401 and not self._authorization:
                self._authorization = f"Bearer {_token(url, answer.challenge, self._client)}"
            else:
                break
        return answer

    def configuration(self, manifest: Mapping[str, Any], reference: ImageReference) -> dict[str, Any]:
        """The configuration of an image, which says its platform. FetchError where it is not to be had."""
        config = manifest.get("config")
        digest = str(config.get("digest")) if isinstance(config, dict) else ""
        if not DIGEST.fullmatch(digest):
            raise FetchError(f"what the registry has as `{reference}` is no image")
        answer = self.get(f"blobs/{digest}")
        if answer.status != 200 or _digest(answer.body) != digest:
            raise FetchError(f"the registry does not say which platform `{reference}` is for")
        return _object(answer.body, str(reference))


def _wait(url: str, answer: Answer, *, is_last: bool) -> None:
    """Wait as long as the registry asks for. UnreachableError where that is too long, or was in vain.

    Retry-After may be a day, which is longer (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after).
    """
    text = answer.retry_after
    seconds = int(text) if re.fullmatch(r"\d{1,6}", text) else LONGEST_WAIT_S + 1
    if is_last or seconds > LONGEST_WAIT_S:
        asked = [f"it asks to be left alone for {text} s"] if re.fullmatch(r"\d{1,6}", text) else []
        raise UnreachableError(f"`{shown(url)}` was asked too often", asked)
    time.sleep(seconds)


def _token(url: str, challenge: str, client: Client) -> str:
    """A token of the service that a registry names. FetchError where it names none that may be asked."""
    scheme, _, rest = challenge.partition(" ")
    said = dict(_CHALLENGE.findall(rest))
    realm = urlsplit(said.get("realm", ""))
    is_local = is_loopback(realm.hostname or "") and is_loopback(urlsplit(url).hostname or "")
    if scheme.lower() != "bearer" or (realm.scheme != "https" and not is_local):
        raise FetchError(f"`{shown(url)}` wants to be asked in a way that is not known")
    query = urlencode({key: said[key] for key in ("service", "scope") if key in said})
    answer = client.get(f"{realm.geturl()}?{query}", limit=MAX_TOKEN, accept="application/json")
    document = _object(answer.body, realm.geturl())
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
        raise FetchError(f"`{shown(realm.geturl())}` gave no token")
    return token


def _manifests(reference: ImageReference, repository: _Repository) -> dict[tuple[str, str], str]:
    """The digests that a tag has by system and architecture. FetchError where it is none of an image."""
    answer = repository.get(f"manifests/{quote(reference.tag)}", ", ".join((*LISTS, *MANIFESTS)))
    if answer.status == 404:
        raise FetchError(f"the registry has no image `{reference}`")
    if answer.status != 200:
        raise FetchError(f"the registry refuses to tell of `{reference}`", [f"it answered {answer.status}"])
    document = _object(answer.body, str(reference))
    kind = document.get("mediaType") or answer.content_type.partition(";")[0]
    if kind in LISTS:
        return _listed(document)
    if kind in MANIFESTS:
        return {_platform(repository.configuration(document, reference)): _digest(answer.body)}
    raise FetchError(f"what the registry has as `{reference}` is no image")


def _listed(index: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """The digests of an index by platform; of several for one, as for its variants, the first."""
    manifests = index.get("manifests")
    entries = manifests if isinstance(manifests, list) else []
    return {
        _platform(entry.get("platform")): str(entry.get("digest"))
        for entry in reversed(entries)
        if isinstance(entry, dict)
    }


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _platform(said: object) -> tuple[str, str]:
    """The system and the architecture in an entry of an index, or in a configuration."""
    return (str(said.get("os")), str(said.get("architecture"))) if isinstance(said, dict) else ("", "")


def _object(body: bytes, where: str) -> dict[str, Any]:
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise FetchError(f"`{shown(where)}` answered with something that is no JSON document")
    return document
