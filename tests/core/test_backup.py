"""A backup is whole or refused; what comes back is what was there."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import sqlite3
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from llmos_lite.core import backup
from llmos_lite.core.backup import Instance, Part, archive, write_archive
from llmos_lite.core.restore import restore
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.errors import Conflict, Invalid, StorageFailed

Change = Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]


@contextmanager
def nothing() -> Iterator[None]:
    yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a volume, rows and keys, made by stock tools."""
    data = tmp_path / "data"
    volume = data / "volumes" / "system"
    volume.mkdir(parents=True)
    (data / "admin.key").write_text("llmos_secret\n")
    (data / "admin.key").chmod(0o600)
    (data / "format").write_text("1\n")
    (data / "lock").write_text("held")
    (data / "keys").mkdir()
    (data / "keys" / "signing").write_bytes(b"key")
    for name in ("cache", "market"):  # can be made again, and changes at any time
        (data / name).mkdir()
        (data / name / "some").write_bytes(b"x")
    with closing(sqlite3.connect(data / "llmos.db")) as rows:
        rows.execute("PRAGMA journal_mode=WAL")
        rows.execute("CREATE TABLE users (id TEXT)")
        rows.execute("INSERT INTO users VALUES ('alice')")
        rows.commit()
    git(volume, "init", "--initial-branch", "main")
    (volume / "note.md").write_text("kept in Git\n")
    git(volume, "add", "note.md")
    git(volume, "commit", "-m", "A note")
    (volume / "unadopted.md").write_text("not yet in Git\n")
    (volume / "run.sh").write_text("#!/bin/sh\n")
    (volume / "run.sh").chmod(0o755)
    (volume / ".git" / "index.lock").write_text("")
    (volume / "link").symlink_to("/etc/hostname")
    (data / "shortcut").symlink_to("/etc/hostname")
    return data


def git(folder: Path, *arguments: str) -> str:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    done = subprocess.run(["git", "-C", folder, *arguments], env=os.environ | who, capture_output=True, check=True)
    return done.stdout.decode()


@pytest.fixture
async def journal(data: Path) -> Iterator[LocalJournal]:
    journal = LocalJournal(data / "journal")
    await journal.append_many(
        [("user:alice", f"trace {number}", b'{"caf\xc3\xa9": %d}' % number) for number in range(3)]
    )
    yield journal
    journal.close()


@pytest.fixture
def instance(data: Path, journal: LocalJournal) -> Instance:
    return Instance(data, journal, lambda: [Part("volumes/system", "system", nothing)])


def packed(instance: Instance) -> bytes:
    target = io.BytesIO()
    write_archive(instance, target)
    return target.getvalue()


def changed(content: bytes, change: Change) -> bytes:
    """Pack an archive anew with changed members."""
    target = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old, tarfile.open(fileobj=target, mode="w:gz") as new:
        for member in old:
            file = old.extractfile(member)
            made = change(member, file.read() if file else b"")
            if made:
                new.addfile(made[0], io.BytesIO(made[1]))
    return target.getvalue()


def test_what_comes_back_is_what_was_there(instance: Instance, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "data"
    restored = restore(io.BytesIO(packed(instance)), target)
    assert restored.events == 3
    volume = target / "volumes" / "system"
    assert (volume / "unadopted.md").read_text() == "not yet in Git\n"
    assert git(volume, "log", "--format=%s") == "A note\n"
    assert git(volume, "fsck", "--full") == ""
    assert git(volume, "status", "--porcelain") == "?? run.sh\n?? unadopted.md\n"
    assert (target / "admin.key").read_text() == "llmos_secret\n"
    assert stat.S_IMODE((target / "admin.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((volume / "run.sh").stat().st_mode) == 0o755
    folders = [target, target / "volumes", volume, volume / ".git" / "refs"]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    with closing(sqlite3.connect(target / "llmos.db")) as rows:
        assert rows.execute("SELECT id FROM users").fetchall() == [("alice",)]
    with closing(LocalJournal(target / "journal")) as journal:
        assert [(entry.trace_id, entry.line) for entry in journal.pending()] == [
            (f"trace {number}", b'{"caf\xc3\xa9": %d}' % number) for number in range(3)
        ]
    names = {path.name for path in target.iterdir()}
    assert names == {"admin.key", "format", "journal", "keys", "llmos.db", "volumes"}
    assert not list(volume.rglob("*.lock"))


def test_an_archive_can_be_checked_with_stock_tools(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(packed(instance))
    (tmp_path / "x").mkdir()
    subprocess.run(["tar", "-xzf", "../x.tar.gz"], cwd=tmp_path / "x", check=True)
    subprocess.run(["sha256sum", "--check", "--quiet", "MANIFEST.sha256"], cwd=tmp_path / "x", check=True)


def test_nothing_is_left_behind_by_a_backup(instance: Instance, data: Path) -> None:
    packed(instance)
    assert not list((data / "tmp").iterdir())


async def test_an_archive_comes_as_a_stream(instance: Instance, tmp_path: Path) -> None:
    blocks = [block async for block in archive(instance)]
    restored = await asyncio.to_thread(restore, io.BytesIO(b"".join(blocks)), tmp_path / "new")
    assert restored.events == 3


async def test_a_reader_who_goes_away_ends_the_backup(
    instance: Instance, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "BLOCK", 64)
    monkeypatch.setattr(backup, "WAITING", 2)
    (data / "noise").write_bytes(os.urandom(1 << 20))
    stream = archive(instance)
    assert await anext(stream)
    await stream.aclose()
    assert not list((data / "tmp").iterdir())


async def test_what_stops_a_backup_is_told_to_its_reader(instance: Instance, data: Path) -> None:
    (data / "llmos.db").write_bytes(b"SQLite format 3\0 and then nonsense")
    with pytest.raises(StorageFailed) as caught:
        _ = [block async for block in archive(instance)]
    assert caught.value.code == "storage.database"


def test_a_folder_with_something_in_it_is_left_alone(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(Conflict) as caught:
        restore(io.BytesIO(packed(instance)), tmp_path / "full")
    assert caught.value.code == "restore.not_empty"
    assert os.listdir(tmp_path / "full") == ["mine"]  # noqa: PTH208 - nothing else to say


def test_an_empty_folder_is_filled(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    restore(io.BytesIO(packed(instance)), tmp_path / "empty")
    assert (tmp_path / "empty" / "format").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_archive_is_refused_and_leaves_nothing(instance: Instance, tmp_path: Path, share: float) -> None:
    content = packed(instance)
    with pytest.raises(Invalid) as caught:
        restore(io.BytesIO(content[: int(len(content) * share)]), tmp_path / "new")
    assert caught.value.code == "backup.damaged"
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".new*"))


def rename(old: str, new: str) -> Change:
    def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        member.name = new if member.name == old else member.name
        return member, content

    return change


def replaced(name: str, content: bytes) -> Change:
    def change(member: tarfile.TarInfo, old: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name == name:
            member.size = len(content)
            return member, content
        return member, old

    return change


def linked(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    if member.name == "format":
        member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
        return member, b""
    return member, content


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (rename("format", "/evil"), "backup.unsafe"),
        (rename("format", "../evil"), "backup.unsafe"),
        (rename("format", "a/../../evil"), "backup.unsafe"),
        (linked, "backup.unsafe"),
        (rename("format", "other"), "backup.damaged"),
        (replaced("format", b"2\n"), "backup.damaged"),
        (rename("MANIFEST.sha256", "else"), "backup.damaged"),
        (lambda member, content: None if member.name == "admin.key" else (member, content), "backup.damaged"),
        (lambda member, content: None if member.name == "backup.json" else (member, content), "backup.damaged"),
        (replaced("backup.json", b"[]"), "backup.damaged"),
        (replaced("backup.json", b"{"), "backup.damaged"),
        (replaced("backup.json", b'{"format": 2}'), "backup.newer"),
    ],
)
def test_an_archive_that_somebody_changed_is_refused(
    instance: Instance, tmp_path: Path, change: Change, code: str
) -> None:
    content = changed(packed(instance), change)
    with pytest.raises(Invalid) as caught:
        restore(io.BytesIO(content), tmp_path / "new")
    assert caught.value.code == code
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "content", [b"", b"not an archive", gzip.compress(b"not a tar archive")], ids=["empty", "text", "gzip"]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        restore(io.BytesIO(content), tmp_path / "new")
    assert caught.value.code == "backup.damaged"


def test_a_disk_that_cannot_be_written_is_named(instance: Instance, tmp_path: Path) -> None:
    content = packed(instance)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        restore(io.BytesIO(content), tmp_path / "file" / "new")


def test_objects_are_copied_where_they_cannot_be_linked(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(self, target)

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    restore(io.BytesIO(packed(instance)), tmp_path / "new")
    assert git(tmp_path / "new" / "volumes" / "system", "fsck") == ""


def test_a_backup_says_what_it_is(instance: Instance) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(instance))) as tar:
        first = tar.next()
        assert first is not None
        file = tar.extractfile(first)
        assert file is not None
        about = json.loads(file.read())
        assert tar.getnames()[-1] == "MANIFEST.sha256"
    assert about["format"] == 1
    assert about["created"] > 1_700_000_000_000


def test_a_repository_without_a_commit_comes_back_as_one(instance: Instance, data: Path, tmp_path: Path) -> None:
    git(data / "volumes" / "system", "init", "--bare", "traces.git")
    restore(io.BytesIO(packed(instance)), tmp_path / "new")
    assert git(tmp_path / "new" / "volumes" / "system" / "traces.git", "rev-parse", "--is-bare-repository") == "true\n"


async def test_an_event_that_is_folded_during_the_backup_is_not_lost(
    data: Path, journal: LocalJournal, tmp_path: Path
) -> None:
    """The volume of alice is made, and her events folded, after the journal was read and before she is looked for."""
    await journal.append_many([("system", "in both", b"{}")])

    def parts() -> list[Part]:
        (data / "volumes" / "users").mkdir()
        git(data / "volumes", "clone", "-q", "system", "users/alice")
        batch = journal.fix("user:alice", lambda entries: [entry.trace_id for entry in entries])
        assert batch is not None
        journal.finish(batch)
        return [Part("volumes/system", "system", nothing), Part("volumes/users/alice", "user:alice", nothing)]

    content = await asyncio.to_thread(packed, Instance(data, journal, parts))
    restored = await asyncio.to_thread(restore, io.BytesIO(content), tmp_path / "new")
    assert restored.events == 1
    assert (tmp_path / "new" / "volumes" / "users" / "alice" / ".git").is_dir()
