"""What an xformers wheel says of its own build, in `xformers/cpp_lib.json`.

Its setup.py writes it: https://github.com/facebookresearch/xformers/blob/main/setup.py. Version numbers
deceive: 0.0.33 was built with CUDA 13.0, while PyPI has its torch for 12.8; 0.0.35 accepts any torch from
2.10 on, also one for CUDA 13, while its code is linked to CUDA 12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from packaging.version import InvalidVersion, Version

from cudaenv.matrix.refresh.artefacts import Wheel
from cudaenv.matrix.refresh.cells import filled, words
from cudaenv.model.versions import ComputeCapability, CudaVersion

MEMBER = "xformers/cpp_lib.json"
MAX_SIZE = 1 << 20  # bytes; a real one has some hundreds
_TARGET = re.compile(r"(\d{1,2}\.\d)(a?)(\+PTX)?")


def read_cpp_lib(wheel: Wheel) -> dict[str, str]:
    """Return the columns `cuda`, `built_with` and `sms`, and `exact` and `ptx` where they are not empty.

    ValueError where the file is missing or says something else than the CUDA and torch of a build.
    """
    try:
        document = json.loads(wheel.read(MEMBER, MAX_SIZE))
        version = document["version"]
        targets = document["env"]["TORCH_CUDA_ARCH_LIST"].split()
        cuda = CudaVersion.from_driver_api(int(version["cuda"]) * 10)
        torch = Version(version["torch"]).public
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, InvalidVersion) as error:
        raise ValueError(f"{MEMBER} does not say what it was built with: {error!r:.200}") from error
    return {"cuda": str(cuda), "built_with": torch, **_code(targets)}


def _code(targets: list[str]) -> Mapping[str, str]:
    """Split torch's list of targets: `7.5 8.0+PTX 9.0a` is code for 7.5, 8.0 and just 9.0, and PTX of 8.0.

    https://docs.pytorch.org/docs/stable/cpp_extension.html
    """
    found: dict[str, set[ComputeCapability]] = {"sms": set(), "exact": set(), "ptx": set()}
    for target in targets:
        match = _TARGET.fullmatch(target)
        if match is None:
            raise ValueError(f"{MEMBER}: {target[:40]!r} is not an architecture")
        capability = ComputeCapability.parse(match[1])
        found["exact" if match[2] else "sms"].add(capability)
        if match[3]:
            found["ptx"].add(capability)
    if not found["sms"]:
        raise ValueError(f"{MEMBER} lists no architecture")
    return filled({column: words(sorted(items)) for column, items in found.items()})
