"""The rows of proposals; the branch `pr/<user>/<skill>` of the target holds what is proposed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Table, desc, func, or_, select, update

from llmos_lite.engines.database import Database
from llmos_lite.records.cursor import Rows, decode_cursor, encode_cursor
from llmos_lite.records.tables import ProposalRow


class ProposalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed change; `state` is `open`, `merged` or `closed`, times are ms since the epoch; see `ProposalRow`."""

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


TABLE: Table = ProposalRow.metadata.tables[ProposalRow.__tablename__]
COLUMNS = [TABLE.c[name] for name in ProposalRecord.__struct_fields__]


class ProposalRows:
    """Reads and writes the rows of proposals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, proposal: ProposalRecord) -> None:
        """Insert or update one proposal."""
        async with self._database.session() as session:
            statement = self._database.upsert(TABLE, ["proposal_id"])
            await session.execute(statement, [msgspec.structs.asdict(proposal)])

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

    async def decide(self, proposal_id: str, state: str, *, at: int, by: str) -> bool:
        """Turn an open proposal into a merged or closed one; False when it was not open."""
        statement = update(TABLE).where(TABLE.c.proposal_id == proposal_id, TABLE.c.state == "open")
        changes = statement.values(state=state, decided=at, decided_by=by).returning(TABLE.c.proposal_id)
        async with self._database.session() as session:
            return (await session.execute(changes)).first() is not None

    async def page(
        self, targets: Sequence[str] | None, author: str, *, state: str, limit: int, cursor: str
    ) -> Rows[ProposalRecord]:
        """Return proposals, newest first.

        Args:
            targets: to these volumes, or by `author`; None means all.
            author: see `targets`.
            state: in this state; empty means any.
            limit: most rows.
            cursor: of the page before, or empty.

        Raises:
            Invalid: `cursor.invalid`.
        """
        conditions = [] if targets is None else [or_(TABLE.c.target.in_(targets), TABLE.c.author == author)]
        conditions += [TABLE.c.state == state] if state else []
        after = [TABLE.c.proposal_id < decode_cursor(cursor, str)[0]] if cursor else []
        query = select(*COLUMNS).where(*conditions, *after).order_by(desc(TABLE.c.proposal_id)).limit(limit + 1)
        async with self._database.reader() as session:
            rows = (await session.execute(query)).all()
            counting = select(func.count()).select_from(TABLE).where(*conditions)
            total = (await session.execute(counting)).scalar_one()
        items = [ProposalRecord(**row._asdict()) for row in rows[:limit]]
        return Rows(items, encode_cursor(items[-1].proposal_id) if len(rows) > limit else None, total)
