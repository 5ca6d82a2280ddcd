"""Traces: list, read, rate, export."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Body, Chatter, Cursor, Has, Limit, Listing, Paragraph, TraceReader
from llmos_lite.api.openapi import Responses, answers, refusals
from llmos_lite.api.volumes import Volume
from llmos_lite.core.traces.log import Filters, TraceSummary, TraceView
from llmos_lite.core.traces.trace import Feedback, Outcome
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["traces"])

_USED = {
    "skill_id": "code-review",
    "name": "Code review",
    "volume": "team:sre",
    "version": "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c",
    "score": 7.31,
}
_ROW = {
    "trace_id": "01KAKE3VX5N8Q2R7T9W4Y6Z1BD",
    "goal": "Review this pull request for SQL injection",
    "time": 1764720000000,
    "outcome": "success",
    "skills_used": [_USED],
    "ended": "complete",
    "model": "llama3.2",
    "conversation_id": "01KAKE3VX5C3D5F7G9H1J3K5M7",
    "volume": "user:alice",
    "actor": "alice",
    "rating": "up",
    "source": "chat",
}
_TRACE = _ROW | {
    "parent": "",
    "retry_of": "",
    "system_in": "",
    "forked_from": "",
    "messages": [{"role": "user", "content": "Review this pull request for SQL injection"}],
    "tool_calls": [],
    "tokens_in": 812,
    "tokens_out": 240,
    "tokens_estimated": False,
    "latency_ms": 1840,
    "error": "",
    "outcome_sources": ["feedback"],
    "exposures": [],
    "offered": ["team:sre/sql-queries"],
    "commits": {"user:alice": "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f"},
    "team": "sre",
    "share": "digest",
    "redacted": {"email": 2},
    "feedback": [{"by": "alice", "at": 1764720060000, "rating": "up", "note": "", "kept": ""}],
    "location": None,
}

_EXPORT: Responses = {
    200: {
        "description": "One trace a line, as JSON, newest first.",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": '{"trace":{"id":"01KA…"}}\n'}},
    }
}

MOST_MS = 1 << 53
Id = Annotated[str, Path(max_length=64, description="`trace_id` of a chat or of a list.")]
Moment = Annotated[int | None, Query(ge=0, le=MOST_MS)]


class SkillUsed(BaseModel):
    """A skill that was put into the context."""

    skill_id: str
    name: str
    volume: str
    version: str
    score: float


class TraceRow(BaseModel):
    """A trace in a list; `time` is in ms since the epoch."""

    trace_id: str
    goal: str
    time: int
    outcome: str
    skills_used: list[SkillUsed]
    ended: str
    model: str
    conversation_id: str
    volume: str
    actor: str
    rating: str
    source: str

    @classmethod
    def of(cls, row: TraceSummary) -> TraceRow:
        """Show a row."""
        return cls.model_validate(row, from_attributes=True)


class MessageOut(BaseModel):
    """One message that was new in this trace."""

    role: str
    content: str = ""
    name: str = ""
    tool_call_id: str = ""


class ToolCallOut(BaseModel):
    """One call of a tool and what it gave back."""

    name: str
    arguments: str = ""
    result: str = ""
    is_error: bool = False
    id: str = ""


class ExposureOut(BaseModel):
    """A skill that was considered, whichever arm it fell into; `held`: used elsewhere, and held back here."""

    volume: str
    skill_id: str
    version: str
    arm: str
    propensity: float
    score: float
    held: bool


class FeedbackOut(BaseModel):
    """What somebody said of the answer; `at` is in ms since the epoch."""

    by: str
    at: int
    rating: str | None
    note: str
    kept: str


class LocationOut(BaseModel):
    """Where the trace lies in the volume's `traces.git`."""

    branch: str
    blob: str
    offset: int
    length: int


class TraceOut(TraceRow):
    """A trace with all that is known of it; `location` is null while it lies in the journal."""

    parent: str
    retry_of: str = Field(description="Trace of the request that failed, and that this one repeats.")
    system_in: str = Field(description="Trace of another conversation that holds the client's long system prompt.")
    forked_from: str = Field(description="Conversation that this one was forked from, in its first trace.")
    messages: list[MessageOut]
    tool_calls: list[ToolCallOut]
    tokens_in: int
    tokens_out: int
    tokens_estimated: bool = Field(description="The provider gave no counts, so that these are by length.")
    latency_ms: int
    error: str
    outcome_sources: list[str]
    exposures: list[ExposureOut]
    offered: list[str] = Field(description="Skills that the model was first told of by name and description only.")
    commits: dict[str, str]
    team: str
    share: str
    redacted: dict[str, int] = Field(description="How many values were taken out, by kind; the text has `<kind:1>`.")
    feedback: list[FeedbackOut]
    location: LocationOut | None

    @classmethod
    def whole(cls, view: TraceView) -> TraceOut:
        """Show a trace."""
        trace = msgspec.structs.asdict(view.trace)
        later = {"outcome": view.outcome, "outcome_sources": view.outcome_sources, "rating": view.rating}
        named = {"trace_id": view.trace.id, "conversation_id": view.trace.conversation, "volume": view.volume}
        seen = {"feedback": view.feedback, "location": view.location}
        return cls.model_validate(trace | named | later | seen, from_attributes=True)


class FeedbackIn(Body):
    """What you say of an answer; `kept` is the text that you finally kept."""

    model_config = Body.model_config | {
        "json_schema_extra": {"examples": [{"rating": "up", "note": "Worked at once."}]}
    }
    rating: Literal["up", "down"] | None = None
    note: str = Field("", max_length=10_000)
    kept: str = Field("", max_length=1_000_000)


@router.get("/traces", responses=answers({"items": [_ROW], "next_cursor": None, "total": 1}, 404))
async def list_traces(
    actor: TraceReader,
    services: Has,
    *,
    volume: Volume = "",
    after: Moment = None,
    before: Moment = None,
    skill: Annotated[str, Query(max_length=64, description="Only those that used this skill.")] = "",
    outcome: Annotated[Outcome | None, Query(description="Only those with this outcome.")] = None,
    text: Annotated[str, Query(max_length=1000, description="Only those with this text.")] = "",
    conversation_id: Annotated[str, Query(max_length=128, description="Only those of this conversation.")] = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Listing[TraceRow]:
    """List the traces of a volume (your own when none is named), newest first."""
    page = await services.traces.page(
        actor,
        volume=VolumeRef.parse(volume) if volume else None,
        limit=limit,
        cursor=cursor or None,
        after=after,
        before=before,
        skill=skill or None,
        outcome=outcome,
        text=text or None,
        conversation=conversation_id or None,
    )
    return Listing(items=[TraceRow.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.get(
    "/traces/export",
    response_class=StreamingResponse,
    responses=_EXPORT | refusals(404),
)
async def export_traces(
    actor: TraceReader,
    services: Has,
    *,
    volume: Volume = "",
    after: Moment = None,
    before: Moment = None,
    skill: Annotated[str, Query(max_length=64, description="Only those that used this skill.")] = "",
    outcome: Annotated[Outcome | None, Query(description="Only those with this outcome.")] = None,
    text: Annotated[str, Query(max_length=1000, description="Only those with this text.")] = "",
) -> StreamingResponse:
    """Export the traces of a volume (your own when none is named) as JSON lines."""
    narrowed = Filters(after=after, before=before, skill=skill or None, outcome=outcome, text=text or None)
    ref = VolumeRef.parse(volume) if volume else None
    lines = await _begun(services.traces.export(actor, volume=ref, **narrowed))
    return StreamingResponse(lines, media_type="application/x-ndjson")


@router.get("/traces/{trace_id}", responses=answers(_TRACE, 404))
async def get_trace(actor: TraceReader, services: Has, trace_id: Id, *, volume: Volume = "") -> TraceOut:
    """Show a trace with all that is known of it."""
    ref = VolumeRef.parse(volume) if volume else None
    return TraceOut.whole(await services.traces.get(actor, trace_id, volume=ref))


@router.post("/traces/{trace_id}/feedback", responses=answers(_TRACE, 404))
async def give_feedback(
    actor: Chatter, services: Has, trace_id: Id, body: FeedbackIn, *, volume: Volume = ""
) -> TraceOut:
    """Say what came of an answer; a rating decides the outcome."""
    said = Feedback(rating=body.rating, note=body.note, kept=body.kept)
    ref = VolumeRef.parse(volume) if volume else None
    return TraceOut.whole(await services.traces.feedback(actor, trace_id, said, volume=ref))


async def _begun(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Take the first line before the answer begins, so that a refusal is still a problem document."""
    first = await anext(lines, b"")

    async def rest() -> AsyncIterator[bytes]:
        yield first
        async for line in lines:
            yield line

    return rest()
