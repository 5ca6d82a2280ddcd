from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dbos import DBOS

from llmos_lite.engines.jobs import DbosJobs, LocalJobs
from llmos_lite.errors import Invalid, Unavailable

LONGEST = 30.0
# Half a day from now, so that no clock strikes it while a test runs.
HOUR = (datetime.now(UTC).hour + 12) % 24
NIGHTLY = f"0 {HOUR} * * *"


class Worker:
    """Does what it is told, and remembers it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.due: list[tuple[str, int]] = []
        self.changed = asyncio.Condition()
        self.hold: asyncio.Event | None = None
        self.begun = asyncio.Event()

    async def work(self, kind: str, run_id: str) -> None:
        self.begun.set()
        if self.hold is not None:
            await self.hold.wait()
        if kind == "broken":
            raise RuntimeError("it broke")
        async with self.changed:
            self.done.append((kind, run_id))
            self.changed.notify_all()

    async def when_due(self, what: str, at: int) -> tuple[str, str]:
        self.due.append((what, at))
        return "evolve", f"{what}-{at}"

    async def until(self, count: int) -> None:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: len(self.done) >= count), LONGEST)


@asynccontextmanager
async def running(
    data: Path, worker: Worker, prepare: Callable[[DbosJobs], None] = lambda _jobs: None
) -> AsyncIterator[DbosJobs]:
    jobs = DbosJobs(data, worker.work, worker.when_due)
    prepare(jobs)
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def test_submitted_work_is_done_once(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker) as jobs:
        await jobs.submit("evolve", "r1")
        await jobs.submit("evolve", "r1")
        await jobs.submit("import", "r2")
        await worker.until(2)
        assert await jobs.check() == "ok"
    assert sorted(worker.done) == [("evolve", "r1"), ("import", "r2")]


async def test_submitting_starts_jobs_by_itself_and_starting_twice_is_harmless(tmp_path: Path) -> None:
    worker = Worker()
    jobs = DbosJobs(tmp_path, worker.work, worker.when_due)
    await jobs.submit("evolve", "r1")
    await jobs.start()
    await worker.until(1)
    await jobs.stop()
    with pytest.raises(Unavailable, match="were stopped"):
        await jobs.submit("evolve", "r2")
    assert "stopped" in await jobs.check()


async def test_work_that_a_stop_interrupts_is_finished_at_the_next_start(tmp_path: Path) -> None:
    first = Worker()
    first.hold = asyncio.Event()
    async with running(tmp_path, first) as jobs:
        await jobs.submit("evolve", "r1")
        await asyncio.wait_for(first.begun.wait(), LONGEST)
    assert first.done == []
    second = Worker()
    async with running(tmp_path, second):
        await second.until(1)
    assert second.done == [("evolve", "r1")]
    third = Worker()
    async with running(tmp_path, third) as jobs:
        await jobs.submit("evolve", "r3")
        await third.until(1)
    assert third.done == [("evolve", "r3")]


async def test_work_that_failed_is_not_tried_for_ever(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker) as jobs:
        await jobs.submit("broken", "r1")
        await asyncio.wait_for(worker.begun.wait(), LONGEST)
        await jobs.submit("evolve", "r2")
        await worker.until(1)
    again = Worker()
    async with running(tmp_path, again) as jobs:
        await jobs.submit("evolve", "r3")
        await again.until(1)
    assert again.done == [("evolve", "r3")]


async def test_work_that_nobody_submitted_before_a_crash_is_found(tmp_path: Path) -> None:
    worker = Worker()

    async def unfinished() -> list[tuple[str, str]]:
        return [("evolve", "lost")]

    jobs = DbosJobs(tmp_path, worker.work, worker.when_due, unfinished)
    await jobs.start()
    await worker.until(1)
    await jobs.stop()
    assert worker.done == [("evolve", "lost")]


async def test_what_a_schedule_says_is_done_when_it_is_due(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker, lambda jobs: jobs.schedule("night", NIGHTLY, "users")) as jobs:
        await jobs.submit("evolve", "r1")
        await worker.until(1)
        assert [one["schedule_name"] for one in await asyncio.to_thread(DBOS.list_schedules)] == ["night"]
        await asyncio.to_thread(DBOS.trigger_schedule, "night")
        await worker.until(2)
    assert worker.due[0][0] == "users"
    assert worker.done[1] == ("evolve", f"users-{worker.due[0][1]}")


async def test_what_was_due_while_the_machine_was_off_is_done_once(tmp_path: Path) -> None:
    async with running(tmp_path, Worker(), lambda jobs: jobs.schedule("night", NIGHTLY, "users")) as jobs:
        await jobs.submit("evolve", "r1")
    before = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    os.utime(tmp_path / "jobs.id", (before, before))
    worker = Worker()
    async with running(tmp_path, worker, lambda jobs: jobs.schedule("night", NIGHTLY, "users")):
        await worker.until(1)
    [(what, at)] = worker.due
    moment = datetime.fromtimestamp(at / 1000, UTC)
    assert (what, moment.hour, moment.minute) == ("users", HOUR, 0)
    again = Worker()
    async with running(tmp_path, again, lambda jobs: jobs.schedule("night", NIGHTLY, "users")) as jobs:
        await jobs.submit("evolve", "r2")
        await again.until(1)
    assert again.due == []


async def test_a_schedule_that_is_off_is_removed(tmp_path: Path) -> None:
    async with running(tmp_path, Worker(), lambda jobs: jobs.schedule("night", NIGHTLY, "users")) as jobs:
        await jobs.submit("evolve", "r1")
    async with running(tmp_path, Worker(), lambda jobs: jobs.schedule("night", "off", "users")) as jobs:
        await jobs.submit("evolve", "r2")
        assert await asyncio.to_thread(DBOS.list_schedules) == []


@pytest.mark.parametrize("cron", ["", "daily", "* * * *", "* * * * * *"])
async def test_a_schedule_that_cannot_be_read_is_refused(tmp_path: Path, cron: str) -> None:
    worker = Worker()
    with pytest.raises(Invalid, match="schedule"):
        DbosJobs(tmp_path, worker.work, worker.when_due).schedule("night", cron, "users")


async def test_jobs_that_cannot_start_say_so(tmp_path: Path) -> None:
    worker = Worker()
    (tmp_path / "jobs.sqlite").write_bytes(b"this is no database" * 1000)
    async with running(tmp_path, worker) as jobs:
        with pytest.raises(Unavailable, match="Jobs are not running"):
            await jobs.submit("evolve", "r1")
        assert (await jobs.check()).startswith("Jobs are not running")


async def test_files_are_private_and_hold_ids_only(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker) as jobs:
        await jobs.submit("evolve", "r1")
        await worker.until(1)
        assert {entry.stat().st_mode & 0o777 for entry in os.scandir(tmp_path)} == {0o600}
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as rows:
        versions = rows.execute("select application_version from workflow_status").fetchall()
        everything = "\n".join(rows.iterdump())
    assert versions == [("1",)]
    assert "evolve" in everything
    assert "gASV" not in everything, "a pickle"


KILLED = """
import asyncio, sys
from pathlib import Path
from llmos_lite.engines.jobs import DbosJobs

data = Path(sys.argv[1])

async def work(kind, run_id):
    with (data / "begun").open("a") as file:
        file.write(run_id + "\\n")
    print("begun", flush=True)
    if not (data / "go").exists():
        await asyncio.Event().wait()
    (data / "done").write_text(kind + " " + run_id)
    print("done", flush=True)

async def due(what, at):
    raise AssertionError

async def main():
    jobs = DbosJobs(data, work, due)
    await jobs.start()
    if not (data / "begun").exists():
        await jobs.submit("evolve", "r1")
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_process_finishes_its_job_after_its_restart(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        first.send_signal(signal.SIGKILL)
    (tmp_path / "go").touch()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        assert second.stdout is not None
        assert [second.stdout.readline(), second.stdout.readline()] == ["begun\n", "done\n"]
        second.kill()
    assert (tmp_path / "done").read_text() == "evolve r1"
    assert (tmp_path / "begun").read_text() == "r1\nr1\n"


async def test_local_jobs_run_here_and_survive_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    jobs = LocalJobs(worker.work)
    jobs.schedule("night", "whatever", "users")
    await jobs.start()
    await jobs.submit("broken", "r1")
    await jobs.submit("evolve", "r2")
    await worker.until(1)
    assert await jobs.check() == "ok"
    worker.hold = asyncio.Event()
    await jobs.submit("evolve", "r3")
    await jobs.stop()
    assert worker.done == [("evolve", "r2")]
    assert "broken r1 failed" in caplog.text
