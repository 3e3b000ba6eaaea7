"""Runs a case through the command line: plan, explain, render, and lock where the case is about locking."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import tomli_w

from cudaenv.cli.main import run
from tests.cases.case import Case
from tests.cases.outcome import Outcome
from tests.cases.translate import spec_document
from tests.cases.wheels import mirrors, write_indexes
from tests.support.channel import Channels
from tests.support.channel_server import ChannelServer
from tests.support.conda_project import NAMES
from tests.support.index import IndexServer, World
from tests.support.project import SPEC, Done, Project, make_project

PLANS = (("plan", "--json"), ("plan",), ("plan", "--explain"))


@dataclass
class _Commands:
    """Runs commands in a project's folder and environment, in this process, and keeps what they did."""

    project: Project
    cache: Path
    statuses: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def run(self, *arguments: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        environ = self.project.env({"CUDAENV_CACHE_DIR": str(self.cache)})
        with (
            mock.patch.dict(os.environ, environ, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = run([arguments[0], "--project", str(self.project.folder), *arguments[1:]])
        self.statuses[" ".join(arguments)] = status
        self.said.append(err.getvalue())
        return Done(status, out.getvalue(), err.getvalue())


def run_case(
    case: Case, folder: Path, cache: Path, channels: Channels, *, pin_python: bool = False
) -> Outcome:
    """Run a case in an empty folder. `cache` is for what is the same in all runs: the compiled tables."""
    world = World(folder / "world", {})
    world.folder.mkdir(parents=True)
    with IndexServer(world.folder) as server, ChannelServer(channels) as conda:
        project = make_project(folder, world, server)
        document = spec_document(case, pin_python=pin_python)
        if case.mode == "lock":
            document["indexes"] = mirrors(server.url)
            document["channels"] = {name: f"{conda.url}/{name}" for name in NAMES}
        (project.folder / SPEC).write_text(tomli_w.dumps(document), encoding="utf-8")
        return _outcome(case, _Commands(project, cache))


def _outcome(case: Case, commands: _Commands) -> Outcome:
    plan = None
    for arguments in PLANS:
        done = commands.run(*arguments)
        if "--json" in arguments:
            plan = _json(done.out)
        else:
            commands.said.append(done.out)
    if plan and plan["environments"]:
        commands.run("render")
        if case.mode == "lock":
            write_indexes(commands.project.world.folder, plan)
            commands.run("lock")
    return Outcome(
        mode=case.mode,
        statuses=commands.statuses,
        plan=plan,
        said="\n".join(commands.said),
        files=dict(_texts(commands.project)),
    )


def _json(text: str) -> Mapping[str, Any] | None:
    return json.loads(text) if text.strip() else None


def _texts(project: Project) -> Iterator[tuple[str, str]]:
    for name, content in project.files().items():
        yield name, content.decode()
