"""Volumes: what is in them, their Git history, and how they take promotions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Body, Cursor, Has, Limit, Listing, Paragraph, SkillReader, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.core.volumes import Stats
from llmos_lite.engines.git import Commit
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import MOST_DAYS

router = APIRouter(route_class=Paragraph, tags=["volumes"])

_STATS = {
    "volume": "user:alice",
    "skills": 12,
    "traces": 340,
    "commits": 57,
    "bytes": 482133,
    "head": "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f",
    "review": "none",
    "retention_days": None,
    "problem": None,
}
_COMMIT = {
    "commit": "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f",
    "parents": ["1b2a3f4c5d6e7f5f0c3c8f1f6a2e0d3b7a9c4e8d"],
    "author": "alice",
    "committer": "llmos-lite",
    "time": 1764720000000,
    "subject": "Create skill: my-skill",
    "body": "",
    "trailers": {"Skill-Op": "create"},
    "signed": True,
}

Volume = Annotated[str, Query(max_length=80, description="`system`, `team:ID` or `user:ID`.")]
SkillId = Annotated[str, Query(max_length=64, description="Only commits that changed this skill.")]


class StatsOut(BaseModel):
    """What a volume holds; `bytes` counts what Git keeps, `problem` says why it cannot be read.

    `retention_days` is null where the instance's setting holds, and 0 where traces are kept for ever.
    """

    volume: str
    skills: int
    traces: int
    commits: int
    bytes: int
    head: str
    review: str
    retention_days: int | None
    problem: str | None

    @classmethod
    def of(cls, stats: Stats) -> StatsOut:
        """Show figures."""
        return cls(
            volume=stats.volume,
            skills=stats.skills,
            traces=stats.traces,
            commits=stats.commits,
            bytes=stats.size,
            head=stats.head,
            review=stats.review,
            retention_days=stats.retention_days,
            problem=stats.problem,
        )


class CommitOut(BaseModel):
    """A commit; `time` is in ms since the epoch. Whether a signature holds, `llmos verify` tells."""

    commit: str
    parents: list[str]
    author: str
    committer: str
    time: int
    subject: str
    body: str
    trailers: dict[str, str]
    signed: bool

    @classmethod
    def of(cls, commit: Commit) -> CommitOut:
        """Show a commit."""
        return cls(
            commit=commit.oid,
            parents=list(commit.parents),
            author=commit.author,
            committer=commit.committer,
            time=commit.time,
            subject=commit.subject,
            body=commit.body,
            trailers=dict(commit.trailers),
            signed=commit.signed,
        )


class Policy(Body):
    """How a volume takes promotions, and how long it keeps traces; what is left out stays as it is."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"volume": "team:sre", "review": "none", "retention_days": 365}]}
    }
    volume: str
    review: Literal["none", "required"] | None = None
    retention_days: int | None = Field(None, ge=0, le=MOST_DAYS, description="Days; 0 keeps traces for ever.")


@router.get("/volumes/stats", responses=answers({"items": [_STATS], "next_cursor": None, "total": 1}, 404))
async def volume_stats(
    actor: SkillReader, services: Has, volume: Volume = "", limit: Limit = 50, cursor: Cursor = ""
) -> Listing[StatsOut]:
    """Say what the volumes hold that you may read, or one of them."""
    ref = VolumeRef.parse(volume) if volume else None
    page = await services.views.stats(actor, volume=ref, limit=limit, cursor=cursor)
    return Listing(items=[StatsOut.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.get("/volumes/history", responses=answers({"items": [_COMMIT], "next_cursor": None, "total": 1}, 404))
async def volume_history(
    actor: SkillReader,
    services: Has,
    *,
    volume: Volume = "",
    skill_id: SkillId = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Listing[CommitOut]:
    """List the commits of a volume (your own when none is named), newest first."""
    ref = VolumeRef.parse(volume) if volume else None
    page = await services.views.history(actor, volume=ref, skill_id=skill_id, limit=limit, cursor=cursor)
    return Listing(items=[CommitOut.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.put("/volumes/policy", responses=answers(_STATS | {"volume": "team:sre"}, 404))
async def set_policy(actor: SkillWriter, services: Has, body: Policy) -> StatsOut:
    """Set whether promotions to a volume need a review, and how long it keeps traces, as an admin of it."""
    ref, days = VolumeRef.parse(body.volume), body.retention_days
    return StatsOut.of(await services.views.set_policy(actor, ref, review=body.review, retention_days=days))
