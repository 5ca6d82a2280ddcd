"""Rows of traces: where each lies, and what lists and filters need of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import ColumnElement, Table, bindparam, delete, desc, func, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.cursor import Rows, decode_cursor, encode_cursor
from llmos_lite.records.tables import TraceEventRow, TraceRow, TraceSkillRow

T = TypeVar("T")

BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's digits, which ULIDs are written in."""
CHUNK = 500
"""Rows written in one transaction, and ids asked for in one query."""

ARCHIVED = "archived"
"""Stands for the blob of a line that lies in an archive, and not in Git any more."""


class Location(msgspec.Struct, frozen=True, gc=False):
    """Where a line lies in Git: the segment's blob, and bytes in it; an empty `blob` means: in the journal."""

    branch: str = ""
    blob: str = ""
    offset: int = 0
    length: int = 0


class TraceRecord(msgspec.Struct, frozen=True, gc=False):
    """What lists and filters need of a trace; see `TraceRow`."""

    trace_id: str
    volume: str
    actor: str
    conversation: str
    parent: str
    time: int
    goal: str
    model: str
    source: str
    ended: str
    outcome: str
    rating: str = ""
    skills_used: str = "[]"
    branch: str = ""
    blob: str = ""
    offset: int = 0
    length: int = 0
    text: str = ""
    """What the text filter searches; empty in a row that was read."""

    @property
    def location(self) -> Location:
        """Return where the trace's line lies."""
        return Location(self.branch, self.blob, self.offset, self.length)


class TraceSkillRecord(msgspec.Struct, frozen=True, gc=False):
    """A skill version that was used in a trace."""

    trace_id: str
    volume: str
    skill_id: str
    version: str


class EventRecord(msgspec.Struct, frozen=True, gc=False):
    """Where an event lies that came after its trace; see `TraceEventRow`."""

    event_id: str
    trace_id: str
    volume: str
    kind: str
    at: int
    branch: str = ""
    blob: str = ""
    offset: int = 0
    length: int = 0

    @property
    def location(self) -> Location:
        """Return where the event's line lies."""
        return Location(self.branch, self.blob, self.offset, self.length)


class TurnRecord(msgspec.Struct, frozen=True, gc=False):
    """What the listing of conversations needs of one turn."""

    trace_id: str
    conversation: str
    actor: str
    time: int
    goal: str
    source: str
    ended: str
    outcome: str


class TraceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of traces is narrowed to; None does not narrow.

    `after` and `before` are times in milliseconds (from `after` on, up to and without `before`); `skill` is the id of
    a skill that was used; `text` stands anywhere in goal or messages, whatever its case.
    """

    volumes: tuple[str, ...] | None = None
    actor: str | None = None
    after: int | None = None
    before: int | None = None
    skill: str | None = None
    outcome: str | None = None
    text: str | None = None
    conversation: str | None = None


TRACES: Table = TraceRow.metadata.tables[TraceRow.__tablename__]
SKILLS: Table = TraceSkillRow.metadata.tables[TraceSkillRow.__tablename__]
EVENTS: Table = TraceEventRow.metadata.tables[TraceEventRow.__tablename__]
COLUMNS = [TRACES.c[name] for name in TraceRecord.__struct_fields__ if name != "text"]
EVENT_COLUMNS = [EVENTS.c[name] for name in EventRecord.__struct_fields__]
TURN_COLUMNS = [TRACES.c[name] for name in TurnRecord.__struct_fields__]


class TraceRows:
    """Reads and writes the rows of traces and of the events that came after them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        columns = TraceRecord.__struct_fields__
        self._put = database.bulk(database.upsert(TRACES, ["trace_id"], keep=["outcome", "rating"]), columns)
        self._replace = database.bulk(database.upsert(TRACES, ["trace_id"]), columns)
        self._put_skill = database.bulk(
            database.upsert(SKILLS, ["trace_id", "volume", "skill_id"]), TraceSkillRecord.__struct_fields__
        )
        self._put_event = database.bulk(database.upsert(EVENTS, ["event_id"]), EventRecord.__struct_fields__)
        self._set_outcome = (
            update(TRACES)
            .where(TRACES.c.trace_id == bindparam("key"))
            .values(outcome=bindparam("new_outcome"), rating=bindparam("new_rating"))
        )

    async def put(self, traces: Sequence[TraceRecord], skills: Sequence[TraceSkillRecord] = ()) -> None:
        """Insert or update rows of traces, and of the skills used in them.

        A row that is there keeps its outcome and rating: `set_outcomes` changes those, since later events decide them.
        """
        for chunk, used in _with_skills(traces, skills):
            async with self._database.session() as session:
                await self._put.execute(session, [*map(msgspec.structs.astuple, chunk)])
                if used:
                    await self._put_skill.execute(session, [*map(msgspec.structs.astuple, used)])

    async def put_events(self, events: Sequence[EventRecord]) -> None:
        """Insert or update rows of events that came after their trace."""
        for chunk in chunks(events):
            async with self._database.session() as session:
                await self._put_event.execute(session, [*map(msgspec.structs.astuple, chunk)])

    async def set_outcomes(self, outcomes: Sequence[tuple[str, str, str]]) -> None:
        """Set outcome and rating of traces, given as (trace id, outcome, rating)."""
        for chunk in chunks(outcomes):
            rows = [{"key": key, "new_outcome": outcome, "new_rating": rating} for key, outcome, rating in chunk]
            async with self._database.session() as session:
                connection = await session.connection()
                await connection.execute(self._set_outcome, rows)

    async def get(self, trace_id: str) -> TraceRecord | None:
        """Return one row."""
        return (await self.many([trace_id])).get(trace_id)

    async def many(self, trace_ids: Sequence[str]) -> dict[str, TraceRecord]:
        """Return the rows of traces, by id; unknown ids are left out."""
        found: dict[str, TraceRecord] = {}
        async with self._database.reader() as session:
            for chunk in chunks(trace_ids):
                rows = await session.execute(select(*COLUMNS).where(TRACES.c.trace_id.in_(chunk)))
                found.update((row.trace_id, TraceRecord(*row)) for row in rows)
        return found

    async def known(self, trace_ids: Sequence[str], *, in_git: bool = True) -> set[str]:
        """Return those of the ids that have a row: one which lies in Git, unless any will do."""
        found: set[str] = set()
        async with self._database.reader() as session:
            for chunk in chunks(trace_ids):
                query = select(TRACES.c.trace_id).where(TRACES.c.trace_id.in_(chunk))
                query = query.where(TRACES.c.blob != "") if in_git else query
                found.update((await session.execute(query)).scalars())
        return found

    async def events(self, trace_ids: Sequence[str]) -> list[EventRecord]:
        """Return the rows of the events that came after these traces, in order of time."""
        found: list[EventRecord] = []
        async with self._database.reader() as session:
            for chunk in chunks(trace_ids):
                rows = await session.execute(select(*EVENT_COLUMNS).where(EVENTS.c.trace_id.in_(chunk)))
                found += [EventRecord(*row) for row in rows]
        return sorted(found, key=lambda row: (row.at, row.event_id))

    async def page(
        self, filters: TraceFilter, *, limit: int = 50, cursor: str | None = None, count: bool = True
    ) -> Rows[TraceRecord]:
        """Return traces, newest first.

        Args:
            filters: what to narrow to.
            limit: most rows.
            cursor: of the page before.
            count: count all rows that pass the filters; otherwise `total` is 0.

        Raises:
            Invalid: `cursor.invalid`.
        """
        conditions = _conditions(filters)
        after = [TRACES.c.trace_id < decode_cursor(cursor, str)[0]] if cursor else []
        query = select(*COLUMNS).where(*conditions, *after).order_by(desc(TRACES.c.trace_id)).limit(limit + 1)
        async with self._database.reader() as session:
            rows = (await session.execute(query)).all()
            counting = select(func.count()).select_from(TRACES).where(*conditions)
            total = (await session.execute(counting)).scalar_one() if count else 0
        items = [TraceRecord(*row) for row in rows[:limit]]
        return Rows(items, encode_cursor(items[-1].trace_id) if len(rows) > limit else None, total)

    async def conversation(self, volume: str, conversation: str) -> list[TraceRecord]:
        """Return the turns of a conversation, in order."""
        query = select(*COLUMNS).where(TRACES.c.volume == volume, TRACES.c.conversation == conversation)
        async with self._database.reader() as session:
            return [TraceRecord(*row) for row in await session.execute(query.order_by(TRACES.c.trace_id))]

    async def turns(self, volume: str) -> AsyncIterator[TurnRecord]:
        """Yield what a listing of conversations needs of every trace of a volume, in order of time."""
        query = select(*TURN_COLUMNS).where(TRACES.c.volume == volume).order_by(TRACES.c.trace_id)
        async with self._database.reader() as session:
            async for row in await session.stream(query.execution_options(yield_per=2000)):
                yield TurnRecord(*row)

    async def volumes(self) -> list[str]:
        """Return the volumes that have rows."""
        async with self._database.reader() as session:
            return list((await session.execute(select(TRACES.c.volume).distinct().order_by(TRACES.c.volume))).scalars())

    async def rebuild(self, traces: Sequence[TraceRecord], skills: Sequence[TraceSkillRecord]) -> None:
        """Make rows what Git says, whatever they were: outcome and rating, and the skills used, too."""
        for chunk, used in _with_skills(traces, skills):
            async with self._database.session() as session:
                await self._replace.execute(session, [*map(msgspec.structs.astuple, chunk)])
                ids = [row.trace_id for row in chunk]
                await session.execute(delete(SKILLS).where(SKILLS.c.trace_id.in_(ids)))
                if used:
                    await self._put_skill.execute(session, [*map(msgspec.structs.astuple, used)])

    async def folded(self, volume: str) -> tuple[set[str], set[str]]:
        """Return the ids of all traces, and of all later events, whose rows say that they lie in Git."""
        elsewhere = ("", ARCHIVED)
        queries = (
            select(TRACES.c.trace_id).where(TRACES.c.volume == volume, TRACES.c.blob.not_in(elsewhere)),
            select(EVENTS.c.event_id).where(EVENTS.c.volume == volume, EVENTS.c.blob.not_in(elsewhere)),
        )
        async with self._database.reader() as session:
            traces, events = [set((await session.execute(query)).scalars()) for query in queries]
        return traces, events

    async def remove(self, trace_ids: Sequence[str], event_ids: Sequence[str] = ()) -> None:
        """Remove rows of traces with the skills used in them, and of later events."""
        for column, ids in ((TRACES.c.trace_id, trace_ids), (EVENTS.c.event_id, event_ids)):
            for chunk in chunks(ids):
                async with self._database.session() as session:
                    await session.execute(delete(column.table).where(column.in_(chunk)))


def _with_skills(
    traces: Sequence[TraceRecord], skills: Sequence[TraceSkillRecord]
) -> Iterator[tuple[Sequence[TraceRecord], list[TraceSkillRecord]]]:
    """Cut rows of traces into pieces, each with the rows of its skills: one transaction takes both."""
    used: dict[str, list[TraceSkillRecord]] = {}
    for skill in skills:
        used.setdefault(skill.trace_id, []).append(skill)
    for chunk in chunks(traces):
        yield chunk, [skill for row in chunk for skill in used.get(row.trace_id, ())]


def _conditions(filters: TraceFilter) -> list[ColumnElement[bool]]:
    equal = {"actor": filters.actor, "outcome": filters.outcome, "conversation": filters.conversation}
    conditions = [TRACES.c[name] == value for name, value in equal.items() if value is not None]
    if filters.volumes is not None:
        one = len(filters.volumes) == 1
        conditions.append(TRACES.c.volume == filters.volumes[0] if one else TRACES.c.volume.in_(filters.volumes))
    # an id begins with its time, so the index on ids finds a span of time
    if filters.after is not None:
        conditions.append(TRACES.c.trace_id >= first_id(filters.after))
    if filters.before is not None:
        conditions.append(TRACES.c.trace_id < first_id(filters.before))
    if filters.skill is not None:
        conditions.append(TRACES.c.trace_id.in_(select(SKILLS.c.trace_id).where(SKILLS.c.skill_id == filters.skill)))
    if filters.text:
        conditions.append(TRACES.c.text.contains(filters.text.lower(), autoescape=True))
    return conditions


def first_id(at: int) -> str:
    """Return the smallest ULID of a time (milliseconds)."""
    at = max(0, min(at, (1 << 48) - 1))
    return "".join(BASE32[at >> shift & 31] for shift in range(45, -1, -5)) + "0" * 16


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces of at most `CHUNK`."""
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
