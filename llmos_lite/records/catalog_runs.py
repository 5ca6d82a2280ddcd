"""Rows of runs: long work, how far it is, and what came of it."""

from __future__ import annotations

import msgspec
from sqlalchemy import Table, desc, func, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.cursor import Rows, decode_cursor, encode_cursor
from llmos_lite.records.tables import RunRow


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run; `request` and `result` are JSON objects as text; see `RunRow`."""

    run_id: str
    kind: str
    actor: str
    created: int
    request: str = "{}"
    state: str = "queued"
    stage: str = ""
    done: int = 0
    total: int = 0
    result: str = "{}"
    error: str = ""
    finished: int = 0


TABLE: Table = RunRow.metadata.tables[RunRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in RunRecord.__struct_fields__]


class RunRows:
    """Reads and writes the rows of runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, run: RunRecord) -> None:
        """Add a run."""
        async with self._database.session() as session:
            await session.execute(TABLE.insert(), [msgspec.structs.asdict(run)])

    async def update(self, run_id: str, **changes: str | int) -> bool:
        """Change columns of a run; return whether there is such a run."""
        async with self._database.session() as session:
            # RETURNING, since the number of changed rows is not part of every driver's answer
            statement = update(TABLE).where(TABLE.c.run_id == run_id).values(**changes).returning(TABLE.c.run_id)
            return (await session.execute(statement)).first() is not None

    async def get(self, run_id: str) -> RunRecord | None:
        """Return one run."""
        async with self._database.reader() as session:
            row = (await session.execute(select(*COLUMNS).where(TABLE.c.run_id == run_id))).first()
        return RunRecord(**row._asdict()) if row else None

    async def page(
        self, *, actor: str | None = None, kind: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Rows[RunRecord]:
        """Return runs, newest first.

        Raises:
            Invalid: `cursor.invalid`.
        """
        conditions = [TABLE.c.actor == actor] if actor is not None else []
        conditions += [TABLE.c.kind == kind] if kind is not None else []
        after = [TABLE.c.run_id < decode_cursor(cursor, str)[0]] if cursor else []
        query = select(*COLUMNS).where(*conditions, *after).order_by(desc(TABLE.c.run_id)).limit(limit + 1)
        async with self._database.reader() as session:
            rows = (await session.execute(query)).all()
            count = select(func.count()).select_from(TABLE).where(*conditions)
            total = (await session.execute(count)).scalar_one()
        items = [RunRecord(**row._asdict()) for row in rows[:limit]]
        return Rows(items, encode_cursor(items[-1].run_id) if len(rows) > limit else None, total)

    async def unfinished(self) -> list[RunRecord]:
        """Return the runs that are queued or running, oldest first: after a crash, those that nobody works on."""
        query = select(*COLUMNS).where(TABLE.c.state.in_(["queued", "running"])).order_by(TABLE.c.run_id)
        async with self._database.reader() as session:
            return [RunRecord(**row._asdict()) for row in await session.execute(query)]
