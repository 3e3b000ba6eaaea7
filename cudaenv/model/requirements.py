"""Requirements as packages write them, read safely by several threads."""

from __future__ import annotations

import threading

from packaging.requirements import Requirement

_ONE_AT_A_TIME = threading.Lock()


def parse_requirement(text: str) -> Requirement:
    """Read a requirement. InvalidRequirement for what is none, RecursionError for what is nested absurdly.

    The texts in a marker are read with `ast.literal_eval`, which some Pythons cannot do in several threads at
    once (`SystemError: AST constructor recursion depth mismatch`, https://github.com/python/cpython/issues/106905).
    """
    with _ONE_AT_A_TIME:
        return Requirement(text)
