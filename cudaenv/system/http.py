"""HTTP, HTTPS and `file:` addresses: the only module that opens one."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import ipaddress
import mimetypes
import netrc
import os
import re
import ssl
import string
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final, Self, TypeVar
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from cudaenv import __version__
from cudaenv.errors import FetchError

T = TypeVar("T")

# User name and password for a host name, None where it needs none.
Credentials = Callable[[str], tuple[str, str] | None]

MAX_REDIRECTS: Final = 5
PAUSES_S: Final = (0.2, 0.6, 1.5)  # before the second, third and fourth attempt
TIMEOUT_S: Final = 30.0
UNKNOWN_TYPE: Final = "application/octet-stream"

_CHUNK = 1 << 16
_REDIRECTS = {301, 302, 303, 307, 308}
# Errors of servers that another attempt does not change: not implemented, HTTP version.
_LASTING = {501, 505}
_NETWORK_HINT = "check the network, and `HTTPS_PROXY` and `SSL_CERT_FILE` if yours needs them"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address answered.

    `status` is 200 (all of it), 206 (exactly the part that was asked for) or one that the caller
    allowed. A part was asked for and `status` is 200: the server does not do ranges, and `body` is
    empty. `url` is where redirects led, `total` the whole file's size in bytes (None: not told),
    `content_type` the media type without parameters.
    """

    url: str
    status: int
    body: bytes = b""
    total: int | None = None
    content_type: str = UNKNOWN_TYPE


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a file: from `start` up to but not including `end`, or the last `suffix` bytes."""

    start: int | None
    end: int | None
    suffix: int | None

    @classmethod
    def of(cls, start: int | None, end: int | None, suffix: int | None) -> _Part | None:
        if start is None and end is None and suffix is None:
            return None
        if suffix is not None:
            valid = start is None and end is None and suffix > 0
        else:
            valid = start is not None and start >= 0 and (end is None or start < end)
        if not valid:
            raise ValueError(f"no part of a file: {start=}, {end=}, {suffix=}")
        return cls(start, end, suffix)

    @property
    def header(self) -> str:
        """The value of the Range header, which counts the last byte in."""
        if self.suffix is not None:
            return f"bytes=-{self.suffix}"
        return f"bytes={self.start}-{'' if self.end is None else self.end - 1}"

    def within(self, total: int) -> tuple[int, int]:
        """Return start and end in a file of `total` bytes; nothing is left of it if they are equal."""
        if self.suffix is not None:
            return max(total - self.suffix, 0), total
        start = min(self.start or 0, total)
        return start, total if self.end is None else min(self.end, total)


class _TransientError(Exception):
    """A failure that another attempt may not meet."""


class Client:
    """Fetches addresses; may be used by several threads, and keeps connections until it is closed.

    `credentials` answers for a host name and defaults to `~/.netrc` (or `$NETRC`); they go to that host
    alone. Proxies come from the environment as in `urllib`, certificates from the system's store,
    SSL_CERT_FILE or SSL_CERT_DIR. `timeout` (seconds) bounds each wait for the network, not the whole
    answer. Server errors, 429 and broken connections are tried again after each of `pauses` (seconds).

    Every failure is a FetchError. Addresses in it bear no credentials and no query.
    """

    def __init__(
        self,
        *,
        credentials: Credentials | None = None,
        timeout: float = TIMEOUT_S,
        pauses: Sequence[float] = PAUSES_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._credentials = credentials or netrc_credentials()
        self._timeout = timeout
        self._pauses = tuple(pauses)
        self._given_context = context
        self._proxies = urllib.request.getproxies()
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept; the client can still be used and opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def get(
        self,
        url: str,
        *,
        limit: int,
        start: int | None = None,
        end: int | None = None,
        suffix: int | None = None,
        accept: str = "*/*",
        allow: Collection[int] = (),
    ) -> Answer:
        """Fetch a file, its bytes from `start` up to but not including `end`, or its last `suffix` bytes.

        FetchError where the answer is larger than `limit` bytes, and for any error status that is not
        in `allow`. https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
        """
        part = _Part.of(start, end, suffix)
        if _checked(url).scheme == "file":
            return _read_file(url, part, limit, allow)
        headers = {"Accept": accept} | ({"Range": part.header} if part else {})

        def receive(where: str, response: http.client.HTTPResponse) -> Answer:
            return _answer(where, response, part, limit)

        return self._fetch("GET", url, headers, allow, receive)

    def head(self, url: str, *, allow: Collection[int] = ()) -> Answer:
        """Ask for size and type without the body. FetchError as in `get`."""
        if _checked(url).scheme == "file":
            return _head_of_file(url, allow)

        def receive(where: str, response: http.client.HTTPResponse) -> Answer:
            response.read()
            return Answer(where, response.status, b"", _length(response), _content_type(response))

        return self._fetch("HEAD", url, {"Accept": "*/*"}, allow, receive)

    def download(self, url: str, file: BinaryIO, *, limit: int) -> str:
        """Replace what is in `file` by what is at `url`; return its sha256 in hexadecimal.

        FetchError where it is larger than `limit` bytes, and for any error status.
        """
        if _checked(url).scheme == "file":
            return _copy_file(url, file, limit)

        def receive(where: str, response: http.client.HTTPResponse) -> str:
            return _copy(_chunks(where, response, limit), file)

        return self._fetch("GET", url, {"Accept": "*/*"}, (), receive)

    def _fetch(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        allow: Collection[int],
        receive: Callable[[str, http.client.HTTPResponse], T],
    ) -> T:
        """Make the request until it succeeds, fails for good, or was tried often enough."""
        pauses = iter(self._pauses)
        while True:
            try:
                return self._follow(method, url, headers, allow, receive)
            except (OSError, http.client.HTTPException, _TransientError) as error:
                pause = next(pauses, None)
                if pause is None or _is_certificate_error(error):
                    raise _failure(url, error) from error
            time.sleep(pause)

    def _follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        allow: Collection[int],
        receive: Callable[[str, http.client.HTTPResponse], T],
    ) -> T:
        where = url
        for _ in range(MAX_REDIRECTS + 1):
            with self._exchange(method, where, headers) as response:
                location = response.getheader("Location")
                if response.status not in {200, 206}:
                    _drain(response)
                if response.status not in _REDIRECTS or location is None:
                    _check_status(where, response.status, {*allow, 200, 206 if "Range" in headers else 200})
                    return receive(where, response)
            where = redirect_target(where, location)
        raise FetchError(
            f"`{shown(url)}` redirects more than {MAX_REDIRECTS} times", [f"last to {shown(where)}"]
        )

    @contextlib.contextmanager
    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; keep the connection if the whole answer was read when the block ends."""
        parts = urlsplit(url)
        own = {**headers, **self._identity(parts)}
        if parts.scheme in self._proxies and not urllib.request.proxy_bypass(parts.netloc):
            request = urllib.request.Request(url, headers=own, method=method)  # noqa: S310 (scheme is checked)
            with self._proxy_opener.open(request, timeout=self._timeout) as response:
                yield response
            return
        connection, response = self._send(method, parts, own)
        try:
            yield response
        finally:
            if response.isclosed() and connection.sock is not None:
                with self._lock:
                    self._idle.setdefault((parts.scheme, parts.netloc), []).append(connection)
            else:
                response.close()
                connection.close()

    def _send(
        self, method: str, parts: SplitResult, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        while True:
            with self._lock:
                idle = self._idle.get((parts.scheme, parts.netloc))
                used = idle.pop() if idle else None
            connection = used or self._connection(parts)
            try:
                connection.request(method, target, headers=dict(headers))
                return connection, connection.getresponse()
            except BaseException as error:
                connection.close()
                # Servers close connections that nobody used for a while; a fresh one settles it.
                if used is None or not isinstance(error, ConnectionError | ssl.SSLError):
                    raise

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=self._timeout, context=self._context)
        return http.client.HTTPConnection(host, parts.port, timeout=self._timeout)

    # Both are made when they are needed: reading a machine's certificates takes tens of milliseconds.
    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._given_context or ssl.create_default_context()

    @cached_property
    def _proxy_opener(self) -> urllib.request.OpenerDirector:
        """Opens and no more: redirects and error statuses are answers like others."""
        opener = urllib.request.OpenerDirector()
        opener.add_handler(urllib.request.ProxyHandler(self._proxies))
        opener.add_handler(urllib.request.HTTPHandler())
        opener.add_handler(urllib.request.HTTPSHandler(context=self._context))
        return opener

    def _identity(self, parts: SplitResult) -> dict[str, str]:
        """Return the headers that say who asks; made anew for each host that redirects lead to."""
        # Offsets and sizes are those of the file, so no compression on the way.
        headers = {"User-Agent": f"cudaenv/{__version__}", "Accept-Encoding": "identity"}
        known = self._credentials(parts.hostname or "")
        if known is not None:
            token = base64.b64encode(":".join(known).encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        return headers


def netrc_credentials(file: Path | None = None) -> Credentials:
    """Return a look-up in `file`, `$NETRC` or `~/.netrc`, which is read at the first question.

    Only entries that name the host count: a `default` entry would give a password to every server.
    A file that cannot be read has no entries, as for pip.
    """
    lock = threading.Lock()
    hosts: dict[str, tuple[str, str]] | None = None

    def look_up(host: str) -> tuple[str, str] | None:
        nonlocal hosts
        with lock:
            if hosts is None:
                hosts = _netrc_hosts(file)
        return hosts.get(host.lower())

    return look_up


def _netrc_hosts(file: Path | None) -> dict[str, tuple[str, str]]:
    named = file or os.environ.get("NETRC")
    try:
        # Without a name, the module also checks that nobody else can read the file.
        found = netrc.netrc(None if named is None else str(named)).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}
    return {
        host.lower(): (login or "", password or "")
        for host, (login, _, password) in found.items()
        if host != "default"
    }


def shown(url: str) -> str:
    """Return an address as messages may show it: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    host = parts.netloc.rpartition("@")[2]
    return _printable(f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def redirect_target(url: str, location: str) -> str:
    """Return the address that `location` means in an answer from `url`.

    FetchError if it is no HTTP address, or gives up encryption and leaves this machine.
    """
    try:
        # Header values arrive as latin-1; some servers send bare spaces and umlauts.
        target = urljoin(url, quote(location, safe=string.punctuation, encoding="latin-1", errors="replace"))
    except ValueError as error:
        raise FetchError(f"`{shown(url)}` redirects to something that is no address") from error
    source, parts = urlsplit(url), _checked(target)
    is_local = is_loopback(source.hostname or "") and is_loopback(parts.hostname or "")
    if parts.scheme == "file" or (source.scheme == "https" and parts.scheme != "https" and not is_local):
        raise FetchError(
            f"`{shown(url)}` redirects to `{shown(target)}`, which is not followed",
            [f"the redirect leads from {source.scheme} to {parts.scheme}"],
            "an index that is fetched by https has to stay there",
        )
    return target


def _checked(url: str) -> SplitResult:
    """Split an address that may be opened."""
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
    is_known = parts.scheme == "file" or (parts.scheme in {"http", "https"} and has_host)
    if not is_known or not has_port or not re.fullmatch(r"[!-~]+", url):
        raise FetchError(f"`{shown(url)}` is not an http, https or file address")
    return parts


def _check_status(url: str, status: int, expected: Collection[int]) -> None:
    if status in expected:
        return
    found = f"the server answered {_status_text(status)}"
    if (status >= 500 and status not in _LASTING) or status == 429:
        raise _TransientError(found)
    hint = ""
    if status in {401, 403, 407}:
        hint = f"credentials for `{urlsplit(url).hostname}` belong into `~/.netrc`"
    raise FetchError(f"cannot fetch `{shown(url)}`", [found], hint)


def _status_text(status: int) -> str:
    """The status with its usual phrase: what the server writes there is its own affair."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _is_certificate_error(error: Exception) -> bool:
    return isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError) or isinstance(
        error, ssl.SSLCertVerificationError
    )


def _failure(url: str, error: Exception) -> FetchError:
    if isinstance(error, _TransientError):
        return FetchError(f"cannot fetch `{shown(url)}`", [str(error)])
    if _is_certificate_error(error):
        hint = "if this network has a certificate authority of its own, name it in `SSL_CERT_FILE`"
    else:
        hint = _NETWORK_HINT
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return FetchError(f"cannot fetch `{shown(url)}`", [_printable(str(text))], hint)


def _printable(text: str) -> str:
    """Keep what others wrote from steering the terminal, or filling it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:500])


def _answer(url: str, response: http.client.HTTPResponse, part: _Part | None, limit: int) -> Answer:
    kind = _content_type(response)
    if response.status not in {200, 206}:
        return Answer(url, response.status, content_type=kind)
    if part is None:
        body = b"".join(_chunks(url, response, limit))
        return Answer(url, 200, body, len(body), kind)
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", response.getheader("Content-Range") or "")
    if response.status == 200 or found is None:
        return Answer(url, 200, b"", _length(response) if response.status == 200 else None, kind)
    first, last, total = map(int, found.groups())
    if (first, last + 1) != part.within(total):
        # Some servers take the last N bytes for the first N.
        return Answer(url, 200, b"", total, kind)
    body = b"".join(_chunks(url, response, limit))
    if len(body) != last + 1 - first:
        raise _TransientError(f"{len(body)} bytes came where {last + 1 - first} were announced")
    return Answer(url, 206, body, total, kind)


def _content_type(response: http.client.HTTPResponse) -> str:
    # Without the header the standard library says text/plain, as mail does.
    return response.headers.get_content_type() if "Content-Type" in response.headers else UNKNOWN_TYPE


def _length(response: http.client.HTTPResponse) -> int | None:
    text = response.getheader("Content-Length") or ""
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


def _chunks(url: str, response: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
    """Yield the body, which is whole when this ends without an error."""
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise FetchError(f"`{shown(url)}` was answered in compressed form, which was not asked for")
    announced = response.length
    if announced is not None and announced > limit:
        raise _too_large(url, limit)
    received = 0
    while chunk := response.read(min(_CHUNK, limit + 1 - received)):
        received += len(chunk)
        if received > limit:
            raise _too_large(url, limit)
        yield chunk
    if announced is not None and received < announced:
        raise _TransientError(f"the connection ended after {received} of {announced} bytes")


def _too_large(url: str, limit: int) -> FetchError:
    return FetchError(f"`{shown(url)}` is larger than what is expected there", [f"more than {limit} bytes"])


def _drain(response: http.client.HTTPResponse) -> None:
    """Read the short text of a redirect or an error, so that the connection can be used again."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        if response.chunked or (response.length is not None and response.length <= _CHUNK):
            response.read(_CHUNK)


def _copy(chunks: Iterator[bytes], file: BinaryIO) -> str:
    file.seek(0)
    file.truncate()
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()


def _read_file(url: str, part: _Part | None, limit: int, allow: Collection[int]) -> Answer:
    path, total = _local_file(url)
    kind = mimetypes.guess_type(path.name)[0] or UNKNOWN_TYPE
    if total is None:
        return _missing(url, allow)
    start, end = part.within(total) if part else (0, total)
    if part and start == end:
        _check_status(url, 416, allow)
        return Answer(url, 416)
    if end - start > limit:
        raise _too_large(url, limit)
    try:
        with path.open("rb") as file:
            file.seek(start)
            body = file.read(end - start)
    except OSError as error:
        raise _failure(url, error) from error
    return Answer(url, 206 if part else 200, body, total, kind)


def _head_of_file(url: str, allow: Collection[int]) -> Answer:
    path, total = _local_file(url)
    if total is None:
        return _missing(url, allow)
    return Answer(url, 200, b"", total, mimetypes.guess_type(path.name)[0] or UNKNOWN_TYPE)


def _copy_file(url: str, file: BinaryIO, limit: int) -> str:
    path, total = _local_file(url)
    if total is None:
        _missing(url, ())
    if (total or 0) > limit:
        raise _too_large(url, limit)
    try:
        with path.open("rb") as source:
            return _copy(iter(lambda: source.read(_CHUNK), b""), file)
    except OSError as error:
        raise _failure(url, error) from error


def _local_file(url: str) -> tuple[Path, int | None]:
    """Return path and size of the regular file at a `file:` address; None: there is none.

    A folder stands for its `index.html`, as on a server.
    """
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise FetchError(f"`{shown(url)}` names a host, which files have none of")
    path = Path(urllib.request.url2pathname(parts.path))
    try:
        path = path / "index.html" if path.is_dir() else path
        return path, path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise _failure(url, error) from error


def _missing(url: str, allow: Collection[int]) -> Answer:
    if 404 not in allow:
        raise FetchError(f"cannot fetch `{shown(url)}`", ["there is no such file"])
    return Answer(url, 404)
