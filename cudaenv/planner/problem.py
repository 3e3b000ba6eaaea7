"""The problem: what is asked, and the matrix it is asked of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from cudaenv.matrix.matrix import Matrix
from cudaenv.matrix.packages import Module
from cudaenv.model.machine import Machine
from cudaenv.model.spec import PackageRequest, Provider, Spec, Target
from cudaenv.planner.compatibility import DriverFacts

TORCH = "torch"


@dataclass(frozen=True)
class Problem:
    """A spec, complete with its machines, and the matrix."""

    spec: Spec
    matrix: Matrix

    @cached_property
    def target(self) -> Target:
        """The target: the user's own, else the one of the matrix."""
        own = next((target for target in self.spec.targets if target.name == self.spec.target), None)
        return own or target_of(self.matrix, self.spec.target)

    @cached_property
    def requests(self) -> dict[str, list[PackageRequest]]:
        """The requests for packages that the matrix knows, by name, torch first; none for a default torch."""
        found: dict[str, list[PackageRequest]] = {TORCH: []} if self.needs_torch else {}
        for request in self.spec.packages:
            if self.is_known(request.name):
                found.setdefault(self.meant(request), []).append(request)
        return found

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """What has to be placed beside torch: a package each, or alternatives of which one is enough.

        Of alternatives those that the user names are taken.
        """
        asked = [name for name in self.requests if name != TORCH]
        of_target = []
        for group in self.target.packages:
            named = tuple(name for name in group if name in asked)
            if group != (TORCH,):
                of_target.append(named or group)
        taken = {name for group in of_target for name in group}
        return (*((name,) for name in asked if name not in taken), *of_target)

    @cached_property
    def clashes(self) -> tuple[Module, ...]:
        """The import packages that more than one of the packages asked for installs."""
        named = [(name,) for name in self.requests]
        of_target = [group for group in self.target.packages if not self.requests.keys() & set(group)]
        return tuple(
            row
            for row in self.matrix.tables.modules
            if sum(set(group) <= set(row.packages) for group in (*named, *of_target)) > 1
        )

    @cached_property
    def needs_torch(self) -> bool:
        """Whether torch is in the environment.

        It is, unless the user names packages with CUDA code none of which needs torch, and the target
        has no others.
        """
        # What is asked for on some platforms only does not make up an environment.
        named = [
            request.name
            for request in self.spec.packages
            if self.is_known(request.name) and request.marker is None
        ]
        others = [group for group in self.target.packages if group != (TORCH,)]
        return not named or bool(others) or any(self._is_bound(name) for name in named)

    def _is_bound(self, name: str) -> bool:
        if name == TORCH:
            return True
        package = self._package(name)
        rows, builds = self.matrix.releases(package), self.matrix.source_builds(package)
        return any(row.released_with or row.torch for row in rows) or any(
            build.torch or any(need.name == TORCH for need in build.requires) for build in builds
        )

    def _package(self, name: str) -> str:
        found = self.matrix.package_of(name)
        return found[0] if found else name

    def is_known(self, name: str) -> bool:
        """Whether the matrix says what a package needs, by wheels, builds or conda."""
        return self.matrix.package_of(name) is not None or name in self.conda_components

    @cached_property
    def conda_components(self) -> frozenset[str]:
        """Packages that only conda has: parts of CUDA by the names of its channels."""
        if self.spec.provider is not Provider.CONDA:
            return frozenset()
        return frozenset(
            row.package
            for row in self.matrix.tables.conda_builds
            if self.matrix.package_of(row.package) is None and row.package != "pytorch"
        )

    def meant(self, request: PackageRequest) -> str:
        """The package that a request means: of alternatives of the target the one that has its versions.

        Below 2.0 `mmcv` on PyPI is the package without operators; who asks for one of these with the
        operators means `mmcv-full`.
        """
        for group in self.target.packages:
            if request.name in group and not self._has_release(request.name, request):
                return next((name for name in group if self._has_release(name, request)), request.name)
        return request.name

    def _has_release(self, name: str, request: PackageRequest) -> bool:
        rows = self.matrix.tables.torch if name == TORCH else self.matrix.releases(name)
        return any(request.specifier.contains(row.version, prereleases=True) for row in rows)

    @cached_property
    def _drivers(self) -> dict[int, tuple[Machine, DriverFacts]]:
        return {}

    def driver(self, machine: Machine) -> DriverFacts:
        """What is known of a machine's driver."""
        # By the object, which is kept: hashing a machine takes longer than what is looked up.
        key = id(machine)
        if key not in self._drivers:
            self._drivers[key] = (machine, DriverFacts.of(machine, self.matrix))
        return self._drivers[key][1]

    def with_spec(self, spec: Spec) -> Problem:
        """The same question with another spec."""
        return replace(self, spec=spec)


def target_of(matrix: Matrix, name: str) -> Target:
    """A target of the matrix. In its cell `a|b` are alternatives; KeyError for an unknown one."""
    row = matrix.target(name)
    return Target(
        name=row.target,
        title=row.title,
        packages=tuple(tuple(word.split("|")) for word in row.packages),
        components=row.components,
        providers=tuple(Provider(word) for word in row.providers),
        why=row.why,
        origin=matrix.cite(row),
    )
