"""Limits on a database of the test's own, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from limiting import Counter

from llmos_lite.engines.database import Database
from llmos_lite.records.schema import prepare
from llmos_lite.records.usage import UsageRows


@pytest.fixture
async def counter(tmp_path: Path) -> AsyncIterator[Counter]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}")
    await prepare(database)
    yield Counter(UsageRows(database), tmp_path, database)
    await database.close()
