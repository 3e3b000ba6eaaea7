"""A machine as text: for people, as JSON, and as a table for `cudaenv.toml`."""

from __future__ import annotations

from typing import TypeVar

import tomli_w

from cudaenv.model.machine import Fact, Gpu, Machine

T = TypeVar("T")

WIDTH = 14


def machine_lines(machine: Machine) -> list[str]:
    """Return what is known of `machine` for people: a line a fact, with its origin."""
    rows = [
        ("name", machine.name),
        ("platform", _told(machine.platform)),
        ("OS", _told(machine.os)),
        ("glibc", _told(machine.glibc)),
        ("driver", _told(machine.driver)),
        ("driver API", _told(machine.driver_api)),
        *_gpu_rows(machine.gpus),
        *_compiling_rows(machine),
    ]
    if machine.uses_windows_driver and _is_linux(machine):
        rows.append(("WSL", "yes, with the driver of Windows"))
    if machine.is_jetson:
        rows.append(("Jetson", "yes"))
    if machine.count > 1:
        rows.append(("count", str(machine.count)))
    rows += [("note", note) for note in machine.notes]
    return [f"{label:<{WIDTH}}{text}" for label, text in rows]


def _compiling_rows(machine: Machine) -> list[tuple[str, str]]:
    """What there is to compile with; most machines need nothing of it."""
    rows = []
    if machine.toolkit is not None:
        rows.append(("toolkit", f"CUDA {_told(machine.toolkit)}"))
    if machine.gcc is not None:
        rows.append(("gcc", _told(machine.gcc)))
    return rows


def _told(fact: Fact[T] | None) -> str:
    return "unknown" if fact is None else f"{fact.value}  ({fact.origin})"


def _is_linux(machine: Machine) -> bool:
    return machine.platform is not None and machine.platform.value.is_linux


def _gpu_rows(gpus: tuple[Gpu, ...] | None) -> list[tuple[str, str]]:
    if not gpus:
        return [("GPU", "unknown" if gpus is None else "none")]
    return [("" if index else "GPU", _gpu_text(gpu)) for index, gpu in enumerate(gpus)]


def _gpu_text(gpu: Gpu) -> str:
    count = f"{gpu.count} x " if gpu.count > 1 else ""
    memory = f", {gpu.memory_mb} MB" if gpu.memory_mb is not None else ""
    mig = ", MIG" if gpu.mig else ""
    origin = f"  ({gpu.origin})" if gpu.origin else ""
    return f"{count}{gpu.name}, compute capability {gpu.capability}{memory}{mig}{origin}"


def machine_json(machine: Machine) -> dict[str, object]:
    """Return what is known of `machine` as JSON values; an unknown fact is null, no GPU an empty list."""
    return {
        "schema": 1,
        "name": machine.name,
        "platform": _fact_json(machine.platform),
        "os": _fact_json(machine.os),
        "glibc": _fact_json(machine.glibc),
        "driver": _fact_json(machine.driver),
        "driver_api": _fact_json(machine.driver_api),
        "toolkit": _fact_json(machine.toolkit),
        "gcc": _fact_json(machine.gcc),
        "gpus": None if machine.gpus is None else [_gpu_json(gpu) for gpu in machine.gpus],
        "uses_windows_driver": machine.uses_windows_driver,
        "is_jetson": machine.is_jetson,
        "count": machine.count,
        "notes": list(machine.notes),
    }


def _fact_json(fact: Fact[T] | None) -> dict[str, object] | None:
    return None if fact is None else {"value": str(fact.value), "origin": fact.origin}


def _gpu_json(gpu: Gpu) -> dict[str, object]:
    return {
        "value": {
            "name": gpu.name,
            "capability": str(gpu.capability),
            "memory_mb": gpu.memory_mb,
            "count": gpu.count,
            "mig": gpu.mig,
        },
        "origin": gpu.origin,
    }


def machine_toml(machine: Machine) -> str:
    """Return a `[[machine]]` table for `cudaenv.toml`; what is unknown is left out."""
    table: dict[str, object] = {"name": machine.name}
    if machine.gpus is not None:
        table["gpu"] = list(dict.fromkeys(gpu.name for gpu in machine.gpus))
    known = {
        "driver": machine.driver and str(machine.driver.value),
        "driver-api": machine.driver_api and str(machine.driver_api.value),
        "glibc": machine.glibc and str(machine.glibc.value),
        "platform": machine.platform and str(machine.platform.value),
        "toolkit": machine.toolkit and str(machine.toolkit.value),
        "gcc": machine.gcc and str(machine.gcc.value),
        "wsl": machine.uses_windows_driver and _is_linux(machine),
        "jetson": machine.is_jetson,
        "count": machine.count > 1 and machine.count,
    }
    table |= {key: value for key, value in known.items() if value}
    return "[[machine]]\n" + tomli_w.dumps(table)
