"""Rows of responses that are made in the background: few, young, and nobody's name in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos_lite.engines.database import Database
from llmos_lite.records import schema
from llmos_lite.records.background import KEPT_MS, BackgroundResponse, BackgroundRows, key_of

NOW = 1_800_000_000_000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    one = Database(f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}")
    await schema.prepare(one)
    yield one
    await one.close()


def row(name: str, began: int = NOW, trace_id: str = "") -> BackgroundResponse:
    return BackgroundResponse(
        key=key_of("alice", name), server="default", model="m", team="", trace_id=trace_id, began=began
    )


async def kept(rows: BackgroundRows, *names: str) -> list[str]:
    return [name for name in names if await rows.get(key_of("alice", name))]


def test_a_key_is_of_one_person_and_one_response() -> None:
    keys = {key_of("alice", "resp_1"), key_of("alice", "resp_2"), key_of("bob", "resp_1")}
    assert len(keys) == 3
    assert not any("alice" in key or "resp" in key for key in keys)


async def test_what_is_too_old_goes_with_the_next(database: Database) -> None:
    rows = BackgroundRows(database)
    for name, began in (("old", NOW - KEPT_MS), ("young", NOW - KEPT_MS + 1), ("new", NOW)):
        await rows.add(row(name, began))
    assert await kept(rows, "old", "young", "new") == ["young", "new"]


async def test_no_more_than_so_many_are_kept_the_newest(database: Database) -> None:
    rows = BackgroundRows(database, most=2)
    for number in range(4):
        await rows.add(row(f"r{number}", NOW + number))
    assert await kept(rows, "r0", "r1", "r2", "r3") == ["r2", "r3"]


async def test_a_row_ends_is_replaced_and_goes(database: Database) -> None:
    rows = BackgroundRows(database)
    await rows.add(row("r"))
    await rows.end(key_of("alice", "r"))
    ended = await rows.get(key_of("alice", "r"))
    assert ended
    assert ended.ended
    await rows.add(row("r"))
    again = await rows.get(key_of("alice", "r"))
    assert again
    assert not again.ended
    await rows.remove(key_of("alice", "r"))
    assert await kept(rows, "r") == []


async def test_those_of_traces_that_go_are_forgotten(database: Database) -> None:
    rows = BackgroundRows(database)
    await rows.add(row("a", trace_id="T1"))
    await rows.add(row("b", trace_id="T2"))
    await rows.forget(["T1", "T3"])
    assert await kept(rows, "a", "b") == ["b"]
