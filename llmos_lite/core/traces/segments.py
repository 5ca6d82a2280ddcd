"""Segments: the immutable files of `traces.git`, one JSON event a line.

A segment holds events of one hour, under `traces/YYYY/MM/DD/HH/<first ulid>-<sha256 of content, 8 hex>.jsonl` on the
branch of the month (`2026-11`). Hour folders keep a commit as cheap at a million files as at a thousand; a branch for
each month makes archive and erasure a matter of one ref.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from llmos_lite.core.traces.lines import decode_event, encode_line
from llmos_lite.core.traces.trace import Event
from llmos_lite.engines.git import Author, VolumeInterface
from llmos_lite.errors import NotFound
from llmos_lite.records.catalog_traces import Location

ROOT = "traces"
MS_PER_HOUR = 3_600_000
SEGMENT_BYTES = 16 << 20
"""A segment that is longer is cut, so that reading one trace never reads more than this and one line."""


class Placed(NamedTuple):
    """An event, and where its line lies."""

    event: Event
    location: Location


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that is to be written: its branch and path, its events, and the length of each line without its end."""

    branch: str
    path: str
    content: bytes
    events: tuple[Event, ...]
    lengths: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return the name that the journal keeps."""
        return f"{self.branch}:{self.path}"

    def placed(self, blob: str) -> Iterator[Placed]:
        """Yield the events with their places, once the content is the blob `blob`."""
        offset = 0
        for event, length in zip(self.events, self.lengths, strict=True):
            yield Placed(event, Location(self.branch, blob, offset, length))
            offset += length + 1


def segments_of(events: Iterable[Event], lines: Mapping[str, bytes] = MappingProxyType({})) -> list[Segment]:
    """Group events by hour into segments, each ordered by time.

    Args:
        events: whose.
        lines: of those that have one already, by id.
    """
    hours: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        hours[event.at // MS_PER_HOUR].append(event)
    return [
        _segment(hour, part)
        for hour in sorted(hours)
        for part in _cut(sorted(hours[hour], key=lambda event: (event.at, event.id)), lines)
    ]


def _cut(events: Sequence[Event], lines: Mapping[str, bytes]) -> Iterator[list[tuple[Event, bytes]]]:
    part: list[tuple[Event, bytes]] = []
    size = 0
    for event in events:
        line = lines.get(event.id) or encode_line(event)
        if part and size + len(line) > SEGMENT_BYTES:
            yield part
            part, size = [], 0
        part.append((event, line))
        size += len(line) + 1
    yield part


def _segment(hour: int, part: Sequence[tuple[Event, bytes]]) -> Segment:
    content = b"".join(line + b"\n" for _, line in part)
    at = datetime.fromtimestamp(hour * MS_PER_HOUR / 1000, UTC)
    name = f"{part[0][0].id}-{hashlib.sha256(content).hexdigest()[:8]}.jsonl"
    return Segment(
        branch=f"{at:%Y-%m}",
        path=f"{ROOT}/{at:%Y/%m/%d/%H}/{name}",
        content=content,
        events=tuple(event for event, _ in part),
        lengths=tuple(len(line) for _, line in part),
    )


def commit_segments(
    store: VolumeInterface, segments: Sequence[Segment], author: Author, *, at: int | None = None
) -> list[Placed]:
    """Write segments, one commit for each month, and return where every event lies.

    Doing it again changes nothing.

    Args:
        store: the volume's `traces.git`.
        segments: what to write.
        author: whose traces they are.
        at: time of the commits, in milliseconds.

    Raises:
        StorageFailed: the months before the one that failed are written.
    """
    months: dict[str, list[Segment]] = defaultdict(list)
    for segment in segments:
        months[segment.branch].append(segment)
    placed: list[Placed] = []
    for branch, some in sorted(months.items()):
        count = sum(len(segment.events) for segment in some)
        message = f"Keep {count} event{'s' if count > 1 else ''}"
        commit = store.commit({one.path: one.content for one in some}, message, author, branch=branch, at=at)
        for segment in some:
            entry = store.entry(segment.path, at=commit.oid)
            if entry is not None:
                placed += segment.placed(entry.oid)
    return placed


def committed(store: VolumeInterface, name: str) -> list[Placed]:
    """Return what lies in a segment by the name that the journal kept; nothing when it was not written."""
    branch, _, path = name.partition(":")
    try:
        entry = store.entry(path, at=branch)
    except NotFound:
        return []
    return list(read_segment(branch, entry.oid, store.blob(entry.oid))) if entry else []


def read_segment(branch: str, blob: str, content: bytes) -> Iterator[Placed]:
    """Yield the events of a segment."""
    offset = 0
    for line in content.split(b"\n"):
        if line:
            yield Placed(decode_event(line), Location(branch, blob, offset, len(line)))
        offset += len(line) + 1


def list_segments(store: VolumeInterface, head: str) -> Iterator[tuple[str, str]]:
    """Yield (path, blob) of every segment of a commit, oldest hour first."""
    folders = [ROOT]
    while folders:
        for entry in store.tree(folders.pop(0), at=head):
            if entry.is_tree:
                folders.append(entry.path)
            else:
                yield entry.path, entry.oid


def lines_at(store: VolumeInterface, places: Mapping[str, Location]) -> dict[str, Event]:
    """Return the events at some places, by the key of the place; every blob is read once."""
    blobs: dict[str, list[str]] = defaultdict(list)
    for key, place in places.items():
        blobs[place.blob].append(key)
    found: dict[str, Event] = {}
    for blob, keys in blobs.items():
        content = memoryview(store.blob(blob))
        for key in keys:
            start = places[key].offset
            found[key] = decode_event(content[start : start + places[key].length])
    return found
