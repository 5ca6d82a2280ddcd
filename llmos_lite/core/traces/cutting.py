"""Taking lines out of the segments of a volume, in every commit of every month that holds one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from llmos_lite.core.traces.segments import MS_PER_HOUR, ROOT, Placed, read_segment
from llmos_lite.core.traces.trace import CROCKFORD
from llmos_lite.engines.git_history import Content, File, History

TIME_LENGTH = 10
"""Characters of a ULID that hold its time."""
TOMBSTONE: Final = "tombstone"


class Head(msgspec.Struct, frozen=True, gc=False):
    """What tells whether a line is to go; the rest of it is not decoded."""

    id: str
    kind: str
    trace_id: str
    at: int


Doomed = Callable[[Head], bool]
"""Tells whether a line is to go."""

_head = msgspec.json.Decoder(Head).decode


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut from one month; `after` is None when nothing was left of it."""

    branch: str
    before: str
    after: str | None
    files: tuple[File, ...]
    """The segments that still hold something."""


def of_traces(trace_ids: Collection[str]) -> Doomed:
    """Doom everything about some traces but their tombstones."""
    ids = frozenset(trace_ids)
    return lambda head: head.trace_id in ids and head.kind != TOMBSTONE


def older_than(before: int) -> Doomed:
    """Doom everything about traces of a time before `before` (milliseconds); a tombstone by its own time."""
    return lambda head: (head.at if head.kind == TOMBSTONE else time_of(head.trace_id)) < before


def time_of(trace_id: str) -> int:
    """Return the time in a ULID, in milliseconds."""
    at = 0
    for letter in trace_id[:TIME_LENGTH]:
        at = at << 5 | CROCKFORD.index(letter)
    return at


def cut(history: History, doomed: Doomed, *, since: int = 0) -> list[Cut]:
    """Take lines out of every branch of a volume's `traces.git`; what they were in is not yet pruned.

    Doing it again finds nothing more.

    Args:
        history: the repository.
        doomed: which lines.
        since: events before this time (milliseconds) need not be looked at.

    Raises:
        StorageFailed: the months before the one that failed are done.
    """
    return [done for branch in history.branches() if (done := cut_branch(history, branch, doomed, since=since))]


def cut_branch(history: History, branch: str, doomed: Doomed, *, since: int = 0) -> Cut | None:
    """Take lines out of one branch; None when it holds none of them."""
    paths = [
        file.path
        for file in history.files(branch)
        if _ends(file.path) > since and any(map(doomed, heads(history.blob(file.oid))))
    ]
    if not paths:
        return None
    done = history.rewrite(branch, paths, lambda path, content: _without(path, content, doomed))
    return Cut(branch, done.old, done.new, done.files)


def placed(history: History, done: Cut) -> Iterator[list[Placed]]:
    """Yield the events of each segment that was cut, with their new places."""
    for file in done.files:
        yield list(read_segment(done.branch, file.oid, history.blob(file.oid)))


def heads(content: bytes) -> Iterator[Head]:
    """Yield what tells of each line of a segment."""
    return (_head(line) for line in content.split(b"\n") if line)


def _without(path: str, content: bytes, doomed: Doomed) -> Content:
    """Return the new name and content of a segment; the lines that stay are the same bytes."""
    lines = [line for line in content.split(b"\n") if line]
    heads = [(_head(line), line) for line in lines]
    kept = [(head, line) for head, line in heads if not doomed(head)]
    if not kept:
        return None
    if len(kept) == len(heads):
        return path.rpartition("/")[2], content
    fresh = b"".join(line + b"\n" for _, line in kept)
    return f"{kept[0][0].id}-{hashlib.sha256(fresh).hexdigest()[:8]}.jsonl", fresh


def _ends(path: str) -> int:
    """Return when the hour of a segment ends, in milliseconds; of any other path, never."""
    try:
        hour = datetime.strptime("/".join(path.split("/")[:5]), f"{ROOT}/%Y/%m/%d/%H").replace(tzinfo=UTC)
    except ValueError:
        return 1 << 62
    return int(hour.timestamp() * 1000) + MS_PER_HOUR
