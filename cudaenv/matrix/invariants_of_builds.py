"""What must hold in the tables of what is compiled: products, toolkits, images, conda builds, failures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from cudaenv.matrix.load import Tables
from cudaenv.model.documents import Problems
from cudaenv.model.versions import CudaVersion


def _gpus(tables: Tables, problems: Problems) -> None:
    known = {row.sm for row in tables.architectures}
    for row in tables.gpus:
        if row.capability not in known:
            problems.add(
                f"gpus {row.product}", f"compute capability {row.capability} is not in architectures"
            )


def _toolkit_releases(tables: Tables, problems: Problems) -> None:
    lines = {row.cuda for row in tables.toolkits}
    for row in tables.toolkit_releases:
        where = f"toolkit-releases {row.key}"
        if row.cuda not in lines:
            problems.add(where, f"CUDA {row.cuda} has no row in toolkits")
        if row.version.release[:2] != (row.cuda.major, row.cuda.minor):
            problems.add(where, f"its version is not one of CUDA {row.cuda}")


def _images(tables: Tables, problems: Problems) -> None:
    systems = {row.os for row in tables.systems}
    lines = {line.cuda for line in tables.cuda}
    for row in tables.images:
        if row.os not in systems:
            problems.add(f"images {row.key}", f"`{row.os}` has no row in systems")
        for cuda in (row.cuda, row.require_cuda):
            if cuda is not None and cuda not in lines:
                problems.add(f"images {row.key}", f"CUDA {cuda} has no row in cuda")


def _failures(tables: Tables, problems: Problems) -> None:
    """What is searched for in logs is a regular expression, and does not find every line."""
    for row in tables.build_failures:
        try:
            if re.search(row.log, ""):
                problems.add(f"build-failures {row.key}", f"`{row.log}` is found in an empty line")
        except re.error as error:
            problems.add(f"build-failures {row.key}", f"not a regular expression: {error}")


def _conda(tables: Tables, problems: Problems) -> None:
    toolkits = {toolkit.cuda: set(toolkit.sms) for toolkit in tables.toolkits}
    for row in tables.conda_builds:
        where = f"conda-builds {row.key}"
        if row.variant in {"", "cpu"}:
            if row.sms or row.ptx:
                problems.add(where, "a CPU build has no SM list")
            continue
        try:
            cuda = CudaVersion.from_variant(row.variant)
        except ValueError as error:
            problems.add(where, str(error))
            continue
        for sm in sorted({*row.sms, *row.ptx} - toolkits.get(cuda, {*row.sms, *row.ptx})):
            problems.add(where, f"the toolkit {cuda} cannot have compiled {sm}")


OF_BUILDS: Final[Iterable[Callable[[Tables, Problems], None]]] = (
    _gpus,
    _toolkit_releases,
    _images,
    _conda,
    _failures,
)
