"""Rows of patterns: goals that repeat, and the conversations that belong to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import ColumnElement, Table, and_, delete, desc, func, or_, select

from llmos_lite.engines.database import Database
from llmos_lite.records.cursor import Rows, decode_cursor, encode_cursor
from llmos_lite.records.tables import PatternMemberRow, PatternRow

CHUNK = 500
"""Rows written in one transaction."""


class PatternRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A goal that repeats in a volume; `examples` is a JSON list of goals as text; see `PatternRow`."""

    pattern_id: str
    volume: str
    goal: str
    count: int
    users: int
    success_rate: float
    examples: str
    skill_id: str = ""
    reason: str = ""
    first: int
    last: int


TABLE: Table = PatternRow.metadata.tables[PatternRow.__tablename__]
MEMBERS: Table = PatternMemberRow.metadata.tables[PatternMemberRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in PatternRecord.__struct_fields__]


class PatternRows:
    """Reads and writes the rows of patterns and their members."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, pattern: PatternRecord, trace_ids: Sequence[str]) -> None:
        """Insert or update one pattern, and make `trace_ids` (opening traces) its only members."""
        members = [{"pattern_id": pattern.pattern_id, "trace_id": trace_id} for trace_id in dict.fromkeys(trace_ids)]
        async with self._database.session() as session:
            await session.execute(self._database.upsert(TABLE, ["pattern_id"]), [msgspec.structs.asdict(pattern)])
            await session.execute(delete(MEMBERS).where(MEMBERS.c.pattern_id == pattern.pattern_id))
            if members:
                await session.execute(MEMBERS.insert(), members)

    async def replace(
        self, volume: str, patterns: Sequence[PatternRecord], members: Mapping[str, Sequence[str]]
    ) -> None:
        """Make `patterns` the only ones of a volume; `members` maps a pattern's id to its opening traces."""
        kept = {pattern.pattern_id for pattern in patterns}
        gone = [pattern.pattern_id for pattern in await self.of(volume) if pattern.pattern_id not in kept]
        for start in range(0, len(gone), CHUNK):
            async with self._database.session() as session:
                await session.execute(delete(TABLE).where(TABLE.c.pattern_id.in_(gone[start : start + CHUNK])))
        for pattern in patterns:
            await self.put(pattern, members.get(pattern.pattern_id, ()))

    async def remove(self, pattern_id: str) -> None:
        """Remove one pattern with its members."""
        async with self._database.session() as session:
            await session.execute(delete(TABLE).where(TABLE.c.pattern_id == pattern_id))

    async def get(self, pattern_id: str) -> PatternRecord | None:
        """Return one pattern."""
        async with self._database.reader() as session:
            row = (await session.execute(select(*COLUMNS).where(TABLE.c.pattern_id == pattern_id))).first()
        return PatternRecord(**row._asdict()) if row else None

    async def of(self, volume: str) -> list[PatternRecord]:
        """Return every pattern of a volume, by id."""
        query = select(*COLUMNS).where(TABLE.c.volume == volume).order_by(TABLE.c.pattern_id)
        async with self._database.reader() as session:
            return [PatternRecord(**row._asdict()) for row in await session.execute(query)]

    async def members(self, pattern_id: str) -> list[str]:
        """Return the opening traces of a pattern's conversations, oldest first."""
        query = select(MEMBERS.c.trace_id).where(MEMBERS.c.pattern_id == pattern_id).order_by(MEMBERS.c.trace_id)
        async with self._database.reader() as session:
            return list((await session.execute(query)).scalars())

    async def members_of(self, volume: str) -> dict[str, list[str]]:
        """Return the opening traces of every pattern of a volume, by pattern id, oldest first."""
        query = (
            select(MEMBERS.c.pattern_id, MEMBERS.c.trace_id)
            .join(TABLE, TABLE.c.pattern_id == MEMBERS.c.pattern_id)
            .where(TABLE.c.volume == volume)
            .order_by(MEMBERS.c.trace_id)
        )
        found: dict[str, list[str]] = {}
        async with self._database.reader() as session:
            for pattern_id, trace_id in await session.execute(query):
                found.setdefault(pattern_id, []).append(trace_id)
        return found

    async def page(self, volumes: Sequence[str], *, limit: int = 50, cursor: str | None = None) -> Rows[PatternRecord]:
        """Return the patterns of some volumes, the most frequent first.

        Raises:
            Invalid: `cursor.invalid`.
        """
        condition = TABLE.c.volume.in_(volumes)
        query = select(*COLUMNS).where(condition, *_after(cursor))
        query = query.order_by(desc(TABLE.c.count), TABLE.c.pattern_id).limit(limit + 1)
        async with self._database.reader() as session:
            rows = (await session.execute(query)).all()
            total = (await session.execute(select(func.count()).select_from(TABLE).where(condition))).scalar_one()
        items = [PatternRecord(**row._asdict()) for row in rows[:limit]]
        more = len(rows) > limit
        return Rows(items, encode_cursor(items[-1].count, items[-1].pattern_id) if more else None, total)


def _after(cursor: str | None) -> list[ColumnElement[bool]]:
    if not cursor:
        return []
    count, pattern_id = decode_cursor(cursor, int, str)
    return [or_(TABLE.c.count < count, and_(TABLE.c.count == count, TABLE.c.pattern_id > pattern_id))]
