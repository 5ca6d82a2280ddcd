"""A real instance is damaged in every way, and the doctor tells and mends it without losing anything."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from planted import fsck
from trace_instance import Instance, trace

from llmos_lite.core.doctor import Doctor, Finding
from llmos_lite.engines.folder import FORMAT
from llmos_lite.engines.git import LocalGitStore
from llmos_lite.engines.git_mend import KEPT, last_good
from llmos_lite.engines.git_scrub import PLAN
from llmos_lite.engines.git_version import git_problem
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.engines.signing import Signer
from llmos_lite.engines.signing_keys import CURRENT, LEDGER
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

ALICE = VolumeRef.user("alice")


async def _filled(data: Path) -> None:
    """Make an instance with skills, folded traces, and one trace that waits."""
    async with Instance.opened(data) as instance:
        volume = instance.volumes.open(PLATFORM, ALICE, write=True)
        for text in ("one", "two", "three"):
            volume.write_skill("deploy", f"---\nname: deploy\ndescription: {text}.\n---\n")
        for number in range(4):
            await instance.log.record(trace(number))
        await instance.log.settle()
        await instance.log.fold()
        await instance.log.record(trace(9))
        await instance.log.settle()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("made") / "data"
    data.mkdir(mode=0o700)
    asyncio.run(_filled(data))
    (data / "rows.db").rename(data / "llmos.db")
    for name, text in (("format", f"{FORMAT}\n"), ("admin.key", "secret\n")):
        (data / name).write_text(text)
    for path in data.iterdir():
        path.chmod(path.stat().st_mode & ~0o077)
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "data")


def found(data: Path, *, repair: bool = False) -> list[Finding]:
    return [one for one in Doctor(data, repair=repair).examine() if one.state != "ok"]


def checks(data: Path, *, repair: bool = False) -> set[tuple[str, str]]:
    return {(one.check, one.state) for one in found(data, repair=repair)}


def gitdir(data: Path, name: str = ".git") -> Path:
    return data / "volumes/users/alice" / name


def head(data: Path, name: str = ".git", branch: str = "main") -> str:
    return (gitdir(data, name) / "refs/heads" / branch).read_text().strip()


def test_an_instance_is_well(data: Path) -> None:
    assert found(data) == []
    said = {one.check: one.message for one in Doctor(data).examine()}
    assert said["journal"] == "1 event waits to be folded into Git."
    assert said["traces"] == "Rows of traces and Git agree."
    assert "signs" in said["keys"]
    assert found(data, repair=True) == []
    before = {path: path.read_bytes() for path in (data / "journal").glob("*.seg")}
    assert found(data) == []
    assert before == {path: path.read_bytes() for path in (data / "journal").glob("*.seg")}


@pytest.mark.parametrize("text", ["", "garbage", "1" * 40])
def test_main_comes_back_to_where_it_was(data: Path, text: str) -> None:
    good, ref = head(data), gitdir(data) / "refs/heads/main"
    ref.write_text(text)
    assert ("refs users/alice/.git", "broken") in checks(data)
    assert ref.read_text() == text
    assert ("refs users/alice/.git", "repaired") in checks(data, repair=True)
    assert head(data) == good
    (kept,) = (gitdir(data) / KEPT).iterdir()
    assert kept.read_text() == text
    assert found(data) == []


def test_a_month_comes_back_from_what_nothing_leads_to(data: Path) -> None:
    path = gitdir(data, "traces.git")
    good = head(data, "traces.git", "2026-11")
    (path / "refs/heads/2026-11").write_text("nonsense")
    assert ("refs users/alice/traces.git", "repaired") in checks(data, repair=True)
    assert head(data, "traces.git", "2026-11") == good
    assert found(data) == []


def test_a_ref_without_any_whole_history_stays_and_is_told(data: Path) -> None:
    path = gitdir(data)
    (path / "refs/heads/pr").mkdir()
    (path / "refs/heads/pr/x").write_text("nonsense")
    (path / "refs/tags/mine").write_text("2" * 40)
    said = [one for one in found(data, repair=True) if one.check.startswith("refs")]
    assert [one.state for one in said] == ["broken", "broken"]
    assert (path / "refs/heads/pr/x").read_text() == "nonsense"
    assert (path / "refs/tags/mine").read_text() == "2" * 40


def test_the_newest_place_that_is_known_wins(data: Path) -> None:
    path, good = gitdir(data), head(data)
    first = subprocess.check_output(
        ["git", "--git-dir", path, "rev-list", "--max-parents=0", "main"], text=True
    ).strip()
    (path / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted\n{first} refs/heads/main\n")
    assert last_good(path, "refs/heads/main") == good
    (path / "llmos-checkout").unlink()
    (path / "refs/heads/main").write_text("x")
    assert last_good(path, "refs/heads/main") == first
    (path / "logs/refs/heads").mkdir(parents=True)
    (path / "logs/refs/heads/main").write_text(f"{first} {good} A <a@b> 1 +0000\tcommit: x\n")
    assert last_good(path, "refs/heads/main") == good


def test_head_is_main_again(data: Path) -> None:
    (gitdir(data) / "HEAD").write_text("nonsense")
    assert ("refs users/alice/.git", "broken") in checks(data)
    assert ("refs users/alice/.git", "repaired") in checks(data, repair=True)
    assert found(data) == []


@pytest.mark.parametrize("content", [b"", b"DIRCgarbage", None])
def test_the_index_is_rebuilt_and_no_file_is_touched(data: Path, content: bytes | None) -> None:
    index, file = gitdir(data) / "index", data / "volumes/users/alice/skills/deploy/SKILL.md"
    if content is None:  # a stale one: it says that the skill is deleted
        subprocess.run(["git", "-C", data / "volumes/users/alice", "rm", "-q", "--cached", "-r", "skills"], check=True)
    else:
        index.write_bytes(content)
    before = file.stat().st_mtime_ns
    assert ("index users/alice/.git", "warning") in checks(data)
    assert ("index users/alice/.git", "repaired") in checks(data, repair=True)
    assert file.stat().st_mtime_ns == before
    assert found(data) == []
    status = ["git", "-C", str(data / "volumes/users/alice"), "status", "--porcelain"]
    assert subprocess.check_output(status, text=True) == ""


def test_an_index_that_is_locked_is_told_and_does_not_stop_the_others(data: Path) -> None:
    (gitdir(data) / "index").unlink()
    lock = gitdir(data) / "index.lock"
    lock.touch()
    findings = list(Doctor(data, repair=True).examine())
    assert ("git users/alice/.git", "broken") in [(one.check, one.state) for one in findings]
    assert "journal" in {one.check for one in findings}
    lock.unlink()
    assert ("index users/alice/.git", "repaired") in checks(data, repair=True)


def rows(data: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data / "llmos.db")) as database, database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM traces WHERE trace_id = (SELECT min(trace_id) FROM traces)", "1 event in Git has no row"),
        ('UPDATE traces SET "offset" = "offset" + 1 WHERE blob <> \'\'', "4 rows point to a place"),
        (
            "UPDATE traces SET blob = '' WHERE trace_id = (SELECT min(trace_id) FROM traces)",
            "1 row says that an event waits",
        ),
        (
            "UPDATE traces SET trace_id = '0' || substr(trace_id, 2, 24) || 'X' WHERE blob = ''",
            "neither in Git nor waiting",
        ),
    ],
)
def test_rows_that_disagree_with_git_are_told(data: Path, statement: str, said: str) -> None:
    rows(data, statement)
    wrong = [one for one in found(data) if one.check == "traces user:alice"]
    assert any(said in one.message for one in wrong), [one.message for one in found(data)]
    assert all("reindex" in one.hint for one in wrong)


def test_events_in_git_and_in_the_journal_are_told(data: Path, tmp_path: Path) -> None:
    """As a crash leaves them between the commit and the emptying of the journal."""

    async def crash() -> None:
        async with Instance.opened(tmp_path / "crash") as instance:
            await instance.log.record(trace(1))
            shutil.copytree(tmp_path / "crash/journal", tmp_path / "journal")
            await instance.log.fold()

    asyncio.run(crash())
    crashed = tmp_path / "crash"
    shutil.rmtree(crashed / "journal")
    shutil.move(tmp_path / "journal", crashed / "journal")
    said = [one.message for one in Doctor(crashed).examine() if one.check == "journal" and one.state == "warning"]
    assert said == ["1 event of user:alice is in Git and still in the journal, as a crash leaves them."]
    assert data.is_dir()


def test_a_damaged_stretch_of_the_journal_is_told_and_left(data: Path) -> None:
    (segment,) = [path for path in (data / "journal").glob("*.seg") if b"Goal 9" in path.read_bytes()]
    content = bytearray(segment.read_bytes())
    start = content.index(b"Goal 9")
    content[start] ^= 1
    frame = bytes(content[start - 200 : start + 2000])
    assert frame
    segment.write_bytes(content)
    before = segment.read_bytes()
    states = checks(data)
    assert segment.read_bytes() == before
    assert ("traces user:alice", "broken") in states


def test_an_event_of_the_journal_that_nobody_knows_is_told_and_left(data: Path) -> None:
    journal = LocalJournal(data / "journal")

    async def add() -> None:
        await journal.append("user:alice", "01K9", b'{"v":9,"kind":"song"}')

    asyncio.run(add())
    journal.close()
    for repair in (False, True):
        said = [one.message for one in found(data, repair=repair) if one.check == "journal"]
        assert said == ["1 event of the journal says nothing that this version knows, and stays there."]


def test_a_journal_of_a_volume_without_a_folder_is_told(data: Path) -> None:
    shutil.rmtree(data / "volumes/users/alice")
    assert ("journal", "warning") in checks(data)


def test_what_processes_left_is_removed_when_it_is_old(data: Path) -> None:
    old = time.time() - 3 * 86_400
    (data / "tmp").mkdir(mode=0o700, exist_ok=True)
    (data / "tmp/upload-1").write_text("x")
    (data / "tmp/backup-2").mkdir()
    (data / "tmp/young").write_text("x")
    temporary = gitdir(data) / "objects/pack/tmp_pack_1"
    temporary.write_text("x")
    for path in (data / "tmp/upload-1", data / "tmp/backup-2", temporary):
        os.utime(path, (old, old))
    (data / "erasures").mkdir(mode=0o700)
    (data / "erasures/01X.erasure").touch(mode=0o600)
    (gitdir(data) / PLAN).write_text("{}")
    assert checks(data) == {("left over", "warning"), ("erasures", "warning"), ("scrub", "warning")}
    assert ("left over", "repaired") in checks(data, repair=True)
    assert [path.name for path in (data / "tmp").iterdir()] == ["young"]
    assert not temporary.exists()


def test_links_are_told_and_nothing_behind_them_is_touched(data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(data / "volumes/users/alice", outside)
    (data / "volumes/users/alice").symlink_to(outside)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    (data / "keys/link").symlink_to(secret)
    lock = outside / ".git/refs/heads/main.lock"
    lock.write_text("")
    os.utime(lock, (0, 0))
    said = found(data, repair=True)
    assert [one.message.split(" is a")[0] for one in said if one.check == "links"] == [
        "keys/link",
        "volumes/users/alice",
    ]
    assert lock.exists()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o644
    (data / "volumes/users").rename(tmp_path / "users")
    (data / "volumes/users").symlink_to(tmp_path / "users")
    assert Doctor(data).repositories() == []


def test_keys_that_cannot_sign_are_told(data: Path) -> None:
    (data / "admin.key").write_text("")
    assert checks(data) == {("keys", "warning")}
    (data / "keys" / CURRENT).write_text("garbage")
    assert ("keys", "broken") in checks(data)
    (data / "keys" / LEDGER).write_text("garbage")
    assert ("keys", "broken") in checks(data)
    for path in (data / "keys").iterdir():
        path.unlink()
    assert ("keys", "warning") in checks(data)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_told(data: Path) -> None:
    (data / "keys" / CURRENT).chmod(0)
    assert ("keys", "broken") in checks(data)


def test_a_check_that_cannot_look_does_not_stop_the_others(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., str] = Path.read_text

    def denied(self: Path, *given: object, **named: object) -> str:
        if self.name == "admin.key":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *given, **named)

    monkeypatch.setattr(Path, "read_text", denied)
    said = [one for one in found(data) if one.check == "keys"]
    assert [(one.state, "admin.key" in one.message) for one in said] == [("broken", True)]
    assert any(one.check == "journal" for one in Doctor(data).examine())


def test_a_volume_that_is_broken_does_not_stop_the_others(data: Path) -> None:
    VolumeManager(data, Signer.open(data / "keys")).create(VolumeRef.team("sre"))
    for pack in (gitdir(data) / "objects/pack").glob("*.pack"):
        pack.unlink()
    states = checks(data, repair=True)
    assert ("git users/alice/.git", "broken") in states
    assert not [state for state in states if "teams" in state[0]]
    assert fsck(data / "volumes/teams/sre/.git") == ""


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ("git version 2.31.0", ""),
        ("git version 2.30.9 (Apple)", "2.30"),
        ("nonsense", "nonsense"),
        ("git version 3.0", ""),
    ],
)
def test_an_old_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, problem: str) -> None:
    (tmp_path / "git").write_text(f"#!/bin/sh\necho '{says}'\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    said = git_problem()
    assert bool(said) == bool(problem)
    assert problem in said


def test_a_repaired_volume_goes_on(data: Path) -> None:
    (gitdir(data) / "refs/heads/main").write_text("")
    (gitdir(data) / "index").write_bytes(b"x")
    found(data, repair=True)
    volume = VolumeManager(data, Signer.open(data / "keys")).open(PLATFORM, ALICE, write=True)
    volume.write_skill("next", "---\nname: next\ndescription: x.\n---\n")
    assert isinstance(volume.store, LocalGitStore)
    assert [commit.subject for commit in volume.get_git_log(2)] == ["Create skill: next", "Update skill: deploy"]
