"""What the tests that compile share: one environment from PyPI, which is gigabytes."""

from __future__ import annotations

import pytest

from tests.support.kernels import Kernels, follow_readme


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """The example of kernels, synced and compiled; tests of phases then install over its environment."""
    return follow_readme(tmp_path_factory.mktemp("kernels") / "example")
