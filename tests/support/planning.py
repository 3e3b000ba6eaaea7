"""Plans for tests, made with the matrix of this repository."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Fact, Machine, Platform
from cudaenv.model.plan import Plan
from cudaenv.model.spec import CudaRequest, Provider, PythonRequest, Spec
from cudaenv.model.spec_reader import parse_package
from cudaenv.model.versions import CudaVersion, DriverVersion, GlibcVersion
from cudaenv.planner.plan import make_plan

ROOT = Path(__file__).parents[2]


@cache
def matrix() -> Matrix:
    """Return the matrix of this repository."""
    folder = ROOT / "matrix"
    return Matrix.from_texts(
        {
            path.relative_to(folder).with_suffix("").as_posix(): path.read_text("utf-8")
            for path in sorted(folder.rglob("*.yaml"))
        }
    )


def machine(
    name: str = "lab",
    gpus: Sequence[str] | None = None,
    driver: str = "",
    *,
    driver_api: str = "",
    glibc: str = "",
    platform: str = "",
    wsl: bool = False,
) -> Machine:
    """Return a machine; what is not given is unknown, and no GPUs are an empty list."""
    return Machine(
        name=name,
        gpus=None if gpus is None else tuple(matrix().find_gpu(gpu) for gpu in gpus),
        driver=Fact(DriverVersion.parse(driver), "test") if driver else None,
        driver_api=Fact(CudaVersion.parse_driver_api(driver_api), "test") if driver_api else None,
        glibc=Fact(GlibcVersion.parse(glibc), "test") if glibc else None,
        platform=Fact(Platform(platform), "test") if platform else None,
        uses_windows_driver=wsl or platform == Platform.WIN_64,
    )


def plan_for(
    *machines: Machine,
    packages: Sequence[str] = (),
    python: str = "",
    cuda: str = "any",
    platforms: Sequence[str] = (),
    provider: str = "auto",
    target: str = "run-only",
    tables: Matrix | None = None,
) -> Plan:
    """Plan for machines; packages and the rest as they are written in a spec."""
    spec = Spec(
        machines=machines,
        packages=tuple(parse_package(text, "test") for text in packages),
        python=PythonRequest.parse(python) if python else None,
        cuda=CudaRequest.parse(cuda),
        platforms=tuple(Platform(name) for name in platforms),
        provider=Provider(provider),
        target=target,
    )
    return make_plan(spec, tables or matrix())


@cache
def cases() -> dict[str, Plan]:
    """Return the situations that golden files show, by name."""
    return {
        "v100": plan_for(
            machine("lab", ["Tesla V100-SXM2-32GB"], "570.133.20", glibc="2.31", platform="linux-64"),
            packages=["torchvision", "diffusers[torch]>=0.30"],
        ),
        "rtx-4090": plan_for(machine("desk", ["RTX 4090"], "595.71.05", glibc="2.39", platform="linux-64")),
        "gtx-1080-ti-and-rtx-5090": plan_for(
            machine("old", ["GTX 1080 Ti"], platform="linux-64"),
            machine("new", ["RTX 5090"], "595.71.05", platform="linux-64"),
            packages=["torchaudio", "numpy<3"],
        ),
        "cpu": plan_for(machine("runner", [], platform="linux-64")),
        "windows": plan_for(
            machine("pc", ["RTX 4090"], "596.10", platform="win-64"), packages=["torchvision"]
        ),
        "no-plan": plan_for(
            machine("both", ["GTX 1080 Ti", "RTX 5090"], "580.95.05", platform="linux-64"),
            packages=["torch>=2.15"],
        ),
    }
