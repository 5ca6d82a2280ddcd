"""`llmos traces`: list, show, export, feedback; erasure and archives are in `erasure`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llmos_lite.cli import erasure
from llmos_lite.cli.client import Json, url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import one_line, when
from llmos_lite.errors import Invalid

TraceId = Annotated[str, typer.Argument(help="Id of the trace.")]
Volume = Annotated[str, typer.Option(help="user:ID or team:ID; empty for your own.")]
Skill = Annotated[str, typer.Option(metavar="ID", help="Only those that used this skill.")]
Outcome = Annotated[str, typer.Option(help="success, failure or unknown.")]
Text = Annotated[str, typer.Option(help="Only those with this text.")]
After = Annotated[str, typer.Option(help="Only those after this time (ISO 8601, or ms since the epoch).")]
Before = Annotated[str, typer.Option(help="Only those before this time.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    traces = group(app, "traces", "List, show, export, erase and archive traces; say what came of one.")
    erasure.add_to(traces)

    @command(traces, "list")
    def list_(
        session: Session,
        *,
        volume: Volume = "",
        skill: Skill = "",
        outcome: Outcome = "",
        text: Text = "",
        after: After = "",
        before: Before = "",
        limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most rows.")] = 20,
    ) -> None:
        """List traces, newest first."""
        params = {
            "volume": volume,
            "skill": skill,
            "outcome": outcome,
            "text": text,
            "after": moment(after),
            "before": moment(before),
        }
        found = list(session.api.items("/traces", params, limit=limit))
        columns = ["TRACE", "TIME", "ENDED", "OUTCOME", "SKILLS", "GOAL"]
        session.out.show(found, lambda: session.out.table(columns, map(_row, found), "No traces."))

    @command(traces, "show")
    def show(session: Session, trace_id: TraceId) -> None:
        """Print a trace."""
        trace = session.api.get(url("traces", trace_id))
        session.out.show(trace, lambda: _show(session, trace))

    @command(traces, "export")
    def export(
        session: Session,
        *,
        volume: Volume = "",
        skill: Skill = "",
        outcome: Outcome = "",
        text: Text = "",
        after: After = "",
        before: Before = "",
        out: Annotated[
            Path | None, typer.Option("--out", "-o", help="File to write; empty for standard output.")
        ] = None,
    ) -> None:
        """Write traces as JSON lines, newest first."""
        params = {
            "volume": volume,
            "skill": skill,
            "outcome": outcome,
            "text": text,
            "after": moment(after),
            "before": moment(before),
        }
        reply = session.api.send("GET", "/traces/export", params, accept="application/x-ndjson")
        if out is None:
            for chunk in reply.chunks():
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        with out.open("wb") as file:
            for chunk in reply.chunks():
                file.write(chunk)
        session.out.note(f"Wrote {out}.")

    @command(traces, "feedback")
    def feedback(
        session: Session,
        trace_id: TraceId,
        rating: Annotated[str, typer.Argument(help="up or down.")],
        note: Annotated[str, typer.Option(help="Why.")] = "",
        kept: Annotated[str, typer.Option(help="The text that you finally kept.")] = "",
    ) -> None:
        """Say what came of an answer."""
        if rating not in {"up", "down"}:
            raise Invalid("feedback.rating", f"{rating!r} is no rating.", hint="Say up or down.")
        given = {"rating": rating, "note": note, "kept": kept}
        body = {key: value for key, value in given.items() if value}
        answer = session.api.post(f"{url('traces', trace_id)}/feedback", body)
        session.out.show(answer, lambda: session.out.say(f"Noted: {rating}."))


def moment(text: str) -> str:
    """Return a time as the API takes it, in ms since the epoch; empty stays empty.

    Raises:
        Invalid: `time.invalid`.
    """
    from llmos_lite.core.traces.importers.base import as_time  # noqa: PLC0415 - not needed without a time

    if not text or text.isdigit():
        return text
    at = as_time(text)
    if at is None:
        raise Invalid("time.invalid", f"{text!r} is no time.", hint="Write it as 2026-11-22 or 2026-11-22T14:00:00Z.")
    return str(at)


def _row(trace: Json) -> list[object]:
    return [
        trace.get("trace_id"),
        when(trace.get("time")),
        trace.get("ended"),
        trace.get("outcome"),
        ", ".join(skills_of(trace)),
        one_line(trace.get("goal")),
    ]


def skills_of(trace: Json) -> list[str]:
    """Return the ids of the skills that a trace used."""
    used = trace.get("skills_used")
    return [
        str(item.get("skill_id", "")) if isinstance(item, dict) else str(item)
        for item in (used if isinstance(used, list) else [])
    ]


def _show(session: Session, trace: Json) -> None:
    say = session.out.say
    say(f"{trace.get('trace_id')}  {when(trace.get('time'))}  {trace.get('volume')}  {trace.get('model')}")
    ended = f"{trace.get('ended')} ({code})" if (code := trace.get("error")) else trace.get("ended")
    say(f"ended {ended}, outcome {trace.get('outcome')}, skills: {', '.join(skills_of(trace)) or 'none'}")
    if isinstance(redacted := trace.get("redacted"), dict) and redacted:
        say(f"redacted: {', '.join(f'{count} {kind}' for kind, count in redacted.items())}")
    messages, calls = trace.get("messages"), trace.get("tool_calls")
    for item in messages if isinstance(messages, list) else []:
        say("", f"{item.get('role')}:", str(item.get("content", "")))
    for item in calls if isinstance(calls, list) else []:
        say("", f"tool {item.get('name')}: {one_line(item.get('arguments'))}", one_line(item.get("result"), 400))
