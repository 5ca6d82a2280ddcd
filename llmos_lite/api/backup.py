"""The whole instance as one archive, streamed while the server goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from llmos_lite.api.deps import Admin, Has, Paragraph
from llmos_lite.api.openapi import answers
from llmos_lite.bootstrap import Services
from llmos_lite.core.backup import Instance, Part, archive
from llmos_lite.errors import Unavailable
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

router = APIRouter(route_class=Paragraph, tags=["upkeep"])

_GZIP = {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}
_ARCHIVE = {200: {"description": "The archive.", "content": _GZIP}}


@router.get("/backup", response_class=StreamingResponse, responses=answers(None, 503, 507) | _ARCHIVE)
async def back_up(_actor: Admin, services: Has) -> StreamingResponse:
    """Send one consistent archive of everything, keys too, as a system admin.

    It ends with a manifest; an archive without one was cut off. `llmos restore` checks it and brings it up elsewhere.
    """
    return StreamingResponse(archive(_instance(services)), media_type="application/gzip")


def _instance(services: Services) -> Instance:
    if services.journal is None:
        raise Unavailable("backup.no_journal", "Only the process that holds the journal can back up.")
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
