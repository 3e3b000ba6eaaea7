"""Pages of indexes: both forms say the same, and hostile ones are refused with a reason."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cudaenv.matrix.refresh import pages
from cudaenv.matrix.refresh.artefacts import Link, ProjectFile
from cudaenv.matrix.refresh.pages import read_links, read_project_page

URL = "https://index.example/simple/torch/"
LISTING = "https://download.example/mmcv/dist/cu121/torch2.1.0/index.html"
JSON, HTML = "application/vnd.pypi.simple.v1+json", "text/html; charset=UTF-8"
SHA = "ab" * 32
NAME = "torch-2.15.0+cu132-cp313-cp313-manylinux_2_28_x86_64.whl"
ENCODED = NAME.replace("+", "%2B")


def html(*anchors: str, head: str = "") -> bytes:
    lines = [
        "<!DOCTYPE html>",
        "<html>",
        head,
        "<body>",
        *anchors,
        "</body>",
        "</html>",
        "<!--TIMESTAMP 1-->",
    ]
    return "\n".join(lines).encode()


def anchor(href: str = f"../../files/{ENCODED}", text: str = NAME, rest: str = "") -> str:
    return f'<a href="{href}" {rest}>{text}</a><br/>'


def document(*files: dict[str, Any], name: str = "torch", version: Any = "1.1") -> bytes:
    return json.dumps({"meta": {"api-version": version}, "name": name, "files": files}).encode()


def entry(**changes: Any) -> dict[str, Any]:
    return {"filename": NAME, "url": f"../../files/{ENCODED}", "hashes": {"sha256": SHA}} | changes


def read(body: bytes, content_type: str = HTML, project: str = "torch") -> tuple[ProjectFile, ...]:
    return read_project_page(body, content_type, URL, project)


WHEEL = ProjectFile(
    name=NAME,
    url=f"https://index.example/files/{ENCODED}",
    sha256=SHA,
    requires_python=">=3.10,!=3.14.1",
    yanked=True,
    uploaded="2026-10-28",
    has_metadata=True,
)
SOURCE = ProjectFile(name="torch-1.0.tar.gz", url="https://files.example/x/torch-1.0.tar.gz")


# What pages say.


def test_json_and_html_say_the_same() -> None:
    stated = entry(
        **{"requires-python": ">=3.10,!=3.14.1", "yanked": "it's broken", "core-metadata": {"sha256": SHA}},
        **{"upload-time": "2026-10-28T18:04:00.123456Z", "size": 5},
    )
    source = {"filename": SOURCE.name, "url": SOURCE.url, "hashes": {}}
    said = (
        'data-requires-python="&gt;=3.10,!=3.14.1" data-yanked="it&#x27;s broken"'
        ' data-core-metadata="true" data-upload-time="2026-10-28T18:04:00Z"'
    )
    page = html(anchor(f"../../files/{ENCODED}#sha256={SHA}", rest=said), anchor(SOURCE.url, SOURCE.name))
    assert read(document(stated, source), JSON) == read(page) == (WHEEL, SOURCE)


@pytest.mark.parametrize(
    "href",
    [
        f"../../files/{ENCODED}",
        f"../../files/{NAME}",
        f"/files/{NAME.replace('+', '&#43;')}",
        f"https://index.example/files/{NAME}",
        f" \n//index.example/files/{ENCODED}#md5=1&egg=x ",
    ],
)
def test_addresses_may_be_written_in_many_ways(href: str) -> None:
    assert [file.url for file in read(html(anchor(href)))] == [WHEEL.url]


def test_a_base_element_counts() -> None:
    page = html(anchor(ENCODED), head='<base href="https://index.example/files/">')
    assert read(page)[0].url == WHEEL.url


@pytest.mark.parametrize(
    ("rest", "has_metadata"),
    [
        ("", False),
        ('data-core-metadata="true"', True),
        (f'data-core-metadata="sha256={SHA}"', True),
        ('data-dist-info-metadata="true"', True),
        ('data-core-metadata="false" data-dist-info-metadata="true"', False),
    ],
)
def test_metadata_are_there_where_the_page_says_so(rest: str, has_metadata: bool) -> None:
    assert read(html(anchor(rest=rest)))[0].has_metadata is has_metadata


@pytest.mark.parametrize(
    ("stated", "has_metadata"),
    [
        ({}, False),
        ({"core-metadata": None}, False),
        ({"core-metadata": True}, True),
        ({"dist-info-metadata": {"sha256": SHA}}, True),
        ({"core-metadata": False, "dist-info-metadata": True}, False),
    ],
)
def test_metadata_are_there_where_the_document_says_so(stated: dict[str, Any], has_metadata: bool) -> None:
    assert read(document(entry(**stated)), JSON)[0].has_metadata is has_metadata


def test_yanked_without_a_reason() -> None:
    assert read(html(anchor(rest="data-yanked")))[0].yanked
    assert read(document(entry(yanked=True)), JSON)[0].yanked
    assert not read(document(entry(yanked=False)), JSON)[0].yanked


def test_files_of_unknown_kinds_are_left_out() -> None:
    names = ["torch-1.0.egg", "torch-1.0.win-amd64.exe", "other.txt"]
    assert [file.name for file in read(html(*(anchor(name, name) for name in names), anchor()))] == [NAME]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream"])
def test_the_first_letter_decides_where_the_server_does_not(kind: str) -> None:
    assert read(html(anchor()), kind) == read(document(entry(hashes={})), kind)


@pytest.mark.parametrize("project", ["mmcv-full", "mmcv_full", "MMCV.full"])
def test_names_of_projects_are_compared_as_indexes_do(project: str) -> None:
    names = ["mmcv_full-1.7.2-cp310-cp310-win_amd64.whl", "mmcv-full-1.7.2.tar.gz"]
    files = read(html(*(anchor(name, name) for name in names)), project=project)
    assert [file.name for file in files] == names
    assert len(read(document(entry(filename=names[0]), name="MMCV_full"), JSON, project)) == 1


def test_one_file_listed_twice_alike_is_one_file() -> None:
    assert len(read(html(anchor(), anchor()))) == 1


# Hostile and broken ones.


def refused(body: bytes, content_type: str = HTML) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        read(body, content_type)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


@pytest.mark.parametrize("size", range(1, len(html(anchor())) - len("</html>\n<!--TIMESTAMP 1-->"), 7))
def test_html_that_was_cut_off(size: int) -> None:
    assert refused(html(anchor())[:size])


@pytest.mark.parametrize("end", ["<a href='x", "<a href='x'>torch-1.0", "<", "<!-- ", "</a", "<script>"])
def test_fragments_of_html_that_were_cut_off(end: str) -> None:
    whole = anchor().encode()
    assert len(read(whole)) == 1
    if end == "<script>":
        end = f"<html><script>{anchor()}</html>"
    assert "incomplete" in refused(whole + end.encode())


@pytest.mark.parametrize("end", ["<![", "<![x"])
def test_declarations_that_no_page_has(end: str) -> None:
    assert refused(anchor().encode() + end.encode() + b">" + anchor().encode())


def test_hostile_html_is_refused_in_time_that_grows_with_its_size_only() -> None:
    started = time.monotonic()
    refused(b"<html>" * 40_000 + b"<a href='x'></a>" * 40_000)
    refused(b"<a href='x'>" + b"a<b>" * 200_000 + b"</a>")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("size", range(1, len(document(entry())), 11))
def test_json_that_was_cut_off(size: int) -> None:
    assert "not all of it" in refused(document(entry())[:size], JSON)


@pytest.mark.parametrize("body", [html(), html("<p>Sign in</p>"), html(anchor("x.txt", "x.txt"))])
def test_pages_without_files(body: bytes) -> None:
    assert refused(body) == "the page of torch lists no files"


@pytest.mark.parametrize("kind", [HTML, JSON, ""])
@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf"])
def test_empty_pages(body: bytes, kind: str) -> None:
    assert refused(body, kind) == "the page is empty"


def test_documents_without_files() -> None:
    assert refused(document(), JSON) == "the page of torch lists no files"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("title", ["Überblick", "Overview"])
def test_other_encodings(encoding: str, title: str) -> None:
    page = html(anchor(), head=f"<title>{title}</title>").decode()
    assert "not UTF-8" in refused(page.encode(encoding))
    assert "not UTF-8" in refused(page.replace("O", "Ö").encode("latin-1"))


def test_a_byte_order_mark_is_harmless() -> None:
    assert len(read(b"\xef\xbb\xbf" + html(anchor()))) == 1
    assert len(read(b"\xef\xbb\xbf" + document(entry()), JSON)) == 1


@pytest.mark.parametrize("name", ["torchvision", "torch-scatter", "torc"])
def test_pages_of_other_projects(name: str) -> None:
    stem = name.replace("-", "_")
    assert "was asked for" in refused(document(entry(), name=name), JSON)
    for file in (f"{stem}-1.0-py3-none-any.whl", f"{name}-1.0.tar.gz"):
        assert "no file of torch" in refused(html(anchor(), anchor(file, file)))
        assert "no file of torch" in refused(document(entry(filename=file, url=file)), JSON)


@pytest.mark.parametrize(
    "name",
    ["../torch-1.0.tar.gz", "torch-1.0 .tar.gz", "torch-1.0\N{RIGHT-TO-LEFT OVERRIDE}.whl", ".torch-1.0.zip"],
)
def test_names_that_are_no_file_names(name: str) -> None:
    assert "no file name" in refused(document(entry(filename=name)), JSON)


def test_a_name_of_excessive_length() -> None:
    assert "no file name" in refused(document(entry(filename=f"torch-{'1' * 300}.zip")), JSON)
    assert "`filename`" in refused(document(entry(filename=f"torch-{'1' * 9999}.zip")), JSON)


def test_a_link_that_says_another_name_than_it_leads_to() -> None:
    assert "has the text" in refused(html(anchor(text="torch-2.15.0-py3-none-any.whl")))


@pytest.mark.parametrize(
    "href",
    [
        "javascript:alert(1)",
        "java&#9;script:alert(1)",
        "JAVASCRIPT&colon;alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "ftp://index.example/x",
        "https://user:secret@index.example/files/x",
        "//user:secret@index.example/files/x",
        "ftp://user:secret@x",
        "https://user:secret@index.example:99999/x",
        "https://index.example:0/x",
        "https://index.example:99999/x",
        "https://[::1/x",
        "http://[bad]/x",
        "x&#10;y",
        "x&#x202e;y",
        "x" * 3000,
    ],
)
def test_addresses_that_are_none(href: str) -> None:
    text = refused(html(anchor(f"{href}/{ENCODED}")))
    assert "an address on the page" in text
    assert "secret" not in text


@pytest.mark.parametrize("base", ["javascript:", "file:///"])
def test_bases_that_are_none(base: str) -> None:
    assert "an address on the page" in refused(html(anchor(ENCODED), head=f'<base href="{base}">'))


def test_other_hosts_are_allowed_by_https_alone() -> None:
    assert read(html(anchor(f"https://files.example/{ENCODED}")))
    for host in ("files.example", "index.example", "127.0.0.1:8000"):
        assert "links to" in refused(html(anchor(f"http://{host}/{ENCODED}")))


def test_a_page_on_the_loopback_may_keep_its_files_there() -> None:
    page = html(anchor(f"http://127.0.0.1:8000/{ENCODED}"))
    url = "http://127.0.0.1:8000/simple/torch/"
    assert read_project_page(page, HTML, url, "torch")[0].url == f"http://127.0.0.1:8000/{ENCODED}"
    with pytest.raises(ValueError, match="links to"):
        read_project_page(page, HTML, url.replace("8000", "8001"), "torch")


def test_of_two_addresses_of_one_link_the_first_counts_as_in_browsers() -> None:
    page = html(f'<a href="{ENCODED}" href="http://evil.example/{ENCODED}">{NAME}</a>')
    assert read(page)[0].url == f"{URL}{ENCODED}"


def test_one_name_with_two_addresses() -> None:
    assert "twice" in refused(html(anchor(), anchor(f"../other/{ENCODED}")))
    assert "twice" in refused(document(entry(), entry(hashes={})), JSON)


@pytest.mark.parametrize("value", ["", "zz" * 32, "ab" * 31, "ab" * 33, "ab" * 32 + " "])
def test_hashes_that_are_none(value: str) -> None:
    assert "no sha256" in refused(html(anchor(f"{ENCODED}#sha256={value}&x")))
    assert "no sha256" in refused(document(entry(hashes={"sha256": value})), JSON)


def test_two_hashes_for_one_file() -> None:
    assert "two hashes" in refused(html(anchor(f"{ENCODED}#sha256={SHA}&sha256={'cd' * 32}")))


@pytest.mark.parametrize(
    "day", ["yesterday", "2026-13-01", "2026-10-28x", "20261028", "2026-02-30T00:00:00Z"]
)
def test_days_that_are_none(day: str) -> None:
    assert refused(html(anchor(rest=f'data-upload-time="{day}"')))
    assert refused(document(entry(**{"upload-time": day})), JSON)


@pytest.mark.parametrize(
    "page",
    [
        [],
        None,
        1,
        {},
        {"meta": [], "name": "torch", "files": []},
        {"meta": {"api-version": "1.0"}, "name": 1, "files": []},
        {"meta": {"api-version": "1.0"}, "name": "torch", "files": {}},
        {"meta": {"api-version": "1.0"}, "name": "torch", "files": [1]},
    ],
)
def test_documents_of_another_shape(page: object) -> None:
    assert refused(json.dumps(page).encode(), JSON)


@pytest.mark.parametrize("version", ["2.0", "1", 1.0, None, "1.0\n", ""])
def test_versions_of_the_interface_that_nobody_knows(version: object) -> None:
    assert "API version" in refused(document(entry(), version=version), JSON)


@pytest.mark.parametrize(
    "changes",
    [
        {"filename": None},
        {"filename": 1},
        {"url": None},
        {"url": ["x"]},
        {"hashes": []},
        {"hashes": {"sha256": 1}},
        {"hashes": {"sha256": None}},
        {"core-metadata": "true"},
        {"yanked": 1},
        {"upload-time": 1},
        {"requires-python": 3},
    ],
)
def test_entries_of_another_shape(changes: dict[str, Any]) -> None:
    assert refused(document(entry(**changes)), JSON)


def test_documents_that_nest_without_end() -> None:
    assert "not JSON" in refused(b"[" * 200_000, JSON)
    assert "neither JSON nor HTML" in refused(b"[" * 10, "")


def test_too_many_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_LINKS", 3)
    assert "more than 3" in refused(html(*[anchor()] * 4))
    assert "at most 3" in refused(document(*[entry()] * 4), JSON)
    assert len(read(html(*[anchor()] * 3))) == 1


def test_links_inside_links() -> None:
    assert "inside a link" in refused(html(f'<a href="{ENCODED}">{NAME}<a href="x">{NAME}</a></a>'))


def test_links_inside_comments_are_none() -> None:
    assert refused(html(f"<!-- {anchor()} -->")) == "the page of torch lists no files"


@given(st.binary(max_size=300))
def test_any_page_is_read_or_refused(noise: bytes) -> None:
    for body in (noise, html(anchor(), noise.decode(errors="ignore")), document(entry()) + noise):
        for kind in (HTML, JSON, ""):
            try:
                files = read(body, kind)
            except ValueError as error:
                assert str(error).isprintable()
                continue
            assert NAME in {file.name for file in files}


# Listings of files.


def links(body: bytes, *hosts: str, content_type: str = HTML) -> tuple[Link, ...]:
    return read_links(body, content_type, LISTING, hosts)


def test_listings_as_openmmlab_and_pytorch_write_them() -> None:
    name = "mmcv-2.2.0-cp312-cp312-manylinux1_x86_64.whl"
    page = html(
        f'<a href="./{name}">{name}</a><br>',
        f'<a href="/whl/cu126/{ENCODED}#sha256={SHA}" data-dist-info-metadata="sha256=1">\n{NAME}</a><br/>',
        '<a href="../">up</a>',
    )
    assert links(page) == (
        Link(name, f"https://download.example/mmcv/dist/cu121/torch2.1.0/{name}"),
        Link(NAME, f"https://download.example/whl/cu126/{ENCODED}", SHA),
        Link("up", "https://download.example/mmcv/dist/cu121/"),
    )
    assert links(html()) == ()


def test_listings_lead_to_their_own_host_or_to_those_that_are_named() -> None:
    page = html('<a href="https://files.example/x.whl">x.whl</a>')
    assert links(page, "files.example")[0].url == "https://files.example/x.whl"
    for hosts in ((), ("example",), ("files.example:443",)):
        with pytest.raises(ValueError, match=r"links to 'https://files\.example'"):
            links(page, *hosts)
    with pytest.raises(ValueError, match="links to"):
        links(page.replace(b"https:", b"http:"), "files.example")


@pytest.mark.parametrize(
    "body",
    [
        html(anchor())[:-40],
        b"",
        b"PK\3\4",
        html('<a href="javascript:x">x</a>'),
        html('<a href="x#sha256=1">x</a>'),
        html('<a href="x">x\x1b[2J</a>'),
        document(entry()),
    ],
)
def test_hostile_listings(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        links(body, content_type="")
    assert str(caught.value).isprintable()


def test_a_listing_that_is_json() -> None:
    with pytest.raises(ValueError, match="JSON where HTML was expected"):
        links(document(entry()), content_type="application/json")
