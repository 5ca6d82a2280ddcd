"""What is done with old traces by itself, every day: retention, and archives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from llmos_lite.core.traces.archive import KEPT_AFTER_RESTORE, Archives, month_of
from llmos_lite.core.traces.erase import Eraser
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import LlmosError
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import retention_of
from llmos_lite.volumes.manager import VolumeManager

log = logging.getLogger("llmos.keeping")

PERIOD = 86_400.0
"""Seconds from one round to the next."""
FIRST = 60.0
"""Seconds from the start to the first round, so that it does not stand in the way of the first chats."""
MS_PER_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Rules:
    """For how long traces stay: days until they are erased, and months until they are archived; 0 is for ever."""

    retention_days: int = 0
    archive_months: int = 0


class Keeping:
    """Finishes what was cut short, then looks every day for what is too old.

    Args:
        volumes: whose traces.
        eraser: erases what is older than the retention.
        archives: takes what is old.
        rules: where a volume does not say otherwise.
        clock: the time in milliseconds.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        eraser: Eraser,
        archives: Archives,
        rules: Rules,
        *,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._volumes, self._eraser, self._archives = volumes, eraser, archives
        self._rules, self._clock = rules, clock
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the background; what was to be erased is hidden when this returns."""
        self._eraser.hide()
        self._task = asyncio.create_task(self._run(), name="keeping")

    async def stop(self) -> None:
        """End, after what is on its way."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        await self._eraser.stop()

    async def look(self) -> None:
        """Look once at every volume; one that is broken does not stop the others."""
        for ref in await asyncio.to_thread(self._volumes.refs):
            if self._stopping.is_set():
                return
            try:
                await self._keep(ref)
            except LlmosError as error:
                log.warning("the old traces of %s stay where they are: %s", ref, error.message)

    async def finish(self) -> None:
        """Finish the erasures and archives that an earlier process began."""
        await self._eraser.resume()
        for ref in await asyncio.to_thread(self._archives.volumes):
            try:
                await self._archives.finish(ref)
            except LlmosError as error:
                log.warning("the archives of %s are not finished: %s", ref, error.message)

    async def _run(self) -> None:
        try:
            await self._finish_or_log()
            pause = FIRST
            while not await self._stops_within(pause):
                await self.look()
                pause = PERIOD
        except Exception:
            log.exception("old traces are not looked after any more")

    async def _finish_or_log(self) -> None:
        try:
            await self.finish()
        except LlmosError as error:  # the store of archives does not answer, as an example
            log.warning("what an earlier process began is not finished: %s", error.message)

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _keep(self, ref: VolumeRef) -> None:
        now = self._clock()
        if days := await asyncio.to_thread(self.retention_days, ref):
            await self._eraser.retain(ref, now - days * MS_PER_DAY)
        if self._rules.archive_months:
            for month in await asyncio.to_thread(self._old_months, ref, now):
                await self._archives.pack(ref, month)

    def retention_days(self, ref: VolumeRef) -> int:
        """Return for how many days a volume keeps its traces; 0 is for ever."""
        said = retention_of(self._volumes.open(PLATFORM, ref))
        return self._rules.retention_days if said is None else said

    def _old_months(self, ref: VolumeRef, now: int) -> list[str]:
        """Return the months in Git that are to be archived; one that was brought back lately is not."""
        last = _months_before(now, self._rules.archive_months)
        found = sorted(name for name in self._volumes.open(PLATFORM, ref).traces.branches() if name < last)
        return [month for month in found if now - self._archives.restored_at(ref, month) > KEPT_AFTER_RESTORE]


def _months_before(now: int, count: int) -> str:
    """Return the month that lies so many months before the one of a time."""
    at = datetime.fromtimestamp(now / 1000, UTC)
    months = at.year * 12 + at.month - 1 - count
    return month_of(int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000))
