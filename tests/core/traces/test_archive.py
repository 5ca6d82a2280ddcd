"""Archives with the real lower layers: out of Git and back, byte for byte, whatever is erased or killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import lzma
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from erasing import MARKER, MINE, Erasing, gone, record, secret
from fork_server import ForkServer
from planted import fsck, objects_of, traces_of
from trace_instance import ADMIN, ALICE, BOB, NOV, SRE, trace

from llmos_lite.core.traces.lines import encode_event
from llmos_lite.core.traces.trace import SCHEMA, Event, Feedback, make_ulid
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound, StorageFailed
from llmos_lite.volumes.access import PLATFORM, VolumeRef

MARCH = NOV - 245 * 86_400_000
"""2026-03-01, in the first hour."""


def old(number: int, **given: object) -> object:
    return trace(number - 245 * 1440, **given)


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Erasing]:
    async with Erasing.opened(tmp_path / "data") as instance:
        yield instance


async def filled(instance: Erasing) -> dict[str, bytes]:
    """Keep traces of March, with a rating, and of November; return the objects of the repository."""
    march = [secret(number - 245 * 1440, share="none") for number in range(3)]
    await instance.log.store_many(MINE, [*march, trace(-244 * 1440), trace(1)])
    await record(instance, trace(5))
    instance.volumes.forget_traces(MINE)
    return objects_of(traces_git(instance))


def traces_git(instance: Erasing, volume: str = "users/alice") -> Path:
    return instance.data / "volumes" / volume / "traces.git"


def archived(instance: Erasing) -> list[str]:
    return instance.archives._objects.listed()


async def test_a_month_goes_into_the_archive_and_comes_back_byte_for_byte(instance: Erasing) -> None:
    before = await filled(instance)
    tip = instance.volumes.open(PLATFORM, MINE).traces.branches()["2026-03"]
    rows = (await instance.log.page(ALICE)).items
    done = await instance.archives.archive(ALICE, "2026-03")
    assert (done.traces, done.events, done.tip, done.volume) == (4, 4, tip, "user:alice")
    assert MARCH <= done.first < done.last
    assert done.size < done.plain_size
    assert list(instance.volumes.open(PLATFORM, MINE).traces.branches()) == ["2026-11"]
    assert not any(MARKER.encode() in body for body in objects_of(traces_git(instance)).values())
    assert fsck(traces_git(instance)) == ""
    assert (await instance.log.page(ALICE)).items == rows
    assert await instance.archives.listed(ALICE) == [done]
    await instance.archives.restore(ALICE, "2026-03")
    assert objects_of(traces_git(instance)) == before
    assert (await instance.log.get(ALICE, rows[-1].trace_id)).trace.goal == rows[-1].goal
    assert await instance.archives.listed(ALICE) == []
    assert [key for key in archived(instance) if "bundle" in key] == []


async def test_reading_an_archived_trace_says_where_it_is(instance: Erasing) -> None:
    await filled(instance)
    await instance.archives.archive(ALICE, "2026-03")
    oldest = (await instance.log.page(ALICE)).items[-1].trace_id
    for ask in (instance.log.get(ALICE, oldest), instance.log.feedback(ALICE, oldest, Feedback(rating="up"))):
        with pytest.raises(Conflict) as caught:
            await ask
        assert caught.value.code == "trace.archived"
        assert "llmos traces restore 2026-03 --volume user:alice" in caught.value.hint
    with pytest.raises(NotFound):
        await instance.log.get(BOB, oldest)
    lines = [json.loads(line) async for line in instance.log.export(ALICE)]
    assert len(lines) == 2


async def test_an_archive_is_a_bundle_that_stock_git_clones(instance: Erasing, tmp_path: Path) -> None:
    await filled(instance)
    done = await instance.archives.archive(ALICE, "2026-03")
    packed = instance.data / "archive" / "users" / "alice" / done.bundle
    (tmp_path / "a.bundle").write_bytes(lzma.decompress(packed.read_bytes()))
    command = ["git", "clone", "-q", "-b", "2026-03", tmp_path / "a.bundle", tmp_path / "cloned"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    assert len(list((tmp_path / "cloned" / "traces" / "2026" / "03").rglob("*.jsonl"))) == 2


async def test_erasing_reaches_an_archive(instance: Erasing) -> None:
    await filled(instance)
    before = await instance.archives.archive(ALICE, "2026-03")
    ids = [row.trace_id for row in (await instance.log.page(ALICE, text="zanzibar")).items]
    for trace_id in ids:
        report = await instance.eraser.erase(ALICE, trace_id)
        assert report.volumes[0].archives == ["2026-03"]
    (left,) = await instance.archives.listed(ALICE)
    assert (left.traces, left.archived) == (1, before.archived)
    gone(instance)
    await instance.archives.restore(ALICE, "2026-03")
    assert (await instance.log.page(ALICE)).total == 3
    assert (await instance.log.get(ALICE, trace(-244 * 1440).id)).trace == trace(-244 * 1440)
    gone(instance)


async def test_an_archive_of_which_nothing_is_left_is_gone(instance: Erasing) -> None:
    await filled(instance)
    await instance.archives.archive(ALICE, "2026-03")
    await instance.eraser.forget(ALICE, "alice")
    assert await instance.archives.listed(ALICE) == []
    assert archived(instance) == []
    gone(instance)


async def test_an_archive_from_before_brings_no_erased_trace_back(instance: Erasing) -> None:
    await filled(instance)
    await instance.archives.archive(ALICE, "2026-03")
    copies = {key: instance.archives._objects.read(key) for key in archived(instance)}
    for row in (await instance.log.page(ALICE, text="zanzibar")).items:
        await instance.eraser.erase(ALICE, row.trace_id)
    for key in archived(instance):
        instance.archives._objects.remove(key)
    for key, content in copies.items():  # somebody brings the old files back
        instance.archives._objects.put(key, content)
    await instance.archives.restore(ALICE, "2026-03")
    assert (await instance.log.page(ALICE)).total == 3
    gone(instance)


async def test_nothing_comes_back_when_all_of_it_was_erased(instance: Erasing) -> None:
    await instance.log.store_many(MINE, [secret(-245 * 1440), trace(1)])
    await instance.archives.archive(ALICE, "2026-03")
    copies = {key: instance.archives._objects.read(key) for key in archived(instance)}
    await instance.eraser.erase(ALICE, secret(-245 * 1440).id)
    for key, content in copies.items():
        instance.archives._objects.put(key, content)
    await instance.archives.restore(ALICE, "2026-03")
    assert (await instance.log.page(ALICE)).total == 1
    gone(instance)


async def test_an_import_into_an_archived_month_is_joined_with_it(instance: Erasing) -> None:
    await filled(instance)
    await instance.archives.archive(ALICE, "2026-03")
    late = trace(-240 * 1440)
    await instance.log.store_many(MINE, [late])
    await instance.archives.restore(ALICE, "2026-03")
    assert (await instance.log.page(ALICE)).total == 7
    for row in (await instance.log.page(ALICE)).items:
        await instance.log.get(ALICE, row.trace_id)
    await instance.archives.archive(ALICE, "2026-03")
    await instance.log.store_many(MINE, [trace(-239 * 1440)])
    done = await instance.archives.archive(ALICE, "2026-03")
    assert done.traces == 6
    assert await instance.archives.archive(ALICE, "2026-03") == done
    assert fsck(traces_git(instance)) == ""


async def test_a_month_that_was_coming_back_leaves_nothing_behind(instance: Erasing) -> None:
    await filled(instance)
    store = instance.volumes.open(PLATFORM, MINE, write=True).traces
    store.create_branch("restoring-2026-01", store.branches()["2026-03"])
    await instance.archives.archive(ALICE, "2026-03")
    await instance.archives.finish(MINE)
    assert list(store.branches()) == ["2026-11"]
    instance.volumes.forget_traces(MINE)
    assert fsck(traces_git(instance)) == ""


async def test_who_may_archive_and_what_can_be(instance: Erasing) -> None:
    await filled(instance)
    for month, code in (("2026-13", "month.invalid"), ("9999-01", "month.not_over")):
        with pytest.raises(Invalid) as caught:
            await instance.archives.archive(ALICE, month)
        assert caught.value.code == code
    for ask in (instance.archives.archive(ALICE, "2020-01"), instance.archives.restore(ALICE, "2020-01")):
        with pytest.raises(NotFound):
            await ask
    with pytest.raises(NotFound):
        await instance.archives.archive(BOB, "2026-03", MINE)
    with pytest.raises(NotFound):
        await instance.archives.listed(BOB, MINE)
    with pytest.raises(Forbidden):
        await instance.archives.archive(BOB, "2026-03", SRE)
    assert (await instance.archives.archive(ADMIN, "2026-03", MINE)).traces == 4
    assert len(await instance.archives.listed(ADMIN, MINE)) == 1


async def test_a_damaged_archive_changes_nothing(instance: Erasing) -> None:
    await filled(instance)
    done = await instance.archives.archive(ALICE, "2026-03")
    path = instance.data / "archive" / "users" / "alice" / done.bundle
    good = path.read_bytes()
    path.write_bytes(good[:-9] + b"x" * 9)
    with pytest.raises(StorageFailed) as caught:
        await instance.archives.restore(ALICE, "2026-03")
    assert caught.value.code == "archive.damaged"
    path.unlink()
    with pytest.raises(StorageFailed):
        await instance.archives.restore(ALICE, "2026-03")
    path.write_bytes(good)
    await instance.archives.restore(ALICE, "2026-03")
    manifest = instance.data / "archive" / "users" / "alice" / "2026-02.json"
    manifest.write_text("{")
    with pytest.raises(StorageFailed):
        await instance.archives.listed(ALICE)


async def test_a_reindex_leaves_archived_rows(instance: Erasing) -> None:
    await filled(instance)
    rated = trace(-244 * 1440).id
    await instance.log.feedback(ALICE, rated, Feedback(rating="down"))  # of today: it lies in another month
    await instance.log.fold()
    await instance.archives.archive(ALICE, "2026-03")
    rows = (await instance.log.page(ALICE)).items
    await instance.log.reindex()
    assert (await instance.log.page(ALICE)).items == rows
    await instance.catalog.erasure.remove([row.trace_id for row in rows])
    await instance.log.reindex(hooks=[instance.archives.index])
    assert [row.trace_id for row in (await instance.log.page(ALICE)).items] == [row.trace_id for row in rows]
    with pytest.raises(Conflict):
        await instance.log.get(ALICE, rows[-1].trace_id)
    await instance.archives.restore(ALICE, "2026-03")
    assert (await instance.log.page(ALICE)).items == rows


async def test_an_archived_rating_is_seen_after_a_reindex(instance: Erasing) -> None:
    rated = trace(-244 * 1440)
    event = Event(
        v=SCHEMA, kind="feedback", id=make_ulid(rated.time + 1), trace_id=rated.id, at=rated.time + 1,
        volume="user:alice", by="alice", feedback=Feedback(rating="down"),
    )  # fmt: skip
    await record(instance, rated)
    await instance.journal.append("user:alice", rated.id, encode_event(event)[1])
    await instance.log.fold()
    await instance.archives.archive(ALICE, "2026-03")
    await instance.catalog.erasure.remove([rated.id])
    await instance.log.reindex(hooks=[instance.archives.index])
    (row,) = (await instance.log.page(ALICE)).items
    assert (row.rating, row.outcome) == ("down", "failure")


async def test_bundles_that_no_manifest_names_are_removed(instance: Erasing) -> None:
    await filled(instance)
    done = await instance.archives.archive(ALICE, "2026-03")
    stray = instance.data / "archive" / "users" / "alice" / "2026-03-00000000.bundle.xz"
    stray.write_bytes(lzma.compress(MARKER.encode()))
    await instance.archives.finish(MINE)
    assert not stray.exists()
    assert await instance.archives.listed(ALICE) == [done]


STEPS = ("put", "drop", "set_archived", "prune", "unbundle", "mark", "point", "place", "remove")
CRASH = """
import asyncio, os, sys
sys.path[:0] = {paths!r}
from test_archive import *
from llmos_lite.engines.objects import StoredObjects
from llmos_lite.core.traces.archive import Archives
from llmos_lite.engines.git_history import History
from llmos_lite.records.catalog_erasure import ErasureRows

TARGETS = dict(
    put=(StoredObjects, "put"), drop=(History, "drop"), set_archived=(ErasureRows, "set_archived"),
    prune=(History, "_prune"), unbundle=(History, "unbundle"), mark=(Archives, "_mark"),
    point=(History, "point"), place=(Archives, "_place"), remove=(StoredObjects, "remove"),
)

def kill_in(owner, name, after, times):
    inner = getattr(owner, name)
    left = [times]
    def die():
        left[0] -= 1
        if not left[0]: os.kill(os.getpid(), 9)
    if asyncio.iscoroutinefunction(inner):
        async def dying(*args, **given):
            if not after: die()
            result = await inner(*args, **given)
            if after: die()
            return result
    else:
        def dying(*args, **given):
            if not after: die()
            result = inner(*args, **given)
            if after: die()
            return result
    setattr(owner, name, dying)

async def main():
    async with Erasing.opened(Path({data!r})) as instance:
        kill_in(*TARGETS[{step!r}], {after!r}, {times})
        await instance.archives.archive(ALICE, "2026-03")
        await instance.archives.restore(ALICE, "2026-03")

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "after", [pytest.param(False, id="before", marks=pytest.mark.soak), pytest.param(True, id="after")]
)
@pytest.mark.parametrize(("step", "times"), [*((step, 1) for step in STEPS), ("put", 2), ("remove", 2)])
async def test_kill_9_in_the_middle_loses_nothing(
    tmp_path: Path, forks: ForkServer, step: str, *, after: bool, times: int
) -> None:
    data = tmp_path / "data"
    async with Erasing.opened(data) as instance:
        before = await filled(instance)
    here = Path(__file__).parent
    code = CRASH.format(paths=[str(here), str(here.parents[1])], data=str(data), step=step, after=after, times=times)
    ended = await asyncio.to_thread(forks.run, code)
    assert ended.code == -9, ended.said
    async with Erasing.opened(data) as instance:
        await instance.archives.finish(MINE)
        await instance.archives.finish(VolumeRef.team("sre"))
        assert (await instance.log.page(ALICE)).total == 6
        if await instance.archives.listed(ALICE):
            await instance.archives.restore(ALICE, "2026-03")
        for row in (await instance.log.page(ALICE)).items:
            await instance.log.get(ALICE, row.trace_id)
        assert objects_of(traces_git(instance)) == before
        assert fsck(traces_git(instance)) == ""
        assert traces_of(instance.data / "archive", MARKER) == []
