"""An audit log on a database and a system volume of the test's own."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.audit import Audit
from llmos_lite.core.audit.checking import Report
from llmos_lite.core.audit.checkpoints import Checkpoints
from llmos_lite.engines.database import Database
from llmos_lite.records.audit import AuditRecord, AuditRows
from llmos_lite.volumes.manager import VolumeManager

ADMIN = Actor("admin", role=Role.SYSTEM_ADMIN, scopes=EVERYTHING, credential="key:0a1b2c3d", client="192.0.2.7")
ALICE = Actor("alice", teams={"sre": Role.TEAM_ADMIN, "ops": Role.USER}, credential="session", client="192.0.2.8")


@dataclass
class Room:
    """A log, and ways around it."""

    audit: Audit
    rows: AuditRows
    database: Database
    volumes: VolumeManager
    checkpoints: Checkpoints

    async def write(self, count: int) -> None:
        for number in range(count):
            await self.audit.record(ADMIN, "skill.update", f"team:sre/skill-{number}", detail={"version": str(number)})

    async def sql(self, *statements: str) -> None:
        """Do what somebody does who has the database file."""
        for statement in map(text, statements):
            async with self.database.session() as session:
                await session.execute(statement)

    async def break_lock(self) -> None:
        await self.sql("DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete")

    async def verify(self) -> Report:
        return await self.audit.verify(ADMIN)

    async def all(self) -> list[AuditRecord]:
        return await self.rows.following(0, limit=1000)
