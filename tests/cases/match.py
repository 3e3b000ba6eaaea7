"""What a case expects, compared with what came of it: a table of keys, a small function each.

A function takes the expected value and the outcome, and yields what does not fit, in words that say what
was found. Of a refusal only ALWAYS is compared: the other keys speak of a plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.cases.negatives import found_in
from tests.cases.outcome import BUG, REFUSED, Outcome
from tests.cases.strategy import strategies
from tests.cases.words import contains, mentions

Environment = Mapping[str, Any]
Check = Callable[[Any, Outcome], Iterator[str]]

COMMANDS = "commands"
"""Under this key stands what no case has to say: that commands agree, and that none of them breaks."""

IMAGE_CUDA = re.compile(r"nvidia/cuda:(\d+\.\d+)")


def mismatches(expected: Mapping[str, Any], outcome: Outcome) -> dict[str, list[str]]:
    """All that is not as expected, by key; empty where everything is."""
    asked = _asked(expected)
    found = {COMMANDS: list(_commands(outcome))}
    for key, value in asked.items():
        check = check_for(key)
        if check is None:
            found[key] = ["there is no check for this key"]
        elif _is_judged(key, outcome):
            found[key] = list(check(value, outcome))
    return {key: texts for key, texts in found.items() if texts}


def _is_judged(key: str, outcome: Outcome) -> bool:
    """Whether a key can be compared: of what is neither planned nor refused, only how it ended."""
    if outcome.plan is None:
        return key == "must_error"
    return outcome.is_planned or key in ALWAYS


def _asked(expected: Mapping[str, Any]) -> dict[str, Any]:
    """What is expected, spelled one way: a list where several are possible, and the looser of two limits."""
    asked = {"must_error": False, **expected}
    tolerated = asked.pop("base_image_cuda_tolerated", None)
    if tolerated is not None:
        asked["base_image_cuda_max"] = tolerated
    lists = re.compile(r".*_(any|none)_of|must_(not_)?(include|include_any\d*|mention)|lock_(contains|lacks)")
    return {
        key: [value] if lists.fullmatch(key) and isinstance(value, str) else value
        for key, value in asked.items()
    }


def check_for(key: str) -> Check | None:
    """The check of a key: one of the table, or that of a package's versions (`mmcv_spec`)."""
    # `must_include_any2` is one more `must_include_any`.
    for table in (ALWAYS, OF_A_PLAN):
        if key.rstrip("0123456789") in table:
            return table[key.rstrip("0123456789")]
    for suffix, check in OF_A_PACKAGE.items():
        if key.endswith(suffix):
            return check(key.removesuffix(suffix).replace("_", "-"))
    return None


# --- how it ended


def _commands(outcome: Outcome) -> Iterator[str]:
    """No command meets a bug, all plans end alike, and a plan can be rendered and locked."""
    statuses = outcome.statuses
    plans = {status for command, status in statuses.items() if command.startswith("plan")}
    if BUG in statuses.values():
        yield f"a bug: {dict(statuses)}: {_exception(outcome.said)}"
    if len(plans) > 1:
        yield f"plans end differently: {dict(statuses)}"
    if outcome.is_planned and statuses.get("render") not in {0, BUG}:
        yield f"what is planned cannot be rendered: {dict(statuses)}: {_last_error(outcome.said)}"


def _must_error(expected: Any, outcome: Outcome) -> Iterator[str]:
    """True: exit status 3. False: 0. `either`: one of them."""
    allowed = {True: {REFUSED}, False: {0}, "either": {0, REFUSED}}[expected]
    if outcome.status not in allowed:
        wanted = " or ".join(map(str, sorted(allowed)))
        yield f"exit status {outcome.status} instead of {wanted}: {_why(outcome)}"


def _why(outcome: Outcome) -> str:
    refusal = (outcome.plan or {}).get("refusal")
    if refusal:
        return str(refusal["text"])
    if outcome.status == 0:
        return f"planned {', '.join(map(_label, outcome.environments))}"
    return _last_error(outcome.said)


def _label(environment: Environment) -> str:
    torch = environment["packages"].get("torch", {}).get("version", "none")
    cuda, provider = environment["variant"], environment["provider"]
    return f"torch {torch} ({cuda} from {provider}, Python {environment['python']})"


def _last_error(text: str) -> str:
    """The last error with its details, in one line."""
    return " ".join(re.split(r"^error: ", text, flags=re.MULTILINE)[-1].split())


def _exception(text: str) -> str:
    """The last line of the last traceback."""
    tracebacks = text.split("Traceback (most recent call last):")[1:]
    lines = tracebacks[-1].splitlines() if tracebacks else []
    return next((line for line in lines if re.match(r"[\w.]+(:|$)", line)), "no traceback was printed")


def _requirement(_: Any, outcome: Outcome) -> Iterator[str]:
    """Prose: that the case ended as it should is all that a program can see of it."""
    yield from ()


# --- what was chosen


def _cuda_any_of(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """Every CUDA build is one of these, and there is one; beside it a fleet may have CPU builds."""
    variants = _variants(outcome)
    counted = [variant for variant in variants if variant != "cpu" or "cpu" in expected]
    if not counted or set(counted) - set(map(_variant, expected)):
        yield f"{', '.join(variants)} is not among {', '.join(expected)}"


def _cuda_none_of(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """No environment is one of these."""
    for variant in sorted(set(_variants(outcome)) & set(map(_variant, expected))):
        yield f"{variant} is planned"


def _variants(outcome: Outcome) -> list[str]:
    return [environment["variant"] for environment in outcome.environments]


def _variant(text: str) -> str:
    """`11.8` as `cu118`."""
    return f"cu{text.replace('.', '')}" if re.fullmatch(r"\d+\.\d+", text) else text


def _python_any_of(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """Every environment has one of these Pythons."""
    for environment in outcome.environments:
        if environment["python"] not in expected:
            yield f"Python {environment['python']} is not among {', '.join(expected)}"


def _package_spec(package: str) -> Check:
    """Versions of a package by PEP 440; `A or B` are alternatives, which may name another package."""

    def check(expected: str, outcome: Outcome) -> Iterator[str]:
        choices = [_choice(text, package) for text in expected.split(" or ")]
        for environment, versions in outcome.requirements.items():
            if not any(_is_in(versions.get(name), specifier) for name, specifier in choices):
                found = [f"{name} {versions.get(name, 'is not planned')}" for name, _ in choices]
                yield f"{environment}: {', '.join(dict.fromkeys(found))}; expected is {expected}"

    return check


def _choice(text: str, package: str) -> tuple[str, SpecifierSet]:
    match = re.fullmatch(r"([A-Za-z][\w.-]*)?\s*(.*)", text.strip())
    assert match is not None
    return match[1] or package, SpecifierSet(match[2])


def _is_in(version: str | None, specifier: SpecifierSet) -> bool:
    return version is not None and specifier.contains(Version(version).public, prereleases=True)


def _package_any_of(package: str) -> Check:
    """The version of a package is one of these, in every environment."""

    def check(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
        for environment, versions in outcome.requirements.items():
            if not _is_listed(versions.get(package), expected):
                found = versions.get(package, "is not planned")
                yield f"{environment}: {package} {found}; expected is one of {', '.join(expected)}"

    return check


def _package_none_of(package: str) -> Check:
    """The version of a package is none of these, in any environment."""

    def check(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
        for environment, versions in outcome.requirements.items():
            if _is_listed(versions.get(package), expected):
                yield f"{environment}: {package} {versions[package]}"

    return check


def _is_listed(version: str | None, listed: Sequence[str]) -> bool:
    return version is not None and Version(Version(version).public) in map(Version, listed)


# --- who supplies it


def _strategy_any_of(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """Every environment gets its CUDA in one of these ways: see `strategies`."""
    for environment in outcome.environments:
        found = strategies(environment)
        if not found & set(expected):
            ways = ", ".join(sorted(found)) or "no known way"
            yield f"{environment['name']}: {ways}; expected is one of {', '.join(expected)}"


def _strategy_none_of(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """No environment gets its CUDA in one of these ways."""
    for environment in outcome.environments:
        for name in sorted(strategies(environment) & set(expected)):
            yield f"{environment['name']}: {name}"


def _toolkit(expected: Any, outcome: Outcome) -> Iterator[str]:
    """The toolkit is of one of these release lines; `none` or null: there is none."""
    allowed = expected if isinstance(expected, list) else [expected]
    for environment in outcome.environments:
        version = (environment["toolkit"] or {}).get("version")
        fits = version is None if set(allowed) & {None, False, "none"} else False
        if not fits and not any(_is_of_line(version, str(line)) for line in allowed):
            yield f"{environment['name']}: toolkit {version}; expected is {expected}"


def _toolkit_equals_cuda(expected: bool, outcome: Outcome) -> Iterator[str]:
    """The toolkit is of the release line that torch was built with, or is not."""
    for environment in outcome.environments:
        version = (environment["toolkit"] or {}).get("version")
        if _is_of_line(version, environment["cuda"]) is not expected:
            yield f"{environment['name']}: toolkit {version}, torch's CUDA {environment['cuda']}"


def _is_of_line(version: str | None, line: str | None) -> bool:
    return version is not None and line is not None and f"{version}.".startswith(f"{line}.")


def _gcc_max(expected: str, outcome: Outcome) -> Iterator[str]:
    """The host compiler's major is at most this: the planned one, else the newest that is accepted."""
    for environment in outcome.environments:
        gcc = _gcc(environment)
        if gcc is None or gcc > int(expected):
            compiler = (environment["toolkit"] or {}).get("host_compiler")
            yield f"{environment['name']}: host compiler {compiler}; expected is gcc up to {expected}"


def _gcc(environment: Environment) -> int | None:
    """The major of the GCC that is planned, else of the newest that nvcc accepts; None for no GCC."""
    compiler = (environment["toolkit"] or {}).get("host_compiler") or {}
    number = compiler.get("planned") or compiler.get("newest")
    return int(number.split(".")[0]) if number and compiler["kind"] == "gcc" else None


def _base_image_cuda_max(expected: str, outcome: Outcome) -> Iterator[str]:
    """No CUDA image that is named anywhere is of a newer release line; no CUDA image at all is fine."""
    images = [image for env in outcome.environments for image in env["base_image"].values() if image]
    named = chain.from_iterable(IMAGE_CUDA.findall(text) for text in [*images, *outcome.files.values()])
    for cuda in sorted(set(named)):
        if Version(cuda) > Version(expected):
            yield f"nvidia/cuda:{cuda}; expected is at most {expected}"


def _phases(expected: str, outcome: Outcome) -> Iterator[str]:
    """There are at least so many steps of installing, in every environment."""
    for environment in outcome.environments:
        count = len(environment["phases"])
        if count < int(expected):
            yield f"{environment['name']}: {count} phases; expected are at least {expected}"


# --- what is written


def _must_include(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """All of these are in some file, or in its name."""
    text = _written(outcome)
    for item in expected:
        if not contains(item, text):
            yield f"`{item}` is in none of {', '.join(outcome.files) or 'no files'}"


def _must_include_any(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """At least one of these is in some file, or in its name."""
    text = _written(outcome)
    if not any(contains(item, text) for item in expected):
        yield f"none of {', '.join(expected)} is in {', '.join(outcome.files) or 'no files'}"


def _written(outcome: Outcome) -> str:
    return "\n".join(chain.from_iterable(outcome.files.items()))


def _must_not_include(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """None of these is in any file or name; sentences are understood as `negatives` says."""
    for item in expected:
        for place in found_in(item, outcome):
            yield f"`{item.strip()}` is in {place}"


def _build_pin(expected: bool, outcome: Outcome) -> Iterator[str]:
    """Every environment.yml makes a CPU build impossible: a build string with cuda, or pytorch-gpu."""
    files = {name: text for name, text in outcome.files.items() if name.startswith("environment")}
    if expected and not files:
        yield f"there is no environment.yml among {', '.join(outcome.files)}"
    for name, text in files.items():
        if has_build_pin(text) is not expected:
            yield f"{name} has {'no' if expected else 'a'} build string with cuda"


def has_build_pin(text: str) -> bool:
    """Whether a dependency of an environment.yml has a build string with cuda, or is pytorch-gpu."""
    dependencies = re.findall(r"^\s*-\s+[\"']?(?:[\w./-]+::)?([^\"'#\n]+)", text, flags=re.MULTILINE)
    return any(
        "cuda" in build_string(dependency) or re.match(r"pytorch-gpu\b", dependency)
        for dependency in dependencies
    )


def build_string(dependency: str) -> str:
    """The build of a match spec: `a=1=B`, `a >=1 B`, `a[build=B]`; empty where it names none.

    https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html
    """
    bracket = re.search(r"\bbuild=[\"']?([^\],\"']+)", dependency)
    if bracket is not None:
        return bracket[1]
    parts = dependency.split() if " " in dependency.strip() else re.split(r"(?<![=<>!~])=(?!=)", dependency)
    return parts[2] if len(parts) == 3 else ""


def _lock_contains(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """All of these are in the lock; in what is rendered for conda where that cannot be locked."""
    for item in expected:
        if not contains(item, "\n".join(outcome.locked.values())):
            yield f"`{item}` is in none of {', '.join(outcome.locked) or 'no files'}"


def _lock_lacks(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """None of these is in the lock, and there is one."""
    if not outcome.locked:
        yield "nothing is locked"
    for item in expected:
        for name, text in outcome.locked.items():
            if contains(item, text):
                yield f"`{item}` is in {name}"


# --- what is said


def _must_mention(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """The user reads all of these: in the plan, with reasons, on stderr, or in comments of the files."""
    for item in expected:
        if not mentions(item, outcome.visible):
            yield f"`{item}` is not mentioned"


def _must_not_mention(expected: Sequence[str], outcome: Outcome) -> Iterator[str]:
    """The user reads none of these."""
    for item in expected:
        if mentions(item, outcome.visible):
            yield f"`{item}` is mentioned"


ALWAYS: dict[str, Check] = {
    "must_error": _must_error,
    "must_mention": _must_mention,
    "must_not_mention": _must_not_mention,
    "must_not_include": _must_not_include,
    "requirement": _requirement,
}

OF_A_PLAN: dict[str, Check] = {
    "strategy_any_of": _strategy_any_of,
    "strategy_none_of": _strategy_none_of,
    "cuda_any_of": _cuda_any_of,
    "cuda_none_of": _cuda_none_of,
    "python_any_of": _python_any_of,
    "toolkit": _toolkit,
    "toolkit_equals_cuda": _toolkit_equals_cuda,
    "gcc_max": _gcc_max,
    "gcc_preferred_max": _gcc_max,
    "base_image_cuda_max": _base_image_cuda_max,
    "phases": _phases,
    "must_include": _must_include,
    "must_include_any": _must_include_any,
    "must_include_build_pin": _build_pin,
    "lock_contains": _lock_contains,
    "lock_lacks": _lock_lacks,
}

OF_A_PACKAGE: dict[str, Callable[[str], Check]] = {
    "_spec": _package_spec,
    "_any_of": _package_any_of,
    "_none_of": _package_none_of,
}
"""Keys that begin with the name of a package."""
