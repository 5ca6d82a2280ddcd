"""Keeps what was asked where skills helped: an index for each volume of traces, built from rows when first needed.

Nothing is stored: the rows of traces hold the redacted goals already, and those come back from Git. An index is
brought up to date with each trace of which somebody says what came of it, and loses what is erased at once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from llmos_lite.core.skills.text import Analyzer
from llmos_lite.core.traces.trace import SkillUse
from llmos_lite.records.catalog_uses import UseRecord, UseRows

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex, Goal

MOST_TRACES = 2000
"""Successes, and failures, of one volume that are looked at: its newest ones."""
CACHED_VOLUMES = 1000
LATER_TERMS = 5
"""Words that a later turn needs: "make it shorter" says nothing without what came before."""

_used = msgspec.json.Decoder(tuple[SkillUse, ...]).decode


Moved = Callable[[str, str], str]


def _stays(_volume: str, skill_id: str) -> str:
    return skill_id


class Uses:
    """The goals of volumes, in memory.

    Args:
        rows: where they come from.
        erased: traces that are hidden though their rows may still be there.
        moved: returns under which id a skill of a volume stands that may have been renamed.
    """

    def __init__(self, rows: UseRows, erased: Container[str] = (), moved: Moved = _stays) -> None:
        self._rows, self._erased, self._moved = rows, erased, moved
        self._analyzer = Analyzer()
        self._known: OrderedDict[str, AskedIndex] = OrderedDict()
        self._turns: dict[str, asyncio.Lock] = {}
        self._reloads = 0

    async def of(self, volumes: Iterable[str]) -> list[AskedIndex]:
        """Return the goals of these volumes; see `Sight`."""
        found: list[AskedIndex] = []
        for volume in volumes:
            known = self._known.get(volume)
            if known is not None:
                self._known.move_to_end(volume)
            found.append(known or await self._loaded(volume))
        return found

    async def _loaded(self, volume: str) -> AskedIndex:
        async with self._turn(volume):
            return self._known.get(volume) or await self._load(volume)

    async def _load(self, volume: str) -> AskedIndex:
        from llmos_lite.core.skills.asked import AskedIndex  # noqa: PLC0415 - loads numpy

        reloads = self._reloads
        records = await self._rows.newest(volume, MOST_TRACES)
        made = await asyncio.to_thread(lambda: AskedIndex.empty(self._analyzer).updated(_goals(records, self._moved)))
        hidden = {record.trace_id for record in records if record.trace_id in self._erased}
        found = made.updated((), hidden) if hidden else made
        if reloads == self._reloads:
            self._known[volume] = found
        while len(self._known) > CACHED_VOLUMES:
            self._known.popitem(last=False)
        return found

    def _turn(self, volume: str) -> asyncio.Lock:
        return self._turns.setdefault(volume, asyncio.Lock())

    # What happens to traces

    async def judged(self, trace_ids: Collection[str]) -> None:
        """Hear of traces whose outcome may have changed, once their rows say so."""
        if not self._turns or not trace_ids:  # nobody has searched yet
            return
        by_volume: dict[str, list[UseRecord]] = {}
        for record in await self._rows.of(list(trace_ids)):
            by_volume.setdefault(record.volume, []).append(record)
        for volume in by_volume.keys() & self._turns.keys():
            async with self._turn(volume):
                index = self._known.get(volume)
                fresh = [record for record in by_volume[volume] if record.trace_id not in self._erased]
                if index is not None:
                    gone = {record.trace_id for record in fresh}
                    self._known[volume] = await asyncio.to_thread(index.updated, _goals(fresh, self._moved), gone)

    def forget(self, trace_ids: Collection[str]) -> None:
        """Hear of traces that are erased."""
        gone = frozenset(trace_ids)
        for volume, index in self._known.items():
            if not gone.isdisjoint(index.traces):
                self._known[volume] = index.updated((), gone)

    def reload(self) -> None:
        """Hear that rows were changed elsewhere, or a skill renamed; indexes are built anew when next needed."""
        self._reloads += 1
        self._known.clear()


def _goals(records: Iterable[UseRecord], moved: Moved) -> Iterator[Goal]:
    """Return the goal of each trace for each skill in it; the one that fitted best gets the whole credit."""
    from llmos_lite.core.skills.asked import Goal  # noqa: PLC0415 - loads numpy

    moved = cache(moved)
    for record in records:
        if record.parent and len(record.goal.split()) < LATER_TERMS:
            continue
        used = _used(record.skills_used)
        best = max((use.score for use in used), default=0.0)
        sign = 1.0 if record.outcome == "success" else -1.0
        for use in used:
            share = max(use.score, 0.0) / best if best > 0 else 1.0
            skill_id = moved(use.volume, use.skill_id)
            yield Goal(record.trace_id, use.volume, skill_id, record.goal, record.time, sign * share)
