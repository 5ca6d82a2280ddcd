"""Whose turn it is: few at once, and one of each person, so that nobody keeps others waiting with many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Gives turns, in the order of those who ask.

    Args:
        at_once: how many people have one at the same time.
    """

    def __init__(self, at_once: int) -> None:
        self._all = asyncio.Semaphore(at_once)
        self._own: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, user_id: str) -> AsyncIterator[None]:
        """Wait for the turn of a person: until what they began is done, and others let them."""
        lock, count = self._own.get(user_id, (asyncio.Lock(), 0))
        self._own[user_id] = (lock, count + 1)
        try:
            async with lock, self._all:
                yield
        finally:
            self._leave(user_id)

    def _leave(self, user_id: str) -> None:
        lock, count = self._own[user_id]
        if count == 1:
            del self._own[user_id]
        else:
            self._own[user_id] = (lock, count - 1)
