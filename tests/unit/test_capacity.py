"""What this process may use, as the kernel's files tell it."""

from __future__ import annotations

from pathlib import Path

from cudaenv.system.capacity import free_disk, free_memory, processors
from cudaenv.system.host import HostFiles


def host(root: Path, files: dict[str, str]) -> HostFiles:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return HostFiles(root)


MEMORY = {"proc/meminfo": "MemTotal:  32000 kB\nMemAvailable:      8000 kB\nBuffers:  1 kB\n"}


def test_memory_is_what_the_kernel_calls_available(tmp_path: Path) -> None:
    assert free_memory(host(tmp_path, MEMORY)) == 8000 * 1024


def test_a_container_has_what_is_left_of_its_limit(tmp_path: Path) -> None:
    limits = {"sys/fs/cgroup/memory.max": "5000000\n", "sys/fs/cgroup/memory.current": "2000000\n"}
    assert free_memory(host(tmp_path, MEMORY | limits)) == 3_000_000


def test_the_older_control_groups_count_as_well_and_none_goes_below_nothing(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory"
    limits = {f"{folder}/memory.limit_in_bytes": "500\n", f"{folder}/memory.usage_in_bytes": "700\n"}
    assert free_memory(host(tmp_path, MEMORY | limits)) == 0


def test_no_limit_is_none_and_nobody_that_tells_is_unknown(tmp_path: Path) -> None:
    limits = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "2000000\n"}
    assert free_memory(host(tmp_path / "a", MEMORY | limits)) == 8000 * 1024
    assert free_memory(host(tmp_path / "b", {})) is None


def test_this_machine_has_processors_and_a_disk(tmp_path: Path) -> None:
    assert processors() >= 1
    free = free_disk(tmp_path / "not" / "there" / "yet")
    assert free is not None
    assert free > 0
