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
            "digest": digest_of(f"{architecture} {name} {salt}".encode()),
            "size": 1,
            "platform": {"architecture": name, "os": os},
        }
        for architecture in platforms
        for name, os in ((architecture, "linux"), ("unknown", "unknown"))
    ]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, "annotations": {"salt": salt}}
    return json.dumps(document).encode()


def entry_of(index: bytes, architecture: str) -> str:
    """The digest that an index has for an architecture of Linux."""
    platform = {"architecture": architecture, "os": "linux"}
    (found,) = [item["digest"] for item in json.loads(index)["manifests"] if item["platform"] == platform]
    return str(found)


def digest_of(body: bytes) -> str:
    """The digest by which a registry knows a manifest."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class ImageRegistry(IndexServer):
    """Serves manifests by tag and configurations by digest to whoever brings its own service's token.

    `busy` are the values of Retry-After with which it puts off its next requests, `moved` is the address
    that it sends everybody to.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.contents: dict[str, tuple[str, bytes]] = {}
        self.busy: list[str] = []
        self.realm = ""
        self.tokens: list[str] = []
        self.accepted: list[str] = []
        self.authorizations: list[str | None] = []
        self.moved = ""

    def push(self, repository: str, tag: str, body: bytes | None = None, kind: str = INDEX) -> str:
        """Give a tag an index, for two architectures if nothing else is said; return its digest of amd64.

        Or give it whatever `body` is, as a `kind` of its own; then return the digest of that.
        """
        content = index_of("amd64", "arm64") if body is None else body
        self.contents[f"/v2/{repository}/manifests/{tag}"] = (kind, content)
        return entry_of(content, "amd64") if body is None else digest_of(content)

    def push_image(self, repository: str, tag: str, configuration: bytes) -> str:
        """Give a tag an image of one platform, which its configuration tells; return its digest."""
        digest = digest_of(configuration)
        self.contents[f"/v2/{repository}/blobs/{digest}"] = ("application/octet-stream", configuration)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": digest}, "layers": []}
        return self.push(repository, tag, json.dumps(manifest).encode(), MANIFEST)

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
            repository = request.path.removeprefix("/v2/").rsplit("/", 2)[0]
            challenge = (
                f'Bearer realm="{self.realm or self.url + "/token"}",service="registry.example",'
                f'scope="repository:{repository}:pull"'
            )
            return _Response(401, b"{}", {"WWW-Authenticate": challenge})
        if self.moved:
            return _Response(302, b"", {"Location": self.moved + request.path})
        self.accepted.append(str(headers["Accept"]))
        if request.path not in self.contents:
            return _Response(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', {})
        kind, body = self.contents[request.path]
        return _Response(200, body, {"Content-Type": kind})
