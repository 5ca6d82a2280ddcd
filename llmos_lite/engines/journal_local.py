"""The journal in a folder of this machine, for one process.

One thread writes: it takes everything that waits, writes it with one durable write, and wakes the callers together.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec.structs import replace

from llmos_lite.engines.durable import make_folder
from llmos_lite.engines.journal import BATCH_EVENTS, Backlog, Batch, Beside, Entry, Line, Namer, Then
from llmos_lite.engines.journal_disk import Disk, FolderDisk
from llmos_lite.engines.journal_log import SEGMENT, Frame, Kind, Place, SegmentLog
from llmos_lite.engines.journal_writes import Fixed, Slot, Told, Write, answer, keep_beside, line_of, unpack
from llmos_lite.errors import Conflict, LlmosError, Unavailable, storage_error

log = logging.getLogger("llmos.journal")

GROUP = 512
"""Most appends in one durable write."""
READ, READ_BYTES = 100, 1 << 20
"""Most events and bytes that are read while the writer has to wait."""
BATCH_BYTES = 32 << 20
"""Most bytes of one batch."""
CARRY_SEGMENTS = 8
"""With more segments than this, the last few events of an old one are written anew so that it can be emptied."""


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
        self._slots: dict[int, Slot] = {}
        self._volumes: dict[str, dict[int, None]] = {}
        self._traces: dict[str, list[int]] = {}
        self._batches: dict[str, tuple[int, Fixed, Place]] = {}
        self._aside: dict[int, Slot] = {}  # what cannot be read; its frames stay
        self._unread = 0  # how many that were, those that were overwritten since included
        self._leaving: set[int] = set()  # in Git already, and perhaps zeros here: nobody may read them any more
        self._finishing = threading.Lock()
        self._seqs = itertools.count(self._recover() + 1)
        self._waiting: deque[Write] = deque()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waker: asyncio.AbstractEventLoop | None = None  # the loop that will wake the writer at its next turn
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def damaged(self) -> int:
        """Return how many events and stretches could not be read; see `Journal`."""
        return self._log.damaged + self._unread

    def set_aside(self, seq: int, why: str) -> None:
        """Leave out an event; see `Journal`."""
        with self._lock:
            if (slot := self._slots.get(seq)) is not None:
                self._put_aside(slot, why)

    def aside(self, volume: str) -> list[str]:
        """Return the traces of events that are set aside; see `Journal`."""
        with self._lock:
            return list(dict.fromkeys(slot.trace_id for slot in self._aside.values() if slot.volume == volume))

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
        self._waiting.append(Write(future, seqs, time.time_ns() // 1_000_000, lines, loop, then, beside))
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
            fixed = Fixed(volume, time.time_ns() // 1_000_000, names, tuple(one.seq for one in entries))
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
                entries.append(Entry(slot.seq, slot.volume, slot.trace_id, slot.at, line_of(payload)))
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

    def _put_aside(self, slot: Slot, why: str) -> None:
        """Take an event that cannot be read out of the index; the lock is held."""
        self._forget(slot.seq)
        self._aside[slot.seq] = slot
        self._unread += 1
        where = self._log.where(slot.place)
        log.error("an event of %s (trace %s) is left out: %s: %s", slot.volume, slot.trace_id, where, why)

    # The writer

    def _submit(self, frames: Sequence[Frame], slots: Sequence[Slot] = ()) -> None:
        """Write frames from a thread that is not the event loop's; return when they are durable."""
        if self._closed:
            raise _closed()
        future: Future[Sequence[int]] = Future()
        self._waiting.append(Write(future, frames=list(frames), slots=list(slots)))
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
        told: list[Told] = []
        for part in self._parts(self._group(), told):
            error = self._write(part)
            told += [(write, error) for write in part]
        keep_beside([write for write, error in told if error is None])
        answer(told)

    def _group(self) -> list[Write]:
        """Take what waits, as much as goes into one durable write."""
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(len(waiting), GROUP))]

    def _parts(self, writes: Sequence[Write], failed: list[Told]) -> Iterator[list[Write]]:
        """Cut a group so that each part fits into one segment; add those of which nothing can be made to `failed`."""
        part: list[Write] = []
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

    def _write(self, part: Sequence[Write]) -> Exception | None:
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

    def _index(self, slot: Slot, place: Place) -> Place | None:
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
        fixed = msgspec.msgpack.decode(frame.body, type=Fixed)
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
                    volume, trace_id, at, _ = unpack(frame.body)
                    copies.append(self._index(Slot(frame.key, volume, trace_id, at, place), place))
            self._log.finish([place for place in copies if place is not None])
            self._log.collect()
        return last

    def _carry(self) -> None:
        """Write the last few live frames of old segments anew, so that the segments become free."""
        old = [number for number, live in self._log.segments[:-CARRY_SEGMENTS] if 0 < live <= self._log.size // 4]
        for number in old:
            with self._lock:
                held: list[tuple[Kind, int, Place, Slot | None]] = [
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
