"""The database of rows: SQLAlchemy's asynchronous engine with the settings that each store needs.

One file for one machine (SQLite, several processes of it); the same code takes a Postgres URL.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from operator import itemgetter
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy import Connection, Dialect, Insert, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler

from llmos_lite.errors import StorageFailed, Unavailable, storage_error

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert

T = TypeVar("T")

BUSY_MS = 30_000
"""How long a writer waits for another process's short transaction, in milliseconds."""
PATIENCE = 5.0
"""Seconds that a connection has to finish what was begun, at the end."""
CACHE_KB = 4_000
"""Page cache of one SQLite connection, in KB; the system's file cache holds the rest."""


class _Cursor(Protocol):
    def execute(self, statement: str) -> object: ...
    def close(self) -> None: ...


class _Threaded(Protocol):
    _thread: threading.Thread


class _DriverConnection(Protocol):
    isolation_level: str | None
    driver_connection: _Threaded

    def cursor(self) -> _Cursor: ...


class Bulk:
    """An `INSERT` for many rows, compiled once: the driver takes them as they are.

    SQLAlchemy would prepare each of them on the event loop.

    Args:
        statement: what to execute; its columns must need no conversion.
        names: of the columns, in the order of the values of a row.
        dialect: of the database.
    """

    def __init__(self, statement: Insert, names: Sequence[str], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        self._text, self._names = str(compiled), names
        order = compiled.positiontup if isinstance(compiled, SQLCompiler) else None
        self._places = [names.index(name) for name in order] if order is not None else None

    async def execute(self, session: AsyncSession, rows: Sequence[tuple[object, ...]]) -> None:
        """Execute it for every row."""
        connection = await session.connection()
        if self._places is None:
            named = [dict(zip(self._names, row, strict=True)) for row in rows]
            await connection.exec_driver_sql(self._text, named)
        else:
            await connection.exec_driver_sql(self._text, [*map(itemgetter(*self._places), rows)])


class Database:
    """Sessions on one database.

    A transaction of `session` may write, and should be short, since a worker process writes the same file; one of
    `reader` only reads, from one snapshot, and never waits for a writer.

    Args:
        url: as SQLAlchemy writes it: `sqlite+aiosqlite:////data/llmos.db`, `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            _create_private(Path(str(self._url.database)))
        # Last in, first out: the page cache of that connection is warm, and each write makes those of the others stale.
        self.engine = create_async_engine(self._url, pool_size=4, max_overflow=4, pool_use_lifo=True)
        self._writer = self.engine.execution_options(llmos_write=True)
        self._turn = asyncio.Lock()
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _configure)
            event.listen(self.engine.sync_engine, "connect", self._note_thread)
            event.listen(self.engine.sync_engine, "begin", _begin)

    @property
    def url(self) -> str:
        """Return the URL with its password."""
        return self._url.render_as_string(hide_password=False)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that may write; it commits when the block ends and rolls back when it raises.

        Raises:
            StorageFailed: `storage.full`, `storage.readonly` or `storage.failed`.
        """
        async with self._turn_of_writer(), AsyncSession(self._writer, expire_on_commit=False) as session:
            with _translated():
                yield session
                await session.commit()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            with _translated():
                yield session

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run synchronous `work` in a write transaction, as for making tables."""
        async with self._turn_of_writer(), self._writer.begin() as connection:
            with _translated():
                return await connection.run_sync(work)

    def upsert(self, table: Table, keys: Sequence[str], *, keep: Sequence[str] = ()) -> Insert:
        """Return an `INSERT` that updates the row when its keys exist.

        Args:
            table: the table.
            keys: columns of its primary key.
            keep: columns that an existing row keeps.
        """
        insert = sqlite.insert(table) if self.is_sqlite else _postgres_insert(table)
        changed = {
            column.name: insert.excluded[column.name]
            for column in table.columns
            if column.name not in keys and column.name not in keep
        }
        return insert.on_conflict_do_update(index_elements=list(keys), set_=changed)

    def bulk(self, statement: Insert, names: Sequence[str]) -> Bulk:
        """Return an `INSERT` that is compiled once; see `Bulk`."""
        return Bulk(statement, names, self.engine.dialect)

    def insert_new(self, table: Table, keys: Sequence[str]) -> Insert:
        """Return an `INSERT` that leaves a row alone whose keys exist; `keys` are columns of its primary key."""
        insert = sqlite.insert(table) if self.is_sqlite else _postgres_insert(table)
        return insert.on_conflict_do_nothing(index_elements=list(keys))

    async def compact(self) -> None:
        """Write the whole file anew, so that nothing of what was deleted is left between its rows or in its log.

        Readers go on; writers wait.

        Raises:
            StorageFailed: `storage.full`, as it takes the file's size once more.
            Unavailable: `database.busy`, when a reader of another process does not end.
        """
        if not self.is_sqlite:
            return
        async with self._turn_of_writer(), self.engine.connect() as connection:
            with _translated():
                driver = (await connection.get_raw_connection()).driver_connection
                if driver is None:
                    raise AssertionError("a connection that is open has a driver")
                await driver.execute("VACUUM")
                busy, _, _ = await (await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")).fetchone()
        if busy:
            raise Unavailable("database.busy", "Somebody reads what was deleted.", hint="Try again in a moment.")

    async def close(self) -> None:
        """Close every connection, and wait for what was still running on one whose task was cancelled.

        Its thread would otherwise report to an event loop that is gone.
        """
        await self.engine.dispose()
        for thread in list(self._threads):
            await asyncio.to_thread(thread.join, PATIENCE)

    def _note_thread(self, connection: _DriverConnection, _entry: ConnectionPoolEntry) -> None:
        self._threads.add(connection.driver_connection._thread)  # noqa: SLF001 - aiosqlite tells no other way

    @asynccontextmanager
    async def _turn_of_writer(self) -> AsyncIterator[None]:
        """Let SQLite's writers of this process queue here, where waiting costs no thread and no connection."""
        if not self.is_sqlite:
            yield
            return
        async with self._turn:
            yield


def _postgres_insert(table: Table) -> PostgresInsert:
    from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415 - 0.05 s that only Postgres should pay

    return insert(table)


def _create_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _configure(connection: _DriverConnection, _entry: ConnectionPoolEntry) -> None:
    # The driver must not begin transactions by itself: it would begin them deferred, and a deferred one that reads
    # before it writes fails at once when another process wrote meanwhile, whatever the busy timeout.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{CACHE_KB}",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("llmos_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise _translate(error) from error
    except asyncio.CancelledError as error:
        clear_frames(error.__traceback__)  # SQLAlchemy keeps the error in some of them: a cycle, with whoever asked
        raise


def _translate(error: OperationalError) -> StorageFailed | Unavailable:
    """Turn what the driver said into the error that a person needs."""
    text = str(error.orig)
    if "is full" in text:
        return storage_error(OSError(errno.ENOSPC, text), "write the database")
    if "readonly" in text or "unable to open" in text:
        return storage_error(OSError(errno.EROFS, text), "write the database")
    if "is locked" in text:
        return Unavailable("database.busy", "Another process holds the database.", hint="Try again in a moment.")
    return storage_error(OSError(errno.EIO, text), "use the database")
