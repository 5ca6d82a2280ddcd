"""Reading traces: what lies in the journal, then what the catalog finds in Git."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from llmos_lite.core.traces.erased import Erased
from llmos_lite.core.traces.lines import decode_event
from llmos_lite.core.traces.redaction import Redactor
from llmos_lite.core.traces.segments import lines_at
from llmos_lite.core.traces.state import TraceState, fold_events
from llmos_lite.core.traces.trace import Event
from llmos_lite.engines.journal import Entry, Journal
from llmos_lite.errors import NotFound
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_traces import ARCHIVED, Location
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

TRIES = 3
"""A trace may be folded between the look into the journal and the one into the catalog; then both are asked again."""


class TraceReader:
    """Finds what is known of traces, wherever they lie; asks nobody's permission.

    Args:
        volumes: where segments lie.
        journal: where unfolded events lie.
        catalog: knows the places.
        redactor: is applied to what comes from the journal.
        erased: what is not shown though it may still be somewhere.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        journal: Journal,
        catalog: Catalog,
        redactor: Redactor,
        erased: Erased | None = None,
    ) -> None:
        self._volumes, self._journal, self._catalog, self._redactor = volumes, journal, catalog, redactor
        self._erased = erased or Erased()

    async def states(self, trace_ids: Sequence[str]) -> dict[str, tuple[TraceState, Location | None]]:
        """Return what is known of each trace, and where it lies in Git; unknown ones are left out."""
        found: dict[str, tuple[TraceState, Location | None]] = {}
        missing = [one for one in dict.fromkeys(trace_ids) if one not in self._erased]
        for left in reversed(range(TRIES)):
            try:
                found.update(await self._states(missing))
            except NotFound:  # a month was rewritten between the look into the catalog and the one into Git
                if not left:
                    raise
                continue
            listed = await self._catalog.traces.many([one for one in missing if one not in found])
            missing = list(listed)
            if not missing:
                break
        return found

    async def _states(self, trace_ids: Sequence[str]) -> dict[str, tuple[TraceState, Location | None]]:
        rows = await self._catalog.traces.many(trace_ids)
        places = {key: (row.volume, row.location) for key, row in rows.items() if row.blob}
        later = [row for row in await self._catalog.traces.events(trace_ids) if row.blob]
        places |= {row.event_id: (row.volume, row.location) for row in later}
        places = {key: place for key, place in places.items() if place[1].blob != ARCHIVED}
        unfolded = await self._unfolded(trace_ids)
        events = [*unfolded, *await self._events(places)]
        return {
            key: (state, rows[key].location if key in places and key in rows else None)
            for key, state in _folded(events)
        }

    async def _unfolded(self, trace_ids: Sequence[str]) -> list[Event]:
        entries = [entry for trace_id in trace_ids for entry in self._journal.get(trace_id)]
        return await asyncio.to_thread(self._redacted, entries) if entries else []

    def _redacted(self, entries: Sequence[Entry]) -> list[Event]:
        return [self._redactor.redact(event) for _, event in readable(self._journal, entries)]

    async def _events(self, places: dict[str, tuple[str, Location]]) -> list[Event]:
        volumes: dict[str, dict[str, Location]] = defaultdict(dict)
        for key, (volume, place) in places.items():
            volumes[volume][key] = place
        found: list[Event] = []
        for volume, some in volumes.items():
            found += (await asyncio.to_thread(self._read, volume, some)).values()
        return found

    def _read(self, volume: str, places: dict[str, Location]) -> dict[str, Event]:
        return lines_at(self._volumes.open(PLATFORM, VolumeRef.parse(volume)).traces, places)


def readable(
    journal: Journal, entries: Iterable[Entry], known: Mapping[int, Event | None] = MappingProxyType({})
) -> Iterator[tuple[Entry, Event]]:
    """Yield entries of the journal with their events; those of which no event can be made are set aside.

    Args:
        journal: that they are of.
        entries: which.
        known: events that need not be read, by number.
    """
    for entry in entries:
        try:
            event = known.get(entry.seq) or decode_event(entry.line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            journal.set_aside(entry.seq, f"it is no event that this version knows ({error})")
        else:
            yield entry, event


def _folded(events: Iterable[Event]) -> Iterable[tuple[str, TraceState]]:
    by_trace: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_trace[event.trace_id].append(event)
    for trace_id, group in by_trace.items():
        trace = next((event.trace for event in group if event.trace is not None), None)
        if trace is not None:
            yield trace_id, fold_events(trace, (event for event in group if event.trace is None))
