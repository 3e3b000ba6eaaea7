"""A case as a `cudaenv.toml`: two tables, of the spec's keys and of a machine's, a function each.

Every function takes what a case says and returns the value of its key, None where the case says nothing
of it. What a case tells that must not matter (IGNORED_*) is left out on purpose; what no table knows is
listed by `untranslated`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.cases.case import Case

Said = Mapping[str, Any]

TARGETS = {"run": "run-only", "kernels": "develop-kernels", "mmcv": "mmcv-full", "xformers": "xformers"}
CONDA_MANAGERS = {"conda", "conda-forge", "pixi", "mamba", "micromamba"}
"""Who works with one of these wants CUDA from conda; pip, uv and docker leave it to the planner."""

NAMES = {"pytorch": "torch"}
"""Projects that conda names otherwise than the spec does."""

ARCHITECTURES = {
    "amd64": "x86_64",
    "x64": "x86_64",
    "x86-64": "x86_64",
    "arm64": "aarch64",
    "sbsa": "aarch64",
}
PLATFORMS = {
    ("linux", "x86_64"): "linux-64",
    ("linux", "aarch64"): "linux-aarch64",
    ("windows", "x86_64"): "win-64",
    ("macos", "aarch64"): "osx-arm64",
}
USUAL_PLATFORM = "linux-64"
"""What a case means that names no system."""

HOSTS = ("nodes", "run_hosts", "machines", "hosts", "team")
"""Lists of machines; what is said beside them holds for each."""

MACHINE_FACTS = {
    "os", "arch", "glibc", "gcc", "nvcc", "toolkit", "gpus", "gpu", "driver", "driver_cuda",
    "driver_is_inferred", "jetson", "wsl", "count", "name", "cc",
}  # fmt: skip
IGNORED_FACTS = {
    "lock_host", "online_host", "build_host", "ci", "installed", "env", "in_container", "nvcc_on_path",
    "conda_channels", "region", "locker", "internet", "manager", "python", "lock_platforms", "target_host",
}  # fmt: skip
IGNORED_WANTS = {"mirror", "offline"}


# --- the spec


def spec_document(case: Case, *, pin_python: bool = False) -> dict[str, Any]:
    """The spec of a case, to be written as TOML.

    With `pin_python` it holds the Python of the case even where another may be chosen.
    """
    facts = {**case.facts, **(case.facts.get("target_host") or {})}
    said = {"facts": facts, "wants": case.wants, "pin_python": pin_python}
    found = {key: value(said) for key, value in SPEC.items()}
    return {key: value for key, value in found.items() if value is not None}


def _target(said: Said) -> str | None:
    target = said["wants"].get("target")
    return None if target is None else TARGETS.get(target, target)


def _python(said: Said) -> str | None:
    wanted, there = said["wants"].get("python"), said["facts"].get("python")
    if wanted is not None:
        return _python_line(wanted)
    is_fixed = said["wants"].get("python_fixed") or said["pin_python"]
    return _python_line(there) if there and is_fixed else None


def _python_line(text: str) -> str:
    """`3.8` and `3.8.10` as `==3.8.*`; a specifier as it stands."""
    match = re.fullmatch(r"(\d+\.\d+)(\.\d+)?", text)
    return f"=={match[1]}.*" if match else text


def _platforms(said: Said) -> list[str] | None:
    """The platforms to lock for; those of the machines follow from the machines."""
    named = said["wants"].get("platforms") or said["facts"].get("lock_platforms")
    if named:
        return list(named)
    return None if _machines(said) else [USUAL_PLATFORM]


def _provider(said: Said) -> str | None:
    manager = said["wants"].get("manager") or said["facts"].get("manager")
    return "conda" if manager in CONDA_MANAGERS else None


def _cuda(said: Said) -> str | list[str] | None:
    """One request, or several for an environment each."""
    variants, cuda = said["wants"].get("variants"), said["wants"].get("cuda")
    if variants:
        return [_cuda_request(variant) for variant in variants]
    if isinstance(cuda, list):
        return [_cuda_request(text) for text in cuda]
    return None if cuda is None else _cuda_request(cuda)


def _cuda_request(text: str) -> str:
    """`cu126` as `12.6`; `cpu`, `11.8` and specifiers as they stand."""
    match = re.fullmatch(r"cu(\d{1,2})(\d)", text)
    return f"{match[1]}.{match[2]}" if match else text


def _packages(said: Said) -> dict[str, str] | None:
    packages = said["wants"].get("packages")
    if packages is None:
        return None
    pairs = packages.items() if isinstance(packages, Mapping) else map(_named, packages)
    return dict(_package(name, value) for name, value in pairs)


def _named(text: str) -> tuple[str, str]:
    """`torch>=2.0` in a list of requirements as a name and its versions."""
    match = re.fullmatch(r"\s*([A-Za-z0-9._-]+)(.*)", text)
    if match is None:
        raise ValueError(f"not a requirement: {text!r}")
    return match[1], match[2]


def _package(name: str, value: Any) -> tuple[str, str]:
    """A key and a value of `[packages]`: extras belong to the key."""
    if isinstance(value, list):
        value = ",".join(value)
    text = "" if value is None else str(value)
    extras = "".join(re.findall(r"\[[^\]]*\]", text))
    versions = re.sub(r"\[[^\]]*\]", "", text).strip()
    return f"{NAMES.get(name, name)}{extras}", _versions(versions)


def _versions(text: str) -> str:
    """Versions as PEP 440 has them; `11.0` and `=11.0` are conda's for all releases that begin so."""
    bare = re.fullmatch(r"=?\s*(\d[\w.!]*)", text)
    if bare:
        return f"=={bare[1]}.*"
    return text if text not in {"", "any", "latest"} else "*"


def _machines(said: Said) -> list[dict[str, Any]] | None:
    """A machine for each host; none where nothing is told of any."""
    facts = said["facts"]
    hosts = [host for key in HOSTS for host in facts.get(key) or ()]
    common = {key: value for key, value in facts.items() if key not in HOSTS}
    if hosts:
        return [machine({**common, **host}) for host in hosts]
    is_told = any(common.get(key) is not None for key in MACHINE_FACTS)
    return [machine(common)] if is_told else None


SPEC: dict[str, Callable[[Said], Any]] = {
    "target": _target,
    "python": _python,
    "platforms": _platforms,
    "provider": _provider,
    "cuda": _cuda,
    "packages": _packages,
    "machine": _machines,
}


# --- a machine


def machine(facts: Said) -> dict[str, Any]:
    """A `[[machine]]`. It gets no name: the program would repeat it, and seem to know what it was told."""
    found = {key: value(facts) for key, value in MACHINE.items()}
    return {key: value for key, value in found.items() if value is not None}


def _system(facts: Said) -> str:
    """linux, windows or macos; Linux in Docker or WSL on Windows is Linux."""
    name = str(facts.get("os") or "linux").lower()
    if name.startswith("windows"):
        return "linux" if _wsl(facts) else "windows"
    return "macos" if name.startswith(("macos", "osx", "darwin")) else "linux"


def _wsl(facts: Said) -> bool | None:
    name = str(facts.get("os") or "").lower()
    in_docker = name.startswith("windows") and "docker" in name
    return True if facts.get("wsl") or "wsl" in name or in_docker else None


def _platform(facts: Said) -> str:
    system = _system(facts)
    named = re.search(r"arm64|aarch64|x86_64|amd64", str(facts.get("os") or "").lower())
    text = str(facts.get("arch") or (named[0] if named else "")).lower()
    usual = "aarch64" if system == "macos" else "x86_64"
    architecture = ARCHITECTURES.get(text, text or usual)
    # A platform that the spec does not know is for the program to refuse.
    return PLATFORMS.get((system, architecture), f"{system}-{architecture}")


def _os(facts: Said) -> str | None:
    """A release of a Linux distribution, such as `ubuntu-20.04`."""
    name = str(facts.get("os") or "").lower()
    is_distribution = _system(facts) == "linux" and not name.startswith(("linux", "windows", "wsl"))
    return name if is_distribution and re.search(r"\d", name) else None


def _gpu(facts: Said) -> list[str] | None:
    """Compute capabilities, since names in reports are odd; `none` where there is no GPU."""
    gpus = facts.get("gpus", facts.get("gpu"))
    if facts.get("cc"):
        return [_capability(facts)]
    if gpus is None or gpus is True:
        return None
    if gpus is False or gpus in ([], "none"):
        return ["none"]
    listed = gpus if isinstance(gpus, list) else [gpus]
    return list(dict.fromkeys(_capability(gpu) for gpu in listed))


def _capability(gpu: Any) -> str:
    """`8.6` of `{cc: 8.6}` and of `sm_86`; the name where nothing else is told."""
    if isinstance(gpu, Mapping) and not gpu.get("cc"):
        return str(gpu["name"])
    text = str(gpu["cc"] if isinstance(gpu, Mapping) else gpu)
    match = re.fullmatch(r"sm_(\d{1,2})(\d)[af]?", text)
    return f"{match[1]}.{match[2]}" if match else text


def _driver(facts: Said) -> str | None:
    """The driver, unless somebody guessed it from the CUDA version that was reported."""
    is_guessed = facts.get("driver_is_inferred") and facts.get("driver_cuda")
    return None if is_guessed else _number(facts.get("driver"))


def _driver_api(facts: Said) -> str | None:
    text = facts.get("driver_cuda")
    if text is None or _driver(facts) is not None:
        return None
    return text if text.startswith("found version") else _number(text)


def _number(value: Any) -> str | None:
    """The first version in a text."""
    match = re.search(r"\d+(\.\d+)*", str(value)) if value is not None else None
    return match[0] if match else None


def _toolkit(facts: Said) -> str | None:
    number = _number(facts.get("nvcc")) or _number(facts.get("toolkit"))
    return ".".join(number.split(".")[:2]) if number else None


def _gcc(facts: Said) -> str | None:
    number = _number(facts.get("gcc"))
    return number.split(".")[0] if number else None


def _count(facts: Said) -> int | None:
    return int(facts["count"]) if facts.get("count") else None


MACHINE: dict[str, Callable[[Said], Any]] = {
    "platform": _platform,
    "os": _os,
    "wsl": _wsl,
    "jetson": lambda facts: True if facts.get("jetson") else None,
    "gpu": _gpu,
    "driver": _driver,
    "driver-api": _driver_api,
    "glibc": lambda facts: _number(facts.get("glibc")),
    "toolkit": _toolkit,
    "gcc": _gcc,
    "count": _count,
}


# --- what is left


def untranslated(case: Case) -> list[str]:
    """What a case says that is neither translated nor ignored on purpose."""
    return list(_untranslated(case))


def _untranslated(case: Case) -> Iterator[str]:
    known = {*MACHINE_FACTS, *IGNORED_FACTS, *HOSTS}
    yield from (f"facts.{key}" for key in case.facts if key not in known)
    for key in HOSTS:
        for host in case.facts.get(key) or ():
            yield from (f"facts.{key}[].{inner}" for inner in host if inner not in known)
    wants = {"target", "python", "python_fixed", "platforms", "manager", "variants", "cuda", "packages"}
    yield from (f"wants.{key}" for key in case.wants if key not in wants | IGNORED_WANTS)
