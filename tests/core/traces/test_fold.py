"""Folding: whatever stops it, every event is in Git once, and nothing but a broken volume waits."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from trace_instance import ALICE, BOB, SRE, Instance, trace

from llmos_lite.core.traces import fold as fold_module
from llmos_lite.core.traces.cutting import TOMBSTONE
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.rows import TraceIndexer
from llmos_lite.core.traces.segments import Placed, list_segments, read_segment
from llmos_lite.core.traces.trace import Event, Feedback, Message, Outcome, Share, Trace
from llmos_lite.engines.git import VolumeInterface
from llmos_lite.engines.journal import Batch
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.engines.journal_log import Place
from llmos_lite.errors import NotFound, StorageFailed, Unavailable
from llmos_lite.records.catalog_traces import EventRecord
from llmos_lite.volumes.access import PLATFORM, VolumeRef


class Crash(Exception):
    """The process dies here, as far as the code under test can tell."""


def in_git(instance: Instance, ref: VolumeRef) -> Counter[str]:
    """Count the events of a volume by id, over all segments of all months."""
    store = instance.volumes.open(PLATFORM, ref).traces
    return Counter(
        placed.event.id
        for branch, head in store.branches().items()
        for _, blob in list_segments(store, head)
        for placed in read_segment(branch, blob, store.blob(blob))
    )


def commits(instance: Instance, ref: VolumeRef) -> int:
    store = instance.volumes.open(PLATFORM, ref).traces
    return sum(len(store.log(branch=branch)) for branch in store.branches())


def crash_after(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Let the process die right after one step of a fold, or in the middle of the commits."""
    fix, finish, put, commit = LocalJournal.fix, LocalJournal.finish, TraceIndexer.put, fold_module.commit_segments

    def fixing(self: LocalJournal, volume: str, name: Callable[..., Sequence[str]], *, limit: int) -> Batch | None:
        fix(self, volume, name, limit=limit)
        raise Crash

    def committing(store: VolumeInterface, segments: Sequence[object], *rest: object, **more: object) -> list[Placed]:
        commit(store, segments[: 1 if step == "first commit" else None], *rest, **more)  # type: ignore[arg-type]
        raise Crash

    async def putting(self: TraceIndexer, placed: Sequence[Placed]) -> None:
        await put(self, placed)
        raise Crash

    def finishing(self: LocalJournal, batch: Batch) -> None:
        finish(self, batch)
        raise Crash

    patches = {
        "fix": (LocalJournal, "fix", fixing),
        "first commit": (fold_module, "commit_segments", committing),
        "commit": (fold_module, "commit_segments", committing),
        "rows": (TraceIndexer, "put", putting),
        "finish": (LocalJournal, "finish", finishing),
    }
    monkeypatch.setattr(*patches[step])


@pytest.mark.parametrize("step", ["fix", "first commit", "commit", "rows", "finish"])
async def test_a_crash_between_any_two_steps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    traces = [trace(number) for number in (0, 1, 60 * 24 * 31, 60 * 24 * 31 + 1)]  # in two months
    async with Instance.opened(tmp_path) as first:
        for one in traces:
            await first.log.record(one)
        await first.log.feedback(ALICE, traces[0].id, Feedback("up"))
        with monkeypatch.context() as patched:
            crash_after(patched, step)
            with pytest.raises(Crash):
                await first.log.fold(ALICE.volume)
    async with Instance.opened(tmp_path) as second:
        second.log.start()
        assert (await second.log.page(ALICE)).total == 4
        await second.log.record(trace(2))
        await second.log.stop()
        assert second.journal.pending() == []
        counted = in_git(second, ALICE.volume)
        assert set(counted.values()) == {1}
        assert len(counted) == 6
        before = commits(second, ALICE.volume)
        rows = (await second.log.page(ALICE)).items
        assert [row.trace_id for row in rows] == sorted((one.id for one in [*traces, trace(2)]), reverse=True)
        assert rows[-1].outcome is Outcome.SUCCESS
        for one in traces:
            assert (await second.log.get(ALICE, one.id)).location is not None
        assert commits(second, ALICE.volume) == before


async def test_a_replay_with_other_redaction_writes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Instance.opened(tmp_path) as first:
        await first.log.record(trace(1))
        with monkeypatch.context() as patched:
            crash_after(patched, "commit")
            with pytest.raises(Crash):
                await first.log.fold(ALICE.volume)
    async with Instance.opened(tmp_path, Hide()) as second:
        await second.log.fold()
        assert in_git(second, ALICE.volume) == {trace(1).id: 1}
        assert second.journal.pending() == []


class Hide:
    """Takes one word out."""

    def redact(self, event: Event) -> Event:
        if event.trace is None:
            return event
        hidden = tuple(
            Message(message.role, message.content.replace("Goal", "<word:1>")) for message in event.trace.messages
        )
        goal = event.trace.goal.replace("Goal", "<word:1>")
        return msgspec.structs.replace(event, trace=msgspec.structs.replace(event.trace, goal=goal, messages=hidden))


async def test_what_is_redacted_reaches_neither_git_nor_rows_nor_readers(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path, Hide()) as instance:
        await instance.log.record(trace(1, team="sre", share=Share.FULL))
        for _ in range(2):
            assert (await instance.log.get(ALICE, trace(1).id)).trace.goal == "<word:1> 1"
            assert (await instance.log.page(ALICE)).items[0].goal == "<word:1> 1"
            assert (await instance.log.page(ALICE, text="goal")).total == 0
            assert (await instance.log.page(BOB, volume=SRE)).items[0].goal == "<word:1> 1"
            await instance.log.fold()
        await instance.log.store_many(BOB.volume, [trace(2, "bob")])
        assert (await instance.log.get(BOB, trace(2, "bob").id)).trace.messages[0].content == "<word:1> 2"


class HideSecond(Hide):
    """Hides the goal of the second chat alone."""

    def redact(self, event: Event) -> Event:
        return super().redact(event) if event.trace is not None and event.trace.goal == "Goal 2" else event


async def test_a_line_in_which_nothing_is_redacted_goes_into_git_as_it_is_in_the_journal(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path, HideSecond()) as instance:
        for number in (1, 2, 3):
            await instance.log.record(trace(number))
        before = [entry.line for entry in instance.journal.pending()]
        await instance.log.fold()
        store = instance.volumes.open(PLATFORM, ALICE.volume).traces
        ((_, blob),) = [found for head in store.branches().values() for found in list_segments(store, head)]
        after = store.blob(blob).splitlines()
    assert [before[0], before[2]] == [after[0], after[2]]
    assert (b"Goal 2" in before[1], b"Goal 2" in after[1], b"<word:1> 2" in after[1]) == (True, False, True)


async def test_a_field_that_another_version_wrote_does_not_reach_git_unseen(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        await instance.log.record(trace(1))
        ((volume, line),) = [(entry.volume, entry.line) for entry in instance.journal.pending()]
        await instance.journal.append(volume, trace(1).id, line.replace(b'"v":1,', b'"v":1,"later":"a key",', 1))
    async with Instance.opened(tmp_path) as instance:
        await instance.log.settle()
        await instance.log.fold()
        store = instance.volumes.open(PLATFORM, ALICE.volume).traces
        blobs = [store.blob(blob) for head in store.branches().values() for _, blob in list_segments(store, head)]
    assert (b"Goal 1" in blobs[0], b"later" in blobs[0]) == (True, False)


def journal_bytes(instance: Instance) -> bytes:
    return b"".join(path.read_bytes() for path in (instance.data / "journal").glob("*.seg"))


async def test_a_line_of_a_later_version_stays_until_somebody_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fold_module, "FOLDED", 1)  # so that it is a whole batch, too
    async with Instance.opened(tmp_path) as instance:
        later = trace(2).id
        await instance.log.record(trace(1))
        for line in (b'{"v":2,"kind":"song"}', b"\xff{", b""):
            await instance.journal.append("user:alice", later, line)
        await instance.log.record(trace(3))
    async with Instance.opened(tmp_path) as instance:
        assert [row.trace_id for row in (await instance.log.page(ALICE)).items] == [trace(3).id, trace(1).id]
        assert [one.trace for one in [await instance.log.get(ALICE, trace(3).id)]] == [trace(3)]
        assert instance.journal.damaged == 3
        await instance.log.fold(ALICE.volume)
        assert in_git(instance, ALICE.volume) == {trace(1).id: 1, trace(3).id: 1}
        assert instance.journal.backlog() == instance.log.problems() == {}
        assert b"llmos_journal_damaged_total 3.0" in instance.metrics.render_metrics()
        told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
        assert len(told) == 3
        assert all("00000001.seg at byte " in one and "no event that this version knows" in one for one in told)
    async with Instance.opened(tmp_path) as instance:
        assert [entry.trace_id for entry in instance.journal.pending()] == [later] * 3
        await instance.log.fold(ALICE.volume)
        assert b"song" in journal_bytes(instance)
        instance.log.forget([later])
        await instance.log.fold(ALICE.volume)
        assert b"song" not in journal_bytes(instance)
        assert instance.journal.aside("user:alice") == []
        assert b"llmos_journal_damaged_total 3.0" in instance.metrics.render_metrics()  # no counter falls


async def test_the_fold_that_first_reads_an_erased_line_of_a_later_version_overwrites_it(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        await instance.journal.append("user:alice", trace(2).id, b'{"v":2,"kind":"song"}')
    async with Instance.opened(tmp_path) as instance:
        instance.log.forget([trace(2).id])
        await instance.log.fold(ALICE.volume)
        assert b"song" not in journal_bytes(instance)


async def test_a_trace_that_rots_in_the_journal_stops_neither_lists_nor_folding(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        for number in (1, 2, 3):
            await instance.log.record(trace(number))
    async with Instance.opened(tmp_path) as instance:
        await instance.log._folder._load()
        (segment,) = (tmp_path / "journal").glob("*.seg")
        segment.write_bytes(
            segment.read_bytes().replace(b"Answer 2", b"Answer 3")
        )  # still a line, and not what was said
        assert [row.goal for row in (await instance.log.page(ALICE)).items] == ["Goal 3", "Goal 1"]
        with pytest.raises(NotFound):
            await instance.log.get(ALICE, trace(2).id)
        await instance.log.record(trace(4))
        await instance.log.fold(ALICE.volume)
        assert in_git(instance, ALICE.volume) == {trace(one).id: 1 for one in (1, 3, 4)}
        assert instance.journal.damaged == 1


async def test_nothing_is_kept_of_a_volume_that_is_folded(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        folder = instance.log._folder
        async with folder.held("user:alice"):
            waiting = asyncio.create_task(instance.log.fold(ALICE.volume))
            await asyncio.sleep(0)
            assert list(folder._turns) == ["user:alice"]
            assert not waiting.done()
        await waiting
        for number in range(20):
            await instance.log.record(trace(number, f"u{number}"))
        await instance.log.fold()
        del waiting
        gc.collect()  # a task may hold what it raised
        assert len(folder._turns) == 0


async def test_a_broken_volume_is_told_and_stops_no_other(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        await instance.log.record(trace(1))
        await instance.log.fold()
        traces = tmp_path / "volumes" / "users" / "alice" / "traces.git"
        traces.rename(tmp_path / "aside")
        traces.write_text("not a repository")
        instance.volumes.close()
        instance.log.start()
        await instance.log.record(trace(2))
        await instance.log.record(trace(3, "bob"))
        await instance.log.fold()
        assert list(instance.log.problems()) == ["user:alice"]
        assert in_git(instance, BOB.volume) == {trace(3, "bob").id: 1}
        assert (await instance.log.get(ALICE, trace(2).id)).trace == trace(2)
        with pytest.raises((Unavailable, StorageFailed)):
            await instance.log.fold(ALICE.volume)
        traces.unlink()
        (tmp_path / "aside").rename(traces)
        await instance.log.stop()
        assert instance.log.problems() == {}
        assert in_git(instance, ALICE.volume) == {trace(1).id: 1, trace(2).id: 1}


async def test_a_volume_that_fails_is_tried_again_later(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path) as instance:
        folder = instance.log._folder
        await instance.log.record(trace(1))
        folder._seconds = 0
        due, pause = folder._due()
        assert (due, pause) == (["user:alice"], None)
        folder._fail("user:alice", ValueError("odd"))
        folder._fail("user:alice", ValueError("odd"))
        due, pause = folder._due()
        assert due == []
        assert pause is not None
        assert 1 < pause <= 2
        assert instance.log.problems() == {"user:alice": "ValueError: odd"}
        await instance.log.fold()
        assert instance.log.problems() == {}


async def test_large_backlogs_become_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_module, "FOLDED", 2)
    async with Instance.opened(tmp_path) as instance:
        for number in range(5):
            await instance.log.record(trace(number))
        await instance.log.fold(ALICE.volume)
        assert commits(instance, ALICE.volume) == 3
        assert len(in_git(instance, ALICE.volume)) == 5


async def test_large_traces_wait_in_the_journal_and_have_rows_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_module, "SETTLED", 1 << 20)
    large = (Message("user", "much " * 100_000),)
    async with Instance.opened(tmp_path) as instance:
        for number in range(6):
            one = trace(number)
            await instance.log.record(msgspec.structs.replace(one, messages=large) if number % 2 else one)
            await instance.log.feedback(ALICE, one.id, Feedback("up"))
        waiting = instance.log._folder._unwritten.values()
        assert [event is None for event in waiting] == [False, False, True, False] * 3
        rows = (await instance.log.page(ALICE)).items
        assert [(row.trace_id, row.rating) for row in rows] == [(trace(number).id, "up") for number in range(5, -1, -1)]
        assert not waiting


async def test_the_largest_of_several_that_come_together_decides_whether_they_wait_in_memory(tmp_path: Path) -> None:
    large = msgspec.structs.replace(trace(1), messages=(Message("user", "much " * 100_000),))
    async with Instance.opened(tmp_path) as instance:
        await instance.log.keep([trace(0), large])
        assert list(instance.log._folder._unwritten.values()) == [None, None]
        assert (await instance.log.page(ALICE)).total == 2


async def test_what_was_left_is_listed_while_other_volumes_are_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of the journal that leaves for Git just then would be taken for its end."""
    monkeypatch.setattr(fold_module, "FOLDED", 2)
    async with Instance.opened(tmp_path) as first:
        for number in range(2):
            await first.log.record(trace(number))
        for number in range(4):
            await first.log.record(trace(number, "bob"))
    async with Instance.opened(tmp_path) as second:
        loop, leaving, listed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        finish = LocalJournal.finish
        inner = second.journal._log.finish

        def slowly(self: LocalJournal, batch: Batch) -> None:
            def told(places: Sequence[Place]) -> None:
                loop.call_soon_threadsafe(leaving.set)
                asyncio.run_coroutine_threadsafe(listed.wait(), loop).result(10)
                inner(places)

            with monkeypatch.context() as patched:
                patched.setattr(self._log, "finish", told)
                finish(self, batch)

        monkeypatch.setattr(LocalJournal, "finish", slowly)
        folding = asyncio.create_task(second.log.fold(ALICE.volume))
        await leaving.wait()
        page = await second.log.page(BOB)
        listed.set()
        await folding
        assert page.total == 4


async def test_folding_goes_on_when_rows_could_not_be_read_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_module, "FIRST_PAUSE", 0.01)
    gone, finish, loop = asyncio.Event(), LocalJournal.finish, asyncio.get_running_loop()

    def finishing(self: LocalJournal, batch: Batch) -> None:
        finish(self, batch)
        loop.call_soon_threadsafe(gone.set)

    monkeypatch.setattr(LocalJournal, "finish", finishing)
    async with Instance.opened(tmp_path) as first:
        await first.log.record(trace(0))
    real, times = TraceIndexer.erased, iter(range(9))

    async def busy(self: TraceIndexer, trace_ids: Sequence[str]) -> set[str]:
        if next(times) < 2:
            raise Unavailable("database.busy", "Another process holds the database.")
        return await real(self, trace_ids)

    monkeypatch.setattr(TraceIndexer, "erased", busy)
    async with Instance.opened(tmp_path) as second:
        log = TraceLog(second.volumes, second.journal, second.catalog, fold_seconds=0.01)
        log.start()
        await asyncio.wait_for(gone.wait(), 10)
        await log.stop()
        assert in_git(second, ALICE.volume) == Counter([trace(0).id])


@pytest.mark.parametrize("then", ["fold", "rebuild"])
async def test_what_was_left_of_an_erased_trace_does_not_come_back(tmp_path: Path, then: str) -> None:
    stone = EventRecord("stone", trace(0).id, str(ALICE.volume), TOMBSTONE, 1)
    async with Instance.opened(tmp_path) as first:
        await first.log.record(trace(0))
        await first.catalog.traces.put_events([stone])
    async with Instance.opened(tmp_path) as second:
        folder = second.log._folder
        await (folder.fold(str(ALICE.volume)) if then == "fold" else folder.rebuild())
        assert in_git(second, ALICE.volume) == Counter()
        assert await second.catalog.traces.known([trace(0).id], in_git=False) == set()


@pytest.mark.parametrize("listed", [True, False])
async def test_what_waits_beyond_a_bound_is_read_from_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    monkeypatch.setattr(fold_module, "MOST_HELD", 3)
    monkeypatch.setattr(fold_module, "FOLDED", 2)
    async with Instance.opened(tmp_path) as instance:
        for number in range(9):
            await instance.log.record(trace(number))
        assert sum(event is not None for event in instance.log._folder._unwritten.values()) == 3
        if listed:
            instance.log.forget([trace(5).id])
            assert {row.trace_id for row in (await instance.log.page(ALICE)).items} == {
                trace(number).id for number in range(9) if number != 5
            }
        await instance.log.fold(ALICE.volume)
        assert in_git(instance, ALICE.volume) == Counter(
            trace(number).id for number in range(9) if not (listed and number == 5)
        )
        assert not instance.log._folder._unwritten


async def test_a_fold_ends_while_chats_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, numbers = fold_module.Folder._fold_batch, iter(range(1, 100))

    async with Instance.opened(tmp_path) as instance:

        async def while_somebody_chats(self: fold_module.Folder, volume: str) -> int | None:
            count = await real(self, volume)
            await instance.log.record(trace(next(numbers)))
            return count

        monkeypatch.setattr(fold_module.Folder, "_fold_batch", while_somebody_chats)
        await instance.log.record(trace(0))
        await instance.log.fold(ALICE.volume)
        assert next(numbers) == 2


async def test_segments_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.core.traces.segments.SEGMENT_BYTES", 1000)
    async with Instance.opened(tmp_path) as instance:
        for number in range(10):
            await instance.log.record(trace(number, messages=(Message("user", "x" * 400),)))
        await instance.log.fold(ALICE.volume)
        store = instance.volumes.open(PLATFORM, ALICE.volume).traces
        assert len(list(list_segments(store, store.branches()["2026-11"]))) == 10
        assert commits(instance, ALICE.volume) == 1


KILLED = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from trace_instance import ALICE, Instance, trace
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Feedback, Share

async def chats(log, user, start):
    for number in range(start, start + 100_000):
        one = trace(number, user, team="sre", share=Share.DIGEST)
        await log.record(one)
        os.write(1, f"{user} {one.id}\\n".encode())

async def main():
    async with Instance.opened(Path(sys.argv[1])) as instance:
        log = TraceLog(instance.volumes, instance.journal, instance.catalog, fold_events=7, fold_seconds=0.05)
        log.start()
        start = int(sys.argv[3])
        await asyncio.gather(*(chats(log, user, start) for user in ("alice", "bob", "eve")))

asyncio.run(main())
"""


def killed(data: Path, lines: int, start: int) -> list[tuple[str, str]]:
    """Chat and fold until `lines` traces were acknowledged, kill -9, and return their owners and ids."""
    command = [sys.executable, "-c", KILLED, str(data), str(Path(__file__).parents[2]), str(start)]
    found: list[tuple[str, str]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            user, _, trace_id = line.rstrip("\n").partition(" ")
            if line.endswith("\n"):
                found.append((user, trace_id))
            if len(found) == lines:
                process.kill()
    return found


async def check_after_kills(data: Path, kills: Sequence[int]) -> None:
    acknowledged: list[tuple[str, str]] = []
    for number, lines in enumerate(kills):
        acknowledged += killed(data, lines, number * 100_000)
    async with Instance.opened(data) as instance:
        instance.log.start()
        await instance.log.stop()
        assert instance.log.problems() == {}
        assert instance.journal.pending() == []
        for user in ("alice", "bob", "eve"):
            counted = in_git(instance, VolumeRef.user(user))
            assert {trace_id for owner, trace_id in acknowledged if owner == user} <= counted.keys()
            assert set(counted.values()) == {1}
        shared = in_git(instance, SRE)
        assert set(shared.values()) == {1}
        assert len(shared) >= len(acknowledged)
        listed = await instance.catalog.traces.known([trace_id for _, trace_id in acknowledged])
        assert len(listed) == len(acknowledged)
    for folder in (data / "volumes").glob("*/*/traces.git"):
        check_repository(folder)


def check_repository(folder: Path) -> None:
    command = ["git", "-c", "safe.directory=*", "fsck", "--strict"]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "GIT_DIR": str(folder)}
    )
    assert result.returncode == 0, result.stderr


async def test_kill_9_while_chats_are_folded(tmp_path: Path) -> None:
    await check_after_kills(tmp_path, [40, 300])


@pytest.mark.soak
async def test_kill_9_while_chats_are_folded_again_and_again(tmp_path: Path) -> None:
    await check_after_kills(tmp_path, [20 + 37 * number % 600 for number in range(40)])


def test_a_trace_keeps_its_line_in_the_journal_small() -> None:
    """What an import or a chat without skills leaves out costs nothing."""
    line = msgspec.json.encode(trace(1))
    assert b"exposures" not in line
    assert isinstance(msgspec.json.decode(line, type=Trace), Trace)


async def test_what_is_recorded_and_folded_is_counted(tmp_path: Path) -> None:
    async with Instance.opened(tmp_path / "data") as instance:
        for number in range(3):
            await instance.log.record(trace(number))
        await instance.log.record(trace(4, team="sre", share=Share.DIGEST))
        await instance.log.fold()
        figures = instance.metrics.render_metrics().decode()
    assert "llmos_journal_appends_total 5.0" in figures
    assert "llmos_folds_total 2.0" in figures
    assert "llmos_folded_events_total 5.0" in figures
