"""Copies of databases that are in use, which stay in use."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from llmos_lite.engines.sqlite_copy import check_database, copy_database, is_sqlite
from llmos_lite.errors import StorageFailed

VISIT = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select * from t').fetchall(); c.close()"


def test_a_database_in_use_keeps_its_log_when_it_was_copied_and_others_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "llmos.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (x)")
        assert is_sqlite(path)
        copy_database(path, tmp_path / "copy.db")
        assert check_database(path) == []
        subprocess.run([sys.executable, "-c", VISIT, path], check=True)
        assert (tmp_path / "llmos.db-wal").exists()
        database.execute("INSERT INTO t VALUES (1)")
        visited = subprocess.run([sys.executable, "-c", VISIT, path], check=True)
        assert (visited.returncode, (tmp_path / "llmos.db-wal").exists()) == (0, True)


def test_only_files_with_the_name_of_a_database_are_databases(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "format").write_text("1")
    assert [is_sqlite(tmp_path / name) for name in ("folder.db", "format", "none.db")] == [False, False, False]


def test_what_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all, but long enough to look at" * 40)
    assert check_database(tmp_path / "x.db") == ["file is not a database"]
    with pytest.raises(StorageFailed, match="Could not copy"):
        copy_database(tmp_path / "x.db", tmp_path / "y.db")
