"""Digests of base images in locks: asked of a registry on the loopback, kept, renewed, and done without."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import ImageRegistry, entry_of, index_of
from tests.support.project import PYTHON, RTX_4090, V100, Project

REPOSITORY, TAG = "library/python", f"{PYTHON}-slim-trixie"
REFERENCE = f"python:{TAG}"


@pytest.fixture
def registry(tmp_path: Path, project: Project) -> Iterator[ImageRegistry]:
    with ImageRegistry(tmp_path / "nothing") as server:
        project.environ["CUDAENV_REGISTRY"] = server.url
        yield server


def base(project: Project, name: str = "Dockerfile") -> str:
    (found,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", project.text(name), re.MULTILINE)
    return str(found)


def images(project: Project) -> dict[str, dict[str, str]]:
    """Digests by reference and platform."""
    found: dict[str, dict[str, str]] = json.loads(project.text("cudaenv.lock"))["images"]
    return found


def rebuilt(registry: ImageRegistry) -> str:
    """Give the tag another image; return its digest."""
    index = index_of("amd64", salt="rebuilt")
    registry.push(REPOSITORY, TAG, index)
    return entry_of(index, "amd64")


def test_a_lock_pins_the_base_image_by_its_digest(project: Project, registry: ImageRegistry) -> None:
    digest = registry.push(REPOSITORY, TAG)
    done = project.lock(V100)
    assert base(project) == f"python@{digest}"
    assert f"# {REFERENCE} as it was when it was locked\n" in project.text("Dockerfile")
    assert images(project) == {REFERENCE: {"linux-64": digest}}
    assert "warning" not in done.err
    assert project.run("check").out == "up to date\n"


def test_what_is_rendered_after_a_lock_has_its_digest(project: Project, registry: ImageRegistry) -> None:
    registry.push(REPOSITORY, TAG)
    project.lock(V100)
    before, asked = project.files(), list(registry.asked)
    project.run("render")
    assert project.files() == before
    assert registry.asked == asked, "rendering asks nobody"


def test_without_an_answer_the_tag_stays_and_it_is_said(project: Project, registry: ImageRegistry) -> None:
    done = project.lock(V100)
    assert base(project) == REFERENCE
    assert f"warning: {REFERENCE} is not pinned by a digest: the registry has no image" in done.err
    assert (
        f"# Not pinned: the tag {REFERENCE} moves. `cudaenv lock --upgrade image` pins it.\n"
        in project.text("Dockerfile")
    )
    assert images(project) == {}
    assert project.run("check").out == "up to date\n"


def test_a_registry_that_is_down_is_no_failure_of_the_lock(project: Project) -> None:
    project.environ["CUDAENV_REGISTRY"] = "http://127.0.0.1:9"
    done = project.lock(V100)
    assert base(project) == REFERENCE
    assert f"warning: {REFERENCE} is not pinned by a digest: cannot fetch `http://127.0.0.1:9/v2/" in done.err


def test_a_digest_is_kept_until_it_is_to_be_renewed(project: Project, registry: ImageRegistry) -> None:
    old = registry.push(REPOSITORY, TAG)
    project.lock(V100, packages={"torch": "*", "numpy": "<2"})
    pins = project.pins()
    new = rebuilt(registry)
    project.spec(V100, packages={"torch": "*", "numpy": "*"})
    project.run("lock")
    assert images(project) == {REFERENCE: {"linux-64": old}}
    project.run("lock", "--upgrade", "image")
    assert images(project) == {REFERENCE: {"linux-64": new}}
    assert base(project) == f"python@{new}"
    assert project.pins() == pins, "and nothing else is renewed"


def test_an_upgrade_of_everything_renews_digests_too(project: Project, registry: ImageRegistry) -> None:
    registry.push(REPOSITORY, TAG)
    project.lock(V100)
    new = rebuilt(registry)
    project.run("lock", "--upgrade")
    assert base(project) == f"python@{new}"


def test_a_digest_that_cannot_be_renewed_stays(project: Project, registry: ImageRegistry) -> None:
    old = registry.push(REPOSITORY, TAG)
    project.lock(V100)
    registry.busy = ["86400"]
    done = project.run("lock", "--upgrade", "image")
    assert images(project) == {REFERENCE: {"linux-64": old}}
    assert f"warning: {REFERENCE} keeps the digest it had: " in done.err
    assert "left alone for 86400 s" in done.err


def test_a_tag_is_pinned_later(project: Project, registry: ImageRegistry) -> None:
    project.lock(V100)
    assert images(project) == {}
    digest = registry.push(REPOSITORY, TAG)
    assert "up to date" in project.run("lock").err, "a lock that is current is left alone"
    project.run("lock", "--upgrade", "image")
    assert base(project) == f"python@{digest}"


def test_an_upgrade_of_one_package_leaves_all_others(project: Project) -> None:
    project.lock(V100, packages={"torch": "*", "numpy": "<2", "filelock": "*"})
    old = project.pins()
    project.spec(V100, packages={"torch": "*", "numpy": "*", "filelock": "*"})
    project.run("lock")
    assert project.pins() == old
    project.run("lock", "--upgrade", "NumPy")
    new = project.pins()
    assert new["numpy"] != old["numpy"]
    assert {name: version for name, version in new.items() if name != "numpy"} == {
        name: version for name, version in old.items() if name != "numpy"
    }


def test_an_upgrade_of_what_is_not_there_is_refused(project: Project) -> None:
    project.lock(V100)
    before = project.files()
    done = project.run("lock", "--upgrade", "nunpy", status=2)
    assert "nothing is locked by the name of `nunpy`" in done.err
    assert project.files() == before


def test_environments_share_an_image_that_is_asked_for_once(
    project: Project, registry: ImageRegistry
) -> None:
    digest = registry.push(REPOSITORY, TAG)
    project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, {**RTX_4090, "gpu": ["RTX 5090"]})
    assert base(project, "Dockerfile.cu126") == base(project, "Dockerfile.cu132") == f"python@{digest}"
    assert len(registry.asked) == 2, "once without a token, once with it"


def test_each_platform_has_an_image_of_its_own(project: Project, registry: ImageRegistry) -> None:
    index = index_of("amd64", "arm64")
    registry.push(REPOSITORY, TAG, index)
    arm = {"name": "arm", "gpu": ["GH200"], "driver": "595.71.05", "platform": "linux-aarch64"}
    project.lock(RTX_4090, arm, packages={"torch": "*"})
    pinned = {name: entry_of(index, name) for name in ("amd64", "arm64")}
    assert images(project) == {REFERENCE: {"linux-64": pinned["amd64"], "linux-aarch64": pinned["arm64"]}}
    found = [base(project, name) for name in sorted(project.files()) if name.startswith("Dockerfile")]
    assert sorted(found) == sorted(f"python@{digest}" for digest in pinned.values())
    assert project.run("check").out == "up to date\n"


def test_a_lock_of_an_image_for_a_platform_that_is_none_is_refused(
    project: Project, registry: ImageRegistry
) -> None:
    registry.push(REPOSITORY, TAG)
    project.lock(V100)
    (project.folder / "cudaenv.lock").write_text(
        project.text("cudaenv.lock").replace('"linux-64": "sha', '"linux-32": "sha')
    )
    assert "`cudaenv.lock` cannot be read" in project.run("render", status=2).err


def test_an_image_to_develop_in_is_pinned_too(project: Project, registry: ImageRegistry) -> None:
    digest = registry.push("nvidia/cuda", "12.6.3-devel-ubuntu24.04")
    project.lock(V100, target="develop-kernels", provider="system")
    assert base(project) == f"nvidia/cuda@{digest}"


@pytest.mark.parametrize("digest", ["sha256:00", f"sha256:{'0' * 64}\nRUN x", 7])
def test_a_lock_with_a_digest_that_is_none_is_refused(
    project: Project, registry: ImageRegistry, digest: object
) -> None:
    registry.push(REPOSITORY, TAG)
    project.lock(V100)
    document = json.loads(project.text("cudaenv.lock"))
    document["images"][REFERENCE]["linux-64"] = digest
    (project.folder / "cudaenv.lock").write_text(json.dumps(document))
    assert "`cudaenv.lock` cannot be read" in project.run("render", status=2).err


def test_compose_and_apptainer_are_written_where_they_are_asked_for_and_kept_up(
    project: Project, registry: ImageRegistry
) -> None:
    project.lock(V100)
    assert not {"compose.yaml", "Apptainer.def"} & set(project.files())
    done = project.run("render", "--compose", "--apptainer")
    assert {"compose.yaml", "Apptainer.def"} <= set(done.out.split())
    digest = registry.push(REPOSITORY, TAG)
    project.run("lock", "--upgrade", "image")
    assert f"From: python@{digest}\n" in project.text("Apptainer.def")
    assert project.run("check").out == "up to date\n"


def test_the_projects_own_package_is_installed_where_it_says_how_it_is_built(project: Project) -> None:
    project.lock(V100)
    assert "/src" not in project.text("Dockerfile")
    (project.folder / "pyproject.toml").write_text('[project]\nname = "demo"\nversion = "1"\n')
    project.run("render")
    assert "/src" not in project.text("Dockerfile"), "there is nothing that builds it"
    build = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    (project.folder / "pyproject.toml").write_text(build)
    project.run("render")
    assert "--no-deps --wheel-dir /wheels /src" in project.text("Dockerfile")


def test_settings_that_a_person_wrote_stay(project: Project) -> None:
    (project.folder / ".dockerignore").write_text("data\n")
    folder = project.folder / ".devcontainer"
    folder.mkdir()
    (folder / "devcontainer.json").write_text("{}\n")
    project.lock(V100, target="develop-kernels", provider="system")
    assert project.text(".dockerignore") == "data\n"
    assert project.text(".devcontainer/devcontainer.json") == "{}\n"
    assert project.run("check").out == "up to date\n"


def test_a_devcontainer_comes_and_goes_with_its_target(project: Project) -> None:
    project.lock(V100, target="develop-kernels", provider="system")
    path = project.folder / ".devcontainer" / "devcontainer.json"
    assert "cudaenv checksum" in path.read_text()
    path.write_text(path.read_text().replace("app", "root"))
    assert "devcontainer.json` has changed" in project.run("check", status=4).err
    project.run("lock", "--force")
    project.lock(V100)
    assert not path.exists()
