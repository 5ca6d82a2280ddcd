"""An audit log on a database and a system volume of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from auditing import Room

from llmos_lite.core.audit import Audit
from llmos_lite.core.audit.checkpoints import Checkpoints
from llmos_lite.engines.database import Database
from llmos_lite.engines.signing import Signer
from llmos_lite.records.audit import AuditRows
from llmos_lite.records.schema import prepare
from llmos_lite.volumes.manager import VolumeManager


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}")
    await prepare(database)
    signer = Signer.open(tmp_path / "keys")
    volumes = VolumeManager(tmp_path, signer)
    rows, checkpoints = AuditRows(database), Checkpoints(volumes, signer)
    audit = Audit(rows, checkpoints)
    yield Room(audit, rows, database, volumes, checkpoints)
    await audit.stop()
    await database.close()
    volumes.close()
