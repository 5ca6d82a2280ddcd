"""`llmos invitations`: links that let people in."""

from __future__ import annotations

from typing import Annotated

import typer

from llmos_lite.cli.client import url
from llmos_lite.cli.command import Session, command, group

Team = Annotated[str, typer.Option("--team", help="The team; none for the instance alone.")]
RoleOption = Annotated[str, typer.Option("--role", help="user or team_admin.")]
Name = Annotated[str, typer.Option("--name", help="For whom; a note.")]
Days = Annotated[int, typer.Option("--days", help="How long the link holds.")]
InvitationId = Annotated[str, typer.Argument(metavar="ID", help="Id of the invitation.")]
Token = Annotated[str, typer.Argument(metavar="TOKEN", help="What stands behind `token=` in the link.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    invitations = group(app, "invitations", "Invite people, and accept an invitation.")
    command(invitations, "create")(_create)
    command(invitations, "list")(_list)
    command(invitations, "revoke")(_revoke)
    command(invitations, "accept")(_accept)


def _create(session: Session, team: Team = "", role: RoleOption = "user", name: Name = "", days: Days = 7) -> None:
    """Invite somebody; the link is shown this once, and works once."""
    made = session.api.post("/invitations", {"team_id": team, "role": role, "name": name, "days": days})
    session.out.show(made, lambda: session.out.say(str(made["link"])))


def _list(session: Session, team: Team = "") -> None:
    """List the invitations to a team that you look after; all of them for a system admin."""
    found = list(session.api.items("/invitations", {"team_id": team} if team else {}))
    rows = ([one.get("invitation_id"), one.get("team_id"), one.get("name"), _state(one)] for one in found)
    session.out.show(found, lambda: session.out.table(["ID", "TEAM", "NAME", "STATE"], rows, "No invitations yet."))


def _revoke(session: Session, invitation_id: InvitationId) -> None:
    """End an invitation that nobody has accepted."""
    session.api.call("DELETE", url("invitations", invitation_id))
    session.out.show({}, lambda: session.out.say("The link does not work any more."))


def _accept(
    session: Session,
    token: Token,
    user_id: Annotated[str, typer.Option("--id", help="The id that you want to have, when you are new.")] = "",
    name: Name = "",
) -> None:
    """Join the team as who you are, or as somebody new who gets a key."""
    done = session.api.post("/invitations/accept", {"token": token, "user_id": user_id, "name": name})
    user = done["user"]
    said = f"You are in as {user['user_id'] if isinstance(user, dict) else user_id}."
    session.out.show(done, lambda: session.out.say(f"{said} Your key: {done['key']}" if done["key"] else said))


def _state(one: dict[str, object]) -> str:
    if one.get("accepted"):
        return f"accepted by {one.get('accepted_by')}"
    return "revoked" if one.get("revoked") else "open"
