"""A registry of container images on the loopback: tokens, indexes of platforms, a limit on requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from email.message import Message
from pathlib import Path

from tests.support.index import IndexServer, Request, _Response

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TOKEN = "the-token"


def index_of(*platforms: str, salt: str = "") -> bytes:
    """An index with an image for each architecture, and an attestation beside each."""
    entries = [
        {
            "mediaType": MANIFEST,
            "digest": f"sha256:{'0' * 64}",
            "size": 1,
            "platform": {"architecture": name, "os": os},
        }
        for architecture in platforms
        for name, os in ((architecture, "linux"), ("unknown", "unknown"))
    ]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, "annotations": {"salt": salt}}
    return json.dumps(document).encode()


def digest_of(body: bytes) -> str:
    """The digest by which a registry knows a manifest."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class ImageRegistry(IndexServer):
    """Serves manifests by tag to whoever brings the token that its own service gives.

    `busy` are the values of Retry-After with which it puts off its next requests, `moved` is the address
    that it sends everybody to.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.busy: list[str] = []
        self.realm = ""
        self.tokens: list[str] = []
        self.accepted: list[str] = []
        self.authorizations: list[str | None] = []
        self.moved = ""

    def push(self, repository: str, tag: str, body: bytes | None = None, kind: str = INDEX) -> str:
        """Give a tag a manifest; return its digest."""
        content = index_of("amd64", "arm64") if body is None else body
        self.manifests[f"/v2/{repository}/manifests/{tag}"] = (kind, content)
        return digest_of(content)

    @property
    def asked(self) -> Sequence[str]:
        """The paths of manifests that were asked for."""
        return [request.path for request in self.requests if request.path.startswith("/v2/")]

    def _respond(self, request: Request, headers: Message) -> _Response:
        self.requests.append(request)
        if request.path == "/token":
            self.tokens.append(str(headers["Authorization"]))
            return _Response(200, json.dumps({"token": TOKEN}).encode(), {"Content-Type": "application/json"})
        self.authorizations.append(headers["Authorization"])
        if self.busy:
            return _Response(429, b"slow down", {"Retry-After": self.busy.pop(0)})
        if headers["Authorization"] != f"Bearer {TOKEN}":
            repository = request.path.removeprefix("/v2/").partition("/manifests/")[0]
            challenge = (
                f'Bearer realm="{self.realm or self.url + "/token"}",service="registry.example",'
                f'scope="repository:{repository}:pull"'
            )
            return _Response(401, b"{}", {"WWW-Authenticate": challenge})
        if self.moved:
            return _Response(302, b"", {"Location": self.moved + request.path})
        self.accepted.append(str(headers["Accept"]))
        if request.path not in self.manifests:
            return _Response(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', {})
        kind, body = self.manifests[request.path]
        return _Response(200, body, {"Content-Type": kind})
