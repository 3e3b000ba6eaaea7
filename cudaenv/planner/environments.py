"""Environments of a plan, written out from the choices of the search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cudaenv.matrix.packages import TorchBuild
from cudaenv.matrix.tables import CudaLine, Row
from cudaenv.model.machine import Platform
from cudaenv.model.plan import DriverNeed, Environment, Layer
from cudaenv.planner.candidates import applies, planned
from cudaenv.planner.compatibility import Code, Reach, reach
from cudaenv.planner.problem import Problem
from cudaenv.planner.search import Choice, units

SHOW_DRIVER = "nvidia-smi --query-gpu=driver_version --format=csv,noheader"
SHOW_RUNTIME = 'python -c "import torch; print(torch.version.cuda)"'
SHOW_TORCH = 'python -c "import torch; print(torch.__version__)"'


def environments(choices: Sequence[Choice], problem: Problem) -> tuple[Environment, ...]:
    """One environment for each choice, the first platform first, then by name."""
    names = _names([choice.candidate.build for choice in choices])
    made = [_environment(choice, name, problem) for choice, name in zip(choices, names, strict=True)]
    return tuple(sorted(made, key=lambda item: (item.platform != made[0].platform, item.platform, item.name)))


def _names(builds: Sequence[TorchBuild]) -> list[str]:
    """The variant names an environment; platform and release are added where several have it.

    Letters, digits and dashes only: PEP 751 allows no dot in `pylock.NAME.toml`
    (https://packaging.python.org/en/latest/specifications/pylock-toml/#file-name).
    """
    spelt = [
        (
            build.variant,
            f"{build.variant}-{build.platform}",
            f"{build.variant}-{build.platform}-torch{str(build.version).replace('.', '-')}",
        )
        for build in builds
    ]
    counts = Counter(name for names in spelt for name in names)
    return [next(name for name in names if counts[name] == 1) for names in spelt]


def _environment(choice: Choice, name: str, problem: Problem) -> Environment:
    build = choice.candidate.build
    torch_extras = {extra for request in problem.requests["torch"] for extra in request.extras}
    torch = planned("torch", build.version, build, problem.matrix, tuple(sorted(torch_extras)))
    known = set(problem.requests)
    need = driver_need(choice, problem)
    glibcs = [kind.machine.glibc.value for kind in choice.kinds if kind.machine.glibc]
    return Environment(
        name=name,
        platform=build.platform,
        machines=served(choice, problem),
        target=problem.spec.target,
        provider=str(choice.candidate.provider),
        python=choice.python,
        cuda=build.cuda,
        variant=build.variant,
        packages=(torch, *(package for package, _ in choice.candidate.companions)),
        rest=tuple(
            dict.fromkeys(
                request.requirement
                for request in problem.spec.packages
                if request.name not in known and applies(request, build.platform, [choice.python])
            )
        ),
        layers=_layers(build, torch.index_url, need),
        driver_required=need,
        sms=build.sms,
        ptx=build.ptx,
        glibc=build.glibc,
        glibc_target=(min(glibcs) if glibcs else build.glibc) if build.platform.is_linux else None,
        macos=build.macos,
        base_image=f"python:{choice.python}-slim" if build.platform.is_linux else "",
        rows=tuple((f"{row.table} {row.key}", row.digest) for row in _rows(choice, problem)),
    )


def served(choice: Choice, problem: Problem) -> tuple[str, ...]:
    """The machines a choice is for; with the GPU where it serves only some kinds of a machine's."""
    members = [member for kind in choice.kinds for member in kind.members]
    kinds = {machine.name: len(units(machine)) for machine in problem.spec.machines}
    counts = Counter(name for name, _ in members)
    return tuple(
        dict.fromkeys(
            name if counts[name] == kinds.get(name, 1) else f"{name} ({gpu})" for name, gpu in members
        )
    )


def ptx_lines(choice: Choice, problem: Problem) -> tuple[CudaLine, ...]:
    """The release lines whose PTX a GPU is reached by, which only a driver as new as the line can load."""
    candidate, matrix = choice.candidate, problem.matrix
    codes = [Code.of(candidate.build), *(Code.of_release(row) for _, row in candidate.companions)]
    return tuple(
        matrix.line(code.cuda)
        for code in codes
        if code is not None and code.cuda is not None
        if any(
            reach(code, gpu, problem.driver(kind.machine), matrix) is Reach.PTX
            for kind in choice.kinds
            for gpu in kind.machine.gpus or ()
        )
    )


def driver_need(choice: Choice, problem: Problem) -> DriverNeed | None:
    """The oldest drivers the environment runs on; None for a CPU build."""
    build = choice.candidate.build
    if build.cuda is None:
        return None
    line, loading = problem.matrix.line(build.cuda), ptx_lines(choice, problem)
    windows = [line.windows_minor or line.windows_own, *(other.windows_own for other in loading)]
    return DriverNeed(
        linux=max([line.linux_minor or line.linux_own, *(other.linux_own for other in loading)]),
        windows=max((driver for driver in windows if driver is not None), default=None),
        level=choice.assessment.level(choice.candidate, choice.kinds),
    )


def _layers(
    build: TorchBuild, index_url: str, need: DriverNeed | None
) -> tuple[tuple[str, Layer | None], ...]:
    application = Layer(index_url or "the default index (PyPI)", build.label, SHOW_TORCH)
    if build.cuda is None or need is None:
        return (("driver", None), ("runtime", None), ("toolkit", None), ("application", application))
    floor = need.windows if build.platform is Platform.WIN_64 else need.linux
    supplier = (
        "the torch wheel and the nvidia-* wheels it requires"
        if build.platform.is_linux
        else "the torch wheel"
    )
    return (
        ("driver", Layer("the host", f">={floor}", SHOW_DRIVER)),
        ("runtime", Layer(supplier, str(build.cuda), SHOW_RUNTIME)),
        ("toolkit", None),
        ("application", application),
    )


def _rows(choice: Choice, problem: Problem) -> list[Row]:
    """The rows of the matrix that this environment rests on."""
    matrix, build = problem.matrix, choice.candidate.build
    rows: list[Row] = [matrix.target(problem.spec.target), build]
    rows += [row for _, row in choice.candidate.companions]
    if build.cuda is not None:
        rows.append(matrix.line(build.cuda))
    indexes = {build.index, *(package.index for package, _ in choice.candidate.companions)}
    rows += [matrix.index(name) for name in sorted(indexes - {""})]
    capabilities = {gpu.capability for kind in choice.kinds for gpu in kind.machine.gpus or ()}
    rows += [row for capability in sorted(capabilities) for row in [matrix.architecture(capability)] if row]
    return rows
