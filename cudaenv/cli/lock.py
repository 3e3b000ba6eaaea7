"""`cudaenv lock`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cudaenv.cli.options import folder_option, force_option, project, spec_options, talk

OFFLINE_VARIABLES = {"CUDAENV_OFFLINE": "1", "CUDAENV_REGISTRY": ""}
"""What tells uv, the solver of conda's packages and the search for digests to fetch nothing."""

EVERYTHING = "*"
"""What `--upgrade` alone means; no package has such a name."""


@click.command()
@spec_options
@folder_option
@force_option
@click.option("--check", is_flag=True, help="Write nothing; exit with 4 where the lock is out of date.")
@click.option(
    "--upgrade",
    multiple=True,
    is_flag=False,
    flag_value=EVERYTHING,
    metavar="[NAME]",
    help="Take the newest versions instead of keeping those locked: of everything, of a package, or "
    "`image` for the digests of container images; may be repeated.",
)
@click.option(
    "--built-wheels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Lock the wheels in a folder of the project, in place of what would be built.",
)
@click.option(
    "--solver",
    default="",
    metavar="PROGRAM",
    help="Solve what conda installs by this conda, mamba or micromamba, and anew; by default by the solver "
    "that comes with cudaenv.",
)
@click.option("--offline", is_flag=True, help="Fetch nothing: use what earlier runs have fetched.")
def command(
    *,
    folder: Path,
    force: bool,
    check: bool,
    upgrade: tuple[str, ...],
    built_wheels: Path | None,
    solver: str,
    offline: bool,
    **given: Any,
) -> None:
    """Resolve the plan to pylock.toml, requirements.lock and cudaenv.lock; print the files' names.

    Needs no GPU, and locks for other platforms than the one it runs on. Versions that are locked
    already are kept.
    """
    from cudaenv.workflow.checking import check_project, is_current
    from cudaenv.workflow.planning import write_files

    here = project(folder, given, OFFLINE_VARIABLES if offline else {})
    if check:
        check_project(here)
        click.echo("up to date")
        return
    if not upgrade and not solver and built_wheels is None and is_current(here):
        talk("up to date: nothing to resolve")
        return
    from cudaenv.workflow.locking import Wishes, lock_project

    wishes = Wishes(
        upgrade=EVERYTHING in upgrade,
        renew={name for name in upgrade if name != EVERYTHING},
        solver=solver,
        built_wheels=built_wheels,
    )
    locked = lock_project(here, wishes)
    write_files(here, locked.files, force=force)
    click.echo("\n".join(locked.files))
