"""Planning alone, in one process: milliseconds for each target and for fleets of several sizes."""

from __future__ import annotations

import statistics
import time

from cudaenv.matrix.matrix import Matrix
from cudaenv.model.machine import Fact, Gpu, Machine, Platform
from cudaenv.model.spec import Spec
from cudaenv.model.versions import DriverVersion
from cudaenv.planner.plan import make_plan
from cudaenv.system.files import data_folder, read_folder

GPUS = ("V100", "A100", "H100", "RTX 4090", "T4", "RTX 5090", "GTX 1080 Ti", "L4")
DRIVERS = ("535.183.06", "560.35.03", "580.95.05")
TARGETS = ("run-only", "develop-kernels", "mmcv-full", "xformers")
SIZES = (1, 10, 100, 1000)
RUNS = 9


def fleet(matrix: Matrix, size: int, target: str) -> Spec:
    """Machines of up to 24 kinds, in turn."""
    kinds = [(gpu, driver) for driver in DRIVERS for gpu in GPUS]

    def machine(number: int) -> Machine:
        gpu, driver = kinds[number % len(kinds)]
        found: Gpu = matrix.find_gpu(gpu)
        return Machine(
            name=f"node-{number}",
            gpus=(found,),
            driver=Fact(DriverVersion.parse(driver), "benchmark"),
            platform=Fact(Platform.LINUX_64, "benchmark"),
        )

    return Spec(machines=tuple(machine(number) for number in range(size)), target=target)


def main() -> None:
    """Print a line a size, and the loading of the matrix."""
    texts = read_folder(data_folder("matrix"), ".yaml")
    start = time.perf_counter()
    matrix = Matrix.from_texts(texts)
    print(f"{'loading the matrix':<24} {(time.perf_counter() - start) * 1000:8.1f} ms")
    for target in TARGETS:
        for size in SIZES:
            median, environments = measured(matrix, fleet(matrix, size, target))
            print(f"{target:<16} {size:>5} machines {median:8.1f} ms   {environments} environments")


def measured(matrix: Matrix, spec: Spec) -> tuple[float, int]:
    """The median milliseconds of planning a spec, and how many environments there are."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        plan = make_plan(spec, matrix)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000, len(plan.environments)


if __name__ == "__main__":
    main()
