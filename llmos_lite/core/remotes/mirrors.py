"""Keeps remotes in step, in the background: after commits, by the clock, again after a failure, or when asked.

How a remote stands is in its row, so a process that is killed leaves nothing behind: the next one looks again, and a
push that was done already is found done. A few remotes are looked at side by side, in threads of their own; one that
does not answer holds nobody else up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from msgspec.structs import replace

from llmos_lite.core.proposals.service import Proposals
from llmos_lite.core.remotes.dialing import Dialer
from llmos_lite.core.remotes.schedule import next_time
from llmos_lite.core.remotes.sync import PROBLEM, Outcome, State, Sync
from llmos_lite.core.remotes.traces import TraceMirror, sent_of
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.git import MAIN
from llmos_lite.engines.git_peer import LOOK, TRANSFER
from llmos_lite.engines.git_refs import Refs
from llmos_lite.errors import LlmosError, NotFound
from llmos_lite.records.remotes import RemoteRecord, RemoteRows
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.receiving import gitdir_of

log = logging.getLogger("llmos.remotes")
T = TypeVar("T")

PERIOD = 1.0
"""Seconds from one look at the volumes to the next."""
AT_ONCE = 2
"""Remotes that are looked at side by side."""
COALESCE, COALESCE_TRACES, POLL = 5_000, 60_000, 600_000
"""Milliseconds between two pushes of one remote, between two of a mirror of traces, and between two looks for what is
new there."""
BACK_OFF, LONGEST = 10_000, 3_600_000
"""Milliseconds to wait after a first failure, twice as long after each further one, and at most."""
JITTER = 0.2
ANSWER, ERASE = 60.0, 30.0
"""Seconds that somebody waits who asks for a look, and that an erasure waits for a mirror."""
AGAIN = 3
"""Looks that are taken when somebody is quicker here."""


class Mirrors:
    """Looks after all remotes of an instance; a `Mirror` of `core.traces.erase`.

    Args:
        rows: of the remotes.
        volumes: whose remotes.
        proposals: keeps what waits for a review.
        dialer: knows how a remote is reached.
        sync: looks at remotes of skills.
        background: whether to look by itself; a command that uses the folder for a moment leaves it to the server.
        clock: the time in milliseconds.
    """

    def __init__(
        self,
        rows: RemoteRows,
        volumes: VolumeManager,
        proposals: Proposals,
        dialer: Dialer,
        sync: Sync,
        *,
        background: bool = True,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._rows, self._volumes, self._proposals = rows, volumes, proposals
        self.dialer, self._sync, self._traces, self._clock = dialer, sync, TraceMirror(volumes), clock
        self._background = background
        self._known: dict[str, RemoteRecord] = {}
        self._refs: dict[tuple[str, bool], Refs] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._pool = ThreadPoolExecutor(2 * AT_ONCE, "remotes")
        self._running: dict[str, asyncio.Task[RemoteRecord | None]] = {}
        self._others: set[asyncio.Task[RemoteRecord | None]] = set()
        self._erasing: set[str] = set()
        self._loop: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    # From start to stop

    def start(self) -> None:
        """Begin to look."""
        if self._background:
            self._loop = asyncio.create_task(self._run(), name="remotes")

    async def stop(self) -> None:
        """End at once: what goes on is broken off, and done again after the next start."""
        self.dialer.children.stop()
        tasks = [task for task in (self._loop, *self._running.values(), *self._others) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop = None
        self._pool.shutdown(wait=False, cancel_futures=True)

    def is_running(self, remote_id: str) -> bool:
        """Tell whether a remote is looked at right now."""
        return remote_id in self._running

    async def refresh(self) -> None:
        """Read the rows anew, after somebody has changed them."""
        self._known = {row.remote_id: row for row in await self._rows.all() if not row.removed}
        self._changed.set()

    async def _run(self) -> None:
        await self.refresh()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), PERIOD if self._known else None)
                self._changed.clear()
            try:
                await self.look()
            except Exception:
                log.exception("could not look at the remotes")

    async def look(self) -> list[str]:
        """Begin with what is due; return the ids of these remotes."""
        waiting = [row for row in self._known.values() if row.remote_id not in self._running]
        due = await self._in_thread(lambda: [row.remote_id for row in waiting if self.due(row)])
        for remote_id in due:
            self._begin(remote_id)
        return due

    # What is due

    def due(self, row: RemoteRecord) -> bool:
        """Tell whether a remote has to be looked at now."""
        now = self._clock()
        if row.failures and now < row.next_try:
            return False
        if row.erasing and row.volume not in self._erasing:
            return True
        if not row.active or row.timing == "manual":
            return False
        if row.failures or row.timing == "schedule":
            return now >= row.next_try
        if row.traces:
            return now - row.tried >= COALESCE_TRACES and self._months_moved(row)
        polls = now - row.tried >= POLL
        return polls or (row.direction != "pull" and now - row.tried >= COALESCE and self._head_moved(row))

    def _head_moved(self, row: RemoteRecord) -> bool:
        return self._refs_of(row).read(MAIN) not in {row.head, None}

    def _months_moved(self, row: RemoteRecord) -> bool:
        sent = sent_of(row)
        return any(sent.get(month) != [commit] for month, commit in self._refs_of(row).all().items())

    def _refs_of(self, row: RemoteRecord) -> Refs:
        key = row.volume, row.traces
        if key not in self._refs:
            self._refs[key] = Refs(gitdir_of(self._volumes, VolumeRef.parse(row.volume), traces=row.traces))
        return self._refs[key]

    # One look

    async def sync(self, remote_id: str) -> RemoteRecord | None:
        """Look at a remote now; return how it stands, or stood when it takes longer than somebody waits."""
        task = self._begin(remote_id)
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(task), ANSWER)
        return await self._rows.get(remote_id)

    def _begin(self, remote_id: str) -> asyncio.Task[RemoteRecord | None]:
        task = self._running.get(remote_id)
        if task is None:
            task = self._running[remote_id] = asyncio.create_task(self._attempt(remote_id), name=f"remote-{remote_id}")
            task.add_done_callback(lambda _: self._running.pop(remote_id, None))
        return task

    async def _attempt(self, remote_id: str, *, patience: float = TRANSFER, slot: bool = True) -> RemoteRecord | None:
        async with self._locks[remote_id]:
            if not slot:
                return await self._once(remote_id, patience)
            async with self._slots:
                return await self._once(remote_id, patience)

    async def _once(self, remote_id: str, patience: float) -> RemoteRecord | None:
        row = await self._rows.get(remote_id)
        if row is None or row.removed:
            return None
        try:
            values = await (self._send_traces(row, patience) if row.traces else self._sync_skills(row))
        except LlmosError as error:
            if error.code == "remote.stopping":
                return row
            log.warning("%s of %s: %s", row.name, row.volume, error.message)
            values = self._failed(row, error.message)
        except Exception:
            log.exception("%s of %s", row.name, row.volume)
            values = self._failed(row, "The server's log says why.")
        return self._keep(await self._rows.change(remote_id, **values), remote_id)

    def _keep(self, row: RemoteRecord | None, remote_id: str) -> RemoteRecord | None:
        if row is None or row.removed:
            self._known.pop(remote_id, None)
        else:
            self._known[remote_id] = row
        return row

    async def _sync_skills(self, row: RemoteRecord) -> dict[str, str | int]:
        for left in reversed(range(AGAIN)):
            try:
                outcome = await self._in_thread(lambda: self._sync.run(row, self.dialer.peer(row)))
                break
            except LlmosError as error:
                if error.code != "volume.moved" or not left:
                    raise
        if outcome.branch:
            await self._proposals.pushed(VolumeRef.parse(row.volume), outcome.branch)
        if outcome.pulled:
            log.info("%s of %s: pulled %s", row.name, row.volume, outcome.head)
        return self._looked(row, outcome)

    async def _send_traces(self, row: RemoteRecord, patience: float) -> dict[str, str | int]:
        if row.volume in self._erasing:  # what is rewritten meanwhile is told when it is done
            row = replace(row, erasing=0)
        peer = await self._in_thread(lambda: self.dialer.peer(row))
        plan = await self._in_thread(lambda: self._traces.plan(row, peer, patience=min(patience, LOOK)))
        if await self._rows.change(row.remote_id, sent=json.dumps(plan.sent)) is None:
            raise NotFound("remote.unknown", "The remote was taken away.")
        outcome, sent = await self._in_thread(lambda: self._traces.send(row, peer, plan, patience=patience))
        values = self._looked(row, outcome) | {"sent": json.dumps(sent)}
        if outcome.state is not State.OK:
            values |= self._failed(row, outcome.problem) | {"state": outcome.state}
        elif row.erasing:
            values["erasing"] = 0
        return values

    def _looked(self, row: RemoteRecord, outcome: Outcome) -> dict[str, str | int]:
        now = self._clock()
        return {
            "state": outcome.state,
            "problem": outcome.problem[:PROBLEM],
            "ahead": outcome.ahead,
            "behind": outcome.behind,
            "head": outcome.head,
            "theirs": outcome.theirs,
            "proposed": outcome.proposed,
            "tried": now,
            "succeeded": now if outcome.state is State.OK else row.succeeded,
            "failures": 0,
            "next_try": next_time(row.cron, now) if row.timing == "schedule" else 0,
        }

    def _failed(self, row: RemoteRecord, problem: str) -> dict[str, str | int]:
        now = self._clock()
        pause = min(BACK_OFF * 2 ** min(row.failures, 20), LONGEST)
        wait = int(pause * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret
        return {
            "state": State.FAILED,
            "problem": problem[:PROBLEM],
            "tried": now,
            "failures": row.failures + 1,
            "next_try": now + wait,
        }

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    # Erasure

    async def begin(self, volume: VolumeRef) -> None:
        """Note that months of a volume are about to be rewritten: a crash from here on is made up for."""
        self._erasing.add(str(volume))
        for row in await self._holding(volume):
            self._keep(await self._rows.change(row.remote_id, erasing=self._clock()), row.remote_id)

    async def erase(self, volume: VolumeRef, branches: Sequence[str]) -> list[str]:  # noqa: ARG002 - a mirror compares all months, so that one that was missed is found
        """Bring the months at each mirror to what they are here; return what was not reached, and is tried again."""
        await self.begin(volume)
        self._erasing.discard(str(volume))
        told = await asyncio.gather(*(self._tell(row) for row in await self._holding(volume)))
        return [one for one in told if one]

    async def _holding(self, volume: VolumeRef) -> list[RemoteRecord]:
        """Return the mirrors that traces of a volume were sent to, those that were taken away since, too."""
        return [row for row in await self._rows.all() if row.traces and row.volume == str(volume) and sent_of(row)]

    async def _tell(self, row: RemoteRecord) -> str:
        if row.removed:
            return f"{row.volume}, {row.name} ({row.url}): it is no remote any more, and keeps what it has."
        task = asyncio.create_task(self._attempt(row.remote_id, patience=ERASE, slot=False))
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        where = f"{row.volume}, {row.name} ({row.url})"
        try:
            found = await asyncio.wait_for(asyncio.shield(task), ERASE)
        except TimeoutError:
            return f"{where}: it did not answer in {ERASE:.0f} s; it is tried again."
        return f"{where}: {found.problem}; it is tried again." if found and found.erasing else ""
