"""`llmos users`, `llmos teams`, `llmos members`: who there is."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import url
from llmos_lite.cli.command import Session, command, group

TeamId = Annotated[str, typer.Argument(metavar="TEAM", help="Id of the team.")]
Service = Annotated[bool, typer.Option("--service", help="The service accounts of crons instead.")]
InstanceRole = Annotated[str, typer.Option("--role", help="user or system_admin.")]
Given = Annotated[str | None, typer.Option()]
UserId = Annotated[str, typer.Argument(metavar="USER", help="Id of the person.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    _users(group(app, "users", "List and add people."))
    _teams(group(app, "teams", "List and add teams."))
    _members(group(app, "members", "List, add and remove members of a team."))


def _users(app: typer.Typer) -> None:
    @command(app, "list")
    def list_(session: Session, *, service: Service = False) -> None:
        """List everybody."""
        found = list(session.api.items("/users", {"kind": "service"} if service else {}))
        rows = ([user.get("user_id"), user.get("name"), user.get("role"), _state(user)] for user in found)
        session.out.show(found, lambda: session.out.table(["USER", "NAME", "ROLE", "STATE"], rows, "Nobody yet."))

    @command(app, "add")
    def add_(session: Session, user_id: UserId, name: str = "", role: InstanceRole = "user", email: str = "") -> None:
        """Add a person."""
        user = session.api.post("/users", {"user_id": user_id, "name": name, "role": role, "email": email})
        session.out.show(user, lambda: session.out.say(f"Added {user_id}."))

    command(app, "change")(_change)
    command(app, "deactivate")(_deactivate)
    command(app, "activate")(_activate)
    command(app, "link")(_link)
    command(app, "identify")(_identify)


def _change(
    session: Session,
    user_id: UserId,
    name: Given = None,
    role: Given = None,
    email: Annotated[str | None, typer.Option(help="An empty one takes it away.")] = None,
) -> None:
    """Change somebody's name, role (user, system_admin) or e-mail address."""
    wanted = {"name": name, "role": role, "email": email}
    body = {key: value for key, value in wanted.items() if value is not None}
    user = session.api.call("PATCH", url("users", user_id), json_body=body)
    session.out.show(user, lambda: session.out.say(f"Changed {user_id}."))


def _deactivate(session: Session, user_id: UserId) -> None:
    """Shut somebody out: every key and session ends with the next request."""
    user = session.api.call("PATCH", url("users", user_id), json_body={"active": False})
    session.out.show(user, lambda: session.out.say(f"{user_id} is deactivated."))


def _activate(session: Session, user_id: UserId) -> None:
    """Let somebody in again; the keys from before stay ended."""
    user = session.api.call("PATCH", url("users", user_id), json_body={"active": True})
    session.out.show(user, lambda: session.out.say(f"{user_id} is active."))


def _link(session: Session, user_id: UserId) -> None:
    """Make a link that signs somebody in once, within 15 minutes: for a first or a forgotten password."""
    made = session.api.post(url("users", user_id, "sign-in-link"), None)
    session.out.show(made, lambda: session.out.say(str(made.get("link"))))


def _identify(
    session: Session,
    user_id: UserId,
    provider: Annotated[str, typer.Argument(help="The system, as openwebui.")],
    subject: Annotated[str, typer.Argument(help="The person's id there.")],
) -> None:
    """Note by which id another system knows somebody."""
    body = {"provider": provider, "subject": subject}
    made = session.api.post(url("users", user_id, "identities"), body)
    session.out.show(made, lambda: session.out.say(f"{provider} knows {user_id} as {subject}."))


def _state(user: dict[str, object]) -> str:
    return "active" if user.get("active") else "deactivated"


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

    @command(app, "rename")
    def rename(session: Session, team_id: TeamId, name: str) -> None:
        """Give a team another name; its id stays."""
        team = session.api.call("PATCH", url("teams", team_id), json_body={"name": name})
        session.out.show(team, lambda: session.out.say(f"{team_id} is called {name}."))

    @command(app, "delete")
    def delete(session: Session, team_id: TeamId) -> None:
        """Delete a team: nobody is in it any more; its volume stays, and its id is not given again."""
        session.api.call("DELETE", url("teams", team_id))
        session.out.show({}, lambda: session.out.say(f"Deleted {team_id}. Its volume stays."))

    @command(app, "restore")
    def restore(session: Session, team_id: TeamId) -> None:
        """Bring a deleted team back, without its members."""
        team = session.api.call("PATCH", url("teams", team_id), json_body={"archived": False})
        session.out.show(team, lambda: session.out.say(f"{team_id} is back, without members."))


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
