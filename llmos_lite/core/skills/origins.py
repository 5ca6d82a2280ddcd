"""Where listed skills came from, by the rows that the history of their volume gives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.traces.origins import skill_records
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_skills import SkillRecord
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager


class SkillOrigins:
    """Knows the origin of skills; a volume with a skill that has no row yet is read once.

    Args:
        volumes: whose history tells.
        catalog: keeps the rows.
    """

    def __init__(self, volumes: VolumeManager, catalog: Catalog) -> None:
        self._volumes, self._catalog = volumes, catalog

    async def of(self, skills: Iterable[Skill]) -> dict[tuple[str, str], SkillRecord]:
        """Return the rows of skills by volume and skill id; the caller has checked that they may be seen."""
        wanted: dict[str, set[str]] = {}
        for skill in skills:
            wanted.setdefault(skill.volume, set()).add(skill.skill_id)
        found: dict[tuple[str, str], SkillRecord] = {}
        for volume, ids in wanted.items():
            rows = await self._catalog.skills.of(volume)
            if not ids <= rows.keys():
                rows |= await self._read(volume)
            found |= {(volume, skill_id): rows[skill_id] for skill_id in ids & rows.keys()}
        return found

    async def _read(self, volume: str) -> dict[str, SkillRecord]:
        records = await asyncio.to_thread(self._records, VolumeRef.parse(volume))
        await self._catalog.skills.put(records)
        return {record.skill_id: record for record in records}

    def _records(self, ref: VolumeRef) -> list[SkillRecord]:
        return skill_records(self._volumes.open(PLATFORM, ref))
