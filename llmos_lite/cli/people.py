"""`llmos users`, `llmos teams`, `llmos members`: who there is."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import url
from llmos_lite.cli.command import Session, command, group

TeamId = Annotated[str, typer.Argument(metavar="TEAM", help="Id of the team.")]
UserId = Annotated[str, typer.Argument(metavar="USER", help="Id of the person.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    _users(group(app, "users", "List and add people."))
    _teams(group(app, "teams", "List and add teams."))
    _members(group(app, "members", "List, add and remove members of a team."))


def _users(app: typer.Typer) -> None:
    @command(app, "list")
    def list_(session: Session) -> None:
        """List everybody."""
        found = list(session.api.items("/users"))
        rows = ([user.get("user_id"), user.get("name"), user.get("role")] for user in found)
        session.out.show(found, lambda: session.out.table(["USER", "NAME", "ROLE"], rows, "Nobody yet."))

    @command(app, "add")
    def add_(session: Session, user_id: UserId, name: str = "") -> None:
        """Add a person."""
        user = session.api.post("/users", {"user_id": user_id, "name": name})
        session.out.show(user, lambda: session.out.say(f"Added {user_id}."))


def _teams(app: typer.Typer) -> None:
    @command(app, "list")
    def list_(session: Session) -> None:
        """List your teams; all of them for an admin."""
        found = list(session.api.items("/teams"))
        rows = ([team.get("team_id"), team.get("name"), team.get("members")] for team in found)
        session.out.show(found, lambda: session.out.table(["TEAM", "NAME", "MEMBERS"], rows, "No teams yet."))

    @command(app, "add")
    def add_(session: Session, team_id: TeamId, name: str = "") -> None:
        """Add a team."""
        team = session.api.post("/teams", {"team_id": team_id, "name": name})
        session.out.show(team, lambda: session.out.say(f"Added {team_id}."))


def _members(app: typer.Typer) -> None:
    @command(app, "list")
    def list_(session: Session, team_id: TeamId) -> None:
        """List the members of a team."""
        found = list(session.api.items(url("teams", team_id, "members")))
        rows = ([member.get("user_id"), member.get("name"), member.get("role")] for member in found)
        session.out.show(found, lambda: session.out.table(["USER", "NAME", "ROLE"], rows, "No members yet."))

    @command(app, "add")
    def add_(
        session: Session,
        team_id: TeamId,
        user_id: UserId,
        role: Annotated[str, typer.Option(help="user or team_admin.")] = "user",
    ) -> None:
        """Put somebody into a team, or change the role there."""
        member = session.api.post(url("teams", team_id, "members"), {"user_id": user_id, "role": role})
        session.out.show(member, lambda: session.out.say(f"{user_id} is {role} in {team_id}."))

    @command(app, "remove")
    def remove(session: Session, team_id: TeamId, user_id: UserId) -> None:
        """Take somebody out of a team."""
        session.api.call("DELETE", url("teams", team_id, "members", user_id))
        session.out.show({}, lambda: session.out.say(f"{user_id} is no longer in {team_id}."))
