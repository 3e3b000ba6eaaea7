"""Programs that wheels carry: checked against the wheel's hash, run alone in an empty folder."""

from __future__ import annotations

import io
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from cudaenv.errors import FetchError
from cudaenv.model.names import SHA256
from cudaenv.system.addresses import shown
from cudaenv.system.http import Client
from cudaenv.system.remote_wheels import RemoteWheel, download, readable

PROGRAMS: Final = frozenset({"ptxas"})
"""Names of the programs that may be run: NVIDIA's assembler says which architectures it knows."""

MAX_PROGRAM: Final = 256 << 20  # bytes
MAX_OUTPUT: Final = 1 << 20  # bytes
TIMEOUT_S: Final = 60.0


# A file that a process just started still holds open for writing cannot be run: one thing at a time.
_STARTING = threading.Lock()


def fetch_program(url: str, sha256: str, client: Client, member: str, folder: Path) -> Path:
    """Put a program of the wheel at `url` into a new folder inside `folder`, and return its path.

    The whole wheel is fetched and has to have this `sha256`; FetchError where it does not, or where the
    program is not in it. ValueError for a member that is none of PROGRAMS.
    """
    name = PurePosixPath(member).name
    if name not in PROGRAMS:
        raise ValueError(f"not a program that may be run: {member!r}")
    if not SHA256.fullmatch(sha256):
        raise FetchError(f"`{name}` of `{shown(url)}` is not run: the index states no sha256 of the wheel")
    content = _extracted(url, sha256, client, member)
    program = Path(tempfile.mkdtemp(dir=folder)) / name
    with _STARTING:
        program.write_bytes(content)
    program.chmod(0o700)
    return program


def run_program(program: Path, arguments: Sequence[str], what: str) -> str:
    """Return what a program prints, to standard output and error alike; `what` names it in messages.

    It runs without a shell, in an empty folder, with next to nothing in its environment, for at most
    TIMEOUT_S. Any exit status is an answer. FetchError where it cannot be run (another operating system or
    processor), is killed, or prints too much.
    """
    with tempfile.TemporaryDirectory(prefix="cudaenv-", ignore_cleanup_errors=True) as folder:
        status, output = _run([str(program), *arguments], folder, what)
    if status < 0:
        raise FetchError(f"{what} cannot be run here", [f"it was ended by signal {-status}"])
    return output.decode(errors="replace")


def _extracted(url: str, sha256: str, client: Client, member: str) -> bytes:
    with tempfile.TemporaryFile() as copy:
        download(url, sha256, client, copy)
        with readable(url), zipfile.ZipFile(copy) as archive:
            return RemoteWheel(url, archive).read(member, MAX_PROGRAM)


def _run(command: Sequence[str], folder: str, what: str) -> tuple[int, bytes]:
    process = _start(command, folder, what)
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(TIMEOUT_S, end)
    timer.start()
    try:
        with process, process.stdout or io.BytesIO() as stream:
            output = stream.read(MAX_OUTPUT + 1)
            if len(output) > MAX_OUTPUT:
                process.kill()
    finally:
        timer.cancel()
    if late.is_set():
        raise FetchError(f"{what} did not end within {TIMEOUT_S:.0f} s")
    if len(output) > MAX_OUTPUT:
        raise FetchError(f"{what} prints more than {MAX_OUTPUT} bytes")
    return process.returncode, output


def _start(command: Sequence[str], folder: str, what: str) -> subprocess.Popen[bytes]:
    try:
        with _STARTING:
            return subprocess.Popen(
                command,
                cwd=folder,
                env={"LC_ALL": "C", "PATH": "", "TMPDIR": folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
    except OSError as error:
        hint = "it is for another operating system or processor; measure this on a machine that can run it"
        raise FetchError(f"{what} cannot be run here", [error.strerror or str(error)], hint) from error
