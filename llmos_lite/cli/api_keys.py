"""`llmos api-keys`: keys for programs; `llmos keys`: tokens for the URLs of clients that can send no header."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from llmos_lite.cli.client import url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.errors import Invalid

KeyId = Annotated[str, typer.Argument(metavar="KEY-ID", help="The part of the key that lists show, as 0123abcd.")]
Scopes = Annotated[
    list[str],
    typer.Option("--scope", help="What it may be used for; repeat it: chat, skills:read, git, …", show_default=False),
]
Teams = Annotated[list[str], typer.Option("--team", help="The only teams that it knows; repeat it.")]
Days = Annotated[
    str,
    typer.Option(
        "--days", metavar="N|never", help="Days that it holds, at most 3650; without it as the server is set."
    ),
]
Owner = Annotated[str, typer.Option("--for", metavar="ID", help="A service account, as a system admin.")]
Team = Annotated[str, typer.Option("--team", help="The only team whose skills it reads; all that you read without.")]
Name = Annotated[str, typer.Option("--name", help="What it is for.")]
Whose = Annotated[str, typer.Option("--of", metavar="ID", help="Whose, as a system admin; * for everybody's.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    keys = group(
        app, "api-keys", "Make, list and end keys that programs send in a header; `llmos keys` makes URLs instead."
    )
    command(keys, "create")(_create)
    command(keys, "list")(_list)
    command(keys, "revoke")(_revoke)
    tokens = group(
        app,
        "keys",
        "Make URLs that read skills, for clients that send no header; `llmos api-keys` lists and ends them.",
    )
    command(tokens, "mcp")(_mcp)
    command(tokens, "catalog")(_catalog)


def _create(
    session: Session,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scopes: Scopes,
    *,
    teams: Teams = [],  # noqa: B006 - typer copies it
    days: Days = "",
    owner: Owner = "",
) -> None:
    """Make a key; it is shown this once."""
    body = {
        "name": name,
        "scopes": scopes,
        "teams": teams or None,
        "expires_days": _lasting(days),
        "user_id": owner,
    }
    made = session.api.post("/keys", body)
    session.out.show(made, lambda: session.out.say(str(made["key"])))
    _tell_end(session, made)


def _mcp(session: Session, team: Team = "", name: Name = "MCP client", days: Days = "") -> None:
    """Make a URL of the MCP server that needs no header; it is shown this once, and only reads."""
    _token(session, "mcp", team, name, days)


def _catalog(session: Session, team: Team = "", name: Name = "Catalog", days: Days = "") -> None:
    """Make a URL of a catalog that stock clients install skills from; it is shown this once, and only reads."""
    _token(session, "catalog", team, name, days)


def _token(session: Session, purpose: str, team: str, name: str, days: str) -> None:
    body = {"purpose": purpose, "name": name, "teams": [team] if team else None, "expires_days": _lasting(days)}
    made = session.api.post("/keys", body)
    session.out.show(made, lambda: session.out.say(str(made["url"])))
    _tell_end(session, made)


def _lasting(days: str) -> int | str | None:
    """Return how long a key is to hold, as the API has it; None where nothing is said."""
    if days in {"", "never"}:
        return days or None
    if days.isascii() and days.isdigit() and int(days):
        return int(days)
    raise Invalid("key.days", f"--days {days!r} is no number of days.", hint="Use 1 to 3650, or never.")


def _tell_end(session: Session, made: Mapping[str, object]) -> None:
    until = f"holds until {_day(made.get('expires'))}" if made.get("expires") else "holds for ever"
    session.out.note(
        f"It {until}; `llmos api-keys revoke {made.get('key_id')}` ends it. --days says how long one holds."
    )


def _list(session: Session, whose: Whose = "") -> None:
    """List your keys; with an API key, that one and what was made with it."""
    found = list(session.api.items("/keys", {"user_id": whose} if whose else {}))
    rows = (
        [
            key.get("key_id"),
            key.get("user_id"),
            key.get("name"),
            _for(key),
            _day(key.get("last_used")),
            "revoked" if key.get("revoked") else _day(key.get("expires")) if key.get("expires") else "never",
        ]
        for key in found
    )
    header = ["KEY-ID", "OWNER", "NAME", "FOR", "LAST USED", "UNTIL"]
    session.out.show(found, lambda: session.out.table(header, rows, "No keys yet."))


def _revoke(session: Session, key_id: KeyId) -> None:
    """End a key, and all that were made with it, from the next request on."""
    session.api.call("DELETE", url("keys", key_id))
    session.out.show({}, lambda: session.out.say(f"{key_id} does not work any more."))


def _for(key: Mapping[str, object]) -> str:
    scopes = key.get("scopes")
    return f"URL: {key['purpose']}" if key.get("purpose") else " ".join(scopes if isinstance(scopes, list) else [])


def _day(at: object) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}" if isinstance(at, int) else "-"
