"""The spec is read strictly: every key, every mistake with its key path, all mistakes at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaenv.errors import SpecError
from cudaenv.model.machine import Platform
from cudaenv.model.machine_reader import KEYS as MACHINE_KEYS
from cudaenv.model.spec import CudaRequest, PackageRequest, Provider, PythonRequest, Spec, Target
from cudaenv.model.spec_reader import (
    KEYS,
    Known,
    parse_index_url,
    parse_package,
    read_pyproject,
    read_spec,
)
from cudaenv.model.target_reader import KEYS as TARGET_KEYS
from cudaenv.model.versions import CudaVersion, PythonVersion
from tests.support.planning import matrix

KNOWN = Known(
    targets=("run-only", "develop-kernels"),
    components=("compiler", "headers"),
    indexes=("pytorch",),
    channels=("conda-forge",),
    find_gpu=lambda text: matrix().find_gpu(text),
)

EVERYTHING = """
target    = "run-only"
python    = ">=3.11"
platforms = ["linux-64", "win-64"]
provider  = "pip"
cuda      = ">=12.6,<13"

[packages]
torch = ">=2.8"
diffusers = "*"
"Torch_Vision[scipy, gdown]" = "==0.29.*"

[[machine]]
name   = "lab"
gpu    = ["Tesla V100-SXM2-32GB", "12.0"]
driver = "570.86.10"
glibc  = "2.31"
platform = "linux-64"
os     = "Ubuntu 20.04"
count  = 40

[[machine]]
gpu = "none"
driver-api = "found version 12080"
wsl = true
jetson = false
toolkit = "12.8"
gcc = "13.3.0"

[targets.kernels]
title = "kernels of ours"
packages = ["triton", "mmcv|mmcv-full"]
components = ["runtime", "compiler"]
providers = ["conda", "pip"]
why = "the cluster has conda"

[indexes]
pytorch = "https://mirror.example/pytorch/whl/"
default = "http://127.0.0.1:8080/simple"

[channels]
conda-forge = "https://mirror.example/conda-forge"
"""


def spec_of(text: str) -> Spec:
    return read_spec(tomllib.loads(text), "cudaenv.toml", KNOWN)


def problems_of(text: str) -> tuple[str, ...]:
    """The problems that are named, one a line."""
    with pytest.raises(SpecError) as caught:
        spec_of(text)
    return caught.value.details


def problem_of(text: str) -> str:
    (only,) = problems_of(text)
    return only


def pyproject(text: str) -> Spec:
    return read_pyproject(tomllib.loads(text), "pyproject.toml", KNOWN)


def pyproject_problems(text: str) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        pyproject(text)
    return caught.value.details


def requirements(spec: Spec) -> list[str]:
    return [package.requirement for package in spec.packages]


# Every key.


def test_every_key_is_read() -> None:
    spec = spec_of(EVERYTHING)
    assert (spec.target, spec.provider, spec.origin) == ("run-only", Provider.PIP, "cudaenv.toml")
    assert spec.python is not None
    assert spec.python.text == ">=3.11"
    assert spec.cuda.text == ">=12.6,<13"
    assert spec.platforms == (Platform.LINUX_64, Platform.WIN_64)
    assert requirements(spec) == ["torch>=2.8", "diffusers", "torch-vision[gdown,scipy]==0.29.*"]
    assert spec.packages[0].origin == "packages.torch"
    assert spec.channels == {"conda-forge": "https://mirror.example/conda-forge"}
    assert spec.indexes == {
        "default": "http://127.0.0.1:8080/simple",
        "pytorch": "https://mirror.example/pytorch/whl",
    }


def test_every_key_of_a_machine_is_read_with_its_origin() -> None:
    lab, other = spec_of(EVERYTHING).machines
    assert (lab.name, lab.count, lab.uses_windows_driver) == ("lab", 40, False)
    assert lab.gpus is not None
    assert [(gpu.name, str(gpu.capability)) for gpu in lab.gpus] == [
        ("Tesla V100-SXM2-32GB", "7.0"),
        ("12.0", "12.0"),
    ]
    facts = (lab.driver, lab.glibc, lab.platform, lab.os)
    assert [(str(fact.value), fact.origin) for fact in facts if fact] == [
        ("570.86.10", "machine[0].driver"),
        ("2.31", "machine[0].glibc"),
        ("linux-64", "machine[0].platform"),
        ("Ubuntu 20.04", "machine[0].os"),
    ]
    assert (other.name, other.gpus, other.count) == ("machine-2", (), 1)
    assert other.driver_api is not None
    assert str(other.driver_api.value) == "12.8"
    assert other.uses_windows_driver
    assert not other.is_jetson
    assert (other.driver, other.glibc, other.platform, other.os) == (None, None, None, None)
    assert other.toolkit is not None
    assert other.gcc is not None
    assert (str(other.toolkit.value), other.toolkit.origin) == ("12.8", "machine[1].toolkit")
    assert (other.gcc.value, other.gcc.origin) == (13, "machine[1].gcc")
    assert (lab.toolkit, lab.gcc) == (None, None)


def test_every_key_of_a_target_is_read_with_its_origin() -> None:
    (own,) = spec_of(EVERYTHING).targets
    assert own == Target(
        name="kernels",
        title="kernels of ours",
        packages=(("triton",), ("mmcv", "mmcv-full")),
        components=("runtime", "compiler"),
        providers=(Provider.CONDA, Provider.PIP),
        why="the cluster has conda",
        origin="targets.kernels",
    )
    assert own.compiles


def test_a_target_of_ones_own_has_defaults_and_can_be_chosen() -> None:
    spec = spec_of('target = "ours"\n[targets.ours]')
    assert spec.target == "ours"
    (own,) = spec.targets
    assert (own.title, own.packages, own.components, own.providers) == (
        "ours", (), ("runtime",), (Provider.PIP,),
    )  # fmt: skip
    assert not own.compiles


def test_a_list_of_cudas_asks_for_an_environment_each() -> None:
    spec = spec_of('cuda = ["12.6", "cu128", "12.6"]')
    assert spec.cuda.is_any
    assert [request.text for request in spec.variants] == ["12.6", "cu128"]
    alone = spec_of('cuda = ["12.6"]')
    assert (alone.cuda.text, alone.variants) == ("12.6", ())


def test_an_empty_spec_is_a_spec() -> None:
    assert spec_of("") == Spec(origin="cudaenv.toml")
    assert spec_of("[[machine]]").machines[0].gpus is None


def test_the_example_names_every_key_there_is() -> None:
    data = tomllib.loads(EVERYTHING)
    assert set(data) == set(KEYS)
    assert set().union(*data["machine"]) == set(MACHINE_KEYS)
    assert set(data["targets"]["kernels"]) == set(TARGET_KEYS)


def test_one_text_will_do_where_a_list_may_stand() -> None:
    spec = spec_of('platforms = "linux-64"\n[[machine]]\ngpu = "RTX 4090"')
    assert spec.platforms == (Platform.LINUX_64,)
    assert spec.machines[0].gpus is not None


def test_a_platform_twice_is_one_platform() -> None:
    assert spec_of('platforms = ["linux-64", "linux-64"]').platforms == (Platform.LINUX_64,)


# Every mistake.


def test_all_mistakes_are_named_at_once_each_with_its_key() -> None:
    lines = problems_of(
        """
        targt = "run-only"
        python = 3.11
        platforms = ["linux64", "linux-64"]
        provider = "pipp"
        cuda = "latest"
        [packages]
        torch = 2.8
        numpy = "2.0"
        [[machine]]
        gpu = "RTX 4099"
        driver = 570
        colour = "green"
        [indexes]
        pytorhc = "https://mirror.example"
        """
    )
    assert [line.split(":")[0] for line in lines] == [
        "targt",
        "packages.torch",
        "packages.numpy",
        "platforms",
        "cuda",
        "python",
        "provider",
        "machine[0].colour",
        "machine[0].gpu",
        "machine[0].driver",
        "indexes.pytorhc",
    ]


def test_the_error_counts_the_problems_and_names_the_file() -> None:
    with pytest.raises(SpecError) as caught:
        spec_of("a = 1\nb = 2")
    assert caught.value.message == "`cudaenv.toml` has 2 problems"
    assert caught.value.exit_code == 2
    with pytest.raises(SpecError, match=r"`cudaenv\.toml` has 1 problem\n"):
        spec_of("a = 1")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('targt = "x"', "targt: unknown key; did you mean `target`?"),
        (
            'colour = "x"',
            "colour: unknown key (known: target, targets, python, platforms, provider, cuda, packages, "
            "machine, indexes, channels)",
        ),
        ('target = "run-onyl"', "target: unknown target `run-onyl`; did you mean `run-only`?"),
        ('target = "train"', "target: unknown target `train` (known: run-only, develop-kernels)"),
        ("target = 1", "target: expected a string, in quotes, got 1"),
        ("target = true", "target: expected a string, in quotes, got True"),
        ("python = 3.11", "python: expected a string, in quotes, got 3.11"),
        (
            'python = "py311"',
            "python: not a Python version or specifier: 'py311' (expected for example `3.12` or `>=3.11`)",
        ),
        ('platforms = ["linux-46"]', "platforms: unknown platform `linux-46`; did you mean `linux-64`?"),
        (
            'platforms = ["beos"]',
            "platforms: unknown platform `beos` (known: linux-64, linux-aarch64, win-64, osx-arm64)",
        ),
        ("platforms = 64", "platforms: expected a string or a list of strings, got 64"),
        ("platforms = [64]", "platforms: expected a list of strings, got [64]"),
        ('provider = "conad"', "provider: unknown provider `conad`; did you mean `conda`?"),
        (
            'cuda = "newest"',
            "cuda: not a CUDA request: 'newest' (expected `any`, `cpu`, `12.8` or `>=12.6,<13`)",
        ),
        ("cuda = 12.8", "cuda: expected a string, in quotes, got 12.8"),
        (
            "packages = ['torch']",
            "packages: expected a table of package names and version specifiers, got ['torch']",
        ),
        ("[packages]\ntorch = 2.8", "packages.torch: expected a version specifier in quotes, got 2.8"),
        (
            '[packages]\ntorch = "2.8"',
            "packages.torch: not a PEP 440 specifier: '2.8' (expected `*` or `>=2.8`)",
        ),
        (
            '[packages]\ntorch = "@ https://x"',
            "packages.torch: not a PEP 440 specifier: '@ https://x' (expected `*` or `>=2.8`)",
        ),
        ('[packages]\n"to rch" = "*"', "packages.to rch: not a package name"),
        ('[packages]\n"../x" = "*"', "packages.../x: not a package name"),
        ("machine = 1", "machine: expected [[machine]] tables, got 1"),
        ("machine = [1]", "machine: expected [[machine]] tables, got 1"),
        (
            '[[machine]]\ndriver = "CUDA 12"',
            "machine[0].driver: not a driver version: 'CUDA 12' (expected for example `570.86.10`)",
        ),
        (
            '[[machine]]\ndriver-api = "570.86.10.1.1"',
            "machine[0].driver-api: not a CUDA release line: '570.86.10.1.1' (expected for example `12.8`)",
        ),
        (
            '[[machine]]\nglibc = "new"',
            "machine[0].glibc: not a glibc version: 'new' (expected for example `2.31`)",
        ),
        (
            '[[machine]]\nplatform = "win64"',
            "machine[0].platform: unknown platform `win64`; did you mean `win-64`?",
        ),
        ('[[machine]]\nname = "../etc"', "machine[0].name: not a name: '../etc' (letters, digits, ` ._-`)"),
        ("[[machine]]\ncount = 0", "machine[0].count: expected a number of machines, got 0"),
        ("[[machine]]\ncount = -2", "machine[0].count: expected a number of machines, got -2"),
        ("[[machine]]\ncount = true", "machine[0].count: expected a number, got True"),
        ('[[machine]]\nwsl = "yes"', "machine[0].wsl: expected true or false, got 'yes'"),
        ("[[machine]]\ngpu = 8.9", "machine[0].gpu: expected a string or a list of strings, got 8.9"),
        ('[[machine]]\nname = "a"\n[[machine]]\nname = "a"', "machine: two machines are named `a`"),
        (
            'platforms = "linux-64"\n[[machine]]\nplatform = "win-64"',
            "machine[0].platform: `win-64` is not among `platforms` (linux-64)",
        ),
        ("indexes = 'https://x'", "indexes: expected a table of index names and URLs, got 'https://x'"),
        (
            'cuda = ["12.6", "newest"]',
            "cuda: not a CUDA request: 'newest' (expected `any`, `cpu`, `12.8` or `>=12.6,<13`)",
        ),
        (
            '[targets.x]\ncomponents = ["compilr"]',
            "targets.x.components: unknown component `compilr`; did you mean `compiler`?",
        ),
        (
            '[targets.x]\nproviders = ["uv"]',
            "targets.x.providers: unknown provider `uv` (known: pip, conda, system)",
        ),
        ('[targets.x]\nwhi = "y"', "targets.x.whi: unknown key; did you mean `why`?"),
        ('[targets."X y"]', "targets.X y: not a name of a target (small letters, digits, dashes)"),
        ('targets = "x"', "targets: expected a table, got 'x'"),
        (
            'target = "train"\n[targets.trains]',
            "target: unknown target `train`; did you mean `trains`?",
        ),
        ('[indexes]\npytorhc = "https://x"', "indexes.pytorhc: unknown key; did you mean `pytorch`?"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_was_expected(text: str, problem: str) -> None:
    assert problem_of(text) == problem


def test_an_ambiguous_gpu_is_refused_with_the_products_that_may_be_meant() -> None:
    line = problem_of('[[machine]]\ngpu = "RTX 5000"')
    assert line.startswith("machine[0].gpu: GPU `RTX 5000` is ambiguous: ")
    assert line.endswith("write one of them or its compute capability")


# Index URLs.


@pytest.mark.parametrize(
    "url",
    [
        "https://mirror.example/whl",
        "https://mirror.example:8443/whl/",
        "http://localhost:80/x",
        "http://[::1]/x",
    ],
)
def test_an_index_is_https_or_on_this_machine(url: str) -> None:
    assert parse_index_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://mirror.example/whl",
        "mirror.example/whl",
        "ftp://mirror.example",
        "file:///srv/whl",
        "https://",
        "",
        "http://localhost.example/x",
    ],
)
def test_an_index_elsewhere_needs_tls(url: str) -> None:
    with pytest.raises(ValueError, match="not an https URL"):
        parse_index_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://me@mirror.example/whl",
        "https://me:secret@mirror.example/whl",
        "https://:s@mirror.example",
        "http://me:secret@mirror.example",
    ],
)
def test_credentials_do_not_belong_in_a_file(url: str) -> None:
    with pytest.raises(ValueError, match="credentials do not belong in a file; set UV_INDEX") as caught:
        parse_index_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://x.example/?a=b", "https://x.example/#f", "https://x.example/a b", "https://x.example/$HOME"],
)
def test_an_index_url_holds_nothing_that_a_shell_or_an_installer_would_read(url: str) -> None:
    with pytest.raises(ValueError, match="not a plain URL"):
        parse_index_url(url)


# Requests.


@pytest.mark.parametrize(
    "text",
    ["torch @ https://example.org/torch.whl", "torch@file:///srv/torch.whl", "x @ git+https://example.org/x"],
)
def test_a_requirement_by_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is asked for by URL, which cannot be locked by version and hash"):
        parse_package(text, "test")


@pytest.mark.parametrize(
    "text",
    [
        *("", "torch 2.8", "torch>=", "-r other.txt", "./here", "torch;;"),
        *("torch; 'x' in extras", "torch; os_name ~= 'nt'", f"torch; {'(' * 999}os_name == 'nt'{')' * 999}"),
    ],
)
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a requirement"):
        parse_package(text, "test")


def test_a_requirement_is_made_canonical() -> None:
    package = parse_package("Torch_Vision[B,a] >=0.20, <1 ; sys_platform=='linux'", "here")
    assert package.requirement == 'torch-vision[a,b]<1,>=0.20 ; sys_platform == "linux"'
    assert package.origin == "here"
    assert parse_package(package.requirement, "here") == package


@pytest.mark.parametrize(
    ("text", "allowed", "refused"),
    [
        ("3.12", ["3.12"], ["3.11", "3.13", "3.1"]),
        ("3.12.4", ["3.12"], ["3.11"]),
        (">=3.11", ["3.11", "3.15"], ["3.10", "3.9"]),
        (">=3.11,<3.13", ["3.11", "3.12"], ["3.10", "3.13"]),
        ("==3.12.*", ["3.12"], ["3.13"]),
        ("==3.12.4", ["3.12"], ["3.13"]),
        (">3.12", ["3.12", "3.13"], ["3.11"]),
        ("!=3.12.*", ["3.11", "3.13"], ["3.12"]),
        (">=3.9.2", ["3.9"], ["3.8"]),
    ],
)
def test_a_python_request_is_about_release_lines(text: str, allowed: list[str], refused: list[str]) -> None:
    request = PythonRequest.parse(text)
    assert all(request.allows(PythonVersion.parse(python)) for python in allowed)
    assert not any(request.allows(PythonVersion.parse(python)) for python in refused)


@pytest.mark.parametrize(
    ("text", "allowed", "refused"),
    [
        ("any", ["11.8", "13.2"], []),
        ("cpu", [], ["11.8", "13.2"]),
        ("12.8", ["12.8"], ["12.6", "12.9"]),
        ("cu128", ["12.8"], ["12.6"]),
        (">=12.6,<13", ["12.6", "12.9"], ["11.8", "13.0"]),
        ("==12.*", ["12.1", "12.9"], ["13.0"]),
        ("!=12.6", ["12.8"], ["12.6"]),
    ],
)
def test_a_cuda_request_is_about_release_lines(text: str, allowed: list[str], refused: list[str]) -> None:
    request = CudaRequest.parse(text)
    assert all(request.allows(CudaVersion.parse(cuda)) for cuda in allowed)
    assert not any(request.allows(CudaVersion.parse(cuda)) for cuda in refused)
    assert (request.is_any, request.is_cpu) == (text == "any", text == "cpu")


@pytest.mark.parametrize("text", ["12", "gpu", "none", "cu12.8", "CPU", "~12"])
def test_what_is_no_cuda_request_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a CUDA request"):
        CudaRequest.parse(text)


# pyproject.toml.

PYPROJECT = """
[project]
name = "demo"
requires-python = ">=3.10"
dependencies = ["torch>=2.8", "numpy<3 ; python_version < '3.13'"]

[project.optional-dependencies]
vision = ["torchvision[scipy]"]
audio = ["torchaudio"]

[dependency-groups]
dev = [{include-group = "test"}, "ipython"]
test = ["pytest>=8"]

[tool.cudaenv]
target = "run-only"
extras = ["vision"]
groups = "dev"

[tool.cudaenv.packages]
diffusers = "*"
"""


def test_a_project_gives_its_dependencies_and_the_extras_and_groups_that_are_named() -> None:
    spec = pyproject(PYPROJECT)
    assert requirements(spec) == [
        "torch>=2.8",
        'numpy<3 ; python_version < "3.13"',
        "torchvision[scipy]",
        "ipython",
        "pytest>=8",
        "diffusers",
    ]
    assert spec.python is not None
    assert spec.python.text == ">=3.10"
    assert spec.origin == "pyproject.toml"


def test_python_in_the_table_counts_before_requires_python() -> None:
    spec = pyproject(PYPROJECT.replace("[tool.cudaenv]", '[tool.cudaenv]\npython = "3.12"'))
    assert spec.python is not None
    assert spec.python.text == "3.12"


def test_a_project_without_a_table_of_ours_is_planned_by_its_dependencies() -> None:
    assert requirements(pyproject('[project]\ndependencies = ["torch"]')) == ["torch"]
    assert pyproject("[build-system]\nrequires = []") == Spec(origin="pyproject.toml")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'extras = ["vision"]',
            'extras = ["visoin"]',
            "tool.cudaenv.extras: no extra `visoin` in "
            "[project.optional-dependencies]; did you mean `vision`?",
        ),
        (
            'groups = "dev"',
            'groups = "dve"',
            "tool.cudaenv.groups: group `dve` is not in [dependency-groups]; did you mean `dev`?",
        ),
        (
            'include-group = "test"',
            'include-group = "tset"',
            "tool.cudaenv.groups: group `tset` is not in [dependency-groups]; did you mean `test`?",
        ),
        (
            'test = ["pytest>=8"]',
            'test = [{include-group = "dev"}]',
            "tool.cudaenv.groups: group `dev` includes itself",
        ),
        ('"pytest>=8"', '"ruff", 8', "dependency-groups.test[1]: expected a requirement, got 8"),
        (
            '"ipython"',
            '"i python"',
            "dependency-groups.dev[1]: not a requirement: 'i python' (expected for example `torch>=2.8`)",
        ),
        (
            '"torch>=2.8"',
            '"torch @ https://example.org/t.whl"',
            "project.dependencies[0]: `torch` is asked for by "
            "URL, which cannot be locked by version and hash",
        ),
        (
            '"torchvision[scipy]"',
            "7",
            "project.optional-dependencies.vision[0]: expected a requirement, got 7",
        ),
        (
            '">=3.10"',
            '"py3"',
            "project.requires-python: not a Python version or specifier: 'py3' (expected for "
            "example `3.12` or `>=3.11`)",
        ),
        (
            'requires-python = ">=3.10"',
            "requires-python = 3.10",
            "project.requires-python: expected a string, in quotes, got 3.1",
        ),
        (
            'target = "run-only"',
            'tagret = "run-only"',
            "tool.cudaenv.tagret: unknown key; did you mean `target`?",
        ),
        (
            'diffusers = "*"',
            "diffusers = 1",
            "tool.cudaenv.packages.diffusers: expected a version specifier in quotes, got 1",
        ),
    ],
)
def test_a_mistake_in_a_project_is_named_with_its_key(old: str, new: str, problem: str) -> None:
    assert old in PYPROJECT
    assert pyproject_problems(PYPROJECT.replace(old, new)) == (problem,)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("tool = 1", "tool"),
        ("[tool]\ncudaenv = 1", "tool.cudaenv"),
        ("project = 1", "project"),
        ("[project]\ndependencies = 'torch'", "project.dependencies"),
        ("[project]\ndependencies = [1]", "project.dependencies[0]"),
        ("[project]\noptional-dependencies = []", "project.optional-dependencies"),
        ("dependency-groups = []", "dependency-groups"),
        ("[dependency-groups]\na = 1\n[tool.cudaenv]\ngroups = 'a'", "dependency-groups.a"),
    ],
)
def test_a_table_of_another_type_is_a_mistake_and_no_crash(text: str, path: str) -> None:
    assert [line.split(":")[0] for line in pyproject_problems(text)] == [path]


# Anything at all.

words = st.sampled_from(
    [
        *KEYS,
        *MACHINE_KEYS,
        "extras",
        "groups",
        "tool",
        "cudaenv",
        "project",
        "dependencies",
        "optional-dependencies",
        "dependency-groups",
        "requires-python",
        "include-group",
        "pytorch",
        "default",
        "torch",
        "a",
        "x[y]",
        "x[y, z]",
    ]
)
texts = st.sampled_from(
    [
        "",
        " ",
        "*",
        "any",
        "cpu",
        "none",
        "12.8",
        "3.11",
        ">=3.11",
        "8.9",
        "RTX 4090",
        "RTX 5000",
        "570.86.10",
        "linux-64",
        "run-only",
        "pip",
        "https://x.example",
        "http://[",
        "torch>=2",
        "torch ; a",
        "===x",
        "<",
        "a",
        "x[y]",
        "\N{ARABIC-INDIC DIGIT FIVE}",
        "\0",
    ]
) | st.text(max_size=5)
scalars = texts | st.integers() | st.floats() | st.booleans() | st.dates()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | texts, inner, max_size=4)
)
documents = st.dictionaries(words, values, max_size=6)


def read_or_refuse(read: Any, data: Mapping[str, Any]) -> None:
    try:
        spec = read(data, "some.toml", KNOWN)
    except SpecError as error:
        assert error.details
        assert all(": " in line for line in error.details)
    else:
        assert isinstance(spec, Spec)
        assert all(isinstance(package, PackageRequest) for package in spec.packages)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(data=documents)
def test_any_document_is_a_spec_or_a_spec_error(data: dict[str, Any]) -> None:
    read_or_refuse(read_spec, data)
    read_or_refuse(read_pyproject, data)
    read_or_refuse(read_pyproject, {"tool": {"cudaenv": data}, **data})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(key=st.sampled_from(MACHINE_KEYS), value=values)
def test_any_value_of_a_machine_is_read_or_refused(key: str, value: object) -> None:
    read_or_refuse(read_spec, {"machine": [{key: value}]})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(key=words | texts, value=texts)
def test_any_package_is_read_or_refused(key: str, value: str) -> None:
    read_or_refuse(read_spec, {"packages": {key: value}})
