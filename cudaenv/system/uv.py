"""uv as a subprocess: resolving, making environments, installing.

Nothing of this machine's uv, pip or Python configuration reaches it but caches, certificates, time-outs
and credentials.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import tomli_w
from packaging.utils import canonicalize_name
from packaging.version import Version

from cudaenv.errors import CudaenvError, FetchError, NoPlanError, ToolError
from cudaenv.lock.pylock import read_pylock
from cudaenv.lock.resolution import SUPPLIED, Resolution
from cudaenv.system.credentials import where_credentials_go
from cudaenv.system.process import Completed, run, run_logged

KEPT = {
    "UV_CACHE_DIR",
    "UV_HTTP_RETRIES",
    "UV_HTTP_TIMEOUT",
    "UV_KEYRING_PROVIDER",
    "UV_LINK_MODE",
    "UV_NATIVE_TLS",
    "UV_PYTHON_INSTALL_DIR",
    "UV_PYTHON_INSTALL_MIRROR",
    "UV_SYSTEM_CERTS",
}
"""Settings that decide how uv works on this machine, and not what it finds."""

OFFLINE = "CUDAENV_OFFLINE"
"""The variable by which nothing is fetched: not by uv, and not by the solver of conda's packages."""

CREDENTIALS = re.compile(r"UV_INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD)")
CHOOSES_ENVIRONMENT = {"VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "MACOSX_DEPLOYMENT_TARGET"}
EXPLANATION_LINES = 40


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether `OFFLINE` asks to fetch nothing."""
    return environ.get(OFFLINE, "") not in {"", "0"}


def uv_environment(environ: Mapping[str, str], config: Path) -> dict[str, str]:
    """The environment uv runs in: the user's, without what would leak into a lock."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("UV_", "PIP_", "PYTHON")) or name in KEPT or CREDENTIALS.fullmatch(name)
    }
    for name in CHOOSES_ENVIRONMENT:
        kept.pop(name, None)
    if is_offline(environ):
        kept["UV_OFFLINE"] = "1"
    return kept | {"UV_CONFIG_FILE": str(config), "PIP_CONFIG_FILE": os.devnull, "NO_COLOR": "1"}


@functools.cache
def find_uv() -> str:
    """The uv that came with cudaenv. ToolError where it is missing.

    Ask once before starting threads: the search fills a cache of Python's that is not made for them.
    """
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError) as error:
        raise ToolError("uv is not installed", [str(error)], hint="pip install uv") from error


def uv_version(environ: Mapping[str, str]) -> str:
    """The version of uv, for a lock to record."""
    done = run([find_uv(), "--version"], env=uv_environment(environ, Path(os.devnull)))
    match = re.match(r"uv (\S+)", done.stdout)
    return match[1] if match else "unknown"


def compile_pylock(
    asked: Resolution, environ: Mapping[str, str], *, existing: str | None, renew: Sequence[str] = ()
) -> str:
    """Resolve one environment to the text of a pylock.toml.

    Versions of an existing pylock are kept where they can be, but for packages to `renew`. NoPlanError
    where the requirements exclude each other, FetchError where an index does not answer, ToolError otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
        place = Path(folder)
        (place / "pyproject.toml").write_text(asked.pyproject, encoding="utf-8")
        (place / "uv.toml").write_text(asked.config, encoding="utf-8")
        for name, version in asked.supplied:
            _write_stand_in(place / SUPPLIED, name, version)
        if existing is not None:
            (place / "pylock.toml").write_text(existing, encoding="utf-8")
        arguments = [find_uv(), "pip", "compile", "pyproject.toml", "--quiet", *asked.arguments]
        arguments += ["--python", sys.executable, "--output-file", "pylock.toml"]
        arguments += [part for name in renew for part in ("--upgrade-package", name)]
        env = uv_environment(environ, place / "uv.toml") | {"UV_PYTHON_DOWNLOADS": "never"}
        env |= dict(asked.variables)
        done = run(arguments, env=env, cwd=place)
        if done.status != 0:
            raise failure("resolve the environment", done)
        return (place / "pylock.toml").read_text(encoding="utf-8")


def _write_stand_in(folder: Path, name: str, version: Version) -> None:
    """Write a wheel that holds nothing, for the resolver to see that a package is there already."""
    folder.mkdir(exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def default_index(environ: Mapping[str, str]) -> str:
    """The URL of uv's own default index, which is PyPI's. ToolError where uv does not say it."""
    with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
        place = Path(folder)
        (place / "uv.toml").write_text("", encoding="utf-8")
        (place / "requirements.in").write_text("", encoding="utf-8")
        arguments = [find_uv(), "pip", "compile", "requirements.in", "--emit-index-url", "--no-header"]
        arguments += ["--offline", "--quiet", "--python", sys.executable]
        done = run(arguments, env=uv_environment(environ, place / "uv.toml"), cwd=place)
    match = re.search(r"^--index-url (https://\S+)$", done.stdout, re.MULTILINE)
    if match is None:
        raise failure("name its default index", done)
    return match[1]


def failure(what: str, done: Completed) -> CudaenvError:
    """The error for a failed uv: what it could not do, in its own words."""
    text = done.stderr or done.stdout
    lines = [line for line in text.splitlines() if line.strip()][:EXPLANATION_LINES]
    where = _address(text)
    if "ash mismatch" in text:
        return ToolError(
            "a file on the index is not the one that was locked",
            lines,
            hint="Do not install it before you know who changed it; `cudaenv lock --upgrade` locks anew",
        )
    if re.search(r"lack of valid authentication|\b(401 Unauthorized|403 Forbidden)", text):
        return FetchError(
            f"an index refuses to give uv what it needs{where}", lines, hint=where_credentials_go()
        )
    if "No solution found" in text or "unsatisfiable" in text:
        return NoPlanError(
            "the index has no set of packages that satisfies the plan and your other packages", lines
        )
    if where or "error sending request" in text:
        return FetchError(
            f"uv could not fetch what it needs{where}",
            lines,
            hint="Check the network, or name a mirror under [indexes] in the spec",
        )
    return ToolError(f"uv could not {what} (exit status {done.status})", lines)


def _address(text: str) -> str:
    """The address in brackets that uv's error is about; else the package; empty where it names none."""
    patterns = (
        r"Failed to fetch:? `?(https?://[^`\s]+)",
        r"An index URL \(([^()]+)\)",
        r"Failed to (?:fetch|download):? `([^`]+)`",
    )
    found = next((match for match in (re.search(pattern, text) for pattern in patterns) if match), None)
    return f" ({found[1]})" if found else ""


def build_wheel(
    source: Path,
    folder: Path,
    prefix: Path,
    environ: Mapping[str, str],
    variables: Mapping[str, str],
    *,
    log: Path,
) -> Path | None:
    """Build a source distribution in an environment that has what it needs, into a folder; return the wheel.

    Without build isolation, so that it finds torch; with `variables` set. What the build prints goes
    to `log`. None where it fails.
    """
    with tempfile.TemporaryDirectory(prefix="cudaenv-") as temporary:
        place = Path(temporary)
        (place / "uv.toml").write_text("", encoding="utf-8")
        env = uv_environment(environ, place / "uv.toml") | {"VIRTUAL_ENV": str(prefix)}
        arguments = [find_uv(), "build", "--wheel", "--no-build-isolation", "--no-create-gitignore"]
        arguments += ["--python", str(prefix), "--out-dir", str(folder), str(source)]
        status = run_logged(arguments, env=env | dict(variables), cwd=place, log=log, timeout_s=BUILDING_S)
    wheels = list(folder.glob("*.whl"))
    return wheels[0] if status == 0 and len(wheels) == 1 else None


def install_wheel(wheel: Path, prefix: Path, environ: Mapping[str, str]) -> None:
    """Install a wheel that lies here, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="cudaenv-") as temporary:
        place = Path(temporary)
        (place / "uv.toml").write_text("", encoding="utf-8")
        arguments = [find_uv(), "pip", "install", "--no-deps", "--no-index", "--reinstall"]
        arguments += ["--python", str(prefix), str(wheel)]
        done = run(arguments, env=uv_environment(environ, place / "uv.toml"), cwd=place)
    if done.status != 0:
        raise failure(f"install {wheel.name} into {prefix}", done)


BUILDING_S = 6 * 3600
"""How long a build may take; the longest that users tell of are hours on few processors."""


def interpreter(prefix: Path) -> Path:
    """The Python of an environment: of a virtual one, or of one that conda made."""
    candidates = (prefix / "bin" / "python", prefix / "Scripts" / "python.exe", prefix / "python.exe")
    return next((path for path in candidates if path.exists()), candidates[0])


def _installing(place: Path, indexes: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of an installation, whose configuration in `place` names the indexes."""
    named = [{"name": name, "url": url} for name, url in sorted(indexes.items())]
    (place / "uv.toml").write_text(tomli_w.dumps({"index": named}), encoding="utf-8")
    return uv_environment(environ, place / "uv.toml")


def install_wheels(
    pylock: str,
    prefix: Path,
    python: str,
    environ: Mapping[str, str],
    *,
    indexes: Mapping[str, str],
) -> None:
    """Install the locked wheels beside what conda installed into a prefix, as `sync_environment` does.

    Wheels that an earlier call installed and that are no longer locked go; ToolError where conda has a
    package of the lock already.
    """
    locked = {wheel.name: wheel for wheel in read_pylock(pylock).wheels}
    ours, theirs = _installed(prefix, python)
    twice = sorted(set(locked) & theirs)
    if twice:
        raise ToolError(
            f"conda has {', '.join(f'`{name}`' for name in twice)} in {prefix} already",
            ["wheels of the same packages would overwrite its files"],
        )
    with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
        place = Path(folder)
        env = _installing(place, indexes, environ)
        lines = [f"{wheel.name} @ {wheel.url} --hash=sha256:{wheel.sha256}" for wheel in locked.values()]
        (place / "requirements.txt").write_text("\n".join(lines), encoding="utf-8")
        common = ["--python", str(interpreter(prefix)), "--break-system-packages"]
        calls = []
        if gone := sorted(ours - set(locked)):
            calls.append(["uninstall", *common, *gone])
        if locked:
            calls.append(["install", *common, "--no-deps", "--require-hashes", "-r", "requirements.txt"])
        for arguments in calls:
            done = run([find_uv(), "pip", *arguments], env=env, cwd=place)
            if done.status != 0:
                raise failure(f"install the locked wheels into {prefix}", done)


def _installed(prefix: Path, python: str) -> tuple[set[str], set[str]]:
    """The packages of a prefix: those that uv installed, and all others.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-installer-file
    """
    ours: set[str] = set()
    theirs: set[str] = set()
    for folder in (prefix / "lib" / f"python{python}" / "site-packages", prefix / "Lib" / "site-packages"):
        for info in folder.glob("*.dist-info"):
            name = canonicalize_name(info.name.partition("-")[0])
            installer = info / "INSTALLER"
            is_ours = installer.is_file() and installer.read_text(encoding="utf-8").strip() == "uv"
            (ours if is_ours else theirs).add(name)
    return ours, theirs


def sync_environment(
    pylock: str,
    prefix: Path,
    python: str,
    environ: Mapping[str, str],
    *,
    indexes: Mapping[str, str],
) -> None:
    """Make a virtual environment if there is none, and install exactly the locked wheels into it.

    `python` is a release line (`3.12`) or an interpreter; `indexes` are URLs by the names under which
    the environment holds credentials for them. Hashes are required: a wheel that is not the
    locked one is refused, and the error names both hashes.
    """
    with tempfile.TemporaryDirectory(prefix="cudaenv-") as folder:
        place = Path(folder)
        env = _installing(place, indexes, environ)
        (place / "pylock.toml").write_text(pylock, encoding="utf-8")
        if not (prefix / "pyvenv.cfg").is_file():
            done = run([find_uv(), "venv", "--quiet", "--python", python, str(prefix)], env=env)
            if done.status != 0:
                raise failure(f"make an environment with Python {python} at {prefix}", done)
        arguments = [find_uv(), "pip", "sync", str(place / "pylock.toml"), "--require-hashes"]
        arguments += ["--python", str(prefix)]
        done = run(arguments, env=env, cwd=place)
        if done.status != 0:
            raise failure(f"install the locked wheels into {prefix}", done)
