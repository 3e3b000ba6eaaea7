"""A spec and its machines as plain data, for a lock to record and compare."""

from __future__ import annotations

from typing import Any

from cudaenv.model.machine import Fact, Gpu, Machine, Platform
from cudaenv.model.spec import Spec
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion, GlibcVersion, gcc_major


def spec_json(spec: Spec) -> dict[str, Any]:
    """What the spec says; its machines are recorded apart. Order of the user's keys does not show.

    Mirrors are left out: they decide where files are fetched from, and not which ones are locked.
    """
    return {
        "target": spec.target,
        "python": spec.python.text if spec.python else None,
        "platforms": sorted(str(platform) for platform in spec.platforms),
        "provider": str(spec.provider),
        "cuda": [request.text for request in spec.variants] or spec.cuda.text,
        "packages": sorted(package.requirement for package in spec.packages),
        "indexes": {name: url for name, url in spec.indexes.items() if name == "default"},
    }


def machine_facts(machine: Machine) -> dict[str, Any]:
    """What the planner knows of a machine, without origins; `planning_machine` reads it again."""
    return {
        "name": machine.name,
        "platform": _text(machine.platform),
        "gpus": None
        if machine.gpus is None
        else [{"name": gpu.name, "capability": str(gpu.capability)} for gpu in machine.gpus],
        "driver": _text(machine.driver),
        "driver-api": _text(machine.driver_api),
        "glibc": _text(machine.glibc),
        "toolkit": _text(machine.toolkit),
        "gcc": _text(machine.gcc),
        "windows-driver": machine.uses_windows_driver,
        "jetson": machine.is_jetson,
    }


def _text(fact: Fact[Any] | None) -> str | None:
    return None if fact is None else str(fact.value)


def planning_machine(data: dict[str, Any], origin: str) -> Machine:
    """The machine that `machine_facts` recorded. KeyError, TypeError or ValueError for anything else."""

    def fact(key: str, parse: Any) -> Any:
        return None if data[key] is None else Fact(parse(data[key]), origin)

    gpus = data["gpus"]
    return Machine(
        name=str(data["name"]),
        platform=fact("platform", Platform),
        gpus=None
        if gpus is None
        else tuple(
            Gpu(name=str(gpu["name"]), capability=ComputeCapability.parse(gpu["capability"])) for gpu in gpus
        ),
        driver=fact("driver", DriverVersion.parse),
        driver_api=fact("driver-api", CudaVersion.parse),
        glibc=fact("glibc", GlibcVersion.parse),
        toolkit=fact("toolkit", CudaVersion.parse),
        gcc=fact("gcc", gcc_major),
        uses_windows_driver=bool(data["windows-driver"]),
        is_jetson=bool(data["jetson"]),
    )
