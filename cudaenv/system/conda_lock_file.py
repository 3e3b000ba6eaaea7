"""conda-lock.yml, written and read by conda-lock's own models, so that all its readers accept it.

https://conda.org/learn/ceps/cep-0037/
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cudaenv.errors import DriftError
from cudaenv.lock.conda import CondaLock, CondaRecord, file_parts, record_of

if TYPE_CHECKING:
    from conda_lock.lockfile.v2prelim.models import Lockfile
    from conda_lock.models.lock_spec import LockSpecification

HEADER = """\
# What conda installs, each package by URL and hash (CEP 37). With micromamba, mamba or conda-lock:
#   micromamba create -n NAME -f {name}
#   conda-lock install -n NAME {name}
# `cudaenv lock` makes it anew, for the machines of the spec.
"""

NO_MAPPING = "{}"
"""conda-lock's table of conda's names for packages of PyPI: none is needed where it locks none of them."""


def conda_lock_text(
    lock: CondaLock, *, name: str, environment: str, virtual: str, source: str, metadata: Mapping[str, str]
) -> str:
    """The text of a conda-lock.yml called `name`.

    `environment` and `virtual` are the texts of the environment.yml and the virtual-packages.yml that it
    is made from, whose content hash it bears; `source` is the former's name. `metadata` goes into its
    custom metadata.
    """
    from conda_lock.lockfile import apply_categories
    from conda_lock.lockfile.v2prelim.models import HashModel, LockedDependency, Lockfile, LockMeta

    with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
        place = Path(folder)
        spec, hashes = _hashed(place, environment, virtual)
        (platform,) = spec.platforms
        planned = {
            record.name: LockedDependency(
                name=record.name,
                version=record.version,
                build=record.build,
                manager="conda",
                platform=platform,
                dependencies=dict(record.requires),
                url=record.url,
                hash=HashModel(md5=record.md5, sha256=record.sha256),
            )
            for record in lock.records
        }
        requested = {item.name: item for item in spec.dependencies[platform]}
        apply_categories(requested=requested, planned=planned, mapping_url=str(place / "mapping.json"))
        content = Lockfile(
            package=list(planned.values()),
            metadata=LockMeta(
                content_hash=hashes,
                channels=spec.channels,
                platforms=spec.platforms,
                sources=[source],
                custom_metadata={**metadata, "solver": lock.solver},
            ),
        )
        return _text(content, name)


def _text(content: Lockfile, name: str) -> str:
    """What conda-lock would write, but for its advice: a lock that is solved so is not for the machines."""
    import yaml

    content.alphasort_inplace()
    content.filter_virtual_packages_inplace()
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    document = content.to_v1().dict_for_output()
    return HEADER.format(name=name) + yaml.dump(document, Dumper=dumper, sort_keys=False)


def _hashed(place: Path, environment: str, virtual: str) -> tuple[LockSpecification, dict[str, str]]:
    """What conda-lock makes of the files that a lock is made from: its specification, and content hashes."""
    from conda_lock.content_hash import compute_content_hashes
    from conda_lock.src_parser import make_lock_spec
    from conda_lock.virtual_package import virtual_package_repo_from_specification

    logging.getLogger("conda_lock").setLevel(logging.ERROR)
    for name, text in (
        ("environment.yml", environment),
        ("virtual.yml", virtual),
        ("mapping.json", NO_MAPPING),
    ):
        (place / name).write_text(text, encoding="utf-8")
    spec = make_lock_spec(src_files=[place / "environment.yml"], mapping_url=str(place / "mapping.json"))
    return spec, compute_content_hashes(spec, virtual_package_repo_from_specification(place / "virtual.yml"))


def content_hash(environment: str, virtual: str) -> dict[str, str]:
    """The content hash that a lock made from these texts bears, by platform."""
    with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
        return _hashed(Path(folder), environment, virtual)[1]


def read_conda_lock(text: str, name: str) -> tuple[CondaLock, dict[str, str]]:
    """The conda packages of a conda-lock.yml and its content hashes. DriftError where it is not one."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(text, Loader=loader)  # noqa: S506  a safe loader
        if document["version"] != 1:
            raise ValueError(f"version {document['version']!r}")
        records = tuple(_record(item) for item in document["package"])
        hashes = {str(key): str(value) for key, value in document["metadata"]["content_hash"].items()}
        solver = str(document["metadata"].get("custom_metadata", {}).get("solver", ""))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        lines = [line for line in f"{type(error).__name__}: {error}".splitlines() if line.strip()]
        raise DriftError(f"`{name}` cannot be read", lines, hint="`cudaenv lock` makes it anew") from error
    return CondaLock(records, solver), hashes


def _record(item: Mapping[str, Any]) -> CondaRecord:
    """One package; what is no conda package has no record."""
    if item["manager"] != "conda":
        raise ValueError(f"`{item['name']}` is of {item['manager']}")
    url = str(item["url"])
    return record_of(
        {
            "name": item["name"],
            "version": item["version"],
            "build": item.get("build") or file_parts(url)[2],
            "subdir": url.rsplit("/", 2)[-2],
            "url": url,
            "md5": item["hash"].get("md5"),
            "sha256": item["hash"].get("sha256"),
            "requires": item.get("dependencies") or {},
        }
    )
