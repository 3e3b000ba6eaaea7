"""What stands beside Dockerfiles: .dockerignore, devcontainer.json and compose.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cudaenv.model.plan import Environment, Plan
from cudaenv.render.container_files import DOCKER_PLATFORM, Surroundings, isolation
from cudaenv.render.values import NAME, checked, environment_file

DOCKERIGNORE: Final = ".dockerignore"
COMPOSE: Final = "compose.yaml"
APPTAINER: Final = "Apptainer.def"

DEVCONTAINERS: Final = re.compile(r"\.devcontainer/(?:[a-z0-9-]+/)?devcontainer\.json")
"""Where editors look for them: one, or one in a folder for each environment
(https://containers.dev/implementors/spec/#devcontainerjson)."""

IGNORED: Final[Sequence[str]] = (
    *(
        ".git",
        ".venv",
        "**/__pycache__",
        "**/.pytest_cache",
        "**/.mypy_cache",
        "**/.ruff_cache",
        "**/*.egg-info",
    ),
    *("wheelhouse", "**/.env", "**/.netrc", "**/.pypirc", "**/pip.conf"),
    *("Dockerfile*", ".dockerignore", ".devcontainer", "compose.yaml", "Apptainer*.def", "cudaenv.lock"),
)
"""Caches, what may hold credentials, and what would make a new image of every change of a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreView:
    """What .dockerignore is filled with."""

    patterns: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DevcontainerView:
    """What devcontainer.json is filled with, below its first lines: the document as JSON."""

    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A container of an environment."""

    name: str
    dockerfile: str
    image: str
    platform: str
    gpus: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeView:
    """What compose.yaml is filled with."""

    notes: list[str]
    services: list[ServiceView]


def ignore_view() -> IgnoreView:
    """What no image needs, and what none may hold."""
    return IgnoreView(patterns=list(IGNORED))


def devcontainer_name(plan: Plan, environment: Environment) -> str:
    """The name of an environment's devcontainer.json."""
    folder = f"{checked(NAME, environment.name, 'a name')}/" if plan.apart(environment) else ""
    return f".devcontainer/{folder}devcontainer.json"


def devcontainer_view(
    plan: Plan, environment: Environment, around: Surroundings, dockerfile: str
) -> DevcontainerView:
    """An editor's container: the image of the Dockerfile, the project in it, and a cache that outlives it."""
    up = "../" * devcontainer_name(plan, environment).count("/")
    document: dict[str, object] = {
        "name": f"cudaenv {checked(NAME, environment.name, 'a name')}",
        "build": {"dockerfile": f"{up}{dockerfile}", "context": up.rstrip("/")},
        "workspaceFolder": "/work",
        "workspaceMount": "source=${localWorkspaceFolder},target=/work,type=bind",
        "mounts": [f"source=cudaenv-{environment.name}-cache,target=/home/app/.cache,type=volume"],
        "remoteUser": "app",
        # Compiling needs no GPU, so an editor without one opens it all the same.
        "hostRequirements": {"gpu": "optional"},
    }
    if around.build_requires is not None:
        document["postCreateCommand"] = f"pip install --no-deps {isolation(around)}--editable ."
    return DevcontainerView(document=json.dumps(document, indent=2))


def compose_view(plan: Plan) -> ComposeView:
    """A service for each environment that has a Dockerfile, which pins the images."""
    services = [
        ServiceView(
            name=checked(NAME, environment.name, "a name of an environment"),
            dockerfile=environment_file(plan, environment, "Dockerfile"),
            image=f"cudaenv:{environment.name}",
            platform=DOCKER_PLATFORM[environment.platform],
            gpus=environment.cuda is not None,
        )
        for environment in plan.environments
        if environment.shape is not None
    ]
    notes = [f"  docker compose run --rm --build {service.name}" for service in services]
    return ComposeView(notes=notes, services=services)
