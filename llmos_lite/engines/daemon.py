"""A thread that does one thing after the other and ends with the process, whatever it is doing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Daemon:
    """Runs what it is given on one thread, started with the first; unlike an executor it never holds up an exit.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Return how much has not begun."""
        return self._work.qsize()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Do `work` when its turn comes."""
        done: Future[T] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - it is handed to who waits
                done.set_exception(error)

        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                self._thread.start()
        self._work.put(run)
        return done

    def stop(self, patience: float = 0.0) -> None:
        """End after what has been submitted; more can be submitted, and starts another thread.

        Args:
            patience: seconds to wait for the end.
        """
        with self._guard:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put(None)
            thread.join(patience)

    def _loop(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work  # it holds what it worked with, and the next may not come for long
