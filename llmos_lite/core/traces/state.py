"""What is known of a trace: its events folded in order of their time."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from llmos_lite.core.traces.redaction.base import counted
from llmos_lite.core.traces.trace import Event, Feedback, Outcome, Rating, Trace

WEIGHT = {"verifier": 3, "feedback": 2, "judge": 1}
"""Who is believed over whom about an outcome; what is not named weighs nothing, and of equals the later is believed."""
OUTCOME_OF: dict[Rating, Outcome] = {"up": Outcome.SUCCESS, "down": Outcome.FAILURE}


class FeedbackGiven(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Feedback, by whom and when (milliseconds)."""

    at: int
    by: str
    rating: Rating | None = None
    note: str = ""
    kept: str = ""


class TraceState(msgspec.Struct, frozen=True, gc=False):
    """A trace with what came later; the trace's own outcome is the folded one."""

    trace: Trace
    feedback: tuple[FeedbackGiven, ...] = ()

    @property
    def rating(self) -> str:
        """Return the last rating; empty without one."""
        return next((given.rating for given in reversed(self.feedback) if given.rating), "")


def fold_events(trace: Trace, later: Iterable[Event]) -> TraceState:
    """Fold the events that came after a trace; an event that is given twice counts once."""
    outcome, sources = trace.outcome, trace.outcome_sources
    weight = max((WEIGHT.get(source, 0) for source in sources), default=0)
    feedback: list[FeedbackGiven] = []
    redacted = trace.redacted
    unique = {event.id: event for event in later}
    for event in sorted(unique.values(), key=lambda event: (event.at, event.id)):
        if event.feedback is not None:
            feedback.append(_given(event, event.feedback))
            redacted = counted(redacted, event.feedback.redacted)
        verdict, source = verdict_of(event)
        if verdict is None:
            continue
        sources = sources if source in sources else (*sources, source)
        if WEIGHT.get(source, 0) >= weight:
            outcome, weight = verdict, WEIGHT.get(source, 0)
    changed = msgspec.structs.replace(trace, outcome=outcome, outcome_sources=sources, redacted=redacted)
    return TraceState(changed, tuple(feedback))


def verdict_of(event: Event) -> tuple[Outcome | None, str]:
    """Return what an event says of the outcome, and in whose name."""
    if event.feedback is not None:
        return (OUTCOME_OF[event.feedback.rating] if event.feedback.rating else None), "feedback"
    return event.outcome, event.source


def _given(event: Event, feedback: Feedback) -> FeedbackGiven:
    return FeedbackGiven(at=event.at, by=event.by, rating=feedback.rating, note=feedback.note, kept=feedback.kept)
