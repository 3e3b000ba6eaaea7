"""The test support itself: its wheels install, its indexes resolve, its server misbehaves as told."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import http.client
import io
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from tests.support.index import (
    IndexServer,
    Request,
    World,
    add_hostile,
    pytorch_like_world,
    tool_environment,
    write_index,
)
from tests.support.wheels import Wheel, compiled_wheel, elf_library, torch_wheel

LINUX = "manylinux_2_28_x86_64"
PLATFORM_OF_UV = "x86_64-manylinux_2_28"
THIS_PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
THIS_PLATFORM = re.sub(r"[-.]", "_", sysconfig.get_platform())
READELF = shutil.which("readelf")


def run_uv(*arguments: str | Path, environment: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        [find_uv_bin(), *map(str, arguments)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def members(wheel: Wheel) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(wheel.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# --- wheels


def test_the_same_arguments_give_the_same_bytes() -> None:
    first, second = (torch_wheel("2.14.1", "cu126", "cp312", LINUX, archs=["sm_90"]) for _ in range(2))
    assert first.filename == "torch-2.14.1+cu126-cp312-cp312-manylinux_2_28_x86_64.whl"
    assert first.data == second.data
    assert first.sha256 == hashlib.sha256(second.data).hexdigest()


def test_record_lists_every_member_with_its_hash() -> None:
    wheel = Wheel("Some.Name", "1.0", "py2.py3-none-any", files={"extra/data.txt": b"data"})
    content = members(wheel)
    record = content.pop("some_name-1.0.dist-info/RECORD").decode().splitlines()
    expected = []
    for path, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        expected.append(f"{path},sha256={digest},{len(data)}")
    assert record == [*expected, "some_name-1.0.dist-info/RECORD,,"]
    assert content["extra/data.txt"] == b"data"
    assert content["some_name/__init__.py"] == b"__version__ = '1.0'\n"


def test_metadata_and_tags() -> None:
    requires = ["filelock", "numpy>=2; extra == 'fast'"]
    wheel = Wheel("a-b", "1.0", "py2.py3-none-any", requires, ">=3.11", import_name="")
    assert wheel.metadata.decode().splitlines() == [
        "Metadata-Version: 2.1",
        "Name: a-b",
        "Version: 1.0",
        "Requires-Python: >=3.11",
        "Provides-Extra: fast",
        "Requires-Dist: filelock",
        "Requires-Dist: numpy>=2; extra == 'fast'",
    ]
    content = members(wheel)
    assert list(content) == [f"a_b-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")]
    assert (
        b"Root-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n" in content["a_b-1.0.dist-info/WHEEL"]
    )


def test_a_deflated_wheel_has_the_same_members() -> None:
    stored = compiled_wheel("torchvision", "0.29.1", f"cp312-cp312-{LINUX}", 13)
    deflated = compiled_wheel(
        "torchvision", "0.29.1", f"cp312-cp312-{LINUX}", 13, compression=zipfile.ZIP_DEFLATED
    )
    assert members(stored) == members(deflated)
    assert len(deflated.data) < len(stored.data)


def test_ballast_keeps_the_library_out_of_a_tail() -> None:
    plain, heavy = (
        compiled_wheel("torchvision", "0.29.1", f"cp312-cp312-{LINUX}", 13, padding=size)
        for size in (0, 100_000)
    )
    assert b"libcudart.so.13" in plain.data[-10_000:]
    assert b"libcudart.so.13" not in heavy.data[-100_000:]
    assert b"torchvision/_C.so" in heavy.data[-10_000:]


def test_a_windows_wheel_has_no_elf_library() -> None:
    content = members(compiled_wheel("torchvision", "0.29.1", "cp312-cp312-win_amd64", 13))
    assert "torchvision/_C.pyd" in content
    assert not any(data.startswith(b"\x7fELF") for data in content.values())


@pytest.mark.skipif(READELF is None, reason="binutils not installed")
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("view", ["--use-dynamic", "--wide"])
def test_readelf_prints_what_a_library_needs(tmp_path: Path, machine: str, view: str) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(elf_library(["libcudart.so.12", "libc.so.6"], soname="lib.so.1", machine=machine))
    done = subprocess.run(
        [str(READELF), "-d", "-l", "-S", view, path],
        capture_output=True,
        text=True,
        env={"LC_ALL": "C"},
        check=True,
    )
    found = [
        line.split()[-1] for line in done.stdout.splitlines() if "(NEEDED)" in line or "(SONAME)" in line
    ]
    assert found == ["[libcudart.so.12]", "[libc.so.6]", "[lib.so.1]"]
    assert done.stderr == ""


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="made for Linux on x86_64"
)
def test_the_loader_accepts_a_library(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(elf_library([]))
    assert ctypes.CDLL(str(path))._handle
    path.with_name("other.so").write_bytes(elf_library(["libmissing.so.7"]))
    with pytest.raises(OSError, match=r"libmissing\.so\.7"):
        ctypes.CDLL(str(path.with_name("other.so")))


# --- installed


TORCH_REPORT = """
import json, torch, torchvision
flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
cuda = [torch.version.cuda, torch.cuda.is_available(), torch.cuda.get_arch_list(), flags]
print(json.dumps([torch.__version__, *cuda, torch.backends.cuda.is_built(), torchvision.__version__]))
"""


@pytest.mark.parametrize(
    ("version", "variant", "report"),
    [
        ("2.14.1", "cu126", ["12.6", False, ["sm_50", "sm_90"], "sm_50 sm_90", True]),
        ("2.8.0", "cu128", ["12.8", False, [], "sm_50 sm_90", True]),
        ("2.14.1", "cpu", [None, False, [], None, False]),
    ],
)
def test_wheels_install_and_import(tmp_path: Path, version: str, variant: str, report: list[object]) -> None:
    requires = ["filelock"]
    torch = torch_wheel(version, variant, THIS_PYTHON, THIS_PLATFORM, requires, archs=["sm_50", "sm_90"])
    vision = compiled_wheel("torchvision", "0.29.1", "py3-none-any", None, ["torch>=2"])
    for wheel in (torch, vision, Wheel("filelock", "3.20.0", "py3-none-any")):
        wheel.write(tmp_path / "links")
    environment = tool_environment(tmp_path / "tools", "http://127.0.0.1:9/", offline=True)
    run_uv("venv", "venv", environment=environment, folder=tmp_path)
    python = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run_uv(
        *("pip", "install", "--python", python, "--no-index", "--find-links", "links", "torchvision"),
        environment=environment,
        folder=tmp_path,
    )
    done = subprocess.run([python, "-I", "-c", TORCH_REPORT], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [f"{version}+{variant}", *report, "0.29.1"]


# --- pages


def small_index(folder: Path, **options: object) -> tuple[Wheel, Wheel]:
    torch = torch_wheel("2.14.1", "cu126", "cp312", LINUX)
    lock = Wheel("filelock", "3.20.0", "py3-none-any")
    write_index(folder, [torch, lock], **options)  # type: ignore[arg-type]
    return torch, lock


def test_html_pages(tmp_path: Path) -> None:
    torch, lock = small_index(tmp_path, yanked=["filelock-3.20.0-py3-none-any.whl"])
    page = (tmp_path / "torch/index.html").read_text()
    metadata = hashlib.sha256(torch.metadata).hexdigest()
    assert f'href="torch-2.14.1%2Bcu126-cp312-cp312-{LINUX}.whl#sha256={torch.sha256}"' in page
    assert f'data-requires-python="&gt;=3.10" data-core-metadata="sha256={metadata}"' in page
    assert (tmp_path / "torch" / torch.filename).read_bytes() == torch.data
    assert (tmp_path / "torch" / f"{torch.filename}.metadata").read_bytes() == torch.metadata
    assert 'data-yanked="withdrawn"' in (tmp_path / "filelock/index.html").read_text()
    assert '<a href="filelock/">filelock</a>' in (tmp_path / "index.html").read_text()
    assert not list(tmp_path.rglob("*.json"))
    assert lock.filename in (tmp_path / "filelock/index.html").read_text()


def test_json_pages(tmp_path: Path) -> None:
    torch, _ = small_index(tmp_path, pages="json", core_metadata=False)
    page = json.loads((tmp_path / "torch/index.json").read_text())
    assert page["files"] == [
        {
            "filename": torch.filename,
            "url": torch.filename.replace("+", "%2B"),
            "hashes": {"sha256": torch.sha256},
            "size": len(torch.data),
            "requires-python": ">=3.10",
            "core-metadata": False,
            "yanked": False,
        }
    ]
    assert not [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.metadata")]


def test_absolute_links(tmp_path: Path) -> None:
    small_index(tmp_path, absolute_base="https://download.pytorch.org/whl/")
    assert (
        'href="https://download.pytorch.org/whl/torch/torch-2.14.1%2Bcu126-'
        in (tmp_path / "torch/index.html").read_text()
    )


# --- the server


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


def ask(server: IndexServer, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    folder = tmp_path / "index"
    (folder / "simple").mkdir(parents=True)
    (folder / "digits").write_bytes(b"0123456789")
    (tmp_path / "secret").write_bytes(b"outside")
    with IndexServer(folder) as server:
        yield server


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
    ],
)
def test_ranges(server: IndexServer, asked: str, status: int, body: bytes, content_range: str | None) -> None:
    answer = ask(server, "/digits", Range=asked)
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (status, body, content_range)
    assert server.requests == [("GET", "/digits", asked)]


def test_head_announces_the_size_and_ranges(server: IndexServer) -> None:
    answer = ask(server, "/digits", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert (answer.headers["Content-Length"], answer.headers["Accept-Ranges"]) == ("10", "bytes")
    assert server.requests == [Request("HEAD", "/digits", None)]


def test_folders_and_paths_that_are_not_there(server: IndexServer) -> None:
    assert ask(server, "/simple").headers["Location"] == "/simple/"
    assert ask(server, "/simple/").status == 404
    assert ask(server, "/nothing").status == 404
    assert ask(server, "/../secret").status == 404
    assert ask(server, "/%2e%2e/secret").status == 404


def test_a_bare_plus_is_a_space(server: IndexServer) -> None:
    server.replace("/torch-2.14.1+cu126.whl", b"wheel")
    assert ask(server, "/torch-2.14.1%2Bcu126.whl").body == b"wheel"
    assert ask(server, "/torch-2.14.1+cu126.whl").status == 404


def test_pages_are_negotiated(tmp_path: Path) -> None:
    small_index(tmp_path, pages="both")
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
    with IndexServer(tmp_path) as server:
        assert ask(server, "/torch/", Accept=accept).headers["Content-Type"].endswith("v1+json")
        assert ask(server, "/torch/").headers["Content-Type"] == "text/html"


def test_fail(server: IndexServer) -> None:
    server.fail("/digits", 503, times=2)
    server.fail("/simple/", 403)
    assert [ask(server, "/digits").status for _ in range(3)] == [503, 503, 200]
    assert [ask(server, "/simple/").status for _ in range(3)] == [403, 403, 403]


def test_truncate(server: IndexServer) -> None:
    server.truncate("/digits", 4)
    with pytest.raises(http.client.IncompleteRead) as error:
        ask(server, "/digits")
    assert (error.value.partial, error.value.expected) == (b"0123", 6)


def test_slow(server: IndexServer) -> None:
    server.slow("/digits", 0.2)
    started = time.monotonic()
    assert ask(server, "/digits").status == 200
    assert time.monotonic() - started >= 0.2


def test_a_server_closes_while_an_answer_waits(server: IndexServer) -> None:
    server.slow("/digits", 60)
    client = threading.Thread(target=ask, args=(server, "/digits"))
    client.start()
    while not server.requests:
        time.sleep(0.001)
    started = time.monotonic()
    server.__exit__()
    client.join(5)
    assert not client.is_alive()
    assert time.monotonic() - started < 5


def test_replace(server: IndexServer) -> None:
    server.replace("/digits", b"altered")
    assert ask(server, "/digits", Range="bytes=-3").body == b"red"


def test_require_auth(server: IndexServer) -> None:
    server.require_auth("/digits", "user", "password")
    refused = ask(server, "/digits")
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="tests"')
    token = base64.b64encode(b"user:password").decode()
    assert ask(server, "/digits", Authorization=f"Basic {token}").status == 200
    assert ask(server, "/simple/").status == 404


def test_drop_ranges(server: IndexServer) -> None:
    server.drop_ranges()
    answer = ask(server, "/digits", Range="bytes=0-3")
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.headers["Accept-Ranges"] is None


def test_redirect(server: IndexServer) -> None:
    server.redirect("/old%2Bname", "/digits")
    answer = ask(server, "/old%2Bname")
    assert (answer.status, answer.headers["Location"]) == (302, "/digits")


def test_heal(server: IndexServer) -> None:
    server.fail("/digits", 500)
    server.drop_ranges()
    server.heal()
    assert ask(server, "/digits", Range="bytes=0-3").body == b"0123"


# --- the world, with the real uv


PROJECT = """
[project]
name = "demo"
version = "1"
requires-python = ">=3.11"
dependencies = ["{requirement}", "torchvision"]

[[tool.uv.index]]
name = "pytorch"
url = "{base}/whl/{variant}"
explicit = true

[tool.uv.sources]
torch = {{ index = "pytorch" }}
torchvision = {{ index = "pytorch" }}
"""


def compile_pins(file: Path, base: str, *options: str) -> dict[str, str]:
    """Lock a file for Python 3.12 on Linux with the default index of a world at `base`."""
    environment = tool_environment(file.parent / "tools", f"{base}/simple", offline=base.startswith("file:"))
    # An interpreter that is named spares uv the search for a Python 3.12, which it does not need.
    target = ("--python", sys.executable, "--python-version", "3.12", "--python-platform", PLATFORM_OF_UV)
    plain = ("--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:")
    arguments = ("pip", "compile", *plain, *target, *options, str(file))
    output = run_uv(*arguments, environment=environment, folder=file.parent)
    return dict(line.split("==") for line in output.splitlines())


def write_project(folder: Path, base: str, variant: str, requirement: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(PROJECT.format(base=base, variant=variant, requirement=requirement))
    return path


CU126_PINS = {
    "filelock": "3.20.0",
    "numpy": "2.3.5",
    "nvidia-cublas-cu12": "12.6.4.1",
    "nvidia-cuda-runtime-cu12": "12.6.77",
    "nvidia-cudnn-cu12": "9.10.2.21",
    "torch": "2.14.1+cu126",
    "torchvision": "0.29.1+cu126",
    "triton": "3.8.0",
    "typing-extensions": "4.15.0",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One world for the tests that only read it."""
    return pytorch_like_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def hostile_world(tmp_path: Path) -> World:
    world = pytorch_like_world(tmp_path / "world")
    add_hostile(world)
    return world


def test_every_file_of_the_world_has_a_valid_and_unique_name(world: World) -> None:
    for wheels in world.wheels.values():
        names = [wheel.filename for wheel in wheels]
        assert len(set(names)) == len(names)
        for wheel in wheels:
            name, version, _, _ = parse_wheel_filename(wheel.filename)
            assert (name, str(version)) == (wheel.project, wheel.version)


@pytest.mark.parametrize("over", ["file", "http"])
@pytest.mark.parametrize("kind", ["world", "hostile_world"])
def test_uv_locks_from_the_explicit_index(
    request: pytest.FixtureRequest, tmp_path: Path, over: str, kind: str
) -> None:
    world: World = request.getfixturevalue(kind)
    with IndexServer(world.folder) as server:
        base = world.url if over == "file" else server.url
        assert compile_pins(write_project(tmp_path, base, "cu126", "torch==2.14.1"), base) == CU126_PINS
        assert bool(server.requests) == (over == "http")
        # uv reads the metadata files beside the wheels.
        assert not [asked for asked in server.requests if asked.path.endswith(".whl")]


def test_hostile_copies_win_where_nothing_guards(hostile_world: World, tmp_path: Path) -> None:
    base = hostile_world.url
    (tmp_path / "requirements.in").write_text("torch\nfilelock\n")
    options = ("--index", f"{base}/whl/cu126", "--index-strategy", "unsafe-best-match")
    pins = compile_pins(tmp_path / "requirements.in", base, *options)
    assert pins == {"torch": "99.0", "filelock": "99.0"}


@pytest.mark.parametrize(
    ("variant", "requirement", "expected"),
    [
        ("cu118", "torch<2.7", {"torch": "2.5.1+cu118", "nvidia-cudnn-cu11": "9.1.0.70"}),
        ("cu118", "torch", {"torch": "2.7.1+cu118", "nvidia-cudnn-cu11": "9.1.0.70"}),
        ("cu128", "torch", {"torch": "2.11.0+cu128", "torchvision": "0.26.0+cu128"}),
        ("cu129", "torch==2.8.0", {"torch": "2.8.0+cu129", "nvidia-cublas-cu12": "12.9.1.4"}),
        ("cu130", "torch==2.11.0", {"cuda-toolkit": "13.0.2", "nvidia-cublas": "13.1.0.3"}),
        ("cu130", "torch==2.14.1", {"cuda-toolkit": "13.0.3.0", "nvidia-cuda-runtime": "13.0.96"}),
        (
            "cu132",
            "torch",
            {"torch": "2.15.0+cu132", "torchvision": "0.29.2+cu132", "nvidia-cublas": "13.4.1.3"},
        ),
        ("cpu", "torch", {"torch": "2.15.0+cpu", "filelock": "3.20.0"}),
    ],
)
def test_every_variant_locks(
    world: World, tmp_path: Path, variant: str, requirement: str, expected: dict[str, str]
) -> None:
    pins = compile_pins(write_project(tmp_path, world.url, variant, requirement), world.url)
    assert pins.items() >= expected.items()


def test_the_default_index_alone(world: World, tmp_path: Path) -> None:
    """Its torch has no label in any name, and still says cu132 when it is read or imported."""
    (tmp_path / "requirements.in").write_text("torch\ntorchaudio\ncuda-toolkit[nvcc]\n")
    pins = compile_pins(tmp_path / "requirements.in", world.url)
    expected = {"torch": "2.15.0", "torchaudio": "2.11.0", "cuda-toolkit": "13.2.2", "nvidia-nvvm": "13.2.86"}
    assert pins.items() >= expected.items()
    wheel = world.find("simple", "torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64")
    assert b"__version__ = '2.15.0+cu132'\n" in members(wheel)["torch/version.py"]


def test_torchvision_tells_its_cuda_by_elf_only(world: World) -> None:
    ours = world.find("whl/cu126", "torchvision-0.29.1+cu126-cp312-cp312-manylinux_2_28_x86_64")
    theirs = world.find("simple", "torchvision-0.29.1-cp312-cp312-manylinux_2_28_x86_64")
    assert ours.requires == theirs.requires == ("numpy", "torch>=2.14.0")
    assert b"libcudart.so.12\0" in members(ours)["torchvision/_C.so"]
    assert b"libcudart.so.13\0" in members(theirs)["torchvision/_C.so"]


def test_uv_reads_metadata_by_range_where_there_are_no_metadata_files(tmp_path: Path) -> None:
    world = pytorch_like_world(tmp_path / "world", core_metadata=False, pages="json")
    with IndexServer(world.folder) as server:
        project = write_project(tmp_path, server.url, "cu126", "torch==2.14.1")
        assert compile_pins(project, server.url) == CU126_PINS
        torch = world.path("whl/cu126", world.find("whl/cu126", f"torch-2.14.1+cu126-cp312-cp312-{LINUX}"))
        asked = [request for request in server.requests if request.path == torch]
        assert {request.method for request in asked} == {"HEAD", "GET"}
        assert all(request.range for request in asked if request.method == "GET")


def test_an_altered_wheel_is_noticed_by_its_hash(world: World, tmp_path: Path) -> None:
    index = "whl/cu126"
    wheel = world.find(index, "filelock-")
    altered = Wheel("filelock", wheel.version, "py3-none-any", files={"filelock/more.py": b""})
    with IndexServer(world.folder) as server:
        server.replace(world.path(index, wheel), altered.data)
        environment = tool_environment(tmp_path / "tools", f"{server.url}/{index}")
        (tmp_path / "requirements.txt").write_text(
            f"filelock=={wheel.version} --hash=sha256:{wheel.sha256}\n"
        )
        with pytest.raises(AssertionError, match="Hash mismatch"):
            run_uv(
                *("pip", "install", "--require-hashes", "--target", "there", "-r", "requirements.txt"),
                environment=environment,
                folder=tmp_path,
            )


def test_a_second_world_has_the_same_bytes(world: World, tmp_path: Path) -> None:
    second = pytorch_like_world(tmp_path / "second")
    first_files, second_files = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (world.folder, second.folder)
    )
    assert first_files == second_files
    assert len(first_files) > 1000


def test_tools_know_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaks = ("UV_INDEX", "PIP_FIND_LINKS", "VIRTUAL_ENV", "CONDA_PREFIX", "http_proxy", "PYTHONPATH")
    for name in leaks:
        monkeypatch.setenv(name, "leak")
    environment = tool_environment(tmp_path, "http://127.0.0.1:9/", offline=True)
    assert not [name for name, value in environment.items() if value == "leak"]
    assert environment["UV_OFFLINE"] == "1"
    assert "UV_OFFLINE" not in tool_environment(tmp_path, "http://127.0.0.1:9/")
