"""The journal: traces that are acknowledged and not yet in Git.

The seam is `Journal`; `LocalJournal` (`journal_local.py`) keeps it in a folder of this machine, for one process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from llmos_lite.errors import Unavailable

T = TypeVar("T")

BATCH_EVENTS = 2000
"""Most events of one batch."""


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
            StorageFailed: it is not stored, as when the disk is full; the next call may succeed. An engine whose disk
                refuses to erase it, too, until the end of the process, may find it at the next start.
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
        """Return how many events and stretches could not be read since the start; it never falls."""

    def set_aside(self, seq: int, why: str) -> None:
        """Leave out an event of which nothing can be made, from now until the next start; it is logged, and stays."""

    def aside(self, volume: str) -> list[str]:
        """Return the traces of a volume of which an event is set aside."""

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

    def aside(self, volume: str) -> list[str]:  # noqa: ARG002
        """Return nothing; see `Journal`."""
        return []

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
