"""Environments of conda packages: locked from channels, verified, read by other tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from tests.support.channel import Channels, write_channels
from tests.support.conda_base import base_packages
from tests.support.conda_oracle import Oracle
from tests.support.conda_package import CondaPackage, below, distribution, stand_in
from tests.support.conda_project import DESK, NAMES, CondaProject, conda_project
from tests.support.project import Project, without_gpu
from tests.support.solving import CANONICAL
from tests.support.wheels import Wheel

CONDA_FILES = {
    ".dockerignore",
    "Dockerfile",
    "cudaenv.lock",
    "environment.yml",
    "virtual-packages.yml",
    "conda-lock.yml",
    "conda-linux-64.lock",
}


@pytest.fixture
def conda(project: Project, channels: Channels) -> Iterator[CondaProject]:
    with conda_project(project, channels) as found:
        yield found


def test_init_with_a_gpu_locks_a_cuda_build_from_the_channels(conda: CondaProject) -> None:
    mirrors = [f"--channel={name}={url}" for name, url in conda.mirrors.items()]
    options = ["--yes", "--target", "run-only", "--provider", "conda", "--python", "3.12"]
    machine = ["--gpu", "RTX 4090", "--driver", "580.95.05", "--platform", "linux-64"]
    done = conda.project.run("init", *options, *machine, *mirrors)
    assert set(conda.project.files()) == CONDA_FILES
    assert "next: cudaenv sync" in done.out
    torch = conda.locked()["pytorch"]
    assert torch["build"].startswith("cuda130_")
    assert torch["url"].startswith(f"{CANONICAL}conda-forge/linux-64/pytorch-")
    assert conda.project.run("check").out == "up to date\n"


@without_gpu
def test_without_a_machine_the_plan_says_what_it_assumes_and_is_no_cpu_build(conda: CondaProject) -> None:
    mirrors = [f"--channel={name}={url}" for name, url in conda.mirrors.items()]
    done = conda.project.run(
        *("init", "--yes", "--provider", "conda", "--python", "3.12", "--platform", "linux-64", *mirrors)
    )
    assert "Assumed" in done.err + done.out
    assert conda.locked()["pytorch"]["build"].startswith("cuda")


def test_a_lock_names_only_canonical_urls_and_has_every_hash(conda: CondaProject) -> None:
    conda.lock()
    for name in ("conda-lock.yml", "conda-linux-64.lock", "cudaenv.lock", "environment.yml"):
        assert conda.server.url not in conda.project.text(name)
    known = {package.sha256: package.filename for package in conda.channels.packages["conda-forge"]}
    packages = conda.locked()
    assert {"python", "pytorch", "cuda-version", "libcublas"} <= set(packages)
    for package in packages.values():
        assert package["url"].rsplit("/", 1)[-1] == known[package["hash"]["sha256"]]
        assert len(package["hash"]["md5"]) == 32
        assert package["manager"] == "conda"
    explicit = conda.project.text("conda-linux-64.lock").splitlines()
    assert "@EXPLICIT" in explicit
    listed = [line.partition("#") for line in explicit if line.startswith("https://")]
    assert {(url, md5) for url, _, md5 in listed} == {
        (package["url"], package["hash"]["md5"]) for package in packages.values()
    }


def test_the_explicit_file_has_each_package_after_what_it_needs(conda: CondaProject) -> None:
    conda.lock()
    lines = conda.project.text("conda-linux-64.lock").splitlines()
    order = [line.rsplit("/", 1)[-1].rsplit("-", 2)[0] for line in lines if line.startswith("https://")]
    for name, package in conda.locked().items():
        needed = [other for other in package["dependencies"] if other in order]
        assert all(order.index(other) < order.index(name) for other in needed), name


def test_what_is_locked_is_what_was_planned(conda: CondaProject) -> None:
    conda.lock(python="3.12")
    (environment,) = json.loads(conda.project.text("cudaenv.lock"))["environments"]
    torch = conda.locked()["pytorch"]
    assert torch["version"] == environment["packages"]["torch"]["version"].split("+")[0]
    (spec,) = (text for text in environment["conda"]["specs"] if text.startswith("pytorch="))
    assert fnmatchcase(torch["build"], spec.split("=")[2])
    assert conda.locked()["cuda-version"]["version"] == environment["cuda"] == "13.0"
    assert conda.locked()["python"]["version"].startswith("3.12.")


def test_the_same_spec_gives_the_same_bytes_and_nothing_is_solved_again(
    conda: CondaProject, tmp_path: Path
) -> None:
    conda.lock()
    before = conda.project.files()
    conda.server.requests.clear()
    assert conda.project.run("lock").err == "up to date: nothing to resolve\n"
    assert conda.server.requests == []
    other = conda.project.another(tmp_path / "other")
    other.run("lock")
    assert other.files() == before


@pytest.mark.parametrize("target", ["develop-kernels", "mmcv-full", "xformers"])
def test_each_target_is_locked(conda: CondaProject, target: str) -> None:
    conda.lock(target=target, python="3.11")
    packages = conda.versions()
    wanted = {"develop-kernels": "cuda-nvcc", "mmcv-full": "mmcv", "xformers": "xformers"}[target]
    assert wanted in packages
    line = packages["cuda-version"][0]
    if target == "develop-kernels":
        assert packages["cuda-nvcc"][0].startswith(f"{line}.")
    else:
        assert packages[wanted][1].replace("_", "").startswith(f"cuda{line.replace('.', '')}")


def test_the_older_channels_in_their_order(conda: CondaProject) -> None:
    conda.lock(packages={"torch": "==1.13.1"}, python="3.10")
    packages = conda.locked()
    places = {
        name: package["url"].removeprefix(CANONICAL).split("/")[0] for name, package in packages.items()
    }
    written = yaml.safe_load(conda.project.text("environment.yml"))
    assert written["channels"][-1] == "nodefaults"
    assert packages["pytorch"]["version"] == "1.13.1"
    assert set(places.values()) <= set(NAMES)
    if "pytorch-cuda" in packages:
        assert {places["pytorch"], places["cuda-cudart"]} == {"pytorch", "nvidia"}


def test_several_environments_have_files_that_mamba_knows_by_their_names(conda: CondaProject) -> None:
    win = {"name": "win", "gpu": "RTX 4090", "driver": "581.15", "platform": "win-64"}
    arm = {**DESK, "name": "arm", "gpu": "GH200", "platform": "linux-aarch64"}
    conda.lock(DESK, arm, win, python="3.12", platforms=["linux-64", "linux-aarch64", "win-64"])
    names = [item["name"] for item in json.loads(conda.project.text("cudaenv.lock"))["environments"]]
    assert len(names) == 3
    for name in names:
        packages = conda.locked(f"{name}-lock.yml")
        assert packages["pytorch"]["build"].startswith("cuda")
        (platform,) = {package["platform"] for package in packages.values()}
        assert f"conda-{platform}.{name}.lock" in conda.project.files()
    assert conda.project.run("check").out == "up to date\n"


def test_conda_lock_reads_it_renders_it_and_finds_its_hash(conda: CondaProject, tmp_path: Path) -> None:
    conda.lock(python="3.12")
    lock = conda.project.folder / "conda-lock.yml"
    before = lock.read_bytes()
    done = conda.conda_lock(
        *("lock", "--check-input-hash", "--lockfile", str(lock), "-f", "environment.yml"),
        *("--virtual-package-spec", "virtual-packages.yml"),
    )
    assert "Spec hash already locked for ['linux-64']" in done
    assert lock.read_bytes() == before
    conda.conda_lock("render", "-k", "explicit", "--filename-template", str(tmp_path / "x.lock"), str(lock))
    rendered = {line for line in (tmp_path / "x.lock").read_text().splitlines() if "://" in line}
    ours = {
        line for line in conda.project.text("conda-linux-64.lock").splitlines() if line.startswith("http")
    }
    assert rendered == ours


def test_conda_lock_with_our_solver_locks_the_same(conda: CondaProject, tmp_path: Path) -> None:
    conda.lock(python="3.12")
    conda.conda_lock(
        *("lock", "--lockfile", str(tmp_path / "other-lock.yml"), "-f", "environment.yml"),
        *("--virtual-package-spec", "virtual-packages.yml"),
    )
    other = yaml.safe_load((tmp_path / "other-lock.yml").read_text())
    ours = yaml.safe_load(conda.project.text("conda-lock.yml"))
    # conda-lock leaves the build strings out, which the URLs have.
    assert other["package"] == [
        {key: value for key, value in package.items() if key != "build"} for package in ours["package"]
    ]
    assert other["metadata"]["content_hash"] == ours["metadata"]["content_hash"]


def test_an_unsatisfiable_request_is_explained_by_the_solver(conda: CondaProject, tmp_path: Path) -> None:
    packages = [package for package in base_packages() if package.name != "libcublas"]
    torch = conda.package("pytorch-2.12.0-cuda130_mkl_py312")
    channels = write_channels(tmp_path / "poor", {"conda-forge": [*packages, torch]})
    with conda_project(conda.project, channels) as poor:
        done = poor.lock(python="3.12", status=3)
    assert "no set of packages for linux-64" in done.err
    assert "libcublas" in done.err
    assert conda.project.files() == {}


def test_a_channel_whose_torch_is_another_build_than_the_planned_is_refused(
    conda: CondaProject, tmp_path: Path
) -> None:
    torch = conda.package("pytorch-2.12.0-cuda130_mkl_py312")
    # Its build string says CUDA 13.0, and it takes the libraries of 12.9.
    wrong = CondaPackage(
        torch.name, torch.version, torch.build, "linux-64", ["cuda-version 12.9", "python 3.12.*"]
    )
    channels = write_channels(tmp_path / "wrong", {"conda-forge": [*base_packages(), wrong]})
    with conda_project(conda.project, channels) as found:
        done = found.lock(python="3.12", status=3)
    assert "cuda-version" in done.err
    assert conda.project.files() == {}


def test_packages_stay_until_they_are_upgraded(conda: CondaProject, tmp_path: Path) -> None:
    folder = tmp_path / "growing"
    packages = list(conda.channels.packages["conda-forge"])
    with conda_project(conda.project, write_channels(folder, {"conda-forge": packages})) as growing:
        growing.lock(python="3.12")
        before = growing.versions()
        newer = [stand_in("tzdata", "2026z"), stand_in("libgcc", "15.9.0", "linux-64")]
        write_channels(folder, {"conda-forge": [*packages, *newer]})
        growing.lock(python="3.12", packages={"torch": "*", "torchvision": "*"})
        assert growing.versions()["tzdata"] == before["tzdata"]
        assert "torchvision" in growing.versions()
        growing.project.run("lock", "--upgrade", "libgcc")
        assert growing.versions()["libgcc"][0] == "15.9.0"
        assert growing.versions()["tzdata"] == before["tzdata"]
        assert "`nowhere`" in growing.project.run("lock", "--upgrade", "nowhere", status=2).err
        growing.project.run("lock", "--upgrade")
        assert growing.versions()["tzdata"][0] == "2026z"


def test_wheels_on_top_are_resolved_for_what_conda_has(own_project: Project, channels: Channels) -> None:
    own_project.world.add(
        "simple", Wheel("diffusion", "1.0", "py3-none-any", ["torch>=2", "filelock", "numpy", "tiny"])
    )
    own_project.world.add("simple", Wheel("tiny", "2.0", "py3-none-any"))
    with conda_project(own_project, channels) as conda:
        conda.lock(python="3.12", packages={"torch": "*", "diffusion": "*"})
        assert set(own_project.pins()) == {"diffusion", "tiny"}
        assert {"filelock", "numpy", "pytorch", "pip"} <= set(conda.versions())
        assert "sha256" in own_project.text("requirements.lock")


def test_a_wheel_that_wants_another_torch_than_conda_has_is_refused(
    own_project: Project, channels: Channels
) -> None:
    own_project.world.add("simple", Wheel("oldish", "1.0", "py3-none-any", ["torch<1.0"]))
    with conda_project(own_project, channels) as conda:
        done = conda.lock(python="3.12", packages={"torch": "*", "oldish": "*"}, status=3)
    assert "oldish" in done.err
    assert own_project.files() == {}


def test_a_second_cuda_by_wheels_is_refused(own_project: Project, channels: Channels) -> None:
    own_project.world.add("simple", Wheel("sneaky", "1.0", "py3-none-any", ["nvidia-cublas"]))
    with conda_project(own_project, channels) as conda:
        done = conda.lock(python="3.12", packages={"torch": "*", "sneaky": "*"}, status=5)
    assert "`nvidia-cublas` would bring CUDA's libraries a second time" in done.err
    assert own_project.files() == {}


def test_from_conda_to_wheels_and_back_no_file_of_the_other_stays(conda: CondaProject) -> None:
    conda.lock(DESK)
    conda.project.lock({**DESK, "driver": "595.71.05", "glibc": "2.39"})
    assert not CONDA_FILES - {"cudaenv.lock", "Dockerfile", ".dockerignore"} & set(conda.project.files())
    conda.lock(DESK)
    assert set(conda.project.files()) == CONDA_FILES


@pytest.mark.parametrize("given", ["by its path", "on PATH"])
def test_another_solver_finds_the_same_and_is_named(conda: CondaProject, tmp_path: Path, given: str) -> None:
    conda.lock(python="3.12")
    ours = conda.versions()
    program = Oracle(tmp_path / "oracle", conda.server.url).executable()
    environ = {"PATH": f"{program.parent}:{conda.project.env()['PATH']}:/usr/bin:/bin"}
    name = str(program) if given == "by its path" else "conda"
    conda.project.run("lock", "--solver", name, env=environ)
    assert conda.versions() == ours
    solver = json.loads(conda.project.text("cudaenv.lock"))["solver"]
    assert solver["conda"] == "24.7.1"
    assert conda.project.run("check").out == "up to date\n"


def test_a_solver_that_is_not_there_is_named(conda: CondaProject) -> None:
    conda.lock(python="3.12")
    before = conda.project.files()
    done = conda.project.run("lock", "--solver", "micromamba", status=5)
    assert "there is no program `micromamba` to solve with" in done.err
    assert conda.project.files() == before


def test_a_conda_package_of_another_name_than_its_distribution_is_known(
    own_project: Project, channels: Channels, tmp_path: Path
) -> None:
    """Conda's `py-drawing` holds the distribution `drawing`: no wheel of it comes a second time."""
    files = below("site-packages", {"drawing/__init__.py": b"", **distribution("drawing", "4.12.0")})
    renamed = CondaPackage(
        "py-drawing", "4.12.0", "pyh1_0", depends=["python >=3.9"], files=files, python=True
    )
    packages = channels.packages["conda-forge"]
    torch = next(item for item in packages if item.filename.startswith("pytorch-2.12.0-cuda130_mkl_py312"))
    needing = replace(
        torch, build=torch.build.replace("_300", "_301"), depends=[*torch.depends, "py-drawing"]
    )
    grown = write_channels(tmp_path / "grown", {"conda-forge": [*packages, needing, renamed]})
    own_project.world.add("simple", Wheel("drawing", "5.0", "py3-none-any"))
    own_project.world.add("simple", Wheel("plots", "1.0", "py3-none-any", ["drawing>=4"]))
    with conda_project(own_project, grown) as conda:
        conda.lock(python="3.12", packages={"torch": "*", "plots": "*"})
        assert "py-drawing" in conda.versions()
        assert set(own_project.pins()) == {"plots"}
        own_project.world.add("simple", Wheel("plots", "1.1", "py3-none-any", ["drawing>=5"]))
        own_project.run("lock", "--upgrade")
        assert own_project.pins() == {"plots": "1.0"}


def test_a_toolkit_for_cuda_11_comes_from_one_label_of_nvidias(conda: CondaProject) -> None:
    machine = {**DESK, "gpu": ["RTX 3090"], "driver": "520.61.05"}
    conda.lock(
        machine, target="develop-kernels", python="3.10", cuda="11.8", packages={"torch": ">=2.0,<2.1"}
    )
    written = yaml.safe_load(conda.project.text("environment.yml"))
    assert written["channels"][0] == "nvidia/label/cuda-11.8.0"
    toolkit = {"cuda-toolkit", "cuda-nvcc", "libcublas", "libcublas-dev"}
    places = {name: conda.locked()[name]["url"].removeprefix(CANONICAL) for name in toolkit}
    assert all(place.startswith("nvidia/label/cuda-11.8.0/") for place in places.values()), places
