"""When the garbage collector looks at the heap of a server, and how many heaps it has.

What is loaded at start (modules, routes, jobs: 170,000 objects) lives as long as the process, and a full collection
walks through all of it while every request waits: measured 140 ms every two seconds at 900 chats a second, which was
the whole tail. Reference counts free nearly everything; what is left for the collector are the cycles of exceptions.

GNU's allocator gives each thread a heap of its own, and what one has freed no other uses: 20 MB after some thousand
requests. Python's threads take turns anyway, so that one heap for all is as quick.

What large traces leave behind between small objects it keeps, too: after 240 of 100 kB to 1 MB, 63 of 131 MB were
nobody's. It is asked now and then how much that is (.3 ms), and gives it back when it is much.
"""

from __future__ import annotations

import ctypes
import gc

THRESHOLDS = (10_000, 20, 20)
"""Of `gc.set_threshold`: with the default 700 and 10, requests under way are carried into the old generation."""

PERIOD = 60.0
"""Seconds between two looks at how much is free."""
MUCH = 32 << 20
"""Free bytes that are given back: this takes 1 to 40 ms, in which no thread gets memory."""

_M_ARENA_MAX = -8


class _Info(ctypes.Structure):
    """`struct mallinfo2`; `fordblks` are the bytes that are free."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    )


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


def give_back() -> bool:
    """Give the system what malloc holds and nobody uses, when it is much; tell whether it was. For a thread."""
    libc = ctypes.CDLL(None)
    ask, trim = getattr(libc, "mallinfo2", None), getattr(libc, "malloc_trim", None)  # GNU's, since 2021
    if ask is None or trim is None:
        return False
    ask.restype = _Info
    if ask().fordblks < MUCH:
        return False
    trim(0)
    return True
