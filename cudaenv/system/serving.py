"""A folder served on this machine alone, for installers that fetch by HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    """Answers requests for files, and says nothing of them."""

    def log_message(self, *_: object) -> None:
        """Say nothing: what is asked for is no news to the user."""


class _Server(ThreadingHTTPServer):
    """A server whose clients may hang up."""

    def handle_error(self, *_: object) -> None:
        """Say nothing: who hangs up has its reason, and says it."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a port of the loopback address while the block runs; yield its URL."""
    server = _Server(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
