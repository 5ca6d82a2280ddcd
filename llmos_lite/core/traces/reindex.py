"""Rebuilding the rows of traces and skills from Git alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from llmos_lite.core.traces.origins import skill_records
from llmos_lite.core.traces.rows import TraceIndexer
from llmos_lite.core.traces.segments import Placed, list_segments, read_segment
from llmos_lite.errors import LlmosError
from llmos_lite.records.catalog import Catalog
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

SEGMENTS = 16
"""Segments whose rows are written at a time."""

Hook = Callable[[GitVolume], Awaitable[None]]
"""Rebuilds other rows from a volume, as those of proposals and patterns."""


@dataclass(slots=True)
class ReindexReport:
    """What a reindex read; `broken` names the volumes that could not be read, and why: their rows are gone."""

    volumes: int = 0
    segments: int = 0
    events: int = 0
    skills: int = 0
    broken: dict[str, str] = field(default_factory=dict)


class Reindex:
    """Rebuilds rows, volume by volume, while a server beside it may go on folding.

    Args:
        volumes: what is read.
        catalog: whose rows are dropped.
        indexer: writes the rows of traces.
    """

    def __init__(self, volumes: VolumeManager, catalog: Catalog, indexer: TraceIndexer) -> None:
        self._volumes, self._catalog, self._indexer = volumes, catalog, indexer
        self._report = ReindexReport()
        self._total = 0

    async def run(self, progress: Callable[[int, int], None] | None, hooks: Sequence[Hook]) -> ReindexReport:
        """Rebuild everything."""
        refs = await asyncio.to_thread(self._volumes.refs)
        for gone in set(await self._catalog.traces.volumes()) - {str(ref) for ref in refs}:
            await self._catalog.traces.drop(gone, unfolded=False)
        for ref in refs:
            try:
                volume = await asyncio.to_thread(self._volumes.open, PLATFORM, ref)
                await self._traces(ref, volume, progress)
                await self._skills(volume)
                for hook in hooks:
                    await hook(volume)
            except LlmosError as error:
                self._report.broken[str(ref)] = error.message
            self._report.volumes += 1
        return self._report

    async def _traces(self, ref: VolumeRef, volume: GitVolume, progress: Callable[[int, int], None] | None) -> None:
        """Read every segment, until no month has moved meanwhile."""
        await self._catalog.traces.drop(str(ref), unfolded=False)
        seen: dict[str, str] = {}
        judged: set[str] = set()
        while moved := dict(await asyncio.to_thread(volume.traces.branches)).items() - seen.items():
            for branch, head in sorted(moved):
                paths = [
                    (path, blob)
                    for path, blob in await asyncio.to_thread(lambda at: list(list_segments(volume.traces, at)), head)
                    if seen.get(path) != blob
                ]
                self._total += len(paths)
                for some in _some(paths):
                    placed = await asyncio.to_thread(_read, volume, branch, some)
                    judged.update(await self._indexer.put(placed, judge=False))
                    self._report.segments += len(some)
                    self._report.events += len(placed)
                    if progress is not None:
                        progress(self._report.segments, self._total)
                seen.update(paths)
                seen[branch] = head
        await self._indexer.judge(sorted(judged))

    async def _skills(self, volume: GitVolume) -> None:
        records = await asyncio.to_thread(skill_records, volume)
        await self._catalog.skills.remove(str(volume.ref))
        await self._catalog.skills.put(records)
        self._report.skills += len(records)


def _some(paths: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    return (paths[start : start + SEGMENTS] for start in range(0, len(paths), SEGMENTS))


def _read(volume: GitVolume, branch: str, paths: Sequence[tuple[str, str]]) -> list[Placed]:
    return [one for _, blob in paths for one in read_segment(branch, blob, volume.traces.blob(blob))]
