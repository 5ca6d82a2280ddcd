"""Folding: events leave the journal and become segments in Git, with their rows.

The steps of one batch: fix it in the journal, write its segments, write the rows, forget it in the journal. A crash
between any two of them leaves a batch that is folded again with the same result: the journal knows its segments by
name, so what is in Git already is not written twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice, takewhile
from typing import TypeVar
from weakref import WeakValueDictionary

from llmos_lite.core.traces.erased import Erased
from llmos_lite.core.traces.reader import readable
from llmos_lite.core.traces.redaction import Redactor
from llmos_lite.core.traces.rows import TraceIndexer
from llmos_lite.core.traces.segments import Placed, Segment, commit_segments, committed, segments_of
from llmos_lite.core.traces.trace import Event, now_ms
from llmos_lite.engines.git import PLATFORM as PLATFORM_AUTHOR
from llmos_lite.engines.git import Author
from llmos_lite.engines.journal import Batch, Entry, Journal
from llmos_lite.errors import LlmosError
from llmos_lite.observability import Metrics
from llmos_lite.records.catalog_traces import Location
from llmos_lite.volumes.access import PLATFORM, VolumeKind, VolumeRef
from llmos_lite.volumes.git_volume import author_of
from llmos_lite.volumes.manager import VolumeManager

T = TypeVar("T")
log = logging.getLogger("llmos.traces")

THREADS = 2
"""Volumes that are folded at a time; a slow one must not stop the others."""
FOLDED = 500
"""Most events of one batch: their lines, their texts and their rows are in memory together."""
MOST_HELD, LARGEST_HELD = 1000, 64 << 10
"""Most events without rows that are held in memory, and most bytes of one; others are read from the journal."""
SETTLED = 8 << 20
"""Bytes of events that are read from the journal for their rows at a time."""
MOST_UNWRITTEN = 2000
"""Events that may wait for their rows."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a volume that failed is tried again, doubled each time."""


class Folder:
    """Folds volumes, by size or age in the background, or when asked.

    Args:
        volumes: where segments go.
        journal: where events come from.
        indexer: writes the rows.
        redactor: takes out what must not reach Git.
        erased: whose events are dropped instead.
        events: fold a volume at this many events ...
        seconds: ... or when its oldest event is this old.
        metrics: what is counted.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        journal: Journal,
        indexer: TraceIndexer,
        redactor: Redactor,
        erased: Erased,
        *,
        events: int,
        seconds: float,
        metrics: Metrics,
    ) -> None:
        self._volumes, self._journal, self._indexer, self._redactor = volumes, journal, indexer, redactor
        self._erased, self._metrics = erased, metrics
        self._events, self._seconds = events, seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="fold")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # whoever has one or waits keeps it
        self._wake = asyncio.Event()
        self._idle = False
        self._task: asyncio.Task[None] | None = None
        self._failures: dict[str, tuple[str, int, float]] = {}
        self._rows, self._loading = asyncio.Lock(), asyncio.Lock()
        self._loaded = self._stopping = False
        self._earlier = 0
        """Number of the last event in the journal that another process may have written."""
        self._unwritten: dict[int, Event | None] = {}
        """Events whose rows are not written yet, by their number in the journal; None for one that is only there."""

    # Rows

    def recorded(self, seqs: Sequence[int], events: Sequence[Event], size: int) -> None:
        """Hear of events that are durable now, the largest of them in so many bytes."""
        held = size <= LARGEST_HELD and len(self._unwritten) < MOST_HELD
        self._unwritten.update(zip(seqs, events, strict=True) if held else dict.fromkeys(seqs))
        if self._idle or len(self._unwritten) >= self._events:
            self._wake.set()

    async def settle(self) -> None:
        """Write the rows of everything that is in the journal."""
        await self._load()
        if not self._unwritten:
            return
        async with self._rows:
            waiting = dict(sorted(self._unwritten.items()))
            while waiting:
                events, done = await asyncio.to_thread(self._some, waiting)
                await self._indexer.put(await asyncio.to_thread(self._shown, events))
                self._written(done)
                for seq in done:
                    del waiting[seq]

    def _some(self, waiting: Mapping[int, Event | None]) -> tuple[list[Event], list[int]]:
        """Return the first of some events, as many as may be in memory together, and the numbers that are done so."""
        seqs = list(islice(waiting, FOLDED))
        held = [event for event in takewhile(bool, map(waiting.__getitem__, seqs)) if event is not None]
        if held:
            return held, seqs[: len(held)]
        entries, count = self._journal.some(seqs, size=SETTLED)
        return [event for _, event in readable(self._journal, entries, waiting)], seqs[:count]

    def _shown(self, events: Iterable[Event]) -> list[Placed]:
        """Return events without a place, as they may be kept."""
        return [Placed(self._redactor.redact(event), Location()) for event in events if not self._erased.hides(event)]

    async def _load(self) -> None:
        """Take over what an earlier process left in the journal."""
        async with self._loading:
            if self._loaded:
                return
            async for entries in self._pages():
                self._erased.add(await self._indexer.erased(list({entry.trace_id for entry in entries})))
                for entry in entries:
                    self._unwritten.setdefault(entry.seq)
                self._earlier = entries[-1].seq
            self._loaded = True

    def _written(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            self._unwritten.pop(seq, None)

    async def rebuild(self) -> None:
        """Write the rows of everything that is in the journal, whether they were written before or not."""
        await self._load()
        for volume in self._journal.backlog():
            async with self._turn(volume):  # what a fold has placed in Git would lose its place
                async for entries in self._pages(volume):
                    events, _ = await self._in_thread(partial(self._redacted, entries))
                    await self._indexer.put([Placed(event, Location()) for event in events])

    async def _pages(self, volume: str | None = None) -> AsyncIterator[Sequence[Entry]]:
        """Yield what is in the journal, as much at a time as may be in memory together."""
        pages = self._journal.pages(volume, limit=FOLDED, size=SETTLED)
        while entries := await self._in_thread(partial(next, pages, None)):
            yield entries

    # Folding

    async def fold(self, volume: str) -> int:
        """Fold everything of a volume that is in the journal now; return the number of events.

        Raises:
            LlmosError: why it could not be folded; nothing is lost.
        """
        async with self._turn(volume):
            return await self._fold(volume)

    @asynccontextmanager
    async def held(self, volume: str) -> AsyncIterator[None]:
        """Fold everything of a volume, rows too, and fold nothing more of it until the block ends."""
        async with self._turn(volume):
            await self._fold(volume)
            async with self._rows:  # rows that are being written from what the journal held before
                pass
            yield

    def _turn(self, volume: str) -> asyncio.Lock:
        return self._turns.setdefault(volume, asyncio.Lock())

    async def _fold(self, volume: str) -> int:
        folded = 0
        try:
            await self._load()  # it tells what is erased, and must not take over what leaves meanwhile
            backlog = self._journal.backlog().get(volume)
            # no more than was there at first: chats that go on would keep the caller waiting for ever
            while backlog is not None and folded < backlog.events:
                count = await self._fold_batch(volume)
                if count is None:
                    break
                folded += count
            await self._in_thread(partial(self._journal.discard, volume, self._erased))  # all of it has been read now
        except Exception as error:
            self._fail(volume, error)
            raise
        self._failures.pop(volume, None)
        return folded

    async def fold_all(self) -> None:
        """Fold every volume; one that fails is a problem, and does not stop the others."""
        await asyncio.gather(*(self.fold(volume) for volume in self._journal.backlog()), return_exceptions=True)

    def problems(self) -> dict[str, str]:
        """Return what is wrong with volumes that could not be folded the last time."""
        return {volume: message for volume, (message, _, _) in self._failures.items()}

    async def _fold_batch(self, volume: str) -> int | None:
        batch, placed = await self._in_thread(partial(self._commit, volume))
        if batch is None:
            return None
        async with self._rows:
            await self._indexer.put(placed)
            self._written([entry.seq for entry in batch.entries])
        await self._in_thread(partial(self._journal.finish, batch))
        self._metrics.folded(len(batch.entries))
        return len(batch.entries)

    def _commit(self, volume: str) -> tuple[Batch | None, list[Placed]]:
        """Fix a batch and write its segments; in a thread."""
        planned: list[Segment] = []

        def name(entries: Sequence[Entry]) -> list[str]:
            planned[:] = segments_of(*self._redacted(entries))
            return [segment.name for segment in planned]

        batch = self._journal.fix(volume, name, limit=FOLDED)
        if batch is None:
            return None, []
        ref = VolumeRef.parse(volume)
        store = self._volumes.open(PLATFORM, ref, write=True).traces
        placed: list[Placed] = []
        if not planned:  # the batch was fixed before: a crash, or a failure, came between
            placed = [one for segment in batch.names for one in committed(store, segment)]
            done = {one.event.id for one in placed}
            events, lines = self._redacted(batch.entries)
            planned = segments_of([event for event in events if event.id not in done], lines)
        return batch, placed + commit_segments(store, planned, trace_author(ref), at=batch.at)

    def _redacted(self, entries: Sequence[Entry]) -> tuple[list[Event], dict[str, bytes]]:
        """Return events as they may be kept, and by id the lines of those that stay as they are: most do.

        A line that another version wrote may say what this one does not know, and so cannot look at.
        """
        events: list[Event] = []
        lines: dict[str, bytes] = {}
        for entry, event in readable(self._journal, entries, self._unwritten):
            own = entry.seq > self._earlier and entry.seq in self._unwritten
            if self._erased.hides(event):
                continue
            events.append(self._redactor.redact(event))
            if own and events[-1] is event:
                lines[event.id] = entry.line
        return events, lines

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _fail(self, volume: str, error: Exception) -> None:
        message = error.message if isinstance(error, LlmosError) else f"{type(error).__name__}: {error}"
        tries = self._failures.get(volume, ("", 0, 0.0))[1] + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 10))
        self._failures[volume] = message, tries, now_ms() + pause * 1000
        log.warning("the traces of %s are not folded: %s", volume, message)

    # In the background

    def start(self) -> None:
        """Begin to fold in the background, with what an earlier process left in the journal."""
        self._task = asyncio.create_task(self._run(), name="fold")

    async def stop(self) -> None:
        """Fold everything and stop."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await self.fold_all()
        self._threads.shutdown()

    async def _run(self) -> None:
        await self._attempt(self._load)  # each fold does it again
        while not self._stopping:
            self._wake.clear()
            due, pause = self._due()
            if due:
                await asyncio.gather(*(self.fold(volume) for volume in due), return_exceptions=True)
                continue
            if len(self._unwritten) >= MOST_UNWRITTEN:  # of volumes that cannot be folded: memory must not fill up
                await self._attempt(self.settle)
            self._idle = pause is None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what is done again later; whatever goes wrong there must not end all folding."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001
            said = error.message if isinstance(error, LlmosError) else f"{type(error).__name__}: {error}"
            log.warning("the rows of unfolded traces are not written: %s", said)

    def _due(self) -> tuple[list[str], float | None]:
        """Return the volumes to fold now, and the seconds until the next; None when nothing waits."""
        now = now_ms()
        due: list[str] = []
        nexts: list[float] = []
        for volume, backlog in self._journal.backlog().items():
            full = backlog.events >= self._events
            at = max(now if full else backlog.oldest + self._seconds * 1000, self._failures.get(volume, ("", 0, 0))[2])
            if at <= now:
                due.append(volume)
            else:
                nexts.append(at)
        return due, (min(nexts) - now) / 1000 if nexts else None


def trace_author(ref: VolumeRef) -> Author:
    """Return who the author of a volume's traces is: the person, or for a team and the system the platform."""
    return author_of(ref.id) if ref.kind is VolumeKind.USER else PLATFORM_AUTHOR
