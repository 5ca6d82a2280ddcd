"""What waits to be written to the journal, and how those who wait are told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

import msgspec

from llmos_lite.engines.journal import Beside, Line, Then
from llmos_lite.engines.journal_log import Frame, Kind, Place, span

log = logging.getLogger("llmos.journal")


class Fixed(msgspec.Struct, frozen=True, array_like=True):
    """A batch as the log holds it."""

    volume: str
    at: int
    names: tuple[str, ...]
    seqs: tuple[int, ...]


class Slot(msgspec.Struct, gc=False):
    """What the index holds of an event; its place is known when it is durable."""

    seq: int
    volume: str
    trace_id: str
    at: int
    place: Place


_Future: TypeAlias = asyncio.Future[Sequence[int]] | Future[Sequence[int]]


class Write(msgspec.Struct):
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
    slots: list[Slot] = []

    def make(self) -> int:
        """Make the frames; return the bytes that all of them need."""
        for seq, (volume, trace_id, line) in zip(self.seqs, self.lines, strict=True):
            self.slots.append(Slot(seq, volume, trace_id, self.at, _NOWHERE))
            self.frames.append(Frame(Kind.EVENT, seq, pack(self.at, volume, trace_id), line))
        return sum([span(len(head) + len(body)) for _, _, head, body in self.frames])


Told: TypeAlias = tuple[Write, Exception | None]
"""A write, and what went wrong with it."""
_HEAD = struct.Struct("<QHH")
_NOWHERE = Place(0, 0, 0)


def keep_beside(writes: Sequence[Write]) -> None:
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


def answer(answers: Sequence[Told]) -> None:
    """Tell those who wait, with one call into each event loop.

    A whole group is told together: told in two parts, its callers would come back as two groups for ever.
    """
    loops: dict[asyncio.AbstractEventLoop | None, list[Told]] = {}
    for write, error in answers:
        loops.setdefault(write.loop, []).append((write, error))
    for loop, told in loops.items():
        if loop is None:
            _settle(told)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, told)


def _settle(told: Sequence[Told]) -> None:
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


def pack(at: int, volume: str, trace_id: str) -> bytes:
    """Return what stands before the line of an event."""
    one, other = volume.encode(), trace_id.encode()
    return b"%b%b%b" % (_HEAD.pack(at, len(one), len(other)), one, other)


def unpack(payload: bytes) -> tuple[str, str, int, bytes]:
    """Return volume, trace id, time and line of an event."""
    at, volume, trace_id = _HEAD.unpack_from(payload)
    middle, end = _HEAD.size + volume, _HEAD.size + volume + trace_id
    return payload[_HEAD.size : middle].decode(), payload[middle:end].decode(), at, payload[end:]


def line_of(payload: bytes) -> bytes:
    """Return the line of an event."""
    _, volume, trace_id = _HEAD.unpack_from(payload)
    return payload[_HEAD.size + volume + trace_id :]
