"""`llmos traces erase | forget | archive | restore | archives`: what becomes of old traces."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import Json, items_of, url
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import size, when
from llmos_lite.core.wording import count_of
from llmos_lite.errors import Invalid

TraceId = Annotated[str, typer.Argument(help="Id of the trace.")]
Month = Annotated[str, typer.Argument(metavar="YYYY-MM", help="The month.")]
Volume = Annotated[str, typer.Option(help="user:ID or team:ID; empty for your own.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the tombstone.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it: it cannot be undone.")]


def add_to(traces: typer.Typer) -> None:
    """Add the commands to a group."""
    command(traces, "erase")(erase)
    command(traces, "forget")(forget)
    command(traces, "archive")(archive)
    command(traces, "restore")(restore)
    command(traces, "archives")(archives)


def erase(session: Session, trace_id: TraceId, *, volume: Volume = "", reason: Reason = "", yes: Yes = False) -> None:
    """Erase a trace with every copy that the server holds."""
    _sure(f"trace {trace_id}", yes=yes)
    _report(session, session.api.call("DELETE", url("traces", trace_id), {"volume": volume, "reason": reason}))


def forget(
    session: Session,
    user_id: Annotated[str, typer.Argument(metavar="USER", help="Whose traces.")],
    *,
    reason: Reason = "",
    yes: Yes = False,
) -> None:
    """Erase every trace of a person; account and skills stay."""
    _sure(f"traces of {user_id}", yes=yes)
    _report(session, session.api.call("DELETE", f"{url('users', user_id)}/traces", {"reason": reason}))


def archive(session: Session, month: Month, *, volume: Volume = "") -> None:
    """Move a month of traces out of Git into a compressed bundle."""
    done = session.api.post("/archives", {"month": month, "volume": volume})
    said = f"{month} of {done.get('volume')}: {count_of(done.get('traces'), 'trace')} in {size(done.get('size'))}."
    session.out.show(done, lambda: session.out.say(said))


def restore(session: Session, month: Month, *, volume: Volume = "") -> None:
    """Bring an archived month of traces back."""
    done = session.api.post("/archives/restore", {"month": month, "volume": volume})
    session.out.show(done, lambda: session.out.say(f"{month} of {done.get('volume')} is back."))


def archives(session: Session, *, volume: Volume = "") -> None:
    """List the archived months of a volume."""
    found = list(session.api.items("/archives", {"volume": volume}))
    columns = ["MONTH", "TRACES", "SIZE", "FIRST", "LAST", "ARCHIVED"]
    session.out.show(found, lambda: session.out.table(columns, map(_row, found), "Nothing is archived."))


def _row(archived: Json) -> list[object]:
    times = [when(archived.get(name)) for name in ("first", "last", "archived")]
    return [archived.get("month"), archived.get("traces"), size(archived.get("size")), *times]


def _sure(what: str, *, yes: bool) -> None:
    if not yes:
        raise Invalid("erase.unsure", f"Erasing the {what} cannot be undone.", hint="Add --yes to do it.")


def _report(session: Session, report: Json) -> None:
    session.out.show(report, lambda: _say(session, report))


def _say(session: Session, report: Json) -> None:
    say = session.out.say
    say(f"Erased {count_of(report.get('traces'), 'trace')}.")
    for one in items_of(report, "volumes"):
        gone = count_of(one.get("objects"), "object")
        say(f"  {one.get('volume')}: months {_list(one, 'branches')}, {gone} removed")
    for one in items_of(report, "skills"):
        how = "its quotation was taken out" if one.get("replaced") else "quotes it: look at it"
        say(f"  skill {one.get('skill_id')} of {one.get('volume')}: {how}")
    if unreached := _list(report, "unreached"):
        say(f"Not reached: {unreached}")
    unfinished = report.get("unfinished")
    for volume, why in (unfinished if isinstance(unfinished, dict) else {}).items():
        say(f"Not finished in {volume}, tried again at the next start: {why}")
    say(str(report.get("out_of_reach", "")))


def _list(report: Json, name: str) -> str:
    found = report.get(name)
    return ", ".join(map(str, found)) if isinstance(found, list) else ""
