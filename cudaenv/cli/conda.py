"""`cudaenv-conda`: what conda-lock asks of a conda, answered by py-rattler.

    conda-lock lock --conda cudaenv-conda -f environment.yml --virtual-package-spec virtual-packages.yml
    conda-lock install --conda cudaenv-conda --prefix PREFIX conda-lock.yml

It knows the calls that conda-lock 4 makes (its `conda_solver`, and `do_conda_install` of its `conda_lock`)
and no others. The process ends on the spot, for the reason that stands in `cudaenv.system.rattler_worker`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from cudaenv import __version__
from cudaenv.errors import CudaenvError
from cudaenv.lock.conda import file_parts
from cudaenv.model.names import CHANNELS

FAKE = "conda-lock-fake-repodata"
"""How conda-lock calls the channel in which it hands over virtual packages."""


def main() -> None:
    """Answer one call of conda-lock and leave, with 0 or 1."""
    arguments = _parser().parse_intermixed_args()
    try:
        status = arguments.answer(arguments)
    except CudaenvError as error:
        _say({"message": str(error)}) if arguments.json else print(error, file=sys.stderr)  # noqa: T201
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cudaenv-conda", description="what conda-lock asks of a conda")
    parser.add_argument("--version", action="version", version=f"cudaenv-conda {__version__}")
    parser.add_argument("verb", choices=("create", "install", "update", "list", "run"))
    parser.add_argument("words", nargs="*")
    parser.add_argument("--prefix", "-p", type=Path, required=True)
    parser.add_argument("--channel", "-c", action="append", default=[])
    parser.add_argument("--file", type=Path)
    for flag in ("json", "dry-run", "override-channels", "yes", "quiet", "copy", "no-pip", "no-shortcuts"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.set_defaults(answer=_answer)
    return parser


def _answer(arguments: argparse.Namespace) -> int:
    if arguments.verb == "list":
        _say([_linked(record) for record in _installed(arguments.prefix)])
    elif arguments.verb == "run":
        return _run(arguments)
    elif arguments.dry_run:
        _say(_solved(arguments))
    elif arguments.file is not None:
        _install(arguments)
    else:
        raise CudaenvError(
            "cudaenv-conda solves for conda-lock (--dry-run) and installs explicit files (--file)"
        )
    return 0


def _say(answer: object) -> None:
    json.dump(answer, sys.stdout)


def _solved(arguments: argparse.Namespace) -> dict[str, Any]:
    """The packages of an environment, or what changes where there is one, in the form of a dry run."""
    from cudaenv.system.rattler_worker import solve

    platform = os.environ.get("CONDA_SUBDIR", "linux-64")
    channels = [channel for channel in arguments.channel if FAKE not in channel]
    installed = [] if arguments.verb == "create" else _installed(arguments.prefix)
    changing = {spec.replace("=", " ").split()[0].rpartition("::")[2] for spec in arguments.words}
    kept = [record for record in installed if record["name"] not in changing]
    asked = {
        "channels": channels,
        "platform": platform,
        "specs": [*arguments.words, *(record["name"] for record in kept)],
        "virtual": _virtual(arguments.channel, platform),
        "locked": [record["url"] for record in kept],
    }
    answer = asyncio.run(solve({"environments": [asked], **_network(channels)}))["environments"][0]
    if "excluded" in answer:
        raise CudaenvError(answer["excluded"])
    before = {record["url"] for record in installed}
    found = [record for record in answer["records"] if record["url"] not in before]
    fetch = [{**record, "fn": record["url"].rsplit("/", 1)[-1], "channel": record["url"]} for record in found]
    return {"success": True, "actions": {"FETCH": fetch, "LINK": [_linked(record) for record in found]}}


def _virtual(channels: Sequence[str], platform: str) -> dict[str, str]:
    """The virtual packages that conda-lock hands over as a channel; of several versions the highest."""
    from packaging.version import Version

    found: dict[str, tuple[Version, str]] = {}
    for channel in channels:
        if FAKE in channel:
            folder = Path(url2pathname(unquote(urlsplit(channel).path)) if "://" in channel else channel)
            data = json.loads((folder / platform / "repodata.json").read_text(encoding="utf-8"))
            for record in data["packages"].values():
                version = Version(record["version"])
                if record["name"] not in found or found[record["name"]][0] < version:
                    found[record["name"]] = (version, f"{record['version']} {record['build']}")
    return {name: text for name, (_, text) in sorted(found.items())}


def _installed(prefix: Path) -> list[Mapping[str, Any]]:
    """The records of a prefix: name, version and URL of what is installed in it."""
    paths = sorted((prefix / "conda-meta").glob("*.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return [record for record in records if not record["name"].startswith("__")]


def _linked(record: Mapping[str, Any]) -> dict[str, Any]:
    channel, platform, _ = record["url"].rsplit("/", 2)
    return {
        "name": record["name"],
        "version": record["version"],
        "build_string": record.get("build", ""),
        "build_number": record.get("build_number", 0),
        "channel": channel.rsplit("/", 1)[-1],
        "base_url": "",
        "dist_name": "-".join(file_parts(record["url"])),
        "platform": platform,
    }


def _install(arguments: argparse.Namespace) -> None:
    """Install an explicit file, each package checked by the hash behind its URL."""
    from cudaenv.system.rattler_worker import install

    lines = arguments.file.read_text(encoding="utf-8").splitlines()
    records = [_explicit(line) for line in lines if "://" in line and not line.startswith("#")]
    channels = sorted({record["url"].rsplit("/", 2)[0] for record in records})
    platforms = {record["subdir"] for record in records} - {"noarch"}
    request = {
        "records": records,
        "platform": os.environ.get("CONDA_SUBDIR") or next(iter(sorted(platforms)), "linux-64"),
        "prefix": str(arguments.prefix),
        "progress": not arguments.quiet and sys.stderr.isatty(),
    }
    asyncio.run(install({**request, **_network(channels)}))


def _explicit(line: str) -> dict[str, Any]:
    url, _, digest = line.strip().partition("#")
    subdir = url.rsplit("/", 2)[1]
    name, version, build = file_parts(url)
    digest = digest.rpartition(":")[2]
    hashes = {"md5": digest, "sha256": ""} if len(digest) == 32 else {"md5": "", "sha256": digest}
    return {
        "name": name,
        "version": version,
        "build": build,
        "subdir": subdir,
        "url": url,
        **hashes,
        "requires": {},
    }


def _run(arguments: argparse.Namespace) -> int:
    """Run a program of an environment, as conda-lock does with pip."""
    from cudaenv.system.process import run

    prefix = arguments.prefix.resolve()
    path = os.pathsep.join(
        [str(prefix / "bin"), str(prefix), str(prefix / "Scripts"), os.environ.get("PATH", "")]
    )
    env = {**os.environ, "PATH": path, "CONDA_PREFIX": str(prefix)}
    done = run(arguments.words, env=env, show_stderr=True)
    sys.stdout.write(done.stdout)
    return done.status


def _network(channels: Sequence[str]) -> dict[str, Any]:
    """How the channels are reached: this user's cache, and what the user's conda fetches from elsewhere."""
    from cudaenv.system.condarc import condarc_places
    from cudaenv.system.files import cache_folder

    names = [channel.removeprefix(f"{CHANNELS}/") for channel in channels]
    places = condarc_places(os.environ, [name for name in names if "://" not in name])
    cache = cache_folder(os.environ) or Path.home()
    mirrors = {f"{CHANNELS}/{name}/": f"{url}/" for name, url in places.items()}
    return {"cache": str(cache / "conda"), "mirrors": mirrors}


if __name__ == "__main__":
    main()
