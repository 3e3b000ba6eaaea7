"""`cudaenv matrix refresh` and places that are broken or lie: a clear error, and nothing is written."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.refreshing import NEW, Bench, make_bench, put_2_16, put_builds, put_channels
from tests.support.registry import TAGS, Row, image_tags, torch_wheels, xformers_wheel
from tests.support.wheels import Wheel

PYPI = ("torch", "--from", "pypi", "--since", "2026-11-01")
PYTORCH = ("torch", "--from", "pytorch")
OPENMMLAB = ("mmcv", "--from", "openmmlab")
IMAGES = ("images",)
CONDA = ("conda-builds", "--since", "2026-11-01")

PROJECT_PAGE = "/simple/torch/"
VARIANT_PAGE = "/whl/cu126/torch/"
WHEEL_PAGE = "/mmcv/dist/cu121/torch2.1.0/index.html"
TAG_PAGE = TAGS.format(page=1)
REPODATA = "/conda/conda-forge/linux-64/repodata.json"
BUILD = {
    **NEW,
    "version": "2.14.2",
    "variant": "cu126",
    "index": "pytorch",
    "triton": "~=3.8.0",
    "sms": "5.0 8.0 9.0",
}
MMCV = "mmcv-2.2.0-cp310-cp310-manylinux1_x86_64.whl"

XFORMERS = {
    "version": "0.0.36",
    "variant": "cu126",
    "torch": ">=2.14",
    "built_with": "2.14.1",
    "cuda": "12.6",
    "sms": "7.5 8.0",
    "exact": "9.0",
}

TOO_LARGE = (64 << 20) + 1  # bytes


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Places that are in order; tests replace what is served, and nothing is ever written."""
    with make_bench(tmp_path_factory.mktemp("hostile")) as made:
        put_2_16(made)
        put_builds(made)
        put_channels(made)
        made.registry.pytorch("cu126", torch_wheels(BUILD))
        made.registry.openmmlab("cu121", "2.1", MMCV)
        yield made


@pytest.fixture
def bench(places: Bench, tmp_path: Path) -> Iterator[Bench]:
    places.registry.server.heal()
    places.registry.tags(image_tags("13.4.1", "ubuntu24.04"))
    places.project.environ["CUDAENV_CACHE_DIR"] = str(tmp_path)
    yield places
    places.registry.server.heal()


def served(bench: Bench, path: str) -> bytes:
    """What is served for a path."""
    server = bench.registry.server
    if path in server._replaced:
        return server._replaced[path]
    folder = bench.registry.folder / path.strip("/")
    if folder.is_dir():
        page = folder / "index.json"
        return (page if page.exists() else folder / "index.html").read_bytes()
    return folder.read_bytes()


def refused(bench: Bench, arguments: tuple[str, ...], *told: str) -> None:
    """Run it, and see that it fails with one error in which all of these are told, and writes nothing."""
    before = bench.files()
    done = bench.refresh(*arguments, "--write", status=6)
    assert bench.files() == before
    assert done.out == ""
    assert len(re.findall(r"^error: ", done.err, re.MULTILINE)) == 1
    assert all(line.isprintable() and len(line) < 1000 for line in done.err.splitlines())
    message = done.err[done.err.index("error: ") :]
    for text in told:
        assert text in message


def test_they_are_in_order_to_begin_with(bench: Bench) -> None:
    before = bench.files()
    for arguments in (PYPI, PYTORCH, OPENMMLAB, IMAGES, CONDA):
        done = bench.refresh(*arguments)
        assert re.search(r": [1-9]\d* (added|changed)", done.err), arguments
    assert bench.files() == before


# Pages of all kinds.

Spoil = Callable[[bytes], bytes]


def constant(body: bytes) -> Callable[[object], bytes]:
    return lambda _: body


SPOILS: Mapping[str, Spoil] = {
    "empty": constant(b""),
    "blank": constant(b" \n\n"),
    "truncated": lambda body: body[: len(body) * 2 // 3],
    "utf-16": lambda body: body.decode().encode("utf-16"),
    "latin-1": lambda body: body[:-1] + "é".encode("latin-1") + body[-1:],
    "null": lambda body: body[:40] + b"\0" + body[40:],
    "binary": constant(bytes(range(256)) * 20),
    "huge": lambda body: body + b" " * TOO_LARGE,
}
PAGES = {
    PROJECT_PAGE: PYPI,
    VARIANT_PAGE: PYTORCH,
    WHEEL_PAGE: OPENMMLAB,
    TAG_PAGE: IMAGES,
}


# A page of links alone may end behind any of them; one that ends inside is tried below.
NOTICED = [(path, spoil) for path in PAGES for spoil in SPOILS if (path, spoil) != (WHEEL_PAGE, "truncated")]


@pytest.mark.parametrize(("path", "spoil"), NOTICED)
def test_spoiled_pages(bench: Bench, path: str, spoil: str) -> None:
    bench.registry.server.replace(path, SPOILS[spoil](served(bench, path)))
    refused(bench, PAGES[path], path.partition("?")[0])


@pytest.mark.parametrize("spoil", ["empty", "truncated", "utf-16", "binary"])
def test_spoiled_repodata(bench: Bench, spoil: str) -> None:
    bench.registry.server.replace(REPODATA, SPOILS[spoil](served(bench, REPODATA)))
    refused(bench, CONDA, "/conda/conda-forge` cannot be read")


@pytest.mark.parametrize("path", PAGES)
def test_answers_that_break_off(bench: Bench, path: str) -> None:
    if path == TAG_PAGE:
        bench.registry.server.replace(path.partition("?")[0], served(bench, path))
        del bench.registry.server._replaced[path]
    bench.registry.server.truncate(path.partition("?")[0], 50)
    refused(bench, PAGES[path], "nothing could be measured", path.partition("?")[0])


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("file:///etc/passwd", "file:"),
        ("http://127.0.0.1:1\\@mirror.example/", "mirror.example"),
        (PROJECT_PAGE, "redirects more than 5 times"),
    ],
)
def test_redirects_that_lead_astray(bench: Bench, target: str, told: str) -> None:
    bench.registry.server.redirect(PROJECT_PAGE, target)
    refused(bench, PYPI, told)


# What pages say.


def listed(bench: Bench) -> dict[str, object]:
    """The page of torch on the default index."""
    document: dict[str, object] = json.loads(served(bench, PROJECT_PAGE))
    return document


def with_file(**changes: object) -> Callable[[dict[str, object]], object]:
    """Change what the page says of the file that is measured."""
    name = torch_wheels(NEW)[0].filename

    def change(page: dict[str, object]) -> object:
        files = page["files"]
        assert isinstance(files, list)
        return {**page, "files": [file | changes if file["filename"] == name else file for file in files]}

    return change


OTHER = "evil-2.16.0-cp312-cp312-manylinux_2_34_x86_64.whl"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: [], "the page is []"),
        (lambda _: {}, "`meta` is None"),
        (lambda page: {**page, "meta": {"api-version": "2.0"}}, "API version '2.0'"),
        (lambda page: {**page, "name": "torchvision"}, "the page is that of 'torchvision'"),
        (lambda page: {**page, "files": {}}, "`files` is no list"),
        (lambda page: {**page, "files": []}, "lists no files"),
        (lambda page: {**page, "files": ["x"]}, "a file is 'x'"),
        (with_file(filename=OTHER), f"lists {OTHER}, which is no file of torch"),
        (with_file(filename="../../torch-2.16.0-cp312-cp312-win_amd64.whl"), "is no file name"),
        (with_file(url="file:///etc/passwd"), "not http or https"),
        (with_file(url="http://mirror.example/torch-2.16.0-cp312-cp312-win_amd64.whl"), "mirror.example"),
        (with_file(url="https://me:secret@mirror.example/x.whl"), "an address on the page is"),
        (with_file(hashes={"sha256": "0" * 63}), "is no sha256"),
        (with_file(**{"upload-time": "yesterday"}), "an upload time is 'yesterday'"),
        (with_file(**{"upload-time": "2026-02-30T00:00:00Z"}), "simple/torch/"),
        (with_file(**{"requires-python": ">=3 or so"}), "Requires-Python is '>=3 or so'"),
        (with_file(yanked=7), "neither yes nor no"),
    ],
)
def test_pages_of_the_default_index_of_the_wrong_shape(
    bench: Bench, change: Callable[[dict[str, object]], object], told: str
) -> None:
    page = change(listed(bench))
    bench.registry.server.replace(PROJECT_PAGE, json.dumps(page).encode())
    refused(bench, PYPI, told)


def test_documents_without_a_bottom(bench: Bench) -> None:
    depth = 100_000
    for path, arguments in ((PROJECT_PAGE, PYPI), (TAG_PAGE, IMAGES)):
        bench.registry.server.replace(path, b"[" * depth + b"]" * depth)
        refused(bench, arguments, path.partition("?")[0])


FILE = "torch-2.14.2%2Bcu126-cp312-cp312-manylinux_2_34_x86_64.whl"


@pytest.mark.parametrize(
    "anchor",
    [
        f'<a href="https://evil.example/whl/cu126/{FILE}">x</a>',
        f'<a href="//evil.example/whl/cu126/{FILE}">x</a>',
        f'<a href="http://download-r2.pytorch.org/whl/cu126/{FILE}">x</a>',
        f'<a href="https://download-r2.pytorch.org.evil.example/whl/cu126/{FILE}">x</a>',
        f'<a href="https://download-r2.pytorch.org:444/whl/cu126/{FILE}">x</a>',
        f'<a href="https://evil.example&#47;whl/cu126/{FILE}">x</a>',
        f'<a href="&#104;ttps&colon;&sol;&sol;evil.example/{FILE}">x</a>',
        f'<a href="java&#115;cript:alert(1)//{FILE}">x</a>',
        f'<a href="data:text/html,{FILE}">x</a>',
        f'<a href="/whl/cu126/{FILE}">\u202ex</a>',
        f'<a href="/whl/cu126/{FILE}">&#8238;x</a>',
        f'<a href="/whl/cu126/{FILE}#sha256=nothing">x</a>',
        f'<base href="https://evil.example/"><a href="{FILE}">x</a>',
        f'<a href="/whl/cu126/{FILE}">x<a href="/whl/cu126/{FILE}">x</a></a>',
        f'<a href="/whl/cu126/{FILE}">x',
        "Sign in to this network",
    ],
)
def test_links_of_a_variant_index_that_lead_astray(bench: Bench, anchor: str) -> None:
    page = f"<!DOCTYPE html>\n<html>\n  <body>\n    {anchor}\n  </body>\n</html>\n"
    bench.registry.server.replace(VARIANT_PAGE, page.encode())
    refused(bench, PYTORCH, VARIANT_PAGE)


@pytest.mark.parametrize(
    "page",
    [
        "<html><body>Sign in to this network</body></html>",
        f'<a href="./{MMCV}">./mmcv-2.3.0-cp310-cp310-manylinux1_x86_64.whl</a>',
        f'<a href="../torch2.2.0/{MMCV}">{MMCV}</a>',
        f'<a href="https://evil.example/{MMCV}">{MMCV}</a>',
        f'<a href="./{MMCV[:-5]}">./{MMCV[:-5]}</a>',
        f'<a href="./{MMCV}">./{MMCV}</a><br>\n<a href="./mmcv-2.2',
    ],
)
def test_pages_of_wheels_that_are_none(bench: Bench, page: str) -> None:
    bench.registry.server.replace(WHEEL_PAGE, page.encode())
    refused(bench, OPENMMLAB, "cu121/torch2.1.0/index.html")


def tag_page(*results: object, following: object = None) -> object:
    return {"count": 1, "next": following, "previous": None, "results": list(results)}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([], "the answer of https://hub.docker.com/v2/repositories/nvidia/cuda/tags?page_size=100&page=1"),
        ({"message": "object not found"}, "`results` of https://hub.docker.com"),
        ({"results": {}, "next": None}, "`results` of https://hub.docker.com"),
        ({"results": image_tags("13.4.1", "ubi9")}, "does not say whether a page follows"),
        (tag_page(following=7), "does not say whether a page follows"),
        (tag_page(), "there are no tags of nvidia/cuda"),
        (tag_page({"name": 13, "images": []}), "the list of tags of nvidia/cuda has one without `name`"),
        (tag_page({"name": "13.4.1-base-ubi9"}), "`images` of a tag of nvidia/cuda"),
        (tag_page({"name": "13.4.1-base-ubi9", "images": [{"os": "linux"}]}), "one without `architecture`"),
        (tag_page(*image_tags("13.4.1", "plan9")), "there are no tags of nvidia/cuda"),
    ],
)
def test_lists_of_tags_of_the_wrong_shape(bench: Bench, answer: object, told: str) -> None:
    bench.registry.server.replace(TAG_PAGE, json.dumps(answer).encode())
    refused(bench, IMAGES, told)


def test_a_list_of_tags_without_an_end(bench: Bench) -> None:
    page = tag_page(*image_tags("13.4.1", "ubi9"), following="https://hub.docker.com/v2/next")
    bench.registry.server.heal()
    bench.registry.server.replace(TAG_PAGE.partition("?")[0], json.dumps(page).encode())
    bench.registry.server.requests.clear()
    refused(bench, IMAGES, "https://hub.docker.com lists more than 100 pages of tags of nvidia/cuda")
    assert len(bench.registry.server.requests) == 100


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": "2.15.0; rm -rf"}, "version"),
        ({"build_number": "300"}, "conda-forge"),
        ({"subdir": "win-64"}, "subdir"),
        ({"depends": ["cuda-version \u202e>=13.2"]}, "conda-forge"),
        ({"depends": ["cuda-version >=12.9,<13"]}, "is for CUDA"),
        ({"depends": ["__cuda"], "build": "cuda_mkl_py312_h6b7d41d_300"}, "for which release line"),
    ],
)
def test_records_of_a_channel_that_cannot_be_right(bench: Bench, changes: Row, told: str) -> None:
    document = json.loads(served(bench, REPODATA))
    packages = {name: {**record, **changes} for name, record in document["packages.conda"].items()}
    bench.registry.server.replace(REPODATA, json.dumps({**document, "packages.conda": packages}).encode())
    refused(bench, CONDA, told, "conda-forge")


# Wheels.

LIBRARY = "torch/lib/libtorch_python.so"


def deflated(row: Row, name: str, size: int) -> bytes:
    """A wheel with a member that is small in the file and large out of it."""
    with zipfile.ZipFile(BytesIO(torch_wheels(row)[0].data)) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for item, content in members.items():
            archive.writestr(item, b"#" * size if item == name else content)
    return file.getvalue()


def twice(row: Row) -> bytes:
    """A wheel in which a name stands twice."""
    file = BytesIO(torch_wheels(row)[0].data)
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("torch/version.py", "__version__ = '2.16.0'\ncuda = None\n")
    return file.getvalue()


def changed(name: str, content: bytes) -> Callable[[Row], bytes]:
    return lambda row: torch_wheels(row, {name: content})[0].data


WHEELS: Mapping[str, Callable[[Row], bytes]] = {
    "nothing": constant(b""),
    "a page": constant(b"<html><body>Sign in</body></html>"),
    "half": lambda row: torch_wheels(row)[0].data[:2000],
    "half, the end of it": lambda row: torch_wheels(row)[0].data[-400:],
    "two of a name": twice,
    "huge text": lambda row: deflated(row, "torch/version.py", 2 << 20),
    "huge library": lambda row: deflated(row, LIBRARY, (256 << 20) + 1),
    "no version": changed("torch/version.py", b""),
    "code as version": changed("torch/version.py", b"__version__ = open('x').read()\ncuda = '13.2'\n"),
    "latin-1": changed("torch/version.py", "__version__ = '2.16.0'\ncuda = None # é\n".encode("latin-1")),
    "no list": changed(LIBRARY, b"nothing in it"),
    "two lists": changed(LIBRARY, b"\0sm_80 sm_90\0\0sm_75 sm_80\0"),
    "no such SM": changed(LIBRARY, b"\0sm_80 sm_90a\0"),
    "no standard": changed("torch/include/ATen/ATen.h", b"// C++20"),
    "no ABI": changed("torch/lib/libc10.so", b"\x7fELF"),
    "another label": changed("torch/version.py", b"__version__ = '2.16.0+cu130'\ncuda = '13.2'\n"),
}


@pytest.mark.parametrize("kind", WHEELS)
def test_wheels_that_are_none_or_not_as_torchs_are(bench: Bench, kind: str) -> None:
    wheel = torch_wheels(NEW)[0]
    bench.registry.server.replace(f"/simple/torch/{wheel.filename}", WHEELS[kind](NEW))
    refused(bench, PYPI, wheel.filename)


def test_a_wheel_that_is_not_there(bench: Bench) -> None:
    wheel = torch_wheels(NEW)[0]
    bench.registry.server.fail(f"/simple/torch/{wheel.filename}", 404)
    refused(bench, PYPI, wheel.filename, "404")


def test_a_build_of_another_variant_than_the_index_is_for(bench: Bench) -> None:
    wheel = torch_wheels(BUILD)[0]
    other = torch_wheels({**BUILD, "variant": "cu130"})[0]
    bench.registry.server.replace(f"/whl/cu126/{wheel.filename}", other.data)
    refused(bench, PYTORCH, wheel.filename, "it is a build for cu130")


def test_an_xformers_that_was_built_with_another_cuda_than_its_index_is_for(bench: Bench) -> None:
    row = XFORMERS
    bench.registry.pytorch("cu126", [xformers_wheel(row)])
    wheel = xformers_wheel(row)
    arguments = ("xformers", "--from", "pytorch")
    for lie in ({"cuda": "13.0"}, {"cuda": "0.0"}, {"built_with": "x"}, {"sms": "80"}):
        bench.registry.server.replace(f"/whl/cu126/{wheel.filename}", xformers_wheel({**row, **lie}).data)
        refused(bench, arguments, wheel.filename)


# What was renamed.


def test_a_wheel_of_another_release(bench: Bench) -> None:
    wheel = torch_wheels(NEW)[0]
    other = torch_wheels({**NEW, "version": "2.15.0"})[0]
    bench.registry.server.replace(f"/simple/torch/{wheel.filename}", other.data)
    refused(bench, PYPI, wheel.filename, "it is the wheel of `torch-2.15.0`")


def test_a_wheel_of_another_project(bench: Bench) -> None:
    wheel = torch_wheels(NEW)[0]
    other = Wheel("torch-nightly", "2.16.0", wheel.tag, wheel.requires, files=wheel.files)
    bench.registry.server.replace(f"/simple/torch/{wheel.filename}", other.data)
    refused(bench, PYPI, wheel.filename, "it is the wheel of `torch_nightly-2.16.0`")


def test_metadata_of_another_release_beside_a_wheel_is_not_used(bench: Bench) -> None:
    """Those in the wheel are, which the page has a hash of."""
    wheel = torch_wheels(NEW)[0]
    other = torch_wheels({**NEW, "version": "2.15.0", "triton": "==3.9.0"})[0]
    arguments = ("torch", "triton", "--from", "pypi", "--since", "2026-11-01")
    expected = bench.refresh(*arguments).out
    assert "3.10.0" in expected
    bench.project.environ["CUDAENV_CACHE_DIR"] += "/another"
    bench.registry.server.replace(f"/simple/torch/{wheel.filename}.metadata", other.metadata)
    assert bench.refresh(*arguments).out == expected


def test_a_link_that_says_another_release_than_it_leads_to(bench: Bench) -> None:
    page = bench.registry.pytorch("cu126", [xformers_wheel(XFORMERS)])
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(">xformers-0.0.36+", ">xformers-0.0.37+"), encoding="utf-8")
    refused(bench, ("xformers", "--from", "pytorch"), xformers_wheel(XFORMERS).filename.replace("+", "%2B"))
