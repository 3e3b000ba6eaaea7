"""What is compared with a case: every key fits something and does not fit something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.cases.answers import Answer, read_answers, unanswered
from tests.cases.match import ALWAYS, COMMANDS, OF_A_PLAN, check_for, has_build_pin, mismatches
from tests.cases.negatives import first_image, found_in
from tests.cases.outcome import Outcome, comments_of
from tests.cases.strategy import strategies
from tests.cases.words import contains, mentions

NVIDIA_DEVEL = "nvidia/cuda:12.6.3-devel-ubuntu24.04"
PLAIN = "python:3.12-slim"
TOOLKIT = {
    "version": "12.6.3",
    "provider": "conda",
    "host_compiler": {"kind": "gcc", "newest": "13", "planned": "12", "package": "g++-12"},
}
UNPLANNED = {**TOOLKIT, "host_compiler": {"kind": "gcc", "newest": "13", "planned": None}}
WINDOWS = {**TOOLKIT, "host_compiler": {"kind": "msvc", "newest": "1943", "planned": None}}
SYSTEM = {**TOOLKIT, "provider": "system"}


def environment(**changes: Any) -> dict[str, Any]:
    return {
        "name": "cu126",
        "provider": "pip",
        "python": "3.12",
        "cuda": "12.6",
        "variant": "cu126",
        "packages": {
            "torch": {"version": "2.8.0+cu126"},
            "xformers": {"version": "0.0.28.post1"},
            "mmcv-full": {"version": "1.6.2"},
        },
        "requirements": ["numpy<2", "mmcv[x]==2.1.0", "einops"],
        "toolkit": None,
        "base_image": {"build": PLAIN, "run": PLAIN},
        "phases": [{"install": ["torch"]}, {"install": ["xformers"]}],
        **changes,
    }


CPU = environment(name="cpu", cuda=None, variant="cpu", packages={"torch": {"version": "2.8.0"}})
BUILDING = environment(toolkit=TOOLKIT)


def planned(*environments: dict[str, Any], **more: Any) -> Outcome:
    """An outcome with these environments, which ended well if nothing else is said."""
    statuses = {"plan --json": 0, "plan": 0, "plan --explain": 0, "render": 0}
    plan = {"environments": list(environments or [environment()]), "refusal": None}
    return Outcome(**{"statuses": statuses, "plan": plan, **more})


def refused(said: str = "No plan") -> Outcome:
    plan = {"environments": [], "refusal": {"text": "nothing fits"}}
    return Outcome(statuses={"plan --json": 3, "plan": 3, "plan --explain": 3}, plan=plan, said=said)


def files(**named: str) -> Outcome:
    """An outcome with a file each; `_` in a name stands for a point."""
    return planned(files={name.replace("_", "."): text for name, text in named.items()})


FITS: list[tuple[str, Any, Outcome]] = [
    ("must_error", False, planned()),
    ("must_error", True, refused()),
    ("must_error", "either", planned()),
    ("must_error", "either", refused()),
    ("must_mention", ["470", "Pascal|Volta"], refused("driver 470.86 for volta")),
    ("must_mention", ["virtual package"], planned(files={"environment.yml": "a: 1  # virtual package"})),
    ("must_mention", ["lock me"], planned(mode="lock", files={"pylock.toml": "lock me"})),
    ("must_not_mention", ["LD_LIBRARY_PATH"], planned()),
    (
        "must_include",
        ["numpy<2", "8.0|9.0"],
        files(requirements_txt="numpy>=1.21,<2\n", Dockerfile="7.5;8.0"),
    ),
    ("must_include", ["pylock"], planned(files={"pylock.toml": ""})),
    ("must_include_any", ["missing", "numpy<2"], files(requirements_txt="numpy<2")),
    ("must_include_any2", ["missing", "numpy<2"], files(requirements_txt="numpy<2")),
    ("must_not_include", ["mmcv==2.2.0"], files(requirements_txt="mmcv==2.2.1")),
    ("must_not_include", ["mmcv==2.2.0"], refused()),
    ("must_include_build_pin", True, files(environment_yml="  - pytorch=*=cuda*")),
    ("lock_contains", ["cuda"], files(pylock_toml="cuda-toolkit")),
    ("lock_contains", ["cuda"], files(environment_yml="cuda-version")),
    ("lock_lacks", ["cpu_"], files(pylock_toml="cuda_", environment_yml="cpu_")),
    ("cuda_any_of", ["cu118", "cu126"], planned()),
    ("cuda_any_of", ["12.6"], planned(environment(), CPU)),
    ("cuda_any_of", ["cpu"], planned(CPU)),
    ("cuda_none_of", ["cu118"], planned()),
    ("torch_spec", ">=2.0,<=2.8.0", planned()),
    ("torch_spec", ">=2.0,<2.9", planned(environment(packages={"torch": {"version": "2.8.0rc1+cu126"}}))),
    ("mmcv_full_spec", ">=1.6,<2 or mmcv>=2.0.0rc", planned()),
    ("mmcv_full_spec", ">=1.7,<2 or mmcv>=2.0.0rc", planned()),
    ("mmcv_spec", ">=2.0.0rc4,<2.2.0", planned()),
    ("python_any_of", ["3.11", "3.12"], planned()),
    ("xformers_any_of", ["0.0.28", "0.0.28.post1"], planned()),
    ("xformers_none_of", ["0.0.28"], planned()),
    ("toolkit", "12.6", planned(BUILDING)),
    ("toolkit", ["11.8", "12.6"], planned(BUILDING)),
    ("toolkit", "none", planned()),
    ("toolkit", None, planned()),
    ("toolkit_equals_cuda", True, planned(BUILDING)),
    ("toolkit_equals_cuda", False, planned(environment(cuda="12.8", toolkit=TOOLKIT))),
    ("gcc_max", "12", planned(BUILDING)),
    ("gcc_preferred_max", "12", planned(BUILDING)),
    ("gcc_max", "13", planned(environment(toolkit=UNPLANNED))),
    ("base_image_cuda_max", "12.6", files(Dockerfile="FROM nvidia/cuda:12.6.3-runtime-ubuntu24.04")),
    ("base_image_cuda_max", "12.2", planned()),
    ("phases", "2", planned()),
    ("strategy_any_of", ["container-devel", "pip-wheels"], planned()),
    ("strategy_none_of", ["pip-wheels-only"], planned(BUILDING)),
    ("requirement", "whatever it says", planned()),
]

DIFFERS: list[tuple[str, Any, Outcome]] = [
    ("must_error", False, refused()),
    ("must_error", True, planned()),
    ("must_error", "either", Outcome(statuses={"plan --json": 2}, said="error: not a key")),
    ("must_mention", ["470", "Pascal|Volta"], refused("driver 525.470 for Turing")),
    ("must_mention", ["lock me"], planned(mode="plan", files={"pylock.toml": "lock me"})),
    ("must_mention", "source", planned(said="  source: the matrix")),
    ("must_not_mention", ["LD_LIBRARY_PATH"], planned(said="set LD_LIBRARY_PATH")),
    ("must_include", ["numpy<2"], files(requirements_txt="numpy<2.3")),
    ("must_include", ["7.0"], files(Dockerfile="2.7.0")),
    ("must_include_any", ["missing", "absent"], files(requirements_txt="numpy<2")),
    ("must_include_any2", ["missing", "absent"], files(requirements_txt="numpy<2")),
    ("must_not_include", ["mmcv==2.2.0"], files(requirements_txt="mmcv==2.2.0")),
    ("must_not_include", "pylock", planned(files={"pylock.toml": ""})),
    ("must_include_build_pin", True, files(environment_yml="  - pytorch\n  - cuda-version=12.6")),
    ("must_include_build_pin", True, planned()),
    ("lock_contains", ["cuda"], files(pylock_toml="", environment_yml="cuda-version")),
    ("lock_lacks", ["cpu_"], files(environment_yml="cpu_")),
    ("lock_lacks", ["cpu_"], planned()),
    ("cuda_any_of", ["cu118"], planned()),
    ("cuda_any_of", ["cu118"], planned(CPU)),
    ("cuda_any_of", ["cu118"], planned(environment(variant="cu118"), environment())),
    ("cuda_none_of", ["cu118", "12.6"], planned(CPU, environment())),
    ("torch_spec", ">=2.0,<2.8.0", planned()),
    ("torch_spec", "==2.8.0", planned(environment(), environment(name="x", packages={}))),
    ("mmcv_full_spec", ">=1.7,<2 or mmcv>=2.2", planned()),
    ("mmdet_spec", ">=3", planned()),
    ("python_any_of", ["3.11"], planned()),
    ("xformers_any_of", ["0.0.28"], planned()),
    ("xformers_none_of", ["0.0.28.post1"], planned()),
    ("toolkit", "12.8", planned(BUILDING)),
    ("toolkit", "1", planned(BUILDING)),
    ("toolkit", "12.6", planned()),
    ("toolkit", "none", planned(BUILDING)),
    ("toolkit_equals_cuda", True, planned(environment(cuda="12.8", toolkit=TOOLKIT))),
    ("toolkit_equals_cuda", True, planned()),
    ("gcc_max", "11", planned(BUILDING)),
    ("gcc_preferred_max", "11", planned(BUILDING)),
    ("gcc_max", "12", planned(environment(toolkit=UNPLANNED))),
    ("gcc_max", "1944", planned(environment(toolkit=WINDOWS))),
    ("gcc_max", "12", planned()),
    ("base_image_cuda_max", "12.4", files(Dockerfile="FROM nvidia/cuda:12.6.3-runtime-ubuntu24.04")),
    ("base_image_cuda_max", "12.4", planned(environment(base_image={"build": NVIDIA_DEVEL, "run": PLAIN}))),
    ("phases", "3", planned()),
    ("strategy_any_of", ["conda-forge"], planned()),
    ("strategy_none_of", ["pip-wheels-only"], planned()),
    ("wavelength", "530", planned()),
]


@pytest.mark.parametrize(("key", "value", "outcome"), FITS)
def test_what_fits(key: str, value: Any, outcome: Outcome) -> None:
    assert mismatches({"must_error": "either", key: value}, outcome) == {}


@pytest.mark.parametrize(("key", "value", "outcome"), DIFFERS)
def test_what_differs(key: str, value: Any, outcome: Outcome) -> None:
    found = mismatches({"must_error": "either", key: value}, outcome)
    assert key in found
    assert all(found[key])


def test_every_key_has_something_that_fits_and_something_that_does_not() -> None:
    keys = set(ALWAYS) | set(OF_A_PLAN)
    assert {key for key, _, _ in FITS} >= keys
    assert {key for key, _, _ in DIFFERS} >= keys - {"requirement"}
    assert check_for("findings") is None


def test_of_a_refusal_only_what_it_says_is_compared() -> None:
    expected = {"must_error": "either", "cuda_any_of": ["cu118"], "must_mention": ["5.0"]}
    assert mismatches(expected, refused("needs 5.0")) == {}
    assert list(mismatches(expected, refused("needs 6.0"))) == ["must_mention"]


def test_of_a_spec_that_is_not_understood_only_how_it_ended_is_compared() -> None:
    broken = Outcome(statuses={"plan --json": 2}, said="error: first\n\nerror: not\n  a key\n")
    expected = {"must_error": True, "must_mention": ["5.0"], "phases": "2"}
    assert mismatches(expected, broken) == {"must_error": ["exit status 2 instead of 3: not a key"]}


def test_without_a_word_on_it_a_plan_is_expected() -> None:
    assert mismatches({}, planned()) == {}
    assert mismatches({}, refused()) == {"must_error": ["exit status 3 instead of 0: nothing fits"]}


def test_the_tolerated_image_is_the_limit() -> None:
    outcome = files(Dockerfile="FROM nvidia/cuda:12.6.3-runtime-ubuntu24.04")
    expected = {"base_image_cuda_max": "12.2", "base_image_cuda_tolerated": "12.6"}
    assert mismatches(expected, outcome) == {}
    assert "base_image_cuda_max" in mismatches({**expected, "base_image_cuda_tolerated": "12.5"}, outcome)


@pytest.mark.parametrize(
    "statuses",
    [
        {"plan --json": 0, "plan": 3, "plan --explain": 0, "render": 0},
        {"plan --json": 0, "plan": 0, "plan --explain": 0, "render": 2},
        {"plan --json": 0, "plan": 0, "plan --explain": 0, "render": 0, "lock": 1},
    ],
)
def test_commands_agree_and_none_breaks(statuses: Mapping[str, int]) -> None:
    assert COMMANDS in mismatches({"must_error": "either"}, planned(statuses=statuses))


def test_a_bug_is_named_by_its_exception() -> None:
    said = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nKeyError: 7\n\nThis is a bug'
    statuses = {**planned().statuses, "render": 1}
    (text,) = mismatches({}, planned(statuses=statuses, said=said))[COMMANDS]
    assert text.endswith(": KeyError: 7")


def test_a_lock_that_fails_is_how_the_case_ends() -> None:
    statuses = {**planned().statuses, "lock": 5}
    assert planned(statuses=statuses).status == 5
    from_conda = environment(provider="conda")
    assert planned(from_conda, statuses=statuses).status == 0
    assert planned(from_conda, environment(), statuses=statuses).status == 5
    assert planned(from_conda, statuses={**statuses, "lock": 1}).status == 1


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, {"pip-wheels", "pip-wheels-only", "container"}),
        ({"base_image": {"build": None, "run": None}}, {"pip-wheels", "pip-wheels-only"}),
        ({"toolkit": TOOLKIT}, {"pip-wheels", "container"}),
        ({"provider": "conda"}, {"conda-forge", "conda-forge-only", "container"}),
        (
            {"provider": "conda", "cuda": "11.8"},
            {"conda-cudatoolkit", "conda-cudatoolkit-only", "container"},
        ),
        (
            {"provider": "conda", "cuda": "11.8", "toolkit": TOOLKIT},
            {"conda-cudatoolkit", "conda-cudatoolkit-dev", "container"},
        ),
        (
            {
                "toolkit": SYSTEM,
                "base_image": {"build": NVIDIA_DEVEL, "run": PLAIN},
            },
            {"pip-wheels", "system-toolkit", "container", "container-devel"},
        ),
        ({"provider": "system", "base_image": {"build": None, "run": None}}, set()),
    ],
)
def test_strategies(changes: dict[str, Any], names: set[str]) -> None:
    assert strategies(environment(**changes)) == names


@pytest.mark.parametrize(
    ("item", "text", "is_there"),
    [
        ("2.0", "CUDA 12.0", False),
        ("2.0", "torch 2.0.1", True),
        ("3.1", "Python 3.10", False),
        ("0.1", "1.0.1", False),
        ("ABI", "compute capability", False),
        ("ABI", "the C++ ABI, ABIs", True),
        ("CI", "a PCI bus", False),
        ("jetson", "a Jetson board", True),
        ("Jetson", "a JETSON board", True),
        ("virtual package", "a virtual\n    package", True),
        ("A1|B2", "only b2", True),
        ("nvidia-", "nvidia-cublas", True),
    ],
)
def test_mentions(item: str, text: str, is_there: bool) -> None:
    assert mentions(item, text) is is_there


@pytest.mark.parametrize(
    ("item", "text", "is_there"),
    [
        ("numpy<2", "numpy >=1.21,<2\n", True),
        ("numpy<2", "numpy<2.0", False),
        ("numpy<2", "my-numpy<2", False),
        ("numpy<2", "numpy\nscipy<2", False),
        ("torch==2.8.0+cu128", "torch==2.8.0+cu128", True),
        ("torch==2.8.0", "torch==2.8.0+cu128", True),
        ("torch==2.8.0", "torch==2.8.0.post1", False),
        ("pytorch=*=cuda*", '- "pytorch=2.8.*=cuda129_*"', True),
        ("pytorch=*=cuda*", "pytorch=2.8.*=cpu_*", False),
        ("pytorch=*=cuda*", "pytorch=2.8\n=x=cuda", False),
        ("=*=*cuda*", "torchvision=0.2=py_cuda126", True),
        ("\nmmcv==", "mmcv==2.0", True),
        ("\nmmcv==", "  - 'mmcv==2.0'", True),
        ("\nmmcv==", "# not mmcv==2.0", False),
        ("12.0", "7.5;12.0", True),
        ("12.0", "112.0", False),
        ("setuptools==", "setuptools==80.9.0", True),
        ("Numpy", "numpy", False),
        ("CPATH|NVCC_PREPEND_FLAGS", "ENV NVCC_PREPEND_FLAGS=-I", True),
    ],
)
def test_contains(item: str, text: str, is_there: bool) -> None:
    assert contains(item, text) is is_there


BOTH = "torch==2.7.0+cu126\nflash-attn==2.7.4.post1\n"
STAGES = "ARG BASE_IMAGE=nvidia/cuda:12.6.3-runtime-ubuntu24.04\nFROM ${BASE_IMAGE} AS build\nFROM scratch\n"
EXTRAS = '[project]\nname = "x"\n[project.optional-dependencies]\ncpu = ["torch==2.7.1+cpu"]\n'


@pytest.mark.parametrize(
    ("item", "named", "places"),
    [
        ("flash-attn==2.7.4.post1 with torch 2.7", {"requirements.txt": BOTH}, ["requirements.txt"]),
        ("flash-attn==2.7.4.post1 with torch 2.6", {"requirements.txt": BOTH}, []),
        ("flash-attn==2.7.4.post1 with torch 2.7", {"cudaenv.lock": BOTH}, []),
        ("flash-attn==2.7.4.post1 with torch 2.7", dict(zip("ab", BOTH.split(), strict=True)), []),
        ("-runtime-ubuntu as the build stage", {"Dockerfile.cu126": STAGES}, ["Dockerfile.cu126"]),
        ("-devel as the build stage", {"Dockerfile": STAGES}, []),
        ("scratch as the build stage", {"Dockerfile": STAGES}, []),
        ("-runtime as the build stage", {"notes.txt": STAGES}, []),
        ("torch==2.7.1+cpu in extra", {"pyproject.cudaenv.toml": EXTRAS}, ["pyproject.cudaenv.toml: cpu"]),
        ("torch==2.7.1+cu126 in extra", {"pyproject.cudaenv.toml": EXTRAS}, []),
        ("torch==2.7.1+cpu in extra", {"requirements.txt": "torch==2.7.1+cpu"}, []),
        ("pip install torch", {"Dockerfile": "RUN pip install torch"}, ["Dockerfile"]),
    ],
)
def test_sentences(item: str, named: dict[str, str], places: list[str]) -> None:
    assert found_in(item, planned(files=named)) == places


@pytest.mark.parametrize(
    ("dockerfile", "image"),
    [
        ("FROM python:3.12\nFROM other", "python:3.12"),
        ("FROM --platform=linux/amd64 python:3.12", "python:3.12"),
        ("ARG A=x\nARG B=y\nFROM $B:1", "y:1"),
        ("FROM ${UNKNOWN}", "${UNKNOWN}"),
        ("", ""),
    ],
)
def test_the_first_image_of_a_dockerfile(dockerfile: str, image: str) -> None:
    assert first_image(dockerfile) == image


@pytest.mark.parametrize(
    ("dependency", "is_pinned"),
    [
        ("pytorch=*=cuda*", True),
        ("pytorch=2.8.*=cuda126*", True),
        ("conda-forge::pytorch=2.8=*cuda*", True),
        ('"pytorch 2.8.* cuda126_*"', True),
        ("pytorch[version=2.8,build=cuda*]", True),
        ("pytorch=2.3.1=py3.10_cuda11.8_cudnn8.7.0_0", True),
        ("pytorch >=2.8,<3 cuda126_*", True),
        ("pytorch-gpu", True),
        ("pytorch-gpu=2.8", True),
        ("pytorch=2.8", False),
        ("pytorch==2.8", False),
        ("pytorch=2.8=cpu*", False),
        ("cuda-version=12.6", False),
        ("nvidia::cuda-nvcc=12.6", False),
        ("pytorch-cuda=12.1", False),
        ("pytorch >=2.8", False),
        ("pytorch=2.8  # cuda", False),
    ],
)
def test_build_pins(dependency: str, is_pinned: bool) -> None:
    assert has_build_pin(f"dependencies:\n  - python=3.12\n  - {dependency}\n") is is_pinned


def test_comments() -> None:
    text = "# first\nnumpy  # second\nx=a#b\n    # third"
    assert comments_of(text) == ["first", "second", "third"]


# --- answers


def test_an_answer_leaves_out_its_keys_and_goes_stale_when_they_fit() -> None:
    answer = Answer(frozenset({"cuda_any_of"}), "it is so", "a page")
    assert unanswered({"cuda_any_of": ["x"]}, answer) == {}
    assert unanswered({"cuda_any_of": ["x"], "torch_spec": ["y"]}, answer) == {"torch_spec": ["y"]}
    assert list(unanswered({}, answer)) == ["cuda_any_of"]
    assert unanswered({"torch_spec": ["y"]}, None) == {"torch_spec": ["y"]}


def test_answers_are_read_and_have_reasons() -> None:
    text = "X-1: {keys: [cuda_any_of, phases], because: so, source: there}"
    assert read_answers(text) == {"X-1": Answer(frozenset({"cuda_any_of", "phases"}), "so", "there")}
    assert read_answers("# nothing\n{}\n") == {}
    for missing in ("keys: [a], because: so", "keys: [a], source: there", "because: so, source: there"):
        with pytest.raises(ValueError, match="X-1"):
            read_answers(f"X-1: {{{missing}}}")
