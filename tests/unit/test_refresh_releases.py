"""Releases of extension packages as their files say, read from small wheels and fake pages."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cudaenv.matrix.document import read_document
from cudaenv.matrix.refresh import cudart as linked
from cudaenv.matrix.refresh.artefacts import Link, ProjectFile, RawRow, Scope
from cudaenv.matrix.refresh.artefacts import Wheel as Readable
from cudaenv.matrix.refresh.cudart import read_cudart
from cudaenv.matrix.refresh.dependencies import Dependencies
from cudaenv.matrix.refresh.pages import read_links
from cudaenv.matrix.refresh.releases import Measure, surveys
from cudaenv.matrix.refresh.xformers import read_cpp_lib
from cudaenv.model.documents import Problems
from cudaenv.model.machine import Platform
from cudaenv.model.versions import PythonVersion
from cudaenv.system.remote_wheels import RemoteWheel
from tests.support.wheels import Wheel, compiled_wheel, elf_library

LINUX = "manylinux_2_28_x86_64"
INDEXES = {"pytorch": "https://example.org/whl/{variant}"}
TORCH = Wheel("torch", "2.15.0", f"cp315-cp315-{LINUX}")


def opened(data: bytes) -> RemoteWheel:
    return RemoteWheel("https://example.org/x.whl", zipfile.ZipFile(io.BytesIO(data)))


@dataclass
class Fake:
    """What surveys read: wheels and other files of PyPI, and pages of another index, in memory."""

    wheels: Sequence[Wheel] = ()
    others: Sequence[ProjectFile] = ()
    pages: Mapping[str, tuple[Link, ...]] = field(default_factory=dict)
    changed: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        found = [self._file(wheel) for wheel in (TORCH, *self.wheels) if wheel.project == project]
        return (*found, *(file for file in self.others if file.name.startswith(project.replace("-", "_"))))

    def _file(self, wheel: Wheel) -> ProjectFile:
        file = ProjectFile(
            name=wheel.filename,
            url=f"https://example.org/{wheel.filename}",
            requires_python=wheel.requires_python or "",
        )
        return replace(file, **self.changed.get(wheel.filename, {}))

    def _data(self, file: ProjectFile) -> bytes:
        name = file.url.rpartition("/")[2].replace("%2B", "+")
        return next(wheel for wheel in self.wheels if wheel.filename == name).data

    def links(self, url: str) -> tuple[Link, ...] | None:
        self.asked.append(url)
        return self.pages.get(url)

    def document(self, url: str) -> object:
        raise NotImplementedError

    def metadata(self, file: ProjectFile) -> bytes:
        wheel = opened(self._data(file))
        return wheel.read(next(name for name in wheel.sizes if name.endswith("/METADATA")), 1 << 20)

    def measured(
        self, file: ProjectFile, method: str, measure: Callable[[Readable], Mapping[str, str]]
    ) -> Mapping[str, str]:
        self.asked.append(f"{method} {file.name}")
        return measure(opened(self._data(file)))

    def run(self, file: ProjectFile, member: str, arguments: Collection[str]) -> str:
        raise NotImplementedError

    def records(
        self, channel: str, platform: str, names: Collection[str]
    ) -> tuple[Mapping[str, object], ...]:
        raise NotImplementedError

    def each(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(map(function, items))

    def say(self, line: str) -> None:
        self.said.append(line)


def line(project: str, reads: str = "metadata", first: str = "0.0.1", **more: str) -> Measure:
    return Measure.read({"project": project, "first": first, "source": "wheels", "reads": reads, **more})


def rows(fake: Fake, *lines: Measure, scope: Scope | None = None) -> list[RawRow]:
    found = surveys(f"packages/{lines[0].project}", lines, INDEXES)
    return [row for survey in found for row in survey.measure(fake, scope or Scope())]


def cpp_lib(cuda: int = 1208, torch: str = "2.10.0+cu128", targets: str = "7.5 8.0+PTX 8.0 9.0a") -> bytes:
    return json.dumps(
        {"version": {"cuda": cuda, "torch": torch}, "env": {"TORCH_CUDA_ARCH_LIST": targets}}
    ).encode()


def xformers(version: str, tag: str, wanted: str = ">=2.10", **said: Any) -> Wheel:
    files = {"xformers/cpp_lib.json": cpp_lib(**said), "xformers/_C.so": b""}
    return Wheel("xformers", version, tag, [f"torch{wanted}"], ">=3.9", files)


def test_an_xformers_row_says_what_the_wheel_was_built_with() -> None:
    fake = Fake([xformers("0.0.35", f"py39-none-{LINUX}"), xformers("0.0.35", "py39-none-win_amd64")])
    assert rows(fake, line("xformers", "cpp_lib")) == [
        {
            "version": "0.0.35",
            "files": "wheel",
            "torch": ">=2.10",
            "built_with": "2.10.0",
            "cuda": "12.8",
            "platforms": "linux-64 win-64",
            "pythons": "3.9 3.10 3.11 3.12 3.13 3.14 3.15",
            "glibc": "2.28",
            "sms": "7.5 8.0",
            "exact": "9.0",
            "ptx": "8.0",
            "source": "wheels",
            "basis": "measured",
        }
    ]


def test_the_cuda_of_a_mistaken_upload_is_the_one_in_the_wheel() -> None:
    tag = f"cp39-abi3-{LINUX}"
    wrong = xformers("0.0.33", tag, "==2.9.0", cuda=1300, torch="2.9.0+cu130", targets="7.5 8.0+PTX 12.0a")
    right = xformers("0.0.33.post1", tag, "==2.9.0", torch="2.9.0+cu128")
    found = rows(Fake([right, wrong]), line("xformers", "cpp_lib"))
    assert [(row["version"], row["cuda"]) for row in found] == [("0.0.33", "13.0"), ("0.0.33.post1", "12.8")]


def test_a_windows_wheel_that_was_built_otherwise_is_a_note() -> None:
    linux = xformers("0.0.35", f"cp39-abi3-{LINUX}", targets="8.0")
    windows = xformers("0.0.35", "cp39-abi3-win_amd64", cuda=1206, torch="2.10.0+cu126", targets="8.0")
    (row,) = rows(Fake([linux, windows]), line("xformers", "cpp_lib"))
    assert row["cuda"] == "12.8"
    assert row["note"] == "win-64: cuda 12.6, built_with 2.10.0, sms 8.0"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"{}", "does not say"),
        (b"[", "Expecting value"),
        (b"[]", "does not say"),
        (cpp_lib(torch="new"), "does not say"),
        (cpp_lib(targets="Hopper"), "'Hopper' is not an architecture"),
        (cpp_lib(targets=""), "lists no architecture"),
        (cpp_lib(cuda=0), "not a driver API version"),
        (cpp_lib().replace(b"1208", b"1e999"), "does not say"),
        (b'{"version": {"cuda": null, "torch": "2.0"}, "env": {"TORCH_CUDA_ARCH_LIST": "8.0"}}', "not say"),
        (b"[" * 100_000, "does not say"),
    ],
)
def test_what_is_no_account_of_a_build_is_refused(text: bytes, what: str) -> None:
    wheel = Wheel("xformers", "1", "py3-none-any", files={"xformers/cpp_lib.json": text})
    with pytest.raises(ValueError, match=what):
        read_cpp_lib(opened(wheel.data))


def test_a_wheel_that_is_not_as_expected_is_named() -> None:
    wheel = Wheel("xformers", "0.0.35", f"py39-none-{LINUX}", ["torch"])
    with pytest.raises(
        ValueError, match=r"xformers-0\.0\.35-py39-none-manylinux_2_28_x86_64\.whl: there is no"
    ):
        rows(Fake([wheel]), line("xformers", "cpp_lib"))


def test_a_release_without_binaries_has_no_cuda() -> None:
    pure = Wheel("xformers", "0.0.36", "py3-none-any", ["torch"], ">=3.14")
    (row,) = rows(Fake([pure]), line("xformers", "cpp_lib"))
    assert row["platforms"] == "linux-64 linux-aarch64 win-64 osx-arm64"
    assert row["pythons"] == "3.14 3.15"
    assert "cuda" not in row
    assert "torch" not in row


def page(variant: str, names: Iterable[str]) -> dict[str, tuple[Link, ...]]:
    url = f"https://example.org/whl/{variant}/xformers/"
    anchors = "".join(
        f'<a href="/whl/{variant}/{name.replace("+", "%2B")}#sha256={"0" * 64}">{name}</a><br/>\n'
        for name in names
    )
    body = f"<!DOCTYPE html><html><body>{anchors}</body></html>"
    return {url: read_links(body.encode(), "text/html", url)}


@pytest.mark.parametrize("local", ["", "+cu130"])
def test_an_index_is_asked_for_each_variant_and_need_not_have_it(local: str) -> None:
    wheel = xformers(f"0.0.35{local}", f"cp39-abi3-{LINUX}", cuda=1300, torch="2.10.0+cu130")
    wheel = replace(wheel, requires_python=">=3.10")
    fake = Fake([wheel], pages=page("cu130", [wheel.filename, "xformers-0.0.36.dev1-py3-none-any.whl"]))
    found = rows(fake, line("xformers", "cpp_lib", "0.0.30", index="pytorch", variants="cu130 cu132"))
    assert "https://example.org/whl/cu132/xformers/" in fake.asked
    assert [(row["version"], row["index"], row["variant"], row["cuda"]) for row in found] == [
        ("0.0.35", "pytorch", "cu130", "13.0")
    ]
    assert found[0]["pythons"].startswith("3.10 ")


def test_an_index_without_any_page_is_no_index() -> None:
    with pytest.raises(ValueError, match="index pytorch has no page of xformers"):
        rows(Fake(), line("xformers", "cpp_lib", index="pytorch", variants="cu130 cu132"))


def test_a_wheel_of_another_cuda_than_its_index_is_refused() -> None:
    wheel = xformers("0.0.35", f"cp39-abi3-{LINUX}")
    fake = Fake([wheel], pages=page("cu130", [wheel.filename]))
    with pytest.raises(ValueError, match=r"linked to CUDA 12\.8, which variant cu130 is not"):
        rows(fake, line("xformers", "cpp_lib", index="pytorch", variants="cu130"))


def test_a_place_is_surveyed_once_and_owns_what_it_would_find() -> None:
    lines = [
        line("xformers", "cpp_lib", "0.0.16"),
        line("xformers", "cpp_lib", "0.0.23", index="pytorch", variants="cu128 cu130"),
    ]
    pypi, pytorch = surveys("packages/xformers", lines, INDEXES)
    assert [pypi.place, pytorch.place] == ["pypi", "pytorch"]
    assert pypi.owns({"version": "0.0.16"})
    assert not pypi.owns({"version": "0.0.13"})
    assert not pypi.owns({"version": "0.0.35", "index": "pytorch", "variant": "cu128"})
    assert pytorch.owns({"version": "0.0.35", "index": "pytorch", "variant": "cu128"})
    assert not pytorch.owns({"version": "0.0.35", "index": "pytorch", "variant": "cu126"})
    with pytest.raises(KeyError):
        surveys("packages/xformers", lines, {})


def test_releases_that_nobody_gets_are_left_out() -> None:
    tag = f"cp312-cp312-{LINUX}"
    versions = ["1.9", "2.0", "2.1", "2.2rc1", "2.3"]
    fake = Fake(
        [Wheel("spconv-cu120", version, tag) for version in versions]
        + [Wheel("spconv-cu120", "2.4", "cp312-cp312-macosx_10_9_x86_64")],
        changed={
            f"spconv_cu120-2.1-{tag}.whl": {"yanked": True},
            f"spconv_cu120-2.0-{tag}.whl": {"uploaded": "2023-01-01"},
        },
    )
    measure = line("spconv-cu120", first="2.0", variant="cu120")
    assert [row["version"] for row in rows(fake, measure)] == ["2.0", "2.3"]
    assert fake.said == ["spconv-cu120 cu120: 2 releases"]
    assert [row["version"] for row in rows(fake, measure, scope=Scope(since="2024-01-01"))] == ["2.3"]


def test_source_distributions_are_rows_too() -> None:
    sdists = [
        ProjectFile(name=f"flash_attn-{version}.tar.gz", url="https://example.org/x")
        for version in ("2.8.3", "2.8.3.post2")
    ]
    fake = Fake([Wheel("flash-attn", "2.8.3", f"cp312-cp312-{LINUX}")], sdists)
    assert rows(fake, line("flash-attn")) == [
        {
            "version": "2.8.3",
            "files": "wheel sdist",
            "platforms": "linux-64",
            "pythons": "3.12",
            "glibc": "2.28",
            "source": "wheels",
            "basis": "measured",
        },
        {"version": "2.8.3.post2", "files": "sdist", "source": "wheels", "basis": "measured"},
    ]


def test_glibc_is_the_one_that_all_wheels_of_the_platform_run_with() -> None:
    tags = [
        "cp311-cp311-manylinux2014_x86_64",
        "cp312-cp312-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_34_aarch64",
        "cp312-cp312-win_amd64",
    ]
    (row,) = rows(Fake([Wheel("onnxruntime-gpu", "1.31", tag) for tag in tags]), line("onnxruntime-gpu"))
    assert row["glibc"] == "2.28"
    assert row["note"] == "linux-aarch64: glibc 2.34"
    assert row["platforms"] == "linux-64 linux-aarch64 win-64"
    assert row["pythons"] == "3.11 3.12"


def libraries(**needed: Sequence[str]) -> dict[str, bytes]:
    return {f"package/{name}.so": elf_library(names) for name, names in needed.items()}


def cudart(files: Mapping[str, bytes]) -> dict[str, str]:
    return read_cudart(opened(Wheel("package", "1", f"cp312-cp312-{LINUX}", files=files).data))


def test_the_runtime_that_a_library_asks_for_is_the_cuda() -> None:
    assert cudart(libraries(a=["libc.so.6"], b=["libcudart.so.12", "libc.so.6"])) == {"cuda": "12"}
    assert cudart(libraries(a=["libcudart.so.11.0"])) == {"cuda": "11"}
    assert cudart(libraries(a=["libcudart-80664282.so.10.2"])) == {"cuda": "10.2"}
    assert cudart(libraries(a=["libc.so.6"])) == {}
    assert cudart({"package/a.py": b""}) == {}


def test_libraries_with_a_release_line_in_their_names_state_it() -> None:
    names = ["cuda118", "cuda118_nocublaslt", "cuda130", "cuda124", "cpu"]
    assert cudart({f"b/libbitsandbytes_{name}.so": b"" for name in names}) == {"cuda": "11.8 12.4 13.0"}


def test_a_runtime_in_the_wheel_is_the_cuda_and_nvidias_own_libraries_are_not_read() -> None:
    assert cudart({"torch.libs/libcudart.3eda8113.so.13": b""}) == {"cuda": "13"}
    own = {"nvidia/cublas/lib/libcublas.so.12": elf_library(["libcudart.so.12"])}
    assert cudart(own) == {}


def test_few_and_small_libraries_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    files = libraries(a=["libc.so.6"] * 9, b=["libcudart.so.12"] + ["libc.so.6"] * 90)
    small, large = map(len, files.values())
    assert cudart(files) == {"cuda": "12"}
    for name, limit in (
        ("MAX_LIBRARIES", 1),
        ("MAX_LIBRARY", large - 1),
        ("MAX_LIBRARIES_SIZE", small + large - 1),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(linked, name, limit)
            assert cudart(files) == {}


def test_wheels_of_other_platforms_are_read_only_where_that_is_possible() -> None:
    wheels = [
        compiled_wheel("gpu", "1.0", f"cp312-cp312-{LINUX}", 12),
        compiled_wheel("gpu", "1.0", "cp312-cp312-manylinux_2_28_aarch64", 13),
        compiled_wheel("gpu", "1.0", "cp312-cp312-win_amd64", 12),
        compiled_wheel("gpu", "0.9", "cp312-cp312-win_amd64", 12),
    ]
    fake = Fake(wheels)
    old, new = rows(fake, line("gpu", "cudart"))
    assert "cuda" not in old
    assert (new["cuda"], new["note"]) == ("12", "linux-aarch64: cuda 13")
    assert sorted(fake.asked) == [
        "cudart gpu-1.0-cp312-cp312-manylinux_2_28_aarch64.whl",
        "cudart gpu-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    ]


def test_the_name_of_a_project_says_its_cuda_and_is_checked() -> None:
    tag = f"cp312-cp312-{LINUX}"
    silent = Fake([compiled_wheel("cupy-cuda12x", "14.0", tag, None)])
    (row,) = rows(silent, line("cupy-cuda12x", "cudart", variant="cuda12x"))
    assert (row["variant"], row["cuda"]) == ("cuda12x", "12")
    linked = Fake([compiled_wheel("spconv-cu121", "2.3", tag, 12)])
    (row,) = rows(linked, line("spconv-cu121", "cudart", variant="cu121"))
    assert row["cuda"] == "12.1"
    with pytest.raises(ValueError, match=r"spconv_cu121-2\.3-.*whl: linked to CUDA 12, which variant cu118"):
        rows(linked, line("spconv-cu121", "cudart", variant="cu118"))


def dependencies(*requires: str, name: str = "package", python: str = "3.12") -> Dependencies:
    wheel = Wheel(name, "1", "py3-none-any", requires)
    return Dependencies.read(wheel.metadata, Platform.LINUX_64, PythonVersion.parse(python))


@pytest.mark.parametrize(
    ("requires", "torch"),
    [
        (["torch (==1.13.1)"], "==1.13.1"),
        (["torch<3,>=2.4", "numpy>=1"], ">=2.4,<3"),
        (["torch"], ""),
        (["numpy"], ""),
        (
            ["Torch>=2.0", 'torch<2.6; sys_platform == "linux"', 'torch<2; sys_platform == "win32"'],
            ">=2.0,<2.6",
        ),
        (['torch>=2; extra == "all"'], ""),
        (["torch~=2.0,!=2.3.1"], "~=2.0,!=2.3.1"),
    ],
)
def test_the_torch_that_a_release_asks_for(requires: Sequence[str], torch: str) -> None:
    assert dependencies(*requires).torch == torch


def test_what_the_extra_that_installs_cuda_requires_of_nvidias_wheels() -> None:
    found = dependencies(
        "nvidia-nccl-cu12==2.1",
        'nvidia-cudnn-cu12==9.3.0.75; extra == "and-cuda"',
        'nvidia-cuda-runtime-cu12<13.0,>=12.5.82; extra == "and-cuda"',
        'tensorboard==1.0; extra == "and-cuda"',
    )
    assert found.extras == "and-cuda=12"
    assert found.pins == "nvidia-cuda-runtime-cu12>=12.5.82,<13.0 nvidia-cudnn-cu12==9.3.0.75"


def test_extras_for_several_cudas_pin_nothing_that_all_of_them_install() -> None:
    found = dependencies(
        'nvidia-cudnn-cu12==9.3.0.75; extra == "cu12"', 'nvidia-cudnn-cu13==9.20.0.48; extra == "cu13"'
    )
    assert (found.extras, found.pins) == ("cu12=12 cu13=13", "")


@pytest.mark.parametrize(
    ("requirement", "cuda"),
    [
        ("nvidia-cuda-runtime-cu12==12.5.82", "12.5"),
        ("nvidia-cuda-runtime-cu11==11.8.89", "11.8"),
        ("nvidia-cuda-runtime-cu12<13.0,>=12.5.82", "12"),
        ("nvidia-cudnn-cu12==9.3.0.75", "12"),
        ("nvidia-cublas-cu12", "12"),
        ("nvidia-cuda-runtime-cu12>=11.8", "12"),
        ("cuda-toolkit[cudart,nvcc]==12.*", "12"),
        ("cuda-toolkit[cudart]==13.0.*", "13.0"),
        ("nvidia-cuda-nvcc>=13.0", "13"),
        ("nvidia-cuda-nvcc<14", "13"),
        ("nvidia-cublas>=13.0,<14", "13"),
        ("nvidia-cufft", "13"),
        ("nvidia-cufft<13.0,>=12.0", "13"),
        ("nvidia-cuda-runtime==14.1.7", "14.1"),
        ("nvidia-cuda-runtime-cu13", "13"),
        ("jax-cuda12-plugin<=0.7,>=0.7", "12"),
        ("cupy-cuda13x", "13"),
    ],
)
def test_the_cuda_that_an_extra_installs(requirement: str, cuda: str) -> None:
    found = dependencies("numpy", f'{requirement}; extra == "and_cuda"')
    assert found.extras == f"and-cuda={cuda}"


@pytest.mark.parametrize(
    "requirement",
    [
        "cuda-toolkit",
        "nvidia-ml-py>=12",
        "cuda-bindings==12.*",
        "nvidia-cuda-runtime-cu12; sys_platform == 'win32'",
    ],
)
def test_an_extra_that_installs_no_cuda_is_not_named(requirement: str) -> None:
    name, _, marker = requirement.partition(";")
    condition = f"extra == 'gpu' and {marker}" if marker else "extra == 'gpu'"
    assert dependencies(f"{name}; {condition}").extras == ""


def test_what_is_installed_anyway_is_not_the_work_of_an_extra() -> None:
    assert dependencies("nvidia-cuda-runtime-cu12", 'pytest; extra == "test"').extras == ""


def test_extras_may_stand_for_others_of_the_project() -> None:
    found = dependencies(
        'jax-cuda12-plugin; extra == "cuda12"',
        'jax[cuda12]; extra == "cuda"',
        'jax[loop]; extra == "loop2"',
        name="jax",
    )
    assert found.extras == "cuda=12 cuda12=12"
    with pytest.raises(ValueError, match="'loop' refers to itself"):
        dependencies('jax[loop]; extra == "loop"', name="jax")


@pytest.mark.parametrize(
    ("requires", "what"),
    [
        (["torch @ https://example.org/torch.whl"], "torch at a URL"),
        (["torch >> 2"], "no requirement"),
        ([f"torch; {'(' * 980}os_name == 'nt'{')' * 980}"], "no requirement"),
        (["torch; 'x' in extras"], "condition has no meaning"),
        (["torch; os_name ~= 'nt'"], "condition has no meaning"),
        (['a-cu11; extra == "gpu"', 'b-cu12; extra == "gpu"'], "several majors"),
    ],
)
def test_metadata_that_cannot_be_a_row_is_refused(requires: Sequence[str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        dependencies(*requires)


@pytest.mark.parametrize("text", [b"<html>", b"Name: package\n", b"Metadata-Version: 2.1\n"])
def test_a_login_page_is_no_metadata(text: bytes) -> None:
    with pytest.raises(ValueError, match="Metadata-Version or Name is missing"):
        Dependencies.read(text, Platform.LINUX_64, PythonVersion(3, 12))


MEASURE = {"project": "a-b", "first": "1.0", "source": "wheels", "reads": "cudart"}


def test_a_measure_line_is_read() -> None:
    assert Measure.read(MEASURE).place == "pypi"
    found = Measure.read({**MEASURE, "index": "pytorch", "variants": "cu126 cu130"})
    assert (found.place, found.variants) == ("pytorch", ("cu126", "cu130"))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"projekt": "x"}, "unknown key: projekt"),
        ({"source": ""}, "empty: source"),
        ({"project": "A_B"}, "'A_B' is not a normalized name"),
        ({"project": "../x"}, "is not a normalized name"),
        ({"reads": "everything"}, "expected one of metadata, cudart, cpp_lib"),
        ({"first": "soon"}, "first is 'soon'"),
        ({"variant": "cuda"}, "not a variant: cuda"),
        ({"index": "pytorch"}, "`index` goes with `variants`"),
        ({"variants": "cu126"}, "`index` goes with `variants`"),
        ({"index": "pytorch", "variants": "cu126", "variant": "cu126"}, "`index` goes with `variants`"),
        ({"index": "pytorch", "variants": "cu126 cpu"}, "not a variant: cpu"),
    ],
)
def test_a_measure_line_that_says_something_else_is_refused(change: dict[str, str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Measure.read({**MEASURE, **change})


@pytest.mark.parametrize("key", MEASURE)
def test_a_measure_line_is_complete(key: str) -> None:
    with pytest.raises(ValueError, match=f"missing key: {key}"):
        Measure.read({name: value for name, value in MEASURE.items() if name != key})


def test_every_line_that_the_tables_have_can_be_measured() -> None:
    tables = Path(__file__).parents[2] / "matrix"
    found = 0
    for path in sorted(tables.glob("packages/*.yaml")):
        document = read_document(path.stem, path.read_text(encoding="utf-8"), Problems(path.stem))
        lines = [Measure.read(item) for item in document.measure]
        assert {item.source for item in lines} <= set(document.sources), path
        measured = [row for row in document.rows if row["basis"] == "measured"]
        assert not lines or all(any(item.owns(row) for item in lines) for row in measured), path
        found += len(lines)
    assert found
