from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from erasing import MARKER, MINE, Erasing, gone, record, secret
from hypothesis import given
from hypothesis import strategies as st
from trace_instance import ALICE, NOV, trace

from llmos_lite.core.traces.archive import KEPT_AFTER_RESTORE, month_of
from llmos_lite.core.traces.erasures import Erasure, Erasures
from llmos_lite.core.traces.keeping import MS_PER_DAY, Keeping, Rules, _months_before
from llmos_lite.volumes.access import PLATFORM, SYSTEM

DAY = 1440
YESTERDAY = NOV + 61 * MS_PER_DAY
"""New year's day of 2027."""


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Erasing]:
    async with Erasing.opened(tmp_path / "data") as instance:
        yield instance


def keeping(instance: Erasing, *, days: int = 0, months: int = 0, now: int = YESTERDAY) -> Keeping:
    return Keeping(instance.volumes, instance.eraser, instance.archives, Rules(days, months), clock=lambda: now)


async def test_what_is_older_than_the_retention_is_erased_without_a_tombstone(instance: Erasing) -> None:
    await record(instance, *[secret(day * DAY) for day in (0, 20, 35)], trace(45 * DAY), trace(60 * DAY))
    await keeping(instance, days=20).look()
    assert {row.trace_id for row in (await instance.log.page(ALICE)).items} == {trace(45 * DAY).id, trace(60 * DAY).id}
    assert await instance.catalog.erasure.tombstones([secret(0).id]) == set()
    assert list(instance.volumes.open(PLATFORM, MINE).traces.branches()) == ["2026-12"]
    assert Erasures(instance.data / "erasures").all() == []
    team = instance.volumes.open(PLATFORM, SYSTEM)
    assert team.traces.branches() == {}
    gone(instance)


async def test_a_volume_says_for_itself_how_long(instance: Erasing) -> None:
    await record(instance, trace(0))
    volume = instance.volumes.open(PLATFORM, MINE, write=True)
    for said, left in ((0, 1), ("soon", 1), (True, 1), (-3, 1), (100, 1), (30, 0)):
        volume.set_metadata({"retention_days": said})
        await keeping(instance, days=0).look()
        assert (await instance.log.page(ALICE)).total == left, said


async def test_retention_reaches_archives(instance: Erasing) -> None:
    await record(instance, secret(0), secret(40 * DAY), trace(60 * DAY))
    await instance.archives.pack(MINE, "2026-11")
    await keeping(instance, days=10).look()
    assert await instance.archives.listed(ALICE) == []
    gone(instance)
    await keeping(instance, days=10).look()
    assert (await instance.log.page(ALICE)).total == 1


async def test_old_months_are_archived_by_themselves_unless_they_just_came_back(instance: Erasing) -> None:
    await record(instance, trace(0), trace(40 * DAY), trace(60 * DAY))
    await keeping(instance, months=1).look()
    assert [one.month for one in await instance.archives.listed(ALICE)] == ["2026-11"]
    await instance.archives.restore(ALICE, "2026-11")
    assert instance.archives.restored_at(MINE, "2026-11") > NOV
    for ago, months in ((KEPT_AFTER_RESTORE, []), (KEPT_AFTER_RESTORE + 1, ["2026-11"])):
        mark = json.dumps({"at": YESTERDAY - ago}).encode()
        instance.archives._objects.put("users/alice/2026-11.restored", mark)
        await keeping(instance, months=1).look()
        assert [one.month for one in await instance.archives.listed(ALICE)] == months


async def test_a_broken_volume_does_not_stop_the_others(instance: Erasing) -> None:
    await record(instance, trace(0), trace(1, "bob"), trace(40 * DAY, "bob"))
    (instance.data / "volumes/users/alice/traces.git/refs/heads/2026-11").write_text("nonsense\n")
    await keeping(instance, days=30).look()
    assert (await instance.catalog.traces.get(trace(1, "bob").id)) is None


async def test_starting_hides_and_finishes_what_was_noted(instance: Erasing) -> None:
    await record(instance, secret(1), trace(2))
    (instance.data / "archive" / "users" / "alice").mkdir(parents=True)
    (instance.data / "archive" / "users" / "alice" / "2026-01-x.bundle.xz").write_text(MARKER)
    erasure = Erasure(erasure_id="01", by="alice", at=NOV, copies={"user:alice": (secret(1).id,)}, marks=b"0" * 16)
    Erasures(instance.data / "erasures").put(erasure)
    kept = keeping(instance)
    kept.start()
    assert secret(1).id in instance.log.erased
    for _ in range(2000):
        if not Erasures(instance.data / "erasures").all():
            break
        await asyncio.sleep(0.01)
    await kept.stop()
    await kept.stop()
    assert {row.trace_id for row in (await instance.log.page(ALICE)).items} == {trace(2).id}
    assert [one for one in instance.archives._objects.listed() if "bundle" in one] == []


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 240))
def test_months_are_counted_back(now: int, count: int) -> None:
    at = datetime.fromtimestamp(now / 1000, UTC)
    year, month = map(int, _months_before(now, count).split("-")) if at.year * 12 - count > 1970 * 12 else (0, 0)
    if year:
        assert (at.year - year) * 12 + at.month - month == count
    assert month_of(now) == f"{at:%Y-%m}"
