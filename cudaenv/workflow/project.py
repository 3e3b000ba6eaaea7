"""A project: its folder, its spec, the matrix and the machines that are planned for."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cudaenv.errors import SpecError
from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Fact, Machine, Platform
from cudaenv.model.spec import Spec
from cudaenv.model.spec_reader import Known, read_pyproject, read_spec
from cudaenv.system.files import data_folder, finish_moves, read_folder, read_if_there
from cudaenv.workflow.tables import load_matrix

SPEC_NAME = "cudaenv.toml"
PYPROJECT = "pyproject.toml"
STATED = "the spec"
RECORDED = "the lock"
COMMAND_LINE_MACHINE = "the machine"


def _silent(_: str) -> None:
    """Say nothing: the talk of whoever does not listen."""


@dataclass(frozen=True)
class Project:
    """A folder and all that a command needs to know of it.

    `options` are keys of a spec given on the command line for one run; `draft` is the text of a spec
    that is not written yet, to be used instead of the folder's; `talk` takes a line of progress.
    """

    folder: Path
    environ: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    draft: str | None = None
    talk: Callable[[str], None] = _silent

    @cached_property
    def matrix(self) -> Matrix:
        """The compatibility tables in force: see `table_texts`."""
        return load_matrix(self.environ, self.talk)

    @cached_property
    def machine(self) -> Machine:
        """What can be told of this machine."""
        from cudaenv.system.probe import detect

        return detect(self.environ, self.matrix.capability_of)

    def changed(self, *, options: Mapping[str, Any], draft: str | None = None) -> Project:
        """The project with other options, and a draft in place of its spec.

        The tables and this machine stay as they are, and are not read again.
        """
        other = replace(self, options=options, draft=draft)
        other.__dict__.update(
            {key: self.__dict__[key] for key in ("matrix", "machine") if key in self.__dict__}
        )
        return other

    @property
    def templates(self) -> dict[str, str]:
        """The texts of the shipped templates, by file name."""
        return {f"{name}.j2": text for name, text in read_folder(data_folder("templates"), ".j2").items()}

    def read(self, name: str) -> str | None:
        """The text of a file in the folder, after finishing what a killed run had begun."""
        finish_moves(self.folder)
        return read_if_there(self.folder / name)

    @cached_property
    def spec_name(self) -> str:
        """The file that holds the spec; empty where there is none."""
        if self.draft is not None or self.read(SPEC_NAME) is not None:
            return SPEC_NAME
        tools = self.toml(PYPROJECT).get("tool")
        return PYPROJECT if isinstance(tools, Mapping) and "cudaenv" in tools else ""

    @cached_property
    def spec(self) -> Spec:
        """The spec with the command line's options; an empty one where there is no file.

        Options that describe a machine replace the machines of the file for this run.
        """
        data = self.toml(self.spec_name) if self.spec_name else {}
        origin = " and ".join(
            filter(None, [self.spec_name, "the command line" if self.options or not self.spec_name else ""])
        )
        if self.spec_name == PYPROJECT:
            tool = data["tool"]
            merged = {**data, "tool": {**tool, "cudaenv": self._with_options(tool["cudaenv"])}}
            return read_pyproject(merged, origin, self.known)
        return read_spec(self._with_options(data), origin, self.known)

    @property
    def known(self) -> Known:
        """What a spec may name."""
        return Known(
            targets=self.matrix.target_names,
            components=self.matrix.component_names,
            indexes=self.matrix.index_names,
            channels=self.matrix.channel_names,
            find_gpu=self.matrix.find_gpu,
        )

    def _with_options(self, section: Any) -> Any:
        """A section under the options. What is not a table stays for the reader to refuse."""
        if not isinstance(section, Mapping):
            return section
        merged = {**section, **self.options}
        for key in ("packages", "indexes", "channels"):
            said = section.get(key)
            if said is not None:
                options = self.options.get(key, {})
                merged[key] = {**said, **options} if isinstance(said, Mapping) else said
        return merged

    def toml(self, name: str) -> dict[str, Any]:
        """A parsed TOML file of the folder, empty where there is none. SpecError where it is not TOML."""
        text = self.draft if self.draft is not None and name == SPEC_NAME else self.read(name)
        try:
            return tomllib.loads(text) if text is not None else {}
        except tomllib.TOMLDecodeError as error:
            raise SpecError(f"`{name}` is not valid TOML", [str(error)]) from error


def with_machines(project: Project, recorded: tuple[Machine, ...] | None = None) -> tuple[Spec, str]:
    """The spec with the machines to plan for, and where they are from.

    In this order: those that the spec states, those that a lock recorded, this machine. Of a machine
    without an NVIDIA driver and GPU only the platform is taken: nothing says that the environment is
    meant for it.
    """
    spec = project.spec
    if spec.machines:
        return spec, "the command line" if "machine" in project.options else STATED
    if recorded is not None:
        return replace(spec, machines=recorded), RECORDED
    machine = project.machine
    platform = machine.platform.value if machine.platform else Platform.LINUX_64
    if spec.platforms and platform not in spec.platforms:
        return spec, "nothing: no machine is stated"
    if platform is not Platform.OSX_ARM64 and not machine.gpus and machine.driver is None:
        unknown = Machine(name="any machine", platform=Fact(platform, "this machine"))
        machines = (unknown,) if not spec.platforms else ()
        return replace(spec, machines=machines), "nothing: no NVIDIA GPU was found here"
    return replace(spec, machines=(machine,)), "this machine"
