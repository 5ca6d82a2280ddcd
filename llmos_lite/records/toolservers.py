"""The rows of tool servers: the only copy, so nothing here is ever rebuilt."""

from __future__ import annotations

import msgspec
from sqlalchemy import Table, delete, select

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import ToolServerRow


class ToolServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A tool server as stored: what is said of it as JSON, and its secrets, sealed; times are ms since the epoch.

    `secret` are its headers, `client` is the secret of the client that signs in to it.
    """

    name: str
    document: str
    secret: str = ""
    client: str = ""
    changed: int = 0
    changed_by: str = ""

    def __repr__(self) -> str:
        return f"ToolServerRecord({self.name})"


TABLE: Table = ToolServerRow.metadata.tables[ToolServerRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in ToolServerRecord.__struct_fields__]


class ToolServerRows:
    """Reads and writes the rows of tool servers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[ToolServerRecord]:
        """Return every tool server, by name."""
        async with self._database.reader() as session:
            rows = (await session.execute(select(*COLUMNS).order_by(TABLE.c.name))).all()
        return [ToolServerRecord(**row._asdict()) for row in rows]

    async def put(self, record: ToolServerRecord) -> None:
        """Insert or replace one tool server."""
        async with self._database.session() as session:
            await session.execute(self._database.upsert(TABLE, ["name"]), [msgspec.structs.asdict(record)])

    async def delete(self, name: str) -> None:
        """Remove one tool server."""
        async with self._database.session() as session:
            await session.execute(delete(TABLE).where(TABLE.c.name == name))
