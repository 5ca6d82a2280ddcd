"""The log of traces: recorded durably, read by those who may, folded into Git, rebuilt from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Unpack

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, permit
from llmos_lite.core.accounts.permissions import require as require_scope
from llmos_lite.core.page import Page
from llmos_lite.core.traces.digest import digest_of
from llmos_lite.core.traces.erased import Erased
from llmos_lite.core.traces.fold import Folder, trace_author
from llmos_lite.core.traces.judging import feedback_event, feedback_events, verdict_events
from llmos_lite.core.traces.lines import encode_event
from llmos_lite.core.traces.memory import RecentConversations
from llmos_lite.core.traces.readable import Filters, filter_for, may_read, opens, text_for_rows, unknown_trace
from llmos_lite.core.traces.reader import TraceReader
from llmos_lite.core.traces.redaction import KeepAll, Redactor
from llmos_lite.core.traces.reindex import Hook, Reindex, ReindexReport
from llmos_lite.core.traces.rows import Listener, TraceIndexer
from llmos_lite.core.traces.segments import Placed, commit_segments, segments_of
from llmos_lite.core.traces.state import TraceState
from llmos_lite.core.traces.trace import (
    Event,
    Feedback,
    Message,
    Outcome,
    Trace,
    encode,
    make_ulid,
    now_ms,
    trace_event,
)
from llmos_lite.core.traces.view import ConversationSummary, TraceSummary, TraceView, TurnSummary, conversations_of
from llmos_lite.engines.file_lock import file_lock
from llmos_lite.engines.journal import Beside, Journal, Line, NoJournal
from llmos_lite.errors import Conflict, Forbidden, Invalid, LlmosError, NotFound
from llmos_lite.observability import Metrics
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_traces import ARCHIVED, TraceRecord
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

__all__ = [
    "ConversationSummary",
    "Filters",
    "StoredCounts",
    "TraceLog",
    "TraceSummary",
    "TraceView",
    "TurnSummary",
    "digest_of",
]

MOST_ROWS = 500
"""Most rows of one page."""
EXPORTED = 200
"""Traces that an export holds at a time."""
IMPORTED = 2000
"""Traces that an import commits at a time."""

Progress = Callable[[int, int], None]
"""Hears how many are done, of how many (0: not known)."""


class StoredCounts(NamedTuple):
    """What became of traces to store: how many are new, and how many were there already."""

    stored: int
    duplicates: int


class TraceLog:
    """Every trace of an instance.

    Args:
        volumes: where traces are kept.
        journal: where they are until they are folded; None in a process beside the server.
        catalog: knows where each lies.
        redactor: takes out what must not reach Git.
        fold_events: fold a volume at this many events ...
        fold_seconds: ... or when its oldest event is this old.
        metrics: what is counted.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        journal: Journal | None,
        catalog: Catalog,
        *,
        redactor: Redactor | None = None,
        metrics: Metrics | None = None,
        fold_events: int = 500,
        fold_seconds: float = 5.0,
    ) -> None:
        self._volumes, self._catalog = volumes, catalog
        self._journal: Journal = journal or NoJournal()
        self._redactor, self._metrics = redactor or KeepAll(), metrics or Metrics()
        self._metrics.damaged = lambda: self._journal.damaged
        self.erased = Erased()
        self._reader = TraceReader(volumes, self._journal, catalog, self._redactor, self.erased)
        self._indexer = TraceIndexer(catalog, self._reader)
        self._folder = Folder(
            volumes,
            self._journal,
            self._indexer,
            self._redactor,
            self.erased,
            events=fold_events,
            seconds=fold_seconds,
            metrics=self._metrics,
        )
        self._recent = RecentConversations()

    # Recording

    def record(
        self,
        trace: Trace,
        digest: Trace | None = None,
        *,
        beside: Beside[Any] | None = None,
        then: Callable[[Trace], object] | None = None,
    ) -> Awaitable[object]:
        """Store a trace, and with it what its team gets; wait until both are durable.

        They are stored when whoever waits goes away, too.

        Args:
            trace: of the person's own volume.
            digest: what the team gets; by default what `digest_of` makes of it.
            beside: is kept in the thread of the journal as soon as both are durable.
            then: is called after that with the trace, also when whoever waits has gone away.

        Raises:
            StorageFailed: nothing is stored, as when the disk is full.
            Unavailable: the server stops, or this process has no journal.
        """
        shared = digest_of(trace) if digest is None and trace.team else digest
        events = [trace_event(trace)] if shared is None else [trace_event(trace), trace_event(shared)]
        return self._append(events, trace, beside, then)

    async def drain(self) -> None:
        """Return when everything that was recorded before is durable, or has failed."""
        await self._journal.drain()

    async def redacted(self, texts: Sequence[str]) -> list[str]:
        """Return what tools said as it may be kept elsewhere."""
        said = tuple(Message("tool", text) for text in texts)
        at = now_ms()
        trace = Trace(id=make_ulid(at), actor="", volume="system", conversation="", time=at, goal="", messages=said)
        clean = (await asyncio.to_thread(self._redactor.redact, trace_event(trace))).trace or trace
        return [message.content for message in clean.messages]

    async def keep(self, traces: Iterable[Trace]) -> StoredCounts:
        """Store traces that were made from somebody else's records; return when they are durable.

        The same trace twice adds nothing, as long as one call at a time has it.

        Raises:
            StorageFailed, Unavailable: as `record`; none of them is stored.
        """
        found = {trace.id: trace for trace in traces}
        await self.settle()
        known = await self._catalog.traces.known(list(found), in_git=False) | await self._indexer.erased(list(found))
        fresh = [trace for key, trace in found.items() if key not in known]
        if fresh:
            await self._append([trace_event(trace) for trace in fresh])
        return StoredCounts(len(fresh), len(found) - len(fresh))

    async def feedback(
        self, actor: Actor, trace_id: str, feedback: Feedback, *, volume: VolumeRef | None = None
    ) -> TraceView:
        """Keep what a person says of an answer; a rating decides the outcome, in the team's digest, too.

        Raises:
            NotFound: `trace.unknown`.
            Forbidden: `trace.not_yours`, for a team mate's trace.
            Invalid: `feedback.empty`.
        """
        if feedback == Feedback():
            raise Invalid("feedback.empty", "The feedback says nothing.", hint="Give a rating, a note or a kept text.")
        trace = await self._rated(actor, trace_id, volume)
        await self._append(feedback_events(actor, trace, feedback))
        return await self.get(actor, trace_id, volume=volume)

    async def report(self, actor: Actor, trace_id: str, outcome: Outcome, source: str, note: str = "") -> None:
        """Keep what a program says came of a trace; `source` says which, and nobody's own word is overruled by it.

        Raises:
            NotFound, Forbidden: as `feedback`.
        """
        trace = await self._rated(actor, trace_id, None)
        said = [feedback_event(actor, trace, Feedback(note=note))] if note else []
        await self._append([*said, *verdict_events(actor, trace, outcome, source)])

    async def _rated(self, actor: Actor, trace_id: str, volume: VolumeRef | None) -> Trace:
        """Return a trace that the actor may say something of."""
        trace = (await self.get(actor, trace_id, volume=volume)).trace
        permit(actor, Verb.WRITE_TRACES, VolumeRef.parse(trace.volume))
        if trace.actor != actor.user_id and not allowed(actor, Verb.OVERSEE):
            raise Forbidden("trace.not_yours", "Only the person who asked may rate an answer.")
        return trace

    def _append(
        self,
        events: Sequence[Event],
        said: Trace | None = None,
        beside: Beside[Any] | None = None,
        then: Callable[[Trace], object] | None = None,
    ) -> Awaitable[object]:
        """Store events; `said` goes on with its conversation when it is durable."""
        stored: list[Event] = []
        lines: list[Line] = []
        for one in events:
            event, line = encode_event(one)
            stored.append(event)
            lines.append((event.volume, event.trace_id, line))
        largest = max([len(line) for _, _, line in lines])
        return self._journal.append_many(lines, partial(self._appended, stored, said, then, largest), beside)

    def _appended(
        self,
        events: Sequence[Event],
        said: Trace | None,
        then: Callable[[Trace], object] | None,
        size: int,
        seqs: Sequence[int],
    ) -> None:
        self._folder.recorded(seqs, events, size)
        self._metrics.appended(len(seqs))
        if said is not None:
            self._recent.add(said, size)
            if then is not None:
                then(said)

    # Reading

    async def get(self, actor: Actor, trace_id: str, *, volume: VolumeRef | None = None) -> TraceView:
        """Return a trace with all that is known of it.

        Args:
            actor: its owner, a member of its team, or a system admin who names its volume.
            trace_id: its id.
            volume: where it lies; needed by a system admin alone.

        Raises:
            NotFound: `trace.unknown`, for a trace that is not there or not theirs, alike.
        """
        require_scope(actor, Scope.TRACES_READ)
        trace_id = text_for_rows(trace_id)
        found = (await self._reader.states([trace_id])).get(trace_id)
        if found is None:
            raise await self._missing(actor, trace_id, volume)
        if not may_read(actor, VolumeRef.parse(found[0].trace.volume), volume):
            raise unknown_trace(trace_id)
        return TraceView.of(*found)

    async def _missing(self, actor: Actor, trace_id: str, volume: VolumeRef | None) -> LlmosError:
        """Return why a trace cannot be read: it lies in an archive, or there is none that the actor may see."""
        row = await self._catalog.traces.get(trace_id)
        if row is None or row.blob != ARCHIVED or not may_read(actor, VolumeRef.parse(row.volume), volume):
            return unknown_trace(trace_id)
        return Conflict(
            "trace.archived",
            f"The trace {trace_id} lies in the archive of {row.branch}.",
            hint=f"Bring the month back with `llmos traces restore {row.branch} --volume {row.volume}`.",
            volume=row.volume,
            month=row.branch,
        )

    async def goal(self, trace_id: str) -> str:
        """Return what the person wanted with a trace; empty for one that is not there."""
        found = (await self._reader.states([trace_id])).get(trace_id)
        return found[0].trace.goal if found is not None else ""

    async def owner(self, actor: Actor, trace_id: str, *, volume: VolumeRef | None = None) -> tuple[str, VolumeRef]:
        """Return whose trace it is that the actor may see, and where it lies, be it in an archive; as rows say.

        Raises:
            NotFound: `trace.unknown`.
        """
        row = await self._catalog.traces.get(text_for_rows(trace_id))
        if row is None or row.trace_id in self.erased:
            raise unknown_trace(trace_id)
        ref = VolumeRef.parse(row.volume)
        if not (allowed(actor, Verb.WRITE_TRACES, ref) and opens(actor, ref, volume)):
            raise unknown_trace(trace_id)
        return row.actor, ref

    def unreadable(self, volume: VolumeRef) -> list[str]:
        """Return the traces of a volume of which the journal has an event that cannot be read."""
        return self._journal.aside(str(volume))

    async def states(self, trace_ids: Sequence[str]) -> list[TraceState]:
        """Return what is known of those of the traces that can be read; asks nobody's permission."""
        return [state for state, _ in (await self._reader.states(trace_ids)).values()]

    async def page(
        self,
        actor: Actor,
        *,
        volume: VolumeRef | None = None,
        limit: int = 50,
        cursor: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page[TraceSummary]:
        """Return traces of a volume (the actor's own by default), newest first.

        Raises:
            NotFound: `volume.unknown`, for one that is not theirs.
            Invalid: `cursor.invalid`.
        """
        narrowed = filter_for(actor, volume, filters)
        await self.settle()
        rows = await self._catalog.traces.page(narrowed, limit=max(1, min(limit, MOST_ROWS)), cursor=cursor)
        return Page([TraceSummary.of(row) for row in rows.items], rows.next_cursor, rows.total)

    async def export(
        self, actor: Actor, *, volume: VolumeRef | None = None, **filters: Unpack[Filters]
    ) -> AsyncIterator[bytes]:
        """Yield traces of a volume with all that is known of them, newest first, one line of JSON each.

        Raises:
            NotFound: `volume.unknown`.
        """
        narrowed = filter_for(actor, volume, filters)
        await self.settle()
        cursor: str | None = None
        while True:
            rows = await self._catalog.traces.page(narrowed, limit=EXPORTED, cursor=cursor, count=False)
            states = await self._reader.states([row.trace_id for row in rows.items])
            for row in rows.items:
                if row.trace_id in states:
                    yield encode(TraceView.of(*states[row.trace_id])) + b"\n"
            cursor = rows.next_cursor
            if cursor is None:
                return

    async def conversation(self, actor: Actor, conversation_id: str) -> list[Trace]:
        """Return the turns of one of the actor's own conversations, oldest first.

        Raises:
            NotFound: `conversation.unknown`, for one that is not there or not theirs, alike.
        """
        key = str(actor.volume), text_for_rows(conversation_id)
        kept = self._recent.get(key)
        if kept is not None:
            return kept
        await self.settle()
        rows = await self._catalog.traces.conversation(*key)
        turns = [turn for turn in await self._traces(rows) if turn.id not in self.erased]
        if not turns:
            raise NotFound("conversation.unknown", f"You have no conversation {conversation_id[:64]!r}.")
        self._recent.put(key, turns)
        return turns

    async def conversations(self, volume: VolumeRef, *, since: int = 0) -> list[ConversationSummary]:
        """Return the conversations of a volume that had a turn at or after `since` (milliseconds), oldest first.

        For evolution: it asks nobody's permission, and reads rows only.
        """
        await self.settle()
        return await conversations_of(self._catalog.traces.turns(str(volume)), since=since)

    async def read_many(self, volume: VolumeRef, trace_ids: Sequence[str]) -> list[Trace]:
        """Return those of the traces that lie in a volume, in the order of the ids; each segment is read once.

        For evolution: it asks nobody's permission.
        """
        states = await self._reader.states(trace_ids)
        found = [states[trace_id][0].trace for trace_id in dict.fromkeys(trace_ids) if trace_id in states]
        return [trace for trace in found if trace.volume == str(volume)]

    async def _traces(self, rows: Sequence[TraceRecord]) -> list[Trace]:
        states = await self._reader.states([row.trace_id for row in rows])
        return [states[row.trace_id][0].trace for row in rows if row.trace_id in states]

    # Into Git

    def start(self) -> None:
        """Begin to fold in the background."""
        self._folder.start()

    async def stop(self) -> None:
        """Fold everything and stop; a volume that cannot be folded stays in the journal."""
        await self.drain()
        await self._folder.stop()

    async def settle(self) -> None:
        """Bring the rows up to date with the journal, so that a trace can be listed right after its chat."""
        await self._folder.settle()

    async def fold(self, volume: VolumeRef | None = None) -> None:
        """Fold one volume, or all, now; needed before another process reads what was recorded.

        Raises:
            LlmosError: why the one volume could not be folded; of all, none raises, see `problems`.
        """
        if volume is None:
            await self._folder.fold_all()
        else:
            await self._folder.fold(str(volume))

    def problems(self) -> dict[str, str]:
        """Return the volumes that could not be folded the last time, and why."""
        return self._folder.problems()

    async def store_many(
        self, volume: VolumeRef, traces: Iterable[Trace], progress: Progress | None = None, *, total: int = 0
    ) -> StoredCounts:
        """Store imported traces straight into Git; the same trace twice adds nothing.

        It needs no journal, since whoever imports can import again, and may run beside the server.

        Args:
            volume: where they go.
            traces: read once, by and by.
            progress: hears how many are done.
            total: how many there are, when that is known.

        Raises:
            StorageFailed: the chunks before the one that failed are stored.
        """
        source, counts, done = iter(traces), StoredCounts(0, 0), 0
        while chunk := await asyncio.to_thread(lambda: list(islice(source, IMPORTED))):
            stored = await self._store(volume, {trace.id: trace for trace in chunk})
            counts = StoredCounts(counts.stored + stored, counts.duplicates + len(chunk) - stored)
            done += len(chunk)
            if progress is not None:
                progress(done, max(total, done))
        return counts

    async def _store(self, volume: VolumeRef, traces: dict[str, Trace]) -> int:
        async with file_lock(self._volumes.writers(volume), shared=True):  # nobody rewrites what has no rows yet
            known = await self._catalog.traces.known(list(traces)) | await self._indexer.erased(list(traces))
            fresh = [trace for key, trace in traces.items() if key not in known]
            await self._indexer.put(await asyncio.to_thread(self._commit, volume, fresh))
        return len(fresh)

    def _commit(self, volume: VolumeRef, traces: Sequence[Trace]) -> list[Placed]:
        events = [self._redactor.redact(encode_event(trace_event(trace))[0]) for trace in traces]
        store = self._volumes.open(PLATFORM, volume, write=True).traces
        return commit_segments(store, segments_of(events), trace_author(volume))

    async def reindex(self, progress: Progress | None = None, *, hooks: Sequence[Hook] = ()) -> ReindexReport:
        """Drop the rows of traces and skills and rebuild them from Git.

        Args:
            progress: hears how many segments are read, of how many.
            hooks: each is called with every volume, to rebuild rows of its own.
        """
        report = await Reindex(self._volumes, self._catalog, self._indexer).run(progress, hooks)
        await self._folder.rebuild()
        self.reload()
        return report

    # Who wants to know

    def listen(self, listener: Listener) -> None:
        """Tell somebody what becomes of traces from now on."""
        self._indexer.listener = listener

    def reload(self) -> None:
        """Say that rows were changed by somebody else, as by another process."""
        if self._indexer.listener is not None:
            self._indexer.listener.reload()

    # What rewrites segments

    @asynccontextmanager
    async def quiet(self, volume: VolumeRef) -> AsyncIterator[None]:
        """Keep everybody from adding to a volume's traces until the block ends; chats go on into the journal.

        Everything that was recorded before is folded, with its rows.

        Raises:
            LlmosError: why it could not be folded.
        """
        async with file_lock(self._volumes.writers(volume), shared=False), self._folder.held(str(volume)):
            yield

    async def place(self, placed: Sequence[Placed]) -> None:
        """Write the rows of events that lie somewhere else now."""
        await self._indexer.put(placed)

    async def judge(self, trace_ids: Sequence[str]) -> None:
        """Set the outcomes of traces to what all their events say, wherever these lie."""
        await self._indexer.judge(trace_ids)

    def forget(self, trace_ids: Collection[str]) -> None:
        """Hide traces at once, and let go of what is in memory of them."""
        self.erased.add(trace_ids)
        self._recent.forget(trace_ids)
        if self._indexer.listener is not None:
            self._indexer.listener.forget(trace_ids)
