"""The gateway with a model server behind it; see `tests/gating.py`."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gating import Gate, gate
from tests.upstream import Upstream, running


@pytest.fixture
def fresh_copy(tmp_path: Path, fresh_data: Path) -> Path:
    shutil.copytree(fresh_data, tmp_path / "data", symlinks=True)
    return tmp_path / "data"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        yield server


@pytest.fixture
async def here(request: pytest.FixtureRequest, fresh_copy: Path, upstream: Upstream) -> AsyncIterator[Gate]:
    wire = request.node.callspec.params.get("wire") if hasattr(request.node, "callspec") else None
    provider = "anthropic" if wire == "messages" else "openai"
    async with gate(fresh_copy, upstream, llm_provider=provider) as opened:
        yield opened
