"""The schema of `plan --json` refuses what is wrong: a schema that checks nothing is worse than none."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from cudaenv.model.plan_json import plan_json
from tests.support.planning import machine, plan_for
from tests.support.schema import plan_schema, plan_validator

Path = tuple[str | int, ...]


@cache
def _document(name: str) -> str:
    """A document of each shape, as text; every array and every optional part of it has something in it."""
    plans = {
        "planned": lambda: plan_for(
            machine("lab", ["V100"], "535.54.03"), packages=["torchvision", "diffusers"], python="3.12"
        ),
        "built": lambda: plan_for(
            machine("lab", ["RTX 4090"], "535.104.05"), packages=["pytorch3d"], target="develop-kernels"
        ),
        "conda": lambda: plan_for(
            machine("lab", ["V100"], "535.54.03"), packages=["torchvision", "diffusers"], provider="conda"
        ),
        "bare": lambda: plan_for(machine("lab", ["RTX 4090"], "580.95.05"), packages=["cupy-cuda12x"]),
        "cpu": lambda: plan_for(machine("mac", [], platform="osx-arm64")),
        "refused": lambda: plan_for(machine(gpus=["RTX 5090"]), packages=["torch==2.5.1"]),
    }
    document = plan_json(plans[name]())
    if name == "planned":
        document["environments"][0]["ptx"] = ["9.0"]
    elif document["decisions"]:  # one is enough beside those of the first
        document["decisions"] = [{**document["decisions"][0], "instead_of": []}]
    return json.dumps(document)


def document(name: str) -> Any:
    return json.loads(_document(name))


def is_valid(value: Any) -> bool:
    return plan_validator().is_valid(value)


def changed(value: Any, path: Path, new: Any) -> Any:
    """A copy with another value at a path; `...` takes the key out."""
    result = copy.deepcopy(value)
    target = result
    for key in path[:-1]:
        target = target[key]
    if new is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = new
    return result


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value inside a document with its path, the document itself first."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


SHAPES = ("planned", "built", "conda", "bare", "cpu", "refused")


@pytest.mark.parametrize("name", SHAPES)
def test_the_documents_that_are_spoilt_below_are_valid(name: str) -> None:
    assert list(plan_validator().iter_errors(document(name))) == []


@pytest.mark.parametrize("name", SHAPES)
def test_no_key_may_be_missing(name: str) -> None:
    good = document(name)
    free = {"env", "packages", "virtual_packages"}
    for path, _ in places(good):
        if path and isinstance(path[-1], str) and not (len(path) > 1 and path[-2] in free):
            assert not is_valid(changed(good, path, ...)), path


@pytest.mark.parametrize("name", SHAPES)
def test_no_unknown_key_may_be_there(name: str) -> None:
    good = document(name)
    for path, value in places(good):
        if isinstance(value, dict):
            spoilt = {**value, "unheard of": "x"}
            assert not is_valid(changed(good, path, spoilt) if path else spoilt), path


@pytest.mark.parametrize("name", SHAPES)
def test_no_value_may_be_of_another_type(name: str) -> None:
    good = document(name)
    for path, value in places(good):
        for wrong in (7, True, 1.5):
            is_minutes = path[-1:] == ("minutes",) and path[-2] != 0 and wrong == 7
            if path and wrong != value and not is_minutes:  # 1 is True for Python
                assert not is_valid(changed(good, path, wrong)), (path, wrong)


@pytest.mark.parametrize("name", SHAPES)
def test_no_text_may_be_empty_but_the_source_of_a_reason(name: str) -> None:
    good = document(name)
    for path, value in places(good):
        if isinstance(value, str) and path[-1] != "source" and "env" not in path:
            assert not is_valid(changed(good, path, "")), path


@pytest.mark.parametrize("other", [None, [], "planned", 1])
def test_a_plan_is_an_object(other: object) -> None:
    assert not is_valid(other)


ENVIRONMENT: Path = ("environments", 0)
TORCH: Path = (*ENVIRONMENT, "packages", "torch")
BUILT = document("built")["environments"][0]
CONDA = document("conda")["environments"][0]
FLAWS: list[tuple[str, str, Path, Any]] = [
    ("another schema version", "planned", ("schema",), 2),
    ("an unknown status", "planned", ("status",), "fine"),
    ("planned with a refusal", "planned", ("refusal",), document("refused")["refusal"]),
    ("planned without environments", "planned", ("environments",), []),
    ("planned without decisions", "planned", ("decisions",), []),
    ("no plan without a refusal", "refused", ("refusal",), None),
    ("no plan with environments", "refused", ("environments",), document("cpu")["environments"]),
    ("no plan with decisions", "refused", ("decisions",), document("cpu")["decisions"]),
    ("no plan with assumptions", "refused", ("assumptions",), ["x"]),
    ("no plan with warnings", "refused", ("warnings",), document("planned")["warnings"]),
    ("planned that says no-plan", "planned", ("status",), "no-plan"),
    ("no plan that says planned", "refused", ("status",), "planned"),
    ("an assumption twice", "planned", ("assumptions",), ["x", "x"]),
    ("a warning twice", "planned", ("warnings",), document("planned")["warnings"] * 2),
    ("a blank assumption", "planned", ("assumptions",), [" "]),
    ("a dot in a name", "planned", (*ENVIRONMENT, "name"), "cu12.6"),
    ("capitals in a name", "planned", (*ENVIRONMENT, "name"), "CU126"),
    ("an unknown platform", "planned", (*ENVIRONMENT, "platform"), "linux-32"),
    ("an environment for nobody", "planned", (*ENVIRONMENT, "machines"), []),
    ("a target that is no name", "planned", (*ENVIRONMENT, "target"), "run only"),
    ("an undecided provider", "planned", (*ENVIRONMENT, "provider"), "auto"),
    ("a Python with a patch", "planned", (*ENVIRONMENT, "python"), "3.12.1"),
    ("a CUDA with a patch", "planned", (*ENVIRONMENT, "cuda"), "12.6.1"),
    ("a CUDA that is a variant", "planned", (*ENVIRONMENT, "cuda"), "cu126"),
    ("an unknown variant", "planned", (*ENVIRONMENT, "variant"), "rocm6"),
    ("a variant with a dot", "planned", (*ENVIRONMENT, "variant"), "cu12.6"),
    ("a CUDA build without CUDA", "planned", (*ENVIRONMENT, "cuda"), None),
    ("a CUDA build without a driver", "planned", (*ENVIRONMENT, "driver_required"), None),
    ("a CUDA build without machine code", "planned", (*ENVIRONMENT, "arch_list"), []),
    ("a CUDA build without a driver layer", "planned", (*ENVIRONMENT, "layers", "driver"), None),
    ("a CUDA build without a runtime layer", "planned", (*ENVIRONMENT, "layers", "runtime"), None),
    ("no application layer", "planned", (*ENVIRONMENT, "layers", "application"), None),
    ("a CUDA build called cpu", "planned", (*ENVIRONMENT, "variant"), "cpu"),
    ("a CPU build with CUDA", "cpu", (*ENVIRONMENT, "cuda"), "12.6"),
    (
        "a CPU build with a driver",
        "cpu",
        (*ENVIRONMENT, "driver_required"),
        {"linux": "525.60.13", "windows": None, "level": "minor"},
    ),
    ("a CPU build with machine code", "cpu", (*ENVIRONMENT, "arch_list"), ["8.0"]),
    ("a CPU build with PTX", "cpu", (*ENVIRONMENT, "ptx"), ["8.0"]),
    (
        "a CPU build with a driver layer",
        "cpu",
        (*ENVIRONMENT, "layers", "driver"),
        {"supplier": "x", "version": "x", "show": "x"},
    ),
    (
        "a CPU build with a runtime layer",
        "cpu",
        (*ENVIRONMENT, "layers", "runtime"),
        {"supplier": "x", "version": "x", "show": "x"},
    ),
    ("a CPU build called cu126", "cpu", (*ENVIRONMENT, "variant"), "cu126"),
    ("no torch", "planned", TORCH, ...),
    (
        "a package under a wrong name",
        "planned",
        (*ENVIRONMENT, "packages", "Torch_Vision"),
        document("planned")["environments"][0]["packages"]["torch"],
    ),
    ("a package without anything", "planned", (*ENVIRONMENT, "packages", "triton"), {}),
    ("a version range", "planned", (*TORCH, "version"), ">=2.14"),
    ("a version with a bad label", "planned", (*TORCH, "version"), "2.14.1+"),
    ("a wheel of no kind", "planned", (*TORCH, "how"), "egg"),
    ("a source that is no name", "planned", (*TORCH, "source"), "py torch"),
    ("the default source with an index", "planned", (*TORCH, "source"), "default"),
    ("another source without an index", "planned", (*TORCH, "index"), None),
    ("an index without TLS", "planned", (*TORCH, "index"), "http://example.org/whl"),
    ("an index with credentials", "planned", (*TORCH, "index"), "https://me@example.org/whl"),
    ("a requirement twice", "planned", (*ENVIRONMENT, "requirements"), ["numpy", "numpy"]),
    ("a driver that is a CUDA", "planned", (*ENVIRONMENT, "driver_required", "linux"), "x12.4"),
    ("no driver for Linux", "planned", (*ENVIRONMENT, "driver_required", "linux"), None),
    ("a wrong driver for Windows", "planned", (*ENVIRONMENT, "driver_required", "windows"), "any"),
    ("an unknown level", "planned", (*ENVIRONMENT, "driver_required", "level"), "forward"),
    ("an SM that is no capability", "planned", (*ENVIRONMENT, "arch_list", 0), "sm_50"),
    ("an SM twice", "planned", (*ENVIRONMENT, "arch_list"), ["7.0", "7.0"]),
    ("PTX that is no capability", "planned", (*ENVIRONMENT, "ptx"), ["120"]),
    ("PTX twice", "planned", (*ENVIRONMENT, "ptx"), ["9.0", "9.0"]),
    ("a wrong glibc", "planned", (*ENVIRONMENT, "glibc"), "glibc2.28"),
    ("no glibc on Linux", "planned", (*ENVIRONMENT, "glibc"), None),
    ("no image on Linux", "planned", (*ENVIRONMENT, "base_image", "run"), None),
    ("an image without a tag", "planned", (*ENVIRONMENT, "base_image", "run"), "python"),
    ("a build image without a tag", "planned", (*ENVIRONMENT, "base_image", "build"), "python"),
    ("glibc on macOS", "cpu", (*ENVIRONMENT, "glibc"), "2.28"),
    ("an image on macOS", "cpu", (*ENVIRONMENT, "base_image", "run"), "python:3.12-slim"),
    ("a build image on macOS", "cpu", (*ENVIRONMENT, "base_image", "build"), "python:3.12-slim"),
    ("no phases", "planned", (*ENVIRONMENT, "phases"), []),
    ("an empty phase", "planned", (*ENVIRONMENT, "phases", 0, "install"), []),
    ("a package twice in a phase", "planned", (*ENVIRONMENT, "phases", 0, "install"), ["torch", "torch"]),
    ("a wrong name in a phase", "planned", (*ENVIRONMENT, "phases", 0, "install"), ["torch==2"]),
    ("a wheel that takes minutes", "planned", (*ENVIRONMENT, "phases", 0, "minutes"), 7),
    ("a wheel that compiles", "planned", (*ENVIRONMENT, "phases", 0, "components"), ["nvcc"]),
    ("a wheel that needs something", "planned", (*ENVIRONMENT, "phases", 0, "requires"), ["ninja"]),
    ("a wheel with a variable", "planned", (*ENVIRONMENT, "phases", 0, "env"), {"MAX_JOBS": "4"}),
    ("a build that is called a wheel", "built", (*ENVIRONMENT, "phases", 1, "builds"), False),
    ("a build of a bare name", "built", (*ENVIRONMENT, "phases", 1, "install"), ["pytorch3d"]),
    ("a build of two", "built", (*ENVIRONMENT, "phases", 1, "install"), ["a==1", "b==1"]),
    ("a build in no time", "built", (*ENVIRONMENT, "phases", 1, "minutes"), 0),
    ("a build with a wrong variable", "built", (*ENVIRONMENT, "phases", 1, "env"), {"max jobs": "4"}),
    ("a build without a toolkit", "built", (*ENVIRONMENT, "toolkit"), None),
    ("a toolkit without its layer", "built", (*ENVIRONMENT, "layers", "toolkit"), None),
    (
        "a toolkit layer without a toolkit",
        "planned",
        (*ENVIRONMENT, "layers", "toolkit"),
        {"supplier": "x", "version": "x", "show": "x"},
    ),
    ("a build phase without a toolkit", "planned", (*ENVIRONMENT, "phases"), BUILT["phases"]),
    ("variables without a toolkit", "planned", (*ENVIRONMENT, "env"), {"CUDA_HOME": "/usr"}),
    ("a wrong variable", "built", (*ENVIRONMENT, "env"), {"cuda home": "/usr"}),
    ("a toolkit with a patch", "built", (*ENVIRONMENT, "toolkit", "version"), "13.0.1"),
    ("a toolkit from nowhere", "built", (*ENVIRONMENT, "toolkit", "provider"), "auto"),
    ("a toolkit without components", "built", (*ENVIRONMENT, "toolkit", "components"), []),
    ("a component twice", "built", (*ENVIRONMENT, "toolkit", "components"), ["nvcc", "nvcc"]),
    ("a wrong component", "built", (*ENVIRONMENT, "toolkit", "components"), ["NVCC 13"]),
    ("a toolkit at no place", "built", (*ENVIRONMENT, "toolkit", "home"), "usr local"),
    ("a toolkit for no GPU", "built", (*ENVIRONMENT, "toolkit", "arch_list"), []),
    ("a toolkit for an SM twice", "built", (*ENVIRONMENT, "toolkit", "arch_list"), ["8.9", "8.9"]),
    ("a system toolkit without a way to it", "built", (*ENVIRONMENT, "toolkit", "steps"), []),
    ("a toolkit by wheels with steps", "built", (*ENVIRONMENT, "toolkit", "provider"), "pip"),
    ("a compiler of no kind", "built", (*ENVIRONMENT, "toolkit", "host_compiler", "kind"), "icc"),
    ("a gcc with a patch", "built", (*ENVIRONMENT, "toolkit", "host_compiler", "newest"), "13.1"),
    ("a planned gcc with a patch", "built", (*ENVIRONMENT, "toolkit", "host_compiler", "planned"), "13.1"),
    ("a label without a variant", "planned", (*ENVIRONMENT, "label"), "2.14.1"),
    ("a label of bare CUDA with torch", "planned", (*ENVIRONMENT, "label"), "CUDA 12.6"),
    ("a label of torch without torch", "bare", (*ENVIRONMENT, "label"), "2.14.1+cu126"),
    ("machine code without torch", "bare", (*ENVIRONMENT, "arch_list"), ["8.9"]),
    ("nothing in it", "bare", (*ENVIRONMENT, "packages"), {}),
    ("wheels with a conda part", "planned", (*ENVIRONMENT, "conda"), CONDA["conda"]),
    ("conda packages beside wheels of CUDA", "planned", (*TORCH, "how"), "conda"),
    ("conda without its part", "conda", (*ENVIRONMENT, "conda"), None),
    ("conda packages of no channel", "conda", (*TORCH, "source"), "default"),
    ("conda packages of an index", "conda", (*TORCH, "index"), "https://example.org/whl"),
    ("no channels", "conda", (*ENVIRONMENT, "conda", "channels"), []),
    ("a channel twice", "conda", (*ENVIRONMENT, "conda", "channels"), ["conda-forge", "conda-forge"]),
    ("a channel by URL", "conda", (*ENVIRONMENT, "conda", "channels"), ["https://conda.example"]),
    ("no specs", "conda", (*ENVIRONMENT, "conda", "specs"), []),
    ("a spec twice", "conda", (*ENVIRONMENT, "conda", "specs"), ["pip", "pip"]),
    ("an era that is no name", "conda", (*ENVIRONMENT, "conda", "era"), "CUDA 12"),
    ("no virtual packages", "conda", (*ENVIRONMENT, "conda", "virtual_packages"), {}),
    ("a virtual package that is none", "conda", (*ENVIRONMENT, "conda", "virtual_packages"), {"cuda": "12"}),
    ("a decision that answers no question", "planned", ("decisions", 0, "question"), "Where from"),
    ("a decision without a reason", "planned", ("decisions", 0, "because"), []),
    ("a rule that is no name", "planned", ("decisions", 0, "because", 0, "rule"), "a rule"),
    ("a warning whose id is no name", "planned", ("warnings", 0, "id"), "Unverified!"),
    ("a refusal without a reason", "refused", ("refusal", "because"), []),
    ("a remedy twice", "refused", ("refusal", "remedies"), document("refused")["refusal"]["remedies"] * 2),
    ("a blank conflict", "refused", ("refusal", "conflict"), [""]),
]


@pytest.mark.parametrize(("shape", "path", "new"), [flaw[1:] for flaw in FLAWS], ids=[f[0] for f in FLAWS])
def test_a_flaw_is_refused(shape: str, path: Path, new: Any) -> None:
    spoilt = changed(document(shape), path, new)
    assert spoilt != document(shape)
    assert not is_valid(spoilt)


def test_every_object_of_the_schema_is_closed_and_requires_all_its_keys() -> None:
    objects = [
        value
        for _, value in places(plan_schema())
        if isinstance(value, dict) and value.get("type") == "object" and ("properties" in value)
    ]
    closed = [value for value in objects if value.get("additionalProperties") is False]
    assert len(closed) >= 12
    for value in closed:
        assert sorted(value["required"]) == sorted(value["properties"])
    assert [value for value in objects if value not in closed] == []


def test_every_array_of_the_schema_says_what_is_in_it() -> None:
    arrays = [value for _, value in places(plan_schema()) if isinstance(value, dict)]
    assert all("items" in value for value in arrays if value.get("type") == "array")


def test_the_kinds_of_plan_that_a_reader_meets_are_all_valid() -> None:
    plans = [
        plan_for(),
        plan_for(machine(gpus=[])),
        plan_for(platforms=["linux-64", "linux-aarch64", "win-64", "osx-arm64"]),
        plan_for(machine("a", ["P100"]), machine("b", ["B200"]), packages=["torchvision", "torchaudio"]),
        plan_for(machine(gpus=["13.0"], driver="700.1"), packages=["torch==2.16.0rc1"]),
        plan_for(machine(driver="340")),
        plan_for(provider="conda"),
        plan_for(machine(gpus=["T4"], platform="linux-aarch64")),
        plan_for(target="develop-kernels", platforms=["linux-64", "linux-aarch64", "win-64"]),
        plan_for(target="develop-kernels", cuda="10.2"),
        plan_for(target="develop-kernels", cuda="11.8", provider="conda"),
        plan_for(machine(gpus=[]), target="develop-kernels"),
        plan_for(target="mmcv-full"),
        plan_for(target="xformers"),
        plan_for(machine(gpus=["V100"]), target="xformers", packages=["torch>=2.10"]),
        plan_for(packages=["cupy-cuda12x"]),
        plan_for(packages=["deepspeed"], target="develop-kernels"),
    ]
    for plan in plans:
        assert list(plan_validator().iter_errors(json.loads(json.dumps(plan_json(plan))))) == []
