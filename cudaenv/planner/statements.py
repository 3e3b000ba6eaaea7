"""The user's statements one by one, so that one can be taken back and the rest planned again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from cudaenv.model.machine import Machine
from cudaenv.model.spec import CudaRequest, PackageRequest, Provider, Spec


@dataclass(frozen=True, slots=True)
class Statement:
    """Something the user said: its text, what it is about, and the spec without it.

    `subject` is `package`, `bound`, `python`, `cuda`, `variant`, `provider`, `driver`, `gpu` or `glibc`;
    `machine` is the name of the machine it is about.
    """

    text: str
    subject: str
    without: Callable[[Spec], Spec]
    machine: str = ""
    package: str = ""


def statements(spec: Spec, known: frozenset[str]) -> Iterator[Statement]:
    """All statements that can stand in the way of a plan; `known` are the packages the matrix knows."""
    for request in spec.packages:
        if request.name not in known or not (request.specifier or request.name != "torch"):
            continue
        text = f"`{request.requirement}`"
        if request.by:
            yield Statement(f"{text}, which {request.by} requires", "bound", _without_package(request))
        else:
            yield Statement(text, "package", _without_package(request), package=request.name)
    if spec.python is not None:
        yield Statement(f"python `{spec.python.text}`", "python", lambda other: replace(other, python=None))
    if not spec.cuda.is_any:
        yield Statement(
            f"cuda `{spec.cuda.text}`", "cuda", lambda other: replace(other, cuda=CudaRequest("any"))
        )
    for cuda in spec.variants:
        yield Statement(f"cuda `{cuda.text}`", "variant", _without_variant(cuda))
    if spec.provider is not Provider.AUTO:
        yield Statement(
            f"provider `{spec.provider}`",
            "provider",
            lambda other: replace(other, provider=Provider.AUTO),
        )
    for machine in spec.machines:
        yield from _of_machine(machine)


def _without_variant(request: CudaRequest) -> Callable[[Spec], Spec]:
    return lambda spec: replace(spec, variants=tuple(item for item in spec.variants if item != request))


def _without_package(request: PackageRequest) -> Callable[[Spec], Spec]:
    return lambda spec: replace(spec, packages=tuple(item for item in spec.packages if item != request))


def changed(name: str, change: Callable[[Machine], Machine]) -> Callable[[Spec], Spec]:
    """A change of one machine, as a change of the spec."""
    return lambda spec: replace(
        spec, machines=tuple(change(item) if item.name == name else item for item in spec.machines)
    )


def _of_machine(machine: Machine) -> Iterator[Statement]:
    name = machine.name
    for index, gpu in enumerate(machine.gpus or ()):
        text = f"{gpu.label} in `{name}`"
        yield Statement(text, "gpu", changed(name, _without_gpu(machine, index)), name)
    if machine.driver is not None:
        text = f"driver {machine.driver.value} on `{name}`"
        yield Statement(
            text, "driver", changed(name, lambda item: replace(item, driver=None, driver_api=None)), name
        )
    elif machine.driver_api is not None:
        text = f"driver API version {machine.driver_api.value} on `{name}`"
        yield Statement(text, "driver", changed(name, lambda item: replace(item, driver_api=None)), name)
    if machine.glibc is not None:
        yield Statement(
            f"glibc {machine.glibc.value} on `{name}`",
            "glibc",
            changed(name, lambda item: replace(item, glibc=None)),
            name,
        )


def _without_gpu(machine: Machine, index: int) -> Callable[[Machine], Machine]:
    """Take a GPU out by what it is, since positions move; the last one leaves the GPUs unknown."""
    gone = (machine.gpus or ())[index]

    def change(item: Machine) -> Machine:
        left = tuple(gpu for gpu in item.gpus or () if gpu != gone)
        return replace(item, gpus=left or None)

    return change
