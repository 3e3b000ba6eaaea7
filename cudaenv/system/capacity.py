"""How much this process may use: processors, memory and disk, within the limits of its container."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from cudaenv.system.host import HOST, HostFiles

MEMORY_FILE = "/proc/meminfo"
LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""What a control group may use and does use, of version 2 and of version 1
(https://docs.kernel.org/admin-guide/cgroup-v2.html)."""


def processors() -> int:
    """How many processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def free_memory(files: HostFiles = HOST) -> int | None:
    """Bytes of memory that may still be used; None where nobody tells."""
    return min(_free(files), default=None)


def _free(files: HostFiles) -> Iterator[int]:
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", files.text(MEMORY_FILE), re.MULTILINE)
    if match:
        yield int(match[1]) * 1024
    for limit, used in LIMITS:
        texts = (files.text(limit).strip(), files.text(used).strip())
        if all(text.isdigit() for text in texts):
            yield max(int(texts[0]) - int(texts[1]), 0)


def free_disk(folder: Path) -> int | None:
    """Bytes that are free where a folder is or will be; None where nobody tells."""
    place = next((path for path in (folder, *folder.parents) if path.exists()), None)
    try:
        return shutil.disk_usage(place).free if place else None
    except OSError:
        return None
