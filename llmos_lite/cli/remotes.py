"""`llmos remotes`: mirror a volume to other repositories, and pull from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import Json, url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import one_line, when
from llmos_lite.errors import Invalid, NotFound, storage_error

NAME = "NAME"
Name = Annotated[str, typer.Argument(metavar=NAME, help="Name of the remote.")]
Volume = Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for your own.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    remotes = group(app, "remotes", "Mirror a volume to other repositories, and pull from them.")
    command(remotes, "list")(list_)
    command(remotes, "add")(add_)
    command(remotes, "remove")(remove)
    command(remotes, "sync")(sync)


def list_(session: Session, *, volume: Volume = "") -> None:
    """List the remotes of a volume, and how they stand."""
    found = list(session.api.items(f"{_path(session, volume)}"))
    columns = ["NAME", "URL", "WHAT", "DIRECTION", "WHEN", "STATE", "AHEAD", "BEHIND", "LAST SUCCESS", "PROBLEM"]
    session.out.show(found, lambda: session.out.table(columns, map(_row, found), "There are no remotes."))


def add_(
    session: Session,
    name: Name,
    address: Annotated[str, typer.Argument(metavar="URL", help="https://…, ssh://… or git@host:path.")],
    *,
    volume: Volume = "",
    direction: Annotated[str, typer.Option(help="push, pull or both.")] = "push",
    cron: Annotated[str, typer.Option(help="By this schedule (five fields, UTC) instead of after each commit.")] = "",
    manual: Annotated[bool, typer.Option("--manual", help="Only when asked.")] = False,
    branch: Annotated[str, typer.Option(help="The branch there.")] = "main",
    traces: Annotated[bool, typer.Option("--traces", help="Mirror the traces instead of the skills.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Take what is pulled without a review.")] = False,
    username: Annotated[str, typer.Option(help="For HTTP.")] = "",
    token_file: Annotated[str, typer.Option(metavar="FILE", help="A token; - reads standard input.")] = "",
    key_file: Annotated[str, typer.Option(metavar="FILE", help="A private SSH key without a passphrase.")] = "",
    new_key: Annotated[bool, typer.Option("--new-key", help="Make an SSH key; its public half is printed.")] = False,
    variable: Annotated[str, typer.Option(metavar=NAME, help="LLMOS_REMOTE_… of the server's holds the secret.")] = "",
) -> None:
    """Add a remote to a volume."""
    ways = {
        "token": read_secret(token_file),
        "ssh_key": "new" if new_key and not key_file else read_secret(key_file),
        "variable": variable,
    }
    given = {key: text for key, text in ways.items() if text}
    body = {
        "name": name,
        "url": address,
        "branch": branch,
        "traces": traces,
        "direction": direction,
        "when": "schedule" if cron else "manual" if manual else "commit",
        "cron": cron,
        "trust": trust,
        "credential": {"username": username, **given} if given else None,
    }
    made = session.api.post(_path(session, volume), body)
    session.out.show(made, lambda: _added(session, made))


def remove(session: Session, name: Name, *, volume: Volume = "") -> None:
    """Take a remote away; what is there stays there."""
    session.api.call("DELETE", _path(session, volume) + url(name))
    session.out.show({"removed": name}, lambda: session.out.say(f"{name} is no remote any more."))


def sync(session: Session, name: Name, *, volume: Volume = "") -> int:
    """Push to a remote and pull from it now; the exit code is 7 when that did not work."""
    done = session.api.call("POST", f"{_path(session, volume)}{url(name)}/sync")
    session.out.show(done, lambda: _synced(session, done))
    return 0 if done.get("running") or done.get("state") == "ok" else 7


def _path(session: Session, volume: str) -> str:
    return f"{url('volumes', volume or _own(session))}/remotes"


def _own(session: Session) -> str:
    return f"user:{session.api.get('/me').get('user_id')}"


def read_secret(file: str) -> str:
    """Return a secret from a file: on a command line everybody would see it."""
    if not file:
        return ""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound("path.missing", f"There is no file {file}.", hint="Correct the path.") from None
    except UnicodeDecodeError:
        raise Invalid("remote.credential", f"{file} is no text.") from None
    except OSError as error:
        raise storage_error(error, f"read {file}") from error
    if not text.strip():
        raise Invalid("remote.credential", f"There is nothing in {'standard input' if file == '-' else file}.")
    return text.strip()


def _row(remote: Json) -> list[object]:
    timing = remote.get("cron") or remote.get("when")
    return [
        remote.get("name"),
        remote.get("url"),
        "traces" if remote.get("traces") else "skills",
        remote.get("direction"),
        timing if remote.get("active") else "paused",
        "running" if remote.get("running") else remote.get("state"),
        remote.get("ahead"),
        remote.get("behind"),
        when(remote.get("succeeded")),
        one_line(remote.get("problem")),
    ]


def _added(session: Session, remote: Json) -> None:
    session.out.say(f"{remote.get('name')} is a remote of {remote.get('volume')}.")
    if remote.get("public_key"):
        session.out.say("Let this key in there:", str(remote["public_key"]))


def _synced(session: Session, remote: Json) -> None:
    if remote.get("running"):
        session.out.say(f"{remote.get('name')}: this takes longer; `llmos remotes list` shows how it goes.")
        return
    session.out.say(f"{remote.get('name')}: {remote.get('state')}", *str(remote.get("problem") or "").splitlines())
