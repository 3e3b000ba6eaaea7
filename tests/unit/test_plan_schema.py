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

TOOLKIT = {"version": "13.0", "provider": "conda", "components": ["nvcc"], "host_compiler": "gcc 13"}


@cache
def _document(name: str) -> str:
    """A document of each shape, as text; every array and every optional part of it has something in it."""
    plans = {
        "planned": lambda: plan_for(
            machine("lab", ["V100"], "535.54.03"), packages=["torchvision", "diffusers"], python="3.12"
        ),
        "cpu": lambda: plan_for(machine("mac", [], platform="osx-arm64")),
        "refused": lambda: plan_for(machine(gpus=["RTX 5090"]), packages=["torch==2.5.1"]),
    }
    document = plan_json(plans[name]())
    if name == "planned":
        environment = document["environments"][0]
        environment |= {"toolkit": TOOLKIT, "env": {"CUDA_HOME": "/usr"}, "ptx": ["9.0"]}
        environment["layers"]["toolkit"] = {"supplier": "conda", "version": "13.0", "show": "nvcc --version"}
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


SHAPES = ("planned", "cpu", "refused")


@pytest.mark.parametrize("name", SHAPES)
def test_the_documents_that_are_spoilt_below_are_valid(name: str) -> None:
    assert list(plan_validator().iter_errors(document(name))) == []


@pytest.mark.parametrize("name", SHAPES)
def test_no_key_may_be_missing(name: str) -> None:
    good = document(name)
    free = {"env", "packages"}
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
    for path, _ in places(good):
        for wrong in (7, True, 1.5):
            if path and (path, wrong) != (("schema",), True):
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
    ("a wrong variable", "planned", (*ENVIRONMENT, "env"), {"cuda home": "/usr"}),
    ("a toolkit with a patch", "planned", (*ENVIRONMENT, "toolkit", "version"), "13.0.1"),
    ("a toolkit from nowhere", "planned", (*ENVIRONMENT, "toolkit", "provider"), "auto"),
    ("a toolkit without components", "planned", (*ENVIRONMENT, "toolkit", "components"), []),
    ("a component twice", "planned", (*ENVIRONMENT, "toolkit", "components"), ["nvcc", "nvcc"]),
    ("a wrong component", "planned", (*ENVIRONMENT, "toolkit", "components"), ["NVCC 13"]),
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
    ]
    for plan in plans:
        assert list(plan_validator().iter_errors(json.loads(json.dumps(plan_json(plan))))) == []
