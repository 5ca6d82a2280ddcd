"""`llmos chat`: one question, or a conversation."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from llmos_lite.cli.client import Json, events, items_of, problem
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import held_note
from llmos_lite.cli.traces import skills_of

SSE = "text/event-stream"


def add(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "chat")
    def chat(
        session: Session,
        message: Annotated[list[str] | None, typer.Argument(help="What to ask; empty begins a conversation.")] = None,
        team: Annotated[str, typer.Option("--team", metavar="ID", help="In the context of this team.")] = "",
        conversation: Annotated[str, typer.Option(metavar="ID", help="Conversation to go on with.")] = "",
        max_skills: Annotated[int | None, typer.Option(min=0, help="Most skills in the context.")] = None,
    ) -> None:
        """Chat with your skills in the context; a line at a time, or one question."""
        given: Json = {"team_id": team, "conversation_id": conversation}
        body: Json = {key: value for key, value in given.items() if value}
        if max_skills is not None:
            body["max_skills"] = max_skills
        for text in [" ".join(message)] if message else _lines(session):
            done = _ask(session, body | {"message": text})
            body["conversation_id"] = done.get("conversation_id", "")
            while leave := _leave(session, done):
                done = _ask(session, body | {"tool_results": leave})


def _lines(session: Session) -> Iterator[str]:
    """Yield what the person writes, line by line, until the end."""
    asks = sys.stdin.isatty() and not session.out.as_json
    if asks:
        session.out.note("End with Ctrl-D.")
    while True:
        if asks:
            session.out.write("> ")
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _leave(session: Session, done: Json) -> list[Json]:
    """Ask whether the calls that wait for leave are run; nothing where nobody can be asked."""
    waiting = [call for call in items_of(done, "tool_calls") if call.get("approval")]
    if session.out.as_json:
        return []
    if not sys.stdin.isatty():
        for call in waiting:
            session.out.note(f"[{_call(call)} waits for your leave, which `llmos chat` asks for on a terminal]")
        return []
    return [{"id": call.get("id"), "approved": _is_allowed(session, call)} for call in waiting]


def _is_allowed(session: Session, call: Json) -> bool:
    session.out.write(f"Run {_call(call)}? [y/N] ")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _call(call: Json) -> str:
    """Return a call whole, since what is cut off would be allowed unseen."""
    return " ".join(f"{call.get('name')} {call.get('arguments')}".split())


def _ask(session: Session, body: Json) -> Json:
    """Ask, write the answer as it comes, and return the final event."""
    if session.out.as_json:
        done = session.api.post("/chat", body)
        session.out.show(done, lambda: None)
        return done
    reply = session.api.send("POST", "/chat", body=json.dumps(body | {"stream": True}).encode(), accept=SSE)
    done, begun = {}, False
    for name, data in events(reply):
        if name == "delta":
            session.out.write(str(data.get("text", "")))
            begun = True
        elif name == "tool":
            session.out.note(f"[{data.get('name')}: {data.get('result')}]")
        elif name == "error":
            session.out.write("\n" if begun else "")
            status = data.get("status")
            raise problem(status if isinstance(status, int) else 500, json.dumps(data).encode())
        elif name == "done":
            done = data
    session.out.write("\n")
    session.out.note(f"[skills: {', '.join(skills_of(done)) or 'none'}; trace {done.get('trace_id', 'not recorded')}]")
    for skill in items_of(done, "skills_held"):
        session.out.note(f"[{skill.get('skill_id')} of {skill.get('volume')} matches, but is {held_note(skill)}]")
    for one in items_of(done, "tool_problems"):
        session.out.note(f"[{' '.join(filter(None, (str(one.get('message')), str(one.get('hint') or ''))))}]")
    return done
