"""Channels that are guarded, slow, altered, or gone: what a lock and an installation make of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.channel import Channels
from tests.support.conda_project import DESK, CondaProject, conda_project, on_linux_64
from tests.support.project import Project

WORD = "s3cret-word"


@pytest.fixture
def conda(project: Project, channels: Channels) -> Iterator[CondaProject]:
    with conda_project(project, channels) as found:
        yield found


def nothing_holds(word: str, *folders: Path) -> bool:
    """Whether no file below the folders holds a secret."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return not any(word.encode() in path.read_bytes() for path in files if not path.is_symlink())


@on_linux_64
def test_channels_behind_a_password_are_read_by_netrc(conda: CondaProject) -> None:
    conda.server.require_auth("/", "reader", WORD)
    refused = conda.lock(status=6)
    assert "401" in refused.err
    assert conda.project.files() == {}
    netrc = conda.project.home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login reader password {WORD}\n")
    netrc.chmod(0o600)
    conda.lock()
    conda.sync()
    assert nothing_holds(WORD, conda.project.folder)


@on_linux_64
def test_a_condarc_says_where_channels_lie_and_its_password_goes_nowhere(conda: CondaProject) -> None:
    conda.server.require_auth("/", "reader", WORD)
    alias = conda.server.url.replace("://", f"://reader:{WORD}@")
    (conda.project.home / ".condarc").write_text(f"channel_alias: {alias}\n")
    done = conda.lock(channels={})
    conda.sync()
    assert WORD not in done.err + done.out
    assert nothing_holds(WORD, conda.project.folder, conda.project.home / "cudaenv-cache")


def test_a_token_in_a_condarc_is_used_and_not_shown(conda: CondaProject) -> None:
    conda.server.require_token(WORD)
    condarc = conda.project.home / ".condarc"
    condarc.write_text(f"custom_channels:\n  conda-forge: {conda.server.url}/t/{WORD}\n")
    conda.lock(channels={}, python="3.12")
    assert nothing_holds(WORD, conda.project.folder, conda.project.home / "cudaenv-cache")
    condarc.write_text(f"custom_channels:\n  conda-forge: {conda.server.url}/t/{WORD}-old\n")
    done = conda.lock(channels={}, python="3.11", status=6)
    assert WORD not in done.err + done.out


def test_a_bearer_token_is_taken_from_rattlers_store(conda: CondaProject) -> None:
    conda.server.require_bearer("/", WORD)
    store = conda.project.home / "auth.json"
    store.write_text(json.dumps({"127.0.0.1": {"BearerToken": WORD}}))
    conda.project.environ["RATTLER_AUTH_FILE"] = str(store)
    conda.lock(python="3.12")
    assert nothing_holds(WORD, conda.project.folder)


def test_channels_without_shards_are_read_whole(conda: CondaProject) -> None:
    conda.lock(python="3.12")
    sharded = conda.versions()
    conda.server.without_shards()
    (conda.project.folder / "conda-lock.yml").unlink()
    conda.project.environ["CUDAENV_CACHE_DIR"] = str(conda.project.home / "another-cache")
    conda.project.run("lock", "--upgrade")
    assert conda.versions() == sharded


def test_a_slow_channel_is_waited_for(conda: CondaProject) -> None:
    conda.server.slow("/conda-forge/noarch/repodata_shards.msgpack.zst", 3)
    conda.lock(python="3.12")


@pytest.mark.parametrize("status", [404, 500])
def test_a_channel_that_cannot_be_read_is_named_and_nothing_is_written(
    conda: CondaProject, status: int
) -> None:
    for name in ("repodata_shards.msgpack.zst", "repodata.json.zst", "repodata.json"):
        for subdir in ("linux-64", "noarch"):
            conda.server.fail(f"/conda-forge/{subdir}/{name}", status)
    done = conda.lock(python="3.12", status=6)
    assert "the conda channels cannot be read" in done.err
    assert str(status) in done.err
    assert "[channels]" in done.err
    assert conda.project.files() == {}


def test_damaged_repodata_are_an_error_and_no_traceback(conda: CondaProject) -> None:
    conda.server.without_shards()
    for subdir in ("linux-64", "noarch"):
        conda.server.replace(f"/conda-forge/{subdir}/repodata.json.zst", b"no zstandard frame")
        conda.server.replace(f"/conda-forge/{subdir}/repodata.json", b"{")
    done = conda.lock(python="3.12", status=None)
    assert done.status in {5, 6}
    assert conda.project.files() == {}


def test_records_without_a_sha256_are_not_locked(conda: CondaProject) -> None:
    def strip(record: dict[str, object]) -> None:
        record.pop("sha256", None)

    conda.server.rewrite("conda-forge", "linux-64", strip)
    done = conda.lock(python="3.12", status=5)
    assert "has no sha256" in done.err
    assert conda.project.files() == {}


@on_linux_64
def test_repodata_that_were_altered_lock_a_hash_that_no_file_has(conda: CondaProject) -> None:
    def alter(record: dict[str, object]) -> None:
        if record["name"] == "libgcc":
            record["sha256"] = "0" * 64

    conda.server.rewrite("conda-forge", "linux-64", alter)
    conda.lock()
    done = conda.sync(status=5)
    assert "is not the one that was locked" in done.err
    assert "0" * 64 in done.err
    assert conda.package("libgcc-").sha256 in done.err


def test_a_record_whose_name_would_reach_a_shell_is_refused(conda: CondaProject) -> None:
    def alter(record: dict[str, object]) -> None:
        if record["name"] == "libgcc":
            record["version"] = "15; touch /tmp/owned"

    conda.server.rewrite("conda-forge", "linux-64", alter)
    done = conda.lock(python="3.12", status=None)
    assert done.status in {3, 5, 6}
    assert conda.project.files() == {}


def test_offline_a_lock_is_made_of_what_was_fetched_before(conda: CondaProject) -> None:
    conda.lock(python="3.12")
    before = conda.project.files()
    for name in ("conda-lock.yml", "cudaenv.lock"):
        (conda.project.folder / name).unlink()
    conda.server.requests.clear()
    conda.project.run("lock", "--offline", "--upgrade", "--force")
    assert conda.server.requests == []
    assert conda.project.files() == before


def test_offline_without_anything_fetched_is_an_error(conda: CondaProject) -> None:
    conda.project.spec(DESK, provider="conda", channels=conda.mirrors, python="3.12")
    done = conda.project.run("lock", "--offline", status=None)
    assert done.status in {3, 5, 6}
    assert conda.server.requests == []
    assert conda.project.files() == {}
