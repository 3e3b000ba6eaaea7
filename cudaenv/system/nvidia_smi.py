"""The program `nvidia-smi`: running it, and reading what its generations print."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cudaenv.model.machine import Gpu
from cudaenv.model.versions import ComputeCapability, CudaVersion, DriverVersion
from cudaenv.system.findings import CapabilityOf, Findings, fact_of, gpu_of

ORIGIN = "nvidia-smi"
# Without the persistence daemon every call wakes up every GPU, which takes seconds on a full server.
TIMEOUT_S = 30.0

FIELDS: tuple[str, ...] = ("name", "compute_cap", "memory.total", "driver_version")
# Programs before driver 510 do not know `compute_cap`.
OLD_FIELDS: tuple[str, ...] = ("name", "memory.total", "driver_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmiReading:
    """What the program printed. `fields` are the columns of `gpus`; `failure` is "" where all went well."""

    gpus: str = ""
    fields: tuple[str, ...] = FIELDS
    banner: str = ""
    mig: str = ""
    failure: str = ""


def read_nvidia_smi(env: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> SmiReading | None:
    """Run the `nvidia-smi` of `env`'s PATH; None if there is none. Failing is a reading, never raised."""
    program = shutil.which("nvidia-smi", path=env.get("PATH", ""))
    if program is None:
        return None

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )

    def query(*fields: str) -> subprocess.CompletedProcess[str]:
        return run(f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")

    try:
        fields = FIELDS
        gpus = query(*fields)
        if gpus.returncode != 0 and "not a valid field" in gpus.stdout + gpus.stderr:
            fields = OLD_FIELDS
            gpus = query(*fields)
        if gpus.returncode != 0:
            return SmiReading(gpus=gpus.stdout, failure=_failure(gpus))
        mig = query("mig.mode.current")
        banner = run()
    except subprocess.TimeoutExpired:
        return SmiReading(failure=f"`nvidia-smi` did not answer within {timeout_s:g} s")
    except OSError as error:
        return SmiReading(failure=f"`nvidia-smi` does not start: {error.strerror}")
    return SmiReading(
        gpus=gpus.stdout, fields=fields, mig=mig.stdout if mig.returncode == 0 else "", banner=banner.stdout
    )


def _failure(process: subprocess.CompletedProcess[str]) -> str:
    lines = (process.stdout + "\n" + process.stderr).split("\n")
    said = next((line.strip() for line in lines if line.strip()), "nothing")
    return f"`nvidia-smi` failed with exit status {process.returncode} and says `{said[:200]}`"


def nvidia_smi_findings(reading: SmiReading, capability_of: CapabilityOf) -> Findings:
    """Return what the texts mean; fields that hold no value (`[N/A]`) count as not given."""
    if "no devices were found" in reading.gpus.lower():
        return Findings(gpus=())
    if reading.failure:
        return Findings(notes=(reading.failure,))
    rows = parse_rows(reading.gpus, reading.fields)
    gpus, notes = _gpus(rows, reading.mig.splitlines(), capability_of)
    drivers = (fact_of(DriverVersion.parse, row["driver_version"], ORIGIN) for row in rows)
    banner_driver, banner_api = parse_banner(reading.banner)
    return Findings(
        driver=next((fact for fact in drivers if fact), fact_of(DriverVersion.parse, banner_driver, ORIGIN)),
        driver_api=fact_of(CudaVersion.parse, banner_api, ORIGIN),
        gpus=gpus,
        notes=notes,
    )


def parse_rows(text: str, fields: Sequence[str]) -> list[dict[str, str]]:
    """Read the lines of a `--query-gpu` in CSV; lines of another shape are left out."""
    rows = []
    for line in text.splitlines():
        # From the right: only the name, which is the first field, could hold a comma.
        values = [value.strip() for value in line.rsplit(",", len(fields) - 1)]
        if len(values) == len(fields):
            rows.append(dict(zip(fields, values, strict=True)))
    return rows


def parse_banner(text: str) -> tuple[str | None, str | None]:
    """Read the driver version and the driver API version from what plain `nvidia-smi` prints first.

    Since driver 610 it says `KMD Version` and `CUDA UMD Version`. The number after `NVIDIA-SMI` is
    the program's own, which on WSL and in containers differs from the driver's.
    """
    driver = re.search(r"(?:Driver|KMD) Version:\s*([\d.]+)", text)
    api = re.search(r"CUDA (?:UMD )?Version:\s*([\d.]+)", text)
    return driver and driver[1], api and api[1]


def _gpus(
    rows: Sequence[dict[str, str]], mig: Sequence[str], capability_of: CapabilityOf
) -> tuple[tuple[Gpu, ...] | None, tuple[str, ...]]:
    gpus: list[Gpu] = []
    notes: list[str] = []
    modes = [*mig, *[""] * len(rows)]
    for row, mode in zip(rows, modes, strict=False):
        gpu = _gpu(row, mode.strip() == "Enabled", capability_of)
        if gpu is None:
            notes.append(f"the GPU `{row['name']}` is of unknown compute capability and not listed")
        else:
            gpus.append(gpu)
    if not rows:
        notes.append("`nvidia-smi` lists GPUs in a way that is not understood")
    return tuple(gpus) or None, tuple(notes)


def _gpu(row: dict[str, str], mig: bool, capability_of: CapabilityOf) -> Gpu | None:
    name = None if row["name"].startswith("[") else row["name"] or None
    capability = fact_of(ComputeCapability.parse, row.get("compute_cap"), ORIGIN)
    memory = re.fullmatch(r"[0-9]{1,9}", row["memory.total"])
    return gpu_of(
        name,
        None if capability is None else capability.value,
        memory_mb=(int(memory[0]) or None) if memory else None,
        mig=mig,
        origin=ORIGIN,
        capability_of=capability_of,
    )
