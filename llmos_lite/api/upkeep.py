"""Looking after an instance, for a system admin: backup and reindex; and the OpenAPI document."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from llmos_lite.api.deps import Admin, Anyone, Body, Has, Paragraph
from llmos_lite.api.openapi import Responses, answers, refusals, render
from llmos_lite.api.runs import RUN, RunOut
from llmos_lite.core.accounts.permissions import require_admin
from llmos_lite.core.runs import check_finished
from llmos_lite.errors import Unavailable

router = APIRouter(route_class=Paragraph, tags=["upkeep"])


_ARCHIVE: Responses = {
    200: {
        "description": "A gzipped tar archive that ends with a manifest; one without was cut off.",
        "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}, "example": "(an archive)"}},
    }
}


class Reindex(Body):
    """Whether to wait for the end."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"wait": True}]}}
    wait: bool = True


@router.get("/backup", response_class=StreamingResponse, responses=_ARCHIVE | refusals(503, 507))
async def back_up(actor: Admin, services: Has) -> StreamingResponse:
    """Send one consistent archive of everything, keys too, as a system admin."""
    require_admin(actor)
    from llmos_lite.core.backup import archive, instance_of  # noqa: PLC0415 - seldom needed

    if services.journal is None:
        raise Unavailable("backup.no_journal", "Only the process that holds the journal can back up.")
    parts = instance_of(services.settings.data, services.journal, services.volumes)
    return StreamingResponse(archive(parts), media_type="application/gzip")


@router.post(
    "/reindex",
    responses=answers(RUN | {"kind": "reindex", "state": "done"}, 503)
    | {202: {"description": "It runs; follow it by its id.", "model": RunOut}},
)
async def reindex(actor: Admin, services: Has, response: Response, body: Reindex | None = None) -> RunOut:
    """Build every row about skills, traces and proposals anew, from Git."""
    require_admin(actor)
    body = body or Reindex()
    run_id = await services.start_run(actor, "reindex", {})
    run = await (services.runs.wait(run_id) if body.wait else services.runs.get(actor, run_id))
    if body.wait:
        check_finished(run)
    else:
        response.status_code = 202
    return RunOut.of(run)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(actor: Anyone, request: Request) -> Response:
    """Return the OpenAPI document."""
    del actor
    return Response(render(request.app), media_type="application/json")
