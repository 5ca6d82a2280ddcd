"""The rows of remotes: the only copy, so nothing here is ever rebuilt."""

from __future__ import annotations

import msgspec
from sqlalchemy import Table, delete, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.tables import RemoteRow


class RemoteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A remote as stored; times are ms since the epoch, 0 for never; see `RemoteRow`."""

    remote_id: str
    volume: str
    name: str
    url: str
    branch: str = "main"
    traces: bool = False
    direction: str = "push"
    timing: str = "commit"
    cron: str = ""
    trust: bool = False
    active: bool = True
    credential: str = ""
    username: str = ""
    secret: str = ""
    public_key: str = ""
    created: int
    created_by: str
    removed: int = 0
    state: str = "new"
    problem: str = ""
    ahead: int = 0
    behind: int = 0
    tried: int = 0
    succeeded: int = 0
    failures: int = 0
    next_try: int = 0
    head: str = ""
    theirs: str = ""
    proposed: str = ""
    sent: str = "{}"
    erasing: int = 0

    def __repr__(self) -> str:
        return f"RemoteRecord({self.volume} {self.name})"


TABLE: Table = RemoteRow.metadata.tables[RemoteRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in RemoteRecord.__struct_fields__]


class RemoteRows:
    """Reads and writes the rows of remotes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[RemoteRecord]:
        """Return every remote, removed ones too, in order of volume and name."""
        async with self._database.reader() as session:
            rows = (await session.execute(select(*COLUMNS).order_by(TABLE.c.volume, TABLE.c.name))).all()
        return [RemoteRecord(**row._asdict()) for row in rows]

    async def get(self, remote_id: str) -> RemoteRecord | None:
        """Return one remote."""
        async with self._database.reader() as session:
            row = (await session.execute(select(*COLUMNS).where(TABLE.c.remote_id == remote_id))).first()
        return RemoteRecord(**row._asdict()) if row else None

    async def put(self, record: RemoteRecord) -> None:
        """Insert or replace one remote."""
        async with self._database.session() as session:
            statement = self._database.upsert(TABLE, ["remote_id"])
            await session.execute(statement, [msgspec.structs.asdict(record)])

    async def change(self, remote_id: str, **values: str | int | bool) -> RemoteRecord | None:
        """Set columns of one remote and return it; None when it is gone."""
        statement = update(TABLE).where(TABLE.c.remote_id == remote_id).values(**values).returning(*COLUMNS)
        async with self._database.session() as session:
            row = (await session.execute(statement)).first()
        return RemoteRecord(**row._asdict()) if row else None

    async def delete(self, remote_id: str) -> None:
        """Remove one remote."""
        async with self._database.session() as session:
            await session.execute(delete(TABLE).where(TABLE.c.remote_id == remote_id))
