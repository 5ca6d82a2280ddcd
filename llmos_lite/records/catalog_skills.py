"""Rows of skills: where each came from, so that a list need not walk the history."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Table, case, delete, desc, func, select

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import SkillRow, TraceRow, TraceSkillRow

CHUNK = 500
"""Rows written in one transaction."""


class SkillRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where a skill came from; `origin` is `person`, `evolution`, `import` or `system`; see `SkillRow`."""

    volume: str
    skill_id: str
    version: str
    origin: str
    author: str = ""
    pattern_id: str = ""
    created: int
    updated: int


class SkillUsage(msgspec.Struct, frozen=True):
    """How much a skill was used: `failures` of `uses`, by `users` people."""

    volume: str
    skill_id: str
    uses: int
    users: int
    failures: int


TABLE: Table = SkillRow.metadata.tables[SkillRow.__tablename__]
USES: Table = TraceSkillRow.metadata.tables[TraceSkillRow.__tablename__]
TRACES: Table = TraceRow.metadata.tables[TraceRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in SkillRecord.__struct_fields__]


class SkillRows:
    """Reads and writes the rows of skills."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, skills: Sequence[SkillRecord], *, keep: Sequence[str] = ()) -> None:
        """Insert or update rows.

        Args:
            skills: the rows.
            keep: columns that an existing row keeps, as in `("created", "origin")`.
        """
        statement = self._database.upsert(TABLE, ["volume", "skill_id"], keep=keep)
        for start in range(0, len(skills), CHUNK):
            rows = [msgspec.structs.asdict(skill) for skill in skills[start : start + CHUNK]]
            async with self._database.session() as session:
                await session.execute(statement, rows)

    async def get(self, volume: str, skill_id: str) -> SkillRecord | None:
        """Return the row of one skill."""
        return (await self.of(volume, [skill_id])).get(skill_id)

    async def of(self, volume: str, skill_ids: Sequence[str] | None = None) -> dict[str, SkillRecord]:
        """Return the rows of a volume (all, or at most 500 named ones), by skill id."""
        query = select(*COLUMNS).where(TABLE.c.volume == volume)
        if skill_ids is not None:
            query = query.where(TABLE.c.skill_id.in_(skill_ids))
        async with self._database.reader() as session:
            rows = [SkillRecord(**row._asdict()) for row in await session.execute(query)]
        return {row.skill_id: row for row in rows}

    async def usage(self, volumes: str = "team:") -> list[SkillUsage]:
        """Return how much people used the skills of the volumes whose name begins like this, the most used first.

        What a team sees of a chat is a second row of it; the chat itself counts.
        """
        used, trace = USES.c, TRACES.c
        failures = func.sum(case((trace.outcome == "failure", 1), else_=0))
        query = (
            select(used.volume, used.skill_id, func.count(), func.count(trace.actor.distinct()), failures)
            .join(TRACES, trace.trace_id == used.trace_id)
            .where(used.volume.startswith(volumes, autoescape=True), trace.volume.startswith("user:"))
            .group_by(used.volume, used.skill_id)
            .order_by(desc(func.count()), used.volume, used.skill_id)
        )
        async with self._database.reader() as session:
            return [SkillUsage(*row) for row in await session.execute(query)]

    async def remove(self, volume: str, skill_id: str | None = None) -> None:
        """Remove the row of one skill, or all rows of a volume."""
        statement = delete(TABLE).where(TABLE.c.volume == volume)
        if skill_id is not None:
            statement = statement.where(TABLE.c.skill_id == skill_id)
        async with self._database.session() as session:
            await session.execute(statement)
