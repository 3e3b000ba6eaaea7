"""What `lock` writes over and what not, and what is left where it cannot write."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.project import LOCK_FILES, RTX_4090, RTX_5090, V100, Project, signal_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and capabilities are Linux's")

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.mark.parametrize("name", ["Dockerfile", "requirements.txt", "pylock.toml", "requirements.lock"])
def test_a_file_of_somebody_else_is_not_overwritten_without_force(project: Project, name: str) -> None:
    mine = "# mine, made by hand\n"
    (project.folder / name).write_text(mine)
    project.spec(V100)
    done = project.run("lock", status=2)
    what = (
        "cannot be read, so its versions cannot be kept" if name == "pylock.toml" else "would be overwritten"
    )
    assert f"`{name}` {what}" in done.err
    assert "--force" in done.err
    assert project.files() == {name: mine.encode()}
    project.run("lock", "--upgrade", "--force")
    assert set(project.files()) == LOCK_FILES
    assert project.text(name) != mine


def test_a_generated_file_that_was_edited_is_not_overwritten_without_force(project: Project) -> None:
    project.lock(V100)
    edited = project.text("Dockerfile").replace("\n", "\nRUN true\n", 1)
    (project.folder / "Dockerfile").write_text(edited)
    before = project.files()
    project.spec(RTX_4090)
    assert "`Dockerfile` would be overwritten" in project.run("lock", status=2).err
    assert project.files() == before
    project.run("lock", "--force")
    assert "RUN true" not in project.text("Dockerfile")


def test_all_edited_files_are_named_at_once(project: Project) -> None:
    project.lock(V100)
    for name in ("Dockerfile", "pylock.toml"):
        (project.folder / name).write_text(f"# mine\n{project.text(name)}")
    project.spec(RTX_4090)
    assert "`Dockerfile`, `pylock.toml` would be overwritten" in project.run("lock", status=2).err


def test_an_edited_file_that_a_new_lock_would_remove_is_kept(project: Project) -> None:
    project.lock({**V100, "gpu": ["GTX 1080 Ti"]}, RTX_5090)
    edited = f"{project.text('Dockerfile.cu126')}RUN true\n"
    (project.folder / "Dockerfile.cu126").write_text(edited)
    before = project.files()
    project.spec(V100)
    assert "`Dockerfile.cu126` would be overwritten" in project.run("lock", status=2).err
    assert project.files() == before


def test_new_files_can_be_read_by_whom_the_umask_allows(project: Project) -> None:
    project.spec(V100)
    project.run("lock", before=lambda: os.umask(0o027))
    modes = {name: (project.folder / name).stat().st_mode & 0o777 for name in project.files()}
    assert modes == dict.fromkeys(LOCK_FILES, 0o640)


def without_write_permission() -> None:
    """Take from root what lets it write where permissions forbid it."""
    if LIBC.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) != 0 and os.geteuid() == 0:
        raise OSError("CAP_DAC_OVERRIDE cannot be dropped")


def test_a_folder_that_cannot_be_written_is_an_error_and_keeps_its_files(project: Project) -> None:
    project.lock(V100)
    before = project.files()
    project.spec(RTX_4090)
    project.folder.chmod(0o555)
    try:
        done = project.run("lock", status=2, before=without_write_permission)
    finally:
        project.folder.chmod(0o755)
    assert "the files cannot be written; the old ones are as they were" in done.err
    assert "Permission denied" in done.err
    assert project.files() == before


def test_a_full_disk_is_an_error_and_leaves_the_old_files_and_no_others(project: Project) -> None:
    # No file may grow beyond a limit that the resolver stays below, and cudaenv.lock, with so many
    # machines to record, does not.
    project.lock(V100)
    before = project.files()
    machines = [{**V100, "name": f"machine-{number}"} for number in range(1200)]
    project.spec(*machines)
    limit = 200_000

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = project.run("lock", status=2, before=fill_the_disk)
    assert "the files cannot be written; the old ones are as they were" in done.err
    assert "File too large" in done.err
    assert project.files() == before
    project.run("lock")
    assert len(project.files()["cudaenv.lock"]) > limit


def test_ctrl_c_while_the_resolver_waits_leaves_the_old_files(project: Project) -> None:
    project.lock(V100)
    before = project.files()
    project.spec(RTX_4090)
    project.server.slow("/simple/torch/", 30)
    process = project.start("lock")
    deadline = time.monotonic() + 20
    while not [item for item in project.server.requests if item.path == "/simple/torch/"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started = time.monotonic()
    done = signal_all(process, signal.SIGINT)
    assert time.monotonic() - started < 10
    assert done.status == 130, done
    assert done.err.endswith("interrupted\n")
    assert "Traceback" not in done.err
    assert project.files() == before
    assert list((project.home / "tmp").iterdir()) == []


def test_a_journal_that_leads_elsewhere_is_not_followed(project: Project, tmp_path: Path) -> None:
    project.lock(V100)
    outside = tmp_path / "outside.txt"
    outside.write_text("mine\n")
    (project.folder / ".cudaenv-journal.json").write_text('{"../outside.txt": null}')
    done = project.run("check", status=2)
    assert "names a file outside its folder" in done.err
    assert outside.read_text() == "mine\n"


def test_a_journal_does_not_lead_elsewhere_through_a_link(project: Project, tmp_path: Path) -> None:
    project.lock(V100)
    outside = tmp_path / "outside"
    outside.mkdir()
    (project.folder / "packages").symlink_to(outside)
    (project.folder / ".cudaenv-new-x").write_text("theirs\n")
    (project.folder / ".cudaenv-journal.json").write_text('{"packages/mine.txt": ".cudaenv-new-x"}')
    done = project.run("check", status=2)
    assert "names a file outside its folder" in done.err
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 5}', "[" * 100_000])
def test_a_journal_that_nobody_can_read_is_an_error_in_words(project: Project, text: str) -> None:
    project.lock(V100)
    (project.folder / ".cudaenv-journal.json").write_text(text)
    assert "`.cudaenv-journal.json` cannot be followed" in project.run("check", status=2).err
