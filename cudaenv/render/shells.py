"""Variables as commands of a shell, quoted so that no value can be more than a value."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shell:
    """How a shell sets and unsets a variable, and puts folders before the others of PATH."""

    quote: Callable[[str], str]
    setting: str
    unsetting: str
    path: str
    between: str


def _fish(text: str) -> str:
    r"""Inside single quotes only `\'` and `\\` mean something (https://fishshell.com/docs/current/language.html)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell(text: str) -> str:
    """Inside single quotes only `''` means something; typographic ones are taken for plain ones.

    https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_quoting_rules
    """
    return "'" + re.sub("['\\u2018-\\u201b]", lambda mark: mark[0] * 2, text) + "'"


SHELLS = {
    "sh": Shell(
        shlex.quote, "export {name}={value}", "unset {name}", 'export PATH={folders}"${{PATH:+:$PATH}}"', ":"
    ),
    "fish": Shell(_fish, "set -gx {name} {value}", "set -e {name}", "set -gx PATH {folders} $PATH", " "),
    "powershell": Shell(
        _powershell,
        "$env:{name} = {value}",
        "Remove-Item -ErrorAction Ignore Env:{name}",
        "$env:PATH = (@({folders}) + $env:PATH) -join [IO.Path]::PathSeparator",
        ", ",
    ),
}


def commands(
    shell: str, variables: Mapping[str, str], path: Sequence[str], unset: Sequence[str]
) -> list[str]:
    """The lines that a shell evaluates; KeyError for a shell that is not in SHELLS."""
    style = SHELLS[shell]
    lines = [style.unsetting.format(name=name) for name in unset]
    lines += [style.setting.format(name=name, value=style.quote(value)) for name, value in variables.items()]
    if path:
        lines.append(style.path.format(folders=style.between.join(style.quote(folder) for folder in path)))
    return lines
