"""An image that stands in for those that no registry gives here: this machine's release with a Python."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support import python_archive
from tests.support.debian import CERTIFICATES, codename, debootstrap, run

PACKAGES = ("ca-certificates", "python3", "python3-venv", "python3-pip", "libpython3-dev")

# Python's images have a `python` to install anything for, and its headers; the one that uv fetches from afar
# lies here. The certificates are this machine's, for whoever has an authority of its own.
DOCKERFILE = f"""\
FROM scratch
ADD base.tar /
COPY ca-certificates.crt {CERTIFICATES}
COPY python_archive.py /opt/pythons/
RUN ln -s /usr/bin/python3 /usr/local/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED \\
    && python /opt/pythons/python_archive.py
ENV PIP_CERT={CERTIFICATES} SSL_CERT_FILE={CERTIFICATES} UV_PYTHON_DOWNLOADS_JSON_URL={python_archive.LIST}
"""


@dataclass(frozen=True)
class StandIn:
    """A folder that any engine builds the image of, and the version of its Python."""

    context: Path
    python: str


def make_stand_in(folder: Path) -> StandIn:
    """Make what the image is built of from nothing."""
    root, context = folder / "root", folder / "stand-in"
    context.mkdir()
    debootstrap(codename(), root, PACKAGES)
    for sources in ("sources.list", "sources.list.d"):
        _copy(Path("/etc/apt") / sources, root / "etc/apt" / sources)
    _copy(Path(CERTIFICATES), context / "ca-certificates.crt")
    _copy(Path(python_archive.__file__), context / "python_archive.py")
    python = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    # Engines bring the devices, and who is not root could not make them.
    run(["tar", "-C", root, "--exclude=./dev/*", "-cf", context / "base.tar", "."])
    shutil.rmtree(root)
    (context / "Dockerfile").write_text(DOCKERFILE)
    return StandIn(context, python)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy(source, target)
