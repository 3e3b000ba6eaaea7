"""cudaenv.lock: the plan, the machines and rows it rests on, and the sha256 of every file beside it.

JSON with keys in a fixed order; no time, no host name, no path, so equal inputs give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cudaenv.errors import SpecError
from cudaenv.model.images import DIGEST, Digests, ImageReference
from cudaenv.model.machine import Machine, Platform
from cudaenv.model.plan import Plan
from cudaenv.model.plan_json import environment_json
from cudaenv.model.spec import Spec
from cudaenv.model.spec_json import machine_facts, planning_machine, spec_json

NAME = "cudaenv.lock"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDocument:
    """What cudaenv.lock says, as plain data.

    `machines_from` tells where the machines came from; `brought_in` are packages of torch's family
    that no one asked for but other packages depend on, `bounds` what other packages require of planned
    ones, as `NAME VERSION: REQUIREMENT`. `images` are digests of container images by their references and
    platforms; those whose registry did not answer are not among them.
    """

    spec: Mapping[str, Any]
    machines: tuple[Mapping[str, Any], ...]
    machines_from: str
    environments: tuple[Mapping[str, Any], ...]
    assumptions: tuple[str, ...]
    brought_in: tuple[str, ...]
    bounds: tuple[str, ...]
    images: Digests
    rows: Mapping[str, str]
    solver: Mapping[str, str]
    files: Mapping[str, str]

    def text(self) -> str:
        """The text of the file."""
        document = {
            "lock-version": VERSION,
            "spec": self.spec,
            "machines-from": self.machines_from,
            "machines": list(self.machines),
            "assumptions": list(self.assumptions),
            "brought-in": list(self.brought_in),
            "bounds": list(self.bounds),
            "environments": list(self.environments),
            "images": _images_json(self.images),
            "matrix": dict(sorted(self.rows.items())),
            "solver": dict(self.solver),
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def apart(self, environment: Mapping[str, Any]) -> str:
        """What tells an environment from others: its name, or nothing where it is the only one."""
        return str(environment["name"]) if len(self.environments) > 1 else ""

    def planned_machines(self) -> tuple[Machine, ...]:
        """The machines it was planned for. SpecError where they cannot be read."""
        try:
            return tuple(planning_machine(dict(item), NAME) for item in self.machines)
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(f"`{NAME}` cannot be read", [f"machines: {error}"], HINT) from error


HINT = "Put it right, or make it anew with `cudaenv lock --upgrade`"


def make_document(
    plan: Plan,
    spec: Spec,
    *,
    machines_from: str,
    brought_in: tuple[str, ...],
    bounds: tuple[str, ...],
    images: Digests,
    solver: Mapping[str, str],
    files: Mapping[str, str],
) -> LockDocument:
    """Describe a plan and its files; `files` are texts by name."""
    rows = {name: digest for environment in plan.environments for name, digest in environment.rows}
    return LockDocument(
        spec=spec_json(spec),
        machines=tuple(machine_facts(machine) for machine in spec.machines),
        machines_from=machines_from,
        environments=tuple(environment_json(environment) for environment in plan.environments),
        assumptions=plan.assumptions,
        brought_in=brought_in,
        bounds=bounds,
        images=images,
        rows=rows,
        solver=solver,
        files={name: digest(text) for name, text in files.items()},
    )


def _images_json(images: Digests) -> dict[str, dict[str, str]]:
    """Digests by platform, by reference."""
    found: dict[str, dict[str, str]] = {}
    for (reference, platform), value in sorted(images.items()):
        found.setdefault(reference, {})[platform.value] = value
    return found


def _digests(data: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, Platform], str]:
    """Read digests of images; ValueError for what is none."""
    found = {
        (str(ImageReference.parse(name)), Platform(platform)): str(value)
        for name, digests in data.items()
        for platform, value in digests.items()
    }
    for value in found.values():
        if not DIGEST.fullmatch(value):
            raise ValueError(f"not a digest: {value!r}")
    return found


def digest(text: str) -> str:
    """The sha256 of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_document(text: str) -> LockDocument:
    """Read a cudaenv.lock. SpecError where it is not one, or of a version this program does not know."""
    try:
        data = json.loads(text)
        if data["lock-version"] != VERSION:
            raise SpecError(
                f"`{NAME}` is of version {data['lock-version']}, and this cudaenv reads version {VERSION}",
                hint="Use the cudaenv that made it, or lock anew",
            )
        return LockDocument(
            spec=dict(data["spec"]),
            machines=tuple(dict(item) for item in data["machines"]),
            machines_from=str(data["machines-from"]),
            environments=tuple(dict(item) for item in data["environments"]),
            assumptions=tuple(data["assumptions"]),
            brought_in=tuple(str(name) for name in data["brought-in"]),
            bounds=tuple(str(text) for text in data.get("bounds", [])),
            images=_digests(data.get("images", {})),
            rows=dict(data["matrix"]),
            solver=dict(data["solver"]),
            files={str(name): str(value) for name, value in data["files"].items()},
        )
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(f"`{NAME}` cannot be read", [f"{type(error).__name__}: {error}"], HINT) from error
