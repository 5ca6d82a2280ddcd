"""`llmos promote`: a skill goes from one volume to a wider one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from llmos_lite.cli.client import url
from llmos_lite.cli.command import Session, command
from llmos_lite.cli.output import held_note
from llmos_lite.errors import Invalid, LlmosError


def add(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "promote")
    def promote(
        session: Session,
        skill_id: Annotated[str, typer.Argument(help="Id of the skill.")],
        *,
        reason: Annotated[str, typer.Option(help="Why the others should have it.")],
        to: Annotated[str, typer.Option(help="Volume that gets it: team:ID or system.")] = "",
        team: Annotated[str, typer.Option("--team", metavar="ID", help="The same as --to team:ID.")] = "",
        source: Annotated[str, typer.Option("--from", help="Volume that has it; empty for your own.")] = "",
    ) -> None:
        """Promote a skill, or propose it where that needs a review."""
        if bool(to) == bool(team):
            raise Invalid(
                "promotion.target", "One volume gets the skill.", hint="Name it: --to system or --to team:ID."
            )
        given = {"skill_id": skill_id, "team_id": team, "to": to, "from": source, "reason": reason}
        body = {key: value for key, value in given.items() if value}
        answer = session.api.post("/skills/promote", body)
        session.out.show(
            answer,
            lambda: session.out.say(
                f"{skill_id}: proposed as {answer.get('proposal_id')}; somebody has to review it."
                if answer.get("status") == "open"
                else f"{skill_id}: {answer.get('status')}."
            ),
        )
        for line in _weak(session, skill_id, source):
            session.out.note(line)
        if why := held_note(answer):
            session.out.note(f"A scanner found something, so an admin of the target has to sign it off ({why}).")


def _weak(session: Session, skill_id: str, volume: str) -> Iterator[str]:
    """Yield what is badly written in a skill, of medium severity or worse; it is promoted all the same."""
    try:
        found = session.api.get(url("skills", skill_id, "lint"), {"volume": volume}).get("findings")
    except LlmosError:
        return
    for one in found if isinstance(found, list) else ():
        if one.get("severity") in {"medium", "high"}:
            yield f"{one.get('code')}: {one.get('message')}"
