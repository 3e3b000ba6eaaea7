"""The shape of the code: imports point down, modules stand alone, nothing is too long, start-up is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cudaenv"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_data" not in path.parts)

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "matrix": {"errors", "model"},
    "planner": {"errors", "model", "matrix"},
    "render": {"errors", "model", "matrix", "planner"},
    "lock": {"errors", "model", "matrix", "planner"},
    "system": {"errors", "model", "matrix", "lock"},
    "workflow": {"errors", "model", "matrix", "planner", "render", "lock", "system"},
    "cli": {"errors", "model", "matrix", "planner", "render", "lock", "system", "workflow"},
}
"""For each part of the package, the parts that it may import beside itself."""

CORE = {"errors", "model", "matrix", "planner", "render", "lock"}
HEAVY = {"jinja2", "yaml", "conda_lock", "rattler", "pynvml", "packaging"}
MOST_LINES = 350
LONGEST_FUNCTION = 60


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [module_name(path) for path in FILES]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, those inside functions among them."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "cudaenv")


def parts_imported(path: Path) -> set[str]:
    """The parts of the package that a file imports."""
    names = [name.split(".") for name in imports(path)]
    return {name[1] for name in names if name[0] == "cudaenv" and len(name) > 1} - {"__version__"}


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_imports_point_down(path: Path) -> None:
    here = part(path)
    if here == "__init__":
        allowed: set[str] = set()
    elif here == "__main__":
        allowed = {"cli"}
    else:
        allowed = MAY_IMPORT[here] | {here}
    assert parts_imported(path) <= allowed


def test_the_order_of_the_parts_has_no_cycle_and_keeps_the_edges_out_of_the_core() -> None:
    for name in CORE:
        assert MAY_IMPORT[name] <= CORE
    order = list(MAY_IMPORT)
    for place, name in enumerate(order):
        assert MAY_IMPORT[name] <= set(order[:place])


def test_only_the_edges_start_programs_or_open_connections() -> None:
    doors = {"subprocess", "socket", "urllib.request", "http.client", "ctypes", "pynvml"}
    for path in FILES:
        if part(path) in CORE:
            assert doors.isdisjoint(imports(path)), path


def test_a_module_imports_no_private_name_of_another() -> None:
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cudaenv"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert private in ([], ["__version__"]), f"{path}: {private}"


def loaded(code: str, *modules: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False, cwd=ROOT
    )


ALONE = """
import importlib, os, sys
importlib.import_module("cudaenv")  # its __init__ is shared
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(f"{name}: {error!r}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks, so that each module meets a fresh interpreter")
def test_every_module_imports_alone_in_a_fresh_interpreter() -> None:
    done = loaded(ALONE, *(name for name in MODULES if name != "cudaenv.__main__"))
    assert (done.returncode, done.stderr) == (0, "")


def heavy_parts_loaded_by(module: str) -> set[str]:
    done = loaded(f"import {module}, sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()} & HEAVY


@pytest.mark.skipif(not (PACKAGE / "cli" / "main.py").exists(), reason="there is no command line yet")
def test_the_command_line_starts_without_anything_heavy() -> None:
    assert heavy_parts_loaded_by("cudaenv.cli.main") == set()


def test_the_check_for_heavy_modules_would_see_one() -> None:
    assert "yaml" in heavy_parts_loaded_by("cudaenv.matrix.yaml_text")


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_no_module_and_no_function_grows_too_long(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
        if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    }
    assert long == {}


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_every_module_says_what_it_knows(path: Path) -> None:
    docstring = ast.get_docstring(tree(path))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", "?", "`", ")")) or ":" in docstring
