from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmos_lite.engines.file_lock import file_lock
from llmos_lite.errors import StorageFailed


async def test_many_share_it_and_one_alone_waits_for_them(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    seen: list[str] = []

    async def alone() -> None:
        async with file_lock(path, shared=False):
            seen.append("alone")

    async with file_lock(path, shared=True), file_lock(path, shared=True):
        task = asyncio.create_task(alone())
        for _ in range(5):
            await asyncio.sleep(0.01)
        seen.append("shared")
    await task
    assert seen == ["shared", "alone"]


async def test_whoever_gives_up_waiting_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with file_lock(path, shared=False):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), file_lock(path, shared=True):
                raise AssertionError("it was held")
    async with file_lock(path, shared=False):
        pass


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        async with file_lock(tmp_path / "no" / "lock", shared=True):
            pass
