"""What readers get of traces: a row of a list, a trace with all that is known of it, a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterable

import msgspec

from llmos_lite.core.traces.state import FeedbackGiven, TraceState
from llmos_lite.core.traces.trace import Ended, Outcome, SkillUse, Trace
from llmos_lite.records.catalog_traces import Location, TraceRecord, TurnRecord

_skills = msgspec.json.Decoder(tuple[SkillUse, ...]).decode


class TraceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a list of traces; `time` in milliseconds."""

    trace_id: str
    goal: str
    time: int
    outcome: Outcome
    skills_used: tuple[SkillUse, ...]
    ended: Ended
    model: str
    conversation_id: str
    volume: str
    actor: str
    rating: str
    source: str

    @classmethod
    def of(cls, row: TraceRecord) -> TraceSummary:
        """Return what a row says."""
        return cls(
            trace_id=row.trace_id,
            goal=row.goal,
            time=row.time,
            outcome=Outcome(row.outcome),
            skills_used=_skills(row.skills_used),
            ended=Ended(row.ended),
            model=row.model,
            conversation_id=row.conversation,
            volume=row.volume,
            actor=row.actor,
            rating=row.rating,
            source=row.source,
        )


class TraceView(msgspec.Struct, frozen=True, kw_only=True):
    """A trace, what came of it, and where it lies: in a segment of Git, or (None) still in the journal."""

    trace: Trace
    feedback: tuple[FeedbackGiven, ...]
    outcome: Outcome
    outcome_sources: tuple[str, ...]
    rating: str
    volume: str
    location: Location | None

    @classmethod
    def of(cls, state: TraceState, location: Location | None) -> TraceView:
        """Return what is known of a trace."""
        return cls(
            trace=state.trace,
            feedback=state.feedback,
            outcome=state.trace.outcome,
            outcome_sources=state.trace.outcome_sources,
            rating=state.rating,
            volume=state.trace.volume,
            location=location,
        )


class TurnSummary(msgspec.Struct, frozen=True):
    """One turn of a conversation: what the person asked, and how that ended."""

    trace_id: str
    time: int
    goal: str
    ended: Ended
    outcome: Outcome


class ConversationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation, named by its opening trace; `time` and `last` in milliseconds.

    `outcome` is the last one that anybody knew, `ended` how the last turn ended; `source` as in `Trace`.
    """

    trace_id: str
    conversation: str
    actor: str
    goal: str
    time: int
    last: int
    ended: Ended
    outcome: Outcome
    source: str
    turns: tuple[TurnSummary, ...]

    @property
    def trace_ids(self) -> tuple[str, ...]:
        """Return its traces, in order."""
        return tuple(turn.trace_id for turn in self.turns)


async def conversations_of(turns: AsyncIterable[TurnRecord], *, since: int = 0) -> list[ConversationSummary]:
    """Group turns, which come in order of time, into the conversations that had one at or after `since`."""
    groups: dict[tuple[str, str], list[TurnRecord]] = {}
    async for turn in turns:
        groups.setdefault((turn.actor, turn.conversation), []).append(turn)
    return [_conversation(group) for group in groups.values() if group[-1].time >= since]


def _conversation(turns: list[TurnRecord]) -> ConversationSummary:
    first, last = turns[0], turns[-1]
    known = [turn.outcome for turn in turns if turn.outcome != Outcome.UNKNOWN]
    return ConversationSummary(
        trace_id=first.trace_id,
        conversation=first.conversation,
        actor=first.actor,
        goal=first.goal,
        time=first.time,
        last=last.time,
        ended=Ended(last.ended),
        outcome=Outcome(known[-1]) if known else Outcome.UNKNOWN,
        source=first.source,
        turns=tuple(
            TurnSummary(turn.trace_id, turn.time, turn.goal, Ended(turn.ended), Outcome(turn.outcome)) for turn in turns
        ),
    )
