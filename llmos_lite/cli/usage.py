"""`llmos usage`, `llmos limits list | set | unset`: what is used of models, and what may be."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import Json, url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import when
from llmos_lite.core.wording import count_of

Subject = Annotated[str, typer.Argument(help="user:ID, team:ID or key:ID.")]
Requests = Annotated[int | None, typer.Option(min=0, help="Requests a minute; 0 is no limit.")]
Streams = Annotated[int | None, typer.Option(min=0, help="Chats at once; 0 is no limit.")]
Tokens = Annotated[int | None, typer.Option(min=0, help="Tokens a month; 0 is no limit.")]
Money = Annotated[float | None, typer.Option(min=0, help="Money a month, in the unit of the prices; 0 is no limit.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "usage")(usage)
    limits = group(app, "limits", "What people, teams and keys may use.")
    command(limits, "list")(list_)
    command(limits, "set")(set_)
    command(limits, "unset")(unset)


def usage(
    session: Session,
    subject: Annotated[str, typer.Argument(help="user:ID, team:ID or key:ID; empty for yourself.")] = "",
    *,
    month: Annotated[str, typer.Option(help="As in 2026-11; empty for this one.")] = "",
    everybody: Annotated[bool, typer.Option("--all", help="Everybody, as a system admin.")] = False,
) -> None:
    """Say what was used of models in a month, and what may be."""
    if everybody:
        rows = list(session.api.items("/usage/all", {"month": month}))
        columns = ["WHO", "REQUESTS", "TOKENS IN", "TOKENS OUT", "MONEY"]
        session.out.show(rows, lambda: session.out.table(columns, map(_row, rows), "Nothing was used."))
        return
    found = session.api.get("/usage", {"subject": subject, "month": month})
    session.out.show(found, lambda: session.out.say(*_said(found)))


def _row(row: Json) -> list[object]:
    return [row.get("subject"), row.get("requests"), row.get("tokens_in"), row.get("tokens_out"), _money(row)]


def _said(found: Json) -> list[str]:
    limits = found.get("limits")
    may = limits if isinstance(limits, dict) else {}
    tokens = _number(found.get("tokens_in")) + _number(found.get("tokens_out"))
    return [
        f"{found.get('subject')} in {found.get('month')}: {count_of(found.get('requests'), 'chat')}",
        f"tokens  {tokens:,.0f}{_of(may.get('tokens'))}",
        f"money   {_money(found)}{_of(may.get('money'))}",
        f"limits  {_rates(may)}",
    ]


def list_(session: Session) -> None:
    """List the limits that differ from the settings."""
    rows = list(session.api.items("/limits"))
    columns = ["WHO", "REQUESTS", "STREAMS", "TOKENS", "MONEY", "CHANGED", "BY"]
    session.out.show(rows, lambda: session.out.table(columns, map(_limits, rows), "The settings hold for everybody."))


def _limits(row: Json) -> list[object]:
    names = ("requests", "streams", "tokens", "money")
    values = ["" if row.get(name) is None else _limit(row.get(name), "no limit") for name in names]
    return [row.get("subject"), *values, when(row.get("changed")), row.get("changed_by")]


def set_(
    session: Session,
    subject: Subject,
    *,
    requests: Requests = None,
    streams: Streams = None,
    tokens: Tokens = None,
    money: Money = None,
) -> None:
    """Set what somebody may use; what is left out takes the setting."""
    wanted = {"requests": requests, "streams": streams, "tokens": tokens, "money": money}
    now = session.api.call("PUT", url("limits", subject), json_body=wanted)
    session.out.show(now, lambda: session.out.say(f"{subject} may use {_may(now)}."))


def unset(session: Session, subject: Subject) -> None:
    """Let the settings hold for somebody again."""
    now = session.api.call("DELETE", url("limits", subject))
    session.out.show(now, lambda: session.out.say(f"{subject} may use {_may(now)}, as everybody."))


def _may(now: Json) -> str:
    money = _limit(now.get("money"), "any amount of")
    return f"{_at_most(now.get('tokens'), 'token')} and {money} money a month, {_rates(now)}"


def _rates(now: Json) -> str:
    return f"{_at_most(now.get('requests'), 'request')} a minute, {_at_most(now.get('streams'), 'chat')} at once"


def _at_most(value: object, noun: str) -> str:
    return count_of(value, noun) if _number(value) else f"any number of {noun}s"


def _limit(value: object, none: str = "any number of") -> str:
    number = _number(value)
    return f"{number:,.10g}" if number else none


def _of(value: object) -> str:
    return f" of {_limit(value)}" if _number(value) else ", no limit"


def _money(row: Json) -> str:
    return f"{_number(row.get('money')):,.4f}".rstrip("0").rstrip(".")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
