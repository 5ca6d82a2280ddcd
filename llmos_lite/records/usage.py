"""The rows of what was used in each month, and of what may be."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import Table, delete, desc, func, select

from llmos_lite.engines.database import Database
from llmos_lite.records.cursor import Rows, decode_cursor, encode_cursor
from llmos_lite.records.tables import BudgetRow, UsageRow


class Used(msgspec.Struct, kw_only=True):
    """What a subject used in a month; see `UsageRow`."""

    subject: str
    month: str
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    micros: int = 0

    @property
    def tokens(self) -> int:
        """Return all tokens."""
        return self.tokens_in + self.tokens_out


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a subject may use where it differs from the settings; see `BudgetRow`."""

    subject: str
    requests: int | None = None
    streams: int | None = None
    tokens: int | None = None
    micros: int | None = None
    changed: int = 0
    changed_by: str = ""


USAGE: Table = UsageRow.metadata.tables[UsageRow.__tablename__]
BUDGETS: Table = BudgetRow.metadata.tables[BudgetRow.__tablename__]
USAGE_COLUMNS = [USAGE.c[name] for name in Used.__struct_fields__]
BUDGET_COLUMNS = [BUDGETS.c[name] for name in Budget.__struct_fields__]


class UsageRows:
    """Reads and writes both."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, used: Collection[Used]) -> None:
        """Write what was used until now, in place of what was written before."""
        if used:
            async with self._database.session() as session:
                statement = self._database.upsert(USAGE, ["subject", "month"])
                await session.execute(statement, [msgspec.structs.asdict(one) for one in used])

    async def get(self, subject: str, month: str) -> Used:
        """Return what a subject used in a month."""
        query = select(*USAGE_COLUMNS).where(USAGE.c.subject == subject, USAGE.c.month == month)
        async with self._database.reader() as session:
            row = (await session.execute(query)).first()
        return Used(**row._asdict()) if row else Used(subject=subject, month=month)

    async def page(self, month: str, *, limit: int, cursor: str) -> Rows[Used]:
        """Return what everybody used in a month, most money and then most tokens first.

        Raises:
            Invalid: `cursor.invalid`.
        """
        skip = int(decode_cursor(cursor, int)[0]) if cursor else 0
        query = select(*USAGE_COLUMNS).where(USAGE.c.month == month)
        tokens = USAGE.c.tokens_in + USAGE.c.tokens_out
        query = (
            query.order_by(desc(USAGE.c.micros), desc(tokens), USAGE.c.subject).offset(max(skip, 0)).limit(limit + 1)
        )
        counting = select(func.count()).select_from(USAGE).where(USAGE.c.month == month)
        async with self._database.reader() as session:
            rows = (await session.execute(query)).all()
            total = (await session.execute(counting)).scalar_one()
        items = [Used(**row._asdict()) for row in rows[:limit]]
        return Rows(items, encode_cursor(skip + limit) if len(rows) > limit else None, total)

    async def budgets(self) -> Sequence[Budget]:
        """Return every budget."""
        async with self._database.reader() as session:
            rows = (await session.execute(select(*BUDGET_COLUMNS).order_by(BUDGETS.c.subject))).all()
        return [Budget(**row._asdict()) for row in rows]

    async def set_budget(self, budget: Budget) -> None:
        """Write a budget in place of the one before."""
        async with self._database.session() as session:
            await session.execute(self._database.upsert(BUDGETS, ["subject"]), [msgspec.structs.asdict(budget)])

    async def drop_budget(self, subject: str) -> None:
        """Remove a budget, if there is one."""
        async with self._database.session() as session:
            await session.execute(delete(BUDGETS).where(BUDGETS.c.subject == subject))
