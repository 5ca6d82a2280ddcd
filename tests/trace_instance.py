"""The real lower layers under a log of traces, on one data folder, and traces to record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.redaction import Redactor
from llmos_lite.core.traces.trace import Message, Trace, make_ulid
from llmos_lite.engines.database import Database
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.engines.signing import Signer
from llmos_lite.observability import Metrics
from llmos_lite.records import schema
from llmos_lite.records.catalog import Catalog
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager

NOV = 1_793_500_000_000
"""2026-11-01, in the first hour."""
ALICE, BOB, EVE = (Actor(name, teams={"sre": Role.USER} if name != "eve" else {}) for name in ("alice", "bob", "eve"))
ADMIN = Actor("admin", Role.SYSTEM_ADMIN, scopes=EVERYTHING)
SRE = VolumeRef.team("sre")


class Instance:
    """The real lower layers on one data folder, and a log on top of them."""

    def __init__(self, data: Path, redactor: Redactor | None = None) -> None:
        self.data = data
        self.volumes = VolumeManager(data, Signer.open(data / "keys"))
        self.database = Database(f"sqlite+aiosqlite:///{data / 'rows.db'}")
        self.catalog = Catalog(self.database)
        self.journal = LocalJournal(data / "journal")
        self.metrics = Metrics()
        self.log = TraceLog(self.volumes, self.journal, self.catalog, redactor=redactor, metrics=self.metrics)

    @classmethod
    @asynccontextmanager
    async def opened(cls, data: Path, redactor: Redactor | None = None) -> AsyncIterator[Self]:
        """Open an instance; closing it folds nothing, as a crash does."""
        instance = cls(data, redactor)
        await schema.prepare(instance.database)
        try:
            yield instance
        finally:
            await instance.close()

    async def close(self) -> None:
        self.journal.close()
        await self.database.close()
        self.volumes.close()


def trace(number: int, actor: str = "alice", **given: object) -> Trace:
    at = NOV + number * 60_000
    values: dict[str, object] = {
        "id": make_ulid(at, f"{actor}-{number}"),
        "actor": actor,
        "volume": f"user:{actor}",
        "conversation": f"{actor}-c{number}",
        "time": at,
        "goal": f"Goal {number}",
        "messages": (Message("user", f"Goal {number}"), Message("assistant", f"Answer {number}")),
        "model": "offline",
    }
    return Trace(**values | given)  # type: ignore[arg-type]  # the caller knows the fields
