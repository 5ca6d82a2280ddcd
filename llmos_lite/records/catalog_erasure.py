"""Rows as erasure, retention and archives need them: of one person, of a time, of a month, in every table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, and_, delete, or_, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.allowed_calls import TABLE as ALLOWED
from llmos_lite.records.catalog_runs import COLUMNS as RUN_COLUMNS
from llmos_lite.records.catalog_runs import TABLE as RUNS
from llmos_lite.records.catalog_runs import RunRecord
from llmos_lite.records.catalog_traces import ARCHIVED, BASE32, EVENTS, TRACES, chunks, first_id
from llmos_lite.records.tables import PatternMemberRow

TOMBSTONE = "tombstone"
PAGE = 200

MEMBERS: Table = PatternMemberRow.metadata.tables[PatternMemberRow.__tablename__]


class Copy(NamedTuple):
    """A trace in a volume."""

    volume: str
    trace_id: str


class ErasureRows:
    """Finds and removes rows of traces, wherever they are.

    Args:
        database: of all rows.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_actor(self, actor: str) -> list[Copy]:
        """Return every trace of a person, in whatever volume."""
        query = select(TRACES.c.volume, TRACES.c.trace_id).where(TRACES.c.actor == actor).order_by(TRACES.c.trace_id)
        async with self._database.reader() as session:
            return [Copy(*row) for row in await session.execute(query)]

    async def at(self, volume: str, time: int) -> list[str]:
        """Return the traces of a volume at one millisecond."""
        first = first_id(time)
        last = first[:10] + BASE32[-1] * 16
        query = select(TRACES.c.trace_id).where(TRACES.c.volume == volume, TRACES.c.trace_id.between(first, last))
        async with self._database.reader() as session:
            return list((await session.execute(query)).scalars())

    async def tombstones(self, trace_ids: Sequence[str]) -> set[str]:
        """Return those of the traces that were erased."""
        found: set[str] = set()
        async with self._database.reader() as session:
            for chunk in chunks(trace_ids):
                query = select(EVENTS.c.trace_id).where(EVENTS.c.trace_id.in_(chunk), EVENTS.c.kind == TOMBSTONE)
                found.update((await session.execute(query)).scalars())
        return found

    async def says(self, volume: str, phrase: str) -> bool:
        """Tell whether a trace of a volume says a phrase (lower case) in its first pages."""
        query = select(TRACES.c.trace_id).where(
            TRACES.c.volume == volume, TRACES.c.text.contains(phrase, autoescape=True)
        )
        async with self._database.reader() as session:
            return (await session.execute(query.limit(1))).first() is not None

    async def remove(self, trace_ids: Sequence[str]) -> None:
        """Remove every row about traces but their tombstones."""
        for chunk in chunks(trace_ids):
            async with self._database.session() as session:
                await session.execute(delete(MEMBERS).where(MEMBERS.c.trace_id.in_(chunk)))
                events = EVENTS.c.trace_id.in_(chunk), EVENTS.c.kind != TOMBSTONE
                await session.execute(delete(EVENTS).where(*events))
                await session.execute(delete(ALLOWED).where(ALLOWED.c.trace_id.in_(chunk)))
                await session.execute(delete(TRACES).where(TRACES.c.trace_id.in_(chunk)))

    # By time

    async def before(self, volume: str, time: int) -> list[str]:
        """Return the traces of a volume from before a time (milliseconds)."""
        query = select(TRACES.c.trace_id).where(TRACES.c.volume == volume, TRACES.c.trace_id < first_id(time))
        async with self._database.reader() as session:
            return list((await session.execute(query.order_by(TRACES.c.trace_id))).scalars())

    async def is_any_before(self, volume: str, time: int) -> bool:
        """Tell whether there is a row of a volume from before a time: of a trace, an event about one, a tombstone."""
        queries = (
            select(TRACES.c.trace_id).where(TRACES.c.volume == volume, TRACES.c.trace_id < first_id(time)),
            select(EVENTS.c.event_id).where(EVENTS.c.volume == volume, _old(time)),
        )
        async with self._database.reader() as session:
            for query in queries:
                if (await session.execute(query.limit(1))).first() is not None:
                    return True
        return False

    async def remove_before(self, volume: str, time: int) -> None:
        """Remove every row about traces of a volume from before a time, and tombstones as old."""
        ids = await self.before(volume, time)
        async with self._database.session() as session:
            await session.execute(delete(EVENTS).where(EVENTS.c.volume == volume, _old(time)))
        await self.remove(ids)

    # By month

    async def set_archived(self, volume: str, branch: str) -> None:
        """Say of every line of a month that it lies in an archive."""
        for table in (TRACES, EVENTS):
            here = table.c.volume == volume, table.c.branch == branch, table.c.blob != ""
            async with self._database.session() as session:
                await session.execute(update(table).where(*here).values(blob=ARCHIVED))

    async def archived(self, volume: str, branch: str) -> tuple[set[str], set[str]]:
        """Return the ids of the traces and of the events that a month's archive holds, as the rows say."""
        ids = []
        async with self._database.reader() as session:
            for table, column in ((TRACES, TRACES.c.trace_id), (EVENTS, EVENTS.c.event_id)):
                here = table.c.volume == volume, table.c.branch == branch, table.c.blob == ARCHIVED
                ids.append(set((await session.execute(select(column).where(*here))).scalars()))
        return ids[0], ids[1]

    # The log of long work

    async def runs(self) -> AsyncIterator[RunRecord]:
        """Yield every run, oldest first."""
        after = ""
        while True:
            query = select(*RUN_COLUMNS).where(RUNS.c.run_id > after).order_by(RUNS.c.run_id).limit(PAGE)
            async with self._database.reader() as session:
                rows = [RunRecord(**row._asdict()) for row in await session.execute(query)]
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            after = rows[-1].run_id


def _old(time: int) -> ColumnElement[bool]:
    own = and_(EVENTS.c.kind == TOMBSTONE, EVENTS.c.at < time)
    return or_(own, and_(EVENTS.c.kind != TOMBSTONE, EVENTS.c.trace_id < first_id(time)))
