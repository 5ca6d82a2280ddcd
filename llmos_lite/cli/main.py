"""`llmos`: what the terminal can do, and how an error looks there.

Loading this file must be quick: whatever is slow to load is loaded by the command that needs it.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from llmos_lite import __version__
from llmos_lite.cli import (
    admin,
    api_keys,
    audit,
    chat,
    evolve,
    import_,
    invitations,
    login,
    mcp,
    people,
    promote,
    proposals,
    providers,
    pull,
    remotes,
    serve,
    skills,
    stats,
    tool_servers,
    traces,
    usage,
    verify,
    watch,
)
from llmos_lite.cli.output import report
from llmos_lite.errors import Invalid, LlmosError, storage_error

INTERRUPTED = 128 + signal.SIGINT
STDOUT = 1

app = typer.Typer(
    name="llmos",
    help="A team's know-how for language models, kept in Git.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for noun in (
    serve,
    login,
    chat,
    skills,
    traces,
    evolve,
    promote,
    pull,
    proposals,
    import_,
    watch,
    mcp,
    providers,
    tool_servers,
    remotes,
    people,
    api_keys,
    invitations,
    stats,
    usage,
    verify,
    audit,
    admin,
):
    noun.add(app)


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"llmos-lite {__version__}\n")


def _version(asked: bool) -> None:  # noqa: FBT001 - how typer calls it
    if asked:
        version()
        raise typer.Exit


@app.callback()
def llmos(
    *,
    _shown: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """A team's know-how for language models, kept in Git."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command; the exit code says how it went, as `errors.py` draws it."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        result = _commands()(arguments, prog_name="llmos", standalone_mode=False)
    except typer.TyperException as error:
        return _misused(error, as_json="--json" in arguments)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)  # so that nothing more can fail at the end
        return 0
    except Exception as error:
        if os.environ.get("LLMOS_LOG_LEVEL", "").lower() == "debug":
            raise
        said = _explain(error)
        report(said, as_json="--json" in arguments)
        return said.exit_code
    return result if isinstance(result, int) else 0


@functools.cache
def _commands() -> Callable[..., object]:
    """Return the tree of all commands: to make it takes as long as a small command."""
    return typer.main.get_command(app)


def _misused(error: typer.TyperException, *, as_json: bool) -> int:
    """Say what is wrong with the command line; a group without a command shows its help."""
    said = error.format_message()
    if said.startswith("Usage:"):
        sys.stderr.write(f"{said}\n")
    else:
        report(Invalid("cli.usage", said, hint="`llmos COMMAND --help` says what a command takes."), as_json=as_json)
    return error.exit_code


def _explain(error: Exception) -> LlmosError:
    if isinstance(error, LlmosError):
        return error
    if isinstance(error, OSError):
        name = error.filename
        return storage_error(error, f"use {os.fsdecode(name)}" if isinstance(name, str | bytes) else "finish")
    return LlmosError(
        "internal",
        f"Something went wrong that should not have ({type(error).__name__}: {error}).",
        hint="LLMOS_LOG_LEVEL=debug shows where; please report it.",
    )
