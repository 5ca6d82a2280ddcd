"""API keys: made, listed and ended."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, model_validator

from llmos_lite.api.deps import Anyone, Body, Cursor, Has, Limit, Listing, Paragraph
from llmos_lite.api.openapi import answers
from llmos_lite.core.accounts.capabilities import READING, path_of
from llmos_lite.core.accounts.permissions import Scope
from llmos_lite.records.keys import ApiKey

router = APIRouter(route_class=Paragraph, tags=["keys"])

_KEY = {
    "key_id": "0123abcd",
    "user_id": "alice",
    "name": "Build server",
    "scopes": ["git", "skills:read"],
    "teams": None,
    "made_with": "",
    "created": 1764720000000,
    "created_by": "alice",
    "expires": 1767312000000,
    "revoked": None,
    "last_used": None,
    "purpose": "",
}
_SECRET = "llmos_0123abcd_" + "5f" * 32
KeyId = Annotated[str, Path(max_length=16, description="The part of a key that may be shown, as `0123abcd`.")]


class KeyOut(BaseModel):
    """A key without the key itself; times are in ms since the epoch, null for never.

    `teams` are the only ones that it knows, null for all of its owner's; `made_with` is the key that made it. `purpose`
    is empty for a key in a header, or what a token opens as a part of a URL.
    """

    key_id: str
    user_id: str
    name: str
    scopes: list[str]
    teams: list[str] | None
    made_with: str
    created: int
    created_by: str
    expires: int | None
    revoked: int | None
    last_used: int | None
    purpose: str

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        """Show a key."""
        return cls.model_validate(_fields(key))


class NewKeyOut(KeyOut):
    """A key that was just made; `key` is shown this once. `url` is what a token opens, empty for a key in a header."""

    key: str
    url: str

    @classmethod
    def made(cls, secret: str, key: ApiKey, server: str) -> NewKeyOut:
        """Show a new key."""
        url = server + path_of(secret, key) if key.purpose else ""
        return cls.model_validate(_fields(key) | {"key": secret, "url": url})


class NewKey(Body):
    """A key to be made."""

    model_config = Body.model_config | {
        "json_schema_extra": {
            "examples": [{"name": "Build server", "scopes": ["git", "skills:read"], "expires_days": 30}]
        }
    }
    name: str = Field(min_length=1, max_length=200, description="What it is for.")
    scopes: list[Scope] = Field(
        [], max_length=len(Scope), description="At most those that you have; a token with a purpose has `skills:read`."
    )
    teams: list[str] | None = Field(
        None, max_length=200, description="The only teams that it knows; a key with `act-as` has to list them."
    )
    expires_days: Annotated[int, Field(ge=1, le=3650)] | Literal["never"] | None = Field(
        None, description="How long it holds, or `never` for one without an end; null for what the settings say."
    )
    user_id: str = Field("", max_length=64, description="A service account, as a system admin; yourself when empty.")
    purpose: Literal["", "mcp", "catalog"] = Field(
        "", description="What it opens as a part of a URL, for clients that send no header; empty for an ordinary key."
    )

    @model_validator(mode="after")
    def _check(self) -> NewKey:
        teams = 1 if self.teams is None else len(self.teams)
        if self.purpose and (self.user_id or set(self.scopes) - READING or teams != 1):
            raise ValueError("a token with a purpose is yours, reads skills, and knows one team or all of yours")
        return self

    @property
    def days(self) -> int | None:
        """Return how long it holds: 0 for ever, None as the settings say."""
        return 0 if self.expires_days == "never" else self.expires_days


@router.get("/keys", responses=answers({"items": [_KEY], "next_cursor": None, "total": 1}))
async def list_keys(
    actor: Anyone,
    services: Has,
    *,
    user_id: Annotated[str, Query(max_length=64, description="Whose, as a system admin; `*` for everybody's.")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Listing[KeyOut]:
    """List your keys; with an API key, that one and what was made with it."""
    page = await services.accounts.list_keys(actor, user_id=user_id or None, limit=limit, cursor=cursor)
    return Listing(items=[KeyOut.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.post("/keys", status_code=201, responses=answers(_KEY | {"key": _SECRET, "url": ""}, 404, status=201))
async def create_key(actor: Anyone, services: Has, body: NewKey) -> NewKeyOut:
    """Make a key for yourself with at most your own scopes and teams; it is shown once.

    With a purpose it is a token for a URL, which reads skills: of one team, or all that you read.
    """
    if body.purpose:
        team = body.teams[0] if body.teams else None
        token = await services.capabilities.create(actor, body.purpose, body.name, team_id=team, days=body.days)
        return NewKeyOut.made(*token, services.url)
    made = await services.accounts.create_key(
        actor,
        body.name,
        [str(scope) for scope in body.scopes],
        teams=body.teams,
        days=body.days,
        user_id=body.user_id,
    )
    return NewKeyOut.made(*made, services.url)


@router.delete("/keys/{key_id}", status_code=204, responses=answers(None, 404, status=204, description="It ended."))
async def revoke_key(actor: Anyone, services: Has, key_id: KeyId) -> None:
    """End a key of yours (anybody's, as a system admin), and what was made with it, from the next request on."""
    await services.accounts.revoke_key(actor, key_id)


def _fields(key: ApiKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "user_id": key.user_id,
        "name": key.name,
        "scopes": list(key.scopes),
        "teams": None if key.teams is None else list(key.teams),
        "made_with": key.parent,
        "created": key.created,
        "created_by": key.created_by,
        "expires": key.expires or None,
        "revoked": key.revoked or None,
        "last_used": key.last_used or None,
        "purpose": key.purpose,
    }
