"""The rows of calls that people allowed: what was begun, and what it gave."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
from sqlalchemy import Table, delete, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import AllowedCallRow


class AllowedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was begun; see `AllowedCallRow`."""

    trace_id: str
    call_id: str
    began: int
    ended: bool = False
    result: str = ""
    is_error: bool = False


TABLE: Table = AllowedCallRow.metadata.tables[AllowedCallRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in AllowedCall.__struct_fields__]


class AllowedCallRows:
    """Reads and writes the rows; each write is durable when it returns, and seen by every node."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, trace_id: str) -> dict[str, AllowedCall]:
        """Return the calls of a trace that were begun, by their ids."""
        async with self._database.reader() as session:
            rows = (await session.execute(select(*COLUMNS).where(TABLE.c.trace_id == trace_id))).all()
        return {row.call_id: AllowedCall(**row._asdict()) for row in rows}

    async def begin(self, trace_id: str, call_ids: Collection[str], began: int) -> set[str]:
        """Note that calls are begun; return those that nobody had begun before."""
        insert = self._database.insert_new(TABLE, ["trace_id", "call_id"]).returning(TABLE.c.call_id)
        rows = [msgspec.structs.asdict(AllowedCall(trace_id=trace_id, call_id=one, began=began)) for one in call_ids]
        async with self._database.session() as session:
            return set((await session.execute(insert.values(rows))).scalars())

    async def end(self, trace_id: str, results: Mapping[str, tuple[str, bool]]) -> None:
        """Note what calls gave, and whether that is an error."""
        async with self._database.session() as session:
            for call_id, (result, is_error) in results.items():
                here = TABLE.c.trace_id == trace_id, TABLE.c.call_id == call_id
                changed = {"ended": True, "result": result, "is_error": is_error}
                await session.execute(update(TABLE).where(*here).values(**changed))

    async def remove(self, trace_id: str) -> None:
        """Remove the calls of a trace, after which the conversation has gone on."""
        async with self._database.session() as session:
            await session.execute(delete(TABLE).where(TABLE.c.trace_id == trace_id))
