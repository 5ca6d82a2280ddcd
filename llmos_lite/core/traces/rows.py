"""From events to rows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from llmos_lite.core.traces.reader import TraceReader
from llmos_lite.core.traces.segments import Placed
from llmos_lite.core.traces.trace import Outcome, Trace, encode
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_traces import EventRecord, Location, TraceRecord, TraceSkillRecord, chunks

GOAL_LENGTH = 2000
"""Characters of a goal that lists show."""
TEXT_LENGTH = 4000
"""Characters of goal and messages that the text filter searches."""


class Listener(Protocol):
    """Wants to know what became of traces."""

    async def judged(self, trace_ids: Collection[str]) -> None:
        """Hear of traces whose outcome may have changed, once their rows say so."""

    def forget(self, trace_ids: Collection[str]) -> None:
        """Hear of traces that are erased."""

    def reload(self) -> None:
        """Hear that any row may have changed."""


class TraceIndexer:
    """Writes the rows of events; writing them again changes nothing."""

    def __init__(self, catalog: Catalog, reader: TraceReader) -> None:
        self._rows, self._reader, self._erasure = catalog.traces, reader, catalog.erasure
        self.listener: Listener | None = None

    async def erased(self, trace_ids: Sequence[str]) -> set[str]:
        """Return those of the traces that have a tombstone."""
        return await self._erasure.tombstones(trace_ids)

    async def put(self, placed: Sequence[Placed]) -> None:
        """Write the rows of events; an empty place stands for the journal."""
        await self._rows.put(*await asyncio.to_thread(_trace_rows, placed))
        later = await self._put_later(placed)
        await self._judge(later)
        said = [event.id for event, _ in placed if event.trace is not None and event.trace.outcome != Outcome.UNKNOWN]
        await self._tell([*later, *said])

    async def rebuild(self, placed: Sequence[Placed]) -> list[str]:
        """Make the rows of events what they are in Git.

        Returns:
            the ids of the traces whose outcome later events decide; `judge` has to be called with them.
        """
        await self._rows.rebuild(*await asyncio.to_thread(_trace_rows, placed))
        return await self._put_later(placed)

    async def _put_later(self, placed: Sequence[Placed]) -> list[str]:
        later = [
            EventRecord(
                event.id,
                event.trace_id,
                event.volume,
                event.kind,
                event.at,
                place.branch,
                place.blob,
                place.offset,
                place.length,
            )
            for event, place in placed
            if event.trace is None
        ]
        await self._rows.put_events(later)
        return list(dict.fromkeys(row.trace_id for row in later))

    async def judge(self, trace_ids: Sequence[str]) -> None:
        """Set the outcomes of traces to what all their events say."""
        await self._judge(trace_ids)
        await self._tell(trace_ids)

    async def _judge(self, trace_ids: Sequence[str]) -> None:
        for some in chunks(trace_ids):
            states = await self._reader.states(some)
            await self._rows.set_outcomes(
                [(key, state.trace.outcome, state.rating) for key, (state, _) in states.items()]
            )

    async def _tell(self, trace_ids: Sequence[str]) -> None:
        if self.listener is not None and trace_ids:
            await self.listener.judged(trace_ids)


def _trace_rows(placed: Sequence[Placed]) -> tuple[list[TraceRecord], list[TraceSkillRecord]]:
    traces = [(event.trace, place) for event, place in placed if event.trace is not None]
    used = [skill for trace, _ in traces for skill in skill_rows(trace)]
    return [trace_row(trace, place) for trace, place in traces], used


def trace_row(trace: Trace, place: Location) -> TraceRecord:
    """Return the row of a trace."""
    return TraceRecord(
        trace.id,
        trace.volume,
        trace.actor,
        trace.conversation,
        trace.parent,
        trace.time,
        trace.goal[:GOAL_LENGTH],
        trace.model[:200],
        trace.source,
        trace.ended,
        trace.outcome,
        "",
        encode(trace.skills_used).decode(),
        place.branch,
        place.blob,
        place.offset,
        place.length,
        _text(trace),
    )


def skill_rows(trace: Trace) -> list[TraceSkillRecord]:
    """Return the rows of the skills that were used in a trace."""
    return [TraceSkillRecord(trace.id, used.volume, used.skill_id, used.version) for used in trace.skills_used]


def _text(trace: Trace) -> str:
    text = trace.goal
    for message in trace.messages:
        if len(text) >= TEXT_LENGTH:
            break
        if message.content != trace.goal:
            text += "\n" + message.content[:TEXT_LENGTH]
    return text[:TEXT_LENGTH].lower()
