"""The `cudaenv` command: a group that imports a subcommand only when it is called."""

from __future__ import annotations

import gc
import importlib
import sys
import traceback

import click

from cudaenv import __version__
from cudaenv.errors import CudaenvError

COMMANDS = {
    "init": "Write a spec for this project, plan it, render it and lock it.",
    "plan": "Say which environments fit the machines, and why.",
    "render": "Write requirements.txt, Dockerfile and a uv snippet from the plan.",
    "lock": "Resolve the plan to lockfiles with hashes.",
    "sync": "Install the locked environment that fits this machine, and verify it.",
    "bundle": "Put every file that the lock names into a folder, for where there is no network.",
    "run": "Run a command in the installed environment.",
    "env": "Print the variables of the installed environment, for a shell to evaluate.",
    "check": "Say whether the lock is still what the spec and the files say.",
    "machine": "Show what can be told of this machine.",
    "matrix": "Show, check and refresh the compatibility tables.",
}
"""Subcommands and their short help, here so that `--help` imports none of them."""

INTERRUPTED = 130
BUG = 1
GARBAGE_THRESHOLD = 100_000
"""New objects after which the collector looks at them: more than a plan makes of those that stay."""


class _LazyGroup(click.Group):
    """Finds `NAME` as `command` in `cudaenv.cli.NAME`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"cudaenv.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="cudaenv %(version)s")
def group() -> None:
    """Environments for CUDA deep learning: which torch, which CUDA, from where, and why; locked.

    Name what for (a target) and on what (machines), in cudaenv.toml or as options.
    """


def main() -> None:
    """Run the command line and exit with its status: see `Exit codes` in the README.

    Tables and plans are many small objects that live as long as the process. To look for garbage among them,
    the last time at the exit, takes a tenth of a short run; a long one still does it.
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    status = run(sys.argv[1:])
    gc.freeze()
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    try:
        # Outside standalone mode click returns the status of `ctx.exit`, and None at the end.
        status = group.main(args=arguments, prog_name="cudaenv", standalone_mode=False) or 0
    except CudaenvError as error:
        click.echo(f"error: {error}", err=True)
        status = error.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        status = INTERRUPTED
    except Exception:
        traceback.print_exc()
        click.echo("\nThis is a bug in cudaenv; please report it with the lines above.", err=True)
        status = BUG
    return status


if __name__ == "__main__":
    main()
