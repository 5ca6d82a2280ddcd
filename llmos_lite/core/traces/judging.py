"""What people and agents say of a trace, as events."""

from __future__ import annotations

from msgspec.structs import replace

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.traces.digest import digest_id
from llmos_lite.core.traces.state import OUTCOME_OF
from llmos_lite.core.traces.trace import (
    SCHEMA,
    Event,
    Feedback,
    Outcome,
    Share,
    Trace,
    make_ulid,
    now_ms,
)
from llmos_lite.volumes.access import VolumeRef


def feedback_events(actor: Actor, trace: Trace, feedback: Feedback) -> list[Event]:
    """Return feedback as events: of the trace, and of what it says about the outcome, for the team, too."""
    said = feedback_event(actor, trace, feedback)
    if feedback.rating is None:
        return [said]
    return [said, *verdict_events(actor, trace, OUTCOME_OF[feedback.rating], "feedback")[1:]]


def feedback_event(actor: Actor, trace: Trace, feedback: Feedback) -> Event:
    """Return feedback as an event of the trace."""
    at = max(now_ms(), trace.time)
    return Event(
        v=SCHEMA,
        kind="feedback",
        id=make_ulid(at),
        trace_id=trace.id,
        at=at,
        volume=trace.volume,
        by=actor.user_id,
        feedback=feedback,
    )


def verdict_events(actor: Actor, trace: Trace, outcome: Outcome, source: str) -> list[Event]:
    """Return what came of a trace as an event of it and, when its team sees it, as one of the team's digest."""
    at = max(now_ms(), trace.time)
    own = Event(
        v=SCHEMA,
        kind="outcome",
        id=make_ulid(at),
        trace_id=trace.id,
        at=at,
        volume=trace.volume,
        by=actor.user_id,
        outcome=outcome,
        source=source,
    )
    if not trace.team or trace.share is Share.NONE or trace.volume != str(actor.volume):
        return [own]
    digest, team = digest_id(trace.id, trace.team), str(VolumeRef.team(trace.team))
    return [own, replace(own, id=make_ulid(at), trace_id=digest, volume=team)]
