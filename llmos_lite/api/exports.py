"""Skills as archives, byte for byte."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import Response

from llmos_lite.api.deps import Has, Paragraph, SkillReader
from llmos_lite.api.openapi import Responses, refusals
from llmos_lite.api.volumes import Volume
from llmos_lite.volumes.access import VolumeRef

router = APIRouter(route_class=Paragraph, tags=["skills"])

Id = Annotated[str, PathParameter(description="Id of the skill: lower-case letters, digits and single hyphens.")]
TYPES = {"tar.gz": "application/gzip", "zip": "application/zip"}
_ARCHIVE: Responses = {
    200: {
        "description": "The archive, with SKILL.md at its root.",
        "content": {
            kind: {"schema": {"type": "string", "contentMediaType": kind}, "example": "(bytes)"}
            for kind in TYPES.values()
        },
    }
}


@router.get("/skills/{skill_id}/archive", response_class=Response, responses=_ARCHIVE | refusals(403, 404))
async def get_skill_archive(
    actor: SkillReader,
    services: Has,
    skill_id: Id,
    *,
    volume: Volume = "",
    team_id: Annotated[str, Query(max_length=64, description="Team in whose context this is; one of your own.")] = "",
    version: Annotated[str, Query(max_length=64, description="Git id of the version of the skill.")] = "",
    form: Annotated[Literal["tar.gz", "zip"], Query(alias="format", description="Form of the archive.")] = "tar.gz",
    held: Annotated[bool, Query(description="Also when a scanner holds it back; `X-LLMOS-Held` says why.")] = False,
) -> Response:
    """Return a skill whole, byte for byte: the same archive for the same version, which is the ETag.

    One that a scanner holds back is refused (`skill.held`) unless it is asked for with `held=true`.
    """
    found = await services.exports.archive(
        actor,
        skill_id,
        volume=VolumeRef.parse(volume) if volume else None,
        team_id=team_id or None,
        version=version or None,
        form=form,
        held=held,
    )
    headers = {
        "ETag": f'"{found.version}"',
        "Content-Disposition": f'attachment; filename="{found.skill_id}.{found.form}"',
        "X-LLMOS-Volume": found.volume,
    }
    if found.held:
        headers["X-LLMOS-Held"] = ", ".join(found.held)
    return Response(found.data, media_type=TYPES[found.form], headers=headers)
