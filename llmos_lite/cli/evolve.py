"""`llmos evolve` and `llmos patterns`: what repeats, and what was made of it."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import Json, url
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import one_line
from llmos_lite.cli.runs import follow

COUNTS = ("traces_analyzed", "patterns_detected", "skills_created", "skills_updated", "skipped")


def add(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "evolve")
    def evolve(
        session: Session,
        scope: Annotated[str, typer.Option(help="user, team or system.")] = "user",
        team: Annotated[str, typer.Option("--team", metavar="ID", help="The team, for the scope team.")] = "",
        wait: Annotated[bool, typer.Option(help="Wait for the end.")] = True,  # noqa: FBT002 - typer's way
    ) -> None:
        """Look for goals that repeat, and write skills for them."""
        body = {"scope": "team" if team else scope, "wait": False} | ({"team_id": team} if team else {})
        started = session.api.post("/evolve", body)
        run_id = str(started.get("evolution_id", ""))
        if not wait:
            session.out.show(started, lambda: session.out.say(f"Started {run_id}."))
            return
        result = follow(session, url("evolutions", run_id), "Evolving")
        session.out.show(result, lambda: _report(session, result))

    @command(app, "patterns")
    def patterns(
        session: Session,
        pattern_id: Annotated[str, typer.Argument(help="One pattern; empty lists them.")] = "",
        volume: Annotated[str, typer.Option(help="user:ID, team:ID or system; empty for your own.")] = "",
        limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most rows.")] = 20,
    ) -> None:
        """List goals that repeat, or show one."""
        if pattern_id:
            pattern = session.api.get(url("patterns", pattern_id))
            session.out.show(pattern, lambda: _show(session, pattern))
            return
        found = list(session.api.items("/patterns", {"volume": volume}, limit=limit))
        columns = ["PATTERN", "COUNT", "PEOPLE", "SUCCESS", "SKILL", "FOR EXAMPLE"]
        session.out.show(
            found,
            lambda: session.out.table(columns, map(_row, found), "No patterns yet. `llmos evolve` looks for them."),
        )


def _report(session: Session, result: Json) -> None:
    say = session.out.say
    say(", ".join(f"{key.replace('_', ' ')}: {result.get(key, 0)}" for key in COUNTS))
    details = result.get("details")
    for item in details if isinstance(details, list) else []:
        if isinstance(item, dict):
            what = item.get("skill_id") or item.get("pattern_id") or ""
            say(f"  {item.get('action', '')}  {what}  {one_line(item.get('reason') or item.get('goal'), 100)}")
        else:
            say(f"  {item}")


def _row(pattern: Json) -> list[object]:
    return [
        pattern.get("pattern_id"),
        pattern.get("count"),
        pattern.get("users"),
        _rate(pattern),
        pattern.get("skill_id") or "",
        one_line(next(iter(_examples(pattern)), "")),
    ]


def _show(session: Session, pattern: Json) -> None:
    say = session.out.say
    counts = f"conversations: {pattern.get('count')}, people: {pattern.get('users')}, success: {_rate(pattern)}"
    say(f"{pattern.get('pattern_id')}  {counts}")
    say(*(f"  {one_line(example)}" for example in _examples(pattern)))
    traces = pattern.get("trace_ids")
    say("traces:", *(f"  {item}" for item in (traces if isinstance(traces, list) else [])))


def _examples(pattern: Json) -> list[object]:
    examples = pattern.get("examples")
    return examples if isinstance(examples, list) else []


def _rate(pattern: Json) -> str:
    rate = pattern.get("success_rate")
    return f"{rate:.0%}" if isinstance(rate, int | float) else ""
