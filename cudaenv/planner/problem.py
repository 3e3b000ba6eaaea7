"""The problem: what is asked, and the matrix it is asked of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Machine
from cudaenv.model.spec import PackageRequest, Spec
from cudaenv.planner.compatibility import DriverFacts


@dataclass(frozen=True)
class Problem:
    """A spec, complete with its machines, and the matrix."""

    spec: Spec
    matrix: Matrix

    @cached_property
    def requests(self) -> dict[str, list[PackageRequest]]:
        """The requests for packages that the matrix knows, by name; the target's packages among them."""
        names = [*self.matrix.target(self.spec.target).packages]
        names += [request.name for request in self.spec.packages]
        known = [name for name in dict.fromkeys(names) if name == "torch" or self.matrix.companions(name)]
        return {name: [item for item in self.spec.packages if item.name == name] for name in known}

    @cached_property
    def _drivers(self) -> dict[tuple[object, ...], DriverFacts]:
        return {}

    def driver(self, machine: Machine) -> DriverFacts:
        """What is known of a machine's driver."""
        key = (machine.driver, machine.driver_api, machine.platform, machine.uses_windows_driver)
        if key not in self._drivers:
            self._drivers[key] = DriverFacts.of(machine, self.matrix)
        return self._drivers[key]

    def with_spec(self, spec: Spec) -> Problem:
        """The same question with another spec."""
        return replace(self, spec=spec)
