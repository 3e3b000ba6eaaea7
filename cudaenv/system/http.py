"""HTTP and HTTPS: the only module that opens an address."""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import BinaryIO, Final, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

from cudaenv import __version__
from cudaenv.errors import FetchError, UnreachableError
from cudaenv.system.addresses import checked, printable, redirect_target, shown
from cudaenv.system.answers import Answer, Part, TransientError, copy_body, drain, length, read_answer
from cudaenv.system.credentials import Credentials, netrc_credentials, where_credentials_go

T = TypeVar("T")

MAX_REDIRECTS: Final = 5
PAUSES_S: Final = (0.2, 0.6, 1.5)  # before the second, third and fourth attempt
TIMEOUT_S: Final = 30.0

_REDIRECTS = {301, 302, 303, 307, 308}
# Errors of servers that another attempt does not change: not implemented, HTTP version.
_LASTING = {501, 505}
_NETWORK_HINT = "check the network, and `HTTPS_PROXY` and `SSL_CERT_FILE` if yours needs them"


class Client:
    """Fetches addresses; may be used by several threads, and keeps connections until it is closed.

    `credentials` answers for a host name and defaults to `~/.netrc` (or `$NETRC`); they go to that host
    alone. Proxies come from the environment as in `urllib`, certificates from the system's store,
    SSL_CERT_FILE or SSL_CERT_DIR. `timeout` (seconds) bounds each wait for the network, not the whole
    answer. Server errors, 429 and broken connections are tried again after each of `pauses` (seconds).

    Every failure is a FetchError, and an UnreachableError where another time may be better: no network,
    a server that is down or overworked. Addresses in it bear no credentials and no query.
    """

    def __init__(
        self,
        *,
        credentials: Credentials | None = None,
        timeout: float = TIMEOUT_S,
        pauses: Sequence[float] = PAUSES_S,
    ) -> None:
        self._credentials = credentials or netrc_credentials()
        self._timeout = timeout
        self._pauses = tuple(pauses)
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
        allow: Collection[int] = (),
        accept: str = "",
        authorization: str = "",
    ) -> Answer:
        """Fetch a file, its bytes from `start` up to but not including `end`, or its last `suffix` bytes.

        `accept` says which kinds of answer are wanted, best first, as the Accept header has it;
        `authorization` is that header's value, in place of the client's credentials, for this host alone.
        FetchError where the answer is larger than `limit` bytes, and for any error status that is not
        in `allow`. https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
        """
        part = Part.of(start, end, suffix)
        given = {"Range": part.header if part else "", "Accept": accept, "Authorization": authorization}
        headers = {name: value for name, value in given.items() if value}

        def receive(where: str, response: http.client.HTTPResponse) -> Answer:
            return read_answer(where, response, part, limit)

        return self._fetch(url, lambda: self._follow("GET", url, headers, allow, receive))

    def head(self, url: str) -> Answer:
        """Ask for the size without the body. FetchError for any error status."""

        def receive(_: str, response: http.client.HTTPResponse) -> Answer:
            response.read()
            return Answer(response.status, total=length(response))

        return self._fetch(url, lambda: self._follow("HEAD", url, {}, (), receive))

    def download(self, url: str, file: BinaryIO, *, limit: int) -> str:
        """Replace what is in `file` by what is at `url`; return its sha256 in hexadecimal.

        FetchError where it is larger than `limit` bytes, and for any error status.
        """

        def receive(where: str, response: http.client.HTTPResponse) -> str:
            return copy_body(where, response, file, limit)

        return self._fetch(url, lambda: self._follow("GET", url, {}, (), receive))

    def _fetch(self, url: str, attempt: Callable[[], T]) -> T:
        """Make the request until it succeeds, fails for good, or was tried often enough."""
        checked(url)
        pauses = iter(self._pauses)
        while True:
            try:
                return attempt()
            except (OSError, http.client.HTTPException, TransientError) as error:
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
                    drain(response)
                if response.status not in _REDIRECTS or location is None:
                    _check_status(where, response.status, {*allow, 200, 206 if "Range" in headers else 200})
                    return receive(where, response)
            target = redirect_target(where, location)
            if urlsplit(target).netloc != urlsplit(where).netloc:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            where = target
        raise FetchError(
            f"`{shown(url)}` redirects more than {MAX_REDIRECTS} times", [f"last to {shown(where)}"]
        )

    @contextlib.contextmanager
    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; keep the connection if the whole answer was read when the block ends."""
        parts = urlsplit(url)
        own = {**self._identity(parts), **headers}
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
        return ssl.create_default_context()

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
        headers = {
            "User-Agent": f"cudaenv/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        known = self._credentials(parts.hostname or "")
        if known is not None:
            token = base64.b64encode(":".join(known).encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        return headers


def _check_status(url: str, status: int, expected: Collection[int]) -> None:
    if status in expected:
        return
    found = f"the server answered {_status_text(status)}"
    if (status >= 500 and status not in _LASTING) or status == 429:
        raise TransientError(found)
    hint = where_credentials_go(urlsplit(url).hostname or "") if status in {401, 403, 407} else ""
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
    message = f"cannot fetch `{shown(url)}`"
    if isinstance(error, TransientError):
        return UnreachableError(message, [str(error)])
    text = printable(str(getattr(error, "strerror", None) or str(error) or type(error).__name__))
    if _is_certificate_error(error):
        hint = "if this network has a certificate authority of its own, name it in `SSL_CERT_FILE`"
        return FetchError(message, [text], hint)
    return UnreachableError(message, [text], _NETWORK_HINT)
