"""Runs: how far long work is, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict

from llmos_lite.api.deps import Anyone, Cursor, Has, Limit, Listing, Paragraph
from llmos_lite.api.openapi import answers
from llmos_lite.core.runs import Run

router = APIRouter(route_class=Paragraph, tags=["runs"])

RUN = {
    "run_id": "01KBFW2Q7XN4T9C2Y4R8M0D6ZV",
    "kind": "evolve",
    "actor": "alice",
    "state": "running",
    "stage": "reading",
    "done": 120,
    "total": 340,
    "error": "",
    "created": 1764720000000,
    "finished": 0,
}

Id = Annotated[str, Path(max_length=64, description="`run_id` of a run.")]


class RunOut(BaseModel):
    """A run: `done` of `total` steps of its stage are finished; when it is done, what came of it stands beside these.

    Times are in ms since the epoch, 0 for not yet.
    """

    model_config = ConfigDict(extra="allow")
    run_id: str
    kind: str
    actor: str
    state: Literal["queued", "running", "done", "failed"]
    stage: str
    done: int
    total: int
    error: str
    created: int
    finished: int

    @classmethod
    def of(cls, run: Run) -> RunOut:
        """Show a run."""
        return cls.model_validate(run_fields(run))


def run_fields(run: Run) -> dict[str, Any]:
    """Return what of a run is shown: what came of it, and how far it is."""
    return run.result | {name: getattr(run, name) for name in RunOut.model_fields}


@router.get("/runs", responses=answers({"items": [RUN], "next_cursor": None, "total": 1}))
async def list_runs(actor: Anyone, services: Has, *, limit: Limit = 50, cursor: Cursor = "") -> Listing[RunOut]:
    """List your runs, newest first; everybody's for a system admin."""
    page = await services.runs.page(actor, limit=limit, cursor=cursor or None)
    return Listing(items=[RunOut.of(run) for run in page.items], next_cursor=page.next_cursor, total=page.total)


@router.get("/runs/{run_id}", responses=answers(RUN, 404))
async def get_run(actor: Anyone, services: Has, run_id: Id) -> RunOut:
    """Say how far a run is, and what came of it."""
    return RunOut.of(await services.runs.get(actor, run_id))
