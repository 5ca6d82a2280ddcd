"""The tables of this version, and the way from older ones.

A fresh database is made directly and stamped; alembic (slow to import) is loaded only for an older one. A test shows
that both ways end in the same tables.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

from llmos_lite.engines.database import Database
from llmos_lite.errors import Conflict
from llmos_lite.records.tables import Table

HEAD = "0010"
"""The newest revision in `migrations/versions`."""
MIGRATIONS = Path(__file__).with_name("migrations")
VERSIONS = table("alembic_version", column("version_num"))


async def prepare(database: Database) -> None:
    """Bring a database to the tables of this version, whatever it holds.

    Raises:
        Conflict: `database.newer`, when a newer llmos-lite wrote it.
    """
    await database.run(_prepare)


def _prepare(connection: Connection) -> None:
    revision = current(connection)
    if revision is None:
        Table.metadata.create_all(connection)
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(VERSIONS.insert().values(version_num=HEAD))
    elif revision != HEAD:
        upgrade(connection)


def current(connection: Connection) -> str | None:
    """Return the revision of a database, or None when it is fresh."""
    if not inspect(connection).has_table(VERSIONS.name):
        return None
    return connection.execute(select(VERSIONS.c.version_num)).scalar()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to `revision`.

    Raises:
        Conflict: `database.newer`, when this version does not know where the database stands.
    """
    from alembic import command  # noqa: PLC0415 - 0.2 s that only an upgrade should pay
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise Conflict(
            "database.newer",
            f"This version of llmos-lite cannot read the database ({error}).",
            hint="Start the newer version that wrote it, or restore a backup.",
        ) from error
