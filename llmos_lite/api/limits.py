"""What is used of models, and what may be."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Admin, Anyone, Body, Cursor, Has, Limit, Listing, Paragraph
from llmos_lite.api.openapi import answers
from llmos_lite.records.usage import Budget, Used

router = APIRouter(route_class=Paragraph, tags=["limits"])

MILLION = 1_000_000
_LIMITS = {
    "subject": "user:alice",
    "requests": 60,
    "streams": 4,
    "tokens": 2_000_000,
    "money": 20.0,
    "changed": 1764720000000,
    "changed_by": "admin",
}
_USED = {
    "subject": "user:alice",
    "month": "2026-11",
    "requests": 340,
    "tokens_in": 412_000,
    "tokens_out": 118_000,
    "money": 2.21,
}
_USAGE = _USED | {"limits": _LIMITS}

Subject = Annotated[str, Path(max_length=80, description="`user:ID`, `team:ID` or `key:ID`.")]
Whose = Annotated[str, Query(max_length=80, description="`user:ID`, `team:ID` or `key:ID`; your own when empty.")]
Month = Annotated[str, Query(max_length=7, description="As in 2026-11, in UTC; this month when empty.")]


class LimitsOut(BaseModel):
    """What somebody may use; 0 is no limit.

    `requests` a minute, `streams` (chats) at once, `tokens` and `money` a month. `changed` is 0 for the settings.
    """

    subject: str
    requests: int
    streams: int
    tokens: int
    money: float
    changed: int
    changed_by: str

    @classmethod
    def of(cls, budget: Budget) -> LimitsOut:
        """Show what holds."""
        return cls(
            subject=budget.subject,
            requests=budget.requests or 0,
            streams=budget.streams or 0,
            tokens=budget.tokens or 0,
            money=(budget.micros or 0) / MILLION,
            changed=budget.changed,
            changed_by=budget.changed_by,
        )


class OwnLimitsOut(BaseModel):
    """What was set for somebody; null takes the setting."""

    subject: str
    requests: int | None
    streams: int | None
    tokens: int | None
    money: float | None
    changed: int
    changed_by: str

    @classmethod
    def of(cls, budget: Budget) -> OwnLimitsOut:
        """Show a row."""
        money = None if budget.micros is None else budget.micros / MILLION
        fields = {name: getattr(budget, name) for name in Budget.__struct_fields__ if name != "micros"}
        return cls.model_validate(fields | {"money": money})


class UsedOut(BaseModel):
    """What somebody used in a month; `money` is in the unit of the prices."""

    subject: str
    month: str
    requests: int
    tokens_in: int
    tokens_out: int
    money: float


class UsageOut(UsedOut):
    """What somebody used in a month, and what they may."""

    limits: LimitsOut


class SetLimits(Body):
    """What somebody may use; null, or what is left out, takes the setting, and 0 is no limit."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"tokens": 2_000_000, "money": 20.0}]}}
    requests: int | None = Field(None, ge=0, le=MILLION, description="Requests a minute.")
    streams: int | None = Field(None, ge=0, le=MILLION, description="Chats at once.")
    tokens: int | None = Field(None, ge=0, le=1 << 53, description="Tokens a month.")
    money: float | None = Field(None, ge=0, le=1e9, description="Money a month, in the unit of the prices.")


def _fields(used: Used) -> dict[str, Any]:
    names = ("subject", "month", "requests", "tokens_in", "tokens_out")
    return {name: getattr(used, name) for name in names} | {"money": used.micros / MILLION}


@router.get("/usage", responses=answers(_USAGE, 404))
async def get_usage(actor: Anyone, services: Has, subject: Whose = "", month: Month = "") -> UsageOut:
    """Say what was used of models in a month: yours, a team's as its admin, anybody's as a system admin."""
    used, budget = await services.limits.usage(actor, subject, month=month)
    return UsageOut(**_fields(used), limits=LimitsOut.of(budget))


@router.get("/usage/all", responses=answers({"items": [_USED], "next_cursor": None, "total": 1}))
async def list_usage(
    actor: Admin, services: Has, *, month: Month = "", limit: Limit = 50, cursor: Cursor = ""
) -> Listing[UsedOut]:
    """List what people, teams and keys used in a month, the most first, as a system admin."""
    page = await services.limits.everybody(actor, month=month, limit=limit, cursor=cursor)
    items = [UsedOut(**_fields(used)) for used in page.items]
    return Listing(items=items, next_cursor=page.next_cursor, total=page.total)


@router.get("/limits", responses=answers({"items": [_LIMITS | {"tokens": None}], "next_cursor": None, "total": 1}))
async def list_limits(actor: Admin, services: Has) -> Listing[OwnLimitsOut]:
    """List the limits that differ from the settings, as a system admin."""
    found = await services.limits.budgets(actor)
    return Listing(items=[OwnLimitsOut.of(one) for one in found], next_cursor=None, total=len(found))


@router.put("/limits/{subject}", responses=answers(_LIMITS))
async def set_limits(actor: Admin, services: Has, subject: Subject, body: SetLimits) -> LimitsOut:
    """Set what somebody may use, as a system admin; the answer says what holds now."""
    micros = None if body.money is None else round(body.money * MILLION)
    wanted = {"requests": body.requests, "streams": body.streams, "tokens": body.tokens, "micros": micros}
    return LimitsOut.of(await services.limits.set_budget(actor, subject, wanted))


@router.delete("/limits/{subject}", responses=answers(_LIMITS | {"changed": 0, "changed_by": ""}))
async def unset_limits(actor: Admin, services: Has, subject: Subject) -> LimitsOut:
    """Let the settings hold for somebody again, as a system admin."""
    return LimitsOut.of(await services.limits.drop_budget(actor, subject))
