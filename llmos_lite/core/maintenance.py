"""Upkeep of the volumes' repositories: each commit is a pack, so many come together, and reads get slow."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, field

from llmos_lite.core.accounts.permissions import Actor, require_admin
from llmos_lite.engines.git_upkeep import Upkeep
from llmos_lite.errors import LlmosError, NotFound
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.manager import VolumeManager

log = logging.getLogger("llmos.maintenance")

PERIOD = 60.0
"""Seconds from one look at the volumes to the next."""
RETRY = 3600.0
"""Seconds after which a volume whose upkeep failed is tried again."""


@dataclass(frozen=True, slots=True)
class Maintained:
    """What upkeep did to one volume; `problem` says why it could not."""

    volume: str
    upkeep: Upkeep = field(default_factory=Upkeep)
    problem: str | None = None


class Maintenance:
    """Looks after one volume at a time, in a thread of its own; git works in a child process that is nice.

    Args:
        volumes: whose repositories.
    """

    def __init__(self, volumes: VolumeManager) -> None:
        self._volumes = volumes
        self._one = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: dict[VolumeRef, float] = {}

    def start(self) -> None:
        """Begin to look."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End, after the volume that is being looked after; a long one is left to git, which finishes it."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 10.0)
            self._thread = None

    def look(self) -> list[Maintained]:
        """Look after the volumes that need it."""
        done = []
        for ref in self._volumes.refs():
            if self._stop.is_set():
                break
            if time.monotonic() >= self._failed.get(ref, 0.0) and self._volumes.upkeep_due(ref):
                done.append(self._maintain(ref))
        return done

    async def run(self, actor: Actor, volume: VolumeRef | None = None) -> list[Maintained]:
        """Look after one volume, or all, now; as a system admin.

        Raises:
            Forbidden: `role.missing`.
            NotFound: `volume.unknown`.
        """
        require_admin(actor)
        if volume is not None and not self._volumes.exists(volume):
            raise NotFound("volume.unknown", f"There is no volume {volume}.")
        refs = [volume] if volume is not None else await asyncio.to_thread(self._volumes.refs)
        return [await asyncio.to_thread(self._maintain, ref, always=True) for ref in refs]

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                self.look()
            except Exception:
                log.exception("could not look after the volumes")

    def _maintain(self, ref: VolumeRef, *, always: bool = False) -> Maintained:
        try:
            with self._one:
                done = self._volumes.maintain(ref, always=always)
        except (LlmosError, OSError) as error:
            log.warning("%s: %s", ref, error)
            self._failed[ref] = time.monotonic() + RETRY
            return Maintained(str(ref), problem=str(error))
        self._failed.pop(ref, None)
        return Maintained(str(ref), done or Upkeep())
