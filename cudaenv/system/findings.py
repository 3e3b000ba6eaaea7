"""What one source of facts found about the NVIDIA side of a machine, and how sources are combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cudaenv.model.machine import Fact, Gpu
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion

CapabilityOf = Callable[[str], ComputeCapability | None]
"""The matrix's look-up of a product name; None for a name that it does not know."""

Raw = TypeVar("Raw")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one source says. None means that it could not tell; `gpus` holds each GPU on its own."""

    driver: Fact[DriverVersion] | None = None
    driver_api: Fact[CudaVersion] | None = None
    gpus: tuple[Gpu, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether another source could add nothing."""
        return self.driver is not None and self.driver_api is not None and self.gpus is not None

    def or_else(self, other: Findings) -> Findings:
        """These findings, with what they lack taken from `other`.

        Two sources that fail mostly fail for one cause, so only the first one's notes are kept.
        """
        return Findings(
            driver=self.driver or other.driver,
            driver_api=self.driver_api or other.driver_api,
            gpus=other.gpus if self.gpus is None else self.gpus,
            notes=self.notes or other.notes,
        )


def fact_of(parse: Callable[[Raw], T], raw: Raw | None, origin: str) -> Fact[T] | None:
    """Return `raw` as a fact; None if there is nothing, or nothing plausible."""
    if raw is None:
        return None
    try:
        return Fact(parse(raw), origin)
    except ValueError:
        return None


def gpu_of(
    name: str | None,
    capability: ComputeCapability | None,
    *,
    memory_mb: int | None,
    mig: bool,
    origin: str,
    capability_of: CapabilityOf,
) -> Gpu | None:
    """Return one GPU; without a compute capability it is looked up by name, None if that fails too."""
    # A query that failed quietly leaves 0.0 behind.
    if capability is not None and capability.major == 0:
        capability = None
    if capability is None and name is not None:
        capability = capability_of(name)
        origin += ", compute capability by name"
    if capability is None:
        return None
    return Gpu(
        name=name or str(capability), capability=capability, memory_mb=memory_mb, mig=mig, origin=origin
    )


def grouped(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return the kinds of GPU with their counts, in the order in which each first appears."""
    counts: dict[Gpu, int] = {}
    for gpu in gpus:
        counts[gpu] = counts.get(gpu, 0) + 1
    return tuple(replace(gpu, count=count) for gpu, count in counts.items())
