"""What is left behind: objects that only the collector of garbage would find."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONGEST = 30.0


@contextmanager
def uncollected(*kinds: type) -> Iterator[Callable[[], list[object]]]:
    """Collect nothing until the block ends; what is yielded returns the objects of these kinds that came and are there.

    What other tests have left in this process does not count.
    """
    before = _those_of(kinds)
    known = set(map(id, before))  # nothing else gets these ids as long as `before` is there
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield lambda: [one for one in _those_of(kinds) if id(one) not in known]
    finally:
        if was_on:
            gc.enable()


async def until_gone(left: Callable[[], list[object]]) -> None:
    """Wait until none of them is there."""
    async with asyncio.timeout(LONGEST):
        while left():  # noqa: ASYNC110 - what goes away tells nobody
            await asyncio.sleep(0.01)


def _those_of(kinds: tuple[type, ...]) -> list[object]:
    wanted = frozenset(kinds)  # an object may say anything of its class when `isinstance` asks it
    return [one for one in gc.get_objects() if not wanted.isdisjoint(type(one).__mro__)]
