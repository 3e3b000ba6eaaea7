"""Package indexes for tests: static trees, a server that misbehaves on request, and a whole little world."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import io
import json
import os
import re
import socketserver
import sys
import tarfile
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from functools import cache, cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple, Self
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from tests.support.wheels import Wheel, compiled_wheel, elf_library, platform_machine, torch_wheel

Pages = Literal["html", "json", "both"]

_JSON_PAGE = "application/vnd.pypi.simple.v1+json"
_CONTENT_TYPES = {".html": "text/html", ".json": _JSON_PAGE}


def write_index(
    folder: Path,
    wheels: Iterable[Wheel],
    *,
    pages: Pages = "html",
    core_metadata: bool = True,
    yanked: Collection[str] = (),
    absolute_base: str | None = None,
    uploaded: Mapping[str, str] | None = None,
) -> None:
    """Write `NAME/index.html` (PEP 503) or `NAME/index.json` (PEP 691) and the files beside it.

    The pages of the given projects are replaced, other projects in `folder` stay. `yanked` holds file
    names; `core_metadata` adds the `.metadata` files of PEP 658; with `absolute_base` the links are
    absolute, `{absolute_base}/NAME/FILE`, and otherwise relative. `uploaded` are days by file name, which
    JSON pages then state (PEP 700).
    """
    days = uploaded or {}
    projects: dict[str, list[_Link]] = {}
    for wheel in wheels:
        day = days.get(wheel.filename, "")
        has_metadata = core_metadata and not isinstance(wheel, Sdist)  # PEP 658 is on wheels
        link = _Link(wheel, has_metadata, wheel.filename in yanked, absolute_base, day)
        projects.setdefault(wheel.project, []).append(link)
    for name, links in projects.items():
        _write_project(folder / name, links)
        _write_pages(folder / name, pages, _html_page(links), _json_page(name, links))
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    _write_pages(folder, pages, _html_root(names), _json_root(names))


@dataclass(frozen=True, eq=False)
class Sdist(Wheel):
    """A source distribution of `files`, for an index like a wheel; it is for no tag."""

    tag: str = ""

    @property
    def filename(self) -> str:
        """The file name (PEP 625): `tiny_ext-1.0.tar.gz`."""
        return f"{self._stem}.tar.gz"

    @cached_property
    def data(self) -> bytes:
        """The whole file, the same for the same arguments."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, content in {**self.files, "PKG-INFO": self.metadata}.items():
                member = tarfile.TarInfo(f"{self._stem}/{path}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return gzip.compress(buffer.getvalue(), mtime=0)


@dataclass(frozen=True)
class _Link:
    """One file of a page and how the page shows it."""

    wheel: Wheel
    core_metadata: bool
    yanked: bool
    base: str | None
    uploaded: str

    @property
    def href(self) -> str:
        # `quote` writes `+` as %2B: storage servers read a bare one as a space.
        name = quote(self.wheel.filename)
        return name if self.base is None else f"{self.base.rstrip('/')}/{self.wheel.project}/{name}"

    @property
    def metadata_sha256(self) -> str:
        return hashlib.sha256(self.wheel.metadata).hexdigest()


def _write_project(folder: Path, links: Sequence[_Link]) -> None:
    for link in links:
        path = link.wheel.write(folder)
        if link.core_metadata:
            path.with_name(f"{path.name}.metadata").write_bytes(link.wheel.metadata)


def _write_pages(folder: Path, pages: Pages, html_text: str, json_text: str) -> None:
    for kind, text in (("html", html_text), ("json", json_text)):
        if pages in {kind, "both"}:
            (folder / f"index.{kind}").write_text(text, encoding="utf-8")
        else:
            (folder / f"index.{kind}").unlink(missing_ok=True)


def _html_page(links: Iterable[_Link]) -> str:
    return _html_document(_html_anchor(link) for link in links)


def _html_anchor(link: _Link) -> str:
    attributes = {"href": f"{link.href}#sha256={link.wheel.sha256}"}
    if link.wheel.requires_python:
        attributes["data-requires-python"] = link.wheel.requires_python
    if link.core_metadata:
        attributes["data-core-metadata"] = f"sha256={link.metadata_sha256}"
    if link.yanked:
        attributes["data-yanked"] = "withdrawn"
    shown = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items())
    return f"<a {shown}>{html.escape(link.wheel.filename)}</a><br>"


def _html_root(names: Iterable[str]) -> str:
    return _html_document(f'<a href="{name}/">{name}</a><br>' for name in names)


def _html_document(lines: Iterable[str]) -> str:
    return "\n".join(["<!DOCTYPE html>", "<html><body>", *lines, "</body></html>", ""])


def _json_page(name: str, links: Iterable[_Link]) -> str:
    files = [
        {
            "filename": link.wheel.filename,
            "url": link.href,
            "hashes": {"sha256": link.wheel.sha256},
            "size": len(link.wheel.data),
            "requires-python": link.wheel.requires_python,
            "core-metadata": {"sha256": link.metadata_sha256} if link.core_metadata else False,
            "yanked": "withdrawn" if link.yanked else False,
            **({"upload-time": f"{link.uploaded}T16:00:00.000001Z"} if link.uploaded else {}),
        }
        for link in links
    ]
    return json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": files})


def _json_root(names: Iterable[str]) -> str:
    return json.dumps({"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]})


class Request(NamedTuple):
    """What a client asked for; the path is decoded and without its query."""

    method: str
    path: str
    range: str | None


@dataclass
class _Response:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None  # bytes after which the connection breaks


class IndexServer:
    """Serves a folder over HTTP on the loopback while its `with` block lasts, well or badly.

    Paths begin at the folder (`/whl/cu126/torch/`) and are given decoded (`+`) or encoded (`%2B`).
    Every method that makes it misbehave may be called before or during the block, and `heal` undoes all.
    """

    def __init__(self, folder: Path) -> None:
        self.requests: list[Request] = []
        self._folder = folder.resolve()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(self)
        # The default poll of half a second is what a block would take to end.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.heal()

    @property
    def url(self) -> str:
        """The address of the folder, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def heal(self) -> None:
        """Forget every misbehaviour; the recorded requests stay."""
        self._failures: dict[str, tuple[int, float]] = {}
        self._truncated: dict[str, int] = {}
        self._delays: dict[str, float] = {}
        self._replaced: dict[str, bytes] = {}
        self._redirects: dict[str, str] = {}
        self._guarded: list[tuple[str, str]] = []
        self._ranges = True

    def fail(self, path: str, status: int, times: int | None = None) -> None:
        """Answer `path` with an error status, only the first `times` times if given."""
        self._failures[unquote(path)] = (status, float("inf") if times is None else times)

    def truncate(self, path: str, size: int) -> None:
        """Promise the whole body of `path`, send `size` bytes of it and hang up."""
        self._truncated[unquote(path)] = size

    def slow(self, path: str, seconds: float) -> None:
        """Wait before answering `path`; leaving the block ends the wait."""
        self._delays[unquote(path)] = seconds

    def replace(self, path: str, data: bytes) -> None:
        """Serve other bytes for `path`, which need not exist in the folder.

        A path with a query (`/tags?page=2`) is for that query alone; otherwise queries are ignored.
        """
        self._replaced[unquote(path)] = data

    def require_auth(self, prefix: str, user: str, password: str) -> None:
        """Answer 401 below `prefix` unless the request carries these basic credentials."""
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._guarded.append((unquote(prefix), f"Basic {token}"))

    def drop_ranges(self) -> None:
        """Answer range requests with 200 and the whole body, as some proxies do."""
        self._ranges = False

    def redirect(self, path: str, url: str) -> None:
        """Answer `path` with 302 to `url`, absolute or beginning with a slash."""
        self._redirects[unquote(path)] = url

    def _respond(self, request: Request, headers: Message) -> _Response:
        self.requests.append(request)
        path = request.path
        self._closing.wait(self._delays.get(path, 0))
        return self._refusal(path, headers.get("Authorization")) or self._content(
            request, headers.get("Accept")
        )

    def _refusal(self, path: str, authorization: str | None) -> _Response | None:
        if any(path.startswith(prefix) and authorization != token for prefix, token in self._guarded):
            return _Response(401, headers={"WWW-Authenticate": 'Basic realm="tests"'})
        if path in self._redirects:
            return _Response(302, headers={"Location": self._redirects[path]})
        with self._lock:
            status, left = self._failures.get(path, (0, 0))
            if left > 0:
                self._failures[path] = (status, left - 1)
                return _Response(status)
        return None

    def _content(self, request: Request, accept: str | None) -> _Response:
        path = request.path
        file = self._file(path, accept or "")
        if path in self._replaced:
            body = self._replaced[path]
        elif file.is_file():
            body = file.read_bytes()
        elif file.is_dir():  # a page was asked for without the slash at its end
            return _Response(301, headers={"Location": f"{quote(path)}/"})
        else:
            return _Response(404)
        kind = _CONTENT_TYPES.get(file.suffix, "application/octet-stream")
        response = _Response(200, body, {"Content-Type": kind}, self._truncated.get(path))
        return _partial(response, request.range) if self._ranges else response

    def _file(self, path: str, accept: str) -> Path:
        file = (self._folder / path.lstrip("/")).resolve()
        if not file.is_relative_to(self._folder):
            return self._folder / "outside"
        if not path.endswith("/"):
            return file
        page, other = file / "index.json", file / "index.html"
        return page if page.is_file() and (_JSON_PAGE in accept or not other.is_file()) else other


def _partial(response: _Response, asked: str | None) -> _Response:
    """Narrow a whole answer to the one range a client asked for; several ranges are answered whole."""
    response.headers["Accept-Ranges"] = "bytes"
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
    if match is None or not any(match.groups()):
        return response
    size = len(response.body)
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        return _Response(416, headers={"Content-Range": f"bytes */{size}"})
    headers = response.headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return _Response(206, response.body[start:stop], headers, response.sent)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # uv opens dozens of connections at once; a full queue costs it a second

    def __init__(self, owner: IndexServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        # HTTPServer asks the resolver for its own name here, which takes seconds on some machines.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: clients that hang up are part of what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 10
    server: _Server

    def do_GET(self) -> None:
        # A bare `+` means a space, as it does for S3: clients have to send %2B.
        parts = urlsplit(self.path)
        path, asked = unquote_plus(parts.path), unquote_plus(f"{parts.path}?{parts.query}")
        if asked in self.server.owner._replaced:
            path = asked
        response = self.server.owner._respond(
            Request(self.command, path, self.headers["Range"]), self.headers
        )
        body = b"" if self.command == "HEAD" else response.body[: response.sent]
        self.send_response(response.status)
        # One request a connection: no thread outlives its answer.
        headers = response.headers | {"Content-Length": str(len(response.body)), "Connection": "close"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def tool_environment(folder: Path, default_index: str, *, offline: bool = False) -> dict[str, str]:
    """Return an environment for uv or pip that knows `default_index` and nothing of this machine's settings.

    Cache and configuration of the tools go into `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "uv.toml"
    config.write_text(f'[[index]]\nname = "default"\nurl = "{default_index}"\ndefault = true\n')
    own = {
        # A configuration file that is named replaces the user's, the system's and the project's.
        "UV_CONFIG_FILE": str(config),
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_HTTP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
    }
    kept = {name: value for name, value in os.environ.items() if not _steers_tools(name)}
    return kept | own | ({"UV_OFFLINE": "1"} if offline else {})


def _steers_tools(name: str) -> bool:
    prefixes = ("UV_", "PIP_", "PYTHON")
    # A proxy would be asked for the loopback, too.
    return (
        name.startswith(prefixes)
        or name in {"VIRTUAL_ENV", "CONDA_PREFIX"}
        or name.lower().endswith("_proxy")
    )


@dataclass
class World:
    """Indexes in one folder: `simple` is the default one, `whl/cu126` and so on are PyTorch's."""

    folder: Path
    wheels: dict[str, list[Wheel]] = field(repr=False)
    pages: Pages = "html"
    core_metadata: bool = True

    @property
    def url(self) -> str:
        """The folder as a `file://` address; an IndexServer of `folder` has the same layout over HTTP."""
        return self.folder.resolve().as_uri()

    def add(self, index: str, *wheels: Wheel) -> None:
        """Put more files on an index and write its pages again."""
        self.wheels.setdefault(index, []).extend(wheels)
        touched = {wheel.project for wheel in wheels}
        again = [wheel for wheel in self.wheels[index] if wheel.project in touched]
        write_index(self.folder / index, again, pages=self.pages, core_metadata=self.core_metadata)

    def find(self, index: str, prefix: str) -> Wheel:
        """Return the one wheel of an index whose file name begins so."""
        found = [wheel for wheel in self.wheels[index] if wheel.filename.startswith(prefix)]
        if len(found) != 1:
            raise LookupError(f"{prefix!r} on {index}: {[wheel.filename for wheel in found]}")
        return found[0]

    def path(self, index: str, wheel: Wheel) -> str:
        """Return where a server of `folder` has the wheel, as its methods take it."""
        return f"/{index}/{wheel.project}/{wheel.filename}"


def pytorch_like_world(folder: Path, *, pages: Pages = "html", core_metadata: bool = True) -> World:
    """Write PyTorch's indexes and a default one, with versions and pins that exist, as of late 2026."""
    world = World(folder, {}, pages, core_metadata)
    for index, wheels in _world_wheels().items():
        world.add(index, *wheels)
    return world


def add_hostile(world: World) -> None:
    """Put what a confused resolver would take on the wrong indexes, in version 99.0.

    The default index gets torch, torchvision and nvidia-cublas-cu12, PyTorch's indexes get
    nvidia-cudnn-cu12 and filelock. Importing one of them fails.
    """
    world.add("simple", *map(_hostile_wheel, ("torch", "torchvision", "nvidia-cublas-cu12")))
    for index in [index for index in world.wheels if index != "simple"]:
        world.add(index, *map(_hostile_wheel, ("nvidia-cudnn-cu12", "filelock")))


def _hostile_wheel(name: str) -> Wheel:
    package = name.replace("-", "_")
    files = {f"{package}/__init__.py": b'raise ImportError("from the wrong index")\n'}
    return Wheel(name, "99.0", "py3-none-any", files=files)


_PYTHONS = ("cp311", "cp312", "cp313")
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "win_amd64")
_VARIANTS = ("cu118", "cu126", "cu128", "cu129", "cu130", "cu132", "cpu")


@dataclass(frozen=True)
class _Release:
    """A torch release: its companions, and per variant the versions of cuDNN and of cuda-toolkit."""

    torch: str
    vision: str
    audio: str
    triton: str
    requires_python: str
    variants: Mapping[str, tuple[str, str]]
    default: str = ""  # the variant that the default index carries on Linux

    @property
    def is_pinned(self) -> bool:
        """Whether torchvision asks for exactly this torch; since 0.29.1 it does not."""
        return not self.vision.startswith("0.29")

    @property
    def is_old(self) -> bool:
        """Whether wheels carry the platform tags used before manylinux_2_28."""
        return self.torch == "2.5.1"

    @property
    def is_x86_only(self) -> bool:
        """Whether the default index has no CUDA build for aarch64, and the markers say so."""
        return self.torch in {"2.5.1", "2.7.1", "2.8.0"}


_RELEASES = (
    _Release(
        torch="2.5.1",
        vision="0.20.1",
        audio="2.5.1",
        triton="triton==3.1.0",
        requires_python=">=3.8.0",
        variants={"cu118": ("9.1.0.70", ""), "cu124": ("9.1.0.70", "")},
        default="cu124",  # an index of its own at PyTorch's, not in this world
    ),
    _Release(
        torch="2.7.1",
        vision="0.22.1",
        audio="2.7.1",
        triton="triton==3.3.1",
        requires_python=">=3.9.0",
        variants={"cu118": ("9.1.0.70", ""), "cu126": ("9.5.1.17", "")},
    ),
    _Release(
        torch="2.8.0",
        vision="0.23.0",
        audio="2.8.0",
        triton="triton==3.4.0",
        requires_python=">=3.9.0",
        variants=dict.fromkeys(("cu126", "cu128", "cu129", "cpu"), ("9.10.2.21", "")),
        default="cu128",
    ),
    _Release(
        torch="2.11.0",
        vision="0.26.0",
        audio="2.11.0",
        triton="triton==3.6.0",
        requires_python=">=3.10",
        variants={
            "cu126": ("9.10.2.21", ""),
            "cu128": ("9.19.0.56", ""),
            "cu129": ("9.19.0.56", ""),
            "cu130": ("9.19.0.56", "13.0.2"),
            "cpu": ("", ""),
        },
        default="cu130",
    ),
    _Release(
        torch="2.14.1",
        vision="0.29.1",
        audio="",
        triton="triton~=3.8.0",
        requires_python=">=3.10",
        variants={
            "cu126": ("9.10.2.21", ""),
            "cu130": ("9.24.0.43", "13.0.3"),
            "cu132": ("9.24.0.43", "13.2.2"),
            "cpu": ("", ""),
        },
        default="cu130",
    ),
    _Release(
        torch="2.15.0",
        vision="0.29.2",
        audio="",
        triton="triton~=3.9.0",
        requires_python=">=3.11",
        variants={"cu130": ("9.26.0.51", "13.0.3"), "cu132": ("9.26.0.51", "13.2.2"), "cpu": ("", "")},
        default="cu132",
    ),
)

# Runtime and cuBLAS of each CUDA release line up to 12.
_CUDA_PINS = {
    "cu118": ("11.8.89", "11.11.3.6"),
    "cu124": ("12.4.127", "12.4.5.8"),
    "cu126": ("12.6.77", "12.6.4.1"),
    "cu128": ("12.8.90", "12.8.4.1"),
    "cu129": ("12.9.79", "12.9.1.4"),
}

# The extras of the cuda-toolkit metapackage. Some of its versions have a fourth component, which
# `==13.0.3` matches all the same; nvJitLink is a range from 13.0.3 on.
_TOOLKITS: dict[str, dict[str, tuple[str, ...]]] = {
    "13.0.2": {
        "cublas": ("nvidia-cublas==13.1.0.3.*",),
        "cudart": ("nvidia-cuda-runtime==13.0.96.*",),
        "nvrtc": ("nvidia-cuda-nvrtc==13.0.88.*",),
        "nvjitlink": ("nvidia-nvjitlink==13.0.88.*",),
    },
    "13.0.3.0": {
        "cublas": ("nvidia-cublas==13.1.1.3.*", "nvidia-cuda-nvrtc==13.0.88.*"),
        "cudart": ("nvidia-cuda-runtime==13.0.96.*",),
        "nvrtc": ("nvidia-cuda-nvrtc==13.0.88.*",),
        "nvjitlink": ("nvidia-nvjitlink<14,>=13.0.88",),
        "cccl": ("nvidia-cuda-cccl==13.0.85.*",),
        "crt": ("nvidia-cuda-crt==13.0.88.*",),
        "nvvm": ("nvidia-nvvm==13.0.88.*",),
        "nvcc": ("nvidia-cuda-nvcc==13.0.88.*", "nvidia-cuda-crt==13.0.88.*", "nvidia-nvvm==13.0.88.*"),
    },
    "13.2.2": {
        "cublas": ("nvidia-cublas==13.4.1.3.*", "nvidia-cuda-nvrtc==13.2.86.*"),
        "cudart": ("nvidia-cuda-runtime==13.2.86.*",),
        "nvrtc": ("nvidia-cuda-nvrtc==13.2.86.*",),
        "nvjitlink": ("nvidia-nvjitlink<14,>=13.2.86",),
        "cccl": ("nvidia-cuda-cccl==13.2.86.*",),
        "crt": ("nvidia-cuda-crt==13.2.86.*",),
        "nvvm": ("nvidia-nvvm==13.2.86.*",),
        "nvcc": ("nvidia-cuda-nvcc==13.2.86.*", "nvidia-cuda-crt==13.2.86.*", "nvidia-nvvm==13.2.86.*"),
    },
}

# Project: what it brings, and its versions. A library belongs to the one that is named so.
_NVIDIA: dict[str, tuple[str, tuple[str, ...]]] = {
    "nvidia-cuda-runtime-cu11": ("cuda_runtime/lib/libcudart.so.11.0", ("11.8.89",)),
    "nvidia-cublas-cu11": ("cublas/lib/libcublas.so.11", ("11.11.3.6",)),
    "nvidia-cudnn-cu11": ("cudnn/lib/libcudnn.so.9", ("9.1.0.70",)),
    "nvidia-cuda-runtime-cu12": (
        "cuda_runtime/lib/libcudart.so.12",
        ("12.4.127", "12.6.77", "12.8.90", "12.9.79"),
    ),
    "nvidia-cublas-cu12": ("cublas/lib/libcublas.so.12", ("12.4.5.8", "12.6.4.1", "12.8.4.1", "12.9.1.4")),
    "nvidia-cudnn-cu12": ("cudnn/lib/libcudnn.so.9", ("9.1.0.70", "9.5.1.17", "9.10.2.21", "9.19.0.56")),
    "nvidia-cuda-runtime": ("cu13/lib/libcudart.so.13", ("13.0.96", "13.2.86")),
    "nvidia-cublas": ("cu13/lib/libcublas.so.13", ("13.1.0.3", "13.1.1.3", "13.4.1.3")),
    "nvidia-cuda-nvrtc": ("cu13/lib/libnvrtc.so.13", ("13.0.88", "13.2.86")),
    "nvidia-nvjitlink": ("cu13/lib/libnvJitLink.so.13", ("13.0.88", "13.2.86", "13.5.37")),
    "nvidia-cudnn-cu13": ("cudnn/lib/libcudnn.so.9", ("9.19.0.56", "9.24.0.43", "9.26.0.51")),
    "nvidia-cuda-nvcc": ("cu13/bin/nvcc", ("13.0.88", "13.2.86")),
    "nvidia-cuda-crt": ("cu13/include/crt/host_config.h", ("13.0.88", "13.2.86")),
    "nvidia-nvvm": ("cu13/nvvm/bin/cicc", ("13.0.88", "13.2.86")),
    "nvidia-cuda-cccl": ("cu13/include/cccl/nv/target", ("13.0.85", "13.2.86")),
}
# What runs compilers and installs what they made; stand-ins without anything in them.
_TOOLS = {"ninja": "1.13.0", "cmake": "4.2.0", "pip": "26.3", "setuptools": "80.9.0"}

_NVIDIA_PLATFORMS = (
    "manylinux2014_x86_64.manylinux_2_17_x86_64",
    "manylinux2014_aarch64.manylinux_2_17_aarch64",
    "win_amd64",
)


@cache
def _world_wheels() -> Mapping[str, tuple[Wheel, ...]]:
    """Return the files of each index; wheels are immutable and keep their bytes, so one set does for all."""
    world = {f"whl/{variant}": tuple(_variant_wheels(variant)) for variant in _VARIANTS}
    general = [
        *(_pure_wheel("filelock", version) for version in ("3.19.1", "3.20.0")),
        *(_pure_wheel("typing_extensions", version) for version in ("4.14.1", "4.15.0")),
        *(_pure_wheel(name, version) for name, version in _TOOLS.items()),
        *_numpy_wheels(),
        *_triton_wheels(_RELEASES),
    ]
    nvidia = [*_nvidia_wheels(), *map(_toolkit_wheel, _TOOLKITS)]
    return world | {"simple": (*_default_wheels(), *nvidia, *general)}


def _variant_wheels(variant: str) -> Iterable[Wheel]:
    releases = [release for release in _RELEASES if variant in release.variants]
    for release in releases:
        for platform, python in product(_platforms(release, variant), _pythons(release)):
            yield _torch(release, variant, python, platform)
            yield from _companions(release, variant, python, platform, label=f"+{variant}")
    if variant != "cpu":
        yield from _triton_wheels(releases)
    # PyTorch's indexes carry old copies of general packages.
    yield _pure_wheel("filelock", "3.13.1")
    yield _pure_wheel("typing_extensions", "4.9.0")


def _default_wheels() -> Iterable[Wheel]:
    """Yield torch and companions as the default index has them: without local labels."""
    for release in _RELEASES:
        for platform, python in product(_default_platforms(release), _pythons(release)):
            variant = _default_variant(release, platform)
            yield _torch(release, variant, python, platform, local=False)
            yield from _companions(release, variant, python, platform, label="")


def _default_platforms(release: _Release) -> Sequence[str]:
    if not release.default:
        return ()
    return ("manylinux1_x86_64", "manylinux2014_aarch64", "win_amd64") if release.is_old else _PLATFORMS


def _default_variant(release: _Release, platform: str) -> str:
    is_cpu = platform == "win_amd64" or (release.is_x86_only and platform.endswith("aarch64"))
    return "cpu" if is_cpu else release.default


def _platforms(release: _Release, variant: str) -> Sequence[str]:
    if release.is_old:
        return ("linux_x86_64", "win_amd64")
    if variant == "cu118":
        return (_PLATFORMS[0], _PLATFORMS[2])
    return _PLATFORMS[:2] if variant == "cu129" else _PLATFORMS


def _pythons(release: _Release) -> Sequence[str]:
    return _PYTHONS[:2] if release.is_old else _PYTHONS


def _torch(release: _Release, variant: str, python: str, platform: str, *, local: bool = True) -> Wheel:
    # The default index gives all platforms of a release the requirements of its CUDA build.
    required = variant if local else release.default
    return torch_wheel(
        release.torch,
        variant,
        python,
        platform,
        ("filelock", "typing-extensions>=4.10.0", *_cuda_requirements(release, required)),
        archs=_archs(release, variant, platform_machine(platform)),
        local=local,
        requires_python=release.requires_python,
    )


def _cuda_requirements(release: _Release, variant: str) -> list[str]:
    if variant == "cpu":
        return []
    linux = 'platform_system == "Linux"'
    marker = f'{linux} and platform_machine == "x86_64"' if release.is_x86_only else linux
    cudnn, toolkit = release.variants[variant]
    major = variant[2:4]
    if toolkit:
        pins = [f"cuda-toolkit[cublas,cudart,nvrtc]=={toolkit}"]
    else:
        runtime, cublas = _CUDA_PINS[variant]
        pins = [f"nvidia-cuda-runtime-cu{major}=={runtime}", f"nvidia-cublas-cu{major}=={cublas}"]
    return [f"{pin}; {marker}" for pin in (*pins, f"nvidia-cudnn-cu{major}=={cudnn}", release.triton)]


def _archs(release: _Release, variant: str, machine: str | None) -> list[str]:
    if variant == "cpu":
        numbers = ""
    elif variant in {"cu130", "cu132"}:
        numbers = "80 90 100 110 120" if machine == "aarch64" else "75 80 86 90 100 120"
    elif variant in {"cu128", "cu129"}:
        numbers = "75 80 86 90 100 120" if release.torch == "2.11.0" else "70 75 80 86 90 100 120"
    elif variant == "cu126":
        numbers = "80 90" if machine == "aarch64" else "50 60 70 75 80 86 90"
    else:
        numbers = "50 60 70 75 80 86 37 90"
    return [f"sm_{number}" for number in numbers.split()]


def _companions(
    release: _Release, variant: str, python: str, platform: str, *, label: str
) -> Iterable[Wheel]:
    major = None if variant == "cpu" else int(variant[2:4])
    pin = f"torch=={release.torch}" if release.is_pinned else "torch>=2.14.0"
    tag = f"{python}-{python}-{platform}"
    # 0.29.2 is built for the stable ABI: one wheel a platform.
    if release.vision != "0.29.2":
        yield compiled_wheel("torchvision", release.vision + label, tag, major, ("numpy", pin))
    elif python == _PYTHONS[0]:
        stable = f"py3-none-{platform}"
        yield compiled_wheel("torchvision", release.vision + label, stable, major, ("numpy", pin))
    if release.audio:
        # 2.11.0, the last one, does not say which torch it needs.
        requires = () if release.audio == "2.11.0" else (pin,)
        library = "lib/_torchaudio.so"
        yield compiled_wheel("torchaudio", release.audio + label, tag, major, requires, library=library)


def _toolkit_wheel(version: str) -> Wheel:
    requires = [f"{pin}; extra == '{extra}'" for extra, pins in _TOOLKITS[version].items() for pin in pins]
    return Wheel("cuda-toolkit", version, "py2.py3-none-any", requires, import_name="")


def _nvidia_wheels() -> Iterable[Wheel]:
    for name, (member, versions) in _NVIDIA.items():
        for version, platform in product(versions, _NVIDIA_PLATFORMS):
            soname = Path(member).name
            machine = platform_machine(platform)
            is_library = ".so" in soname and machine is not None
            content = (
                elf_library([], soname=soname, machine=machine or "x86_64") if is_library else b"stand-in\n"
            )
            files = {f"nvidia/{member}": content}
            yield Wheel(name, version, f"py3-none-{platform}", files=files, import_name="")


def _triton_wheels(releases: Iterable[_Release]) -> Iterable[Wheel]:
    versions = [release.triton.split("=")[-1] for release in releases]
    for version, python in product(versions, _PYTHONS):
        # aarch64 has triton since 3.5.
        machines = ("x86_64",) if version < "3.5" else ("x86_64", "aarch64")
        for machine in machines:
            tag = f"{python}-{python}-manylinux_2_27_{machine}.manylinux_2_28_{machine}"
            yield Wheel("triton", version, tag)


def _numpy_wheels() -> Iterable[Wheel]:
    linux = (f"manylinux_2_27_{machine}.manylinux_2_28_{machine}" for machine in ("x86_64", "aarch64"))
    for version, platform, python in product(("1.26.4", "2.3.5"), (*linux, "win_amd64"), _PYTHONS):
        yield Wheel("numpy", version, f"{python}-{python}-{platform}", requires_python=">=3.9")


def _pure_wheel(name: str, version: str) -> Wheel:
    return Wheel(name, version, "py3-none-any", requires_python=">=3.9")
