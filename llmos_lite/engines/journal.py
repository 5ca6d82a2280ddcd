"""The journal: traces that are acknowledged and not yet in Git.

The seam is `Journal`; `LocalJournal` keeps it in a folder of this machine, for one process. One thread writes: it takes
everything that waits, writes it with one durable write, and wakes the callers together.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeAlias

import msgspec

from llmos_lite.engines.journal_log import SEGMENT, Disk, FolderDisk, Frame, Kind, Place, SegmentLog, span
from llmos_lite.errors import Conflict, LlmosError, Unavailable, storage_error

WAITING = 4096
"""Appends that may wait for the writer; the next one waits to be let in."""
GROUP = 512
"""Most appends in one durable write."""
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


class Journal(Protocol):
    """A durable store of events between acknowledgement and Git.

    `append` is for the event loop; the rest may be called from any thread, one folder at a time for each volume.
    """

    async def append(self, volume: str, trace_id: str, line: bytes) -> int:
        """Store one event and return its number when it is durable.

        Raises:
            StorageFailed: it is not stored, as when the disk is full; the next call may succeed.
            Unavailable: `journal.closed`.
        """

    async def append_many(self, lines: Sequence[Line]) -> Sequence[int]:
        """Store several events and return their numbers when all of them are durable."""

    def get(self, trace_id: str) -> list[Entry]:
        """Return the events of one trace, oldest first."""

    def pending(self, volume: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Entry]:
        """Return events of one volume or of all, oldest first, beginning after the number `after`."""

    def backlog(self) -> dict[str, Backlog]:
        """Return what is not yet in Git, by volume."""

    def fix(self, volume: str, name: Namer, *, limit: int = BATCH_EVENTS) -> Batch | None:
        """Return the batch to fold, durably fixed: the unfinished one, or a new one; None without events.

        Args:
            volume: whose events to fold.
            name: names the segments that the events of a new batch become.
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

    async def append_many(self, lines: Sequence[Line]) -> Sequence[int]:  # noqa: ARG002
        """Refuse; see `Journal`."""
        raise self._refusal()

    def get(self, trace_id: str) -> list[Entry]:  # noqa: ARG002 - as `Journal` says
        """Return nothing; see `Journal`."""
        return []

    def pending(self, volume: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Entry]:  # noqa: ARG002
        """Return nothing; see `Journal`."""
        return []

    def backlog(self) -> dict[str, Backlog]:
        """Return nothing; see `Journal`."""
        return {}

    def fix(self, volume: str, name: Namer, *, limit: int = BATCH_EVENTS) -> Batch | None:  # noqa: ARG002
        """Return nothing; see `Journal`."""
        return None

    def finish(self, batch: Batch) -> None:
        """Do nothing; see `Journal`."""

    def close(self) -> None:
        """Do nothing; see `Journal`."""

    def _refusal(self) -> Unavailable:
        return Unavailable("journal.elsewhere", "Only the server process records traces.", hint="Ask the server.")


class _Slot(NamedTuple):
    volume: str
    trace_id: str
    at: int
    place: Place


class _Fixed(msgspec.Struct, frozen=True, array_like=True):
    """A batch as the log holds it."""

    volume: str
    at: int
    names: tuple[str, ...]
    seqs: tuple[int, ...]


_Result: TypeAlias = Sequence[int] | LlmosError
_Future: TypeAlias = asyncio.Future[Sequence[int]] | Future[Sequence[int]]


class _Item(NamedTuple):
    """A payload in two parts, and what of it the index holds."""

    head: bytes
    body: bytes
    volume: str
    trace_id: str
    at: int


class _Write(NamedTuple):
    """Work for the writer: frames that go together, and who waits for them; `seqs` only when they are known already."""

    kind: Kind
    items: Sequence[_Item]
    needed: int
    future: _Future
    loop: asyncio.AbstractEventLoop | None = None
    seqs: Sequence[int] = ()


_HEAD = struct.Struct("<QHH")


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
        self._seq = 0
        self._finishing = threading.Lock()
        self._recover()
        self._last: asyncio.Future[Sequence[int]] | None = None
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def damaged(self) -> int:
        """Return how many stretches of the log could not be read at the start."""
        return self._log.damaged

    async def append(self, volume: str, trace_id: str, line: bytes) -> int:
        """Store one event; see `Journal`."""
        return (await self.append_many([(volume, trace_id, line)]))[0]

    async def append_many(self, lines: Sequence[Line]) -> Sequence[int]:
        """Store several events; see `Journal`."""
        if not lines:
            return []
        while self._last is not None and self._queue.qsize() >= WAITING:
            await asyncio.wait([self._last])
        self._check_open()
        at = time.time_ns() // 1_000_000
        items = [_pack(at, *line) for line in lines]
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[int]] = loop.create_future()
        self._last = future
        self._queue.put(_Write(Kind.EVENT, items, _needed(items), future, loop))
        return await future

    def get(self, trace_id: str) -> list[Entry]:
        """Return the events of one trace; see `Journal`."""
        with self._lock:
            return [self._entry(seq) for seq in self._traces.get(trace_id, ())]

    def pending(self, volume: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Entry]:
        """Return events, oldest first; see `Journal`."""
        with self._lock:
            seqs = sorted(self._slots if volume is None else self._volumes.get(volume, ()))
        return self._entries([seq for seq in seqs if seq > after][:limit])

    def backlog(self) -> dict[str, Backlog]:
        """Return what is not yet in Git; see `Journal`."""
        with self._lock:
            return {
                volume: Backlog(len(seqs), self._slots[next(iter(seqs))].at) for volume, seqs in self._volumes.items()
            }

    def fix(self, volume: str, name: Namer, *, limit: int = BATCH_EVENTS) -> Batch | None:
        """Return the batch to fold; see `Journal`."""
        if volume not in self._batches:
            entries = self._entries(self._oldest(volume, limit))
            if not entries:
                return None
            fixed = _Fixed(volume, time.time_ns() // 1_000_000, tuple(name(entries)), tuple(one.seq for one in entries))
            self._submit(Kind.BATCH, [_pack_batch(fixed)])
        seq, fixed, _ = self._batches[volume]
        return Batch(seq, volume, fixed.at, fixed.names, tuple(self._entries(fixed.seqs)))

    def finish(self, batch: Batch) -> None:
        """Forget a batch; see `Journal`."""
        with self._finishing:
            with self._lock:
                places = [self._slots[entry.seq].place for entry in batch.entries if entry.seq in self._slots]
                fixed = self._batches.get(batch.volume)
            with _stored("empty the journal"):
                self._log.finish(places)
                if fixed is not None:  # after its events: without it, they would be folded again under other names
                    self._log.finish([fixed[2]])
            with self._lock:
                self._batches.pop(batch.volume, None)
                for entry in batch.entries:
                    self._forget(entry.seq)
            with contextlib.suppress(LlmosError, OSError):  # what could not be freed now is freed by the next batch
                self._carry()
                self._log.collect()

    def close(self) -> None:
        """Store what waits, and stop; see `Journal`."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self._log.close()
            self._held.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("journal.closed", "The journal is closed: the server stops.", hint="Try again later.")

    def _entry(self, seq: int) -> Entry:
        slot = self._slots[seq]
        line = _unpack(Kind.EVENT, self._log.read(slot.place)).body
        return Entry(seq, slot.volume, slot.trace_id, slot.at, line)

    def _entries(self, seqs: Sequence[int]) -> list[Entry]:
        entries = []
        for seq in seqs:
            with self._lock:  # for each one alone, so that the writer never waits for a whole batch
                if seq in self._slots:
                    entries.append(self._entry(seq))
        return entries

    def _oldest(self, volume: str, limit: int) -> list[int]:
        """Return the numbers of the oldest events, at least one, up to `limit` and to `BATCH_BYTES`."""
        with self._lock:
            seqs = sorted(self._volumes.get(volume, ()))[:limit]
            sizes = itertools.accumulate(self._slots[seq].place.length for seq in seqs)
            within = sum(1 for size in sizes if size <= BATCH_BYTES)
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

    # The writer

    def _submit(self, kind: Kind, items: Sequence[_Item], seqs: Sequence[int] = ()) -> Sequence[int]:
        """Write frames from a thread that is not the event loop's; return when they are durable."""
        self._check_open()
        future: Future[Sequence[int]] = Future()
        self._queue.put(_Write(kind, items, _needed(items), future, None, seqs))
        return future.result()

    def _run(self) -> None:
        open_ = True
        while open_:
            group = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(group) < GROUP:
                    group.append(self._queue.get_nowait())
            writes = [write for write in group if write is not None]
            open_ = len(writes) == len(group)
            answers = [answer for part in self._parts(writes) for answer in self._write(part)]
            _answer(writes, answers)

    def _parts(self, writes: Sequence[_Write]) -> Iterator[list[_Write]]:
        """Cut a group so that each part fits into one segment."""
        part: list[_Write] = []
        left = 0
        for write in writes:
            if write.needed > left and part:
                yield part
                part = []
            left = (left if part else self._log.left(write.needed)) - write.needed
            part.append(write)
        if part:
            yield part

    def _write(self, part: Sequence[_Write]) -> list[_Result]:
        """Write some frames with one durable write, and enter them into the index."""
        frames: list[Frame] = []
        items: list[_Item] = []
        results: list[_Result] = []
        for write in part:
            seqs = write.seqs or range(self._seq + 1, self._seq + 1 + len(write.items))
            self._seq = max(self._seq, seqs[-1])
            results.append(seqs)
            items += write.items
            frames += [Frame(write.kind, seq, item[0], item[1]) for seq, item in zip(seqs, write.items, strict=True)]
        try:
            places = self._log.append(frames)
        except OSError as error:
            return [storage_error(error, "store the trace")] * len(part)
        with self._lock:
            for frame, item, place in zip(frames, items, places, strict=True):
                self._index(frame, item, place)
        return results

    def _index(self, frame: Frame, item: _Item, place: Place) -> Place | None:
        """Enter a frame; return the place of an older copy of it, if there is one."""
        seq = frame.key
        if frame.kind is Kind.BATCH:
            fixed = msgspec.msgpack.decode(frame.body, type=_Fixed)
            before = self._batches.get(fixed.volume)
            self._batches[fixed.volume] = seq, fixed, place
            return before[2] if before else None
        _, _, volume, trace_id, at = item
        copied = self._slots.get(seq)
        self._slots[seq] = _Slot(volume, trace_id, at, place)
        if copied:
            return copied.place
        self._volumes.setdefault(volume, {})[seq] = None
        self._traces.setdefault(trace_id, []).append(seq)
        return None

    # The log

    def _recover(self) -> None:
        with _stored("read the journal"):
            copies = []
            for frame, place in self._log.recover():
                self._seq = max(self._seq, frame.key)
                copies.append(self._index(frame, _unpack(frame.kind, frame.body), place))
            self._log.finish([place for place in copies if place is not None])
            self._log.collect()

    def _carry(self) -> None:
        """Write the last few live frames of old segments anew, so that the segments become free."""
        old = [number for number, live in self._log.segments[:-CARRY_SEGMENTS] if 0 < live <= self._log.size // 4]
        for number in old:
            with self._lock:
                events = [seq for seq, slot in self._slots.items() if slot.place.segment == number]
                batches = [batch for batch in self._batches.values() if batch[2].segment == number]
                places = [self._slots[seq].place for seq in events] + [place for _, _, place in batches]
                bodies = [self._log.read(place) for place in places]
            if events:
                self._submit(Kind.EVENT, [_unpack(Kind.EVENT, body) for body in bodies[: len(events)]], events)
            for seq, fixed, _ in batches:
                self._submit(Kind.BATCH, [_pack_batch(fixed)], [seq])
            self._log.finish(places)


def _answer(writes: Sequence[_Write], results: Sequence[_Result]) -> None:
    """Tell those who wait, with one call into each event loop.

    A whole group is told together: told in two parts, its callers would come back as two groups for ever.
    """
    loops: dict[asyncio.AbstractEventLoop | None, list[tuple[_Future, _Result]]] = {}
    for write, result in zip(writes, results, strict=True):
        loops.setdefault(write.loop, []).append((write.future, result))
    for loop, answers in loops.items():
        if loop is None:
            _settle(answers)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: Sequence[tuple[_Future, _Result]]) -> None:
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, LlmosError):
            future.set_exception(result)
        else:
            future.set_result(result)


def _needed(items: Sequence[_Item]) -> int:
    return sum([span(len(item[0]) + len(item[1])) for item in items])


def _pack(at: int, volume: str, trace_id: str, line: bytes) -> _Item:
    one, other = volume.encode(), trace_id.encode()
    return _Item(_HEAD.pack(at, len(one), len(other)) + one + other, line, volume, trace_id, at)


def _pack_batch(fixed: _Fixed) -> _Item:
    return _Item(b"", msgspec.msgpack.encode(fixed), fixed.volume, "", fixed.at)


def _unpack(kind: Kind, payload: bytes) -> _Item:
    """Read back what `_pack` and `_pack_batch` made."""
    if kind is Kind.BATCH:
        return _pack_batch(msgspec.msgpack.decode(payload, type=_Fixed))
    at, volume, trace_id = _HEAD.unpack_from(payload)
    middle, end = _HEAD.size + volume, _HEAD.size + volume + trace_id
    return _pack(at, payload[_HEAD.size : middle].decode(), payload[middle:end].decode(), payload[end:])


@contextmanager
def _stored(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, what) from error


def _hold(folder: Path) -> IO[bytes]:
    """Take the folder for this process, until the file that is returned is closed."""
    with _stored("open the journal"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise Conflict(
            "journal.held", f"Another process uses the journal {folder}.", hint="Stop the other server first."
        ) from None
    return file
