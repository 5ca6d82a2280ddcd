"""The journal against the bare thing: lines appended to a file by one thread, made durable group by group.

The bare append has no index, checksums, recovery or limits; callers, thread and event loop are the same. Segments of
the journal are used again, as in a server that has run for a minute; the file of the bare append grows.
"""

from __future__ import annotations

import asyncio
import os
import queue
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from benchmarks import Row
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.traces.lines import encode_line as encode
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Message, Trace, make_ulid, trace_event
from llmos_lite.engines.database import Database
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.engines.signing import Signer
from llmos_lite.records import schema
from llmos_lite.records.catalog import Catalog
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager

NOV = 1_793_500_000_000
IN_FLIGHT, ROUNDS, APPENDS, SERIAL = 32, 7, 3200, 300
FOLDS, FOLDED = 10, 100
TEXT = " ".join(f"word{number * 7919 % 1000}" for number in range(480))


class Appender(Protocol):
    """Appends a line, durably."""

    async def append(self, volume: str, trace_id: str, line: bytes) -> int:
        """Return when the line is durable."""


class BareAppend:
    """A file that one thread appends to: everything that waits with one write and one sync."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._queue: queue.SimpleQueue[tuple[bytes, asyncio.Future[int]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def append(self, volume: str, trace_id: str, line: bytes) -> int:  # noqa: ARG002 - as the journal
        """Append a line."""
        future: asyncio.Future[int] = self._loop.create_future()
        self._queue.put((line, future))
        return await future

    def close(self) -> None:
        """Stop."""
        self._queue.put(None)
        self._thread.join()
        os.close(self._file)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first, *(item for _ in range(self._queue.qsize()) if (item := self._queue.get()) is not None)]
            os.write(self._file, b"".join([line for line, _ in group]))
            os.fdatasync(self._file)
            self._loop.call_soon_threadsafe(self._done, [future for _, future in group])

    @staticmethod
    def _done(futures: Sequence[asyncio.Future[int]]) -> None:
        for future in futures:
            future.set_result(1)


def _trace(number: int) -> Trace:
    at = NOV + number * 50
    goal = f"Goal {number}: {TEXT[: 200 + number % 100]}"
    said = (Message("user", goal), Message("assistant", TEXT))
    return Trace(
        id=make_ulid(at, str(number)),
        actor="alice",
        volume="user:alice",
        conversation=f"c{number}",
        time=at,
        goal=goal,
        messages=said,
        model="offline",
    )


async def _rate(journal: Appender, lines: Sequence[tuple[str, bytes]], in_flight: int) -> float:
    """Return appends per second."""
    waiting = iter(lines)

    async def caller() -> None:
        for trace_id, line in waiting:
            await journal.append("user:alice", trace_id, line)

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return len(lines) / (time.perf_counter() - start)


def _empty(journal: LocalJournal) -> None:
    while (batch := journal.fix("user:alice", lambda _entries: ["segment"])) is not None:
        journal.finish(batch)


async def _append_rows() -> list[Row]:
    lines = [(trace.id, encode(trace_event(trace))) for trace in map(_trace, range(APPENDS))]
    group, serial = [], []
    with tempfile.TemporaryDirectory() as folder:
        journal = LocalJournal(Path(folder) / "journal")
        for number in range(ROUNDS + 1):  # in turns, so that both see the same load; the first only warms up
            bare = BareAppend(Path(folder) / f"bare{number}")
            group.append((await _rate(journal, lines, IN_FLIGHT), await _rate(bare, lines, IN_FLIGHT)))
            serial.append((await _rate(journal, lines[:SERIAL], 1), await _rate(bare, lines[:SERIAL], 1)))
            bare.close()
            _empty(journal)
        journal.close()
    return [
        _row("durable appends, 32 in flight, against a bare group-committed append", group[1:], ">= 0.6"),
        _row("durable appends, one at a time, against a bare append", serial[1:], ">= 0.6"),
    ]


def _row(name: str, pairs: Sequence[tuple[float, float]], target: str) -> Row:
    ours, bare = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    return Row(name, ours, bare, ratio=ratio, unit="appends/s", target=target)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@asynccontextmanager
async def _log(data: Path) -> AsyncIterator[TraceLog]:
    volumes, database = VolumeManager(data, Signer.open(data / "keys")), Database(f"sqlite+aiosqlite:///{data}/rows.db")
    await schema.prepare(database)
    journal = LocalJournal(data / "journal")
    yield TraceLog(volumes, journal, Catalog(database))
    journal.close()
    await database.close()
    volumes.close()


async def _fold_cpu(data: Path) -> float:
    """Return the CPU milliseconds that a trace costs from the journal to Git and the rows, folded by the hundred."""
    used = 0.0
    async with _log(data) as log:
        for turn in range(FOLDS):
            await asyncio.gather(*(log.record(_trace(turn * FOLDED + number)) for number in range(FOLDED)))
            start = _cpu()
            await log.fold(VolumeRef.user("alice"))
            used += _cpu() - start
    return used * 1000 / (FOLDS * FOLDED)


def _import_cpu(folder: Path) -> float:
    """Return the CPU milliseconds of `git fast-import` for a commit with one trace."""
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True)
    stream = b""
    for number in range(200):
        line = encode(trace_event(_trace(number)))
        stream += b"commit refs/heads/main\ncommitter a <a@x> %d +0000\ndata 4\nKeep\n" % (NOV // 1000 + number)
        stream += b"M 100644 inline traces/2026/11/01/%02d/%d.jsonl\n" % (number // 10, number)
        stream += b"data %d\n%s\n" % (len(line), line)
    start = _cpu()
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=stream, check=True)
    return (_cpu() - start) * 1000 / 200


def _fold_rows() -> list[Row]:
    folds, imports = [], []
    with tempfile.TemporaryDirectory() as name:
        for turn in range(3):
            folds.append(asyncio.run(_fold_cpu(Path(name) / f"data{turn}")))
            imports.append(_import_cpu(Path(name) / f"bare{turn}"))
    title = "one trace of a whole fold of 100 (redaction, Git, rows, journal), against one of git fast-import (CPU)"
    return [Row(title, statistics.median(folds), statistics.median(imports), unit="ms")]


async def _listing_rows() -> list[Row]:
    """Time a page of a hundred thousand rows."""
    count = 100_000
    with tempfile.TemporaryDirectory() as name:
        async with _log(Path(name)) as log:
            start = time.perf_counter()
            await log.store_many(VolumeRef.user("alice"), map(_trace, range(10_000)))
            imported = time.perf_counter() - start
            await log.store_many(VolumeRef.user("alice"), map(_trace, range(10_000, count)))
            took = [await _milliseconds(log) for _ in range(7)]
    return [
        Row("10,000 traces imported into Git and rows", imported, unit="s", target="value <= 5"),
        Row(
            "a page of 50 of 100,000 traces, with their number", statistics.median(took), unit="ms", target="value < 20"
        ),
    ]


async def _milliseconds(log: TraceLog) -> float:

    start = time.perf_counter()
    await log.page(Actor("alice"), limit=50)
    return (time.perf_counter() - start) * 1000


def run() -> list[Row]:
    """Return the rows of this module."""
    work: list[Callable[[], list[Row]]] = [
        lambda: asyncio.run(_append_rows()),
        _fold_rows,
        lambda: asyncio.run(_listing_rows()),
    ]
    return [row for one in work for row in one()]
