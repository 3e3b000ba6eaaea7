"""References of images, and digests from a registry on the loopback that wants tokens and counts requests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cudaenv.errors import FetchError, UnreachableError
from cudaenv.model.images import ImageReference
from cudaenv.model.machine import Platform
from cudaenv.system.http import Client
from cudaenv.system.registry import image_digest
from tests.support.images import MANIFEST, ImageRegistry, entry_of, index_of

PYTHON = "python:3.12-slim-trixie"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ImageRegistry]:
    with ImageRegistry(tmp_path) as server:
        yield server


def digest(registry: ImageRegistry, image: str = PYTHON, platform: Platform = Platform.LINUX_64) -> str:
    with Client(timeout=5, pauses=(), credentials=lambda _: None) as client:
        return image_digest(ImageReference.parse(image), platform, client, registry.url)


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag"),
    [
        ("python:3.12-slim", "", "library/python", "3.12-slim"),
        ("debian", "", "library/debian", "latest"),
        ("nvidia/cuda:12.8.1-devel-ubuntu24.04", "", "nvidia/cuda", "12.8.1-devel-ubuntu24.04"),
        ("docker.io/library/python:3.12", "", "library/python", "3.12"),
        ("nvcr.io/nvidia/cuda:12.8.1", "nvcr.io", "nvidia/cuda", "12.8.1"),
        ("localhost:5000/a/b:1", "localhost:5000", "a/b", "1"),
    ],
)
def test_a_reference_says_registry_repository_and_tag(
    text: str, registry: str, repository: str, tag: str
) -> None:
    found = ImageReference.parse(text)
    assert (found.registry, found.repository, found.tag) == (registry, repository, tag)
    assert found.pinned(f"sha256:{'a' * 64}") == f"{found.name}@sha256:{'a' * 64}"


@pytest.mark.parametrize(
    "text", ["", "Python", "python:", "a b", "python@sha256:00", f"x:1@sha256:{'0' * 64}", "x:1\n"]
)
def test_what_is_no_reference_with_a_tag(text: str) -> None:
    with pytest.raises(ValueError, match="not an image with a tag"):
        ImageReference.parse(text)


@pytest.mark.parametrize("value", ["", "sha256:00", f"sha512:{'0' * 64}", f"sha256:{'0' * 64}\nRUN x"])
def test_what_is_no_digest(value: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        ImageReference.parse(PYTHON).pinned(value)


def test_a_tag_has_the_digest_of_the_platforms_own_manifest(registry: ImageRegistry) -> None:
    index = index_of("amd64", "arm64")
    registry.push("library/python", "3.12-slim-trixie", index)
    assert digest(registry) == entry_of(index, "amd64")
    assert digest(registry, platform=Platform.LINUX_AARCH64) == entry_of(index, "arm64")
    assert digest(registry) != digest(registry, platform=Platform.LINUX_AARCH64)
    assert registry.tokens, "a token was asked for"
    assert "application/vnd.oci.image.index.v1+json" in registry.accepted[0]


def test_of_several_variants_of_an_architecture_the_first_counts(registry: ImageRegistry) -> None:
    document = json.loads(index_of("amd64"))
    first = document["manifests"][0]
    document["manifests"].append({**first, "digest": f"sha256:{'f' * 64}"})
    registry.push("library/python", "3.12-slim-trixie", json.dumps(document).encode())
    assert digest(registry) == first["digest"]


@pytest.mark.parametrize("value", [None, 7, "sha256:0", f"sha256:{'0' * 64}\nRUN x"])
def test_an_entry_without_a_digest_is_refused(registry: ImageRegistry, value: object) -> None:
    document = json.loads(index_of("amd64"))
    document["manifests"][0]["digest"] = value
    registry.push("library/python", "3.12-slim-trixie", json.dumps(document).encode())
    with pytest.raises(FetchError, match="a digest that is none"):
        digest(registry)


def test_a_tag_of_one_image_has_the_digest_of_its_manifest(registry: ImageRegistry) -> None:
    pushed = registry.push_image("team/one", "1", b'{"os": "linux", "architecture": "amd64"}')
    assert digest(registry, "team/one:1") == pushed
    assert len(registry.tokens) == 1, "one token will do for manifest and configuration"
    with pytest.raises(FetchError, match="has no image for linux-aarch64"):
        digest(registry, "team/one:1", Platform.LINUX_AARCH64)


def test_an_image_whose_configuration_is_not_its_own_is_refused(registry: ImageRegistry) -> None:
    registry.push_image("team/one", "1", b'{"os": "linux", "architecture": "amd64"}')
    (blob,) = [path for path in registry.contents if "/blobs/" in path]
    registry.contents[blob] = ("application/octet-stream", b'{"os": "linux", "architecture": "arm64"}')
    with pytest.raises(FetchError, match="does not say which platform"):
        digest(registry, "team/one:1", Platform.LINUX_AARCH64)
    del registry.contents[blob]
    with pytest.raises(FetchError, match="does not say which platform"):
        digest(registry, "team/one:1")


@pytest.mark.parametrize("body", [b"{}", b'{"config": {}}', b'{"config": {"digest": "../x"}}'])
def test_a_manifest_without_a_configuration_is_no_image(registry: ImageRegistry, body: bytes) -> None:
    registry.push("team/one", "1", body, MANIFEST)
    with pytest.raises(FetchError, match="is no image"):
        digest(registry, "team/one:1")


def test_a_tag_that_is_not_there(registry: ImageRegistry) -> None:
    with pytest.raises(FetchError, match=r"no image `python:3\.12-slim-trixie`"):
        digest(registry)


def test_an_index_without_the_platform(registry: ImageRegistry) -> None:
    registry.push("library/python", "3.12-slim-trixie", index_of("amd64"))
    assert digest(registry)
    with pytest.raises(FetchError, match="has no image for linux-aarch64"):
        digest(registry, platform=Platform.LINUX_AARCH64)


def test_a_registry_that_asks_for_a_moment_gets_it(registry: ImageRegistry) -> None:
    pushed = registry.push("library/python", "3.12-slim-trixie")
    registry.busy = ["1"]
    start = time.monotonic()
    assert digest(registry) == pushed
    assert time.monotonic() - start > 0.9


@pytest.mark.parametrize("after", ["3600", "Fri, 31 Dec 2027 23:59:59 GMT", ""])
def test_a_registry_that_wants_to_be_left_alone_for_long_is(registry: ImageRegistry, after: str) -> None:
    registry.push("library/python", "3.12-slim-trixie")
    registry.busy = [after]
    start = time.monotonic()
    with pytest.raises(UnreachableError, match="asked too often"):
        digest(registry)
    assert time.monotonic() - start < 1
    assert len(registry.asked) == 1


def test_a_registry_that_is_always_busy_is_not_asked_for_ever(registry: ImageRegistry) -> None:
    registry.busy = ["0"] * 50
    with pytest.raises(UnreachableError):
        digest(registry)
    assert len(registry.asked) < 5


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>please log in</html>", "text/html"),
        (b"[]", "application/vnd.oci.image.index.v1+json"),
        (b"{}", "application/json"),
        (b'{"manifests": 3}', "application/vnd.oci.image.index.v1+json"),
        (b"\xff\xfe", "application/vnd.oci.image.index.v1+json"),
        (b"[" * 20000, "application/vnd.oci.image.index.v1+json"),
    ],
)
def test_what_is_no_manifest_has_no_digest(registry: ImageRegistry, body: bytes, kind: str) -> None:
    registry.push("library/python", "3.12-slim-trixie", body, kind)
    with pytest.raises(FetchError):
        digest(registry)


@pytest.mark.parametrize("realm", ["http://registry.example/token", "file:///etc/passwd"])
def test_no_token_is_asked_for_without_encryption(registry: ImageRegistry, realm: str) -> None:
    registry.push("library/python", "3.12-slim-trixie")
    registry.realm = realm
    with pytest.raises(FetchError, match="not known"):
        digest(registry)


def test_a_token_stays_with_the_registry_that_wanted_it(registry: ImageRegistry, tmp_path: Path) -> None:
    with ImageRegistry(tmp_path) as other:
        registry.moved = other.url
        with pytest.raises(FetchError):
            digest(registry)
        assert registry.authorizations[-1] == "Bearer the-token"
        assert other.authorizations[0] is None
