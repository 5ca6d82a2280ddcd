"""The journal: traces that are acknowledged and not yet in Git.

The seam is `Journal`; `LocalJournal` keeps it in a folder of this machine, for one process. One thread writes: it takes
everything that waits, writes it with one durable write, and wakes the callers together.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import queue
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from llmos_lite.engines.durable import make_folder
from llmos_lite.engines.journal_disk import Disk, FolderDisk
from llmos_lite.engines.journal_log import SEGMENT, Frame, Kind, Place, SegmentLog, span
from llmos_lite.errors import Conflict, LlmosError, Unavailable, storage_error

T = TypeVar("T")
log = logging.getLogger("llmos.journal")

GROUP = 512
"""Most appends in one durable write."""
READ, READ_BYTES = 100, 1 << 20
"""Most events and bytes that are read while the writer has to wait."""
BATCH_EVENTS = 2000
BATCH_BYTES = 32 << 20
"""Most events and bytes of one batch."""
CARRY_SEGMENTS = 8
"""With more segments than this, the last few events of an old one are written anew so that it can be emptied."""


class Entry(NamedTuple):
    """One event in the journal; `seq` orders them, `at` is when it was appended (milliseconds)."""

    seq: int
    volume: str
    trace_id: str
    at: int
    line: bytes


class Batch(msgspec.Struct, frozen=True):
    """Events that are folded together, and the names of the segments that they become in Git.

    `at` is the time of the batch (milliseconds): the time of its commits, however often they are tried.
    """

    seq: int
    volume: str
    at: int
    names: tuple[str, ...]
    entries: tuple[Entry, ...] = ()


class Backlog(NamedTuple):
    """What of a volume is not yet in Git: number of events, and when the oldest was appended (milliseconds)."""

    events: int
    oldest: int


Line = tuple[str, str, bytes]
"""Volume, trace id, and one line of JSON."""
Namer = Callable[[Sequence[Entry]], Sequence[str]]
"""Names the segments that some entries become."""
Then = Callable[[Sequence[int]], None]
"""Hears the numbers of events that are durable now."""


class Beside(msgspec.Struct, Generic[T], frozen=True):
    """What is kept beside events once they are durable, and before anybody hears of it.

    Args:
        keep: keeps it, in the writer's thread: what came with several writes at once.
        what: it keeps.
    """

    keep: Callable[[Sequence[T]], None]
    what: Sequence[T]


class Journal(Protocol):
    """A durable store of events between acknowledgement and Git.

    Appending is for the event loop; the rest may be called from any thread, one folder at a time for each volume.
    """

    async def append(self, volume: str, trace_id: str, line: bytes) -> int:
        """Store one event and return its number when it is durable.

        Raises:
            StorageFailed: it is not stored, as when the disk is full; the next call may succeed.
            Unavailable: `journal.closed`.
        """

    def append_many(
        self, lines: Sequence[Line], then: Then | None = None, beside: Beside[Any] | None = None
    ) -> Awaitable[Sequence[int]]:
        """Store several events, and let the caller wait for their numbers until all of them are durable.

        They are taken at once: whoever waits may go away, and they are stored nevertheless.

        Args:
            lines: of the events.
            then: is called on the event loop when they are durable, before whoever waits goes on.
            beside: is kept before that.

        Raises:
            StorageFailed, Unavailable: as `append`; `then` is not called.
        """

    async def drain(self) -> None:
        """Return when everything that was taken before is durable, or has failed."""

    def get(self, trace_id: str) -> list[Entry]:
        """Return the events of one trace, oldest first."""

    def pending(self, volume: str | None = None) -> list[Entry]:
        """Return the events of one volume or of all, oldest first."""

    def pages(self, volume: str | None = None, *, limit: int, size: int) -> Iterator[Sequence[Entry]]:
        """Yield what is there now of `pending`, as much at a time as may be in memory together.

        Args:
            volume: whose.
            limit: most events at a time.
            size: about how many bytes at a time, but at least one event.
        """

    def some(self, seqs: Sequence[int], *, size: int) -> tuple[Sequence[Entry], int]:
        """Return the first of some events, those that are still there, and how many of the numbers they stand for.

        Args:
            seqs: their numbers.
            size: about how many bytes, but at least one event.
        """

    def backlog(self) -> dict[str, Backlog]:
        """Return what is not yet in Git, by volume."""

    @property
    def damaged(self) -> int:
        """Return how many events and stretches could not be read since the start."""

    def set_aside(self, seq: int, why: str) -> None:
        """Leave out an event of which nothing can be made, from now until the next start; it is logged, and stays."""

    def discard(self, volume: str, trace_ids: Container[str]) -> None:
        """Overwrite the events of some traces of a volume that are set aside.

        Raises:
            StorageFailed: they are still there.
        """

    def fix(self, volume: str, name: Namer, *, limit: int = BATCH_EVENTS) -> Batch | None:
        """Return the batch to fold, durably fixed: the unfinished one, or a new one; None without events.

        It has no events when each of those that were next was set aside.

        Args:
            volume: whose events to fold.
            name: names the segments that the events of a new batch become; what it sets aside is not in the batch.
            limit: most events of a new batch.

        Raises:
            StorageFailed: nothing was fixed.
        """

    def finish(self, batch: Batch) -> None:
        """Forget a batch that is in Git: its bytes are overwritten."""

    def close(self) -> None:
        """Store what waits, and stop."""


class NoJournal:
    """The journal of a process that has none: it is empty, since the server beside it holds the real one."""

    async def append(self, volume: str, trace_id: str, line: bytes) -> int:  # noqa: ARG002 - as `Journal` says
        """Refuse; see `Journal`."""
        raise self._refusal()

    def append_many(
        self,
        lines: Sequence[Line],  # noqa: ARG002 - as `Journal` says
        then: Then | None = None,  # noqa: ARG002
        beside: Beside[Any] | None = None,  # noqa: ARG002
    ) -> Awaitable[Sequence[int]]:
        """Refuse; see `Journal`."""
        raise self._refusal()

    async def drain(self) -> None:
        """Do nothing; see `Journal`."""

    def get(self, trace_id: str) -> list[Entry]:  # noqa: ARG002 - as `Journal` says
        """Return nothing; see `Journal`."""
        return []

    def pending(self, volume: str | None = None) -> list[Entry]:  # noqa: ARG002
        """Return nothing; see `Journal`."""
        return []

    def pages(self, volume: str | None = None, *, limit: int, size: int) -> Iterator[Sequence[Entry]]:  # noqa: ARG002
        """Yield nothing; see `Journal`."""
        return iter(())

    def some(self, seqs: Sequence[int], *, size: int) -> tuple[Sequence[Entry], int]:  # noqa: ARG002
        """Return nothing; see `Journal`."""
        return (), len(seqs)

    def backlog(self) -> dict[str, Backlog]:
        """Return nothing; see `Journal`."""
        return {}

    @property
    def damaged(self) -> int:
        """Return zero; see `Journal`."""
        return 0

    def set_aside(self, seq: int, why: str) -> None:
        """Do nothing; see `Journal`."""

    def discard(self, volume: str, trace_ids: Container[str]) -> None:
        """Do nothing; see `Journal`."""

    def fix(self, volume: str, name: Namer, *, limit: int = BATCH_EVENTS) -> Batch | None:  # noqa: ARG002
        """Return nothing; see `Journal`."""
        return None

    def finish(self, batch: Batch) -> None:
        """Do nothing; see `Journal`."""

    def close(self) -> None:
        """Do nothing; see `Journal`."""

    def _refusal(self) -> Unavailable:
        return Unavailable("journal.elsewhere", "Only the server process records traces.", hint="Ask the server.")


class _Fixed(msgspec.Struct, frozen=True, array_like=True):
    """A batch as the log holds it."""

    volume: str
    at: int
    names: tuple[str, ...]
    seqs: tuple[int, ...]


class _Slot(msgspec.Struct, gc=False):
    """What the index holds of an event; its place is known when it is durable."""

    seq: int
    volume: str
    trace_id: str
    at: int
    place: Place


_Future: TypeAlias = asyncio.Future[Sequence[int]] | Future[Sequence[int]]


class _Write(msgspec.Struct):
    """Work for the writer: what goes together, and who waits.

    It makes frames of lines, and what the index will hold of them, so that the event loop need not.
    """

    future: _Future
    seqs: Sequence[int] = ()
    at: int = 0
    lines: Sequence[Line] = ()
    loop: asyncio.AbstractEventLoop | None = None
    then: Then | None = None
    beside: Beside[Any] | None = None
    frames: list[Frame] = []
    slots: list[_Slot] = []

    def make(self) -> int:
        """Make the frames; return the bytes that all of them need."""
        for seq, (volume, trace_id, line) in zip(self.seqs, self.lines, strict=True):
            self.slots.append(_Slot(seq, volume, trace_id, self.at, _NOWHERE))
            self.frames.append(Frame(Kind.EVENT, seq, _pack(self.at, volume, trace_id), line))
        return sum([span(len(head) + len(body)) for _, _, head, body in self.frames])


_Told: TypeAlias = tuple[_Write, Exception | None]
"""A write, and what went wrong with it."""
_HEAD = struct.Struct("<QHH")
_NOWHERE = Place(0, 0, 0)


class LocalJournal:
    """The journal in a folder, held by one process.

    Args:
        folder: where it lies; made when missing, and closed to others.
        disk: the files in it.
        segment: size of its segments, in bytes.

    Raises:
        Conflict: `journal.held`, when another process has it open.
        StorageFailed: it cannot be read or written.
    """

    def __init__(self, folder: Path, *, disk: Disk | None = None, segment: int = SEGMENT) -> None:
        self._held = _hold(folder)
        self._log = SegmentLog(disk or FolderDisk(folder), segment)
        self._lock = threading.Lock()  # guards the index below, and reads of what it points to
        self._slots: dict[int, _Slot] = {}
        self._volumes: dict[str, dict[int, None]] = {}
        self._traces: dict[str, list[int]] = {}
        self._batches: dict[str, tuple[int, _Fixed, Place]] = {}
        self._aside: dict[int, _Slot] = {}  # what cannot be read; its frames stay
        self._leaving: set[int] = set()  # in Git already, and perhaps zeros here: nobody may read them any more
        self._finishing = threading.Lock()
        self._seqs = itertools.count(self._recover() + 1)
        self._waiting: deque[_Write] = deque()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waker: asyncio.AbstractEventLoop | None = None  # the loop that will wake the writer at its next turn
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def damaged(self) -> int:
        """Return how many events and stretches could not be read; see `Journal`."""
        return self._log.damaged + len(self._aside)

    def set_aside(self, seq: int, why: str) -> None:
        """Leave out an event; see `Journal`."""
        with self._lock:
            if (slot := self._slots.get(seq)) is not None:
                self._put_aside(slot, why)

    def discard(self, volume: str, trace_ids: Container[str]) -> None:
        """Overwrite events that are set aside; see `Journal`."""
        with self._finishing:
            with self._lock:
                slots = [one for one in self._aside.values() if one.volume == volume and one.trace_id in trace_ids]
            with _stored("empty the journal"):
                self._log.finish([slot.place for slot in slots])
            for slot in slots:
                del self._aside[slot.seq]

    async def append(self, volume: str, trace_id: str, line: bytes) -> int:
        """Store one event; see `Journal`."""
        return (await self.append_many(((volume, trace_id, line),)))[0]

    def append_many(
        self, lines: Sequence[Line], then: Then | None = None, beside: Beside[Any] | None = None
    ) -> asyncio.Future[Sequence[int]]:
        """Store several events; see `Journal`."""
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[int]] = loop.create_future()
        seqs = list(itertools.islice(self._seqs, len(lines)))
        self._waiting.append(_Write(future, seqs, time.time_ns() // 1_000_000, lines, loop, then, beside))
        if self._waker is not loop:
            self._waker = loop
            loop.call_soon(self._wake)  # at the next turn: what else ends in this one goes into the same write
        return future

    def _wake(self) -> None:
        self._waker = None
        self._wakes.put(None)

    async def drain(self) -> None:
        """Wait for what was taken; see `Journal`."""
        if not self._closed:
            await self.append_many(())

    def get(self, trace_id: str) -> list[Entry]:
        """Return the events of one trace; see `Journal`."""
        with self._lock:
            return self._read(self._traces.get(trace_id, ()))

    def pending(self, volume: str | None = None) -> list[Entry]:
        """Return events, oldest first; see `Journal`."""
        return self._entries(self._numbers(volume))

    def pages(self, volume: str | None = None, *, limit: int, size: int) -> Iterator[Sequence[Entry]]:
        """Yield events, oldest first; see `Journal`."""
        seqs, start = self._numbers(volume), 0  # sorted once: each page would take as long as all of them
        while start < len(seqs):
            entries, count = self.some(seqs[start : start + limit], size=size)
            if entries:  # a page may have left for Git meanwhile, and more come behind it
                yield entries
            start += count

    def some(self, seqs: Sequence[int], *, size: int) -> tuple[Sequence[Entry], int]:
        """Return the first of some events; see `Journal`."""
        first = self._within(seqs, size)
        return self._entries(first), len(first)

    def backlog(self) -> dict[str, Backlog]:
        """Return what is not yet in Git; see `Journal`."""
        with self._lock:
            return {
                volume: Backlog(len(seqs), self._slots[next(iter(seqs))].at) for volume, seqs in self._volumes.items()
            }

    def fix(self, volume: str, name: Namer, *, limit: int = BATCH_EVENTS) -> Batch | None:
        """Return the batch to fold; see `Journal`."""
        entries: list[Entry] = []
        if volume not in self._batches:
            oldest = self._oldest(volume, limit)
            entries = self._entries(oldest)
            names = tuple(name(entries)) if entries else ()
            entries = [one for one in entries if one.seq in self._slots]
            if not entries:
                return Batch(0, volume, 0, ()) if any(seq in self._aside for seq in oldest) else None
            fixed = _Fixed(volume, time.time_ns() // 1_000_000, names, tuple(one.seq for one in entries))
            self._submit([Frame(Kind.BATCH, next(self._seqs), b"", msgspec.msgpack.encode(fixed))])
        seq, fixed, _ = self._batches[volume]
        return Batch(seq, volume, fixed.at, fixed.names, tuple(entries or self._entries(fixed.seqs)))

    def finish(self, batch: Batch) -> None:
        """Forget a batch; see `Journal`."""
        with self._finishing:
            with self._lock:
                fixed = self._batches.get(batch.volume)
                if fixed is not None and fixed[0] != batch.seq:
                    fixed = None  # this batch was finished before, and the next one is under way
                seqs = fixed[1].seqs if fixed is not None else [entry.seq for entry in batch.entries]
                places = [self._slots[seq].place for seq in seqs if seq in self._slots]
                self._leaving.update(seqs)
            with _stored("empty the journal"):
                self._log.finish(places)
                if fixed is not None:  # after its events: without it, they would be folded again under other names
                    self._log.finish([fixed[2]])
            with self._lock:
                if fixed is not None:
                    del self._batches[batch.volume]
                for seq in seqs:
                    self._forget(seq)
                self._leaving.difference_update(seqs)
            with contextlib.suppress(LlmosError, OSError):  # what could not be freed now is freed by the next batch
                self._carry()
                self._log.collect()

    def close(self) -> None:
        """Store what waits, and stop; see `Journal`."""
        if not self._closed:
            self._closed = True
            self._wakes.put(None)
            self._thread.join()
            self._log.close()
            self._held.close()

    def _numbers(self, volume: str | None) -> list[int]:
        with self._lock:
            seqs = list(self._slots if volume is None else self._volumes.get(volume, ()))
        seqs.sort()
        return seqs

    def _entries(self, seqs: Sequence[int]) -> list[Entry]:
        entries: list[Entry] = []
        start = 0
        while start < len(seqs):
            with self._lock:  # for a few alone, so that the writer never waits for a whole batch
                end = start + self._few(seqs[start : start + READ])
                entries += self._read(seqs[start:end])
            start = end
        return entries

    def _few(self, seqs: Sequence[int]) -> int:
        """Return how many of these, from the first on, are read at once, at least one; the lock is held."""
        size = 0
        for count, seq in enumerate(seqs):
            slot = self._slots.get(seq)
            size += slot.place.length if slot is not None else 0
            if size > READ_BYTES:
                return max(count, 1)
        return len(seqs)

    def _read(self, seqs: Sequence[int]) -> list[Entry]:
        """Return those of some events that are there; the lock is held."""
        slots = [self._slots[seq] for seq in seqs if seq in self._slots and seq not in self._leaving]
        entries: list[Entry] = []
        for slot, payload in zip(slots, self._log.read([slot.place for slot in slots]), strict=True):
            if payload is None:
                self._put_aside(slot, "its bytes are not those that were written")
            else:
                entries.append(Entry(slot.seq, slot.volume, slot.trace_id, slot.at, _line(payload)))
        return entries

    def _oldest(self, volume: str, limit: int) -> Sequence[int]:
        """Return the numbers of the oldest events, at least one, up to `limit` and to `BATCH_BYTES`."""
        with self._lock:
            seqs = sorted(self._volumes.get(volume, ()))[:limit]
        return self._within(seqs, BATCH_BYTES)

    def _within(self, seqs: Sequence[int], most: int) -> Sequence[int]:
        """Return the first of some events, at least one, up to a number of bytes."""
        with self._lock:
            slots = [self._slots.get(seq) for seq in seqs]
        sizes = itertools.accumulate(0 if slot is None else slot.place.length for slot in slots)
        within = sum(1 for _ in itertools.takewhile(most.__ge__, sizes))
        return seqs[: max(within, 1)]

    def _forget(self, seq: int) -> None:
        slot = self._slots.pop(seq, None)
        if slot is None:
            return
        del self._volumes[slot.volume][seq]
        if not self._volumes[slot.volume]:
            del self._volumes[slot.volume]
        self._traces[slot.trace_id].remove(seq)
        if not self._traces[slot.trace_id]:
            del self._traces[slot.trace_id]

    def _put_aside(self, slot: _Slot, why: str) -> None:
        """Take an event that cannot be read out of the index; the lock is held."""
        self._forget(slot.seq)
        self._aside[slot.seq] = slot
        where = self._log.where(slot.place)
        log.error("an event of %s (trace %s) is left out: %s: %s", slot.volume, slot.trace_id, where, why)

    # The writer

    def _submit(self, frames: Sequence[Frame], slots: Sequence[_Slot] = ()) -> None:
        """Write frames from a thread that is not the event loop's; return when they are durable."""
        if self._closed:
            raise _closed()
        future: Future[Sequence[int]] = Future()
        self._waiting.append(_Write(future, frames=list(frames), slots=list(slots)))
        self._wakes.put(None)
        future.result()

    def _run(self) -> None:
        closed = False
        while not closed:
            self._wakes.get()
            closed = self._closed
            while self._waiting:
                self._turn()

    def _turn(self) -> None:
        """Write what waits; in a function of its own, or the thread would hold the last of it while nothing comes."""
        told: list[_Told] = []
        for part in self._parts(self._group(), told):
            error = self._write(part)
            told += [(write, error) for write in part]
        _keep_beside([write for write, error in told if error is None])
        _answer(told)

    def _group(self) -> list[_Write]:
        """Take what waits, as much as goes into one durable write."""
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(len(waiting), GROUP))]

    def _parts(self, writes: Sequence[_Write], failed: list[_Told]) -> Iterator[list[_Write]]:
        """Cut a group so that each part fits into one segment; add those of which nothing can be made to `failed`."""
        part: list[_Write] = []
        left = 0
        for write in writes:
            try:
                needed = write.make()
            except Exception as error:  # noqa: BLE001 - it fails alone
                failed.append((write, error))
                continue
            if needed > left and part:
                yield part
                part = []
            left = (left if part else self._log.left(needed)) - needed
            part.append(write)
        if part:
            yield part

    def _write(self, part: Sequence[_Write]) -> Exception | None:
        """Write some frames with one durable write, and enter them into the index; return what went wrong."""
        frames = [frame for write in part for frame in write.frames]
        slots = iter([slot for write in part for slot in write.slots])
        try:
            places = self._log.append(frames) if frames else []
            with self._lock:
                for frame, place in zip(frames, places, strict=True):
                    if frame[0] is Kind.EVENT:
                        self._index(next(slots), place)
                    else:
                        self._index_batch(frame, place)
        except OSError as error:
            return storage_error(error, "store the trace")
        except Exception as error:  # noqa: BLE001 - a writer that ends would leave everybody waiting
            return error
        return None

    def _index(self, slot: _Slot, place: Place) -> Place | None:
        """Enter an event; return the place of an older copy of it, if there is one."""
        seq = slot.seq
        copied = self._slots.get(seq)
        slot.place = place
        self._slots[seq] = slot
        if copied is not None:
            return copied.place
        self._volumes.setdefault(slot.volume, {})[seq] = None
        self._traces.setdefault(slot.trace_id, []).append(seq)
        return None

    def _index_batch(self, frame: Frame, place: Place) -> Place | None:
        """Enter a batch; return the place of an older copy of it, if there is one."""
        fixed = msgspec.msgpack.decode(frame.body, type=_Fixed)
        before = self._batches.get(fixed.volume)
        self._batches[fixed.volume] = frame.key, fixed, place
        return before[2] if before else None

    # The log

    def _recover(self) -> int:
        """Enter everything that the log holds; return the highest number in it."""
        last, copies = 0, []
        with _stored("read the journal"):
            for frame, place in self._log.recover():
                last = max(last, frame.key)
                if frame.kind is Kind.BATCH:
                    copies.append(self._index_batch(frame, place))
                else:
                    volume, trace_id, at, _ = _unpack(frame.body)
                    copies.append(self._index(_Slot(frame.key, volume, trace_id, at, place), place))
            self._log.finish([place for place in copies if place is not None])
            self._log.collect()
        return last

    def _carry(self) -> None:
        """Write the last few live frames of old segments anew, so that the segments become free."""
        old = [number for number, live in self._log.segments[:-CARRY_SEGMENTS] if 0 < live <= self._log.size // 4]
        for number in old:
            with self._lock:
                held: list[tuple[Kind, int, Place, _Slot | None]] = [
                    (Kind.EVENT, slot.seq, slot.place, replace(slot))
                    for slot in self._slots.values()
                    if slot.place.segment == number
                ]
                held += [(Kind.BATCH, seq, at, None) for seq, _, at in self._batches.values() if at.segment == number]
                bodies = list(self._log.read([place for _, _, place, _ in held]))
            whole = [(one, body) for one, body in zip(held, bodies, strict=True) if body is not None]
            frames = [Frame(kind, key, b"", body) for (kind, key, _, _), body in whole]
            self._submit(frames, [slot for (_, _, _, slot), _ in whole if slot is not None])
            self._log.finish([place for (_, _, place, _), _ in whole])


def _keep_beside(writes: Sequence[_Write]) -> None:
    """Keep what comes with writes, all of it that one keeps together; they are durable, whatever becomes of it."""
    kept: dict[Callable[[Sequence[Any]], None], list[Any]] = {}
    for write in writes:
        if write.beside is not None:
            kept.setdefault(write.beside.keep, []).extend(write.beside.what)
    for keep, what in kept.items():
        try:
            keep(what)
        except Exception:
            log.exception("what comes beside traces was not kept")


def _answer(answers: Sequence[_Told]) -> None:
    """Tell those who wait, with one call into each event loop.

    A whole group is told together: told in two parts, its callers would come back as two groups for ever.
    """
    loops: dict[asyncio.AbstractEventLoop | None, list[_Told]] = {}
    for write, error in answers:
        loops.setdefault(write.loop, []).append((write, error))
    for loop, told in loops.items():
        if loop is None:
            _settle(told)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, told)


def _settle(told: Sequence[_Told]) -> None:
    for write, error in told:
        future = write.future
        if future.done():  # whoever waited went away
            if error is not None:
                log.warning("a trace was lost, and nobody waits for it: %s", error)
        elif error is None:
            future.set_result(write.seqs)
        else:
            future.set_exception(error)
    for write, error in told:
        if error is None and write.then is not None:
            try:
                write.then(write.seqs)
            except Exception:  # nobody else's business
                log.exception("a trace is durable, and what follows from that went wrong")


def _pack(at: int, volume: str, trace_id: str) -> bytes:
    one, other = volume.encode(), trace_id.encode()
    return b"%b%b%b" % (_HEAD.pack(at, len(one), len(other)), one, other)


def _unpack(payload: bytes) -> tuple[str, str, int, bytes]:
    """Return volume, trace id, time and line of an event."""
    at, volume, trace_id = _HEAD.unpack_from(payload)
    middle, end = _HEAD.size + volume, _HEAD.size + volume + trace_id
    return payload[_HEAD.size : middle].decode(), payload[middle:end].decode(), at, payload[end:]


def _line(payload: bytes) -> bytes:
    """Return the line of an event."""
    _, volume, trace_id = _HEAD.unpack_from(payload)
    return payload[_HEAD.size + volume + trace_id :]


def _closed() -> Unavailable:
    return Unavailable("journal.closed", "The journal is closed: the server stops.", hint="Try again later.")


@contextmanager
def _stored(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, what) from error


def _hold(folder: Path) -> IO[bytes]:
    """Take the folder for this process, until the file that is returned is closed."""
    with _stored("open the journal"):
        make_folder(folder, 0o700)
        file = os.fdopen(os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise Conflict(
            "journal.held", f"Another process uses the journal {folder}.", hint="Stop the other server first."
        ) from None
    return file
