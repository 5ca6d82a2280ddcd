"""The rows of responses that models' servers make in the background: who may ask for one, and where it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from sqlalchemy import Table, delete, insert, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.catalog_traces import chunks
from llmos_lite.records.tables import BackgroundResponseRow

KEPT_MS = 30 * 24 * 3600 * 1000
"""For how long a response can be asked for: as long as OpenAI keeps it."""
MOST = 20_000
"""Responses that are known at a time, some 4 MB; the oldest go first."""


class BackgroundResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response that is made behind its request; see `BackgroundResponseRow`."""

    key: str
    server: str
    model: str
    team: str
    trace_id: str
    began: int
    ended: bool = False


TABLE: Table = BackgroundResponseRow.metadata.tables[BackgroundResponseRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in BackgroundResponse.__struct_fields__]


def key_of(user_id: str, response_id: str, *, own_key: bool = False) -> str:
    """Return what a row is found by: a row names nobody, and whoever asks for somebody else's finds none.

    Args:
        user_id: whose it is.
        response_id: how the provider names it.
        own_key: whether it is made with a key of theirs, and not of the instance.
    """
    whole = f"{user_id}\0{response_id}\0own" if own_key else f"{user_id}\0{response_id}"
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


class BackgroundRows:
    """Reads and writes the rows; each write is durable when it returns.

    Args:
        database: of all rows.
        most: rows that are kept.
    """

    def __init__(self, database: Database, most: int = MOST) -> None:
        self._database, self._most = database, most

    async def add(self, row: BackgroundResponse) -> None:
        """Keep a response, and let go of those that are too old or too many."""
        newest = select(TABLE.c.began).order_by(TABLE.c.began.desc()).offset(self._most).limit(1)
        async with self._database.session() as session:
            await session.execute(delete(TABLE).where(TABLE.c.key == row.key))
            await session.execute(insert(TABLE).values(msgspec.structs.asdict(row)))
            last = (await session.execute(newest)).scalar() or 0
            await session.execute(delete(TABLE).where(TABLE.c.began <= max(last, row.began - KEPT_MS)))

    async def get(self, key: str) -> BackgroundResponse | None:
        """Return a response; None for one that is not known."""
        async with self._database.reader() as session:
            row = (await session.execute(select(*COLUMNS).where(TABLE.c.key == key))).one_or_none()
        return None if row is None else BackgroundResponse(**row._asdict())

    async def end(self, key: str) -> None:
        """Note that the end of a response is counted and recorded."""
        async with self._database.session() as session:
            await session.execute(update(TABLE).where(TABLE.c.key == key).values(ended=True))

    async def remove(self, key: str) -> None:
        """Remove a response."""
        async with self._database.session() as session:
            await session.execute(delete(TABLE).where(TABLE.c.key == key))

    async def forget(self, trace_ids: Sequence[str]) -> None:
        """Remove the responses of traces."""
        async with self._database.session() as session:
            for chunk in chunks(trace_ids):
                await session.execute(delete(TABLE).where(TABLE.c.trace_id.in_(chunk)))
