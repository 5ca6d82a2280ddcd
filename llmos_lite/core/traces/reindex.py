"""Rebuilding the rows of traces and skills from Git alone.

Rows are made what Git says, and then those that Git knows nothing of are removed; so lists and reads go on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from llmos_lite.core.traces.origins import skill_records
from llmos_lite.core.traces.rows import TraceIndexer
from llmos_lite.core.traces.segments import Placed, list_segments, read_segment
from llmos_lite.engines.file_lock import file_lock
from llmos_lite.errors import LlmosError
from llmos_lite.records.catalog import Catalog
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

SEGMENTS = 16
"""Segments whose rows are written at a time."""

Hook = Callable[[GitVolume], Awaitable[None]]
"""Rebuilds other rows from a volume, as those of proposals and patterns."""
Progress = Callable[[int, int], None]
Path = tuple[str, str]
"""Path of a segment, and its blob."""


@dataclass(slots=True)
class ReindexReport:
    """What a reindex read; `broken` names the volumes that could not be read, and why: their rows stay as they were."""

    volumes: int = 0
    segments: int = 0
    events: int = 0
    skills: int = 0
    broken: dict[str, str] = field(default_factory=dict)


class Reindex:
    """Rebuilds rows, volume by volume, while a server beside it may go on folding.

    Args:
        volumes: what is read.
        catalog: whose rows are rebuilt.
        indexer: writes the rows of traces.
    """

    def __init__(self, volumes: VolumeManager, catalog: Catalog, indexer: TraceIndexer) -> None:
        self._volumes, self._catalog, self._indexer = volumes, catalog, indexer
        self._report = ReindexReport()
        self._total = 0

    async def run(self, progress: Progress | None, hooks: Sequence[Hook]) -> ReindexReport:
        """Rebuild everything."""
        refs = await asyncio.to_thread(self._volumes.refs)
        for gone in set(await self._catalog.traces.volumes()) - {str(ref) for ref in refs}:
            await self._remove(*await self._catalog.traces.folded(gone))
        for ref in refs:
            try:
                await self._volume(ref, progress, hooks)
            except LlmosError as error:
                self._report.broken[str(ref)] = error.message
        return self._report

    async def _volume(self, ref: VolumeRef, progress: Progress | None, hooks: Sequence[Hook]) -> None:
        volume = await asyncio.to_thread(self._volumes.open, PLATFORM, ref)
        async with file_lock(self._volumes.writers(ref), shared=True):  # so that no row of an erased trace comes back
            await self._traces(volume, progress)
        await self._skills(volume)
        for hook in hooks:
            await hook(volume)
        self._report.volumes += 1

    async def _traces(self, volume: GitVolume, progress: Progress | None) -> None:
        """Read every segment, until no month has moved meanwhile."""
        traces, events = await self._catalog.traces.folded(str(volume.ref))
        heads: dict[str, str] = {}
        read: set[Path] = set()
        judged: set[str] = set()
        while moved := (await asyncio.to_thread(volume.traces.branches)).items() - heads.items():
            for branch, head in sorted(moved):
                found = await asyncio.to_thread(_list, volume, head)
                fresh = [path for path in found if path not in read]
                self._total += len(fresh)
                for some in _some(fresh):
                    placed = await asyncio.to_thread(_read, volume, branch, some)
                    judged.update(await self._indexer.rebuild(placed))
                    for event, _ in placed:
                        (traces if event.trace is not None else events).discard(event.id)
                    self._count(len(some), len(placed), progress)
                read.update(fresh)
                heads[branch] = head
        await self._indexer.judge(sorted(judged))
        await self._remove(traces, events)

    async def _remove(self, traces: set[str], events: set[str]) -> None:
        await self._catalog.traces.remove(sorted(traces), sorted(events))

    def _count(self, segments: int, events: int, progress: Progress | None) -> None:
        self._report.segments += segments
        self._report.events += events
        if progress is not None:
            progress(self._report.segments, self._total)

    async def _skills(self, volume: GitVolume) -> None:
        self._report.skills += await index_skills(self._volumes, self._catalog, volume.ref)


async def index_skills(volumes: VolumeManager, catalog: Catalog, ref: VolumeRef) -> int:
    """Make the rows about a volume's skills what Git says, and return how many skills there are."""
    volume = await asyncio.to_thread(volumes.open, PLATFORM, ref)
    records = await asyncio.to_thread(skill_records, volume)
    await catalog.skills.put(records)
    kept = {record.skill_id for record in records}
    for skill_id in (await catalog.skills.of(str(ref))).keys() - kept:
        await catalog.skills.remove(str(ref), skill_id)
    return len(records)


def _some(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[start : start + SEGMENTS] for start in range(0, len(paths), SEGMENTS))


def _list(volume: GitVolume, head: str) -> list[Path]:
    return list(list_segments(volume.traces, head))


def _read(volume: GitVolume, branch: str, paths: Sequence[Path]) -> list[Placed]:
    return [one for _, blob in paths for one in read_segment(branch, blob, volume.traces.blob(blob))]
