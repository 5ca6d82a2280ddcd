"""`llmos api-keys`: keys for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from llmos_lite.cli.client import url
from llmos_lite.cli.command import Session, command, group

KeyId = Annotated[str, typer.Argument(metavar="KEY-ID", help="The part of the key that lists show, as 0123abcd.")]
Scopes = Annotated[
    list[str],
    typer.Option("--scope", help="What it may be used for; repeat it: chat, skills:read, git, …", show_default=False),
]
Teams = Annotated[list[str], typer.Option("--team", help="The only teams that it knows; repeat it.")]
Days = Annotated[int, typer.Option("--days", help="How long it holds; 0 for ever.")]
Owner = Annotated[str, typer.Option("--for", metavar="ID", help="A service account, as a system admin.")]
Whose = Annotated[str, typer.Option("--of", metavar="ID", help="Whose, as a system admin; * for everybody's.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    keys = group(app, "api-keys", "Make, list and end keys for programs.")
    command(keys, "create")(_create)
    command(keys, "list")(_list)
    command(keys, "revoke")(_revoke)


def _create(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scopes: Scopes,
    *,
    teams: Teams = [],  # noqa: B006 - typer copies it
    days: Days = 0,
    owner: Owner = "",
) -> None:
    """Make a key; it is shown this once."""
    body = {
        "name": name,
        "scopes": scopes,
        "teams": teams or None,
        "expires_days": days or None,
        "user_id": owner,
    }
    made = session.api.post("/keys", body)
    session.out.show(made, lambda: session.out.say(str(made["key"])))


def _list(session: Session, whose: Whose = "") -> None:
    """List your keys; with an API key, that one and what was made with it."""
    found = list(session.api.items("/keys", {"user_id": whose} if whose else {}))
    rows = (
        [
            key.get("key_id"),
            key.get("user_id"),
            key.get("name"),
            " ".join(map(str, scopes)) if isinstance(scopes := key.get("scopes"), list) else "",
            _day(key.get("last_used")),
            "revoked" if key.get("revoked") else _day(key.get("expires")),
        ]
        for key in found
    )
    header = ["KEY-ID", "OWNER", "NAME", "SCOPES", "LAST USED", "UNTIL"]
    session.out.show(found, lambda: session.out.table(header, rows, "No keys yet."))


def _revoke(session: Session, key_id: KeyId) -> None:
    """End a key, and all that were made with it, from the next request on."""
    session.api.call("DELETE", url("keys", key_id))
    session.out.show({}, lambda: session.out.say(f"{key_id} does not work any more."))


def _day(at: object) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}" if isinstance(at, int) else "-"
