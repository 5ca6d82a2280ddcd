from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_lite.core import upkeep
from llmos_lite.core.upkeep import HandEdits
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

SKILL = "---\nname: By hand\ndescription: Dropped in.\n---\n# By hand\n"
ALICE, BOB = VolumeRef.user("alice"), VolumeRef.user("bob")


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[VolumeManager]:
    volumes = VolumeManager(tmp_path, Signer.open(tmp_path / "keys"))
    for ref in (SYSTEM, ALICE, BOB):
        volumes.create(ref)
    yield volumes
    volumes.close()


def drop(volumes: VolumeManager, ref: VolumeRef, name: str = "by-hand.md") -> None:
    (volumes.folder(ref) / "skills" / name).write_text(SKILL)


def test_a_file_dropped_into_any_work_tree_becomes_a_commit(volumes: VolumeManager) -> None:
    heard: list[VolumeRef] = []
    edits = HandEdits(volumes, heard.append)
    edits.look()
    heard.clear()
    assert edits.look() == 0
    assert heard == []
    for ref in (SYSTEM, ALICE):
        drop(volumes, ref)
    assert edits.look() == 2
    assert set(heard) == {SYSTEM, ALICE}
    commit = volumes.open(PLATFORM, ALICE).get_git_log(1)[0]
    assert (commit.author, commit.committer) == ("alice", "local-files")
    assert edits.look() == 0


def test_users_take_turns_when_there_is_no_time(volumes: VolumeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "BUDGET", -1.0)
    edits = HandEdits(volumes)
    drop(volumes, ALICE)
    drop(volumes, BOB)
    assert [edits.look(), edits.look(), edits.look()] == [1, 1, 0]


def test_a_volume_that_cannot_be_read_is_a_problem_and_stops_no_other(
    volumes: VolumeManager, caplog: pytest.LogCaptureFixture
) -> None:
    edits = HandEdits(volumes)
    edits.look()
    volumes.close()
    head = volumes.folder(BOB) / ".git" / "HEAD"
    kept = head.read_text()
    head.unlink()
    drop(volumes, ALICE)
    with caplog.at_level(logging.WARNING, logger="llmos.upkeep"):
        assert edits.look() == 1
        edits.look()
    assert list(edits.problems) == ["user:bob"]
    assert len(caplog.records) == 1
    head.write_text(kept)
    edits.look()
    assert edits.problems == {}


async def test_it_looks_by_itself_until_it_is_stopped(volumes: VolumeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PERIOD", 0.01)
    found = threading.Event()
    edits = HandEdits(volumes, lambda ref: found.set() if ref == ALICE else None)
    edits.start()
    drop(volumes, ALICE)
    assert await asyncio.to_thread(found.wait, 10)
    await edits.stop()
    await edits.stop()
    drop(volumes, ALICE, "later.md")
    assert edits.look() == 1


async def test_the_first_look_does_not_wait_for_a_period(
    volumes: VolumeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "PERIOD", 600.0)
    found = threading.Event()
    drop(volumes, ALICE)
    edits = HandEdits(volumes, lambda ref: found.set() if ref == ALICE else None)
    edits.start()
    assert await asyncio.to_thread(found.wait, 10)
    await edits.stop()


async def test_a_mistake_does_not_end_the_looking(volumes: VolumeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PERIOD", 0.01)
    twice = threading.Event()
    looks: list[int] = []

    def look() -> int:
        looks.append(1)
        if len(looks) > 1:
            twice.set()
        raise ZeroDivisionError

    edits = HandEdits(volumes)
    monkeypatch.setattr(edits, "look", look)
    edits.start()
    assert await asyncio.to_thread(twice.wait, 10)
    await edits.stop()
