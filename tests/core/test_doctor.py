"""The doctor finds what is wrong with a data folder, and mends what loses nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import time
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import pytest

from llmos_lite.core.doctor import Doctor
from llmos_lite.engines import git_fsck
from llmos_lite.engines.folder import FORMAT
from llmos_lite.engines.signing import Signer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for name in ("system", "teams/sre", "users/alice"):
        volume = data / "volumes" / name
        subprocess.run(["git", "init", "-q", "-b", "main", volume], check=True)
        subprocess.run(["git", "init", "-q", "--bare", volume / "traces.git"], check=True)
    (data / "format").write_text(f"{FORMAT}\n")
    (data / "allowed_signers").write_text("")
    Signer.open(data / "keys")
    (data / "keys" / "signing").write_text("secret")
    (data / "admin.key").write_text("secret")
    with closing(sqlite3.connect(data / "llmos.db")) as rows:
        for table, key in (("traces", "trace_id"), ("trace_events", "event_id")):
            rows.execute(f'CREATE TABLE {table} ({key} TEXT, volume TEXT, blob TEXT, "offset" INTEGER, length INTEGER)')
    for path in (data, data / "volumes", data / "keys"):
        path.chmod(0o700)
    for path in (data / "format", data / "keys" / "signing", data / "llmos.db", data / "admin.key"):
        path.chmod(0o600)
    return data


def states(data: Path, *, repair: bool = False) -> dict[str, str]:
    found = list(Doctor(data, repair=repair).examine())
    assert all(item.as_dict()["message"] for item in found)
    return {item.check: item.state for item in found if item.state != "ok"}


def test_a_folder_that_is_well_has_nothing_but_good_findings(data: Path) -> None:
    assert states(data) == {}
    assert len(Doctor(data).repositories()) == 6


def test_what_others_can_read_is_closed(data: Path) -> None:
    (data / "keys" / "signing").chmod(0o644)
    assert states(data) == {"permissions": "warning"}
    assert states(data, repair=True) == {"permissions": "repaired"}
    assert stat.S_IMODE((data / "keys" / "signing").stat().st_mode) == 0o600
    assert states(data) == {}


def test_the_public_keys_and_links_may_be_read(data: Path) -> None:
    (data / "allowed_signers").chmod(0o644)
    (data / "link").symlink_to("/etc/hostname")
    assert states(data) == {}


@pytest.mark.parametrize("content", ["99\n", "zero\n", ""])
def test_a_format_of_somebody_else_is_broken(data: Path, content: str) -> None:
    (data / "format").write_text(content)
    assert states(data) == {"format": "broken"}


def test_a_folder_without_a_format_is_no_data_folder(data: Path) -> None:
    (data / "format").unlink()
    assert states(data) == {"format": "broken"}


def test_a_damaged_database_is_broken(data: Path) -> None:
    (data / "llmos.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    assert states(data) == {"rows llmos.db": "broken", "journal": "broken"}


def test_a_missing_database_of_accounts_is_broken(data: Path) -> None:
    (data / "llmos.db").unlink()
    assert states(data) == {"rows llmos.db": "broken"}


def test_a_damaged_repository_is_broken_and_named(data: Path) -> None:
    (data / "volumes" / "users" / "alice" / ".git" / "refs" / "heads" / "main").write_text("0" * 39 + "1\n")
    assert states(data) == {"git users/alice/.git": "broken", "refs users/alice/.git": "broken"}


def test_a_lock_that_was_left_behind_is_removed(data: Path) -> None:
    lock = data / "volumes" / "system" / ".git" / "refs" / "heads" / "main.lock"
    lock.write_text("")
    assert states(data) == {"locks": "warning"}
    assert states(data, repair=True) == {"locks": "warning"}
    assert lock.exists()
    long_ago = time.time() - 10 * 365 * 86_400
    os.utime(lock, (long_ago, long_ago))
    assert states(data, repair=True) == {"locks": "repaired"}
    assert not lock.exists()


@pytest.mark.parametrize(("free", "state"), [(1 << 20, "broken"), (1 << 29, "warning")])
def test_a_full_disk_is_told(data: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = namedtuple("usage", "total used free")(1 << 40, 0, free)  # noqa: PYI024 - as shutil has it
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert states(data) == {"disk": state}


def test_a_folder_that_cannot_be_written_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert states(data) == {"disk": "broken"}


def test_a_machine_without_git_gives_a_warning(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert set(states(data).values()) == {"warning"}


def test_a_repository_that_takes_for_ever_gives_a_warning(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_fsck, "LONGEST", 0.0)
    assert set(states(data).values()) == {"warning"}


def test_a_check_that_ends_badly_without_a_word_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert git_fsck.fsck(tmp_path) == ["git fsck ended with 3"]
