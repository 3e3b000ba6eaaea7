"""What wheels of torch, torchvision, torchaudio and triton say, read from small ones."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from packaging.version import Version

from cudaenv.lock.elf import needed
from cudaenv.matrix.refresh import siblings, torch
from cudaenv.matrix.refresh.artefacts import Link, ProjectFile, RawRow, Scope
from cudaenv.matrix.refresh.cells import words
from cudaenv.matrix.refresh.cudart import linked_cuda
from cudaenv.matrix.refresh.pages import read_links
from cudaenv.matrix.refresh.release_files import newest_python, releases
from cudaenv.matrix.refresh.wheel_names import WheelName
from cudaenv.model.versions import CudaVersion, PythonVersion
from tests.support.wheels import Wheel, elf_library

NEWEST = PythonVersion(3, 13)
OLD_ABI = b"\0_ZN3c105ErrorC1ENS_14SourceLocationESs\0"
NEW_ABI = b"\0_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE\0"
INDEX = "https://download.pytorch.org/whl"


class Opened:
    """A wheel in memory."""

    def __init__(self, data: bytes) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(data))
        self.sizes = {info.filename: info.file_size for info in self._archive.infolist()}

    def read(self, name: str, limit: int) -> bytes:
        if name not in self.sizes or self.sizes[name] > limit:
            raise ValueError(f"no {name} of at most {limit} bytes")
        return self._archive.read(name)

    def needed(self, name: str) -> tuple[str, ...]:
        data = self._archive.read(name)
        return needed(lambda offset, size: data[offset : offset + size])


@dataclass
class World:
    """Wheels on PyPI by project and day, and pages of other indexes."""

    pypi: list[tuple[Wheel, str]] = field(default_factory=list)
    pages: dict[str, tuple[Link, ...]] = field(default_factory=dict)
    elsewhere: list[Wheel] = field(default_factory=list)
    measured_files: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        return tuple(file_of(wheel, day) for wheel, day in self.pypi if wheel.project == project)

    def links(self, url: str) -> tuple[Link, ...] | None:
        return self.pages.get(url)

    def metadata(self, file: ProjectFile) -> bytes:
        return self._wheel(file).metadata

    def measured(
        self, file: ProjectFile, _method: str, measure: Callable[[Any], Mapping[str, str]]
    ) -> Mapping[str, str]:
        self.measured_files.append(file.name)
        return measure(Opened(self._wheel(file).data))

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [function(item) for item in items]

    def say(self, line: str) -> None:
        self.said.append(line)

    def _wheel(self, file: ProjectFile) -> Wheel:
        wheels = [*(wheel for wheel, _ in self.pypi), *self.elsewhere]
        return next(wheel for wheel in wheels if wheel.filename == file.name)

    # The rest of the interface, which these surveys have no use for.
    document = run = records = None


def file_of(wheel: Wheel, day: str) -> ProjectFile:
    return ProjectFile(
        name=wheel.filename,
        url=f"https://files.example/{wheel.filename}",
        sha256=wheel.sha256,
        requires_python=wheel.requires_python or "",
        uploaded=day,
    )


def torch_wheel(
    version: str,
    tag: str,
    *,
    cuda: str | None = None,
    flags: str = "sm_75 sm_90",
    requires: Sequence[str] = (),
    label: str | None = None,
    local: bool = False,
    changes: Mapping[str, bytes] | None = None,
) -> Wheel:
    """A small torch; `local`: its label is in its file name, too."""
    variant = CudaVersion.parse(cuda).variant if cuda else "cpu"
    label = f"{version}+{variant}" if label is None else label
    files = {
        "torch/version.py": f"__version__ = '{label}'\ncuda: Optional[str] = {cuda!r}\nhip = None\n".encode(),
        "torch/include/ATen/ATen.h": b"#error C++17 or later compatible compiler is required to use ATen.\n",
        "torch/lib/libc10.so": NEW_ABI,
    }
    if cuda:
        library = "torch_python.dll" if "win" in tag else "libtorch_python.so"
        files[f"torch/lib/{library}"] = f"invalid\0{flags}\0more\0".encode()
    name = f"{version}+{variant}" if local else version
    return Wheel("torch", name, tag, requires, ">=3.10", {**files, **(changes or {})})


def fatbin(*entries: tuple[int, int]) -> bytes:
    """What `fatbinary` writes, of entries with their kind (1 is PTX, 2 machine code) and their capability."""
    inside = b"".join(
        struct.pack("<HHIQIIHHIIIQ16x", kind, 0x101, 64, 8, 0, 0, 1, 7, capability, 0, 0, 0) + b"contents"
        for kind, capability in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(inside)) + inside


MACHINE_CODE = fatbin((1, 37), (2, 37), (2, 61), (2, 50))


LINUX, ARM, WINDOWS, MAC = "manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "win_amd64", "macosx_14_0_arm64"
PINS = (
    'nvidia-cudnn-cu13==9.26.0.51; platform_system == "Linux"',
    'nvidia-nccl-cu13==2.30.7; platform_system == "Linux"',
    'triton~=3.9.0; platform_system == "Linux" and python_version < "3.12"',
    'nvidia-cudnn-cu12 (==1.2.3) ; extra == "old"',
)


def pypi_rows(*wheels: Wheel, day: str = "2026-10-28", since: str = "") -> list[RawRow]:
    return torch.pypi_rows(World([(wheel, day) for wheel in wheels]), Scope(since=since))  # type: ignore[arg-type]


# Names.


@pytest.mark.parametrize(
    ("tag", "platforms", "pythons", "glibc", "macos"),
    [
        ("cp36-cp36m-manylinux1_x86_64", "linux-64", "3.6", "2.5", ""),
        ("cp312-cp312-manylinux_2_28_aarch64", "linux-aarch64", "3.12", "2.28", ""),
        (
            "cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64.manylinux_2_28_x86_64",
            "linux-64",
            "3.9",
            "2.17",
            "",
        ),
        ("cp310-cp310-manylinux2010_x86_64", "linux-64", "3.10", "2.12", ""),
        ("cp310-cp310-linux_x86_64", "linux-64", "3.10", "None", ""),
        ("cp310-cp310-musllinux_1_2_x86_64", "", "3.10", "None", ""),
        ("cp310-cp310-win_amd64", "win-64", "3.10", "None", ""),
        ("cp310-none-macosx_11_0_arm64", "osx-arm64", "3.10", "None", "11.0"),
        ("cp310-cp310-macosx_10_9_universal2", "osx-arm64", "3.10", "None", "11.0"),
        ("cp310-cp310-macosx_10_9_x86_64", "", "3.10", "None", ""),
        ("cp311-abi3-win_amd64", "win-64", "3.11 3.12 3.13", "None", ""),
        ("cp313-cp313t-win_amd64", "win-64", "", "None", ""),
        ("cp311-cp311.abi3t-win_amd64", "win-64", "3.11", "None", ""),
        ("py3-none-win_amd64", "win-64", "3.6 3.7 3.8 3.9 3.10 3.11 3.12 3.13", "None", ""),
        ("py312-none-win_amd64", "win-64", "3.12 3.13", "None", ""),
        ("py2-none-win_amd64", "win-64", "", "None", ""),
    ],
)
def test_a_wheel_name_tells_platforms_pythons_and_floors(
    tag: str, platforms: str, pythons: str, glibc: str, macos: str
) -> None:
    name = WheelName.parse(f"torch-2.14.1+cu126-{tag}.whl")
    assert (str(name.version), name.local, name.is_pure) == ("2.14.1", "cu126", False)
    assert (words(name.platforms), words(name.pythons(NEWEST))) == (platforms, pythons)
    assert (str(name.glibc), name.macos) == (glibc, macos)


def test_a_pure_wheel_goes_with_every_platform() -> None:
    name = WheelName.parse("thing-1-py3-none-any.whl")
    assert name.is_pure
    assert words(name.platforms) == "linux-64 linux-aarch64 win-64 osx-arm64"


@pytest.mark.parametrize("name", ["torch.whl", "torch-x-cp312-cp312-win_amd64.whl", "torch-1.0.tar.gz", ""])
def test_what_is_no_wheel_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="wheel"):
        WheelName.parse(name)


def test_requires_python_bounds_the_pythons() -> None:
    name = WheelName.parse("thing-1-py3-none-win_amd64.whl")
    assert words(name.pythons(NEWEST, ">=3.10.4,!=3.11.*,<3.13")) == "3.10 3.12"
    with pytest.raises(ValueError, match="Requires-Python is '3 or so'"):
        name.pythons(NEWEST, "3 or so")


def test_releases_are_those_that_an_installer_would_take_by_default_in_the_order_of_versions() -> None:
    names = [
        "torch-2.10.0-cp310-cp310-win_amd64.whl",
        "torch-2.9.0-cp310-cp310-win_amd64.whl",
        "torch-2.9.0.tar.gz",
        "torch-2.8.0-cp310-cp310-win_amd64.whl",  # yanked
        "torch-2.11.0rc1-cp310-cp310-win_amd64.whl",
        "torch-2.7.0-cp27-cp27mu-win_amd64.whl",
        "torch-2.9.0-cp313-cp313t-win_amd64.whl",
        "torchvision-0.1-cp310-cp310-win_amd64.whl",
        "torch-latest.whl",
        "torch-1.0.exe",
    ]
    files = [ProjectFile(name=name, url="", yanked="2.8.0" in name, uploaded="2026-01-02") for name in names]
    files.append(replace(files[1], name="torch-2.9.0-cp39-cp39-win_amd64.whl", uploaded="2026-01-01"))
    found = releases("torch", files)
    assert [(str(release.version), len(release.wheels), len(release.sdists)) for release in found] == [
        ("2.9.0", 2, 1),
        ("2.10.0", 1, 0),
    ]
    assert [release.uploaded for release in found] == ["2026-01-01", "2026-01-02"]
    assert newest_python(found) == PythonVersion(3, 10)
    assert words(found[0].pythons(NEWEST)) == "3.9 3.10"
    with pytest.raises(ValueError, match="no wheel is tagged"):
        newest_python([])


# What torch's files say.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("__version__ = '1.10.0+cu102'\ncuda = '10.2'\nhip = None\n", ("1.10.0+cu102", "10.2")),
        ("__version__ = '2.6.0'\r\ncuda: Optional[str] = None\r\n", ("2.6.0", "None")),
        ('__version__: str = "2.16.0"\ncuda: str | None = "13.3"\ncuda_home = "x"\n', ("2.16.0", "13.3")),
    ],
)
def test_version_py(text: str, expected: tuple[str, str]) -> None:
    label, cuda = torch.read_version(text)
    assert (label, str(cuda)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "__version__ = '2.6.0'\n",
        "__version__ = '2.6.0'\n__version__ = '2.7.0'\ncuda = None\n",
        "__version__ = '2.6.0'\ncuda = None or '12.4'\n",
        "__version__ = '2.6.0'\ncuda = '12'\n",
        "__version__ = open('x').read()\ncuda = None\n",
        "__version__ = '2.6.0' + suffix\ncuda = None\n",
    ],
)
def test_another_version_py_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"version\.py states|not a CUDA release line"):
        torch.read_version(text)


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        (b"invalid\0sm_37 sm_50\0more", {"sms": "3.7 5.0"}),
        (b"device, std::string ipc_hsm_70 sm_120 sm_86\0\0sm_\0", {"sms": "7.0 8.6 12.0"}),
        (b"\0sm_90 sm_120 compute_120\0", {"sms": "9.0 12.0", "ptx": "12.0"}),
        (b"\0sm_90\0same\0sm_90\0", {"sms": "9.0"}),
    ],
)
def test_lists_of_architectures(library: bytes, expected: dict[str, str]) -> None:
    assert torch.read_architectures(library) == expected


@pytest.mark.parametrize(
    "library",
    [
        b"",
        b"\0compute_90\0",
        b"sm_90 without an end",
        b"\0sm_80\0sm_90\0",
        b"\0compute_80 sm_90\0",
        b"\0needs at least sm_90\0",
        b"\0sm_90 sm_90a\0",
    ],
)
def test_other_lists_of_architectures_are_refused(library: bytes) -> None:
    with pytest.raises(ValueError, match=r"lists? of architectures|not a compute capability"):
        torch.read_architectures(library)


def test_a_list_of_architectures_without_an_end_is_not_read_again_and_again() -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match="0 lists of architectures"):
        torch.read_architectures(b"sm_80 " * 200_000)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "library",
    [MACHINE_CODE, b"\x7fELF" + MACHINE_CODE + b"\0" * 9 + fatbin((2, 37), (2, 50), (2, 61)) + b"\0"],
)
def test_fatbins_tell_the_architectures_of_machine_code(library: bytes) -> None:
    assert torch.read_fatbins(library) == {"sms": "3.7 5.0 6.1"}


@pytest.mark.parametrize(
    ("library", "message"),
    [
        (b"", "for 0 lists"),
        (fatbin((1, 37)), "for 0 lists"),
        (MACHINE_CODE + fatbin((2, 37)), "for 2 lists"),
        (MACHINE_CODE[:-1], "cut off"),
        (MACHINE_CODE[:12], "cut off"),
        (fatbin((2, 9999)), "not a compute capability"),
    ],
)
def test_other_fatbins_are_refused(library: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torch.read_fatbins(library)


def test_what_begins_like_a_fatbin_inside_one_is_its_content() -> None:
    inner = fatbin((2, 70))
    assert torch.read_fatbins(fatbin((2, 70)).replace(b"contents", inner[:8]) + inner) == {"sms": "7.0"}


@pytest.mark.parametrize(
    ("headers", "standard"),
    [
        (["# error C++20 or later compatible compiler is required\n#error x"], "20"),
        (["#pragma once\n", "#error You need C++14 to compile PyTorch\n"], "14"),
        (["#error C++17 or later compatible compiler", "#error You need C++14 to compile PyTorch"], "17"),
    ],
)
def test_the_first_header_that_refuses_compilers_tells_the_cxx_standard(
    headers: Sequence[str], standard: str
) -> None:
    assert torch.read_standard(headers) == standard


def test_the_cxx_standard_and_the_string_abi_have_to_be_there_once() -> None:
    for name in (OLD_ABI, OLD_ABI.replace(b"ESs", b"ERKSs")):
        assert torch.read_string_abi(name) == "0"
    for name in (NEW_ABI, NEW_ABI.replace(b"ENSt7", b"ERKNSt7")):
        assert torch.read_string_abi(name) == "1"
    for header in (
        "",
        "#error C++14 or later compatible compiler\n#error C++17 or later compatible compiler",
    ):
        with pytest.raises(ValueError, match=r"ATen\.h"):
            torch.read_standard([header])
    for library in (b"", OLD_ABI + NEW_ABI):
        with pytest.raises(ValueError, match=r"libc10\.so"):
            torch.read_string_abi(library)


# Rows of torch.


def test_a_row_for_each_platform_of_a_release() -> None:
    linux = torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", cuda="13.2", requires=PINS)
    rows = pypi_rows(
        linux,
        torch_wheel("2.15.0", f"cp311-cp311-{LINUX}", cuda="13.2", requires=PINS),
        torch_wheel("2.15.0", f"cp313-cp313t-{LINUX}", cuda="13.2", requires=PINS),
        torch_wheel("2.15.0", f"cp312-cp312-{WINDOWS}", requires=PINS),
        torch_wheel("2.15.0", f"cp312-none-{MAC}", label="2.15.0"),
        torch_wheel("2.15.0", "cp311-none-macosx_11_0_arm64", label="2.15.0"),
        torch_wheel("2.15.0", "cp313-cp313t-macosx_15_0_arm64"),
        torch_wheel("2.15.0", "cp312-cp312-macosx_10_9_x86_64"),
        torch_wheel("1.3.1", f"cp312-cp312-{LINUX}"),
    )
    ends = {"source": "wheels", "basis": "measured"}
    expected = [
        {
            "version": "2.15.0",
            "variant": "cu132",
            "platform": "linux-64",
            "pythons": "3.11 3.12",
            "sms": "7.5 9.0",
            "glibc": "2.28",
            "cudnn": "9.26.0.51",
            "nccl": "2.30.7",
            "triton": "~=3.9.0",
            "cxx": "17",
            "cxx11_abi": "1",
            **ends,
        },
        {"version": "2.15.0", "variant": "cpu", "platform": "win-64", "pythons": "3.12", "cxx": "17", **ends},
        {
            "version": "2.15.0",
            "variant": "cpu",
            "platform": "osx-arm64",
            "pythons": "3.11 3.12",
            "macos": "14.0",
            "cxx": "17",
            **ends,
        },
    ]
    assert [list(row.items()) for row in rows] == [list(row.items()) for row in expected]


def test_tags_that_promise_less_than_manylinux2014_count_as_that() -> None:
    wheels = [torch_wheel(version, f"cp310-cp310-{tag}") for version, tag in FLOORS]
    assert [row["glibc"] for row in pypi_rows(*wheels)] == ["2.17", "2.17", "2.28"]


FLOORS = (("2.1.0", "manylinux1_x86_64"), ("2.2.0", "linux_x86_64"), ("2.3.0", "manylinux_2_28_x86_64"))


def test_only_releases_of_the_wanted_days_are_measured() -> None:
    old, new = (torch_wheel(version, f"cp312-cp312-{WINDOWS}") for version in ("2.14.0", "2.15.0"))
    world = World([(old, "2026-09-02"), (new, "2026-10-28")])
    rows = torch.pypi_rows(world, Scope(since="2026-10-01"))  # type: ignore[arg-type]
    assert [row["version"] for row in rows] == ["2.15.0"]
    assert world.measured_files == [new.filename]


def test_the_build_with_the_greatest_number_is_the_one_that_is_read() -> None:
    world = World(
        [
            (torch_wheel("2.10.0", f"{build}cp310-cp310-{WINDOWS}"), "2026-01-21")
            for build in ("", "2-", "10-")
        ]
    )
    torch.pypi_rows(world, Scope())  # type: ignore[arg-type]
    assert world.measured_files == [f"torch-2.10.0-10-cp310-cp310-{WINDOWS}.whl"]


KERNELS = "torch/lib/libcaffe2_detectron_ops_gpu.so"


@pytest.mark.parametrize(
    ("version", "headers", "cxx"),
    [
        ("1.4.1", {}, None),
        ("1.5.1", {"torch/include/c10/util/C++17.h": b"#error You need C++14 to compile PyTorch"}, "14"),
    ],
)
def test_releases_before_lists_of_architectures_tell_them_by_their_kernels(
    version: str, headers: Mapping[str, bytes], cxx: str | None
) -> None:
    changes = {"torch/include/ATen/ATen.h": b"", KERNELS: MACHINE_CODE, **headers}
    (row,) = pypi_rows(
        torch_wheel(version, "cp310-cp310-manylinux1_x86_64", cuda="10.1", flags="none", changes=changes)
    )
    assert (row["sms"], row.get("ptx"), row.get("cxx")) == ("3.7 5.0 6.1", None, cxx)


def test_a_list_of_architectures_comes_before_what_kernels_tell() -> None:
    tag = "cp310-cp310-manylinux1_x86_64"
    (row,) = pypi_rows(torch_wheel("1.6.0", tag, cuda="10.2", changes={KERNELS: MACHINE_CODE}))
    assert row["sms"] == "7.5 9.0"


def test_wheels_that_no_installer_takes_are_no_builds() -> None:
    rows = pypi_rows(
        torch_wheel("1.7.0", f"cp310-cp310-{WINDOWS}"),
        torch_wheel("1.7.0", "cp310-cp310-manylinux1_x86_64"),
        torch_wheel("1.7.1", f"cp310-cp310-{WINDOWS}"),
    )
    shown = [(row["version"], row["platform"]) for row in rows]
    assert shown == [("1.7.0", "linux-64"), ("1.7.1", "win-64")]


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        (torch_wheel("2.15.0", f"cp312-none-{MAC}", cuda="13.2"), "a build for CUDA 13.2 on osx-arm64"),
        (
            torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", cuda="13.2", flags="none"),
            "0 lists of architectures",
        ),
        (
            torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", label="2.15.0+cu130"),
            r"2\.15\.0\+cu130 and a build for cpu",
        ),
        (
            torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", requires=["triton @ https://x"]),
            "requires triton ?@ https://x",
        ),
        (
            torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", requires=["nvidia-cudnn-cu13>=9"]),
            "nvidia-cudnn-cu13>=9, which is no exact version",
        ),
        (
            torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", requires=["triton==1", "triton==2"]),
            "requires triton==1, triton==2",
        ),
        (torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", requires=["triton =>1"]), "requires 'triton =>1'"),
        (
            torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", changes={"other.dist-info/METADATA": b""}),
            "2 METADATA files",
        ),
        (
            torch_wheel("2.15.0", f"cp312-cp312-{LINUX}", changes={"torch/lib/libc10.so": b""}),
            "libc10.so exports",
        ),
    ],
)
def test_a_wheel_that_is_not_as_torch_ones_are_is_an_error(wheel: Wheel, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pypi_rows(wheel)


# The variant indexes.


HASH = "sha256=" + "1" * 64


def page(variant: str, names: Iterable[str], host: str = "") -> tuple[Link, ...]:
    """A page as download.pytorch.org has them."""
    anchors = "".join(
        f'    <a href="{host}/whl/{variant}/{name.replace("+", "%2B")}#{HASH}" '
        f'data-dist-info-metadata="{HASH}" data-core-metadata="{HASH}">{name}</a><br/>\n'
        for name in names
    )
    text = f"<!DOCTYPE html>\n<html>\n  <body>\n    <h1>Links for torch</h1>\n{anchors}  </body>\n</html>\n"
    url = f"{INDEX}/{variant}/torch/"
    return read_links(
        f"{text}<!--TIMESTAMP 1790000000-->\n".encode(), "text/html", url, ["download-r2.pytorch.org"]
    )


def index_world() -> World:
    elsewhere = [
        torch_wheel("2.14.1", f"cp312-cp312-{LINUX}", cuda="12.6", flags="sm_50 sm_90", local=True),
        torch_wheel("2.14.1", f"cp311-cp311-{LINUX}", cuda="12.6", flags="sm_50 sm_90", local=True),
        torch_wheel("2.14.1", f"cp312-cp312-{WINDOWS}", cuda="12.6", flags="sm_50 sm_61", local=True),
        torch_wheel("2.14.1", f"cp312-cp312-{LINUX}", cuda="13.0", local=True),
        torch_wheel("2.14.1", f"cp312-cp312-{ARM}", cuda="13.0", local=True),
        torch_wheel("2.14.1", f"cp312-cp312-{LINUX}", local=True),
        torch_wheel("2.14.1", f"cp312-cp312-{WINDOWS}", local=True),
        torch_wheel("2.14.1", f"cp312-none-{MAC}", label="2.14.1"),
        torch_wheel("1.12.1", "cp310-cp310-linux_x86_64", cuda="12.6", local=True),
        torch_wheel("1.3.1", "cp310-cp310-linux_x86_64", cuda="12.6", local=True),
        torch_wheel("2.13.0", f"cp312-cp312-{ARM}", label="2.13.0"),
    ]
    pypi = [
        torch_wheel("2.14.1", f"cp312-cp312-{LINUX}", cuda="13.0"),
        torch_wheel("2.14.1", f"cp312-cp312-{WINDOWS}"),
        torch_wheel("2.14.1", f"cp312-none-{MAC}", label="2.14.1"),
    ]
    names = {
        variant: [wheel.filename for wheel in elsewhere if variant in wheel.filename] for variant in VARIANTS
    }
    names["cu126"].append("torch-2.14.1+cu126.with.pypi.cudnn-cp310-cp310-linux_x86_64.whl")
    names["cu126"].append("torch-2.16.0.dev20261101+cu126-cp312-cp312-linux_x86_64.whl")
    names["cpu"] += [pypi[2].filename, f"torch-2.13.0-cp312-cp312-{ARM}.whl"]
    pages = {f"{INDEX}/{variant}/torch/": page(variant, names[variant]) for variant in VARIANTS}
    url = f"{INDEX}/cu126/torch/"
    pages[url] += page("cu126", names["cu126"][:1], "https://download-r2.pytorch.org")
    return World([(wheel, "2026-09-30") for wheel in pypi], pages, elsewhere)


VARIANTS = ("cpu", "cu126", "cu130")


def test_the_indexes_have_rows_for_builds_that_pypi_does_not_carry() -> None:
    rows = torch.index_rows(index_world(), Scope(), variants=("cu129", *VARIANTS))  # type: ignore[arg-type]
    shown = [
        (row["version"], row["variant"], row["platform"], row["pythons"], row.get("glibc")) for row in rows
    ]
    assert shown == [
        ("2.13.0", "cpu", "linux-aarch64", "3.12", "2.28"),
        ("2.14.1", "cpu", "linux-64", "3.12", "2.28"),
        ("1.12.1", "cu126", "linux-64", "3.10", "2.17"),
        ("2.14.1", "cu126", "linux-64", "3.11 3.12", "2.28"),
        ("2.14.1", "cu126", "win-64", "3.12", None),
        ("2.14.1", "cu130", "linux-aarch64", "3.12", "2.28"),
    ]
    assert {row["index"] for row in rows} == {"pytorch"}
    assert list(rows[3])[:6] == ["version", "variant", "platform", "index", "pythons", "sms"]
    assert (rows[3]["sms"], rows[4]["sms"]) == ("5.0 9.0", "5.0 6.1")


def test_a_release_on_the_indexes_is_as_old_as_it_is_on_pypi() -> None:
    world = index_world()
    rows = torch.index_rows(world, Scope(since="2026-10-01"), INDEX, VARIANTS)  # type: ignore[arg-type]
    assert [(row["version"], row["variant"]) for row in rows] == [
        ("2.13.0", "cpu"),
        ("1.12.1", "cu126"),
    ]  # not on PyPI here


def test_a_wheel_that_is_another_build_than_its_name_says_is_an_error() -> None:
    world = index_world()
    wheel = torch_wheel("2.14.1", f"cp312-cp312-{LINUX}", cuda="12.6", local=True)
    wrong = replace(wheel, files={**wheel.files, **torch_wheel("2.14.1", "x", cuda="12.4").files})
    world.elsewhere = [item for item in world.elsewhere if "cu126" not in item.filename] + [wrong]
    world.pages = {f"{INDEX}/cu126/torch/": page("cu126", [wrong.filename])}
    with pytest.raises(ValueError, match=r"\+cu126-cp312-cp312-.*: it is a build for cu124"):
        torch.index_rows(world, Scope(), INDEX, ["cu126"])  # type: ignore[arg-type]


def test_each_survey_owns_the_rows_of_its_place() -> None:
    pypi, index = torch.SURVEYS
    assert (pypi.place, index.place) == ("pypi", "pytorch")
    assert pypi.owns({"version": "2.15.0"})
    assert index.owns({"index": "pytorch"})
    assert not pypi.owns({"index": "pytorch"})
    assert not index.owns({"index": "other"})
    assert {"cpu", "cu92", "cu101", "cu102", "cu118", "cu126", "cu130", "cu132"} <= set(torch.VARIANTS)


# torchvision, torchaudio and triton.


def sibling(
    version: str, requires: Sequence[str], day: str, libraries: Mapping[str, Sequence[str]] | None = None
) -> tuple[Wheel, str]:
    files = {name: elf_library(names) for name, names in (libraries or {}).items()}
    return Wheel("torchvision", version, f"cp312-cp312-{LINUX}", requires, None, files), day


def sibling_world(*wheels: tuple[Wheel, str]) -> World:
    days = {"2.13.0": "2026-07-08", "2.13.1": "2026-09-29", "2.14.0": "2026-09-02", "2.14.1": "2026-09-30"}
    days["2.15.0"] = "2026-10-28"
    torches = [(torch_wheel(version, f"cp312-cp312-{LINUX}"), day) for version, day in days.items()]
    return World([*torches, *wheels])


def sibling_rows(*wheels: tuple[Wheel, str], since: str = "") -> list[RawRow]:
    return siblings.sibling_rows("torchvision", sibling_world(*wheels), Scope(since=since))  # type: ignore[arg-type]


def test_a_pinned_sibling_was_built_with_what_it_pins() -> None:
    (row,) = sibling_rows(
        sibling(
            "0.28.0",
            ["numpy", "torch (==2.13.0)"],
            "2026-07-08",
            {
                "torchvision/_C.so": ["libc10.so", "libcudart.so.13"],
                "torchvision.libs/libz.so.1": ["libc.so.6"],
            },
        )
    )
    assert list(row.items()) == [
        ("version", "0.28.0"),
        ("torch", "==2.13.0"),
        ("released_with", "2.13.0"),
        ("cuda", "13"),
        ("platforms", "linux-64"),
        ("pythons", "3.12"),
        ("source", "wheels"),
        ("basis", "measured"),
    ]


@pytest.mark.parametrize(
    ("day", "built"), [("2026-09-30", "2.14.1"), ("2026-10-03", "2.14.1"), ("2026-10-29", "2.15.0")]
)
def test_a_sibling_without_a_pin_belongs_to_the_torch_that_came_out_with_it(day: str, built: str) -> None:
    (row,) = sibling_rows(sibling("0.29.1", ["torch (>=2.14.0)"], day))
    assert (row["torch"], row["released_with"], row["basis"]) == (">=2.14.0", built, "measured")
    assert "cuda" not in row


def test_a_sibling_without_a_requirement_takes_torch_from_what_it_was_built_with_on() -> None:
    later, row = sibling_rows(sibling("2.10.9", [], "2026-10-01"), sibling("2.11.0", [], "2026-07-09"))
    assert later["released_with"] == "2.14.1"
    assert (row["torch"], row["released_with"], row["basis"]) == (">=2.13.0", "2.13.0", "inferred")
    assert row["note"] == "METADATA has no torch requirement; built with 2.13.0"


def test_a_sibling_that_belongs_to_no_torch_is_an_error() -> None:
    for day, message in (("2026-10-20", "none came out with it on 2026-10-20"), ("", "when it was uploaded")):
        with pytest.raises(ValueError, match=f"torchvision-0.30.0-.*: its METADATA pins no torch.*{message}"):
            sibling_rows(sibling("0.30.0", ["torch>=2.14"], day))


def test_a_sibling_of_a_torch_that_is_not_there_is_left_out() -> None:
    world = sibling_world(
        sibling("0.26.0", ["torch==2.11.0"], "2026-10-01"), sibling("0.1.0", ["torch==1.2"], "2019-01-01")
    )
    assert siblings.sibling_rows("torchvision", world, Scope()) == []  # type: ignore[arg-type]
    assert world.said == ["torchvision 0.26.0: left out, no torch of the matrix is torch==2.11.0"]
    assert len(world.measured_files) == 1  # the one of before the first torch is not read at all


@pytest.mark.parametrize(
    ("project", "version", "released_with"),
    [("torchaudio", "0.9.1", None), ("torchaudio", "0.10.0", "2.14.0"), ("torchvision", "0.9.1", "2.14.0")],
)
def test_torchaudio_had_one_build_for_all_variants_at_first(
    project: str, version: str, released_with: str | None
) -> None:
    wheel = Wheel(project, version, f"cp312-cp312-{LINUX}", ["torch==2.14.0"], None, {})
    rows = siblings.sibling_rows(project, sibling_world((wheel, "2026-09-02")), Scope())  # type: ignore[arg-type]
    assert [(row["torch"], row.get("released_with")) for row in rows] == [("==2.14.0", released_with)]


@pytest.mark.parametrize(
    ("libraries", "cuda"),
    [
        ({"t/_C.so": ["libcudart.so.11.0"]}, "11"),
        ({"t/image.so": ["libcudart.459720b2.so.10.2"]}, "10"),
        ({"t/image.so": ["libcudart-80664282.so.10.2"]}, "10"),
        (
            {
                "t/_torchaudio.abi3.so": ["libtorch.so"],
                "t/lib/lib.so.1": ["libcudart.so.12", "libcudart.so.12"],
            },
            "12",
        ),
        ({"t/a.so": ["libcudart.so.13", *"abcdefgh"], "t/b.so": ["libcudart.so.12"]}, "12"),
        ({"t.libs/libnvjpeg.so.13": ["libcudart.so.13"]}, ""),
        ({"t/_C.so": ["libcudart_static.so.13", "libnvcudart.so.13"]}, ""),
        ({}, ""),
    ],
)
def test_the_cuda_that_a_package_is_linked_to(libraries: Mapping[str, Sequence[str]], cuda: str) -> None:
    found = linked_cuda(Opened(sibling("1", [], "", libraries)[0].data))
    assert (str(found.major) if found else "") == cuda


def test_a_library_that_asks_for_two_runtimes_is_an_error() -> None:
    wheel, _ = sibling("1", [], "", {"t/_C.so": ["libcudart.so.12", "libcudart.so.13"]})
    with pytest.raises(ValueError, match=r"t/_C\.so asks for libcudart of CUDA 12, 13"):
        linked_cuda(Opened(wheel.data))


def test_triton_goes_with_the_releases_of_torch_that_require_it() -> None:
    days = {"2.13.0": "2026-07-08", "2.14.0": "2026-09-02", "2.14.1": "2026-09-30", "2.15.0": "2026-10-28"}
    needs = {"2.13.0": "==3.7.1", "2.14.0": "~=3.8.0", "2.14.1": "~=3.8.0", "2.15.0": "~=3.9.0"}
    world = World(
        [
            (torch_wheel(version, f"cp312-cp312-{LINUX}", requires=[f"triton{needs[version]}"]), day)
            for version, day in days.items()
        ]
        + [
            (Wheel("triton", version, f"cp312-abi3-{LINUX}", (), "<3.16"), "2026-01-01")
            for version in ("3.6.0", "3.7.1", "3.8.0", "3.8.1", "3.9.0")
        ]
    )
    rows = siblings.triton_rows(world, Scope())  # type: ignore[arg-type]
    assert [(row["version"], row["torch"]) for row in rows] == [
        ("3.7.1", "==2.13.0"),
        ("3.8.0", ">=2.14.0,<=2.14.1"),
        ("3.8.1", ">=2.14.0,<=2.14.1"),
        ("3.9.0", "==2.15.0"),
    ]
    assert list(rows[0]) == ["version", "torch", "platforms", "pythons", "source", "published", "basis"]
    recent = siblings.triton_rows(world, Scope(since="2026-09-15"))  # type: ignore[arg-type]
    assert [row["version"] for row in recent] == ["3.8.0", "3.8.1", "3.9.0"]


def test_a_range_of_versions_leaves_out_what_lies_between() -> None:
    everything = [Version(text) for text in ("2.1.0", "2.2.0", "2.3.0", "2.4.0")]
    assert siblings.version_range(everything[:1], everything) == "==2.1.0"
    assert siblings.version_range(everything[1:], everything) == ">=2.2.0,<=2.4.0"
    assert (
        siblings.version_range([everything[0], everything[3]], everything)
        == ">=2.1.0,<=2.4.0,!=2.2.0,!=2.3.0"
    )


def test_siblings_are_measured_on_pypi_alone() -> None:
    assert [(survey.table, survey.place) for survey in siblings.SURVEYS] == [
        ("packages/torchvision", "pypi"),
        ("packages/torchaudio", "pypi"),
        ("packages/triton", "pypi"),
    ]
    assert all(
        survey.owns({"version": "1"}) and not survey.owns({"index": "x"}) for survey in siblings.SURVEYS
    )
