"""Rows of what admins set and call by a name: the only copy, so nothing here is ever rebuilt."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec
from sqlalchemy import delete, select

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import Table


class NamedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of it as JSON, and its secret, sealed; times are ms since the epoch."""

    name: str
    document: str
    secret: str = ""
    changed: int = 0
    changed_by: str = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"


R = TypeVar("R", bound=NamedRecord)


class NamedRows(Generic[R]):
    """Reads and writes such rows.

    Args:
        database: of all rows.
        row: their table.
        record: what one is read as.
    """

    def __init__(self, database: Database, row: type[Table], record: type[R]) -> None:
        self._database, self._record = database, record
        self._table = row.metadata.tables[row.__tablename__]
        self._columns = [self._table.c[name] for name in record.__struct_fields__]

    async def all(self) -> list[R]:
        """Return every one, by name."""
        async with self._database.reader() as session:
            rows = (await session.execute(select(*self._columns).order_by(self._table.c.name))).all()
        return [self._record(**row._asdict()) for row in rows]

    async def put(self, record: R) -> None:
        """Insert or replace one."""
        async with self._database.session() as session:
            await session.execute(self._database.upsert(self._table, ["name"]), [msgspec.structs.asdict(record)])

    async def delete(self, name: str) -> None:
        """Remove one."""
        async with self._database.session() as session:
            await session.execute(delete(self._table).where(self._table.c.name == name))
