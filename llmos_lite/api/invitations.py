"""Invitations: a link that lets one person in."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from llmos_lite.api.accounts import USER, UserOut
from llmos_lite.api.deps import Body, Cursor, Has, Limit, Listing, Paragraph, Steward, Visitor
from llmos_lite.api.openapi import answers
from llmos_lite.core.accounts.permissions import Role
from llmos_lite.records.invitations import Invitation

router = APIRouter(route_class=Paragraph, tags=["invitations"])

_ONE = {
    "invitation_id": "01KBGF0C00ZQ4V8T1M2N3P4R5S",
    "team_id": "sre",
    "role": "user",
    "name": "Bob",
    "created": 1764720000000,
    "created_by": "alice",
    "expires": 1765324800000,
    "accepted": None,
    "accepted_by": "",
    "revoked": None,
}
_SHOWN = "invite_nkR1u3PZq8y0W5bJm2cXfV7sLhT4gDoA9eIwKxQyUzM"
Id = Annotated[str, Path(max_length=26, description="Id of an invitation.")]
TeamId = Annotated[str, Query(max_length=64, description="Only those to this team.")]


class InvitationOut(BaseModel):
    """An invitation without its token; times are in ms since the epoch, null for never."""

    invitation_id: str
    team_id: str
    role: str
    name: str
    created: int
    created_by: str
    expires: int
    accepted: int | None
    accepted_by: str
    revoked: int | None

    @classmethod
    def of(cls, one: Invitation) -> InvitationOut:
        """Show an invitation."""
        return cls.model_validate(_fields(one))


class NewInvitationOut(InvitationOut):
    """An invitation that was just made; `token` and `link` are shown this once."""

    token: str
    link: str


class NewInvitation(Body):
    """Whom to invite, and where to."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"team_id": "sre", "name": "Bob"}]}}
    team_id: str = Field("", max_length=64, description="The team; empty for none, as a system admin.")
    role: Literal["user", "team_admin"] = Field("user", description="The role in the team.")
    name: str = Field("", max_length=200, description="For whom; a note.")
    days: int = Field(7, ge=1, le=30, description="How long the link holds.")


class Acceptance(Body):
    """The token of a link, and for somebody new the id of the new user."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"token": _SHOWN, "user_id": "bob"}]}}
    token: str = Field(max_length=200)
    user_id: str = Field("", max_length=64, description="Of somebody new; empty to join as who you are.")
    name: str = Field("", max_length=200)
    password: str = Field("", max_length=1000, description="Of somebody new; without one there is a key instead.")


class AcceptedOut(BaseModel):
    """Who came in, into which team; `key` is the first API key of somebody new, shown this once."""

    user: UserOut
    team_id: str
    key: str


@router.post(
    "/invitations",
    status_code=201,
    responses=answers(
        _ONE | {"token": _SHOWN, "link": f"http://127.0.0.1:8420/invitation?token={_SHOWN}"}, 404, status=201
    ),
)
async def create_invitation(actor: Steward, services: Has, body: NewInvitation) -> NewInvitationOut:
    """Invite somebody to a team, as an admin of it, or to the instance, as a system admin; the link works once."""
    token, made = await services.invitations.create(
        actor, team_id=body.team_id, role=Role(body.role), name=body.name, days=body.days
    )
    link = f"{services.url}/invitation?token={quote(token)}"
    return NewInvitationOut.model_validate(_fields(made) | {"token": token, "link": link})


@router.get("/invitations", responses=answers({"items": [_ONE], "next_cursor": None, "total": 1}, 404))
async def list_invitations(
    actor: Steward, services: Has, *, team_id: TeamId = "", limit: Limit = 50, cursor: Cursor = ""
) -> Listing[InvitationOut]:
    """List the invitations to a team that you look after; all of them for a system admin."""
    page = await services.invitations.page(actor, team_id=team_id, limit=limit, cursor=cursor)
    items = [InvitationOut.of(item) for item in page.items]
    return Listing(items=items, next_cursor=page.next_cursor, total=page.total)


@router.delete(
    "/invitations/{invitation_id}",
    status_code=204,
    responses=answers(None, 404, 409, status=204, description="It ended."),
)
async def revoke_invitation(actor: Steward, services: Has, invitation_id: Id) -> None:
    """End an invitation that nobody has accepted."""
    await services.invitations.revoke(actor, invitation_id)


@router.post(
    "/invitations/accept",
    status_code=201,
    responses=answers({"user": USER, "team_id": "sre", "key": "llmos_0123abcd_" + "5f" * 32}, 404, 409, status=201),
)
async def accept_invitation(actor: Visitor, services: Has, body: Acceptance) -> AcceptedOut:
    """Take an invitation: as somebody new with the id that you choose, or with your credential as who you are."""
    done = await services.invitations.accept(
        body.token, user_id=body.user_id, name=body.name, password=body.password, actor=actor
    )
    return AcceptedOut(user=UserOut.of(done.account), team_id=done.team_id, key=done.key)


def _fields(one: Invitation) -> dict[str, object]:
    return {
        "invitation_id": one.invitation_id,
        "team_id": one.team_id,
        "role": one.role,
        "name": one.name,
        "created": one.created,
        "created_by": one.created_by,
        "expires": one.expires,
        "accepted": one.accepted or None,
        "accepted_by": one.accepted_by,
        "revoked": one.revoked or None,
    }
