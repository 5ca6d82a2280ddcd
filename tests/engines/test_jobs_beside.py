"""Jobs in a process beside this one: the process is real, and so is DBOS in it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmos_lite.engines.jobs_beside import JobsBeside
from llmos_lite.errors import Invalid, LlmosError, Unavailable

LONGEST = 60.0
# Half a day from now, so that no clock strikes it while a test runs.
HOUR = (datetime.now(UTC).hour + 12) % 24
NIGHTLY = f"0 {HOUR} * * *"


class Worker:
    """Does what it is told, and remembers it."""

    def __init__(self) -> None:
        self.done: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.due: list[tuple[str, int]] = []
        self.held = False

    async def work(self, kind: str, run_id: str) -> None:
        self.begun.put_nowait(run_id)
        if self.held:
            await asyncio.Event().wait()
        if kind == "broken":
            raise RuntimeError("it broke")
        self.done.put_nowait((kind, run_id))

    async def when_due(self, what: str, at: int) -> tuple[str, str]:
        self.due.append((what, at))
        return "evolve", f"{what}-{at}"

    async def next(self) -> tuple[str, str]:
        return await asyncio.wait_for(self.done.get(), LONGEST)

    async def beginning(self) -> str:
        return await asyncio.wait_for(self.begun.get(), LONGEST)


@asynccontextmanager
async def running(
    data: Path, worker: Worker, *lost: tuple[str, str], cron: str = "", patience: float = LONGEST, rest: float = 0.01
) -> AsyncIterator[JobsBeside]:
    async def unfinished() -> list[tuple[str, str]]:
        return list(lost)

    jobs = JobsBeside(data, worker.work, worker.when_due, unfinished, patience=patience, rest=rest)
    if cron:
        jobs.schedule("night", cron, "users")
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def ended(jobs: JobsBeside) -> None:
    async with asyncio.timeout(LONGEST):
        while jobs.process is not None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_the_process_ends_when_nothing_is_left_to_do_and_comes_again_for_the_next_job(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker) as jobs:
        assert jobs.process is None
        for run_id in ("r1", "r2"):
            await jobs.submit("evolve", run_id)
            await jobs.submit("evolve", run_id)
            assert await worker.next() == ("evolve", run_id)
            await ended(jobs)
            assert await jobs.check() == "ok"
    assert worker.done.empty(), "the same run twice is one job"


async def test_work_that_a_stop_interrupts_is_finished_at_the_next_start(tmp_path: Path) -> None:
    first, second = Worker(), Worker()
    first.held = True
    async with running(tmp_path, first) as jobs:
        await jobs.submit("evolve", "r1")
        await first.beginning()
    assert first.done.empty()
    async with running(tmp_path, second, patience=0):
        assert await second.next() == ("evolve", "r1")
    with pytest.raises(Unavailable, match="were stopped"):
        await jobs.submit("evolve", "r2")
    assert "stopped" in await jobs.check()


async def test_work_goes_on_when_the_process_is_killed_and_is_not_done_twice_at_once(tmp_path: Path) -> None:
    worker = Worker()
    worker.held = True
    async with running(tmp_path, worker) as jobs:
        await jobs.submit("evolve", "r1")
        await worker.beginning()
        worker.held = False
        assert jobs.process is not None
        os.kill(jobs.process, signal.SIGKILL)
        assert await worker.next() == ("evolve", "r1")
        await ended(jobs)
        assert await jobs.check() == "ok"
    assert worker.done.empty()


async def test_work_that_failed_is_not_tried_for_ever(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker) as jobs:
        await jobs.submit("broken", "r1")
        await worker.beginning()
        await ended(jobs)
    async with running(tmp_path, worker, patience=0) as jobs:
        await jobs.submit("evolve", "r2")
        assert await worker.next() == ("evolve", "r2")
        await ended(jobs)
    assert worker.begun.qsize() == 1


async def test_work_that_nobody_submitted_before_a_crash_is_found_at_once(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker, ("evolve", "lost")):
        assert await worker.next() == ("evolve", "lost")


async def test_what_was_due_while_the_machine_was_off_is_done_once(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker, cron=NIGHTLY, patience=0) as jobs:
        await jobs.submit("evolve", "r1")
        await worker.next()
        await ended(jobs)
    before = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    os.utime(tmp_path / "jobs.id", (before, before))
    for _ in range(2):
        async with running(tmp_path, worker, cron=NIGHTLY, patience=0) as jobs:
            await jobs.submit("evolve", "r1")
            await ended(jobs)
    [(what, at)] = worker.due
    moment = datetime.fromtimestamp(at / 1000, UTC)
    assert (what, moment.hour, moment.minute) == ("users", HOUR, 0)
    assert await worker.next() == ("evolve", f"users-{at}")


async def test_the_process_stays_while_something_is_due_soon(tmp_path: Path) -> None:
    worker = Worker()
    async with running(tmp_path, worker, cron="* * * * *") as jobs:
        await jobs.submit("evolve", "r1")
        await worker.next()
        for _ in range(3):
            await jobs.submit("evolve", "r1")
            assert jobs.process is not None


@pytest.mark.parametrize("cron", ["", "daily", "* * * *", "* * * * * *"])
async def test_a_schedule_that_cannot_be_read_is_refused(tmp_path: Path, cron: str) -> None:
    worker = Worker()
    with pytest.raises(Invalid, match="schedule"):
        JobsBeside(tmp_path, worker.work, worker.when_due).schedule("night", cron, "users")


async def test_jobs_that_cannot_start_say_so_and_start_when_they_can(tmp_path: Path) -> None:
    worker = Worker()
    (tmp_path / "jobs.sqlite").write_bytes(b"this is no database" * 1000)
    async with running(tmp_path, worker) as jobs:
        with pytest.raises(Unavailable, match="Jobs are not running"):
            await jobs.submit("evolve", "r1")
        assert (await jobs.check()).startswith("Jobs are not running")
        (tmp_path / "jobs.sqlite").unlink()
        await jobs.submit("evolve", "r1")
        assert await worker.next() == ("evolve", "r1")
        assert await jobs.check() == "ok"


async def test_rows_that_cannot_be_read_at_the_start_do_not_stop_what_comes_later(tmp_path: Path) -> None:
    async def broken() -> list[tuple[str, str]]:
        raise LlmosError("rows", "They cannot be read.")

    worker = Worker()
    jobs = JobsBeside(tmp_path, worker.work, worker.when_due, broken, rest=0.01)
    await jobs.start()
    await jobs.submit("evolve", "r1")
    assert await worker.next() == ("evolve", "r1")
    await jobs.stop()


KILLED = """
import asyncio, sys
from pathlib import Path
from llmos_lite.engines.jobs_beside import JobsBeside

async def work(kind, run_id):
    print(jobs.process, flush=True)
    await asyncio.Event().wait()

async def due(what, at):
    raise AssertionError

async def main():
    global jobs
    jobs = JobsBeside(Path(sys.argv[1]), work, due)
    await jobs.submit("evolve", "r1")
    await asyncio.Event().wait()

asyncio.run(main())
"""


def killed(data: Path) -> int:
    """Kill a server amid a job, after the signal that a terminal sends to both; return the id of the process beside."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        beside = int(server.stdout.readline())
        os.kill(beside, signal.SIGINT)
        server.kill()
    return beside


async def test_a_killed_server_takes_the_process_with_it_and_its_job_goes_on_after_the_restart(tmp_path: Path) -> None:
    beside = await asyncio.to_thread(killed, tmp_path)
    async with asyncio.timeout(LONGEST):
        while _lives(beside):  # noqa: ASYNC110 - it is nobody's child
            await asyncio.sleep(0.01)
    worker = Worker()
    async with running(tmp_path, worker, patience=0):
        assert await worker.next() == ("evolve", "r1")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
