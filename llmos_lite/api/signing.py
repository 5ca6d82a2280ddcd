"""Signatures: whether volumes are what llmos and their people wrote, and the keys that sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Admin, Anyone, Body, Has, Listing, Paragraph, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.api.volumes import Volume
from llmos_lite.core.verify import Verified
from llmos_lite.engines.signing_keys import SOMETIME, Key
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["volumes"])

_PRINT = "SHA256:tBYcJnmSD5GgFWwKVMeA3kZwcyATnuJe08AXwaVmL2M"
_VERIFIED = {
    "volume": "user:alice",
    "repository": "skills",
    "sound": True,
    "commits": 57,
    "platform": 55,
    "persons": 2,
    "keys": {_PRINT: 55},
    "heads": {"refs/heads/main": "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f"},
    "strange": [],
    "problems": [],
    "more": 0,
}
_KEY = {
    "fingerprint": _PRINT,
    "public": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPU0RXgZoVj8SEAMGt9rwZnZb36Ia3s0iXBkVT06SnC2",
    "state": "current",
    "since": 1764720000000,
    "until": 0,
    "revoked": 0,
}
_KEYS = {"items": [_KEY], "next_cursor": None, "total": 1}

Since = Annotated[
    Sequence[Annotated[str, Field(pattern="^[0-9a-f]{40}$")]],
    Query(max_length=200, description="Commits up to which everything was verified before (`heads` of that answer)."),
]


class ProblemOut(BaseModel):
    """What is wrong, and with which commit or ref."""

    where: str
    code: str
    message: str


class VerifiedOut(BaseModel):
    """What was found in one repository of a volume.

    `platform` commits are signed by llmos, by one of `keys`; `persons` are those that people pushed. `strange` are refs
    that llmos did not make; `more` counts problems beyond the first hundred.
    """

    volume: str
    repository: Literal["skills", "traces"]
    sound: bool
    commits: int
    platform: int
    persons: int
    keys: dict[str, int]
    heads: dict[str, str]
    strange: list[str]
    problems: list[ProblemOut]
    more: int

    @classmethod
    def of(cls, found: Verified) -> Self:
        """Show what was found."""
        return cls.model_validate(found, from_attributes=True)


class VerifiedList(BaseModel):
    """What was found in the repositories of a volume."""

    items: list[VerifiedOut]


class KeyOut(BaseModel):
    """A public key of llmos; times are in ms since the epoch, 0 for none or for one that nobody noted."""

    fingerprint: str
    public: str
    state: Literal["current", "retired", "revoked"]
    since: int
    until: int
    revoked: int

    @classmethod
    def of(cls, key: Key) -> Self:
        """Show a key."""
        until = key.until if key.until > SOMETIME else 0
        return cls(
            fingerprint=key.fingerprint,
            public=key.public,
            state=key.state,
            since=key.since * 1000,
            until=until * 1000,
            revoked=key.revoked * 1000,
        )


class Revoke(Body):
    """Which key, and from when on."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"fingerprint": _PRINT, "at": None}]}}
    fingerprint: str = Field(max_length=200, description="As in the list of keys.")
    at: int | None = Field(
        None, ge=1000, le=253_402_300_799_000, description="When it was stolen, in ms since the epoch; null for now."
    )


@router.get("/volumes/verify", responses=answers({"items": [_VERIFIED]}, 404, 503))
async def verify_volume(
    actor: SkillWriter, services: Has, *, volume: Volume = "", since: Since = (), objects: bool = True
) -> VerifiedList:
    """Verify a volume (your own when none is named), as an admin of it.

    Every commit has to be signed by llmos, or to be a person's own; every ref has to lead somewhere; and with `objects`
    every object has to hash to its name.
    """
    ref = VolumeRef.parse(volume) if volume else actor.volume
    found = await services.integrity.verify(actor, ref, since=since, objects=objects)
    return VerifiedList(items=[VerifiedOut.of(one) for one in found])


@router.get("/signing/keys", responses=answers(_KEYS))
async def list_keys(actor: Anyone, services: Has) -> Listing[KeyOut]:
    """List the public keys of llmos, the one that signs now first."""
    del actor
    return _listed(await services.integrity.keys())


@router.post("/signing/rotate", responses=answers(_KEYS, 503, 507))
async def rotate_key(actor: Admin, services: Has) -> Listing[KeyOut]:
    """Sign with a new key from now on, as a system admin; what the old one signed stays verifiable."""
    await services.integrity.rotate(actor)
    return _listed(await services.integrity.keys())


@router.post("/signing/revoke", responses=answers(_KEYS, 404, 409, 507))
async def revoke_key(actor: Admin, services: Has, body: Revoke) -> Listing[KeyOut]:
    """Say that a retired key was stolen, as a system admin: what it signed after that time counts as forged."""
    await services.integrity.revoke(actor, body.fingerprint, None if body.at is None else body.at // 1000)
    return _listed(await services.integrity.keys())


def _listed(keys: list[Key]) -> Listing[KeyOut]:
    return Listing(items=[KeyOut.of(key) for key in keys], next_cursor=None, total=len(keys))
