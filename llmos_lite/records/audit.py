"""The rows of the audit log: appended in one order, read in pages; nothing changes or removes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, Table, desc, func, or_, select

from llmos_lite.engines.database import Database
from llmos_lite.records.cursor import Rows, decode_cursor, encode_cursor
from llmos_lite.records.tables import AuditRow


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row; `time` is in ms since the epoch, `detail` a JSON object of strings; see `AuditRow`."""

    seq: int
    time: int
    actor: str
    owner: str
    credential: str
    client: str
    request_id: str
    action: str
    target: str
    about: str
    result: str
    code: str
    detail: str
    prev: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows; empty parts let everything through.

    Args:
        actor: who acted, or whose key.
        action: begins with this, as in `key.`.
        target: begins with this, as in `team:sre`.
        result: `ok`, `refused` or `failed`.
        after: not before this time, in ms since the epoch.
        before: before this time.
        seen_by: only what this person did, or what concerns the person's volume ...
        seen_about: ... or one of these volumes; None, with `seen_by` None, is everything.
    """

    actor: str = ""
    action: str = ""
    target: str = ""
    result: str = ""
    after: int = 0
    before: int = 0
    seen_by: str | None = None
    seen_about: Sequence[str] = ()


TABLE: Table = AuditRow.metadata.tables[AuditRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in AuditRecord.__struct_fields__]
LAST = "\U0010ffff"


class AuditRows:
    """Appends and reads the rows of the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, make: Callable[[int, str], Sequence[AuditRecord]]) -> Sequence[AuditRecord]:
        """Append rows in one durable transaction.

        Args:
            make: gets number and hash of the last row (0 and nothing at first) and returns the rows that follow.

        Raises:
            StorageFailed: the disk is full, read-only or broken.
        """
        async with self._database.session() as session:
            last = (
                await session.execute(select(TABLE.c.seq, TABLE.c.hash).order_by(desc(TABLE.c.seq)).limit(1))
            ).first()
            made = make(*(last or (0, "")))
            await session.execute(TABLE.insert(), [msgspec.structs.asdict(record) for record in made])
        return made

    async def head(self) -> AuditRecord | None:
        """Return the last row."""
        async with self._database.reader() as session:
            row = (await session.execute(select(*COLUMNS).order_by(desc(TABLE.c.seq)).limit(1))).first()
        return AuditRecord(**row._asdict()) if row else None

    async def following(self, seq: int, wanted: AuditFilter | None = None, *, limit: int) -> list[AuditRecord]:
        """Return rows after a number, oldest first."""
        query = select(*COLUMNS).where(TABLE.c.seq > seq, *_conditions(wanted or AuditFilter()))
        async with self._database.reader() as session:
            rows = (await session.execute(query.order_by(TABLE.c.seq).limit(limit))).all()
        return [AuditRecord(**row._asdict()) for row in rows]

    async def page(self, wanted: AuditFilter, *, limit: int, cursor: str) -> Rows[AuditRecord]:
        """Return rows, newest first.

        Raises:
            Invalid: `cursor.invalid`.
        """
        conditions = _conditions(wanted)
        after = [TABLE.c.seq < decode_cursor(cursor, int)[0]] if cursor else []
        query = select(*COLUMNS).where(*conditions, *after).order_by(desc(TABLE.c.seq)).limit(limit + 1)
        async with self._database.reader() as session:
            rows = (await session.execute(query)).all()
            total = (await session.execute(select(func.count()).select_from(TABLE).where(*conditions))).scalar_one()
        items = [AuditRecord(**row._asdict()) for row in rows[:limit]]
        return Rows(items, encode_cursor(items[-1].seq) if len(rows) > limit else None, total)


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.actor:
        found.append(or_(TABLE.c.actor == wanted.actor, TABLE.c.owner == wanted.actor))
    for column, text in ((TABLE.c.action, wanted.action), (TABLE.c.target, wanted.target)):
        if text:
            found += [column >= text, column < text + LAST]
    if wanted.result:
        found.append(TABLE.c.result == wanted.result)
    if wanted.after:
        found.append(TABLE.c.time >= wanted.after)
    if wanted.before:
        found.append(TABLE.c.time < wanted.before)
    if wanted.seen_by is not None:
        own = [TABLE.c.actor == wanted.seen_by, TABLE.c.owner == wanted.seen_by]
        found.append(or_(*own, TABLE.c.about.in_([f"user:{wanted.seen_by}", *wanted.seen_about])))
    return found
