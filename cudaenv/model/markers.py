"""Environment markers on a platform that need not be this one.

https://packaging.python.org/en/latest/specifications/dependency-specifiers/#environment-markers
"""

from __future__ import annotations

from cudaenv.model.machine import Platform
from cudaenv.model.versions import PythonVersion


def marker_environment(platform: Platform, python: PythonVersion, extra: str = "") -> dict[str, str]:
    """The values of all markers that a requirement may ask of a CPython on a platform."""
    return {
        "sys_platform": platform.sys_platform,
        "platform_system": platform.system,
        "platform_machine": platform.machine,
        "os_name": "nt" if platform is Platform.WIN_64 else "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "python_version": str(python),
        "python_full_version": f"{python}.0",
        "extra": extra,
    }
