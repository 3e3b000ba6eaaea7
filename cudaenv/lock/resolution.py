"""What the resolver is asked: a project of exact pins, each from its own index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tomli_w
from packaging.version import Version

from cudaenv.lock.mirrors import Mirrors
from cudaenv.matrix.tables import DEFAULT_INDEX, DIRECT, FLAT
from cudaenv.model.machine import Platform
from cudaenv.model.plan import Environment
from cudaenv.model.versions import GlibcVersion

UV_GLIBC = (17, 28, *range(31, 41))
"""The minor versions of glibc 2 that uv has target platforms for (`uv pip compile --help`)."""

SUPPLIED = "supplied"
"""The folder of stand-ins for packages that conda supplies: wheels that hold nothing and require nothing."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The files, arguments and variables of one `uv pip compile`.

    `supplied` are packages that something else than pip installs, by name and version: the resolver
    takes them as they are, from the folder `SUPPLIED`.
    """

    pyproject: str
    config: str
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    supplied: tuple[tuple[str, Version], ...] = ()


def resolution(
    environment: Environment, mirrors: Mirrors, supplied: Sequence[tuple[str, Version]] = ()
) -> Resolution:
    """Ask for one environment: its pins from their indexes, all else from the default index.

    What is `supplied` by conda binds the resolver and is not locked again. The configuration file states
    all that uv would else take from this machine's configuration. Wheels only; pre-releases only where a
    requirement names one.
    """
    return Resolution(
        pyproject=tomli_w.dumps(_project(environment, mirrors, supplied)),
        config=tomli_w.dumps(_config(mirrors)),
        arguments=(
            *("--python-version", str(environment.python)),
            *("--python-platform", uv_platform(environment.platform, environment.glibc_target)),
            *("--only-binary", ":all:"),
            *("--prerelease", "explicit"),
            *("--format", "pylock.toml"),
            *(part for name, _ in supplied for part in ("--no-emit-package", name)),
            "--no-header",
        ),
        # By it uv knows which macOS the environment is for (docs.astral.sh/uv/reference/environment).
        variables=(("MACOSX_DEPLOYMENT_TARGET", environment.macos),) if environment.macos else (),
        supplied=tuple(supplied),
    )


def _project(
    environment: Environment, mirrors: Mirrors, supplied: Sequence[tuple[str, Version]]
) -> dict[str, object]:
    placed = [
        package
        for package in environment.wheels
        if package.index != DEFAULT_INDEX and package.listing != DIRECT
    ]
    indexes = {
        package.index_name: {
            "name": package.index_name,
            "url": mirrors.to_fetch(package.index_url),
            "explicit": True,
            # docs.astral.sh/uv/concepts/indexes/#flat-indexes
            **({"format": "flat"} if package.listing == FLAT else {}),
        }
        for package in placed
    }
    if supplied:
        # docs.astral.sh/uv/concepts/indexes/#flat-indexes: a folder of wheels is one, too.
        indexes[SUPPLIED] = {"name": SUPPLIED, "url": f"./{SUPPLIED}", "explicit": True, "format": "flat"}
    return {
        "project": {
            "name": "environment",
            "version": "0",
            "requires-python": f"=={environment.python}.*",
            "dependencies": [*environment.asked, *(f"{name}=={version}" for name, version in supplied)],
        },
        "tool": {
            "uv": {
                "sources": {package.name: {"index": package.index_name} for package in placed}
                | {name: {"index": SUPPLIED} for name, _ in supplied},
                "index": [index for _, index in sorted(indexes.items())],
            }
        },
    }


def _config(mirrors: Mirrors) -> dict[str, object]:
    default = [{"name": "default", "url": mirrors.default, "default": True}] if mirrors.default else []
    return {"index-strategy": "first-index", **({"index": default} if default else {})}


def uv_platform(platform: Platform, glibc: GlibcVersion | None) -> str:
    """The name uv has for a platform; of Linux with the newest glibc it knows that the machines have."""
    if not platform.is_linux:
        return {Platform.WIN_64: "x86_64-pc-windows-msvc", Platform.OSX_ARM64: "aarch64-apple-darwin"}[
            platform
        ]
    minor = glibc.minor if glibc else UV_GLIBC[0]
    usable = [known for known in UV_GLIBC if known <= minor]
    return f"{platform.machine}-manylinux_2_{max(usable, default=UV_GLIBC[0])}"
