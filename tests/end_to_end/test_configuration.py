"""What a machine has configured for pip and uv: nothing of it gets into a lock, but credentials are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.index import write_index
from tests.support.project import PYTORCH, RTX_4090, V100, Project
from tests.support.wheels import Wheel, torch_wheel

USER, PASSWORD = "reader", "s3cr3t-t0ken"
PACKAGES = {"torch": "*", "torchvision": "*", "numpy": "*"}


@pytest.fixture
def poison(project: Project, tmp_path: Path) -> str:
    """An index that has a higher version of everything, for a machine's configuration to name."""
    names = ("torch", "torchvision", "numpy", "filelock", "typing-extensions", "nvidia-cublas-cu12")
    wheels = [Wheel(name, "99.0", "py3-none-any") for name in names]
    write_index(tmp_path / "poison", wheels)
    for wheel in (*wheels, torch_wheel("2.14.1", "cpu", "cp311", "manylinux_2_28_x86_64")):
        wheel.write(tmp_path / "links")
    return (tmp_path / "poison").as_uri()


def variables(poison: str) -> dict[str, str]:
    """Every setting of uv and pip that chooses what is found."""
    links = poison.replace("/poison", "/links")
    return {
        "UV_INDEX": f"other={poison}",
        "UV_DEFAULT_INDEX": poison,
        "UV_INDEX_URL": poison,
        "UV_EXTRA_INDEX_URL": poison,
        "UV_FIND_LINKS": links,
        "UV_TORCH_BACKEND": "cpu",
        "UV_PRERELEASE": "allow",
        "UV_RESOLUTION": "lowest",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_EXCLUDE_NEWER": "2001-01-01",
        "UV_CONSTRAINT": "/nonexistent/constraints.txt",
        "UV_OVERRIDE": "/nonexistent/overrides.txt",
        "UV_NO_BINARY": "1",
        "UV_CONFIG_FILE": "/nonexistent/uv.toml",
        "UV_PYTHON": "/nonexistent/python",
        "UV_PROJECT": "/nonexistent",
        "UV_OFFLINE": "1",
        "UV_CUSTOM_COMPILE_COMMAND": "leak",
        "PIP_INDEX_URL": poison,
        "PIP_EXTRA_INDEX_URL": poison,
        "PIP_FIND_LINKS": links,
        "PIP_CONFIG_FILE": "/nonexistent/pip.conf",
        "VIRTUAL_ENV": "/nonexistent",
        "CONDA_PREFIX": "/nonexistent",
        "MACOSX_DEPLOYMENT_TARGET": "99.0",
    }


def poison_home(home: Path, poison: str) -> Mapping[str, str]:
    """Write uv's and pip's own configuration files, and return the environment that leads to them."""
    config = home / "config"
    uv = f'prerelease = "allow"\nresolution = "lowest"\n[[index]]\nurl = "{poison}"\ndefault = true\n'
    pip = f"[global]\nindex-url = {poison}\nfind-links = {poison.replace('/poison', '/links')}\n"
    for folder in (config, home / ".config"):
        for name, text in (("uv/uv.toml", uv), ("pip/pip.conf", pip)):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text(text)
    return {"XDG_CONFIG_HOME": str(config)}


@pytest.mark.parametrize("machine", [V100, RTX_4090], ids=["pytorch-index", "default-index"])
def test_a_poisoned_machine_makes_the_same_lock(
    project: Project, poison: str, tmp_path: Path, machine: Mapping[str, object]
) -> None:
    project.lock(machine, packages=PACKAGES)
    dirty = project.another(tmp_path / "dirty")
    (dirty.folder / "pyproject.toml").write_text(
        f'[tool.uv]\nprerelease = "allow"\nfind-links = ["{poison}"]\n'
        f'override-dependencies = ["numpy==99.0"]\n'
        f'[[tool.uv.index]]\nname = "project"\nurl = "{poison}"\ndefault = true\n'
    )
    (dirty.folder / "uv.toml").write_text(f'[[index]]\nname = "project"\nurl = "{poison}"\ndefault = true\n')
    settings = dirty.files()
    dirty.run("lock", env={**variables(poison), **poison_home(dirty.home, poison)})
    assert {
        name: content for name, content in dirty.files().items() if name not in settings
    } == project.files()
    assert {name: dirty.files()[name] for name in settings} == settings


def test_the_poison_works_where_nobody_guards_against_it(project: Project, poison: str) -> None:
    # Else the test above would show nothing.
    import subprocess

    from uv import find_uv_bin

    env = {**project.env(), "UV_DEFAULT_INDEX": poison}
    done = subprocess.run(
        [find_uv_bin(), "pip", "compile", "-"],
        input="numpy",
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "numpy==99.0" in done.stdout


def test_a_poisoned_machine_installs_what_is_locked(project: Project, poison: str) -> None:
    project.lock(V100, packages=PACKAGES)
    env = {**variables(poison), **poison_home(project.home, poison)}
    project.run("sync", "--anyway", env=env)
    installed = {path.name for path in (project.folder / ".venv").rglob("*.dist-info")}
    assert "numpy-2.3.5.dist-info" in installed
    assert not [name for name in installed if "99.0" in name]


def credentials(name: str) -> dict[str, str]:
    """The variables by which uv knows user and password of an index."""
    return {f"UV_INDEX_{name}_USERNAME": USER, f"UV_INDEX_{name}_PASSWORD": PASSWORD}


def without_secret(project: Project, *texts: str) -> None:
    """See that nothing of the credentials is in what was printed, or in any file of project and cache."""
    for text in texts:
        assert PASSWORD not in text
    folders = (project.folder, project.home / "cudaenv-cache")
    for path in [path for folder in folders for path in folder.rglob("*") if path.is_file()]:
        assert PASSWORD.encode() not in path.read_bytes(), path


def test_a_private_pytorch_index_is_used_with_the_credentials_of_uv(project: Project) -> None:
    project.server.require_auth("/whl/cu126/", USER, PASSWORD)
    project.spec(V100, packages=PACKAGES)
    done = project.run("lock", env=credentials("PYTORCH_CU126"))
    assert project.urls()["torch"].startswith(f"{PYTORCH}/cu126/")
    without_secret(project, done.out, done.err)


def test_a_private_default_index_is_used_with_the_credentials_of_uv(project: Project) -> None:
    project.server.require_auth("/simple/", USER, PASSWORD)
    project.spec(RTX_4090, packages=PACKAGES)
    done = project.run("lock", env=credentials("DEFAULT"))
    assert project.pins()["torch"] == "2.15.0"
    without_secret(project, done.out, done.err)


def test_private_indexes_are_used_with_a_netrc_file(project: Project) -> None:
    project.server.require_auth("/", USER, PASSWORD)
    netrc = project.home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    netrc.chmod(0o600)
    project.spec(V100, packages=PACKAGES)
    done = project.run("lock")
    assert project.pins()["torch"] == "2.14.1+cu126"
    without_secret(project, done.out, done.err)


def test_a_private_index_is_installed_from_with_credentials(project: Project) -> None:
    project.server.require_auth("/", USER, PASSWORD)
    env = {**credentials("PYTORCH_CU126"), **credentials("DEFAULT")}
    project.spec(V100, packages=PACKAGES)
    project.run("lock", env=env)
    done = project.run("sync", "--anyway", env=env)
    without_secret(project, done.out, done.err)


def test_a_private_index_without_credentials_is_an_error_that_says_what_to_set(project: Project) -> None:
    project.server.require_auth("/whl/cu126/", USER, PASSWORD)
    project.spec(V100)
    done = project.run("lock", status=6)
    assert f"{project.mirror}/cu126/torch/" in done.err
    assert "UV_INDEX_<NAME>_USERNAME" in done.err
    assert "PYTORCH_CU126" in done.err
    assert project.files() == {}


def test_wrong_credentials_are_not_repeated_in_the_error(project: Project) -> None:
    project.server.require_auth("/simple/", USER, "another")
    project.spec(V100)
    done = project.run("lock", env=credentials("DEFAULT"), status=6)
    without_secret(project, done.out, done.err)
    assert project.files() == {}


def test_credentials_in_the_spec_are_refused_and_not_repeated(project: Project) -> None:
    url = project.mirror.replace("http://", f"http://{USER}:{PASSWORD}@")
    project.spec(V100, indexes={"pytorch": url})
    done = project.run("lock", status=2)
    assert "indexes.pytorch" in done.err
    assert "credentials do not belong in a file" in done.err
    assert PASSWORD not in done.err
