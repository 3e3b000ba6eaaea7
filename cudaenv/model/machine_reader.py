"""The machines that an environment must run on, `[[machine]]` of a spec, read strictly."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from cudaenv.model.documents import Section, member
from cudaenv.model.machine import Fact, Gpu, Machine, Platform
from cudaenv.model.versions import CudaVersion, DriverVersion, GlibcVersion, gcc_major

KEYS = (
    "name",
    "gpu",
    "driver",
    "driver-api",
    "glibc",
    "platform",
    "count",
    "wsl",
    "jetson",
    "os",
    "toolkit",
    "gcc",
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


def parse_platform(text: str) -> Platform:
    """Read a platform by conda's name, such as `linux-64`. ValueError names the nearest."""
    return member(Platform, "platform")(text)


def read_machines(
    section: Section, find_gpu: Callable[[str], Gpu], platforms: tuple[Platform, ...]
) -> tuple[Machine, ...]:
    """The machines of a spec; what is wrong with one is noted.

    `find_gpu` takes a product name or a compute capability and raises ValueError where there is no such GPU.
    Where the spec names `platforms`, machines of others are noted, too.
    """
    tables = section.read("machine", list, "[[machine]] tables") or []
    machines = []
    for index, table in enumerate(tables):
        if not isinstance(table, dict):
            section.problems.add(section.at("machine"), f"expected [[machine]] tables, got {table!r}")
        else:
            machines.append(
                _machine(Section(table, section.at(f"machine[{index}]"), section.problems), index, find_gpu)
            )
    for machine in machines:
        if platforms and machine.platform and machine.platform.value not in platforms:
            listed = ", ".join(platforms)
            section.problems.add(
                machine.platform.origin, f"`{machine.platform.value}` is not among `platforms` ({listed})"
            )
    names = [machine.name for machine in machines]
    for name in sorted({name for name in names if names.count(name) > 1}):
        section.problems.add(section.at("machine"), f"two machines are named `{name}`")
    return tuple(machines)


def _machine(section: Section, index: int, find_gpu: Callable[[str], Gpu]) -> Machine:
    section.only(*KEYS)
    name = section.text("name") or f"machine-{index + 1}"
    if not NAME.fullmatch(name):
        section.problems.add(section.at("name"), f"not a name: {name!r} (letters, digits, ` ._-`)")
    count = section.read("count", int, "a number")
    if count is None:
        count = 1
    if count < 1:
        section.problems.add(section.at("count"), f"expected a number of machines, got {count}")
    os_name = section.text("os")

    def fact(key: str, parse: Callable[[str], Any]) -> Fact[Any] | None:
        value = section.parsed(key, parse)
        return None if value is None else Fact(value, section.at(key))

    gpus = _gpus(section, find_gpu)
    implied = next((Fact(gpu.platform, section.at("gpu")) for gpu in gpus or () if gpu.platform), None)
    return Machine(
        name=name,
        platform=fact("platform", parse_platform) or implied,
        gpus=gpus,
        driver=fact("driver", DriverVersion.parse),
        driver_api=fact("driver-api", CudaVersion.parse_driver_api),
        glibc=fact("glibc", GlibcVersion.parse),
        os=Fact(os_name, section.at("os")) if os_name else None,
        toolkit=fact("toolkit", CudaVersion.parse),
        gcc=fact("gcc", gcc_major),
        uses_windows_driver=section.read("wsl", bool, "true or false") or False,
        is_jetson=section.read("jetson", bool, "true or false") or False,
        count=count,
    )


def _gpus(section: Section, find_gpu: Callable[[str], Gpu]) -> tuple[Gpu, ...] | None:
    names = section.texts("gpu")
    if names is None:
        return None
    if tuple(name.lower() for name in names) == ("none",):
        return ()
    found = (section.attempt("gpu", name, find_gpu) for name in names)
    return tuple(gpu for gpu in found if gpu is not None)
