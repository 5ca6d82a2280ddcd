"""What was made once and is wanted again: a dictionary that forgets what was not asked for the longest."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T", str, bytes)


class Lru(Generic[K, V]):
    """Values by key, the most recently used ones; safe to share between threads: each step is one of the dictionary.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        """Return a value, None for one that is not there; it stays for longer."""
        value = self._values.get(key)
        if value is not None:
            try:
                self._values.move_to_end(key)
            except KeyError:  # another thread has put it out meanwhile, which takes no lock to stand
                return value
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value."""
        self._values.pop(key, None)
        self._values[key] = value
        while len(self._values) > self._most:
            self._values.popitem(last=False)


class Sized(Generic[K, T]):
    """Texts by key, up to a size in all; safe to share between threads.

    There are two halves: when the newer one is full it becomes the older one, and what the older one held is forgotten
    unless it was asked for meanwhile.

    Args:
        most: characters or bytes of both.

    Attributes:
        newer: the newer half, to look at first where a call for each text would cost more than the text.
    """

    def __init__(self, most: int) -> None:
        self._half, self._size = most // 2, 0
        self.newer: dict[K, T] = {}
        self._older: dict[K, T] = {}

    def get(self, key: K) -> T | None:
        """Return a text, None for one that is not there."""
        text = self.newer.get(key)
        if text is None and (text := self._older.get(key)) is not None:
            self.put(key, text)
        return text

    def put(self, key: K, text: T) -> None:
        """Keep a text."""
        self._size += len(text)
        if self._size > self._half:
            self._older, self.newer, self._size = self.newer, {}, len(text)
        self.newer[key] = text
