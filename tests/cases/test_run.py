"""The runner itself: made-up cases through the real program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from tests.cases.case import Case
from tests.cases.match import mismatches
from tests.cases.outcome import Outcome
from tests.cases.run import run_case
from tests.cases.test_cases import report
from tests.cases.wheels import planned_wheel, version_for, write_indexes
from tests.support.channel import Channels

Run = Callable[..., Outcome]

LAB = {"gpus": [{"name": "a made-up name", "cc": "7.0"}], "driver": "580.95.05", "glibc": "2.31"}


@pytest.fixture
def outcome_of(tmp_path: Path, compiled_tables: Path, channels: Channels) -> Run:
    """Runs a made-up case of a mode, with facts and wishes, in a folder of this name."""

    def run(mode: str, facts: dict[str, Any], folder: str = "case", **wants: Any) -> Outcome:
        return run_case(Case("X-1", mode, facts, wants, {}), tmp_path / folder, compiled_tables, channels)

    return run


def test_a_plan_is_explained_and_rendered(outcome_of: Run) -> None:
    outcome = outcome_of("plan", LAB, target="run", packages={"torch": ">=2.8,<2.9"})
    assert outcome.statuses == {"plan --json": 0, "plan": 0, "plan --explain": 0, "render": 0}
    assert "requirements.txt" in outcome.files
    assert "pylock.toml" not in outcome.files
    assert "cudaenv.toml" not in outcome.files
    expected = {"torch_spec": "==2.8.*", "cuda_any_of": ["cu126", "cu128", "cu129"], "must_mention": ["7.0"]}
    assert mismatches(expected, outcome) == {}
    found = mismatches({"torch_spec": "==2.7.*", "must_mention": ["Hopper"]}, outcome)
    assert found.keys() == {"torch_spec", "must_mention"}


def test_a_refusal_is_an_answer(outcome_of: Run) -> None:
    facts = {"gpus": [{"name": "new", "cc": "12.0"}], "driver": "590.48.01"}
    outcome = outcome_of("lock", facts, target="run", packages={"torch": "==2.5.1"})
    assert outcome.statuses == {"plan --json": 3, "plan": 3, "plan --explain": 3}
    assert outcome.files == {}
    assert mismatches({"must_error": True, "must_mention": ["12.0", "2.5.1"]}, outcome) == {}
    assert "must_error" in mismatches({}, outcome)


def test_a_spec_that_is_not_understood_is_neither(outcome_of: Run) -> None:
    outcome = outcome_of("plan", LAB, target="no-such-target", packages={"torch": "*"})
    assert outcome.statuses["plan --json"] == 2
    assert outcome.plan is None
    problems = mismatches({"must_error": "either", "torch_spec": ">=2"}, outcome)
    assert problems.keys() == {"must_error"}
    assert "unknown target" in problems["must_error"][0]
    text = report(Case("X-1", "plan", {"rocm": "6"}, {}, {}), problems, outcome, 'target = "x"')
    assert "not translated: facts.rocm" in text
    assert '  | target = "x"' in text
    assert text.startswith("must_error: exit status 2")


def test_a_lock_finds_all_that_is_planned_and_names_canonical_urls(outcome_of: Run) -> None:
    packages = {"torch": "==2.8.0", "torchvision": "*", "filelock": ">=3,<4"}
    outcome = outcome_of("lock", LAB, target="run", packages=packages, cuda="12.6")
    assert outcome.statuses["lock"] == 0, outcome.said
    assert {"pylock.toml", "requirements.lock", "cudaenv.lock"} == outcome.locked.keys()
    expected = {
        "must_include": ["torch==2.8.0+cu126", "download.pytorch.org/whl/cu126", "--hash=sha256:"],
        "must_mention": ["sha256"],
        "lock_contains": ["filelock"],
        "lock_lacks": ["cpu_"],
    }
    assert mismatches(expected, outcome) == {}


@pytest.mark.parametrize("mode", ["plan", "lock"])
def test_nothing_of_the_environment_matters(
    mode: str, outcome_of: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants = {"target": "run", "packages": {"torch": "*"}}
    first = outcome_of(mode, LAB, "first", **wants)
    monkeypatch.setenv("CUDAENV_MATRIX", str(tmp_path))
    monkeypatch.setenv("UV_OFFLINE", "1")
    second = outcome_of(mode, LAB, "second", **wants)
    assert second.statuses == first.statuses
    assert second.plan == first.plan
    assert set(second.statuses.values()) == {0}


# --- indexes of a plan


def planned(**package: Any) -> dict[str, Any]:
    listed = {"version": "2.1.0", "how": "wheel", "source": "default", "index": None, **package}
    return {
        "provider": "pip",
        "python": "3.11",
        "platform": "linux-64",
        "cuda": "12.1",
        "variant": "cu121",
        "packages": {"mmcv": listed},
        "requirements": [],
    }


def test_a_page_of_wheels_has_what_comes_from_there(tmp_path: Path) -> None:
    url = "https://download.openmmlab.com/mmcv/dist/cu121/torch2.1.0/index.html"
    write_indexes(tmp_path, {"environments": [planned(source="openmmlab", index=url)]})
    page = (tmp_path / "openmmlab/cu121/torch2.1.0/index.html").read_text()
    assert 'href="mmcv-2.1.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl#sha256=' in page
    assert len(list((tmp_path / "openmmlab/cu121/torch2.1.0").glob("*.whl"))) == 1


def test_the_default_index_has_the_rest_and_conda_packages_are_not_served(tmp_path: Path) -> None:
    write_indexes(tmp_path, {"environments": [{**planned(how="conda"), "requirements": ["einops>=0.7"]}]})
    assert [path.name for path in tmp_path.rglob("*.whl")] == ["einops-0.7-py3-none-any.whl"]


def test_what_a_toolkit_and_builds_need_is_served_once_for_all_that_is_asked(tmp_path: Path) -> None:
    environment = {
        **planned(),
        "requirements": ["setuptools>=77", "mmcv>=2", "x @ https://example.org/x.whl"],
        "toolkit": {"provider": "pip", "requirements": ["nvidia-cuda-nvcc==13.0.*"]},
        "phases": [{"install": ["mmcv"], "requires": ["Setuptools<82"]}],
    }
    write_indexes(tmp_path, {"environments": [environment]})
    found = {path.name.split("-py3")[0] for path in tmp_path.rglob("*-py3-none-any.whl")}
    assert found == {"setuptools-77", "nvidia_cuda_nvcc-13.0"}
    environment["provider"] = "conda"
    write_indexes(tmp_path / "conda", {"environments": [environment]})
    assert not list((tmp_path / "conda").rglob("*-py3-none-any.whl"))


def test_an_index_that_the_matrix_does_not_know_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not on the index pytorch"):
        write_indexes(tmp_path, {"environments": [planned(source="pytorch", index="https://example.org/x")]})


@pytest.mark.parametrize(
    ("version", "name"),
    [("2.8.0+cu121", "torch-2.8.0+cu121-cp311"), ("2.8.0", "torch-2.8.0-cp311")],
)
def test_wheels_of_torch_are_labelled_as_planned(version: str, name: str) -> None:
    assert planned_wheel("torch", {"version": version}, planned()).filename.startswith(name)


@pytest.mark.parametrize(
    "text", ["", ">=3,<4", "<2", ">1.5", "==2.*", "~=3.8.0", "!=1.0", "==1.0.post1", ">=9"]
)
def test_a_version_for_every_requirement(text: str) -> None:
    specifier = SpecifierSet(text)
    assert specifier.contains(version_for(specifier))


def test_no_version_for_what_nothing_satisfies() -> None:
    with pytest.raises(ValueError, match="no version for"):
        version_for(SpecifierSet(">2,<1"))
