"""A fresh database, one made by the migrations, and one that a newer version wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from llmos_lite.engines.database import Database
from llmos_lite.errors import Conflict
from llmos_lite.records import schema
from llmos_lite.records.keys import KeyStore
from llmos_lite.records.tables import Table


def database(path: Path) -> Database:
    return Database(f"sqlite+aiosqlite:///{path}")


def dump(connection: Connection) -> list[tuple[str, str, str, list[tuple[object, ...]]]]:
    """Return every table and index with its columns, in an order that no way of making them decides; and triggers."""
    names = connection.execute(text("SELECT type, name, tbl_name FROM sqlite_master ORDER BY type, name")).all()
    triggers = connection.execute(text("SELECT sql, name, tbl_name FROM sqlite_master WHERE type = 'trigger'")).all()
    pragma = {"table": "table_info", "index": "index_info"}
    columns = [
        (kind, name, table, sorted(tuple(row) for row in connection.execute(text(f"PRAGMA {pragma[kind]}('{name}')"))))
        for kind, name, table in names
        if kind in pragma
    ]
    return columns + [(sql, name, table, []) for sql, name, table in sorted(triggers)]


async def test_both_ways_end_in_the_same_tables(tmp_path: Path) -> None:
    fresh, migrated = database(tmp_path / "fresh.db"), database(tmp_path / "migrated.db")
    await schema.prepare(fresh)
    await migrated.run(schema.upgrade)
    assert await fresh.run(dump) == await migrated.run(dump)
    drift = await migrated.run(lambda one: compare_metadata(MigrationContext.configure(one), Table.metadata))
    assert drift == []
    assert await migrated.run(schema.current) == schema.HEAD
    await fresh.close()
    await migrated.close()


async def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    one = database(tmp_path / "rows.db")
    await schema.prepare(one)
    before = await one.run(dump)
    await schema.prepare(one)
    assert await one.run(dump) == before
    await one.close()


async def test_an_older_database_is_upgraded(tmp_path: Path) -> None:
    one = database(tmp_path / "rows.db")
    await one.run(lambda connection: connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)")))
    await one.run(lambda connection: connection.execute(text("INSERT INTO alembic_version VALUES ('')")))
    await one.run(lambda connection: connection.execute(text("DELETE FROM alembic_version")))
    await one.run(schema.upgrade)
    assert await one.run(schema.current) == schema.HEAD
    await one.close()


async def test_the_keys_of_the_first_release_stay_what_they_were(tmp_path: Path) -> None:
    one = database(tmp_path / "rows.db")
    await one.run(lambda connection: schema.upgrade(connection, "0001"))
    for statement in (
        "INSERT INTO users VALUES ('alice', 'Alice', 'user', 1, 'digest', 1, 0, 'person', '', NULL)",
        "INSERT INTO api_keys VALUES ('0123abcd', 'alice', 'Old', '5f', 'chat', NULL, '', 1, 'alice', 0, 0, 0)",
    ):
        await one.run(lambda connection, text_=statement: connection.execute(text(text_)))  # type: ignore[misc]
    await schema.prepare(one)
    assert await one.run(schema.current) == schema.HEAD
    key = await KeyStore(one).get("0123abcd")
    assert key is not None
    assert (key.name, key.scopes, key.purpose) == ("Old", ("chat",), "")
    await one.close()


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    one = database(tmp_path / "rows.db")
    await schema.prepare(one)
    await one.run(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(Conflict) as caught:
        await schema.prepare(one)
    assert caught.value.code == "database.newer"
    await one.close()


def test_a_fresh_database_needs_no_alembic(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from llmos_lite.engines.database import Database\n"
        "from llmos_lite.records import schema\n"
        "async def main():\n"
        f"    database = Database('sqlite+aiosqlite:///{tmp_path}/rows.db')\n"
        "    await schema.prepare(database)\n"
        "    await database.close()\n"
        "asyncio.run(main())\n"
        "assert 'alembic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), timeout=60)
