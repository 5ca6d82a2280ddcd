"""Rows of example requests: what a model wrote once for each text of a skill."""

from __future__ import annotations

import json
from collections.abc import Collection

import msgspec
from sqlalchemy import Table, delete, select

from llmos_lite.engines.database import Database
from llmos_lite.records.catalog_traces import chunks
from llmos_lite.records.tables import SkillExampleRow


class ExampleRecord(msgspec.Struct, frozen=True):
    """Requests (a JSON list of text) for a text of a skill; see `SkillExampleRow`."""

    digest: str
    requests: str = "[]"
    model: str = ""
    tries: int = 1
    time: int = 0

    @property
    def texts(self) -> list[str]:
        """Return the requests."""
        found: list[str] = json.loads(self.requests)
        return found


TABLE: Table = SkillExampleRow.metadata.tables[SkillExampleRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in ExampleRecord.__struct_fields__]


class ExampleRows:
    """Reads and writes the rows of example requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, record: ExampleRecord) -> None:
        """Insert or update one row."""
        async with self._database.session() as session:
            await session.execute(self._database.upsert(TABLE, ["digest"]), [msgspec.structs.asdict(record)])

    async def all(self) -> dict[str, ExampleRecord]:
        """Return every row, by digest."""
        async with self._database.reader() as session:
            rows = [ExampleRecord(*row) for row in await session.execute(select(*COLUMNS))]
        return {row.digest: row for row in rows}

    async def remove(self, digests: Collection[str]) -> None:
        """Remove rows."""
        for chunk in chunks(sorted(digests)):
            async with self._database.session() as session:
                await session.execute(delete(TABLE).where(TABLE.c.digest.in_(chunk)))
