"""Rows of traces as the search by use needs them: those of which somebody said what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import desc, select

from llmos_lite.engines.database import Database
from llmos_lite.records.catalog_traces import TRACES, chunks

JUDGED = ("success", "failure")


class UseRecord(msgspec.Struct, frozen=True, gc=False):
    """What was asked with which skills (JSON), and what came of it; see `TraceRow`."""

    trace_id: str
    volume: str
    parent: str
    time: int
    goal: str
    outcome: str
    skills_used: str


COLUMNS = [TRACES.c[name] for name in UseRecord.__struct_fields__]


class UseRows:
    """Reads the rows of traces in which skills were used, and that are judged."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, volume: str, limit: int) -> list[UseRecord]:
        """Return a volume's newest successes and its newest failures, `limit` of each at most."""
        found: list[UseRecord] = []
        async with self._database.reader() as session:
            for outcome in JUDGED:
                here = TRACES.c.volume == volume, TRACES.c.outcome == outcome, TRACES.c.skills_used != "[]"
                query = select(*COLUMNS).where(*here).order_by(desc(TRACES.c.trace_id)).limit(limit)
                found += [UseRecord(*row) for row in await session.execute(query)]
        return found

    async def of(self, trace_ids: Sequence[str]) -> list[UseRecord]:
        """Return those of the traces that count."""
        found: list[UseRecord] = []
        async with self._database.reader() as session:
            for chunk in chunks(trace_ids):
                here = TRACES.c.trace_id.in_(chunk), TRACES.c.outcome.in_(JUDGED), TRACES.c.skills_used != "[]"
                found += [UseRecord(*row) for row in await session.execute(select(*COLUMNS).where(*here))]
        return found
