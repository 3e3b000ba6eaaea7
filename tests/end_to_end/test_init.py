"""`cudaenv init`: the first spec, from options or from answers on a terminal."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator

import pytest

from tests.support.project import LOCK_FILES, PYTHON, Project, without_gpu

MACHINE = ("--gpu", "RTX 4090", "--driver", "595.71.05", "--platform", "linux-64")
FILES = LOCK_FILES | {"cudaenv.toml"}
PYPROJECT = """\
[project]
name = "mine"
version = "1"
dependencies = ["torch>=2.8", "numpy[typing]<3 ; sys_platform != 'win32'", "filelock"]
"""


def indexes(project: Project) -> tuple[str, ...]:
    """The options that lead to the project's server."""
    return tuple(part for name, url in project.indexes.items() for part in ("--index", f"{name}={url}"))


def spec(project: Project) -> dict[str, object]:
    """What the spec says."""
    return tomllib.loads(project.text("cudaenv.toml"))


def everything(project: Project) -> set[str]:
    """The names of all files in the folder."""
    return {path.name for path in project.folder.iterdir()}


def test_an_empty_folder_gets_a_spec_and_a_lock(project: Project) -> None:
    done = project.run("init", "--target", "run-only", *MACHINE, *indexes(project))
    assert everything(project) == FILES
    assert project.pins()["torch"] == "2.15.0"
    assert spec(project) == {
        "target": "run-only",
        "python": PYTHON,
        "platforms": ["linux-64"],
        "packages": {"torch": "*"},
        "machine": [{"name": "the machine", "gpu": ["RTX 4090"], "driver": "595.71.05"}],
        "indexes": project.indexes,
    }
    assert project.run("check").out == "up to date\n"
    for part in (
        "torch 2.15.0+cu132",
        "RTX 4090",
        "595.71.05",
        "wheels",
        "GB to download",
        "next: cudaenv sync",
    ):
        assert part in done.out
    assert set(re.findall(r"^  (\S+)$", done.out, re.MULTILINE)) >= FILES


def test_the_spec_has_comments_that_say_why(project: Project) -> None:
    project.run("init", *MACHINE, *indexes(project))
    line = next(line for line in project.text("cudaenv.toml").splitlines() if line.startswith("python = "))
    assert f'python = "{PYTHON}"  # the one that ran `cudaenv init`' in line


def test_a_python_that_was_asked_for_is_written_down(project: Project) -> None:
    project.run("init", *MACHINE, *indexes(project), "--python", ">=3.11,<3.13", "--no-lock")
    assert spec(project)["python"] == "3.12"
    assert 'python = "3.12"' in project.text("cudaenv.toml")


def test_every_option_ends_in_the_spec(project: Project) -> None:
    options = (
        "--cuda",
        ">=12,<13",
        "--glibc",
        "2.31",
        "-p",
        "torch>=2.8",
        "-p",
        "numpy",
        "--provider",
        "pip",
    )
    project.run(
        "init", "--gpu", "H100", "--gpu", "8.0", "--driver", "535.183.06", *options, *indexes(project)
    )
    found = spec(project)
    assert (found["cuda"], found["provider"]) == (">=12,<13", "pip")
    assert found["packages"] == {"torch": ">=2.8", "numpy": "*"}
    assert found["machine"] == [
        {"name": "the machine", "gpu": ["H100", "8.0"], "driver": "535.183.06", "glibc": "2.31"}
    ]
    assert project.pins()["torch"] == "2.14.1+cu126"


def test_without_lock_only_the_readable_files_are_written(project: Project) -> None:
    done = project.run("init", "--no-lock", *MACHINE, *indexes(project))
    readable = {".dockerignore", "requirements.txt", "Dockerfile", "pyproject.cudaenv.toml"}
    assert everything(project) == {"cudaenv.toml", *readable}
    assert "next: cudaenv lock" in done.out
    assert project.server.requests == []
    project.run("lock")
    assert everything(project) == FILES


def test_a_spec_that_is_there_is_not_replaced_without_force(project: Project) -> None:
    (project.folder / "cudaenv.toml").write_text('python = "3.11"  # mine\n')
    done = project.run("init", *MACHINE, *indexes(project), status=2)
    assert "there is a spec already: `cudaenv.toml`" in done.err
    assert project.text("cudaenv.toml") == 'python = "3.11"  # mine\n'
    project.run("init", "--force", *MACHINE, *indexes(project))
    assert "mine" not in project.text("cudaenv.toml")
    assert everything(project) == FILES


def test_a_spec_in_pyproject_is_a_spec_too(project: Project) -> None:
    (project.folder / "pyproject.toml").write_text("[tool.cudaenv]\n")
    done = project.run("init", *MACHINE, status=2)
    assert "there is a spec already: `pyproject.toml`" in done.err


def test_the_dependencies_of_a_pyproject_are_taken_over_and_it_is_not_edited(project: Project) -> None:
    (project.folder / "pyproject.toml").write_text(PYPROJECT)
    project.run("init", *MACHINE, *indexes(project))
    assert project.text("pyproject.toml") == PYPROJECT
    packages = spec(project)["packages"]
    assert isinstance(packages, dict)
    assert packages["torch"] == ">=2.8"
    assert packages["filelock"] == "*"
    assert project.pins()["filelock"] == "3.20.0"


def test_a_package_given_as_option_stands_beside_those_of_the_project(project: Project) -> None:
    (project.folder / "pyproject.toml").write_text(PYPROJECT)
    project.run("init", "--no-lock", *MACHINE, "-p", "torch==2.14.1", "-p", "einops")
    packages = spec(project)["packages"]
    assert isinstance(packages, dict)
    assert (packages["torch"], packages["einops"], packages["filelock"]) == ("==2.14.1", "*", "*")


def test_nothing_is_written_where_locking_fails(project: Project) -> None:
    project.server.fail("/simple/torch/", 500)
    project.run("init", *MACHINE, *indexes(project), status=6)
    assert everything(project) == set()


def test_nothing_is_written_where_there_is_no_plan(project: Project) -> None:
    done = project.run("init", "--gpu", "RTX 4090", "--driver", "340.108", *indexes(project), status=3)
    assert "340.108" in done.err
    assert "hint:" in done.err
    assert everything(project) == set()


def test_a_file_of_somebody_else_is_kept_and_nothing_is_written(project: Project) -> None:
    (project.folder / "Dockerfile").write_text("FROM mine\n")
    done = project.run("init", *MACHINE, *indexes(project), status=2)
    assert "`Dockerfile` would be overwritten" in done.err
    assert everything(project) == {"Dockerfile"}


def test_all_wrong_options_are_named_at_once(project: Project) -> None:
    done = project.run(
        "init", "--gpu", "RTX 4091", "--driver", "five", "--platform", "linux", "--target", "run", status=2
    )
    for part in ("RTX 4091", "RTX 4090", "five", "`linux`", "linux-64", "run-only"):
        assert part in done.err, part
    assert "has 4 problems" in done.err
    assert everything(project) == set()


def test_an_index_that_is_no_name_and_url_is_an_error(project: Project) -> None:
    assert "NAME=URL" in project.run("init", *MACHINE, "--index", "https://mirror", status=2).err
    done = project.run("init", *MACHINE, "--index", "pytroch=https://mirror.example/whl", status=2)
    assert "pytroch" in done.err
    assert "pytorch" in done.err


class Terminal:
    """A program on a pseudo-terminal: what it prints is read, and lines are typed."""

    def __init__(self, project: Project, *arguments: str) -> None:
        import pty

        self.master, terminal = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            project.command(*arguments),
            env={**project.env(), "TERM": "dumb"},
            cwd=project.folder,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def until(self, text: str, timeout_s: float = 30) -> str:
        """Read until a text is shown, and return what was shown since the last one."""
        before = len(self.shown)
        deadline = time.monotonic() + timeout_s
        while text not in self.shown[before:]:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), f"ended without {text!r}: {self.shown}"
        return self.shown[before:]

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self.master, f"{line}\n".encode())

    def end(self) -> int:
        """Read all that is left, and return the exit status."""
        while self._read():
            pass
        return self.process.wait(timeout=30)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.master], [], [], 30)
        try:
            data = os.read(self.master, 65536) if ready else b""
        except OSError:  # Linux: the other side is closed
            data = b""
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


on_a_terminal = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")


@pytest.fixture
def terminal(project: Project) -> Iterator[Terminal]:
    opened = Terminal(project, "init", *indexes(project))
    yield opened
    opened.close()


@on_a_terminal
@without_gpu
def test_on_a_terminal_it_asks_and_asks_again_for_what_it_does_not_know(
    project: Project, terminal: Terminal
) -> None:
    terminal.until("What is it for?")
    terminal.type("")
    terminal.until("Which GPU must it run on?")
    terminal.type("RTX 4091")
    again = terminal.until("Which GPU must it run on?")
    assert "Error: " in again
    assert "RTX 4090" in again, "the nearest name"
    terminal.type("Tesla V100")
    terminal.until("Which NVIDIA driver is there?")
    terminal.type("five")
    assert "Error: " in terminal.until("Which NVIDIA driver is there?")
    terminal.type("580.95.05")
    terminal.until("Which Python?")
    terminal.type("")
    assert terminal.end() == 0, terminal.shown
    assert "next: cudaenv sync" in terminal.shown
    assert everything(project) == FILES
    assert project.pins()["torch"] == "2.14.1+cu126"
    assert spec(project)["python"] == PYTHON


def press_ctrl_c(terminal: Terminal) -> None:
    """Interrupt as a person does, who presses again where nothing happens.

    A signal between the prompt and the moment in which readline begins to wait is noticed at the next
    key only; that is CPython's own affair.
    """
    for _ in range(10):
        os.killpg(terminal.process.pid, signal.SIGINT)
        try:
            terminal.process.wait(2)
        except subprocess.TimeoutExpired:
            continue
        return


@on_a_terminal
@without_gpu
@pytest.mark.parametrize("questions", [1, 2, 3])
def test_ctrl_c_at_any_question_leaves_no_files(project: Project, terminal: Terminal, questions: int) -> None:
    answers = [("What is it for?", ""), ("Which GPU", "RTX 4090"), ("Which NVIDIA driver", "")]
    for question, answer in answers[: questions - 1]:
        terminal.until(question)
        terminal.type(answer)
    terminal.until(answers[questions - 1][0])
    press_ctrl_c(terminal)
    assert terminal.end() == 130, terminal.shown
    assert "interrupted" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert everything(project) == set()


@on_a_terminal
def test_on_a_terminal_it_asks_nothing_that_options_say(project: Project) -> None:
    arguments = ("init", "--target", "run-only", *MACHINE, "--python", PYTHON, *indexes(project))
    terminal = Terminal(project, *arguments)
    try:
        assert terminal.end() == 0, terminal.shown
    finally:
        terminal.close()
    assert "?" not in terminal.shown.split("torch", maxsplit=1)[0]
    assert everything(project) == FILES


@on_a_terminal
@without_gpu
def test_with_yes_nothing_is_asked_on_a_terminal(project: Project) -> None:
    terminal = Terminal(project, "init", "--yes", "--no-lock", *indexes(project))
    try:
        assert terminal.end() == 0, terminal.shown
    finally:
        terminal.close()
    assert "# [[machine]]" in project.text("cudaenv.toml"), "no GPU was found, and nobody asked"
