"""The audit log: search it, export it, check that nobody changed it."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from llmos_lite.api.deps import Admin, Cursor, Has, Limit, Listing, Paragraph, TraceReader
from llmos_lite.api.openapi import Responses, answers, refusals
from llmos_lite.core.accounts.permissions import require_admin
from llmos_lite.records.audit import AuditFilter, AuditRecord

router = APIRouter(route_class=Paragraph, tags=["audit"])

_ROW = {
    "seq": 42,
    "time": 1764720000000,
    "actor": "alice",
    "owner": "",
    "credential": "key:llmos_0a1b2c3d",
    "client": "192.0.2.7",
    "request_id": "5f2c1d9a0b7e4c33",
    "action": "member.set",
    "target": "team:sre",
    "about": "team:sre",
    "result": "ok",
    "code": "",
    "detail": {"user_id": "bob", "role": "user"},
    "prev": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "hash": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
}
_REPORT = {
    "ok": True,
    "rows": 1204,
    "seq": 1204,
    "hash": _ROW["hash"],
    "checkpoints": 31,
    "covered": 1200,
    "first_wrong": 0,
    "problem": "",
}
_LINES: Responses = {
    200: {
        "description": "One JSON object a line, oldest first.",
        "content": {
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": json.dumps(_ROW | {"detail": json.dumps(_ROW["detail"])}) + "\n",
            }
        },
    }
}

Who = Annotated[str, Query(max_length=64, description="Who acted, or whose key was used.")]
What = Annotated[str, Query(max_length=64, description="Actions that begin with this, as in `member.`")]
Target = Annotated[str, Query(max_length=200, description="Targets that begin with this, as in `team:sre`.")]
Result = Annotated[Literal["", "ok", "refused", "failed"], Query(description="Only this result.")]
Since = Annotated[int, Query(ge=0, le=1 << 53, description="Not before this time, in ms since the epoch.")]
Until = Annotated[int, Query(ge=0, le=1 << 53, description="Before this time, in ms since the epoch.")]


class AuditOut(BaseModel):
    """A row: who did what to what, from where, when, with which credential, and what came of it.

    `owner` is whose key acted, when that is somebody else; `code` names the error of what was not `ok`; `times` in the
    detail counts refusals that were alike within a minute. `hash` covers the row and `prev`, the hash before it.
    """

    seq: int
    time: int
    actor: str
    owner: str
    credential: str
    client: str
    request_id: str
    action: str
    target: str
    about: str
    result: Literal["ok", "refused", "failed"]
    code: str
    detail: dict[str, str]
    prev: str
    hash: str

    @classmethod
    def of(cls, record: AuditRecord) -> AuditOut:
        """Show a row."""
        fields = {name: getattr(record, name) for name in AuditRecord.__struct_fields__}
        return cls.model_validate(fields | {"detail": json.loads(record.detail)})


class ReportOut(BaseModel):
    """What a check of the whole log found; `first_wrong` is the first row that is wrong, 0 for none.

    Rows up to `covered` are covered by a signed checkpoint; later ones could have been cut off unseen.
    """

    ok: bool
    rows: int
    seq: int
    hash: str
    checkpoints: int
    covered: int
    first_wrong: int
    problem: str


@router.get("/audit", responses=answers({"items": [_ROW], "next_cursor": None, "total": 1}))
async def list_audit(
    actor: TraceReader,
    services: Has,
    *,
    user: Who = "",
    action: What = "",
    target: Target = "",
    result: Result = "",
    after: Since = 0,
    before: Until = 0,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Listing[AuditOut]:
    """List what was done by you or to what is yours, newest first.

    An admin of a team sees what was done to it, and a system admin everything, from where and with which credential.
    """
    wanted = AuditFilter(actor=user, action=action, target=target, result=result, after=after, before=before)
    page = await services.audit.page(actor, wanted, limit=limit, cursor=cursor)
    return Listing(items=[AuditOut.of(row) for row in page.items], next_cursor=page.next_cursor, total=page.total)


@router.get("/audit/export", response_class=StreamingResponse, responses=_LINES | refusals(507))
async def export_audit(
    actor: Admin,
    services: Has,
    *,
    user: Who = "",
    action: What = "",
    target: Target = "",
    result: Result = "",
    after: Since = 0,
    before: Until = 0,
) -> StreamingResponse:
    """Send the log as lines of JSON, oldest first, as a system admin; `detail` is the text that the hash covers."""
    require_admin(actor)
    wanted = AuditFilter(actor=user, action=action, target=target, result=result, after=after, before=before)
    return StreamingResponse(services.audit.export(actor, wanted), media_type="application/x-ndjson")


@router.get("/audit/verify", responses=answers(_REPORT, 503, 507))
async def verify_audit(actor: Admin, services: Has) -> ReportOut:
    """Compute the chain of hashes anew and compare it with the signed checkpoints, as a system admin."""
    return ReportOut.model_validate(await services.audit.verify(actor), from_attributes=True)
