"""Jobs that outlive the process: long work by its id, and work that is due by the clock.

The seam, the embedded default on DBOS and SQLite, and one for commands that end with their work. Jobs carry ids only:
what is to be done stands in the rows, so that neither a job nor a log of jobs ever holds text of a person.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from llmos_lite.errors import Invalid, Unavailable

log = logging.getLogger("llmos.jobs")

Work = Callable[[str, str], Awaitable[None]]
"""Does what a kind and a run's id say; may be called again for the same run after a crash."""
Due = Callable[[str, int], Awaitable[tuple[str, str]]]
"""Hears what is due, and since when (milliseconds); returns kind and id of the run, the same each time it hears so."""

Unfinished = Callable[[], Awaitable[list[tuple[str, str]]]]

OFF = "off"
APPLICATION = "llmos-lite"
VERSION = "1"
"""Pinned: DBOS recovers only jobs of its own application version. It grows when old jobs could not be finished."""
POLL_SECONDS = 0.5
"""How often DBOS looks for messages, which we never send; it also bounds how long stopping takes."""
READY_SECONDS = 30.0
SOON_SECONDS = 60.0
"""What is due within this time is waited for."""
UNFINISHED = ["PENDING", "ENQUEUED", "DELAYED"]


class Jobs(Protocol):
    """Takes long work and sees to it that it is finished."""

    async def submit(self, kind: str, run_id: str) -> None:
        """Return when the work will be done, whatever happens to this process.

        Raises:
            Unavailable: `jobs.unavailable`, when nobody takes it.
        """

    def schedule(self, name: str, cron: str, kind: str) -> None:
        """Have work done by the clock; before `start`.

        Args:
            name: of the schedule.
            cron: five fields, UTC; `off` stops it.
            kind: what is due then.

        Raises:
            Invalid: `schedule.invalid`.
        """

    async def start(self) -> None:
        """Begin, in the background, and take up what was not finished."""

    async def stop(self) -> None:
        """End; what is not finished goes on at the next start."""

    async def check(self) -> str:
        """Return `ok`, or a sentence that says what is wrong."""


class LocalJobs:
    """Does the work in this process, for commands on a data folder without a server; knows no clock.

    Args:
        work: does it.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, kind: str, run_id: str) -> None:
        """Begin the work; see `Jobs`."""
        task = asyncio.create_task(self._run(kind, run_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, kind: str, run_id: str) -> None:
        try:
            await self._work(kind, run_id)
        except Exception:
            log.exception("%s %s failed", kind, run_id)

    def schedule(self, name: str, cron: str, kind: str) -> None:
        """Do nothing: nobody is there at night."""

    async def start(self) -> None:
        """Do nothing; see `Jobs`."""

    async def stop(self) -> None:
        """Give up what is not finished."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def check(self) -> str:
        """Return `ok`; see `Jobs`."""
        return "ok"


def checked(cron: str) -> str:
    """Return the cron of a schedule.

    Raises:
        Invalid: `schedule.invalid`.
    """
    if cron != OFF and len(cron.split()) != 5:  # noqa: PLR2004 - minute, hour, day, month, weekday
        raise Invalid("schedule.invalid", f"{cron!r} is no schedule.", hint="Write five fields of cron, or off.")
    return cron


@dataclass(frozen=True, slots=True)
class _Schedule:
    name: str
    cron: str
    kind: str


class _Stopping(BaseException):
    """Leaves a job unfinished: DBOS records what an `Exception` did, and takes up again what this one did."""


class DbosJobs:
    """Jobs on DBOS, in one SQLite file of the data folder; one per process, 60 MB. A server keeps it in another one.

    DBOS is imported by `start`, which nothing waits for but `submit`.

    Args:
        data: the data folder; `jobs.sqlite` and the executor's id are kept there.
        work: does the work, on the event loop that called `start`.
        due: makes the run of a schedule.
        unfinished: names work that somebody may have submitted just before a crash, as (kind, run id).
    """

    def __init__(self, data: Path, work: Work, due: Due, unfinished: Unfinished | None = None) -> None:
        self._data, self._work, self._due, self._unfinished = data, work, due, unfinished
        self._schedules: dict[str, _Schedule] = {}
        self._engine: _Engine | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping, self._problem = False, ""

    def schedule(self, name: str, cron: str, kind: str) -> None:
        """Note a schedule; see `Jobs`."""
        self._schedules[name] = _Schedule(name, checked(cron), kind)

    async def start(self) -> None:
        """Launch DBOS in the background, once; see `Jobs`."""
        if self._starting is not None:
            return
        self._starting = asyncio.create_task(self._launch(asyncio.get_running_loop()))

    async def _launch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._engine = await asyncio.to_thread(self._open, loop)
            for kind, run_id in await self._unfinished() if self._unfinished else ():
                await asyncio.to_thread(self._engine.submit, kind, run_id)
        except Exception as error:
            log.exception("jobs could not be started")
            self._problem = str(error) or type(error).__name__
        self._ready.set()

    def _open(self, loop: asyncio.AbstractEventLoop) -> _Engine:
        engine = _Engine(self._data, loop, self._tracked, self._due)
        try:
            engine.launch(list(self._schedules.values()))
        except BaseException:
            engine.close()
            raise
        return engine

    async def submit(self, kind: str, run_id: str) -> None:
        """Hand the work to DBOS, once that is ready; see `Jobs`."""
        if self._starting is None:
            await self.start()
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            self._problem = "DBOS does not answer"
        if self._engine is None:
            raise Unavailable("jobs.unavailable", f"Jobs are not running: {self._problem}.", hint="Look at the log.")
        await asyncio.to_thread(self._engine.submit, kind, run_id)

    async def _tracked(self, kind: str, run_id: str) -> None:
        """Do the work, so that `stop` can end it."""
        task = asyncio.current_task()
        if task is None or self._stopping:
            raise asyncio.CancelledError
        self._tasks.add(task)
        try:
            await self._work(kind, run_id)
        finally:
            self._tasks.discard(task)

    async def rest(self) -> float | None:
        """Return when it has something to do again (seconds since 1970, `inf` for never); None while it has.

        Raises:
            Unavailable: `jobs.unavailable`.
        """
        await self._ready.wait()
        if self._engine is None:
            raise Unavailable("jobs.unavailable", f"Jobs are not running: {self._problem}.", hint="Look at the log.")
        due = await asyncio.to_thread(self._engine.rest)
        return None if self._tasks else due

    async def check(self) -> str:
        """Return `ok`, which a start that goes on is, too, or what is wrong; see `Jobs`."""
        return f"Jobs are not running: {self._problem}." if self._problem else "ok"

    async def stop(self) -> None:
        """End the work and DBOS; see `Jobs`."""
        self._stopping = True
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine is not None:
            await asyncio.to_thread(self._engine.close)
        self._engine, self._problem = None, "they were stopped"
        self._ready.set()


class _Engine:
    """DBOS, which is one global object for each process; everything here runs in threads."""

    def __init__(self, data: Path, loop: asyncio.AbstractEventLoop, work: Work, due: Due) -> None:
        from dbos import DBOS, DBOSPortableJSONSerializer, SetWorkflowID  # noqa: PLC0415 - half a second, 50 MB

        self._dbos, self._named = DBOS, SetWorkflowID
        self._data, self._loop, self._task, self._due = data, loop, work, due
        executor, self._fresh = _executor_id(data / "jobs.id")
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": f"sqlite:///{data / 'jobs.sqlite'}",
                "executor_id": executor,
                "application_version": VERSION,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "ERROR",
                "console_log_level": "ERROR",
                "notification_listener_polling_interval_sec": POLL_SECONDS,
                "scheduler_polling_interval_sec": 1.0,
                "enable_otlp": False,
            }
        )

        # not methods, since DBOS writes attributes onto what it registers
        def run(kind: str, run_id: str) -> None:
            self._wait(work(kind, run_id))

        def scheduled(at: str | datetime, what: str) -> None:
            moment = datetime.fromisoformat(at) if isinstance(at, str) else at
            self._wait(self._on_time(what, int(moment.timestamp() * 1000)))

        self._run, self._scheduled = DBOS.workflow(name="run")(run), DBOS.workflow(name="scheduled")(scheduled)
        self._schedules: list[_Schedule] = []

    def launch(self, schedules: list[_Schedule]) -> None:
        """Start DBOS, which takes up its unfinished jobs, and set the schedules."""
        self._dbos.launch()
        for path in self._data.glob("jobs.sqlite*"):
            with suppress(FileNotFoundError):  # SQLite's own, which come and go
                path.chmod(0o600)
        wanted = {one.name: one for one in schedules if one.cron != OFF}
        self._schedules = list(wanted.values())
        for old in self._dbos.list_schedules():
            if old["schedule_name"] not in wanted:
                self._dbos.delete_schedule(old["schedule_name"])
        self._dbos.apply_schedules(
            [
                {"schedule_name": one.name, "workflow_fn": self._scheduled, "schedule": one.cron, "context": one.kind}
                for one in wanted.values()
            ]
        )
        for one in wanted.values():
            self._catch_up(one)

    def submit(self, kind: str, run_id: str) -> None:
        """Begin a job; the same run twice is one job."""
        if self._dbos.get_workflow_status(run_id) is not None:
            return
        with self._named(run_id):
            self._dbos.start_workflow(self._run, kind, run_id)

    def rest(self) -> float | None:
        """Return when something is due next, in seconds since 1970; None when that is soon, or a job is unfinished."""
        from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415 - no stubs; comes with DBOS

        if self._dbos.list_workflows(status=UNFINISHED, app_version=VERSION, limit=1, load_input=False):
            return None
        now = datetime.now(UTC)
        moments: list[datetime] = [croniter(one.cron, now).get_next(datetime) for one in self._schedules]
        due = min((moment.timestamp() for moment in moments), default=math.inf)
        return due if due - now.timestamp() > SOON_SECONDS else None

    def close(self) -> None:
        """End DBOS."""
        self._dbos.destroy(destroy_registry=True)

    def _catch_up(self, schedule: _Schedule) -> None:
        """Do what was due while the machine was off: a laptop sleeps at night. The last time is enough."""
        from croniter import croniter  # noqa: PLC0415 - as above

        last: datetime = croniter(schedule.cron, datetime.now(UTC)).get_prev(datetime)
        if last > self._fresh:
            with self._named(f"sched-{schedule.name}-{last.isoformat()}"):
                self._dbos.start_workflow(self._scheduled, last.isoformat(), schedule.kind)

    async def _on_time(self, what: str, at: int) -> None:
        kind, run_id = await self._due(what, at)
        await self._task(kind, run_id)

    def _wait(self, work: Awaitable[None]) -> None:
        """Wait for work on the event loop; when this process stops before its end, leave the job unfinished."""

        async def run() -> None:
            await work

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            future.result()
        except (FutureCancelledError, asyncio.CancelledError):
            raise _Stopping from None


def _executor_id(path: Path) -> tuple[str, datetime]:
    """Return the id under which this data folder's jobs are kept, and since when.

    One server holds a data folder, so the id is unique among live processes, and a server that starts again finds the
    jobs of the one before.
    """
    try:
        name = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        name = ""
    if not name:
        name = uuid4().hex
        path.write_text(name + "\n", encoding="ascii")
        path.chmod(0o600)
    return name, datetime.fromtimestamp(path.stat().st_mtime, UTC)
