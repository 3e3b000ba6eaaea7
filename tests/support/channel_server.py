"""A server of conda channels that misbehaves on request, and a mirror for their canonical addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from typing import Any, Self

from tests.support.channel import Channels
from tests.support.conda_package import CondaPackage, unzstd, zstd
from tests.support.index import IndexServer, Request, _Response

_TOKEN = re.compile(r"/t/([^/]+)(/.*)")


class ChannelServer(IndexServer):
    """Serves channels as `URL/conda-forge` and so on; what `IndexServer` can do wrong, it can, too."""

    def __init__(self, channels: Channels) -> None:
        super().__init__(channels.folder)
        self.channels = channels

    def heal(self) -> None:
        """Forget every misbehaviour; the recorded requests stay."""
        super().heal()
        self._token = ""
        self._hidden: list[re.Pattern[str]] = []

    def require_bearer(self, prefix: str, token: str) -> None:
        """Answer 401 below `prefix` unless the request carries this token in its header."""
        self._guarded.append((prefix, f"Bearer {token}"))

    def require_token(self, token: str) -> None:
        """Answer 401 to everything but what is asked for as `/t/TOKEN/...`, as anaconda.org takes tokens."""
        self._token = token

    def without_shards(self) -> None:
        """Have whole repodata alone, as channels had before shards."""
        self._hidden.append(re.compile(r".*/(repodata_shards\.msgpack\.zst|shards/.*)"))

    def unpacked(self) -> Self:
        """Have plain `repodata.json` where there is a compressed one alone: conda 24 asks for no other."""
        for file in self._folder.rglob("repodata.json.zst"):
            if not file.with_suffix("").exists():
                path = file.with_suffix("").relative_to(self._folder).as_posix()
                self.replace(f"/{path}", unzstd(file.read_bytes()))
        return self

    def tamper(self, channel: str, package: CondaPackage) -> None:
        """Serve another package under the name of this one: whole, and with one file more."""
        files = {**package.files, "share/tampered": b"not what was locked\n"}
        self.replace(self.channels.path(channel, package), replace(package, files=files).data)

    def corrupt(self, path: str) -> None:
        """Serve a file with one byte of another value in its middle."""
        data = bytearray((self._folder / path.lstrip("/")).read_bytes())
        data[len(data) // 2] ^= 0xFF
        self.replace(path, bytes(data))

    def rewrite(self, channel: str, subdir: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Serve other repodata for a platform: `change` alters each record; there are no shards any more."""
        file = self._folder / channel / subdir / "repodata.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        for records in (document["packages"], document["packages.conda"]):
            for record in records.values():
                change(record)
        data = json.dumps(document).encode()
        self.replace(f"/{channel}/{subdir}/repodata.json", data)
        self.replace(f"/{channel}/{subdir}/repodata.json.zst", zstd(data))
        self.without_shards()

    def count(self, pattern: str) -> int:
        """How many requests there were for paths with a match of this regular expression."""
        return sum(re.search(pattern, request.path) is not None for request in self.requests)

    def downloads(self) -> list[str]:
        """The file names of the packages that were asked for, in that order."""
        paths = [request.path for request in self.requests if request.method == "GET"]
        return [path.rpartition("/")[2] for path in paths if path.endswith((".conda", ".tar.bz2"))]

    def _respond(self, request: Request, headers: Message) -> _Response:
        token = _TOKEN.fullmatch(request.path)
        if self._token and (token is None or token[1] != self._token):
            self.requests.append(request)
            return _Response(401)
        return super()._respond(request._replace(path=token[2]) if token else request, headers)

    def _refusal(self, path: str, authorization: str | None) -> _Response | None:
        if any(hidden.fullmatch(path) for hidden in self._hidden):
            return _Response(404)
        return super()._refusal(path, authorization)
