"""What the program answered to a case, in the words in which cases expect something."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

REFUSED = 3
BUG = 1

LOCK_FILE = re.compile(
    r"pylock(\..+)?\.toml|requirements(\..+)?\.lock|(.+-)?conda-lock.*\.yml|.+-lock\.yml|.+\.lock"
)
CONDA_FILE = re.compile(r"environment(\..+)?\.yml|virtual-packages(\..+)?\.yml")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the commands ended, the plan as JSON, what was said to the user, and the files written.

    `statuses` are by command, in the order in which they ran; `plan` is None where nothing was planned
    or refused, as with a spec that is not understood. `said` is the text of both plans and all of stderr.
    """

    mode: str = "plan"
    statuses: Mapping[str, int] = field(default_factory=dict)
    plan: Mapping[str, Any] | None = None
    said: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def environments(self) -> list[Mapping[str, Any]]:
        """The planned environments."""
        return list(self.plan["environments"]) if self.plan else []

    @property
    def is_planned(self) -> bool:
        """Whether there is a plan that can be looked at."""
        return bool(self.environments)

    @property
    def status(self) -> int:
        """How the case ended: as its last command, but for a lock that there cannot be yet."""
        status = self.statuses.get("plan --json", BUG)
        return self.statuses.get("lock", status) if not self.is_unlocked_conda else status

    @property
    def is_unlocked_conda(self) -> bool:
        """Whether all is from conda and `lock` said that it does not lock that: its files are the answer."""
        from_conda = all(environment["provider"] == "conda" for environment in self.environments)
        return self.is_planned and from_conda and self.statuses.get("lock", 0) not in {0, BUG}

    @cached_property
    def visible(self) -> str:
        """All that a user reads: what was said, comments of files, and what was locked if asked for a lock.

        The label of a citation (`source:`) is no word about sources.
        """
        said = re.sub(r"^(\s*)source:\s", r"\1", self.said, flags=re.MULTILINE)
        comments = [comment for text in self.files.values() for comment in comments_of(text)]
        locked = self.locked.values() if self.mode == "lock" else ()
        return "\n".join([said, *comments, *locked])

    @cached_property
    def locked(self) -> dict[str, str]:
        """The lock files; what is rendered for conda where there is none."""
        found = {name: text for name, text in self.files.items() if LOCK_FILE.fullmatch(name)}
        conda = {name: text for name, text in self.files.items() if CONDA_FILE.fullmatch(name)}
        return found or conda

    @cached_property
    def requirements(self) -> dict[str, dict[str, str]]:
        """Exact versions of packages, for each environment by its name."""
        return {environment["name"]: _versions(environment) for environment in self.environments}


def _versions(environment: Mapping[str, Any]) -> dict[str, str]:
    exact = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*==\s*([\w.+!]+)")
    stated = [exact.fullmatch(text.strip()) for text in environment.get("requirements", ())]
    free = {match[1]: match[2] for match in stated if match}
    return free | {name: package["version"] for name, package in environment["packages"].items()}


def comments_of(text: str) -> list[str]:
    """The comments of a file in which `#` begins one."""
    return re.findall(r"(?:^|(?<=\s))#+ ?(.*)$", text, flags=re.MULTILINE)
