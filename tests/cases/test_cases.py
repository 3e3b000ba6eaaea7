"""Every case through the command line: see README.md for where cases come from and how to read a failure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.cases.answers import ANSWERS, Answer, read_answers, unanswered
from tests.cases.case import FILE_VARIABLE, MODES, ROOT, Case, cases_file, read_cases
from tests.cases.match import mismatches
from tests.cases.outcome import Outcome
from tests.cases.run import run_case
from tests.cases.translate import spec_document, untranslated
from tests.support.channel import Channels
from tests.support.project import SPEC, without_gpu

PIN_PYTHON = "CUDAENV_CASES_PIN_PYTHON"
"""Set, cases run once more with the Python that they name, and what no longer fits is information."""

HERE = Path(__file__).parent


@cache
def cases() -> tuple[Case, ...]:
    """The cases there are; none where no file of cases is."""
    file = cases_file(os.environ)
    return () if file is None else read_cases(file.read_text("utf-8"))


@cache
def answers() -> Mapping[str, Answer]:
    """The answers to cases that do not hold."""
    return read_answers(ANSWERS.read_text("utf-8"))


def parameters() -> Iterator[object]:
    """A parameter for each case, or a single one that is skipped."""
    if not cases():
        skipped = pytest.mark.skip(reason=f"no file of cases: {FILE_VARIABLE} names one")
        yield pytest.param(None, id="none", marks=skipped)
    for case in cases():
        yield pytest.param(case, id=case.id, marks=list(marks(case)))


def marks(case: Case) -> Iterator[pytest.MarkDecorator]:
    if case.mode not in MODES:
        yield pytest.mark.skip(reason=f"the program has no `{case.mode}` yet")
    elif "machine" not in spec_document(case):
        yield without_gpu


@pytest.mark.parametrize("case", list(parameters()))
def test_case(case: Case, tmp_path: Path, compiled_tables: Path, channels: Channels) -> None:
    text = run_and_report(case, tmp_path / "usual", compiled_tables, channels)
    if text:
        pytest.fail(text, pytrace=False)
    pinned = spec_document(case, pin_python=True)
    if os.environ.get(PIN_PYTHON) and pinned != spec_document(case):
        text = run_and_report(case, tmp_path / "pinned", compiled_tables, channels, pin_python=True)
        if text:
            pytest.xfail(f"Python {pinned['python']}: {text.splitlines()[0]}")


def run_and_report(
    case: Case, folder: Path, cache: Path, channels: Channels, *, pin_python: bool = False
) -> str:
    """Run a case; what does not fit, as a text, empty where everything does."""
    outcome = run_case(case, folder, cache, channels, pin_python=pin_python)
    problems = unanswered(mismatches(case.expected, outcome), answers().get(case.id))
    spec = (folder / "project" / SPEC).read_text("utf-8")
    return report(case, problems, outcome, spec) if problems else ""


def report(case: Case, problems: Mapping[str, list[str]], outcome: Outcome, spec: str) -> str:
    """All that does not fit, in one line for a summary; then in full, with the spec that was planned."""
    lines = [f"{key}: {text}" for key, texts in problems.items() for text in texts]
    return "\n".join(
        [
            "; ".join(lines),
            *(f"  - {line}" for line in lines),
            f"not translated: {', '.join(untranslated(case)) or 'nothing'}",
            f"ended: {dict(outcome.statuses)}",
            *(f"  | {line}" for line in spec.splitlines()),
        ]
    )


def test_answers_speak_of_what_their_cases_expect() -> None:
    expected = {case.id: set(case.expected) for case in cases()}
    wrong = {
        case: sorted(answer.keys - expected[case])
        for case, answer in answers().items()
        if case in expected and answer.keys - expected[case]
    }
    assert wrong == {}


def test_the_readme_lists_the_answers() -> None:
    rows = re.findall(r"^\| ([A-Z0-9]+-\d+) \|", (HERE / "README.md").read_text("utf-8"), re.MULTILINE)
    assert rows == sorted(answers())


def test_program_and_tables_know_no_case() -> None:
    ids = "|".join(re.escape(case.id) for case in cases())
    if not ids:
        pytest.skip("no file of cases")
    files = [path for folder in ("cudaenv", "matrix", "templates") for path in (ROOT / folder).rglob("*.*")]
    texts = [path for path in files if path.suffix in {".py", ".yaml", ".j2", ".json"}]
    assert texts
    known = re.compile(rf"(?<![\w-])(?:{ids})(?![\w-])")
    assert [path.name for path in texts if known.search(path.read_text("utf-8"))] == []
