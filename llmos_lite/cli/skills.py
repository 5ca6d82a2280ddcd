"""`llmos skills`: list, show, search, add, edit, delete, new."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli import adding, explanations, pull, scan, scrub, sources, templates, versions, writing
from llmos_lite.cli.client import Json, url
from llmos_lite.cli.command import Session, command, group
from llmos_lite.cli.output import held_note, one_line

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Most rows.")]
Team = Annotated[str, typer.Option("--team", metavar="ID", help="In the context of this team.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    skills = group(app, "skills", "List, show, search and add skills; their versions.")
    scrub.add_to(skills)

    @command(skills, "list")
    def list_(session: Session, team: Team = "", limit: Limit = 1000) -> None:
        """List the skills that you see: yours over the team's over the system's."""
        _list(session, {"team_id": team}, limit)

    @command(skills, "search")
    def search(
        session: Session,
        query: Annotated[list[str], typer.Argument(help="What it should be about.")],
        team: Team = "",
        limit: Limit = 10,
        explain: Annotated[bool, typer.Option("--explain", help="Say of each why it would be used, or not.")] = False,  # noqa: FBT002 - typer's way
    ) -> None:
        """Find skills, best first."""
        params = {"team_id": team, "query": " ".join(query)}
        if explain:
            explanations.show(session, params, limit)
        else:
            _list(session, params, limit)

    @command(skills, "show")
    def show(
        session: Session,
        skill_id: Annotated[str, typer.Argument(help="Id of the skill.")],
        volume: Annotated[str, typer.Option(help="system, team:ID or user:ID; empty for the one that you see.")] = "",
    ) -> None:
        """Print a skill."""
        skill = session.api.get(url("skills", skill_id), {"volume": volume})
        session.out.show(skill, lambda: session.out.say(_head(skill), "", str(skill.get("content", "")).strip()))

    adding.add(skills)
    sources.add(skills)
    writing.add(skills)
    templates.add(skills)
    pull.add_export(skills)
    versions.add(skills)
    scan.add(skills)


def _list(session: Session, params: dict[str, str], limit: int) -> None:
    found = list(session.api.items("/skills", params, limit=limit))
    columns = ["SKILL", "VOLUME", "CATEGORY", "DESCRIPTION"]
    nothing = "No skill matches." if params.get("query") else "No skills. Add one with `llmos skills add PATH`."
    session.out.show(found, lambda: session.out.table(columns, map(_row, found), nothing))


def _row(skill: Json) -> list[object]:
    shadow = f"shadowed by {skill['shadowed_by']}" if skill.get("shadowed_by") else ""
    note = skill.get("error") or shadow or held_note(skill)
    text = f"[{note}] {skill.get('description', '')}" if note else skill.get("description", "")
    return [skill.get("skill_id"), skill.get("volume"), skill.get("category", ""), one_line(text)]


def _head(skill: Json) -> str:
    head = f"{skill.get('skill_id')}  {skill.get('volume')}  version {str(skill.get('version', ''))[:12]}"
    return f"{head}  [{held_note(skill)}]" if skill.get("held") else head
