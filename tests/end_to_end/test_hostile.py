"""Indexes that lie, lag behind or are not what the plan thinks they are: nothing of it gets into a lock."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from tests.support.index import add_hostile, write_index
from tests.support.project import PYTORCH, RTX_4090, V100, Project, locked_hashes
from tests.support.wheels import Wheel, compiled_wheel, torch_wheel

LINUX = "manylinux_2_28_x86_64"
PYTHON = "3.11"
ARCHS = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


def refused(project: Project) -> str:
    """Lock, see that it fails without writing anything, and return what it says."""
    done = project.run("lock", status=5)
    assert project.files() == {}
    assert "nothing was locked" in done.err
    return done.err


def replace(project: Project, index: str, *wheels: Wheel) -> None:
    """Make wheels the only files of their projects on an index."""
    write_index(project.world.folder / index, wheels)


def torch_of(requires: Sequence[str], variant: str = "cu132") -> Wheel:
    """A torch 2.15.0 as the default index has it, with other requirements."""
    return torch_wheel("2.15.0", variant, "cp311", LINUX, ("filelock", *requires), archs=ARCHS, local=False)


def test_higher_versions_on_the_other_index_are_not_taken(own_project: Project) -> None:
    add_hostile(own_project.world)
    own_project.lock(V100, packages={"torch": "*", "torchvision": "*"})
    pins = own_project.pins()
    assert (pins["torch"], pins["torchvision"]) == ("2.14.1+cu126", "0.29.1+cu126")
    assert pins["nvidia-cublas-cu12"] == "12.6.4.1", "99.0 lies on the default index"
    assert pins["nvidia-cudnn-cu12"] == "9.10.2.21", "99.0 lies on the PyTorch index"
    assert pins["filelock"] == "3.20.0", "99.0 lies on the PyTorch index"
    assert "99.0" not in str(own_project.files())


def test_a_higher_torch_on_the_default_index_is_not_taken_for_the_planned_one(own_project: Project) -> None:
    add_hostile(own_project.world)
    own_project.lock(RTX_4090, packages={"torch": "*", "torchvision": "*"})
    assert (own_project.pins()["torch"], own_project.pins()["torchvision"]) == ("2.15.0", "0.29.2")


def test_pytorch_packages_are_not_looked_for_on_the_default_index(own_project: Project) -> None:
    own_project.lock(V100, packages={"torch": "*", "torchvision": "*"})
    pages = {request.path for request in own_project.server.requests}
    assert {"/whl/cu126/torch/", "/whl/cu126/torchvision/"} <= pages
    assert pages.isdisjoint({"/simple/torch/", "/simple/torchvision/", "/whl/cu126/filelock/"})


def test_a_nearer_local_version_on_the_default_index_is_not_taken(own_project: Project) -> None:
    own_project.world.add(
        "simple", torch_wheel("2.14.1", "cu126", "cp311", LINUX, ("filelock",), archs=ARCHS)
    )
    own_project.lock(V100, python=PYTHON)
    assert own_project.urls()["torch"].startswith(f"{PYTORCH}/cu126/torch/")


def test_a_cpu_build_in_place_of_the_planned_one_is_refused(own_project: Project) -> None:
    replace(own_project, "simple", torch_of((), variant="cpu"))
    own_project.spec(RTX_4090, python=PYTHON)
    assert "a CPU build, planned is CUDA 13.2" in refused(own_project)


def test_a_build_for_another_cuda_in_place_of_the_planned_one_is_refused(own_project: Project) -> None:
    requires = ("cuda-toolkit[cublas,cudart,nvrtc]==13.0.3", "nvidia-cudnn-cu13==9.26.0.51")
    replace(own_project, "simple", torch_of(requires, "cu130"))
    own_project.spec(RTX_4090, python=PYTHON)
    assert "torch 2.15.0 requires CUDA 13.0, planned is 13.2" in refused(own_project)


def test_a_build_for_another_cuda_major_is_refused(own_project: Project) -> None:
    requires = ("nvidia-cuda-runtime-cu12==12.8.90", "nvidia-cublas-cu12==12.8.4.1")
    replace(own_project, "simple", torch_of(requires, "cu128"))
    own_project.spec(RTX_4090, python=PYTHON)
    message = refused(own_project)
    assert "`nvidia-cublas-cu12` is of CUDA 12, planned is CUDA 13.2" in message
    assert "torch 2.15.0 requires CUDA 12.8, planned is 13.2" in message


def test_a_companion_that_is_linked_to_another_cuda_is_refused(own_project: Project) -> None:
    # Nothing in its name or metadata tells; only its library does.
    vision = compiled_wheel("torchvision", "0.29.2", f"py3-none-{LINUX}", 12, ("numpy", "torch>=2.14.0"))
    replace(own_project, "simple", vision)
    own_project.spec(RTX_4090, packages={"torch": "*", "torchvision": "*"}, python=PYTHON)
    assert "`torchvision` 0.29.2 is linked to CUDA 12 (libcudart), planned is CUDA 13" in refused(own_project)


def test_a_compiled_package_that_goes_with_torch_is_read_too(own_project: Project) -> None:
    kernels = compiled_wheel("kernels", "1.0", f"py3-none-{LINUX}", 12, ("torch",))
    own_project.world.add("simple", kernels)
    own_project.spec(RTX_4090, packages={"torch": "*", "kernels": "*"}, python=PYTHON)
    assert "`kernels` 1.0 is linked to CUDA 12 (libcudart), planned is CUDA 13" in refused(own_project)


def test_a_large_compiled_wheel_is_read_by_ranges(own_project: Project) -> None:
    vision = compiled_wheel(
        "torchvision", "0.29.2", f"py3-none-{LINUX}", 13, ("numpy", "torch>=2.14.0"), padding=8 << 20
    )
    replace(own_project, "simple", vision)
    own_project.spec(RTX_4090, packages={"torch": "*", "torchvision": "*"}, python=PYTHON)
    own_project.run("lock")
    asked = [request for request in own_project.server.requests if request.path.endswith(vision.filename)]
    assert asked
    assert all(request.range for request in asked if request.method == "GET")


def test_a_server_without_ranges_is_no_obstacle(own_project: Project) -> None:
    own_project.server.drop_ranges()
    own_project.spec(RTX_4090, packages={"torch": "*", "torchvision": "*"}, python=PYTHON)
    own_project.run("lock")
    assert own_project.pins()["torchvision"] == "0.29.2"


def test_an_altered_wheel_behind_a_server_without_ranges_is_refused(own_project: Project) -> None:
    vision = own_project.world.find("simple", "torchvision-0.29.2-py3-none-manylinux_2_28_x86_64")
    own_project.server.drop_ranges()
    own_project.server.replace(own_project.world.path("simple", vision), vision.data + b"altered")
    own_project.spec(RTX_4090, packages={"torch": "*", "torchvision": "*"}, python=PYTHON)
    done = own_project.run("lock", status=6)
    assert vision.sha256 in done.err
    assert hashlib.sha256(vision.data + b"altered").hexdigest() in done.err
    assert own_project.files() == {}


def test_a_companion_that_a_dependency_brings_in_is_planned_with_torch(own_project: Project) -> None:
    own_project.world.add("simple", Wheel("timm", "1.0.9", "py3-none-any", ["torch", "torchvision"]))
    done = own_project.lock(V100, packages={"torch": "*", "timm": "*"})
    assert "planning again with torchvision" in done.err
    assert own_project.pins()["torchvision"] == "0.29.1+cu126"
    assert own_project.urls()["torchvision"].startswith(f"{PYTORCH}/cu126/torchvision/")
    assert re.search(r'"brought-in": \[\s*"torchvision"\s*\]', own_project.text("cudaenv.lock"))
    assert own_project.run("check").out == "up to date\n"


def test_a_companion_that_is_not_brought_in_any_more_goes_away(own_project: Project) -> None:
    own_project.world.add("simple", Wheel("timm", "1.0.9", "py3-none-any", ["torch", "torchvision"]))
    own_project.lock(V100, packages={"torch": "*", "timm": "*"})
    own_project.lock(V100)
    assert "torchvision" not in own_project.pins()
    assert '"brought-in": []' in own_project.text("cudaenv.lock")


def test_a_second_cuda_that_a_dependency_brings_in_is_refused(own_project: Project) -> None:
    own_project.world.add("simple", Wheel("rapid", "1.0", "py3-none-any", ["nvidia-cublas-cu12"]))
    own_project.spec(RTX_4090, packages={"torch": "*", "rapid": "*"})
    assert "`nvidia-cublas-cu12` is of CUDA 12, planned is CUDA 13.2" in refused(own_project)


def test_cuda_libraries_in_a_cpu_environment_are_refused(own_project: Project) -> None:
    own_project.world.add("simple", Wheel("rapid", "1.0", "py3-none-any", ["nvidia-cublas-cu12"]))
    own_project.spec(V100, packages={"torch": "*", "rapid": "*"}, cuda="cpu")
    assert "a CPU environment was planned, but `nvidia-cublas-cu12` of CUDA 12 is locked" in refused(
        own_project
    )


def links_elsewhere(project: Project, index: str, name: str) -> str:
    """Let an index's page of a project link to files on another host, and return that host's address."""
    elsewhere = project.server.url.replace("127.0.0.1", "localhost")
    wheels = [wheel for wheel in project.world.wheels[index] if wheel.project == name]
    write_index(project.world.folder / index, wheels, absolute_base=f"{elsewhere}/{index}")
    return elsewhere


def test_a_planned_file_from_another_host_is_refused(own_project: Project) -> None:
    elsewhere = links_elsewhere(own_project, "whl/cu126", "torch")
    own_project.spec(V100)
    assert f"`torch` comes from {elsewhere}/whl/cu126/torch/" in refused(own_project)


def test_a_file_from_a_third_host_is_refused(own_project: Project) -> None:
    links_elsewhere(own_project, "simple", "filelock")
    own_project.spec(V100)
    message = refused(own_project)
    assert "the default index serves files from more than one host" in message
    assert "localhost (`filelock`)" in message


def test_a_file_without_a_hash_on_the_page_is_hashed_as_it_is_served(own_project: Project) -> None:
    page = own_project.world.folder / "simple" / "filelock" / "index.html"
    page.write_text(re.sub(r"#sha256=[0-9a-f]+", "", page.read_text()))
    own_project.lock(V100)
    wheel = own_project.world.find("simple", "filelock-3.20.0")
    assert wheel.sha256 in own_project.text("requirements.lock")
    assert len(locked_hashes(own_project.text("pylock.toml"))) == len(own_project.pins())


def test_a_file_with_another_kind_of_hash_only_is_refused(own_project: Project) -> None:
    page = own_project.world.folder / "simple" / "filelock" / "index.html"
    page.write_text(re.sub(r"#sha256=[0-9a-f]+", "#md5=" + "0" * 32, page.read_text()))
    own_project.spec(V100)
    assert "`filelock` has no sha256" in refused(own_project)
