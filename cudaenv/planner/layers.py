"""The four layers of CUDA in an environment: who supplies each, and how a user can see it for himself."""

from __future__ import annotations

from collections.abc import Sequence

from cudaenv.model.machine import Platform
from cudaenv.model.plan import DriverNeed, Layer, PlannedPackage, PlannedToolkit
from cudaenv.model.spec import Provider
from cudaenv.planner.problem import TORCH
from cudaenv.planner.search import Choice
from cudaenv.planner.stacks import Stack

SHOW_DRIVER = "nvidia-smi --query-gpu=driver_version --format=csv,noheader"
SHOW_RUNTIME = 'python -c "import torch; print(torch.version.cuda)"'
SHOW_TORCH = 'python -c "import torch; print(torch.__version__)"'
SHOW_WHEELS = "pip list"
SHOW_CONDA = "conda list cuda"
SHOW_TOOLKIT = "nvcc --version"

TOOLKIT_SUPPLIERS = {
    "pip": "the nvidia-* wheels that cuda-toolkit selects",
    "conda": "conda packages",
    "system": "the system or a development image",
}


def layers(
    choice: Choice,
    packages: Sequence[PlannedPackage],
    toolkit: PlannedToolkit | None,
    need: DriverNeed | None,
) -> tuple[tuple[str, Layer | None], ...]:
    """Driver, runtime, toolkit and application, in this order; None where a layer is not there."""
    stack = choice.candidate.stack
    application = _application(stack, packages)
    if stack.cuda is None or need is None:
        return (("driver", None), ("runtime", None), ("toolkit", None), ("application", application))
    floor = need.windows if stack.platform is Platform.WIN_64 else need.linux
    return (
        ("driver", Layer("the host", f">={floor}", SHOW_DRIVER)),
        ("runtime", _runtime(stack)),
        (
            "toolkit",
            Layer(TOOLKIT_SUPPLIERS[toolkit.provider], str(toolkit.cuda), SHOW_TOOLKIT) if toolkit else None,
        ),
        ("application", application),
    )


def _runtime(stack: Stack) -> Layer:
    cuda = str(stack.cuda)
    if stack.provider is Provider.CONDA:
        channels = " and ".join(stack.era.channels) if stack.era else stack.channel
        return Layer(f"conda packages of {channels}", cuda, SHOW_CONDA)
    if stack.name != TORCH:
        return Layer("the nvidia-* wheels that the packages require", cuda, SHOW_WHEELS)
    supplier = (
        "the torch wheel and the nvidia-* wheels it requires"
        if stack.platform.is_linux
        else "the torch wheel"
    )
    return Layer(supplier, cuda, SHOW_RUNTIME)


def _application(stack: Stack, packages: Sequence[PlannedPackage]) -> Layer:
    if stack.provider is Provider.CONDA:
        return Layer(f"the channel {stack.channel}", stack.label, SHOW_CONDA)
    if stack.name != TORCH:
        names = ", ".join(package.requirement for package in packages)
        return Layer("the default index (PyPI)", names or stack.label, SHOW_WHEELS)
    torch = packages[0]
    return Layer(torch.index_url or "the default index (PyPI)", stack.label, SHOW_TORCH)
