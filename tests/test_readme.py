"""README stays true: what it shows is what the program prints, and what it names exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cudaenv.cli.main import COMMANDS
from cudaenv.model.machine_reader import KEYS as MACHINE_KEYS
from cudaenv.model.spec_reader import KEYS, read_spec
from cudaenv.model.target_reader import KEYS as TARGET_KEYS
from cudaenv.workflow.project import Project

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```console\n\$ ([^\n]+)\n(.*?)```", README, flags=re.DOTALL)
SPEC = re.search(r"```toml\n(.*?)```", README, flags=re.DOTALL)


def matches(shown: str, printed: str) -> bool:
    """Whether printed lines are those shown, where a line `...` stands for any lines."""
    pattern = "".join("(?:.*\n)*" if line == "..." else re.escape(line) + "\n" for line in shown.splitlines())
    return re.fullmatch(pattern, printed if printed.endswith("\n") else printed + "\n") is not None


def test_there_is_something_to_check() -> None:
    assert len(SHOWN) >= 2
    assert SPEC is not None


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=[command for command, _ in SHOWN])
def test_a_command_prints_what_is_shown(command: str, shown: str, tmp_path: Path) -> None:
    name, *arguments = shlex.split(command)
    assert name == "cudaenv"
    done = subprocess.run(
        [sys.executable, "-m", "cudaenv", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert matches(shown, done.stdout), done.stdout


def test_the_spec_shown_is_read_and_shows_every_key() -> None:
    assert SPEC is not None
    data = tomllib.loads(SPEC[1])
    spec = read_spec(data, "README.md", Project(ROOT, {}).known)
    assert [machine.name for machine in spec.machines] == ["lab", "arm"]
    assert set(KEYS) == set(data)
    comments = re.findall(r"#(.*)", SPEC[1])
    in_comments = {key for comment in comments for key in re.findall(r"([\w-]+) = ", comment)}
    assert {key for table in data["machine"] for key in table} | in_comments == set(MACHINE_KEYS)
    assert {key for table in data["targets"].values() for key in table} == set(TARGET_KEYS)


def test_every_target_is_described() -> None:
    described = re.findall(r"^\| `([\w-]+)` \|", README, flags=re.MULTILINE)
    assert set(described) == set(Project(ROOT, {}).matrix.target_names)


def test_every_command_is_described() -> None:
    assert set(re.findall(r"^\| `cudaenv (\w+)` \|", README, flags=re.MULTILINE)) == set(COMMANDS)


def test_the_two_commands_are_each_on_one_line() -> None:
    starts = re.findall(r"^python3 -m venv \.venv && .*$", README, flags=re.MULTILINE)
    assert len(starts) == 2
    assert "cudaenv init" in starts[0]
    assert starts[1].endswith("pytest")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("https://"):
            assert (ROOT / target).exists(), target
