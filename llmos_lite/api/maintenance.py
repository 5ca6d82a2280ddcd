"""Upkeep of the repositories by hand, for a system admin."""

from __future__ import annotations

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Admin, Body, Has, Paragraph
from llmos_lite.api.openapi import answers
from llmos_lite.core.maintenance import Maintained
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["upkeep"])

MAINTAINED = {
    "items": [
        {
            "volume": "user:alice",
            "packs_before": 61,
            "packs_after": 2,
            "bytes_before": 482113,
            "bytes_after": 96420,
            "problem": None,
        }
    ]
}


class Maintain(Body):
    """Which volume."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"volume": "user:alice"}]}}
    volume: str = Field(default="", max_length=200, description="system, team:ID or user:ID; empty for all.")


class MaintainedOut(BaseModel):
    """What was done to one volume: packs and bytes of objects of its two repositories, before and after."""

    volume: str
    packs_before: int
    packs_after: int
    bytes_before: int
    bytes_after: int
    problem: str | None

    @classmethod
    def of(cls, done: Maintained) -> Self:
        """Return it as it is sent."""
        upkeep = done.upkeep
        return cls(
            volume=done.volume,
            packs_before=upkeep.packs_before,
            packs_after=upkeep.packs_after,
            bytes_before=upkeep.bytes_before,
            bytes_after=upkeep.bytes_after,
            problem=done.problem,
        )


class MaintainedList(BaseModel):
    """What was done to each volume."""

    items: list[MaintainedOut]


@router.post("/admin/maintain", responses=answers(MAINTAINED, 404, 503))
async def maintain(actor: Admin, services: Has, body: Maintain | None = None) -> MaintainedList:
    """Roll up packs and bring the commit-graph up to date, as a system admin.

    The server does it by itself, at 50 packs or after a day. Readers and chats go on meanwhile.
    """
    volume = VolumeRef.parse(body.volume) if body is not None and body.volume else None
    done = await services.maintenance.run(actor, volume)
    return MaintainedList(items=[MaintainedOut.of(one) for one in done])
