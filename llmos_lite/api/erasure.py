"""Erasure of traces, and the archives of old ones."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from llmos_lite.api.accounts import Id as UserId
from llmos_lite.api.deps import Body, Chatter, Has, Listing, Paragraph, TraceReader
from llmos_lite.api.openapi import answers
from llmos_lite.api.volumes import Volume
from llmos_lite.core.traces.archive import Archived
from llmos_lite.core.traces.erase import REASON_LENGTH
from llmos_lite.core.traces.erasure_report import ErasureReport
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["traces"])

OUT_OF_REACH = (
    "Clones of a traces repository, exports and backups that were made before keep their copies; "
    "so does the history of a skill that quoted it."
)

_ERASURE = {
    "erasure_id": "01KAKE3VX5N8Q2R7T9W4Y6Z1BD",
    "traces": 2,
    "comments": 0,
    "volumes": [
        {"volume": "user:alice", "traces": 1, "branches": ["2026-11"], "archives": [], "objects": 31},
        {"volume": "team:sre", "traces": 1, "branches": ["2026-11"], "archives": [], "objects": 24},
    ],
    "skills": [{"volume": "user:alice", "skill_id": "deploy-check", "branch": "main", "replaced": True}],
    "unreached": [],
    "unfinished": {},
    "out_of_reach": OUT_OF_REACH,
}
_ARCHIVED = {
    "volume": "user:alice",
    "month": "2026-03",
    "traces": 4120,
    "events": 4377,
    "first": 1772323200000,
    "last": 1774999600000,
    "tip": "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f",
    "bundle": "2026-03-9f86d081.bundle.xz",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size": 812345,
    "plain_size": 9482133,
    "archived": 1795500000000,
}

Reason = Annotated[str, Query(max_length=REASON_LENGTH, description="Why, for the tombstone that stays.")]


class VolumeErasureOut(BaseModel):
    """What was done in a volume.

    `branches` are the months that were rewritten, `archives` those packed anew; `objects` were removed from Git.
    """

    volume: str
    traces: int
    branches: list[str]
    archives: list[str]
    objects: int


class QuotingSkillOut(BaseModel):
    """A skill that quotes what was erased; `replaced` when a new commit took it out of one that evolution wrote."""

    volume: str
    skill_id: str
    branch: str
    replaced: bool


class ErasureOut(BaseModel):
    """What was erased, and what was not.

    `traces` counts copies, `comments` what somebody said about proposals; `unreached` names mirrors that keep one;
    `unfinished` says, by volume, what is tried again at the next start; `out_of_reach` what no erasure here can reach.
    """

    erasure_id: str
    traces: int
    comments: int
    volumes: list[VolumeErasureOut]
    skills: list[QuotingSkillOut]
    unreached: list[str]
    unfinished: dict[str, str]
    out_of_reach: str

    @classmethod
    def of(cls, report: ErasureReport, comments: int = 0) -> ErasureOut:
        """Show a report."""
        return cls(
            erasure_id=report.erasure_id,
            traces=report.traces,
            comments=comments,
            volumes=[VolumeErasureOut.model_validate(one, from_attributes=True) for one in report.volumes],
            skills=[QuotingSkillOut.model_validate(one, from_attributes=True) for one in report.skills],
            unreached=report.unreached,
            unfinished=report.unfinished,
            out_of_reach=OUT_OF_REACH,
        )


class ArchivedOut(BaseModel):
    """A month in the archive; times are in ms since the epoch, sizes in bytes."""

    volume: str
    month: str
    traces: int
    events: int
    first: int
    last: int
    tip: str
    bundle: str
    sha256: str
    size: int
    plain_size: int
    archived: int

    @classmethod
    def of(cls, archived: Archived) -> ArchivedOut:
        """Show a manifest."""
        return cls.model_validate(archived, from_attributes=True)


class Month(Body):
    """A month of a volume's traces."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"month": "2026-03"}]}}
    month: str = Field(max_length=7, description="As in 2026-03.")
    volume: str = Field("", max_length=80, description="`team:ID` or `user:ID`; empty for your own.")

    @property
    def ref(self) -> VolumeRef | None:
        """Return the volume that is named."""
        return VolumeRef.parse(self.volume) if self.volume else None


@router.delete("/traces/{trace_id}", responses=answers(_ERASURE, 404, 503, 507))
async def erase_trace(
    actor: Chatter,
    services: Has,
    trace_id: Annotated[str, Path(max_length=64, description="`trace_id` of a chat or of a list.")],
    *,
    volume: Volume = "",
    reason: Reason = "",
) -> ErasureOut:
    """Erase a trace of yours with every copy here, or as an admin of the volume that it lies in; it cannot be undone.

    The months that hold it are rewritten, and a tombstone says who erased it, when and why.
    """
    ref = VolumeRef.parse(volume) if volume else None
    return ErasureOut.of(await services.eraser.erase(actor, trace_id, volume=ref, reason=reason))


@router.delete("/users/{user_id}/traces", responses=answers(_ERASURE, 503, 507))
async def forget_user(actor: Chatter, services: Has, user_id: UserId, *, reason: Reason = "") -> ErasureOut:
    """Erase every trace of yours, or of anybody as a system admin, and what was said about proposals.

    It cannot be undone. Account and skills stay.
    """
    report = await services.eraser.forget(actor, user_id, reason=reason)
    return ErasureOut.of(report, await services.proposals.forget(user_id))


@router.get("/archives", responses=answers({"items": [_ARCHIVED], "next_cursor": None, "total": 1}, 404))
async def list_archives(actor: TraceReader, services: Has, *, volume: Volume = "") -> Listing[ArchivedOut]:
    """List the months of a volume (your own when none is named) that are archived, oldest first."""
    found = await services.archives.listed(actor, VolumeRef.parse(volume) if volume else None)
    return Listing(items=[ArchivedOut.of(one) for one in found], next_cursor=None, total=len(found))


@router.post("/archives", status_code=201, responses=answers(_ARCHIVED, 404, 507, status=201))
async def archive_month(actor: Chatter, services: Has, body: Month) -> ArchivedOut:
    """Move a month of traces out of Git into a compressed bundle, as an admin of the volume."""
    return ArchivedOut.of(await services.archives.archive(actor, body.month, body.ref))


@router.post("/archives/restore", responses=answers(_ARCHIVED, 404, 507))
async def restore_month(actor: Chatter, services: Has, body: Month) -> ArchivedOut:
    """Bring an archived month of traces back into Git, without what was erased since, as an admin of the volume."""
    return ArchivedOut.of(await services.archives.restore(actor, body.month, body.ref))
