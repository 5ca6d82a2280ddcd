"""The rows of proposals: what their events in Git come to. `llmos reindex` makes them anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, Table, and_, delete, desc, func, or_, select

from llmos_lite.engines.database import Database
from llmos_lite.records.cursor import Rows, decode_cursor, encode_cursor
from llmos_lite.records.tables import ProposalRow

CHUNK = 500
"""Ids in one statement."""


class ProposalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed change; `state` is `open`, `merged` or `closed`, times are ms since the epoch; see `ProposalRow`.

    `review` is empty, `approved` or `changes_requested`; `commit` is what it was merged as, `decision` why it was
    closed, `comments` and `events` are numbers.
    """

    proposal_id: str
    target: str
    source: str
    skill_id: str
    branch: str
    author: str
    reason: str
    state: str = "open"
    created: int
    decided: int = 0
    decided_by: str = ""
    decision: str = ""
    commit: str = ""
    head: str = ""
    digest: str = ""
    review: str = ""
    comments: int = 0
    events: int = 0
    updated: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which proposals a list shows.

    Args:
        seen: to these volumes; None means all.
        own: or by this person to one of `own_targets`.
        own_targets: see `own`.
        state: in this state; empty means any.
        target: to this volume only.
        author: by this person only.
    """

    seen: Sequence[str] | None = None
    own: str = ""
    own_targets: Sequence[str] = ()
    state: str = ""
    target: str = ""
    author: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return these as conditions of a query."""
        own = and_(TABLE.c.author == self.own, TABLE.c.target.in_(self.own_targets))
        found = [] if self.seen is None else [or_(TABLE.c.target.in_(self.seen), own)]
        given = (("state", self.state), ("target", self.target), ("author", self.author))
        return [*found, *(TABLE.c[name] == value for name, value in given if value)]


TABLE: Table = ProposalRow.metadata.tables[ProposalRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in ProposalRecord.__struct_fields__]


class ProposalRows:
    """Reads and writes the rows of proposals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, proposal: ProposalRecord) -> None:
        """Insert or update one proposal; a row that knows of more events stays as it is."""
        known = select(TABLE.c.events).where(TABLE.c.proposal_id == proposal.proposal_id).with_for_update()
        async with self._database.session() as session:
            events = (await session.execute(known)).scalar_one_or_none()
            if events is None or events <= proposal.events:
                statement = self._database.upsert(TABLE, ["proposal_id"])
                await session.execute(statement, [msgspec.structs.asdict(proposal)])

    async def rebuild(self, proposals: Sequence[ProposalRecord]) -> None:
        """Make rows what Git says, whatever they say now."""
        statement = self._database.upsert(TABLE, ["proposal_id"])
        for start in range(0, len(proposals), CHUNK):
            async with self._database.session() as session:
                await session.execute(
                    statement, [msgspec.structs.asdict(one) for one in proposals[start : start + CHUNK]]
                )

    async def get(self, proposal_id: str) -> ProposalRecord | None:
        """Return one proposal."""
        async with self._database.reader() as session:
            row = (await session.execute(select(*COLUMNS).where(TABLE.c.proposal_id == proposal_id))).first()
        return ProposalRecord(**row._asdict()) if row else None

    async def open_on(self, target: str, branch: str) -> ProposalRecord | None:
        """Return the open proposal that a branch of a volume belongs to."""
        query = select(*COLUMNS).where(TABLE.c.target == target, TABLE.c.branch == branch, TABLE.c.state == "open")
        async with self._database.reader() as session:
            row = (await session.execute(query.order_by(desc(TABLE.c.proposal_id)))).first()
        return ProposalRecord(**row._asdict()) if row else None

    async def ids(self, target: str) -> set[str]:
        """Return the ids of all proposals to a volume."""
        async with self._database.reader() as session:
            return set((await session.execute(select(TABLE.c.proposal_id).where(TABLE.c.target == target))).scalars())

    async def targets(self) -> set[str]:
        """Return every volume that something was proposed to."""
        async with self._database.reader() as session:
            return set((await session.execute(select(TABLE.c.target).distinct())).scalars())

    async def remove(self, proposal_ids: Collection[str]) -> None:
        """Remove rows that Git knows nothing of."""
        ids = sorted(proposal_ids)
        for start in range(0, len(ids), CHUNK):
            async with self._database.session() as session:
                await session.execute(delete(TABLE).where(TABLE.c.proposal_id.in_(ids[start : start + CHUNK])))

    async def page(self, wanted: Wanted, *, limit: int, cursor: str = "") -> Rows[ProposalRecord]:
        """Return proposals, newest first.

        Args:
            wanted: which.
            limit: most rows.
            cursor: of the page before, or empty.

        Raises:
            Invalid: `cursor.invalid`.
        """
        conditions = wanted.conditions()
        after = [TABLE.c.proposal_id < decode_cursor(cursor, str)[0]] if cursor else []
        query = select(*COLUMNS).where(*conditions, *after).order_by(desc(TABLE.c.proposal_id)).limit(limit + 1)
        async with self._database.reader() as session:
            rows = (await session.execute(query)).all()
            counting = select(func.count()).select_from(TABLE).where(*conditions)
            total = (await session.execute(counting)).scalar_one()
        items = [ProposalRecord(**row._asdict()) for row in rows[:limit]]
        return Rows(items, encode_cursor(items[-1].proposal_id) if len(rows) > limit else None, total)
