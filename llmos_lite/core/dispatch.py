"""From a run to the process that does it: folded first, noted when it dies, taken up again after a crash."""

from __future__ import annotations

from typing import Protocol

from llmos_lite.core.runs import Runs
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.errors import LlmosError

EVOLVE = "evolve"
SCHEDULES = ("users", "teams", "system")
"""Scopes that the clock runs: every night, every week, every month."""


class Pool(Protocol):
    """Does one run in a process of its own; `engines.worker_pool.WorkerPool` is one."""

    async def run(self, kind: str, run_id: str) -> None:
        """Return when the process has ended well.

        Raises:
            LlmosError: it has not; the message says what it wrote.
        """


class Dispatch:
    """Hands runs to worker processes.

    Args:
        runs: the log of runs.
        traces: is folded before a worker reads traces, since the journal belongs to this process.
        pool: the workers.
    """

    def __init__(self, runs: Runs, traces: TraceLog, pool: Pool) -> None:
        self._runs, self._traces, self._pool = runs, traces, pool

    async def work(self, kind: str, run_id: str) -> None:
        """Have a run done by a worker; it notes what came of it, unless it dies."""
        if (await self._runs.load(run_id)).is_finished:
            return
        try:
            await self._traces.fold()
            await self._pool.run(kind, run_id)
            self._traces.reload()
        except LlmosError as error:
            await self._runs.fail(run_id, error)
            return
        if not (await self._runs.load(run_id)).is_finished:
            await self._runs.fail(run_id, "The worker ended without a result.")

    async def due(self, what: str, at: int) -> tuple[str, str]:
        """Return kind and id of the run of a scope that is due by the clock."""
        return EVOLVE, await self._runs.due(EVOLVE, {"scope": what}, at)

    async def unfinished(self) -> list[tuple[str, str]]:
        """Return kind and id of the runs that nobody finished: those asked for just before a crash among them."""
        return [(run.kind, run.run_id) for run in await self._runs.unfinished()]
