"""Options that several commands share, and how they become keys of a spec."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from cudaenv.workflow.project import COMMAND_LINE_MACHINE, Project

F = TypeVar("F", bound=Callable[..., Any])

MACHINE_OPTIONS = {"gpu": "gpu", "driver": "driver", "driver_api": "driver-api", "glibc": "glibc"}
PLAIN_OPTIONS = {
    "target": "target",
    "python": "python",
    "cuda": "cuda",
    "provider": "provider",
    "platform": "platforms",
}

_SPEC_OPTIONS = (
    click.option("--target", metavar="NAME", help="run-only, develop-kernels, mmcv-full, xformers."),
    click.option(
        "--gpu",
        multiple=True,
        metavar="NAME",
        help='A GPU it must run on, "RTX 4090" or a compute capability "8.9"; may be repeated.',
    ),
    click.option("--driver", metavar="VERSION", help="The NVIDIA driver there, for example 570.86.10."),
    click.option(
        "--driver-api",
        metavar="VERSION",
        help="The CUDA version that nvidia-smi prints there, for example 12.8.",
    ),
    click.option("--glibc", metavar="VERSION", help="The glibc there, for example 2.31."),
    click.option("--python", metavar="VERSION", help='Python, "3.12" or a specifier ">=3.11".'),
    click.option("--cuda", metavar="REQUEST", help='any, cpu, 12.8 or ">=12.6,<13".'),
    click.option("--provider", metavar="NAME", help="Where CUDA comes from: auto, pip, conda or system."),
    click.option(
        "--platform",
        multiple=True,
        metavar="NAME",
        help="linux-64, linux-aarch64, win-64 or osx-arm64; may be repeated.",
    ),
    click.option(
        "--package",
        "-p",
        multiple=True,
        metavar="REQUIREMENT",
        help='A package, "torch>=2.8" or "diffusers"; may be repeated.',
    ),
    click.option(
        "--index",
        multiple=True,
        metavar="NAME=URL",
        help="A mirror, pytorch=URL, or another default index, default=URL; may be repeated.",
    ),
    click.option(
        "--channel",
        multiple=True,
        metavar="NAME=URL",
        help="A mirror of a conda channel, conda-forge=URL; may be repeated.",
    ),
)


def spec_options(function: F) -> F:
    """Add the options that stand for keys of the spec, for one run."""
    for option in reversed(_SPEC_OPTIONS):
        function = option(function)
    return function


def folder_option(function: F) -> F:
    """Add `--project`, the folder to work in."""
    return click.option(
        "--project",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(),
        show_default="this folder",
        metavar="FOLDER",
        help="The folder of the project.",
    )(function)


def installed_options(function: F) -> F:
    """Add `--env` and `--prefix`: which environment of the lock, and where it is installed."""
    prefix = click.option(
        "--prefix",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="Where it is installed.  [default: .venv in the project]",
    )
    name = click.option(
        "--env",
        "--environment",
        "name",
        metavar="NAME",
        help="The environment, where the lock has several.",
    )
    return name(prefix(function))


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def force_option(function: F) -> F:
    """Add `--force`."""
    return click.option("--force", is_flag=True, help="Overwrite files that a person made or edited.")(
        function
    )


def project(folder: Path, given: dict[str, Any], variables: Mapping[str, str] | None = None) -> Project:
    """The project of a folder, with the options given on the command line, and variables beside those set."""
    if not folder.is_dir():
        raise click.BadParameter(f"there is no folder `{folder}`", param_hint="--project")
    return Project(folder.resolve(), {**os.environ, **(variables or {})}, _options(given), talk=talk)


def talk(line: str) -> None:
    """Say something to the user: on stderr, since stdout is data."""
    click.echo(line, err=True)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """The options as keys of a spec; what describes a machine as the one machine to plan for."""
    found: dict[str, Any] = {
        key: list(given[name]) if isinstance(given[name], tuple) else given[name]
        for name, key in PLAIN_OPTIONS.items()
        if given.get(name)
    }
    machine = {
        key: list(given[name]) if name == "gpu" else given[name]
        for name, key in MACHINE_OPTIONS.items()
        if given.get(name)
    }
    if machine:
        found["machine"] = [{"name": COMMAND_LINE_MACHINE, **machine}]
    if given.get("package"):
        found["packages"] = dict(_package(text) for text in given["package"])
    if given.get("index"):
        found["indexes"] = dict(index_mirror(text) for text in given["index"])
    if given.get("channel"):
        found["channels"] = dict(index_mirror(text, "--channel") for text in given["channel"])
    return found


def wanted(text: str) -> dict[str, Any]:
    """A key and its value, `provider=conda`, or a requirement, `torch==2.15`, as keys of a spec."""
    key, is_pair, value = text.partition("=")
    if is_pair and key.strip() in WHY_NOT_KEYS and not value.startswith("="):
        return {key.strip(): value.strip()}
    return {"packages": dict([_package(text, "--why-not")])}


WHY_NOT_KEYS = ("target", "python", "provider", "cuda")
"""Keys of the spec that may be asked about."""


def index_mirror(text: str, option: str = "--index") -> tuple[str, str]:
    """Split `pytorch=https://mirror.example/whl` into a key and a value of `[indexes]` or `[channels]`."""
    name, is_split, url = text.partition("=")
    if not is_split:
        raise click.BadParameter(f"a name and a URL, NAME=URL: {text!r}", param_hint=option)
    return name, url


def _package(text: str, option: str = "--package") -> tuple[str, str]:
    """Split `torch>=2.8` into a key and a value of `[packages]`."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise click.BadParameter(f"not a requirement: {text!r}", param_hint=option) from error
    if requirement.url or requirement.marker:
        raise click.BadParameter(f"a name and versions only: {text!r}", param_hint=option)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}", str(requirement.specifier) or "*"
