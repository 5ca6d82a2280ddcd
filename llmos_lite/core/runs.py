"""Runs: long work, how far it is, and what came of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from llmos_lite.core.accounts.permissions import Actor, Verb, allowed
from llmos_lite.core.accounts.service_accounts import SYSTEM_ACCOUNT
from llmos_lite.core.page import Page
from llmos_lite.core.traces.trace import make_ulid, now_ms
from llmos_lite.errors import LlmosError, NotFound, Unavailable
from llmos_lite.records.catalog_runs import RunRecord, RunRows

Facts: TypeAlias = dict[str, object]

FINISHED = frozenset({"done", "failed"})
FIRST_LOOK, LONGEST_LOOK = 0.02, 0.5
"""Seconds between two looks at a run that somebody waits for; the worker is another process, so rows tell."""
PROGRESS_SECONDS = 0.25
"""Least time between two writes of progress: write transactions are shared with the chats."""
ERROR_LENGTH = 4_000
CLOCK = SYSTEM_ACCOUNT
"""Stands as the actor of what was due by the clock."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as people see it; `state` is `queued`, `running`, `done` or `failed`."""

    run_id: str
    kind: str
    actor: str
    state: str
    stage: str
    done: int
    total: int
    request: Facts
    result: Facts
    error: str
    created: int
    finished: int

    @property
    def is_finished(self) -> bool:
        """Tell whether nothing more will happen."""
        return self.state in FINISHED


class Runs:
    """Keeps the log of long work.

    Args:
        rows: of the catalog.
    """

    def __init__(self, rows: RunRows) -> None:
        self._rows = rows

    async def create(self, kind: str, actor: Actor, request: Mapping[str, object]) -> str:
        """Note that work of some kind was asked for; return its id."""
        at = now_ms()
        run_id = make_ulid(at)
        text = msgspec.json.encode(request).decode()
        await self._rows.create(RunRecord(run_id=run_id, kind=kind, actor=actor.user_id, created=at, request=text))
        return run_id

    async def due(self, kind: str, request: Mapping[str, object], at: int) -> str:
        """Note that work was due at some time (milliseconds), by the clock; the same again is the same run."""
        text = msgspec.json.encode(request).decode()
        run_id = make_ulid(at, f"due {kind} {text}")
        if await self._rows.get(run_id) is None:
            row = RunRecord(run_id=run_id, kind=kind, actor=CLOCK, created=now_ms(), request=text)
            await self._rows.create(row)
        return run_id

    async def get(self, actor: Actor, run_id: str) -> Run:
        """Return a run of the actor; of anybody for a system admin.

        Raises:
            NotFound: `run.unknown`.
        """
        row = await self._rows.get(run_id)
        if row is None or not (allowed(actor, Verb.OVERSEE) or row.actor == actor.user_id):
            raise NotFound("run.unknown", "There is no such run that you may see.")
        return _run(row)

    async def page(
        self, actor: Actor, *, kind: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Run]:
        """List the actor's runs, newest first; everybody's for a system admin.

        Raises:
            Invalid: `cursor.invalid`.
        """
        whose = None if allowed(actor, Verb.OVERSEE) else actor.user_id
        rows = await self._rows.page(actor=whose, kind=kind, limit=limit, cursor=cursor)
        return Page([_run(row) for row in rows.items], rows.next_cursor, rows.total)

    async def wait(self, run_id: str, timeout: float | None = None) -> Run:  # noqa: ASYNC109 - the last state is an answer, too
        """Return a run when it has finished, or as it is when `timeout` seconds have passed.

        Raises:
            NotFound: `run.unknown`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_LOOK
        while True:
            run = await self.load(run_id)
            left = LONGEST_LOOK if until is None else until - time.monotonic()
            if run.is_finished or left <= 0:
                return run
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_LOOK)

    # -- the side of whoever does the work --------------------------------------------------------------------------

    async def load(self, run_id: str) -> Run:
        """Return a run without asking who wants to know.

        Raises:
            NotFound: `run.unknown`.
        """
        row = await self._rows.get(run_id)
        if row is None:
            raise NotFound("run.unknown", "There is no such run.")
        return _run(row)

    async def unfinished(self) -> list[Run]:
        """Return the runs that are queued or running, oldest first."""
        return [_run(row) for row in await self._rows.unfinished()]

    async def start(self, run_id: str) -> None:
        """Note that somebody works on it (again)."""
        await self._rows.update(run_id, state="running", stage="", done=0, total=0, error="", finished=0)

    async def finish(self, run_id: str, result: Mapping[str, object]) -> None:
        """Note what came of it."""
        text = msgspec.json.encode(result).decode()
        await self._rows.update(run_id, state="done", result=text, stage="", finished=now_ms())

    async def fail(self, run_id: str, error: LlmosError | str) -> None:
        """Note why it did not come to its end."""
        said = f"{error.message} {error.hint}".strip() if isinstance(error, LlmosError) else error
        await self._rows.update(run_id, state="failed", error=said[-ERROR_LENGTH:], finished=now_ms())

    def progress(self, run_id: str) -> Progress:
        """Return what the work tells how far it is."""
        return Progress(self._rows, run_id)


class Progress:
    """Writes how far a run is: every change of stage, and otherwise a few times a second."""

    def __init__(self, rows: RunRows, run_id: str) -> None:
        self._rows, self._run_id = rows, run_id
        self._stage, self._written = "", 0.0

    async def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of a stage are finished; total 0 says that nobody knows."""
        now = time.monotonic()
        if stage == self._stage and now - self._written < PROGRESS_SECONDS:
            return
        self._stage, self._written = stage, now
        await self._rows.update(self._run_id, stage=stage[:40], done=done, total=total)


async def no_progress(_stage: str, _done: int, _total: int) -> None:
    """Tell nobody."""


def check_finished(run: Run) -> Facts:
    """Return the result of a run that is done.

    Raises:
        Unavailable: `run.failed` or `run.unfinished`.
    """
    if run.state == "failed":
        raise Unavailable("run.failed", run.error or "The run failed.", run_id=run.run_id)
    if not run.is_finished:
        raise Unavailable("run.unfinished", "The run has not finished yet.", hint="Ask again.", run_id=run.run_id)
    return run.result


def _run(row: RunRecord) -> Run:
    return Run(
        run_id=row.run_id,
        kind=row.kind,
        actor=row.actor,
        state=row.state,
        stage=row.stage,
        done=row.done,
        total=row.total,
        request=json.loads(row.request),
        result=json.loads(row.result),
        error=row.error,
        created=row.created,
        finished=row.finished,
    )
