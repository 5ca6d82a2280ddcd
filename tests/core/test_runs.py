from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.dispatch import Dispatch
from llmos_lite.core.runs import Runs, check_finished, no_progress
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.engines.database import Database
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import LlmosError, NotFound, Unavailable
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.schema import prepare
from llmos_lite.volumes.manager import VolumeManager

ALICE, BOB = Actor("alice"), Actor("bob")
ADMIN = Actor("root", Role.SYSTEM_ADMIN, scopes=EVERYTHING)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'llmos.db'}")
    await prepare(database)
    yield Catalog(database)
    await database.close()


@pytest.fixture
def runs(catalog: Catalog) -> Runs:
    return Runs(catalog.runs)


async def test_a_run_from_its_beginning_to_its_end(runs: Runs) -> None:
    run_id = await runs.create("evolve", ALICE, {"scope": "user"})
    run = await runs.get(ALICE, run_id)
    assert (run.state, run.kind, run.actor, run.request) == ("queued", "evolve", "alice", {"scope": "user"})
    await runs.start(run_id)
    tell = runs.progress(run_id)
    await tell("reading", 3, 10)
    run = await runs.load(run_id)
    assert (run.state, run.stage, run.done, run.total, run.is_finished) == ("running", "reading", 3, 10, False)
    with pytest.raises(Unavailable, match="not finished"):
        check_finished(run)
    await runs.finish(run_id, {"skills": 1})
    run = await runs.load(run_id)
    assert (run.state, run.result, run.is_finished) == ("done", {"skills": 1}, True)
    assert run.finished >= run.created
    assert check_finished(run) == {"skills": 1}
    await no_progress("", 0, 0)


async def test_a_failed_run_says_why(runs: Runs) -> None:
    run_id = await runs.create("import", ALICE, {})
    await runs.fail(run_id, LlmosError("x.y", "It broke.", hint="Mend it."))
    assert (await runs.load(run_id)).error == "It broke. Mend it."
    await runs.fail(run_id, "x" * 10_000 + "end")
    run = await runs.load(run_id)
    assert (len(run.error), run.error[-3:]) == (4_000, "end")
    with pytest.raises(Unavailable):
        check_finished(run)


async def test_progress_is_written_a_few_times_a_second(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await runs.create("evolve", ALICE, {})
    tell = runs.progress(run_id)
    for done in range(50):
        await tell("reading", done, 50)
    assert (await runs.load(run_id)).done == 0
    await tell("writing", 7, 50)
    assert (await runs.load(run_id)).done == 7
    monkeypatch.setattr("llmos_lite.core.runs.PROGRESS_SECONDS", 0)
    await tell("writing", 8, 50)
    assert (await runs.load(run_id)).done == 8


async def test_runs_are_seen_by_those_who_asked_and_by_admins(runs: Runs) -> None:
    mine = await runs.create("evolve", ALICE, {})
    yours = await runs.create("import", BOB, {})
    with pytest.raises(NotFound):
        await runs.get(BOB, mine)
    with pytest.raises(NotFound):
        await runs.get(ALICE, "unknown")
    with pytest.raises(NotFound):
        await runs.load("unknown")
    assert (await runs.get(ADMIN, mine)).actor == "alice"
    assert [run.run_id for run in (await runs.page(ALICE)).items] == [mine]
    first = await runs.page(ADMIN, limit=1)
    assert (first.total, len(first.items)) == (2, 1)
    second = await runs.page(ADMIN, limit=1, cursor=first.next_cursor)
    assert {first.items[0].run_id, second.items[0].run_id} == {mine, yours}
    assert [run.run_id for run in (await runs.page(ADMIN, kind="import")).items] == [yours]


async def test_waiting_ends_with_the_run_or_with_patience(runs: Runs) -> None:
    run_id = await runs.create("evolve", ALICE, {})
    assert (await runs.wait(run_id, 0.05)).state == "queued"
    waiting = asyncio.create_task(runs.wait(run_id))
    await runs.finish(run_id, {})
    assert (await asyncio.wait_for(waiting, 5)).state == "done"


async def test_what_is_due_is_one_run(runs: Runs) -> None:
    first = await runs.due("evolve", {"scope": "users"}, 1_790_000_000_000)
    assert await runs.due("evolve", {"scope": "users"}, 1_790_000_000_000) == first
    assert await runs.due("evolve", {"scope": "teams"}, 1_790_000_000_000) != first
    assert await runs.due("evolve", {"scope": "users"}, 1_790_000_086_400) != first
    assert (await runs.load(first)).actor == "system-cron"


class Pool:
    """Stands in for worker processes."""

    def __init__(self, runs: Runs, end: str) -> None:
        self.runs, self.end, self.asked = runs, end, 0

    async def run(self, kind: str, run_id: str) -> None:
        self.asked += 1
        if self.end == "done":
            await self.runs.finish(run_id, {"kind": kind})
        if self.end == "died":
            raise LlmosError("worker.died", "The worker ended with code -9.")


@pytest.mark.parametrize(
    ("end", "state", "error"),
    [
        ("done", "done", ""),
        ("died", "failed", "The worker ended with code -9."),
        ("silent", "failed", "The worker ended without a result."),
    ],
)
async def test_a_worker_finishes_or_the_run_says_why_not(
    catalog: Catalog, tmp_path: Path, end: str, state: str, error: str
) -> None:
    volumes, runs = VolumeManager(tmp_path, Signer.open(tmp_path / "keys")), Runs(catalog.runs)
    pool = Pool(runs, end)
    dispatch = Dispatch(runs, TraceLog(volumes, None, catalog), pool)
    run_id = await runs.create("evolve", ALICE, {})
    assert await dispatch.unfinished() == [("evolve", run_id)]
    await dispatch.work("evolve", run_id)
    run = await runs.load(run_id)
    assert (run.state, run.error) == (state, error)
    await dispatch.work("evolve", run_id)
    assert pool.asked == 1
    assert await dispatch.unfinished() == []
    kind, due = await dispatch.due("users", 1_790_000_000_000)
    assert (kind, (await runs.load(due)).request) == ("evolve", {"scope": "users"})
    volumes.close()
