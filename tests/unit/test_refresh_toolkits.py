"""Surveys of toolkits, cuda-toolkit releases and nvidia wheels, on wheels made in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from cudaenv.matrix.refresh import nvidia_wheels, toolkit_releases, toolkits
from cudaenv.matrix.refresh.artefacts import Artefacts, Link, ProjectFile, RawRow, Scope, Survey, Wheel
from tests.support.opened import OpenedWheel
from tests.support.wheels import Wheel as Made

T = TypeVar("T")
R = TypeVar("R")

LINUX = "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64"
ARM = "py3-none-manylinux_2_27_aarch64"
WINDOWS = "py3-none-win_amd64"

HELP = """
Usage  : ptxas [options] <ptx file>,...

--fast-compile <level>                              (-fast-compile)
        Levels: 'max', 'min'.
        Allowed values for this option:  '0','max','mid','min'.
        Default value:  '0'.

--gpu-name <gpu name>                               (-arch)
        Name of the GPU to generate code for. PTX for .target sm_XY runs on sm_MNa.
        Allowed values for this option:  {values}.
        Default value:  'sm_75'.

--help                                              (-h)
"""
TARGETS = (
    "'compute_100a','compute_75','lto_90a','sm_100',\n        'sm_100a','sm_100f','sm_75','sm_90','sm_90a'"
)
REFUSED = (
    "ptxas application ptx input, line 1; fatal   : Unsupported .version 99.9; current version is '9.4'\n"
)

HEADER = """
#if defined(__GRCO_CLANG_COMPILER__)
#if (__GRCO_CLANG_COMPILER__ == 1) && ((__clang_major__ < 16) || (__clang_major__ > 22))
#error -- unsupported Grace clang version!
#endif  /* (__GRCO_CLANG_COMPILER__ == 1) && ((__clang_major__ < 16) || (__clang_major__ > 22)) */
#endif
#if __GNUC__ > 16

#error -- unsupported GNU version! gcc versions later than 16 are not supported!
#endif /* __GNUC__ > 16 */
#if defined(__HORIZON__)
#if (__clang_major__ >= 22) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- unsupported HOS clang version!
#endif
#endif
#if (__clang_major__ >= 23) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- unsupported clang version! clang version must be less than 21
#endif
#if _MSC_VER < 1920 || _MSC_VER >= 1960

#error -- unsupported Microsoft Visual Studio version!
#endif /* (_MSC_VER < 1910 || _MSC_VER >= 1960) */
"""

PROFILE = 'INCLUDES += "-I$(TOP)/include"\nLIBRARIES =+ $(_SPACE_) "-L$(TOP)/lib/stubs" "-L$(TOP)/lib"\n'
OLD_PROFILE = PROFILE.replace("$(TOP)/lib", "$(TOP)/$(_TARGET_DIR_)/lib$(_TARGET_SIZE_)")


@dataclass
class Fake:
    """An index of wheels; programs print what `printed` says for their arguments."""

    wheels: Sequence[Made]
    printed: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    yanked: Collection[str] = ()
    uploaded: Mapping[str, str] = field(default_factory=dict)

    def files(self, project: str) -> tuple[ProjectFile, ...]:
        return tuple(
            ProjectFile(
                name=wheel.filename,
                url=f"https://example.org/{wheel.filename}",
                sha256=wheel.sha256,
                yanked=wheel.version in self.yanked,
                uploaded=self.uploaded.get(wheel.version, ""),
            )
            for wheel in self.wheels
            if wheel.project == project
        )

    def metadata(self, file: ProjectFile) -> bytes:
        return self._made(file).metadata

    def measured(
        self, file: ProjectFile, method: str, measure: Callable[[Wheel], Mapping[str, str]]
    ) -> Mapping[str, str]:
        assert method
        return measure(OpenedWheel(self._made(file).data))

    def run(self, file: ProjectFile, member: str, arguments: Collection[str]) -> str:
        assert member in OpenedWheel(self._made(file).data).sizes
        return self.printed[tuple(arguments)]

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        return [function(item) for item in items]

    def say(self, line: str) -> None:
        pass

    def links(self, url: str) -> tuple[Link, ...] | None:
        raise NotImplementedError

    def document(self, url: str) -> object:
        raise NotImplementedError

    def records(
        self, channel: str, platform: str, names: Collection[str]
    ) -> tuple[Mapping[str, object], ...]:
        raise NotImplementedError

    def _made(self, file: ProjectFile) -> Made:
        return next(wheel for wheel in self.wheels if wheel.filename == file.name)


def made(name: str, version: str, members: Mapping[str, str] = {}, tag: str = LINUX, *requires: str) -> Made:
    files = {path: text.encode() for path, text in members.items()}
    return Made(name, version, tag, requires, files=files, import_name="")


def rows_of(survey: Survey, artefacts: Artefacts, since: str = "") -> list[RawRow]:
    return list(survey.measure(artefacts, Scope(since=since)))


# Toolkit lines.

PTXAS_12 = {"nvidia/cuda_nvcc/bin/ptxas": "", "nvidia/cuda_nvcc/include/crt/host_config.h": HEADER}
PTXAS_13 = {"nvidia/cu13/bin/ptxas": "", "nvidia/cu13/bin/nvcc": ""}
CRT = {"nvidia/cu13/include/crt/host_config.h": HEADER}
PRINTED = {toolkits.HELP: HELP.format(values=TARGETS), toolkits.UNKNOWN_ISA: REFUSED}
HOSTS = {"gcc": "16", "clang": "-22", "msvc": "1920-1959"}


def test_targets_are_grouped_by_whether_they_are_plain_exact_or_of_a_family() -> None:
    found = toolkits.read_targets(HELP.format(values=TARGETS))
    assert found == {"sms": "7.5 9.0 10.0", "exact": "9.0 10.0", "family": "10.0"}


def test_a_toolkit_without_special_targets_has_no_cells_for_them() -> None:
    assert toolkits.read_targets(HELP.format(values="'compute_35','sm_35','sm_50'")) == {"sms": "3.5 5.0"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not list the values of --gpu-name"),
        (HELP.replace("--gpu-name", "--gpu"), "does not list the values of --gpu-name"),
        (HELP.format(values="'sm_75','sm_200x'"), "lists 'sm_200x' as --gpu-name, which is not known here"),
        (HELP.format(values="'sm_75','sm_1\x1b[0m'"), r"lists 'sm_1\\x1b\[0m' as"),
        (HELP.format(values="'compute_75'"), "lists no sm_NN"),
    ],
)
def test_help_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toolkits.read_targets(text)


def test_the_ptx_isa_is_the_one_that_ptxas_names_when_it_refuses_another() -> None:
    assert toolkits.read_ptx_isa(REFUSED) == "9.4"
    with pytest.raises(ValueError, match="does not name its PTX ISA"):
        toolkits.read_ptx_isa("ptxas fatal   : Unknown option '--input-as-string'")


def test_host_compilers_are_those_that_the_header_lets_pass() -> None:
    """Bounds for other clangs are not taken for those of clang, nor what a message or comment says."""
    assert toolkits.read_host_compilers(HEADER) == HOSTS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("#if __GNUC__ > 16", "#if __GNUC__ > GCC_MAX", "0 conditions on gcc"),
        (
            "(__clang_major__ >= 23)",
            "(__clang_major__ >= 23) || (__clang_major__ < 7)",
            "0 conditions on clang",
        ),
        ("unsupported HOS clang", "unsupported clang", "2 conditions on clang"),
        ("#if _MSC_VER < 1920 ||", "#if", "0 conditions on _MSC_VER"),
    ],
)
def test_a_header_of_another_form_is_refused(old: str, new: str, message: str) -> None:
    assert old in HEADER
    with pytest.raises(ValueError, match=message):
        toolkits.read_host_compilers(HEADER.replace(old, new))


def test_each_release_line_is_measured_on_its_newest_stable_wheel() -> None:
    artefacts = Fake(
        [
            made("nvidia-cuda-nvcc-cu11", "0.0.1.dev5", tag="py3-none-any"),
            made("nvidia-cuda-nvcc-cu12", "12.9.9", {}),
            made("nvidia-cuda-nvcc-cu12", "12.9.41", PTXAS_12),
            made("nvidia-cuda-nvcc-cu12", "12.9.86", {}),
            made("nvidia-cuda-nvcc-cu12", "12.10.1", PTXAS_12, ARM),
            made("nvidia-cuda-nvcc", "13.4.92", PTXAS_13),
            made("nvidia-cuda-nvcc", "13.5.1rc1", {}),
            made("nvidia-cuda-crt", "13.4.59", {}),
            made("nvidia-cuda-crt", "13.4.92", CRT),
        ],
        PRINTED,
        yanked={"12.9.86"},
    )
    line_12, line_13 = rows_of(toolkits.SURVEY, artefacts)
    targets = {"ptx_isa": "9.4", "sms": "7.5 9.0 10.0", "exact": "9.0 10.0", "family": "10.0"}
    end = {**HOSTS, "source": "nvcc-wheels", "basis": "measured"}
    assert line_12 == {"cuda": "12.9", **targets, **end}
    assert line_13 == {"cuda": "13.4", **targets, **end}


def test_older_lines_are_left_alone_when_only_new_ones_are_wanted() -> None:
    wheels = [
        made("nvidia-cuda-nvcc-cu12", "12.8.93", {}),
        made("nvidia-cuda-nvcc-cu12", "12.9.86", PTXAS_12),
    ]
    uploaded = {"12.8.93": "2025-03-01", "12.9.86": "2025-06-05"}
    rows = rows_of(toolkits.SURVEY, Fake(wheels, PRINTED, uploaded=uploaded), since="2025-06-05")
    assert [row["cuda"] for row in rows] == ["12.9"]


@pytest.mark.parametrize(
    ("wheels", "message"),
    [
        ([made("nvidia-cuda-nvcc-cu12", "12.9.86", {"nvidia/README": ""})], "has no ptxas"),
        ([made("nvidia-cuda-nvcc", "13.4.92", PTXAS_13)], "13.4.92.* has no crt/host_config.h"),
        (
            [made("nvidia-cuda-nvcc", "13.4.92", PTXAS_13), made("nvidia-cuda-crt", "13.4.59", CRT)],
            "13.4.92.* has no crt/host_config.h",
        ),
    ],
)
def test_a_line_without_ptxas_or_header_is_refused(wheels: list[Made], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rows_of(toolkits.SURVEY, Fake(wheels, PRINTED))


def test_what_a_program_prints_is_refused_with_the_name_of_its_wheel() -> None:
    artefacts = Fake(
        [made("nvidia-cuda-nvcc-cu12", "12.9.86", PTXAS_12)], {**PRINTED, toolkits.HELP: "Segmentation fault"}
    )
    with pytest.raises(ValueError, match=r"nvidia_cuda_nvcc_cu12-12\.9\.86.*: ptxas --help does not list"):
        rows_of(toolkits.SURVEY, artefacts)


# Releases of cuda-toolkit.


def metapackage(version: str, *extras: tuple[str, str], tag: str = "py2.py3-none-any") -> Made:
    marker = "(sys_platform == 'linux' or sys_platform == 'win32') and extra == '{}'"
    requires = [f"{requirement}; {marker.format(extra)}" for extra, requirement in extras]
    return made("cuda-toolkit", version, {}, tag, *requires)


def pins(version: str) -> list[tuple[str, str]]:
    """Extras of a CUDA 13 release whose compiler is of this version."""
    return [
        ("all", f"nvidia-cuda-nvcc=={version}.*"),
        ("crt", f"nvidia-cuda-crt=={version}.*"),
        ("cudart", "nvidia-cuda-runtime==13.0.96.*"),
        ("nvcc", f"nvidia-cuda-nvcc=={version}.*"),
        ("nvvm", f"nvidia-nvvm=={version}.*"),
    ]


def nvcc(version: str, *requires: str, profile: str = PROFILE) -> Made:
    members = {"nvidia/cu13/bin/nvcc": "", "nvidia/cu13/bin/nvcc.profile": profile}
    return made("nvidia-cuda-nvcc", version, members, LINUX, *requires)


BEHIND_NVCC = ("nvidia-nvvm", "nvidia-cuda-runtime", "nvidia-cuda-crt")


def test_a_release_of_cuda_12_has_components_but_no_compiler() -> None:
    artefacts = Fake(
        [
            metapackage(
                "12.9.2.0",
                ("nvcc", "nvidia-cuda-nvcc-cu12==12.9.86.*"),
                ("cublas", "nvidia-cublas-cu12==12.9.2.10.*"),
                ("cusolver", "nvidia-cusolver-cu12==11.7.5.82.*"),
                ("cusolver", "nvidia-cublas-cu12==12.9.2.10.*"),
                ("nvjitlink", "nvidia-nvjitlink-cu12<13,>=12.9.86"),
                ("nvml", "nvidia-nvml-dev-cu12==12.9.79.*"),
                ("profiler", "nvidia-cuda-profiler-api-cu12==12.9.79.*"),
            ),
            metapackage("13.0.0rc1"),
            made("nvidia-cuda-nvcc-cu12", "12.9.86", PTXAS_12),
        ]
    )
    assert rows_of(toolkit_releases.SURVEY, artefacts) == [
        {
            "version": "12.9.2.0",
            "cuda": "12.9",
            "components": "cublas=12.9.2.10 cusolver=11.7.5.82 nvcc=12.9.86 nvml=12.9.79 profiler=12.9.79",
            "loose": "nvjitlink",
            "source": "cuda-toolkit-wheels",
            "basis": "measured",
        }
    ]


def test_what_nvcc_needs_and_nobody_pins_is_skew() -> None:
    whole = [*pins("13.0.89"), *(("nvcc", f"{name}==13.0.89.*") for name in BEHIND_NVCC)]
    artefacts = Fake(
        [
            metapackage("13.0.0", *pins("13.0.48")),
            metapackage("13.0.2", *pins("13.0.88")),
            metapackage("13.0.3.0", *whole),
            nvcc("13.0.48", profile=OLD_PROFILE),
            nvcc("13.0.88", "nvidia-nvvm", "nvidia-cuda-runtime", "nvidia-cuda-crt==13.0.88.*"),
            nvcc("13.0.89", *BEHIND_NVCC),
            nvcc("13.0.880", *BEHIND_NVCC),
        ]
    )
    rows = rows_of(toolkit_releases.SURVEY, artefacts)
    assert [row.get("skew") for row in rows] == ["crt cudart nvvm", "cudart nvvm", None]
    assert [row.get("lib") for row in rows] == ["lib64", "lib", "lib"]
    assert {row.get("compiles") for row in rows} == {"true"}
    assert rows[1]["components"] == "crt=13.0.88 cudart=13.0.96 nvcc=13.0.88 nvvm=13.0.88"


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ([("cudart", "nvidia-cuda-runtime==13.0.96")], "extra nvcc installs 0 wheels"),
        (
            [*pins("13.0.88"), ("math", "nvidia-cublas==13.1.0.3.*")],
            "extra math installs 0 wheels named after it",
        ),
        (
            [*pins("13.0.88"), ("crt", "nvidia-cuda-crt==1.*")],
            "extra crt has two requirements on nvidia-cuda-crt",
        ),
        (pins("13.0.88")[:-1], "extra nvvm installs 0 wheels"),
        (pins("13.0.77"), "==13.0.77.*, of which there is no wheel"),
    ],
)
def test_a_metapackage_of_another_form_is_refused(extras: list[tuple[str, str]], message: str) -> None:
    artefacts = Fake([metapackage("13.0.2", *extras), nvcc("13.0.88", *BEHIND_NVCC)])
    with pytest.raises(ValueError, match="cuda_toolkit-13.0.2.*" + message):
        rows_of(toolkit_releases.SURVEY, artefacts)


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        (nvcc("13.0.88", "nvidia-cuda-tileiras"), "requires nvidia-cuda-tileiras, which is not known here"),
        (nvcc("13.0.88", profile="LIBRARIES =+"), "nvcc.profile does not say"),
        (nvcc("13.0.88", profile=PROFILE * 2), "nvcc.profile does not say"),
        (
            made("nvidia-cuda-nvcc", "13.0.88", {"nvidia/cu13/bin/nvcc": ""}),
            "no nvidia/cu13/bin/nvcc.profile",
        ),
    ],
)
def test_a_compiler_of_another_form_is_refused(compiler: Made, message: str) -> None:
    artefacts = Fake([metapackage("13.0.2", *pins("13.0.88")), compiler])
    with pytest.raises(ValueError, match=message):
        rows_of(toolkit_releases.SURVEY, artefacts)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (b"<html>log in</html>", "Metadata-Version or Name is missing"),
        (b"Metadata-Version: 2.1\nName: cuda-toolkit\nRequires-Dist: ??\n", "which is no requirement"),
        (b"Metadata-Version: 2.1\nName: cuda-toolkit\nRequires-Dist: nvidia-nvvm\n", "belongs to 0 extras"),
    ],
)
def test_what_is_no_metadata_of_the_metapackage_is_refused(metadata: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toolkit_releases.read_extras(metadata)


# Families of wheels.

CUBLAS = {"nvidia/__init__.py": "", "nvidia/cublas/__init__.py": "", "nvidia/cublas/lib/libcublas.so.12": ""}


def only(monkeypatch: pytest.MonkeyPatch, *projects: str) -> None:
    monkeypatch.setattr(nvidia_wheels, "PROJECTS", projects)


def test_a_family_is_described_by_its_newest_release(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "nvidia-cublas-cu12", "nvidia-nvvm")
    members = {
        "nvidia/cu13/lib/libnvvm.so.4": "",
        "nvidia/cu13/lib/libplugin.so": "",
        "nvidia/cu13/lib/libnvvm_static.a": "",
        "nvidia/cu13/nvvm/bin/cicc": "",
        "nvidia/cu13/bin/cu++filt": "",
        "nvidia/cu13/bin/nvcc.profile": "",
        "nvidia/cu13/bin/crt/link.stub": "",
    }
    artefacts = Fake(
        [
            made("nvidia-cublas-cu12", "0.0.1", {}, "py3-none-any"),
            made("nvidia-cublas-cu12", "12.0.1.189", {}),
            made("nvidia-cublas-cu12", "12.9.3.13", {}, "py3-none-manylinux_2_28_x86_64"),
            made("nvidia-cublas-cu12", "12.9.3.13", CUBLAS, "py3-none-manylinux_2_27_x86_64"),
            made("nvidia-cublas-cu12", "12.9.3.13", {}, WINDOWS),
            made("nvidia-cublas-cu12", "12.9.4.dev1", {}),
            made("nvidia-nvvm", "13.0.48", members, ARM),
        ]
    )
    assert rows_of(nvidia_wheels.SURVEY, artefacts) == [
        {
            "wheel": "nvidia-cublas-cu12",
            "major": "12",
            "first": "12.0.1.189",
            "last": "12.9.3.13",
            "prefix": "nvidia/cublas",
            "libraries": "libcublas.so.12",
            "platforms": "linux-64 win-64",
            "glibc": "2.27",
            "source": "nvidia-wheels",
            "basis": "measured",
        },
        {
            "wheel": "nvidia-nvvm",
            "major": "13",
            "first": "13.0.48",
            "last": "13.0.48",
            "prefix": "nvidia/cu13",
            "programs": "cicc cu++filt",
            "libraries": "libnvvm.so.4 libnvvm_static.a",
            "platforms": "linux-aarch64",
            "glibc": "2.27",
            "source": "nvidia-wheels",
            "basis": "measured",
        },
    ]


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        (made("nvidia-x", "1.0", {}, "py3-none-any"), "nvidia-x has no wheels for Linux"),
        (made("nvidia-x", "1.0", {}), "not in one directory below nvidia"),
        (
            made("nvidia-x", "1.0", {"nvidia/cu13/a.h": "", "nvidia/x/a.h": ""}),
            "files in .*nvidia/cu13 nvidia/x",
        ),
        (made("nvidia-x", "1.0", {"nvidia/cu13/a.h": "", "x.py": ""}), "files in .*nvidia/cu13 x.py"),
        (made("nvidia-x", "1.0", {"x.py": ""}), "files in .*x.py"),
        (made("nvidia-x", "1.0", {"nvidia/x/a.h": ""}), "neither nvidia-x nor nvidia/x names a CUDA major"),
    ],
)
def test_a_family_of_another_form_is_refused(
    monkeypatch: pytest.MonkeyPatch, wheel: Made, message: str
) -> None:
    only(monkeypatch, "nvidia-x")
    with pytest.raises(ValueError, match=message):
        rows_of(nvidia_wheels.SURVEY, Fake([wheel]))


def test_families_are_named_once() -> None:
    assert len(set(nvidia_wheels.PROJECTS)) == len(nvidia_wheels.PROJECTS)
    assert {"nvidia-cuda-nvcc-cu11", "nvidia-cudnn-cu13", "nvidia-nvvm"} <= set(nvidia_wheels.PROJECTS)


def test_surveys_own_the_rows_that_they_write_and_no_others() -> None:
    for survey, source in (
        (toolkits.SURVEY, toolkits.SOURCE),
        (toolkit_releases.SURVEY, toolkit_releases.SOURCE),
    ):
        assert survey.owns({"source": source, "basis": "measured"})
        assert not survey.owns({"source": "ptx-isa", "basis": "documented"})
