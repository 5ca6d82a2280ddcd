"""`llmos audit list | export | verify`: who did what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli.client import Json, Params
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import one_line, when
from llmos_lite.cli.traces import moment
from llmos_lite.core.wording import count_of

User = Annotated[str, typer.Option("--by", metavar="ID", help="Who acted, or whose key was used.")]
Action = Annotated[str, typer.Option(help="Actions that begin with this, as in member.")]
Target = Annotated[str, typer.Option(help="Targets that begin with this, as in team:sre.")]
Result = Annotated[str, typer.Option(help="ok, refused or failed.")]
After = Annotated[str, typer.Option(help="Not before this time: 2026-11-22, or 2026-11-22T13:00.")]
Before = Annotated[str, typer.Option(help="Before this time.")]
CHANGED = 1
"""Exit code when the log is not as it was written."""


def add(app: typer.Typer) -> None:
    """Add the commands."""
    audit = group(app, "audit", "Who did what: search, export, and check that nobody changed it.")
    command(audit, "list")(list_)
    command(audit, "export")(export)
    command(audit, "verify")(verify)


def list_(
    session: Session,
    *,
    by: User = "",
    action: Action = "",
    target: Target = "",
    result: Result = "",
    after: After = "",
    before: Before = "",
    limit: Annotated[int, typer.Option(min=1, help="Most rows.")] = 50,
) -> None:
    """List what was done, newest first: by you or to what is yours; everything for a system admin."""
    given = _filters((by, action, target, result), after, before)
    rows = list(session.api.items("/audit", given, limit=limit))
    columns = ["", "TIME", "WHO", "WHAT", "TO WHAT", "RESULT", "FROM", "DETAIL"]
    session.out.show(rows, lambda: session.out.table(columns, map(_row, rows), "Nothing yet."))


def _row(row: Json) -> list[object]:
    who = str(row.get("actor") or "") + (f" by {row['owner']}" if row.get("owner") else "")
    detail = row.get("detail")
    facts = " ".join(f"{key}={value}" for key, value in detail.items()) if isinstance(detail, dict) else ""
    result = row.get("code") or row.get("result")
    time = when(row.get("time"))
    return [row.get("seq"), time, who, row.get("action"), row.get("target"), result, row.get("client"), one_line(facts)]


def export(
    session: Session,
    file: Annotated[Path | None, typer.Argument(help="File to write; empty for standard output.")] = None,
    *,
    by: User = "",
    action: Action = "",
    target: Target = "",
    result: Result = "",
    after: After = "",
    before: Before = "",
) -> None:
    """Write the log as lines of JSON, oldest first."""
    given = _filters((by, action, target, result), after, before)
    reply = session.api.send("GET", "/audit/export", given, accept="application/x-ndjson")
    if file is None:
        for block in reply.chunks():
            sys.stdout.buffer.write(block)
        sys.stdout.flush()
        return
    with file.open("wb") as written:
        size = sum(written.write(block) for block in reply.chunks())
    session.out.show({"file": str(file), "bytes": size}, lambda: session.out.say(f"Wrote {file} ({size:,} bytes)."))


def verify(session: Session) -> int:
    """Compute the chain of hashes anew and compare it with the signed checkpoints."""
    report = session.api.get("/audit/verify")
    session.out.show(report, lambda: session.out.say(*_said(report)))
    return 0 if report.get("ok") is True else CHANGED


def _said(report: Json) -> list[str]:
    if not report.get("ok"):
        return [f"NOT as it was written. {report.get('problem')}"]
    rows = count_of(report.get("rows"), "row is as it was written", "rows are as they were written")
    covers = count_of(report.get("checkpoints"), "signed checkpoint covers", "signed checkpoints cover")
    return [f"{rows}; {covers} those up to {report.get('covered')}.", f"Head: {report.get('hash')}"]


def _filters(who: tuple[str, str, str, str], after: str, before: str) -> Params:
    user, action, target, result = who
    named = {"user": user, "action": action, "target": target, "result": result}
    return named | {"after": moment(after), "before": moment(before)}
