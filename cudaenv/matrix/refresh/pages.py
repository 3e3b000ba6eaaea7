"""Pages of package indexes and listings of files: text that others wrote, read strictly."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

from packaging.utils import canonicalize_name

from cudaenv.matrix.refresh.artefacts import Link, ProjectFile

ACCEPT_PAGE = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
)
"""The Accept header for the page of a project: JSON where there is some. Servers that have none may
still answer with more because of it: a caching proxy adds upload times to its HTML."""

MAX_LINKS = 200_000
"""Links of one page. The largest pages of PyPI have some tens of thousands."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,254}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ].{0,40})?")
_USER = re.compile(r"//[^/]*@")
# https://packaging.python.org/en/latest/specifications/source-distribution-format/ and its predecessors.
_SOURCES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")
_MAX_TEXT = 2000


def read_project_page(body: bytes, content_type: str, url: str, project: str) -> tuple[ProjectFile, ...]:
    """Return the wheels and source distributions that the page of a project lists, in its order.

    The page is JSON (https://peps.python.org/pep-0691/, upload times of pep-0700, core metadata of
    pep-0714) or HTML (pep-0503, pep-0592, pep-0658): what `content_type` says, else what it begins like.
    Files may be at any https host; other addresses have to be of the page's own scheme and host. Files of
    other kinds are left out.

    ValueError for any other page: incomplete, empty, of another project, with names or addresses that
    are none.
    """
    text = _decoded(body)
    if _is_json(text, content_type):
        listed = list(_json_files(text, url, project))
    else:
        listed = [_html_file(anchor) for anchor in _anchors(text, url)]
    files: dict[str, ProjectFile] = {}
    for file in listed:
        if _is_of_project(file.name, project):
            _check_address(file.url, url)
            if files.setdefault(file.name, file) != file:
                raise ValueError(f"the page lists {_shown(file.name)} twice, and not alike")
    if not files:
        raise ValueError(f"the page of {project} lists no files")
    return tuple(files.values())


def read_links(body: bytes, content_type: str, url: str, hosts: Collection[str] = ()) -> tuple[Link, ...]:
    """Return the links of an HTML page at `url`, in its order.

    They lead to the page's own scheme and host, or by https to one of `hosts`. ValueError for others and
    for what is no complete HTML page.
    """
    text = _decoded(body)
    if _is_json(text, content_type):
        raise ValueError("the page is JSON where HTML was expected")
    links = []
    for anchor in _anchors(text, url):
        _check_address(anchor.url, url, hosts)
        links.append(Link(anchor.text, anchor.url, anchor.sha256))
    return tuple(links)


def _decoded(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the page is not UTF-8: {error.reason} at byte {error.start}") from error
    if "\0" in text:
        raise ValueError("the page is not UTF-8 text: it has null bytes")
    if not text.strip():
        raise ValueError("the page is empty")
    return text


def _is_json(text: str, content_type: str) -> bool:
    """Go by what the server says, and by the first letter where it says neither JSON nor HTML."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return True
    if kind == "text/html" or kind.endswith("+html"):
        return False
    first = text.lstrip()[:1]
    if first not in {"{", "<"}:
        raise ValueError(f"the page is neither JSON nor HTML, but {_shown(kind or 'of no stated type')}")
    return first == "{"


# JSON.


def _json_files(text: str, url: str, project: str) -> Iterator[ProjectFile]:
    try:
        page = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("the page is not JSON, or not all of it") from error
    page = _mapping(page, "the page")
    version = _mapping(page.get("meta"), "`meta`").get("api-version")
    if not isinstance(version, str) or not re.fullmatch(r"1\.\d{1,4}", version):
        raise ValueError(f"the page is of API version {_shown(version)}, and 1.x is known here")
    name = page.get("name")
    if not isinstance(name, str) or canonicalize_name(name) != canonicalize_name(project):
        raise ValueError(f"the page is that of {_shown(name)}, and {project} was asked for")
    files = page.get("files")
    if not isinstance(files, list) or len(files) > MAX_LINKS:
        raise ValueError(f"`files` is no list of at most {MAX_LINKS} files")
    for item in files:
        yield _json_file(_mapping(item, "a file"), url)


def _json_file(item: Mapping[str, object], page: str) -> ProjectFile:
    name = _text(item, "filename")
    hashes = _mapping(item.get("hashes", {}), "`hashes`")
    metadata = item.get("core-metadata", item.get("dist-info-metadata"))
    yanked = item.get("yanked")
    if not isinstance(metadata, bool | dict | None) or not isinstance(yanked, bool | str | None):
        raise ValueError(f"`core-metadata` or `yanked` of {_shown(name)} is neither yes nor no")  # noqa: TRY004
    address, fragment = _address(page, _text(item, "url"))
    return ProjectFile(
        name=name,
        url=address,
        sha256=_sha256(_text(hashes, "sha256")) if "sha256" in hashes else _fragment_sha256(fragment),
        requires_python=_text(item, "requires-python", "").strip(),
        yanked=bool(yanked),
        uploaded=_day(_text(item, "upload-time", "")),
        has_metadata=bool(metadata),
    )


def _mapping(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {_shown(value)}, not a mapping")  # noqa: TRY004
    return value


def _text(item: Mapping[str, object], key: str, default: str | None = None) -> str:
    """A text of bounded length; null counts as not stated where there is a default."""
    value = item.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError(f"`{key}` is {_shown(value)}")
    return value


# HTML.


@dataclass
class _Anchor:
    """A link as the page has it; `url` is absolute and without its fragment."""

    attributes: Mapping[str, str]
    url: str
    sha256: str
    text: str = ""


class _Page(HTMLParser):
    """Collects the anchors of a page."""

    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.anchors: list[_Anchor] = []
        self.opened: set[str] = set()
        self._base = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an anchor; note that the page began."""
        # Of two attributes with one name, the first counts.
        attributes = {name: value or "" for name, value in reversed(attrs)}
        if tag == "base" and "href" in attributes:
            self._base, _ = _address(self._base, attributes["href"])
        elif tag == "html":
            self.opened.add(tag)
        elif tag == "a" and "href" in attributes:
            if "a" in self.opened or len(self.anchors) == MAX_LINKS:
                raise ValueError(f"the page has a link inside a link, or more than {MAX_LINKS}")
            address, fragment = _address(self._base, attributes["href"])
            self.opened.add(tag)
            self.anchors.append(_Anchor(attributes, address, _fragment_sha256(fragment)))

    def handle_endtag(self, tag: str) -> None:
        """End an anchor, or the page."""
        self.opened.discard(tag)

    def handle_data(self, data: str) -> None:
        """Take the text of an anchor."""
        if "a" in self.opened:
            text = self.anchors[-1].text + data
            if len(text) > _MAX_TEXT:
                raise ValueError(f"the text of a link is {_shown(text)}")
            self.anchors[-1].text = text


def _anchors(text: str, url: str) -> list[_Anchor]:
    page = _Page(url)
    try:
        page.feed(text)
        page.close()
    except AssertionError as error:  # what the parser says of `<![` and the like
        raise ValueError(f"the page is not HTML: {ascii(str(error))[:200]}") from error
    # What is cut off inside a comment or a tag swallows the end of the page, or has no end itself.
    if page.opened or text.rfind("<") > text.rfind(">"):
        raise ValueError("the page is incomplete: it ends before its links or the page are closed")
    for anchor in page.anchors:
        anchor.text = anchor.text.strip()
        if not anchor.text.isprintable():
            raise ValueError(f"the text of a link is {_shown(anchor.text)}")
    return page.anchors


def _html_file(anchor: _Anchor) -> ProjectFile:
    attributes = anchor.attributes
    last = unquote(urlsplit(anchor.url).path.rpartition("/")[2])
    if last != anchor.text:
        raise ValueError(f"the link to {_shown(last)} has the text {_shown(anchor.text)}")
    metadata = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata", "false"))
    return ProjectFile(
        name=anchor.text,
        url=anchor.url,
        sha256=anchor.sha256,
        requires_python=attributes.get("data-requires-python", "").strip(),
        yanked="data-yanked" in attributes,
        uploaded=_day(attributes.get("data-upload-time", "").strip()),
        has_metadata=metadata.strip().lower() not in {"", "false"},
    )


# Both.


def _is_of_project(name: str, project: str) -> bool:
    """Whether a file is a wheel or a source distribution, which then has to be one of the project."""
    if not name.endswith((".whl", *_SOURCES)):
        return False
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{_shown(name)} is no file name")
    own = canonicalize_name(project)
    if name.endswith(".whl"):
        matches = canonicalize_name(name.partition("-")[0]) == own
    else:
        matches = re.match(rf"{re.escape(own)}-v?\d", canonicalize_name(name)) is not None
    if not matches:
        raise ValueError(f"the page lists {name}, which is no file of {project}")
    return True


def _address(page: str, href: str) -> tuple[str, str]:
    """Return the absolute address that `href` means on a page, and its fragment, taken off.

    A `+` of the path is written `%2B`: storage servers take a bare one for a space.
    """
    href = href.strip(string.whitespace)
    harmless = _shown(_USER.sub("//", href))
    if len(href) > _MAX_TEXT or not href.isprintable():
        raise ValueError(f"an address on the page is {harmless}")
    try:
        address, fragment = urldefrag(urljoin(page, quote(href, safe=string.punctuation)))
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"an address on the page is {harmless}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or "@" in parts.netloc:
        raise ValueError(f"an address on the page is {harmless}, which is not http or https")
    return parts._replace(path=parts.path.replace("+", "%2B")).geturl(), fragment


def _check_address(address: str, page: str, hosts: Collection[str] | None = None) -> None:
    """ValueError where an address of a page leads to where its files are not expected.

    `hosts` are the hosts besides the page's own, None means any.
    """
    own, other = urlsplit(page), urlsplit(address)
    if (own.scheme, own.netloc.lower()) == (other.scheme, other.netloc.lower()):
        return
    if other.scheme != "https" or (hosts is not None and other.netloc not in hosts):
        raise ValueError(f"the page at {own.netloc} links to {_shown(other.scheme + '://' + other.netloc)}")


def _fragment_sha256(fragment: str) -> str:
    values = [part.partition("=")[2] for part in fragment.split("&") if part.startswith("sha256=")]
    if len(values) > 1:
        raise ValueError("an address on the page states two hashes")
    return _sha256(values[0]) if values else ""


def _sha256(value: str) -> str:
    if not _SHA256.fullmatch(value):
        raise ValueError(f"{_shown(value)} is no sha256")
    return value.lower()


def _day(text: str) -> str:
    """The date of an upload time, which is in UTC (https://peps.python.org/pep-0700/)."""
    match = _DAY.fullmatch(text)
    if text and match is None:
        raise ValueError(f"an upload time is {_shown(text)}")
    if match is None:
        return ""
    return date.fromisoformat(match[1]).isoformat()


def _shown(value: object) -> str:
    """What others wrote, short and without anything that steers a terminal."""
    return ascii(value)[:200]
