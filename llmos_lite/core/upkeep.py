"""What the server does by itself, every second: it adopts the files that people drop into work trees."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from llmos_lite.errors import LlmosError
from llmos_lite.volumes.access import VolumeKind, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

log = logging.getLogger("llmos.upkeep")

FIRST = 0.1
"""Seconds to the first look: the start comes before it, and what was restored or edited meanwhile right after."""
PERIOD = 1.0
"""Seconds from one look to the next."""
BUDGET = 0.1
"""Seconds that the users' volumes may take of each look; those left over come first in the next."""
REFRESH = 3
"""Looks between two listings of the volumes that there are."""


class HandEdits:
    """Looks through the work trees in a thread of its own.

    The system's and the teams' volumes are looked at every time, the users' in turns, as many as fit into the budget.

    Args:
        volumes: whose work trees.
        adopted: called in the thread with each volume whose files were looked at closely.
    """

    def __init__(self, volumes: VolumeManager, adopted: Callable[[VolumeRef], None] | None = None) -> None:
        self._volumes, self._adopted = volumes, adopted
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._next = self._looks = 0
        self._refs: list[VolumeRef] = []
        self.problems: dict[str, str] = {}
        """A sentence for each volume that cannot be read, by its name."""

    def start(self) -> None:
        """Begin to look."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="hand-edits", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End, after the look that is going on."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 10.0)
            self._thread = None

    def look(self) -> int:
        """Look once; return how many volumes got a commit."""
        if self._looks % REFRESH == 0:
            self._refs = self._volumes.refs()
        self._looks += 1
        refs = self._refs
        users = [ref for ref in refs if ref.kind is VolumeKind.USER]
        count = sum(self._look_at(ref) for ref in refs if ref.kind is not VolumeKind.USER)
        until = time.monotonic() + BUDGET
        for _ in users:
            self._next = (self._next + 1) % len(users)
            count += self._look_at(users[self._next])
            if time.monotonic() > until:
                break
        return count

    def _run(self) -> None:
        left = FIRST
        while not self._stop.wait(left):
            left = PERIOD
            try:
                self.look()
            except Exception:
                log.exception("could not look through the work trees")

    def _look_at(self, ref: VolumeRef) -> bool:
        try:
            if not self._volumes.touched(ref):
                self.problems.pop(str(ref), None)
                return False
            commit = self._volumes.adopt(ref)
        except (LlmosError, OSError) as error:
            if self.problems.get(str(ref)) != str(error):
                log.warning("%s: %s", ref, error)
            self.problems[str(ref)] = str(error)
            return False
        self.problems.pop(str(ref), None)
        if self._adopted is not None:
            self._adopted(ref)
        return commit is not None
