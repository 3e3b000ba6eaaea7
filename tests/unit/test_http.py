"""The HTTP client against servers on the loopback that behave, fail, redirect, lie and hang up."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import re
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaenv.errors import FetchError, UnreachableError
from cudaenv.model.addresses import is_loopback
from cudaenv.system.addresses import redirect_target, shown
from cudaenv.system.answers import Answer
from cudaenv.system.credentials import netrc_credentials
from cudaenv.system.http import Client
from tests.support.index import IndexServer, Request

BODY = bytes(range(256)) * 40
OPENSSL = shutil.which("openssl")


@pytest.fixture(autouse=True)
def no_local_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "file.bin").write_bytes(BODY)
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[IndexServer]:
    with IndexServer(folder) as server:
        yield server


@pytest.fixture
def client() -> Iterator[Client]:
    with quick() as client:
        yield client


def quick(timeout: float = 5) -> Client:
    return Client(timeout=timeout, pauses=(0, 0, 0))


class Scripted:
    """A server that answers the n-th request on its n-th connection with these bytes, whatever was asked.

    With several answers for one connection, the connection stays open between them.
    """

    def __init__(self, *connections: bytes | list[bytes], context: ssl.SSLContext | None = None) -> None:
        self.heads: list[bytes] = []
        self.count = 0
        script = iter(connections)
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                owner.count += 1
                answers = next(script, [])
                stream: socket.socket = self.request
                if context is not None:
                    stream = context.wrap_socket(stream, server_side=True)
                with stream:
                    for answer in [answers] if isinstance(answers, bytes) else answers:
                        owner.heads.append(_head(stream))
                        stream.sendall(answer)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Clients that hang up are part of the test."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _head(stream: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = stream.recv(1)
        if not byte:
            raise ConnectionError
        head += byte
    return head


def answer(body: bytes = b"", status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({}, BODY),
        ({"start": 0, "end": 1}, BODY[:1]),
        ({"start": 300, "end": 310}, BODY[300:310]),
        ({"start": 10_000}, BODY[10_000:]),
        ({"start": 10_000, "end": 99_999}, BODY[10_000:]),
        ({"suffix": 7}, BODY[-7:]),
        ({"suffix": 99_999}, BODY),
    ],
)
def test_whole_files_and_parts(
    server: IndexServer, client: Client, part: dict[str, Any], expected: bytes
) -> None:
    found = client.get(f"{server.url}/file.bin", limit=len(BODY), **part)
    assert (found.status, found.body, found.total) == (206 if part else 200, expected, len(BODY))


def test_which_kind_is_asked_for_and_which_came() -> None:
    kinds = ["text/html; charset=UTF-8", "application/json"]
    with (
        Scripted(
            *(answer(b"x", "200 OK", f"Content-Type: {kind}") for kind in kinds), answer(b"x")
        ) as server,
        quick() as client,
    ):
        asked = [
            client.get(f"{server.url}/x", limit=9, accept=kind) for kind in ("a/b, c/d;q=0.1", "e/f", "")
        ]
    assert [found.content_type for found in asked] == [*kinds, ""]
    accepted = [re.findall(rb"(?im)^Accept: (.*)\r$", head) for head in server.heads]
    assert accepted == [[b"a/b, c/d;q=0.1"], [b"e/f"], [b"*/*"]]


@pytest.mark.parametrize(
    "part",
    [{"start": -1}, {"start": 5, "end": 5}, {"end": 5}, {"suffix": 0}, {"suffix": 3, "start": 1}],
)
def test_parts_that_are_none(server: IndexServer, client: Client, part: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no part"):
        client.get(f"{server.url}/file.bin", limit=10, **part)


def test_head(server: IndexServer, client: Client) -> None:
    assert client.head(f"{server.url}/file.bin") == Answer(200, total=len(BODY))
    with pytest.raises(FetchError, match="none"):
        client.head(f"{server.url}/none")


def test_nothing_there(server: IndexServer, client: Client) -> None:
    with pytest.raises(FetchError, match="cannot fetch") as caught:
        client.get(f"{server.url}/none", limit=10)
    assert "404 Not Found" in caught.value.details[0]
    assert client.get(f"{server.url}/none", limit=10, allow={404}) == Answer(404)


def test_part_behind_the_end(server: IndexServer, client: Client) -> None:
    url = f"{server.url}/file.bin"
    assert client.get(url, start=len(BODY), end=len(BODY) + 5, limit=10, allow={416}).status == 416
    with pytest.raises(FetchError, match=re.escape("file.bin")) as caught:
        client.get(url, start=len(BODY), limit=10)
    assert "416" in caught.value.details[0]


def test_limit(server: IndexServer, client: Client) -> None:
    url = f"{server.url}/file.bin"
    assert client.get(url, limit=len(BODY)).body == BODY
    for fetch in (
        lambda: client.get(url, limit=len(BODY) - 1),
        lambda: client.get(url, start=0, end=11, limit=10),
        lambda: client.download(url, io.BytesIO(), limit=len(BODY) - 1),
    ):
        with pytest.raises(FetchError, match="larger than"):
            fetch()


def test_limit_holds_where_no_size_is_announced(client: Client) -> None:
    chunk = b"FFFF\r\n" + bytes(0xFFFF) + b"\r\n"
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 4
    until_close = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(200_000)
    for script in (endless, until_close):
        with Scripted(script) as server, pytest.raises(FetchError, match="larger than"):
            client.get(f"{server.url}/x", limit=100_000)


def test_too_much_is_refused_before_it_comes(client: Client) -> None:
    with Scripted(answer(b"x", length=1 << 40)) as server, pytest.raises(FetchError, match="larger than"):
        client.get(f"{server.url}/x", limit=100)


def test_chunked_answers(client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Scripted(head + b"3\r\nabc\r\n2\r\n") as broken, pytest.raises(FetchError):
        client.get(f"{broken.url}/x", limit=10)
    with Scripted(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") as server:
        assert client.get(f"{server.url}/x", limit=5).body == b"abcde"


def test_server_without_ranges(server: IndexServer, client: Client) -> None:
    server.drop_ranges()
    found = client.get(f"{server.url}/file.bin", suffix=5, limit=5)
    assert (found.status, found.body, found.total) == (200, b"", len(BODY))


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-4/10",
        "bytes 5-8/10",
        "bytes 5-9/*",
        "bytes 9-5/10",
        "pages 5-9/10",
        "",
        "bytes 5-9/" + "9" * 30,
    ],
)
def test_another_part_than_asked_counts_as_no_ranges(client: Client, content_range: str) -> None:
    script = answer(b"abcde", "206 Partial Content", f"Content-Range: {content_range}")
    with Scripted(script) as server:
        found = client.get(f"{server.url}/x", suffix=5, limit=5)
    assert (found.status, found.body) == (200, b"")


def test_part_of_another_size_than_announced(client: Client) -> None:
    script = answer(b"abc", "206 Partial Content", "Content-Range: bytes 5-9/10")
    with Scripted(*[script] * 4) as server, pytest.raises(FetchError) as caught:
        client.get(f"{server.url}/x", suffix=5, limit=5)
    assert caught.value.details == ("3 bytes came where 5 were announced",)


def test_part_that_nobody_asked_for(client: Client) -> None:
    script = answer(b"abcde", "206 Partial Content", "Content-Range: bytes 5-9/10")
    with Scripted(script) as server, pytest.raises(FetchError, match="cannot fetch"):
        client.get(f"{server.url}/x", limit=5)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_failures_that_pass(server: IndexServer, client: Client, status: int) -> None:
    server.fail("/file.bin", status, times=3)
    assert client.get(f"{server.url}/file.bin", limit=len(BODY)).body == BODY
    assert len(server.requests) == 4


@pytest.mark.parametrize(("status", "attempts"), [(503, 4), (429, 4), (501, 1), (401, 1), (404, 1), (410, 1)])
def test_failures_that_stay(server: IndexServer, client: Client, status: int, attempts: int) -> None:
    server.fail("/file.bin", status)
    with pytest.raises(FetchError, match=re.escape(f"cannot fetch `{server.url}/file.bin`")) as caught:
        client.get(f"{server.url}/file.bin", limit=len(BODY))
    assert f"the server answered {status} " in caught.value.details[0]
    assert isinstance(caught.value, UnreachableError) == (attempts > 1)
    assert ("netrc" in caught.value.hint) == (status == 401)
    assert len(server.requests) == attempts


def test_allowed_server_error_is_an_answer(server: IndexServer, client: Client) -> None:
    server.fail("/file.bin", 503)
    assert client.get(f"{server.url}/file.bin", limit=9, allow={503}).status == 503
    assert len(server.requests) == 1


def test_truncated_answer(server: IndexServer, client: Client) -> None:
    server.truncate("/file.bin", 100)
    for fetch in (
        lambda: client.get(f"{server.url}/file.bin", limit=len(BODY)),
        lambda: client.get(f"{server.url}/file.bin", start=0, end=5000, limit=len(BODY)),
        lambda: client.download(f"{server.url}/file.bin", io.BytesIO(), limit=len(BODY)),
    ):
        server.requests.clear()
        with pytest.raises(FetchError) as caught:
            fetch()
        assert "ended after 100 of" in caught.value.details[0]
        assert len(server.requests) == 4


def test_slow_server(server: IndexServer) -> None:
    server.slow("/file.bin", 30)
    with quick(timeout=0.05) as client, pytest.raises(UnreachableError) as caught:
        client.get(f"{server.url}/file.bin", limit=len(BODY))
    assert caught.value.details == ("timed out",)
    assert "HTTPS_PROXY" in caught.value.hint


def test_nobody_listens(client: Client) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(UnreachableError) as caught:
        client.get(f"http://127.0.0.1:{port}/x", limit=1)
    assert "refused" in caught.value.details[0].lower()


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\x1b[2Jnonsense\r\n\r\n",
        b"HTTP/1.1 9999 \x1b[31m\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 299 \x1b[31m\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_answers_that_are_none(client: Client, script: bytes) -> None:
    with Scripted(*[script] * 4) as server, pytest.raises(FetchError) as caught:
        client.get(f"{server.url}/x", limit=100)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_redirects_are_followed(server: IndexServer, client: Client) -> None:
    for number in range(5):
        server.redirect(f"/{number}", f"/{number + 1}")
    server.redirect("/5", f"{server.url}/file.bin")
    found = client.get(f"{server.url}/1", limit=len(BODY), start=3, end=9)
    assert found.body == BODY[3:9]
    assert server.requests[-1] == Request("GET", "/file.bin", "bytes=3-8")
    with pytest.raises(FetchError, match="redirects more than 5 times"):
        client.get(f"{server.url}/0", limit=len(BODY))


@pytest.mark.parametrize(
    ("source", "location", "target"),
    [
        ("https://a.example/x/y", "/z", "https://a.example/z"),
        ("https://a.example/x/y", "z?q=1", "https://a.example/x/z?q=1"),
        ("https://a.example/x", "https://b.example/y", "https://b.example/y"),
        ("https://a.example/x", "//b.example/y", "https://b.example/y"),
        ("http://a.example/x", "https://b.example/y", "https://b.example/y"),
        ("http://a.example/x", "http://b.example/y", "http://b.example/y"),
        ("https://a.example/x", "/torch-1+cu126 \xe9.whl", "https://a.example/torch-1+cu126%20%E9.whl"),
        ("https://a.example/x", "/torch%2B.whl", "https://a.example/torch%2B.whl"),
        ("https://127.0.0.1:1/x", "http://localhost:2/y", "http://localhost:2/y"),
        ("https://[::1]:1/x", "http://127.0.0.2/y", "http://127.0.0.2/y"),
    ],
)
def test_redirect_targets(source: str, location: str, target: str) -> None:
    assert redirect_target(source, location) == target


@pytest.mark.parametrize(
    ("source", "location"),
    [
        ("https://a.example/x", "http://a.example/x"),
        ("https://a.example/x", "http://127.0.0.1/x"),
        ("https://127.0.0.1/x", "http://a.example/x"),
        ("https://127.0.0.1/x", "http://127.0.0.1.a.example/x"),
        ("http://a.example/x", "file:///secret"),
        ("http://127.0.0.1/x", "file:///secret"),
        ("http://a.example/x", "ftp://a.example/x"),
        ("http://a.example/x", "http://user:s3cret@a.example/x"),
        ("http://a.example/x", "http://[bad/x"),
        ("http://a.example/x", "http://a.example:99999/x"),
        ("http://a.example/x", "http://a..example/x"),
        ("http://a.example/x", "http://:80/x"),
    ],
)
def test_redirects_that_are_not_followed(source: str, location: str) -> None:
    with pytest.raises(FetchError) as caught:
        redirect_target(source, location)
    assert "s3cret" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_location_is_an_address_or_refused(location: str) -> None:
    try:
        target = redirect_target("https://a.example/x", location)
    except FetchError:
        return
    assert target.startswith("https://")
    assert target.isascii()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "/x",
        "ftp://a.example/x",
        "http://",
        "http:///x",
        "http://a.example:0/x",
        "http://a.example:http/x",
        "http://a.example/a b",
        "http://a.example/\r\nX: y",
        "http://ä.example/",
        f"http://{'a' * 64}.example/",
        "http://[::1/x",
        "file:///x",
    ],
)
def test_addresses_that_are_none(client: Client, url: str) -> None:
    for fetch in (client.head, lambda url: client.get(url, limit=1)):
        with pytest.raises(FetchError):
            fetch(url)


def test_messages_bear_no_secrets(server: IndexServer, client: Client) -> None:
    port = server.url.rpartition(":")[2]
    with pytest.raises(FetchError) as caught:
        client.get(f"http://me:word@127.0.0.1:{port}/none?token=word#word", limit=1)
    assert "netrc" in caught.value.hint
    assert "word" not in str(caught.value).replace("password", "")
    assert server.requests == []
    with pytest.raises(FetchError) as caught:
        client.get(f"{server.url}/none?token=word", limit=1)
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://u:p@a.example:8443/x?y#z", "https://a.example:8443/x"),
        ("https://a.example/\x1b[2J", "https://a.example/?[2J"),
        ("http://[bad", "an address that cannot be read"),
    ],
)
def test_shown_addresses(url: str, text: str) -> None:
    assert shown(url) == text


def test_loopback_hosts() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["", "a.example", "localhost.a.example", "10.0.0.1", "0.0.0.0", "::"]))  # noqa: S104


def test_credentials_go_to_their_host_only(server: IndexServer) -> None:
    server.require_auth("/", "me", "secret-word")
    asked = []

    def credentials(host: str) -> tuple[str, str] | None:
        asked.append(host)
        return ("me", "secret-word") if host == "127.0.0.1" else None

    with Client(credentials=credentials, pauses=()) as client:
        assert client.get(f"{server.url}/file.bin", limit=len(BODY)).body == BODY
        elsewhere = server.url.replace("127.0.0.1", "localhost")
        with Scripted(answer(b"", "302 Found", f"Location: {elsewhere}/file.bin")) as other:
            with pytest.raises(FetchError) as caught:
                client.get(f"{other.url}/file.bin", limit=len(BODY))
            assert b"Authorization: Basic " + base64.b64encode(b"me:secret-word") in other.heads[0]
    assert "401" in caught.value.details[0]
    assert "`localhost`" in caught.value.hint
    assert "secret-word" not in str(caught.value)
    assert asked == ["127.0.0.1", "127.0.0.1", "localhost"]


def test_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine A.example login me password word\ndefault login x password y\n")
    monkeypatch.setenv("NETRC", str(file))
    look_up = netrc_credentials()
    assert look_up("a.example") == ("me", "word")
    assert look_up("b.example") is None
    assert look_up("default") is None
    for broken in (b"machine", b"\xff\xfe", b"nonsense here"):
        file.write_bytes(broken)
        assert netrc_credentials()("a.example") is None
    file.unlink()
    assert netrc_credentials()("a.example") is None


def test_netrc_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: IndexServer
) -> None:
    server.require_auth("/", "me", "word")
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    file = tmp_path / ".netrc"
    file.write_text("machine 127.0.0.1 login me password word\n")
    file.chmod(0o600)
    with quick() as client:
        assert client.get(f"{server.url}/file.bin", limit=len(BODY)).body == BODY


def test_proxy(monkeypatch: pytest.MonkeyPatch, server: IndexServer) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    with quick() as client:
        found = client.get("http://index.invalid/file.bin", start=1, end=4, limit=9)
        assert (found.status, found.body) == (206, BODY[1:4])
        assert client.head("http://index.invalid/file.bin").total == len(BODY)
        with pytest.raises(FetchError) as caught:
            client.get("http://index.invalid/none", limit=9)
        assert "404" in caught.value.details[0]
        server.redirect("/moved", "http://other.invalid/file.bin")
        assert client.get("http://index.invalid/moved", limit=len(BODY)).body == BODY


def test_hosts_that_bypass_the_proxy(monkeypatch: pytest.MonkeyPatch, server: IndexServer) -> None:
    with Scripted() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with quick() as client:
            assert client.get(f"{server.url}/file.bin", limit=len(BODY)).body == BODY
        assert proxy.count == 0


def test_connection_is_used_again(client: Client) -> None:
    answers = [
        answer(b"not here", "404 Not Found"),
        answer(b"see there", "302 Found", "Location: /b"),
        answer(b"ab"),
        answer(b"", length=20),
        answer(b"cd"),
    ]
    with Scripted(answers) as server:
        assert client.get(f"{server.url}/x.metadata", limit=9, allow={404}).status == 404
        assert client.get(f"{server.url}/a", limit=9).body == b"ab"
        assert client.head(f"{server.url}/a").total == 20
        assert client.get(f"{server.url}/c", limit=9).body == b"cd"
        assert server.count == 1
    assert b"accept-encoding: identity" in server.heads[0].lower()
    assert b"user-agent: cudaenv/" in server.heads[0].lower()


def test_connection_that_the_server_gave_up(server: IndexServer) -> None:
    # No pauses: nothing but the fresh connection may count as the second attempt.
    with Scripted([answer(b"ab")], [answer(b"cd")]) as short, Client(pauses=()) as client:
        assert client.get(f"{short.url}/a", limit=9).body == b"ab"
        assert client.get(f"{short.url}/b", limit=9).body == b"cd"
        assert short.count == 2


def test_unread_answers_do_not_disturb_the_next(client: Client) -> None:
    too_large = answer(b"x" * 50)
    with Scripted([too_large, too_large], [answer(b"cd")]) as server:
        with pytest.raises(FetchError, match="larger"):
            client.get(f"{server.url}/a", limit=9)
        assert client.get(f"{server.url}/b", limit=9).body == b"cd"


def test_many_threads(server: IndexServer, client: Client) -> None:
    def fetch(start: int) -> bytes:
        return client.get(f"{server.url}/file.bin", start=start, end=start + 50, limit=50).body

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fetch, range(60))) == [BODY[start : start + 50] for start in range(60)]


def test_download(server: IndexServer, client: Client) -> None:
    file = io.BytesIO(b"what was there before" * 1000)
    digest = client.download(f"{server.url}/file.bin", file, limit=len(BODY))
    assert (file.getvalue(), digest) == (BODY, hashlib.sha256(BODY).hexdigest())
    with pytest.raises(FetchError):
        client.download(f"{server.url}/none", file, limit=len(BODY))


def test_download_begins_again_after_a_break(client: Client) -> None:
    file = io.BytesIO()
    with Scripted(answer(BODY[:1000], length=len(BODY)), answer(BODY)) as server:
        digest = client.download(f"{server.url}/x", file, limit=len(BODY))
    assert (file.getvalue(), digest) == (BODY, hashlib.sha256(BODY).hexdigest())


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
    arguments = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [OPENSSL or "", *arguments.split(), "-keyout", str(key), "-out", str(file)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context


@pytest.mark.skipif(OPENSSL is None, reason="needs openssl")
def test_certificates(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, server: IndexServer
) -> None:
    file, context = certificate
    moved = answer(b"", "302 Found", f"Location: {server.url}/file.bin")
    make: Callable[..., Scripted] = functools.partial(Scripted, context=context)
    with make(*[answer(b"ab")] * 4) as unknown, quick() as client:
        with pytest.raises(FetchError) as caught:
            client.get(f"{unknown.url}/x", limit=9)
        assert unknown.count == 1
    assert "SSL_CERT_FILE" in caught.value.hint
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with make([answer(b"ab"), moved]) as known, quick() as client:
        assert client.get(f"{known.url}/x", limit=9).body == b"ab"
        assert client.get(f"{known.url}/y", limit=len(BODY)).body == BODY
        assert known.count == 1
