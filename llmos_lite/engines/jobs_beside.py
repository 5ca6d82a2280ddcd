"""Jobs of a server: kept by DBOS in a process beside it, which runs only while there is something to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmos_lite.engines.jobs import Due, Unfinished, Work, checked
from llmos_lite.engines.lines import Peer
from llmos_lite.errors import LlmosError, Unavailable

log = logging.getLogger("llmos.jobs")

HOST = (sys.executable, "-P", "-m", "llmos_lite.engines.jobs_host")
PATIENCE_SECONDS = 10.0
"""How long a fresh server waits before it looks what was due while it was off, unless work was left unfinished."""
REST_SECONDS = 5.0
"""How often it is asked whether there is something to do; when there is not, the process ends."""
EARLY_SECONDS = 20.0
"""How long before something is due the process is started."""
LOOK_SECONDS = 30.0
"""How often the clock is looked at: a machine that sleeps stops what waits, not the clock."""
READY_SECONDS = 60.0
"""How long it may take to answer, its start on a busy machine among it."""
LONGEST_PAUSE = 3600.0
"""How long it is left alone at most when it could not be started; each pause is twice the one before."""
GRACE_SECONDS = 15.0
"""How long the process may take to end; then it is killed, which leaves its jobs unfinished as well."""


@dataclass(frozen=True, slots=True)
class _Host:
    process: asyncio.subprocess.Process
    peer: Peer
    listening: asyncio.Task[None]

    def close(self) -> None:
        """Let it hear that nobody asks any more."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def kill(self) -> None:
        """End it now, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.returncode is None:
                self.process.kill()


class JobsBeside:
    """`DbosJobs` in a process of its own, started for a job, and before something is due.

    Args:
        data: the data folder; one server holds it.
        work: does the work, on the event loop that called `start`.
        due: makes the run of a schedule.
        unfinished: names work that somebody may have submitted just before a crash, as (kind, run id).
        patience: see `PATIENCE_SECONDS`.
        rest: see `REST_SECONDS`.
    """

    def __init__(
        self,
        data: Path,
        work: Work,
        due: Due,
        unfinished: Unfinished | None = None,
        *,
        patience: float = PATIENCE_SECONDS,
        rest: float = REST_SECONDS,
    ) -> None:
        self._data, self._work, self._due, self._unfinished = data, work, due, unfinished
        self._patience, self._rest = patience, rest
        self._schedules: list[tuple[str, str, str]] = []
        self._host: _Host | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._turn, self._wanted = asyncio.Lock(), asyncio.Event()
        self._problem, self._stopped = "", False

    @property
    def process(self) -> int | None:
        """Return the id of the process beside this one, None while there is none."""
        return self._host.process.pid if self._host is not None else None

    def schedule(self, name: str, cron: str, kind: str) -> None:
        """Note a schedule; see `Jobs`."""
        self._schedules.append((name, checked(cron), kind))

    async def start(self) -> None:
        """Begin in the background, once; see `Jobs`."""
        if self._keeper is None and not self._stopped:
            self._keeper = asyncio.create_task(self._keep())

    async def submit(self, kind: str, run_id: str) -> None:
        """Hand the work to DBOS; see `Jobs`."""
        await self.start()
        async with self._turn:
            await self._ask("submit", kind, run_id)
        self._wanted.set()

    async def check(self) -> str:
        """Return `ok`, or what was wrong the last time; see `Jobs`."""
        return self._problem or "ok"

    async def stop(self) -> None:
        """End the process; what it was doing goes on at the next start; see `Jobs`."""
        self._stopped = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        async with self._turn:
            await self._end()
        self._problem = _unavailable("they were stopped").message

    async def _keep(self) -> None:
        """Have the process run when it is needed, and end when it is not."""
        if not await self._took_up():
            await self._until(time.time() + self._patience)
        pause = self._rest
        while True:
            self._wanted.clear()
            try:
                until, pause = await self._rested() - EARLY_SECONDS, self._rest
            except LlmosError as error:
                log.error("jobs are not running: %s", error.message)  # noqa: TRY400 - the process has said where
                until, pause = time.time() + pause, min(2 * pause, LONGEST_PAUSE)
            await self._until(until)

    async def _took_up(self) -> bool:
        """Submit what was left unfinished; tell whether anything was."""
        try:
            left = await self._unfinished() if self._unfinished else []
            for kind, run_id in left:
                await self.submit(kind, run_id)
        except LlmosError as error:
            log.error("work that was left unfinished waits: %s", error.message)  # noqa: TRY400 - as below
            return True
        return bool(left)

    async def _until(self, moment: float) -> None:
        """Wait for a time of the clock, or until something is submitted."""
        while not self._wanted.is_set() and (left := moment - time.time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), min(left, LOOK_SECONDS))

    async def _rested(self) -> float:
        """Return when something is due next, once nothing is left to do and the process has ended."""
        while True:
            async with self._turn:
                said = await self._ask("rest")
                if said:
                    await self._end()
                    return float(said[0])
            await asyncio.sleep(self._rest)

    async def _ask(self, what: str, *words: str) -> list[str]:
        """Ask the process, started when there is none; with `_turn` held.

        Raises:
            Unavailable: `jobs.unavailable`, and the process has ended; `peer.gone`, when it ended by itself.
        """
        try:
            async with asyncio.timeout(READY_SECONDS):
                said = await (await self._awake()).peer.ask(what, *words)
        except (TimeoutError, LlmosError) as error:
            await self._end()
            self._problem = error.message if isinstance(error, LlmosError) else "DBOS does not answer."
            if isinstance(error, LlmosError):
                raise
            raise _unavailable("DBOS does not answer") from None
        self._problem = ""
        return said

    async def _awake(self) -> _Host:
        """Return the process, started when there is none; with `_turn` held."""
        if self._stopped:
            raise _unavailable("they were stopped")
        if self._host is not None and self._host.listening.done():
            await self._end()
        if self._host is None:
            process = await asyncio.create_subprocess_exec(
                *HOST,
                str(self._data),
                msgspec.json.encode(self._schedules).decode(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            if process.stdin is None or process.stdout is None:
                raise AssertionError("both are pipes")
            peer = Peer(process.stdout, process.stdin.write, self._answer)
            self._host = _Host(process, peer, asyncio.create_task(peer.listen()))
        return self._host

    async def _answer(self, what: str, words: Sequence[str]) -> Sequence[str]:
        if what == "due":
            return await self._due(words[0], int(words[1]))
        await self._work(words[0], words[1])
        return []

    async def _end(self) -> None:
        """End the process, with `_turn` held; work that it asked for is cancelled with it.

        When this is cancelled, the next call goes on.
        """
        if (host := self._host) is None:
            return
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await host.peer.ask("stop")
                host.close()
                await host.process.wait()
        except (TimeoutError, LlmosError):
            host.kill()
        await asyncio.wait([host.listening])
        await host.process.wait()
        self._host = None


def _unavailable(why: str) -> Unavailable:
    return Unavailable("jobs.unavailable", f"Jobs are not running: {why}.", hint="Look at the log.")
