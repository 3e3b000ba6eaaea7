"""py-rattler's solver and installer in a process of their own, for tests that need them without the program.

    python -m tests.support.solving

takes a request as JSON on standard input. The process ends on the spot: py-rattler may crash while an
interpreter shuts down.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]

CANONICAL = "https://conda.anaconda.org/"
"""Where channels with a bare name are."""


@dataclass(frozen=True)
class Solve:
    """What is to be solved: as in an environment.yml and its virtual packages (`{"__cuda": "13.0"}`)."""

    channels: Sequence[str]
    specs: Sequence[str]
    platform: str
    virtual: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_files(cls, environment: Mapping[str, Any], virtual: Mapping[str, Any]) -> Solve:
        """What documents of environment.yml and virtual-packages.yml ask for."""
        (platform,) = environment["platforms"]
        channels = [name for name in environment["channels"] if name != "nodefaults"]
        packages = virtual["subdirs"][platform]["packages"]
        return cls(channels, environment["dependencies"], platform, packages)


@dataclass(frozen=True)
class Solution:
    """The records of a solution, or why there is none."""

    records: Sequence[Mapping[str, Any]]
    error: str = ""

    def builds(self) -> set[tuple[str, str, str]]:
        """Name, version and build of each package."""
        return {(record["name"], record["version"], record["build"]) for record in self.records}

    def version(self, name: str) -> str:
        """The version of a package; empty where it has none of that name."""
        return next((version for found, version, _ in self.builds() if found == name), "")


def solve_all(mirror: str, requests: Sequence[Solve], *, sharded: bool = True) -> list[Solution]:
    """Solve requests on the channels that a mirror of conda.anaconda.org has, with strict priority."""
    asked = {"mirror": mirror, "sharded": sharded, "solves": [asdict(request) for request in requests]}
    return [Solution(**found) for found in _ask(asked)]


def install(mirror: str, request: Solve, prefix: Path) -> Solution:
    """Solve a request and install its solution into a prefix."""
    (found,) = _ask({"mirror": mirror, "solves": [asdict(request)], "prefix": str(prefix)})
    return Solution(**found)


def _ask(request: Mapping[str, Any]) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.solving"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=_ROOT,
    )
    return json.loads(done.stdout)


async def _solved(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    from rattler import Client, Gateway
    from rattler import install as install_records
    from rattler.networking import MirrorMiddleware
    from rattler.repo_data import SourceConfig

    client = Client([MirrorMiddleware({CANONICAL: [request["mirror"].rstrip("/") + "/"]})])
    config = SourceConfig(sharded_enabled=request.get("sharded", True))
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as cache:
        gateway = Gateway(cache_dir=Path(cache), client=client, default_config=config)
        for asked in request["solves"]:
            try:
                records = await _records(gateway, asked)
                if "prefix" in request:
                    place = Path(cache, "packages")
                    await install_records(
                        records, request["prefix"], client=client, cache_dir=place, show_progress=False
                    )
            except Exception as error:  # whatever it raises is the answer
                found.append({"records": [], "error": str(error) or type(error).__name__})
            else:
                found.append({"records": [described(record) for record in records]})
    return found


async def _records(gateway: Any, asked: Mapping[str, Any]) -> list[Any]:
    from rattler import (
        BuildString,
        Channel,
        ChannelPriority,
        GenericVirtualPackage,
        MatchSpec,
        PackageName,
        Version,
        solve,
    )

    # A channel that only a spec names comes first: packages of the same names elsewhere would hide its own.
    named = [spec.split("::")[0] for spec in asked["specs"] if "::" in spec]
    parts = {name: [*text.split(), "0"] for name, text in asked["virtual"].items()}
    return await solve(
        sources=[Channel(name) for name in dict.fromkeys([*named, *asked["channels"]])],
        specs=[MatchSpec(spec, strict=False) for spec in asked["specs"]],
        gateway=gateway,
        platforms=[asked["platform"], "noarch"],
        virtual_packages=[
            GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
            for name, (version, build, *_) in parts.items()
        ],
        channel_priority=ChannelPriority.Strict,
    )


def described(record: Any) -> dict[str, Any]:
    """What is needed of a record to compare it and to install it."""
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build).strip(),
        "url": record.url,
        "md5": record.md5.hex(),
        "sha256": record.sha256.hex(),
    }


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    answer = asyncio.run(_solved(request))
    json.dump(answer, sys.stdout)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
    os._exit(0)
