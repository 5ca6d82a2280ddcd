"""SQLite files as files: which one is one, a consistent copy of one in use, and whether one is sound."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from llmos_lite.errors import StorageFailed

SUFFIXES = frozenset({".db", ".sqlite"})
COMPANIONS = ("-wal", "-shm", "-journal")


def is_sqlite(path: Path) -> bool:
    """Tell by its name whether a file is one of our SQLite databases.

    A database that this process has open is never opened as a plain file: closing that would drop SQLite's own locks,
    and the next process to leave would delete the write-ahead log (sqlite.org/howtocorrupt.html, section 2.2).
    """
    return path.suffix in SUFFIXES and path.is_file()


def copy_database(source: Path, target: Path) -> None:
    """Copy a database to a new, private file, as of one moment, while others go on writing to it.

    Raises:
        StorageFailed: `storage.database`.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(_open(source)) as there, closing(sqlite3.connect(target)) as here:
            there.backup(here)
    except sqlite3.Error as error:
        raise StorageFailed("storage.database", f"Could not copy the database {source}: {error}.") from error


def check_database(path: Path) -> list[str]:
    """Return what is wrong with a database; nothing when it is sound."""
    try:
        with closing(_open(path)) as database:
            found = [str(row[0]) for row in database.execute("PRAGMA quick_check(20)")]
    except sqlite3.Error as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def read_rows(path: Path, query: str, *values: str) -> list[tuple[object, ...]]:
    """Return the rows of a query, as of one moment, while others go on writing.

    Raises:
        StorageFailed: `storage.database`.
    """
    try:
        with closing(_open(path)) as database:
            return list(database.execute(query, values))
    except sqlite3.Error as error:
        raise StorageFailed("storage.database", f"Could not read the database {path}: {error}.") from error


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
