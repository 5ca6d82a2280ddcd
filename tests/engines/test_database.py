"""The database: who may wait for whom, and what a broken disk says."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import Column, Executable, Integer, MetaData, Table, Text, insert, select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from llmos_lite.engines.database import Bulk, Database
from llmos_lite.errors import StorageFailed, Unavailable
from tests.leaving import uncollected

METADATA = MetaData()
NOTES = Table("notes", METADATA, Column("id", Integer, primary_key=True), Column("body", Text), Column("made", Integer))


async def opened(path: Path) -> Database:
    database = Database(f"sqlite+aiosqlite:///{path}")
    await database.run(METADATA.create_all)
    return database


async def write(database: Database, *statements: Executable, fail: bool = False) -> None:
    async with database.session() as session:
        for statement in statements:
            await session.execute(statement)
        if fail:
            raise RuntimeError


async def bodies(database: Database) -> list[str]:
    async with database.reader() as session:
        return list((await session.execute(select(NOTES.c.body).order_by(NOTES.c.id))).scalars())


async def test_a_block_commits_or_rolls_back(tmp_path: Path) -> None:
    database = await opened(tmp_path / "a.db")
    await write(database, insert(NOTES).values(body="kept"))
    with pytest.raises(RuntimeError):
        await write(database, insert(NOTES).values(body="lost"), fail=True)
    assert await bodies(database) == ["kept"]
    await database.close()


async def test_the_files_are_private_and_the_pragmas_set(tmp_path: Path) -> None:
    database = await opened(tmp_path / "deep" / "a.db")
    for file in (tmp_path / "deep").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with database.reader() as session:
        pragmas = {
            name: (await session.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
        }
    assert pragmas == {"journal_mode": "wal", "busy_timeout": 30_000, "foreign_keys": 1, "synchronous": 2}
    assert database.url.endswith("a.db")
    await database.close()


async def test_upsert_updates_all_but_what_is_kept(tmp_path: Path) -> None:
    database = await opened(tmp_path / "a.db")
    statement = database.upsert(NOTES, ["id"], keep=["made"])
    for row in ({"id": 1, "body": "old", "made": 1}, {"id": 1, "body": "new", "made": 2}):
        async with database.session() as session:
            await session.execute(statement, [row])
    async with database.reader() as session:
        assert [tuple(row) for row in await session.execute(select(NOTES))] == [(1, "new", 1)]
    await database.close()


@pytest.mark.parametrize("paramstyle", ["qmark", "named"])
async def test_many_rows_go_to_the_driver_as_they_are(tmp_path: Path, paramstyle: Literal["qmark", "named"]) -> None:
    database = await opened(tmp_path / "rows.db")
    statement = database.upsert(NOTES, ["id"], keep=["made"])
    bulk = Bulk(statement, ("body", "id", "made"), sqlite.dialect(paramstyle=paramstyle))
    for rows in ([("a", 1, 5), ("b", 2, 5)], [("c", 2, 6)]):
        async with database.session() as session:
            await bulk.execute(session, rows)
    async with database.reader() as session:
        found = (await session.execute(select(NOTES.c.id, NOTES.c.body, NOTES.c.made).order_by(NOTES.c.id))).all()
    assert [tuple(row) for row in found] == [(1, "a", 5), (2, "c", 5)]
    await database.close()


async def test_writers_of_two_databases_wait_for_each_other(tmp_path: Path) -> None:
    first, second = await opened(tmp_path / "a.db"), await opened(tmp_path / "a.db")

    async def add(database: Database, name: str) -> None:
        for number in range(20):
            async with database.session() as session:
                await session.execute(select(NOTES))  # a read first: a deferred transaction would fail here
                await session.execute(insert(NOTES).values(body=f"{name}{number}"))

    await asyncio.gather(*(add(database, name) for database in (first, second) for name in "ab"))
    assert len(await bodies(first)) == 80
    await first.close()
    await second.close()


async def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    database = await opened(tmp_path / "a.db")
    async with database.session() as session:
        await session.execute(insert(NOTES).values(body="not yet"))
        assert await asyncio.wait_for(bodies(database), 5) == []
    assert await bodies(database) == ["not yet"]
    await database.close()


async def test_a_full_database_says_so(tmp_path: Path) -> None:
    database = await opened(tmp_path / "a.db")
    with pytest.raises(StorageFailed) as caught:
        await write(database, text("PRAGMA max_page_count=4"), insert(NOTES).values(body="x" * 100_000))
    assert caught.value.code == "storage.full"
    await database.close()


async def test_what_the_driver_says_becomes_a_sentence(tmp_path: Path) -> None:
    database = await opened(tmp_path / "a.db")
    for statement, code in ((text("PRAGMA query_only=ON"), "storage.readonly"), (text("NONSENSE"), "storage.failed")):
        with pytest.raises(StorageFailed) as caught:
            await write(database, statement, insert(NOTES).values(body="x"), text("PRAGMA query_only=OFF"))
        assert caught.value.code == code
        await database.engine.dispose()
    with pytest.raises(IntegrityError):
        async with database.session() as session:
            await session.execute(insert(NOTES), [{"id": 1}, {"id": 1}])
    await database.close()


async def test_a_database_that_stays_locked_is_busy(tmp_path: Path) -> None:
    database = await opened(tmp_path / "a.db")
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as caught:
        await impatient(database)
    assert caught.value.code == "database.busy"
    other.close()
    await database.close()


async def impatient(database: Database) -> None:
    async with database.reader() as session:
        await session.execute(text("PRAGMA busy_timeout=1"))
        await session.execute(insert(NOTES).values(body="x"))


def test_an_existing_file_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    sqlite3.connect(path).executescript("CREATE TABLE old (x); INSERT INTO old VALUES (1)")
    Database(f"sqlite+aiosqlite:///{path}")
    assert sqlite3.connect(path).execute("SELECT x FROM old").fetchall() == [(1,)]
    assert os.path.getsize(path) > 0  # noqa: PTH202 - one expression


def test_no_thread_outlives_the_database(tmp_path: Path) -> None:
    """A task that is cancelled in the middle of a statement leaves a thread behind that still computes."""
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) SELECT count(*) FROM n"

    async def run() -> list[threading.Thread]:
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/rows.db")

        async def ask() -> None:
            async with database.reader() as session:
                await session.execute(text(slow))

        task = asyncio.create_task(ask())
        while not database._threads:  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()
        return list(database._threads)

    assert [thread for thread in asyncio.run(run()) if thread.is_alive()] == []


class Held:
    """What somebody works with who asks the database."""


@pytest.mark.parametrize("kind", ["reader", "session"])
async def test_who_stops_waiting_is_not_held(tmp_path: Path, kind: str) -> None:
    """SQLAlchemy keeps the error that ends it in a frame of its own."""
    database = await opened(tmp_path / "rows.db")

    async def ask() -> None:
        held = Held()
        async with getattr(database, kind)() as session:
            while held:
                await session.execute(select(NOTES))

    with uncollected(Held) as left:
        for turns in range(1, 40):
            asking = asyncio.create_task(ask())
            for _ in range(turns):
                await asyncio.sleep(0.0001)
            asking.cancel()
            await asyncio.wait([asking])
        del asking
        assert not left()
    await database.close()
