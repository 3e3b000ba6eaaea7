"""Variables for shells: real shells read them, and no value is ever more than a value."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cudaenv.render.shells import SHELLS, commands

NASTY = (
    "",
    "plain",
    "two words",
    "it's",
    "'; touch /tmp/pwned; '",
    "$(echo pwned) `echo pwned` $HOME",
    'quoted "so" \\ and \\\\ so\\',
    "a;b&c|d>e<f*g?h[i]j{k}l~m#n!o%p",
    "two\nlines",
    "-ccbin=g++-13",
    "na\u00efve \u2018quotes\u2019",
)
READ = "printf '%s\\0' \"$VALUE\""


def evaluated(shell: str, lines: list[str], then: str, env: dict[str, str] | None = None) -> str:
    """What a real shell prints once it has evaluated lines."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    text = "\n".join([*lines, then])
    base = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    return subprocess.run(
        [program, "-c", text], env={**base, **(env or {})}, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("shell", ["sh", "bash", "fish"])
@pytest.mark.parametrize("value", NASTY)
def test_a_shell_reads_the_value_that_was_meant(shell: str, value: str) -> None:
    style = "fish" if shell == "fish" else "sh"
    assert evaluated(shell, commands(style, {"VALUE": value}, (), ()), READ) == value + "\0"


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh here")
@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_sh_reads_any_text(value: str) -> None:
    assert evaluated("sh", commands("sh", {"VALUE": value}, (), ()), READ) == value.replace("\r", "\n") + "\0"


@pytest.mark.parametrize("shell", ["sh", "fish"])
def test_folders_come_before_the_others_of_path_and_programs_get_them(shell: str) -> None:
    lines = commands(shell, {}, ("/first place", "/second"), ())
    assert evaluated(shell, lines, "env").count("PATH=/first place:/second:/usr/bin:/bin\n") == 1


def test_without_a_path_there_is_no_empty_folder_in_it() -> None:
    lines = commands("sh", {}, ("/first",), ())
    assert evaluated("sh", ["unset PATH", *lines], 'printf %s "$PATH"') == "/first"


@pytest.mark.parametrize("shell", ["sh", "fish"])
def test_what_must_not_be_there_is_unset(shell: str) -> None:
    lines = commands(shell, {}, (), ("PYTHONHOME",))
    assert "PYTHONHOME" not in evaluated(shell, lines, "env", {"PYTHONHOME": "/x"})
    assert "PYTHONHOME" not in evaluated(shell, lines, "env")


def test_powershell_quotes_every_kind_of_single_quote() -> None:
    lines = commands("powershell", {"VALUE": "it's \u2018so\u2019 $(1) `n"}, ("/a b",), ("GONE",))
    assert lines == [
        "Remove-Item -ErrorAction Ignore Env:GONE",
        "$env:VALUE = 'it''s \u2018\u2018so\u2019\u2019 $(1) `n'",
        "$env:PATH = (@('/a b') + $env:PATH) -join [IO.Path]::PathSeparator",
    ]


def test_every_shell_that_can_be_asked_for_is_known() -> None:
    from cudaenv.cli.env import command

    (option,) = [item for item in command.params if item.name == "shell"]
    assert set(option.type.choices) == set(SHELLS)  # type: ignore[attr-defined]
