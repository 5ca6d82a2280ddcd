"""Import: other tools' logs become traces."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from llmos_lite.api.deps import Chatter, Has, Paragraph
from llmos_lite.api.openapi import answers
from llmos_lite.api.runs import RUN, RunOut, run_fields
from llmos_lite.api.spool import spooled
from llmos_lite.core.runs import Run, check_finished
from llmos_lite.errors import NotFound

router = APIRouter(route_class=Paragraph, tags=["traces"])

KIND = "import"
_DONE = RUN | {
    "kind": KIND,
    "state": "done",
    "finished": 1764720004000,
    "import_id": RUN["run_id"],
    "files": 1,
    "lines": 812,
    "traces": 97,
    "duplicates": 0,
    "skipped": {"line that is no JSON": 2},
    "formats": {"openai-chat": 1},
}
_BODY = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}

Id = Annotated[str, Path(max_length=64, description="`import_id` of an import.")]


class ImportOut(RunOut):
    """A run of an import; the counts are those of its end."""

    import_id: str
    files: int = 0
    lines: int = 0
    traces: int = 0
    duplicates: int = 0
    skipped: dict[str, int] = Field(default_factory=dict)
    formats: dict[str, int] = Field(default_factory=dict)

    @classmethod
    def shown(cls, run: Run) -> ImportOut:
        """Show a run of an import."""
        return cls.model_validate(run_fields(run) | {"import_id": run.run_id})


@router.post(
    "/traces/import",
    status_code=202,
    responses=answers(_DONE, 404, 413, 503, status=202, description="It runs; follow it by its id.")
    | {200: {"description": "It is done (`wait=true`).", "model": ImportOut}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": _BODY, "application/x-tar": _BODY, "application/x-ndjson": _BODY},
        }
    },
)
async def import_traces(
    actor: Chatter,
    services: Has,
    request: Request,
    response: Response,
    *,
    log_format: Annotated[
        str, Query(alias="format", max_length=64, description="Name of the format; empty looks at each file.")
    ] = "",
    user: Annotated[
        str, Query(max_length=64, description="Whose work it was, for a system admin; else your own.")
    ] = "",
    name: Annotated[str, Query(max_length=200, description="Name of the file, which some formats tell more by.")] = "",
    wait: Annotated[bool, Query(description="Answer at the end.")] = False,
) -> ImportOut:
    """Import a log, or a tar archive of logs, as traces with their original times; the same twice adds nothing."""
    owner = await services.imports.owner(actor, user)
    async with spooled(request, services.settings.data, keep=True) as path:
        run_id = await services.imports.start(actor, owner, path, log_format=log_format, name=FilePath(name).name)
    run = await (services.runs.wait(run_id) if wait else services.runs.get(actor, run_id))
    if wait:
        check_finished(run)
        response.status_code = 200
    return ImportOut.shown(run)


@router.get("/imports/{import_id}", responses=answers(_DONE, 404))
async def get_import(actor: Chatter, services: Has, import_id: Id) -> ImportOut:
    """Say how far an import is, and what came of it."""
    run = await services.runs.get(actor, import_id)
    if run.kind != KIND:
        raise NotFound("run.unknown", "There is no such run that you may see.")
    return ImportOut.shown(run)
