"""Which traces somebody may read."""

from __future__ import annotations

from typing import TypedDict

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, permit
from llmos_lite.core.accounts.permissions import require as require_scope
from llmos_lite.core.traces.trace import (
    Outcome,
)
from llmos_lite.errors import NotFound
from llmos_lite.records.catalog_traces import TraceFilter
from llmos_lite.volumes.access import Access, VolumeRef, access
from llmos_lite.volumes.access import require as require_access


class Filters(TypedDict, total=False):
    """What a list of traces is narrowed to; times are milliseconds, `before` is not included."""

    after: int | None
    before: int | None
    skill: str | None
    outcome: Outcome | None
    text: str | None
    conversation: str | None


def text_for_rows(text: str) -> str:
    """Return text that a database takes: half characters become question marks."""
    return text.encode(errors="replace").decode()


def unknown_trace(trace_id: str) -> NotFound:
    """Return the error for a trace that is not there, or that the actor may not see."""
    return NotFound(
        "trace.unknown",
        f"There is no trace {text_for_rows(trace_id)[:64]!r} that you may see.",
        hint="`llmos traces list` shows the newest.",
    )


def may_read(actor: Actor, ref: VolumeRef, named: VolumeRef | None) -> bool:
    """Tell whether somebody may read the traces of a volume; `named` is the one that was asked for by name."""
    verb = Verb.INSPECT_TRACES if named == ref else Verb.READ_TRACES
    return allowed(actor, verb, ref) and opens(actor, ref, named)


def opens(actor: Actor, ref: VolumeRef, named: VolumeRef | None) -> bool:
    """Tell whether the lock of the volume opens; for an admin who names it, with an admin's rights."""
    principal = actor.principal_for(ref) if named == ref else actor.principal
    return access(principal, ref) is not Access.NONE


def filter_for(actor: Actor, volume: VolumeRef | None, filters: Filters) -> TraceFilter:
    """Return the filter for a volume that the actor may read."""
    require_scope(actor, Scope.TRACES_READ)
    ref = volume or actor.volume
    require_access(actor.principal_for(ref) if volume is not None else actor.principal, ref, write=False)
    permit(actor, Verb.INSPECT_TRACES if volume is not None else Verb.READ_TRACES, ref)
    skill, text, conversation = filters.get("skill"), filters.get("text"), filters.get("conversation")
    return TraceFilter(
        volumes=(str(ref),),
        after=filters.get("after"),
        before=filters.get("before"),
        outcome=filters.get("outcome"),
        skill=text_for_rows(skill) if skill else None,
        text=text_for_rows(text) if text else None,
        conversation=text_for_rows(conversation) if conversation else None,
    )
