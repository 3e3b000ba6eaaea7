"""`cudaenv lock`: what a lock holds, and what never gets into it."""

from __future__ import annotations

import datetime
import json
import re
import socket
from pathlib import Path

import pytest

from tests.support.index import World
from tests.support.project import (
    LOCK_FILES,
    PYTORCH,
    RTX_4090,
    RTX_5090,
    V100,
    MeetingServer,
    Project,
    hashes_of,
    locked_hashes,
)
from tests.support.wheels import Wheel, compiled_wheel, torch_wheel

GH200 = {"name": "grace", "gpu": ["GH200"], "driver": "580.95.05", "platform": "linux-aarch64"}
WINDOWS = {"name": "pc", "gpu": ["RTX 4090"], "driver": "596.10", "platform": "win-64"}


def test_an_old_gpu_gets_the_last_torch_that_knows_it_from_the_pytorch_index(project: Project) -> None:
    done = project.lock(V100, packages={"torch": "*", "torchvision": "*"})
    assert set(done.out.split()) == LOCK_FILES == set(project.files())
    pins = project.pins()
    assert (pins["torch"], pins["torchvision"]) == ("2.14.1+cu126", "0.29.1+cu126")
    assert pins["nvidia-cuda-runtime-cu12"] == "12.6.77"
    assert pins["filelock"] == "3.20.0", "not the old copy on PyTorch's index"


def test_the_lock_names_canonical_urls_though_a_mirror_served_them(project: Project) -> None:
    project.lock(V100, packages={"torch": "*", "torchvision": "*"})
    family = {"torch", "torchvision"}
    for name, url in project.urls().items():
        where = f"{PYTORCH}/cu126/{name}/" if name in family else f"{project.default}/{name}/"
        assert url.startswith(where), url
    assert "%2Bcu126" in project.urls()["torch"]
    indexes = {package.name: package.index for package in project.pylock().packages}
    assert {name: index for name, index in indexes.items() if index} == dict.fromkeys(
        family, f"{PYTORCH}/cu126"
    )
    urls = set(re.findall(r"@ (\S+) \\", project.text("requirements.lock")))
    assert urls == set(project.urls().values())
    environment = json.loads(project.text("cudaenv.lock"))["environments"][0]
    assert environment["packages"]["torch"]["index"] == f"{PYTORCH}/cu126"


def test_every_file_is_locked_with_the_hash_that_the_index_has(project: Project) -> None:
    project.lock(V100)
    known = hashes_of(project.world)
    for name in ("pylock.toml", "requirements.lock"):
        found = locked_hashes(project.text(name))
        assert len(found) == len(project.pins())
        assert set(found) <= set(known)
    for package in project.pylock().packages:
        assert package.wheels is not None
        assert [list(wheel.hashes) for wheel in package.wheels] == [["sha256"]]
        assert str(package.name).replace("-", "_") in known[package.wheels[0].hashes["sha256"]]


def test_a_new_gpu_gets_the_build_that_the_default_index_carries(project: Project) -> None:
    project.lock(RTX_4090)
    assert project.pins()["torch"] == "2.15.0"
    assert project.pins()["cuda-toolkit"] == "13.2.2"
    assert all(url.startswith(project.default) for url in project.urls().values())
    environment = json.loads(project.text("cudaenv.lock"))["environments"][0]
    assert (environment["variant"], environment["cuda"]) == ("cu132", "13.2")
    # What only the wheel can say was read from the wheel, or from the metadata beside it.
    assert any(request.path.endswith(".metadata") for request in project.server.requests)


def test_no_file_holds_port_host_time_or_path_of_the_machine_that_locked(project: Project) -> None:
    # Of a public default index, whose URLs would be the public ones, nothing of this remains.
    project.lock(V100, packages={"torch": "*", "torchvision": "*"})
    today = datetime.datetime.now(tz=datetime.UTC).date()
    secrets = [str(project.folder.parent), str(project.home), socket.gethostname()]
    secrets += [str(day) for day in (today, today - datetime.timedelta(days=1))]
    for name, content in project.files().items():
        text = content.decode().replace(project.default, "DEFAULT")
        if name == "Dockerfile":
            # The mirrors of the spec are what its build arguments begin with.
            text = text.replace(project.mirror, "MIRROR")
        assert "127.0.0.1" not in text, name
        assert [secret for secret in secrets if secret in text] == [], name


def test_the_same_inputs_give_the_same_bytes_anywhere(project: Project, tmp_path: Path) -> None:
    project.lock(V100, packages={"torch": "*", "torchvision": "*", "numpy": "<3"})
    first = project.files()
    assert project.run("lock").out == ""
    assert project.files() == first
    project.run("lock", "--upgrade")
    assert project.files() == first
    other = project.another(tmp_path / "elsewhere")
    other.run("lock", env={"LANG": "de_DE.UTF-8", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"})
    assert other.files() == first


def test_the_order_of_packages_in_the_spec_is_no_difference(project: Project, tmp_path: Path) -> None:
    packages = {"torch": "*", "torchvision": "*", "numpy": "<3", "filelock": "*"}
    turned = dict(reversed(packages.items()))
    project.lock(V100, packages=packages)
    other = project.another(tmp_path / "elsewhere")
    other.lock(V100, packages=turned)
    for name in ("pylock.toml", "requirements.lock", "Dockerfile"):
        assert other.text(name) == project.text(name)
    project.spec(V100, packages=turned)
    assert project.run("check").out == "up to date\n"


def test_several_environments_lock_side_by_side_under_variant_names(project: Project) -> None:
    done = project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    assert set(project.files()) == {
        ".dockerignore",
        "cudaenv.lock",
        "pyproject.cudaenv.toml",
        *(f"requirements.{name}.txt" for name in ("cu126", "cu132")),
        *(f"requirements.{name}.lock" for name in ("cu126", "cu132")),
        *(f"pylock.{name}.toml" for name in ("cu126", "cu132")),
        *(f"Dockerfile.{name}" for name in ("cu126", "cu132")),
    }
    assert set(done.out.split()) == set(project.files())
    assert project.pins("pylock.cu126.toml")["torch"] == "2.14.1+cu126"
    assert project.pins("pylock.cu132.toml")["torch"] == "2.15.0"


def test_environments_are_resolved_at_the_same_time(project: Project) -> None:
    # Neither page is served before both were asked for.
    pages = ("/whl/cu126/torch/", "/simple/torch/")
    with MeetingServer(project.world.folder, pages) as server:
        project.server = server
        project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)


def test_windows_is_locked_from_here_and_from_the_pytorch_index(project: Project) -> None:
    project.lock(WINDOWS, packages={"torch": "*", "torchvision": "*"})
    urls = project.urls()
    assert re.fullmatch(
        rf"{PYTORCH}/cu130/torch/torch-2\.14\.1%2Bcu130-cp\d+-cp\d+-win_amd64\.whl", urls["torch"]
    )
    assert urls["numpy"].endswith("-win_amd64.whl")
    assert not [name for name in urls if name.startswith(("nvidia-", "triton", "cuda-"))]
    assert project.pylock().environments is not None
    assert "Dockerfile" not in project.files(), "there are no Windows containers with GPUs to speak of"


def test_linux_on_arm_is_locked_from_here(project: Project) -> None:
    project.lock(GH200)
    compiled = [url for url in project.urls().values() if not url.endswith("-none-any.whl")]
    assert compiled
    assert all(url.endswith("aarch64.whl") for url in compiled)
    assert project.pins()["torch"] == "2.15.0"


def test_macos_is_locked_from_here(own_project: Project) -> None:
    version = "cp311"
    own_project.world.add(
        "simple",
        torch_wheel("2.15.0", None, version, "macosx_14_0_arm64", ("filelock",)),
        Wheel("numpy", "2.3.5", f"{version}-{version}-macosx_14_0_arm64"),
    )
    own_project.lock(packages={"torch": "*", "numpy": "*"}, python="3.11", platforms=["osx-arm64"])
    assert own_project.urls()["torch"].endswith("torch-2.15.0-cp311-cp311-macosx_14_0_arm64.whl")
    assert own_project.urls()["numpy"].endswith("-macosx_14_0_arm64.whl")


def test_a_cpu_environment_comes_from_the_cpu_index_on_linux(project: Project) -> None:
    project.lock({"name": "runner", "gpu": ["none"], "platform": "linux-64"}, packages={"torch": "*"})
    assert project.pins()["torch"] == "2.15.0+cpu"
    assert not [name for name in project.pins() if name.startswith("nvidia-")]


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_another_python_than_this_one_is_locked_from_here(project: Project, python: str) -> None:
    project.lock(V100, python=python)
    digits = python.replace(".", "")
    assert f"-cp{digits}-cp{digits}-" in project.urls()["torch"]
    assert str(project.pylock().requires_python) == f"=={python}.*"


def test_no_plan_writes_nothing_and_says_what_would_make_one(project: Project) -> None:
    project.spec(V100, packages={"torch": ">=2.15"})
    done = project.run("lock", status=3)
    assert project.files() == {}
    assert "2.15" in done.err
    assert "hint:" in done.err


def test_a_package_that_nobody_has_is_named(project: Project) -> None:
    project.spec(V100, packages={"torch": "*", "no-such-package": "*"})
    done = project.run("lock", status=3)
    assert "no-such-package" in done.err
    assert project.files() == {}


def test_packages_that_exclude_each_other_are_explained(own_project: Project) -> None:
    own_project.world.add("simple", Wheel("picky", "1.0", "py3-none-any", ["filelock<3"]))
    own_project.spec(V100, packages={"torch": "*", "picky": "*", "filelock": ">=3.20"})
    done = own_project.run("lock", status=3)
    assert "picky" in done.err
    assert "filelock" in done.err
    assert own_project.files() == {}


def test_a_source_distribution_is_never_locked(own_project: Project) -> None:
    page = '<html><body><a href="only-1.0.tar.gz#sha256={}">only-1.0.tar.gz</a></body></html>'
    own_project.server.replace("/simple/only/", page.format("0" * 64).encode())
    own_project.spec(V100, packages={"torch": "*", "only": "*"})
    done = own_project.run("lock", status=3)
    assert "only" in done.err
    assert own_project.files() == {}


def test_a_prerelease_is_not_taken_unless_asked_for(own_project: Project) -> None:
    own_project.world.add(
        "simple",
        Wheel("tool", "1.0", "py3-none-any"),
        Wheel("tool", "2.0rc1", "py3-none-any"),
    )
    own_project.lock(V100, packages={"torch": "*", "tool": "*"})
    assert own_project.pins()["tool"] == "1.0"
    own_project.lock(V100, packages={"torch": "*", "tool": ">=2.0rc1"})
    assert own_project.pins()["tool"] == "2.0rc1"


def test_a_yanked_file_is_not_taken(own_project: Project) -> None:
    from tests.support.index import write_index

    world: World = own_project.world
    wheels = [Wheel("tool", version, "py3-none-any") for version in ("1.0", "1.1")]
    write_index(world.folder / "simple", wheels, yanked=[wheels[1].filename])
    own_project.lock(V100, packages={"torch": "*", "tool": "*"})
    assert own_project.pins()["tool"] == "1.0"


def xformers(cuda: int) -> Wheel:
    """The release whose metadata accept every torch from 2.10 on, linked to a CUDA."""
    tag = "py39-none-manylinux_2_28_x86_64"
    return compiled_wheel("xformers", "0.0.35", tag, cuda, ("torch>=2.10", "numpy"))


def test_xformers_comes_from_the_index_that_has_it_for_the_cuda_of_torch(project: Project) -> None:
    project.world.add("simple", xformers(12))
    project.world.add("whl/cu130", xformers(13))
    project.lock(RTX_4090, packages={"xformers": "*"})
    assert (project.pins()["torch"], project.pins()["xformers"]) == ("2.15.0", "0.0.35")
    assert project.urls()["xformers"].startswith(f"{PYTORCH}/cu130/xformers/")
    assert project.urls()["torch"].startswith(project.default)


def test_an_index_whose_xformers_is_not_for_its_cuda_is_refused(project: Project) -> None:
    project.world.add("whl/cu130", xformers(12))
    project.spec(RTX_4090, packages={"xformers": "*"})
    error = project.run("lock", status=5).err
    assert "`xformers` 0.0.35 is linked to CUDA 12 (libcudart), planned is CUDA 13" in error
    assert not project.files()
