from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_lite.core import maintenance
from llmos_lite.core.accounts.permissions import Actor, Role, Scope
from llmos_lite.core.maintenance import Maintenance
from llmos_lite.engines.git import Author
from llmos_lite.engines.git_upkeep import Upkeep, count_packs
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Forbidden, NotFound
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

ALICE, BOB = VolumeRef.user("alice"), VolumeRef.user("bob")


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[VolumeManager]:
    volumes = VolumeManager(tmp_path, Signer.open(tmp_path / "keys"))
    for ref in (SYSTEM, ALICE, BOB):
        volumes.create(ref)
    yield volumes
    volumes.close()


def fold(volumes: VolumeManager, ref: VolumeRef, count: int = 52) -> None:
    traces = volumes.open(PLATFORM, ref, write=True).traces
    for turn in range(count):
        traces.commit({f"traces/{turn}.jsonl": b"x" * turn}, "Fold", Author("a", "a@x"), branch="2026-11")


def packs(volumes: VolumeManager, ref: VolumeRef) -> int:
    return count_packs(volumes.folder(ref) / "traces.git")


def test_only_volumes_that_need_it_are_looked_after(volumes: VolumeManager) -> None:
    fold(volumes, ALICE)
    keeper = Maintenance(volumes)
    [done] = keeper.look()
    assert (done.volume, done.problem, done.upkeep.packs_before) == ("user:alice", None, 52)
    assert packs(volumes, ALICE) == 1
    assert keeper.look() == []
    assert len(volumes.open(PLATFORM, ALICE).traces.tree("traces", at="2026-11")) == 52


def test_a_volume_that_fails_stops_no_other_and_waits(
    volumes: VolumeManager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ref in (ALICE, BOB):
        fold(volumes, ref)
    pack = next((volumes.folder(ALICE) / "traces.git/objects/pack").glob("*.pack"))
    pack.chmod(0o600)
    pack.write_bytes(b"PACK")
    keeper = Maintenance(volumes)
    alice, bob = keeper.look()
    assert "git repack" in (alice.problem or "")
    assert "user:alice" in caplog.text
    assert bob.problem is None
    assert keeper.look() == [], "not every minute"
    monkeypatch.setattr(maintenance, "RETRY", -1.0)
    keeper._failed.clear()
    assert len(keeper.look()) == len(keeper.look()) == 1


async def test_it_runs_by_itself(volumes: VolumeManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "PERIOD", 0.01)
    done, real = threading.Event(), volumes.maintain

    def fail_then_do(ref: VolumeRef, *, always: bool = False) -> Upkeep | None:
        if not failed:
            failed.append(ref)
            raise RuntimeError("unexpected")
        found = real(ref, always=always)
        done.set()
        return found

    failed: list[VolumeRef] = []
    monkeypatch.setattr(volumes, "maintain", fail_then_do)
    fold(volumes, BOB)
    keeper = Maintenance(volumes)
    keeper.start()
    assert await asyncio.to_thread(done.wait, 20)
    await keeper.stop()
    await keeper.stop()
    assert packs(volumes, BOB) == 1
    fold(volumes, BOB)
    assert keeper.look() == [], "it was stopped"


async def test_by_hand_all_are_looked_after_and_only_an_admin_may(volumes: VolumeManager) -> None:
    keeper = Maintenance(volumes)
    admin = Actor("admin", Role.SYSTEM_ADMIN, scopes=frozenset(Scope))
    assert [one.volume for one in await keeper.run(admin)] == ["system", "user:alice", "user:bob"]
    [one] = await keeper.run(admin, ALICE)
    assert one.upkeep.packs_after == one.upkeep.packs_before == 1
    with pytest.raises(NotFound):
        await keeper.run(admin, VolumeRef.user("nobody"))
    assert not volumes.exists(VolumeRef.user("nobody"))
    with pytest.raises(Forbidden):
        await keeper.run(Actor("alice"))
