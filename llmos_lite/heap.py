"""When the garbage collector looks at the heap of a server, and how many heaps it has.

What is loaded at start (modules, routes, jobs: 170,000 objects) lives as long as the process, and a full collection
walks through all of it while every request waits: measured 140 ms every two seconds at 900 chats a second, which was
the whole tail. Reference counts free nearly everything; what is left for the collector are the cycles of exceptions.

GNU's allocator gives each thread a heap of its own, and what one has freed no other uses: 20 MB after some thousand
requests. Python's threads take turns anyway, so that one heap for all is as quick.
"""

from __future__ import annotations

import ctypes
import gc

THRESHOLDS = (10_000, 20, 20)
"""Of `gc.set_threshold`: with the default 700 and 10, requests under way are carried into the old generation."""

_M_ARENA_MAX = -8


def begin_loading() -> None:
    """Collect nothing while modules are loaded: nothing of them goes away."""
    gc.disable()
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # GNU's; other systems have none
        mallopt(_M_ARENA_MAX, 1)


def end_loading() -> None:
    """Leave everything that is there to the end of the process, and collect only what comes after it."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
