"""Real wheels for tests, built in memory: the same arguments give the same bytes on every machine."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC_ENTRY = struct.Struct("<qQ")
_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}


@dataclass(frozen=True, eq=False)
class Wheel:
    """A wheel of `files` plus an importable package with `__version__` and a valid RECORD.

    `tag` may be compressed (`py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64`). `import_name`
    defaults to the distribution's name, may be dotted, and is empty for a wheel without a package.
    """

    name: str
    version: str
    tag: str
    requires: Sequence[str] = ()
    requires_python: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    import_name: str | None = None
    # Stored members by default: the bytes of deflated ones depend on the zlib in use.
    compression: int = zipfile.ZIP_STORED

    @property
    def project(self) -> str:
        """The normalized name (PEP 503), as index pages and lockfiles spell it."""
        return re.sub(r"[-_.]+", "-", self.name).lower()

    @property
    def filename(self) -> str:
        """The file name, local label and all: `torch-2.14.1+cu126-cp312-cp312-win_amd64.whl`."""
        return f"{self._stem}-{self.tag}.whl"

    @cached_property
    def metadata(self) -> bytes:
        """The METADATA member, which is also what PEP 658 serves."""
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        if self.requires_python:
            lines.append(f"Requires-Python: {self.requires_python}")
        extras = {
            extra for text in self.requires for extra in re.findall(r"extra\s*==\s*[\"']([^\"']+)", text)
        }
        lines += [f"Provides-Extra: {extra}" for extra in sorted(extras)]
        lines += [f"Requires-Dist: {text}" for text in self.requires]
        return ("\n".join(lines) + "\n").encode()

    @cached_property
    def data(self) -> bytes:
        """The whole file."""
        members = self._members()
        record = f"{self._stem}.dist-info/RECORD"
        members[record] = "".join([*map(_record_line, members.items()), f"{record},,\n"]).encode()
        return _archive(members, self.compression)

    @cached_property
    def sha256(self) -> str:
        """The hash an index page or a lockfile states, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def write(self, folder: Path) -> Path:
        """Put the file into `folder` and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.filename
        path.write_bytes(self.data)
        return path

    @property
    def _stem(self) -> str:
        return f"{self.project.replace('-', '_')}-{self.version}"

    def _members(self) -> dict[str, bytes]:
        members: dict[str, bytes] = {}
        package = self.project.replace("-", "_") if self.import_name is None else self.import_name
        if package:
            init = f"{package.replace('.', '/')}/__init__.py"
            members[init] = f"__version__ = {self.version!r}\n".encode()
        members |= self.files
        members[f"{self._stem}.dist-info/METADATA"] = self.metadata
        members[f"{self._stem}.dist-info/WHEEL"] = _wheel_member(self.tag)
        return members


def _wheel_member(tag: str) -> bytes:
    pure = str(tag.endswith("-none-any")).lower()
    head = f"Wheel-Version: 1.0\nGenerator: cudaenv-tests\nRoot-Is-Purelib: {pure}\n"
    tags = product(*(part.split(".") for part in tag.split("-")))
    return (head + "".join(f"Tag: {'-'.join(parts)}\n" for parts in tags)).encode()


def _record_line(member: tuple[str, bytes]) -> str:
    path, content = member
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"


def _archive(members: Mapping[str, bytes], compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for path, content in members.items():
            info = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix; ZipInfo would note the system it runs on
            info.external_attr = 0o100644 << 16
            info.compress_type = compression
            archive.writestr(info, content)
    return buffer.getvalue()


def elf_library(needed: Sequence[str], *, soname: str | None = None, machine: str = "x86_64") -> bytes:
    """Return a 64-bit ELF shared object without code whose DT_NEEDED entries are `needed`, in order.

    It has both views a reader may take (program headers and section headers), and the loader
    accepts it, so `elf_library([])` can be opened with ctypes on a machine of its kind.
    """
    names = [*needed, *([soname] if soname else [])]
    strings, at = _string_table(names)
    references = [(1, at[name]) for name in needed] + ([(14, at[soname])] if soname else [])  # NEEDED, SONAME
    hash_at = _ELF_HEADER.size + 3 * _PROGRAM_HEADER.size
    symbols_at = hash_at + 16
    dynamic_at = symbols_at + 24
    dynamic_size = (len(references) + 6) * _DYNAMIC_ENTRY.size
    strings_at = dynamic_at + dynamic_size
    # DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_NULL
    tables = [(4, hash_at), (5, strings_at), (6, symbols_at), (10, len(strings)), (11, 24), (0, 0)]
    dynamic = b"".join(_DYNAMIC_ENTRY.pack(*entry) for entry in references + tables)
    # One hash bucket, one chain, and the null symbol that every symbol table begins with.
    body = struct.pack("<4I", 1, 1, 0, 0) + bytes(24) + dynamic + strings
    # Type, flags, address, size, link, info, alignment, entry size; links are section numbers.
    sections = {
        ".hash": (5, 2, hash_at, 16, 2, 0, 8, 4),
        ".dynsym": (11, 2, symbols_at, 24, 4, 1, 8, 24),
        ".dynamic": (6, 3, dynamic_at, dynamic_size, 4, 0, 8, 16),
        ".dynstr": (3, 2, strings_at, len(strings), 0, 0, 1, 0),
    }
    return _elf_file(body, sections, (dynamic_at, dynamic_size), _ELF_MACHINES[machine])


def _elf_file(
    body: bytes, sections: Mapping[str, tuple[int, ...]], dynamic: tuple[int, int], machine: int
) -> bytes:
    names, at = _string_table([*sections, ".shstrtab"])
    loaded = _ELF_HEADER.size + 3 * _PROGRAM_HEADER.size + len(body)
    padding = -(loaded + len(names)) % 8
    headers_at = loaded + len(names) + padding
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    sizes = (
        _ELF_HEADER.size,
        _PROGRAM_HEADER.size,
        3,
        _SECTION_HEADER.size,
        len(sections) + 2,
        len(sections) + 1,
    )
    header = _ELF_HEADER.pack(ident, 3, machine, 1, 0, _ELF_HEADER.size, headers_at, 0, *sizes)
    start, size = dynamic
    # The loader relocates the dynamic section in place, so the one segment is writable.
    load = _PROGRAM_HEADER.pack(1, 6, 0, 0, 0, loaded, loaded, 0x10000)
    dynamic_segment = _PROGRAM_HEADER.pack(2, 6, start, start, start, size, size, 8)
    stack = _PROGRAM_HEADER.pack(0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # without it: an executable stack
    table = bytes(_SECTION_HEADER.size)
    for name, (kind, flags, address, length, *rest) in sections.items():
        table += _SECTION_HEADER.pack(at[name], kind, flags, address, address, length, *rest)
    table += _SECTION_HEADER.pack(at[".shstrtab"], 3, 0, 0, loaded, len(names), 0, 0, 1, 0)
    return header + load + dynamic_segment + stack + body + names + bytes(padding) + table


def _string_table(names: Sequence[str]) -> tuple[bytes, dict[str, int]]:
    table, at = b"\0", {}
    for name in names:
        at[name] = len(table)
        table += name.encode() + b"\0"
    return table, at


def platform_machine(platform: str) -> str | None:
    """Return the ELF machine of a wheel's platform tag, None where libraries are no ELF files."""
    return next((machine for machine in _ELF_MACHINES if platform.endswith(machine)), None)


def cudart_soname(major: int) -> str:
    """Return the name under which CUDA's runtime is linked: 11 kept its minor version, 12 and 13 did not."""
    return f"libcudart.so.{major}.0" if major <= 11 else f"libcudart.so.{major}"


def compiled_wheel(
    name: str,
    version: str,
    tag: str,
    cuda_major: int | None,
    requires: Sequence[str] = (),
    *,
    requires_python: str | None = None,
    library: str = "_C.so",
    padding: int = 0,
    compression: int = zipfile.ZIP_STORED,
) -> Wheel:
    """Build an extension package such as torchvision, linked to `libcudart.so.<cuda_major>`.

    `cuda_major=None` is a CPU build. `padding` bytes of incompressible ballast follow the
    library in the file, so that a read of the tail sees the directory but not the library.
    """
    package = name.replace("-", "_")
    files = {f"{package}/__init__.py": f"__version__ = {version!r}\n".encode()}
    machine = platform_machine(tag)
    runtime = [] if cuda_major is None else [cudart_soname(cuda_major), "libtorch_cuda.so"]
    if machine is None:
        files[f"{package}/{Path(library).with_suffix('.pyd')}"] = b"MZ stand-in for a Windows library"
    else:
        needed = ["libc10.so", "libtorch_cpu.so", *runtime, "libc.so.6"]
        files[f"{package}/{library}"] = elf_library(needed, machine=machine)
    if padding:
        files[f"{package}/ballast.bin"] = hashlib.shake_256(name.encode()).digest(padding)
    return Wheel(name, version, tag, requires, requires_python, files, compression=compression)


def torch_wheel(
    version: str,
    variant: str | None,
    python: str,
    platform: str,
    requires: Sequence[str] = (),
    *,
    archs: Sequence[str] = (),
    local: bool = True,
    requires_python: str = ">=3.10",
) -> Wheel:
    """Build a stand-in for torch that says what it was built for (`cu126`, `cpu`) and computes nothing.

    `python` is `cp312`, `archs` are `sm_90` and so on. `local=False` keeps the label out of the file
    name and metadata but not out of `torch.__version__`, as the default index has it.
    `variant=None` is a build without any label.
    """
    labelled = version if variant is None else f"{version}+{variant}"
    files = torch_modules(labelled, _cuda_release(variant), archs) | _torch_libraries(variant, platform)
    tag = f"{python}-{python}-{platform}"
    return Wheel("torch", labelled if local else version, tag, requires, requires_python, files)


def _cuda_release(variant: str | None) -> str | None:
    match = re.fullmatch(r"cu(\d+)(\d)", variant or "")
    return f"{match[1]}.{match[2]}" if match else None


def torch_modules(version: str, cuda: str | None, archs: Sequence[str]) -> dict[str, bytes]:
    """Return the modules of a stand-in for torch; `cuda` is `13.0` or None, `archs` are `sm_90` and so on."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    # Newer releases list the architectures without a GPU, older ones only with one: readers must
    # survive both. Where the change happened is not known; 2.10 is a stand-in for it.
    listed = f"{' '.join(archs)!r}.split()" if cuda and numbers >= [2, 10] else "[]"
    texts = {
        "torch/__init__.py": _TORCH_INIT,
        "torch/version.py": _TORCH_VERSION.format(version=version, cuda=cuda),
        "torch/_C.py": _TORCH_C.format(flags=" ".join(archs), code=_cuda_code(cuda)) if cuda else "",
        "torch/cuda/__init__.py": _TORCH_CUDA.format(listed=listed),
        "torch/backends/__init__.py": "from torch.backends import cuda as cuda\n",
        "torch/backends/cuda/__init__.py": f"def is_built():\n    return {cuda is not None}\n",
    }
    return {path: text.encode() for path, text in texts.items()}


def _cuda_code(cuda: str) -> int:
    major, minor = cuda.split(".")
    return int(major) * 1000 + int(minor) * 10


def _torch_libraries(variant: str | None, platform: str) -> dict[str, bytes]:
    machine = platform_machine(platform)
    cuda = _cuda_release(variant)
    if machine is None or cuda is None:
        return {}
    major = int(cuda.split(".")[0])
    needed = [cudart_soname(major), f"libcublas.so.{major}", "libcudnn.so.9", "libc10_cuda.so", "libc.so.6"]
    return {"torch/lib/libtorch_cuda.so": elf_library(needed, soname="libtorch_cuda.so", machine=machine)}


_TORCH_INIT = '''\
"""A stand-in for torch."""

from torch import _C, backends, cuda, version
from torch.version import __version__
'''

_TORCH_VERSION = """\
from typing import Optional

__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'xpu']
__version__ = {version!r}
debug = False
cuda: Optional[str] = {cuda!r}
git_version = '0000000000000000000000000000000000000000'
hip: Optional[str] = None
xpu: Optional[str] = None
"""

# A CPU build has neither function.
_TORCH_C = """\
def _cuda_getArchFlags():
    return {flags!r}


def _cuda_getCompiledVersion():
    return {code}
"""

_TORCH_CUDA = """\
def is_available():
    return False


def device_count():
    return 0


def get_arch_list():
    return {listed}
"""
