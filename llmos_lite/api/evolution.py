"""Evolution: run it, follow its runs, look at patterns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Body, Cursor, Evolver, Has, Limit, Listing, Paragraph, TraceReader
from llmos_lite.api.openapi import answers
from llmos_lite.api.runs import RUN, RunOut, run_fields
from llmos_lite.api.volumes import Volume
from llmos_lite.core.evolution.service import EVOLVE, PatternView
from llmos_lite.core.runs import Run, check_finished
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["evolution"])

_DETAIL = {
    "pattern_id": "p-3f9a1c2b",
    "goal": "Find why a query is slow in Postgres",
    "count": 5,
    "users": 1,
    "success_rate": 0.8,
    "action": "created",
    "skill_id": "postgres-slow-query",
    "reason": "",
    "volume": "user:alice",
}
_DONE = RUN | {
    "state": "done",
    "finished": 1764720004000,
    "evolution_id": RUN["run_id"],
    "scope": "user",
    "traces_analyzed": 340,
    "patterns_detected": 4,
    "skills_created": 1,
    "skills_updated": 0,
    "skipped": 3,
    "details": [_DETAIL],
}
_PATTERN = {
    "pattern_id": "p-3f9a1c2b",
    "volume": "user:alice",
    "goal": "Find why a query is slow in Postgres",
    "count": 5,
    "users": 1,
    "success_rate": 0.8,
    "examples": ["why is this query slow", "explain analyze shows a seq scan"],
    "skill_id": "postgres-slow-query",
    "reason": "",
    "first": 1764720000000,
    "last": 1764806400000,
}

Id = Annotated[str, Path(max_length=64, description="`evolution_id` of a run.")]
PatternId = Annotated[str, Path(max_length=64, description="Id of a pattern.")]


class Evolve(Body):
    """Whose evolution to run: your own, a team's that you are in, or, as a system admin, the system's."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"scope": "user", "wait": True}]}}
    scope: Literal["user", "team", "system"] = "user"
    team_id: str | None = None
    wait: bool = Field(default=True, description="Answer at the end; otherwise at once, with 202.")


class EvolutionOut(RunOut):
    """A run of evolution; the counts and `details` are those of its end."""

    evolution_id: str
    traces_analyzed: int = 0
    patterns_detected: int = 0
    skills_created: int = 0
    skills_updated: int = 0
    skipped: int = 0
    details: list[dict[str, Any]] = Field(default_factory=list)

    @classmethod
    def shown(cls, run: Run) -> EvolutionOut:
        """Show a run of evolution."""
        return cls.model_validate(run_fields(run) | {"evolution_id": run.run_id})


class PatternRow(BaseModel):
    """A goal that repeats; `count` counts conversations, `users` people; times are in ms since the epoch."""

    pattern_id: str
    volume: str
    goal: str
    count: int
    users: int
    success_rate: float
    examples: list[str]
    skill_id: str
    reason: str
    first: int
    last: int

    @classmethod
    def of(cls, view: PatternView) -> PatternRow:
        """Show a pattern of a list."""
        return cls.model_validate(view, from_attributes=True)


class PatternOut(PatternRow):
    """A pattern with the opening traces of all its conversations."""

    trace_ids: list[str]


@router.post(
    "/evolve",
    responses=answers(_DONE, 404, 503) | {202: {"description": "It runs; follow it by its id.", "model": EvolutionOut}},
)
async def evolve(actor: Evolver, services: Has, response: Response, body: Evolve | None = None) -> EvolutionOut:
    """Look for goals that repeat, and write skills for them."""
    body = body or Evolve()
    if not body.wait:
        response.status_code = 202
        run_id = await services.evolution.start(actor, body.scope, body.team_id)
        return EvolutionOut.shown(await services.runs.get(actor, run_id))
    run = await services.evolution.run(actor, body.scope, body.team_id)
    check_finished(run)
    return EvolutionOut.shown(run)


@router.get("/evolutions", responses=answers({"items": [_DONE], "next_cursor": None, "total": 1}))
async def list_evolutions(
    actor: Evolver, services: Has, *, limit: Limit = 50, cursor: Cursor = ""
) -> Listing[EvolutionOut]:
    """List your runs of evolution, newest first; everybody's for a system admin."""
    page = await services.runs.page(actor, kind=EVOLVE, limit=limit, cursor=cursor or None)
    items = [EvolutionOut.shown(run) for run in page.items]
    return Listing(items=items, next_cursor=page.next_cursor, total=page.total)


@router.get("/evolutions/{evolution_id}", responses=answers(_DONE, 404))
async def get_evolution(actor: Evolver, services: Has, evolution_id: Id) -> EvolutionOut:
    """Say how far a run of evolution is, and what came of it."""
    run = await services.runs.get(actor, evolution_id)
    if run.kind != EVOLVE:
        raise NotFound("run.unknown", "There is no such run that you may see.")
    return EvolutionOut.shown(run)


@router.get("/patterns", responses=answers({"items": [_PATTERN], "next_cursor": None, "total": 1}, 404))
async def list_patterns(
    actor: TraceReader, services: Has, *, volume: Volume = "", limit: Limit = 50, cursor: Cursor = ""
) -> Listing[PatternRow]:
    """List the goals that repeat, the most frequent first: yours and your teams', or those of a volume."""
    ref = VolumeRef.parse(volume) if volume else None
    page = await services.evolution.patterns(actor, volume=ref, limit=limit, cursor=cursor or None)
    return Listing(items=[PatternRow.of(item) for item in page.items], next_cursor=page.next_cursor, total=page.total)


@router.get("/patterns/{pattern_id}", responses=answers(_PATTERN | {"trace_ids": ["01KAKE3VX5N8Q2R7T9W4Y6Z1BD"]}, 404))
async def get_pattern(actor: TraceReader, services: Has, pattern_id: PatternId) -> PatternOut:
    """Show a pattern with the opening traces of all its conversations."""
    return PatternOut.model_validate(await services.evolution.pattern(actor, pattern_id), from_attributes=True)
