"""What scanners say of a skill, and standing for it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Body, Has, Paragraph, SkillReader, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.api.skills import FindingOut, Id
from llmos_lite.api.volumes import Volume
from llmos_lite.core.skills.inspecting import Inspected
from llmos_lite.core.skills.signoffs import SignOff
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["skills"])

_DIGEST = "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c"
_SCANNED = {
    "volume": "user:alice",
    "skill_id": "my-skill",
    "digest": _DIGEST,
    "held": True,
    "findings": [
        {
            "code": "remote.pipe",
            "severity": "high",
            "message": "It runs what it downloads, unseen.",
            "line": 12,
            "scanner": "llmos",
            "file": "SKILL.md",
            "category": "remote-code",
        }
    ],
    "signed_off": None,
}
_SIGNED = {
    "by": "alice",
    "at": 1764720000000,
    "why": "It is our own installer.",
    "codes": ["remote.pipe"],
    "proposal_id": "",
}


class SignOffOut(BaseModel):
    """Who stood for exactly this version, when and why; `why` of a proposal stands in its timeline."""

    by: str
    at: int
    why: str
    codes: list[str]
    proposal_id: str

    @classmethod
    def of(cls, signed: SignOff | None) -> SignOffOut | None:
        """Show it, when there is one."""
        return cls.model_validate(signed, from_attributes=True) if signed else None


class Scanned(BaseModel):
    """What scanners say of one version of a skill, all its files.

    `held` says that a finding of high severity keeps it out of chats, and out of the volumes of others, until somebody
    signs it off.
    """

    volume: str
    skill_id: str
    digest: str
    held: bool
    findings: list[FindingOut]
    signed_off: SignOffOut | None

    @classmethod
    def of(cls, found: Inspected) -> Scanned:
        """Show it."""
        return cls(
            volume=found.volume,
            skill_id=found.skill_id,
            digest=found.digest,
            held=found.held,
            findings=[FindingOut.model_validate(one, from_attributes=True) for one in found.findings],
            signed_off=SignOffOut.of(found.signed),
        )


class SignOffIn(Body):
    """Why it is safe, and which version you looked at."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"reason": "It is our own installer.", "digest": _DIGEST}]}
    }
    reason: str = Field(max_length=20_000)
    digest: str = Field(max_length=64, description="`digest` of the version that you looked at.")


@router.get("/skills/{skill_id}/scan", responses=answers(_SCANNED, 404))
async def scan_skill(
    actor: SkillReader,
    services: Has,
    skill_id: Id,
    *,
    volume: Volume = "",
    version: Annotated[str, Query(max_length=64, description="Git id of the version of the skill.")] = "",
) -> Scanned:
    """Look for what would harm in a skill: injection, exfiltration, hidden text, secrets, code from elsewhere."""
    ref = VolumeRef.parse(volume) if volume else None
    return Scanned.of(await services.inspector.scan(actor, skill_id, volume=ref, version=version))


@router.post(
    "/skills/{skill_id}/sign-off", responses=answers(_SCANNED | {"held": False, "signed_off": _SIGNED}, 404, 409)
)
async def sign_skill_off(
    actor: SkillWriter, services: Has, skill_id: Id, body: SignOffIn, *, volume: Volume = ""
) -> Scanned:
    """Stand for what was found in exactly this version, as an admin of its volume; in a team's, not for your own."""
    ref = VolumeRef.parse(volume) if volume else None
    done = await services.inspector.sign_off(actor, skill_id, body.reason, digest=body.digest, volume=ref)
    return Scanned.of(done)
