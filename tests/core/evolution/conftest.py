from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.evolving import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    opened, database = await open_world(tmp_path)
    yield opened
    await database.close()
    opened.volumes.close()
