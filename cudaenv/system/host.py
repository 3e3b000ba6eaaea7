"""The host around the GPUs: platform, operating system, glibc, WSL, Jetson, the kernel's driver."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from cudaenv.model.machine import Fact, Platform
from cudaenv.model.versions import DriverVersion, GlibcVersion
from cudaenv.system.findings import fact_of

DRIVER_FILE = "/proc/driver/nvidia/version"
KERNEL_FILE = "/proc/version"
OS_FILE = "/etc/os-release"
BOARD_FILE = "/proc/device-tree/model"
TEGRA_FILE = "/etc/nv_tegra_release"
WSL_DEVICE = "/dev/dxg"
PCI_DEVICES = "/sys/bus/pci/devices"


@dataclass(frozen=True, slots=True)
class HostFiles:
    """The files in which a Linux host describes itself; elsewhere there are none. `root` is for tests."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """Return where the file called `name` on the host is to be read."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        """Read a file; empty if it cannot be read."""
        try:
            return self.path(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


HOST = HostFiles()


def parse_driver_file(text: str) -> Fact[DriverVersion] | None:
    """Read `/proc/driver/nvidia/version`, from the proprietary or the open kernel module.

    Jetson boards before JetPack 6 write the number of their board support package there (`35.3.1`),
    which is no driver version: it has three digits.
    """
    match = re.search(
        r"^NVRM version:.*Kernel Module\s+(?:for \S+\s+)?(\d{3}\.[\d.]*\d)\s", text, re.MULTILINE
    )
    return fact_of(DriverVersion.parse, match and match[1], DRIVER_FILE)


def parse_platform(sys_platform: str, machine: str) -> Platform | None:
    """Return the platform by Python's names for it; None for one that no CUDA build exists for."""
    for candidate in Platform:
        if (candidate.sys_platform, candidate.machine) == (sys_platform, machine):
            return candidate
    return None


def parse_os_name(text: str) -> str | None:
    """Read PRETTY_NAME from an `os-release` file."""
    match = re.search(r"""^PRETTY_NAME=(["']?)(.+)\1[ \t]*$""", text, re.MULTILINE)
    return re.sub(r"\\(.)", r"\1", match[2]) if match else None


def parse_board(text: str) -> str:
    """Read the device tree's model, which ends with NUL; empty on machines without one."""
    return text.replace("\0", "").strip()


def is_wsl_kernel(kernel: str) -> bool:
    """Whether `/proc/version` is that of the Windows Subsystem for Linux."""
    return "microsoft" in kernel.lower()


def is_jetson_board(board: str, kernel: str) -> bool:
    """Whether the device tree's model or `/proc/version` is that of a Jetson (or IGX, or Drive) board.

    Containers do not see the device tree, but always the kernel.
    """
    return bool(re.search(r"\bJetson\b|\bNVIDIA\b.*\b(Orin|Thor)\b", board) or re.search(r"-tegra\b", kernel))


def read_platform() -> Fact[Platform] | None:
    """Return the platform that this Python runs on."""
    found = parse_platform(sys.platform, platform.machine())
    return None if found is None else Fact(found, "this Python")


def read_glibc() -> Fact[GlibcVersion] | None:
    """Return the C library's version; None with another library (musl, macOS, Windows)."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        return None
    # The one that answers says `glibc 2.35`.
    return fact_of(GlibcVersion.parse, text and text.removeprefix("glibc "), "confstr")


def read_os(files: HostFiles) -> Fact[str]:
    """Return the operating system's name for people."""
    name = parse_os_name(files.text(OS_FILE))
    if name:
        return Fact(name, OS_FILE)
    macos = platform.mac_ver()[0]
    return Fact(f"macOS {macos}" if macos else f"{platform.system()} {platform.release()}", "platform")


def has_nvidia_device(files: HostFiles) -> bool:
    """Whether the PCI bus has a display or 3D controller of NVIDIA's, driver or not."""
    devices = (path.name for path in files.path(PCI_DEVICES).glob("*"))
    return any(
        files.text(f"{PCI_DEVICES}/{device}/vendor").strip() == "0x10de"
        and files.text(f"{PCI_DEVICES}/{device}/class").startswith("0x03")
        for device in devices
    )
