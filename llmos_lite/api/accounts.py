"""People, teams and one's own settings."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Admin, Anyone, Body, Chatter, Cursor, Has, Limit, Listing, Named, Paragraph, Steward
from llmos_lite.api.openapi import answers
from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.records.accounts import Account, Member, Team
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["accounts"])

_ME = {
    "user_id": "alice",
    "name": "Alice",
    "role": "user",
    "teams": {"sre": "team_admin"},
    "record": True,
    "share": "digest",
    "active": True,
    "created": 1764720000000,
    "kind": "person",
    "service_of": "",
    "email": "alice@example.org",
    "scopes": ["chat", "evolve", "git", "skills:read", "skills:write", "traces:read"],
}
USER = {key: value for key, value in _ME.items() if key != "scopes"}
_TEAM = {"team_id": "sre", "name": "Site reliability", "members": 2, "created": 1764720000000, "archived": None}
_IDENTITY = {"provider": "openwebui", "subject": "5f2c1d9a-0b7e-4c33-9d8e-1a2b3c4d5e6f"}
_MEMBER = {"user_id": "bob", "name": "Bob", "role": "user", "created": 1764720000000}

Id = Annotated[str, Path(description="An id: lower-case letters, digits and single hyphens, at most 64 characters.")]


Kind = Annotated[Literal["person", "service"], Query(description="People, or the service accounts of crons.")]
Archived = Annotated[bool, Query(description="Those that were deleted, as a system admin.")]


class UserOut(BaseModel):
    """A person, or a service account, which works for `service_of`; times are in ms since the epoch."""

    user_id: str
    name: str
    role: str
    teams: dict[str, str]
    record: bool
    share: str
    active: bool
    created: int
    kind: str
    service_of: str
    email: str | None

    @classmethod
    def of(cls, account: Account) -> UserOut:
        """Show an account."""
        return cls.model_validate(_fields(account))


class MeOut(UserOut):
    """Oneself, and what the credential in use may be used for."""

    scopes: list[str]

    @classmethod
    def mine(cls, actor: Actor, account: Account) -> MeOut:
        """Show the actor."""
        return cls.model_validate(_fields(account) | {"scopes": sorted(actor.scopes)})


class TeamOut(BaseModel):
    """A team; `members` counts people, `archived` says when it was deleted."""

    team_id: str
    name: str
    members: int
    created: int
    archived: int | None

    @classmethod
    def of(cls, team: Team) -> TeamOut:
        """Show a team."""
        return cls(
            team_id=team.team_id,
            name=team.name,
            members=team.members,
            created=team.created,
            archived=team.archived or None,
        )


class MemberOut(BaseModel):
    """Somebody's place in a team."""

    user_id: str
    name: str
    role: str
    created: int

    @classmethod
    def of(cls, member: Member) -> MemberOut:
        """Show a member."""
        return cls(user_id=member.user_id, name=member.name, role=member.role, created=member.created)


class Settings(Body):
    """What somebody may set of oneself."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"share": "none"}]}}
    name: str | None = Field(None, max_length=200)
    record: bool | None = Field(None, description="Off: chats leave no trace, only a count.")
    share: Literal["none", "digest", "full"] | None = Field(
        None, description="What a team sees of chats in its context."
    )


class UserChange(Settings):
    """What a system admin may set of anybody."""

    role: Literal["user", "system_admin"] | None = None
    active: bool | None = Field(None, description="Off: every key and session of the person ends.")
    email: str | None = Field(None, max_length=254, description="The person's address; an empty one takes it away.")


class NewUser(Body):
    """A person to be added."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"user_id": "bob", "name": "Bob"}]}}
    user_id: str
    name: str = Field("", max_length=200)
    role: Literal["user", "system_admin"] = "user"
    email: str = Field("", max_length=254)


class NewTeam(Body):
    """A team to be added."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"team_id": "sre", "name": "Site reliability"}]}
    }
    team_id: str
    name: str = Field("", max_length=200)


class TeamChange(Body):
    """What may be changed of a team; its id stays."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"name": "Reliability"}]}}
    name: str | None = Field(None, max_length=200)
    archived: Literal[False] | None = Field(None, description="`false` brings a deleted team back, without members.")


class IdentityBody(Body):
    """By which name another system knows a person."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"provider": "openwebui", "subject": "5f2c"}]}
    }
    provider: str = Field(max_length=64, description="The system, as `openwebui`.")
    subject: str = Field(max_length=255, description="The person's id there.")


class IdentityOut(BaseModel):
    """By which name another system knows a person."""

    provider: str
    subject: str


class NewMember(Body):
    """Somebody to be put into a team."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"user_id": "bob", "role": "user"}]}}
    user_id: str
    role: Literal["user", "team_admin"] = "user"


@router.get("/me", responses=answers(_ME))
async def get_me(actor: Named, services: Has) -> MeOut:
    """Say who you are."""
    return MeOut.mine(actor, await services.accounts.account(actor.user_id))


@router.patch("/me", responses=answers(_ME | {"share": "none"}))
async def change_me(actor: Chatter, services: Has, body: Settings) -> MeOut:
    """Change your own settings."""
    changes = body.model_dump(exclude_none=True)
    return MeOut.mine(actor, await services.accounts.change_user(actor, actor.user_id, changes))


@router.get("/users", responses=answers({"items": [USER], "next_cursor": None, "total": 1}))
async def list_users(
    actor: Admin, services: Has, *, kind: Kind = "person", limit: Limit = 50, cursor: Cursor = ""
) -> Listing[UserOut]:
    """List everybody, or the service accounts."""
    page = await services.accounts.users(actor, kind=kind, limit=limit, cursor=cursor)
    return Listing(items=[UserOut.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.post("/users", status_code=201, responses=answers(USER, 409, status=201))
async def create_user(actor: Admin, services: Has, body: NewUser) -> UserOut:
    """Add a person."""
    made = await services.accounts.create_user(
        actor, body.user_id, name=body.name, role=Role(body.role), email=body.email
    )
    return UserOut.of(made)


@router.patch("/users/{user_id}", responses=answers(USER, 404, 409))
async def change_user(actor: Admin, services: Has, user_id: Id, body: UserChange) -> UserOut:
    """Change somebody's settings, role or activation."""
    return UserOut.of(await services.accounts.change_user(actor, user_id, body.model_dump(exclude_none=True)))


@router.get("/users/{user_id}", responses=answers(USER, 404))
async def get_user(actor: Admin, services: Has, user_id: Id) -> UserOut:
    """Show somebody."""
    return UserOut.of(await services.accounts.shown(actor, user_id))


@router.get(
    "/users/{user_id}/identities",
    responses=answers({"items": [_IDENTITY], "next_cursor": None, "total": 1}, 404),
)
async def list_identities(actor: Admin, services: Has, user_id: Id) -> Listing[IdentityOut]:
    """List the names by which other systems know somebody."""
    found = await services.accounts.identities(actor, user_id)
    items = [IdentityOut(provider=provider, subject=subject) for provider, subject in found]
    return Listing(items=items, next_cursor=None, total=len(items))


@router.post("/users/{user_id}/identities", status_code=201, responses=answers(_IDENTITY, 404, 409, status=201))
async def add_identity(actor: Admin, services: Has, user_id: Id, body: IdentityBody) -> IdentityOut:
    """Note by which name another system knows somebody."""
    await services.accounts.add_identity(actor, user_id, body.provider, body.subject)
    return IdentityOut(provider=body.provider, subject=body.subject)


@router.delete(
    "/users/{user_id}/identities", status_code=204, responses=answers(None, 404, status=204, description="Gone.")
)
async def remove_identity(
    actor: Admin,
    services: Has,
    user_id: Id,
    provider: Annotated[str, Query(max_length=64)],
    subject: Annotated[str, Query(max_length=255)],
) -> None:
    """Forget by which name another system knows somebody."""
    await services.accounts.remove_identity(actor, user_id, provider, subject)


@router.get("/teams", responses=answers({"items": [_TEAM], "next_cursor": None, "total": 1}))
async def list_teams(
    actor: Anyone, services: Has, *, archived: Archived = False, limit: Limit = 50, cursor: Cursor = ""
) -> Listing[TeamOut]:
    """List your teams; all of them for a system admin."""
    page = await services.accounts.teams(actor, archived=archived, limit=limit, cursor=cursor)
    return Listing(items=[TeamOut.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.post("/teams", status_code=201, responses=answers(_TEAM | {"members": 0}, 409, status=201))
async def create_team(actor: Admin, services: Has, body: NewTeam) -> TeamOut:
    """Add a team, with its volume."""
    team = await services.accounts.create_team(actor, body.team_id, body.name)
    await asyncio.to_thread(services.volumes.create, VolumeRef.team(team.team_id))
    return TeamOut.of(team)


@router.get("/teams/{team_id}", responses=answers(_TEAM, 404))
async def get_team(actor: Anyone, services: Has, team_id: Id) -> TeamOut:
    """Show a team that you are in."""
    return TeamOut.of(await services.accounts.team(actor, team_id))


@router.patch("/teams/{team_id}", responses=answers(_TEAM | {"name": "Reliability"}, 404))
async def change_team(actor: Steward, services: Has, team_id: Id, body: TeamChange) -> TeamOut:
    """Rename a team, as an admin of it, or bring a deleted one back, as a system admin."""
    if body.archived is False:
        await services.accounts.restore_team(actor, team_id)
    if body.name is not None:
        await services.accounts.rename_team(actor, team_id, body.name)
    return TeamOut.of(await services.accounts.team(actor, team_id))


@router.delete("/teams/{team_id}", status_code=204, responses=answers(None, 404, status=204, description="Deleted."))
async def delete_team(actor: Admin, services: Has, team_id: Id) -> None:
    """Delete a team: nobody is in it any more, and its volume stays, for system admins."""
    await services.accounts.delete_team(actor, team_id)


@router.get("/teams/{team_id}/members", responses=answers({"items": [_MEMBER], "next_cursor": None, "total": 1}, 404))
async def list_members(
    actor: Anyone, services: Has, team_id: Id, *, limit: Limit = 50, cursor: Cursor = ""
) -> Listing[MemberOut]:
    """List everybody in a team."""
    page = await services.accounts.members(actor, team_id, limit=limit, cursor=cursor)
    return Listing(items=[MemberOut.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.post("/teams/{team_id}/members", status_code=201, responses=answers(_MEMBER, 404, status=201))
async def set_member(actor: Steward, services: Has, team_id: Id, body: NewMember) -> MemberOut:
    """Put somebody into a team, or change the role there."""
    return MemberOut.of(await services.accounts.set_member(actor, team_id, body.user_id, Role(body.role)))


@router.delete(
    "/teams/{team_id}/members/{user_id}", status_code=204, responses=answers(None, 404, status=204, description="Gone.")
)
async def remove_member(actor: Anyone, services: Has, team_id: Id, user_id: Id) -> None:
    """Take somebody out of a team, or leave it."""
    await services.accounts.remove_member(actor, team_id, user_id)


def _fields(account: Account) -> dict[str, object]:
    return {
        "user_id": account.user_id,
        "name": account.name,
        "role": account.role,
        "teams": dict(account.teams),
        "record": account.record,
        "share": account.share,
        "active": account.active,
        "created": account.created,
        "kind": account.kind,
        "service_of": account.service_of,
        "email": account.email,
    }
