"""What comes and goes as a stream: skills by the folder, and the whole instance as one archive."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from llmos_lite.api.deps import Admin, Has, Listing, Paragraph, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.bootstrap import Services
from llmos_lite.core.backup import Instance, Part, archive
from llmos_lite.core.skills.install import Installed, unpack
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

router = APIRouter(route_class=Paragraph)

IN_MEMORY = 1 << 20
_ITEM = {
    "skill_id": "my-skill",
    "status": "created",
    "detail": "",
    "version": "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f",
}
_TAR = {
    "requestBody": {
        "required": True,
        "description": "A tar archive, gzipped or not, of skill folders and Markdown files.",
        "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_GZIP = {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}
_BACKUP = answers(None, 507) | {200: {"description": "The archive.", "content": _GZIP}}


class InstalledSkill(BaseModel):
    """What came of one skill; `detail` says why."""

    skill_id: str
    status: Literal["created", "updated", "unchanged", "refused"]
    detail: str
    version: str

    @classmethod
    def of(cls, item: Installed) -> InstalledSkill:
        """Show one."""
        return cls(skill_id=item.skill_id, status=item.status, detail=item.detail, version=item.version)


@router.post(
    "/skills/install",
    tags=["skills"],
    openapi_extra=_TAR,
    responses=answers({"items": [_ITEM], "next_cursor": None, "total": 1}, 404, 413),
)
async def install_skills(
    actor: SkillWriter,
    services: Has,
    request: Request,
    volume: Annotated[
        str, Query(max_length=80, description="`system`, `team:ID` or `user:ID`; your own when left out.")
    ] = "",
    replace: Annotated[bool, Query(description="Replace skills that are there and differ.")] = False,
) -> Listing[InstalledSkill]:
    """Add every skill of a tar archive, as one commit.

    A skill is a folder with a SKILL.md, or a Markdown file in no such folder. What cannot be taken is `refused`, with
    the reason; the others are added all the same.
    """
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
        async for block in request.stream():
            body.write(block)
        body.seek(0)
        packages = await asyncio.to_thread(unpack, body)
    if not packages:
        raise NotFound("install.nothing", "There is no skill in the archive.", hint="Send a SKILL.md or a .md file.")
    ref = VolumeRef.parse(volume) if volume else None
    done = await services.skills.install(actor, packages, volume=ref, replace=replace)
    return Listing(items=[InstalledSkill.of(item) for item in done], next_cursor=None, total=len(done))


@router.get("/backup", tags=["upkeep"], responses=_BACKUP, response_class=StreamingResponse)
async def back_up(_actor: Admin, services: Has) -> StreamingResponse:
    """Send one consistent archive of everything, keys too, while the server goes on."""
    return StreamingResponse(archive(instance(services)), media_type="application/gzip")


def instance(services: Services) -> Instance:
    """Return what a backup needs of the services."""
    volumes = services.volumes
    return Instance(services.settings.data, services.journal, lambda: [_part(volumes, ref) for ref in volumes.refs()])


def _part(volumes: VolumeManager, ref: VolumeRef) -> Part:
    name = volumes.folder(ref).relative_to(volumes.folder(SYSTEM).parents[1]).as_posix()
    return Part(name, str(ref), partial(_locked, volumes, ref))


@contextmanager
def _locked(volumes: VolumeManager, ref: VolumeRef) -> Iterator[None]:
    volume = volumes.open(PLATFORM, ref, write=True)
    with volume.store.lock(), volume.traces.lock():
        yield
