"""`llmos`: what the terminal can do, and how an error looks there.

Loading this file must be quick: whatever is slow to load is loaded by the command that needs it.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from llmos_lite import __version__
from llmos_lite.cli.output import report
from llmos_lite.errors import Invalid, LlmosError, storage_error

INTERRUPTED = 128 + signal.SIGINT
STDOUT = 1

COMMANDS = {
    "serve": ("serve",),
    "login": ("login", "logout", "password"),
    "chat": ("chat",),
    "skills": ("skills",),
    "traces": ("traces",),
    "evolve": ("evolve", "patterns"),
    "promote": ("promote",),
    "pull": ("pull",),
    "proposals": ("proposals",),
    "import_": ("import",),
    "watch": ("watch",),
    "mcp": ("mcp",),
    "providers": ("providers",),
    "tool_servers": ("tool-servers",),
    "remotes": ("remotes",),
    "people": ("users", "teams", "members"),
    "api_keys": ("api-keys", "keys"),
    "invitations": ("invitations",),
    "stats": ("stats", "history"),
    "usage": ("usage", "limits"),
    "verify": ("verify", "signing"),
    "audit": ("audit",),
    "admin": ("reindex", "maintain", "backup", "restore", "doctor", "openapi"),
}
"""The commands that each file adds, in the order of the help; only the file of the command asked for is loaded."""
OWN = ("version", "--version")


def _version(asked: bool) -> None:  # noqa: FBT001 - how typer calls it
    if asked:
        version()
        raise typer.Exit


def version() -> None:
    """Print the version."""
    sys.stdout.write(f"llmos-lite {__version__}\n")


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
        result = _commands(_files(arguments))(arguments, prog_name="llmos", standalone_mode=False)
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


def _files(arguments: list[str]) -> tuple[str, ...]:
    """Return the files of the command that is asked for, or all when no first word says which."""
    asked = next(iter(arguments), "")
    if asked in OWN:
        return ()
    return tuple(file for file, names in COMMANDS.items() if asked in names) or tuple(COMMANDS)


@functools.cache
def _commands(files: tuple[str, ...]) -> Callable[..., object]:
    """Return the tree of the commands of files: to make the whole takes as long as a small command, and 5 MB."""
    app = typer.Typer(
        name="llmos",
        help="A team's know-how for language models, kept in Git.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for file in files:
        importlib.import_module(f"llmos_lite.cli.{file}").add(app)
    app.command()(version)
    app.callback()(llmos)
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
