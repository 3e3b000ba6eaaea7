"""What surveys read, from the real PyPI. CI runs these; they need a network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cudaenv.matrix.refresh.artefacts import Wheel
from cudaenv.system.artefacts import RemoteArtefacts
from cudaenv.system.http import Client
from cudaenv.system.uv import default_index

pytestmark = pytest.mark.online


@pytest.fixture
def artefacts(tmp_path: Path) -> Iterator[RemoteArtefacts]:
    with Client() as client:
        yield RemoteArtefacts(client, default_index(os.environ), tmp_path, {}, print)


def test_a_project_and_a_wheel_of_it(artefacts: RemoteArtefacts) -> None:
    files = {file.name: file for file in artefacts.files("torchvision")}
    assert len(files) > 900
    assert all(file.uploaded and file.sha256 for file in files.values())
    (file,) = (
        file for name, file in files.items() if name.startswith("torchvision-0.29.2-") and "x86_64" in name
    )
    assert file.uploaded == "2026-10-28"
    assert file.requires_python == ">=3.10,!=3.14.1"
    assert b"Requires-Dist: torch" in artefacts.metadata(file)

    def measure(wheel: Wheel) -> Mapping[str, str]:
        return {"needed": " ".join(wheel.needed("torchvision/_C_stable.so"))}

    assert "libcudart.so.13" in artefacts.measured(file, "needed-1", measure)["needed"].split()


def test_an_assembler_says_which_ptx_it_knows(artefacts: RemoteArtefacts) -> None:
    (file,) = (
        file
        for file in artefacts.files("nvidia-cuda-nvcc")
        if file.name.startswith("nvidia_cuda_nvcc-13.0.88-") and "x86_64" in file.name
    )
    arguments = ["--input-as-string", ".version 99.0\n"]
    assert "current version is '9.0'" in artefacts.run(file, "nvidia/cu13/bin/ptxas", arguments)
