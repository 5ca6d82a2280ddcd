"""What was made of long texts that come again and again: an agent sends the same 20 kB and the same tools each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

LEAST, LONGEST = 1000, 100_000
"""Lengths from which on it costs less to know a text than to read it anew, and to which it is kept."""
MOST = 32
_END = 64

Text = TypeVar("Text", str, bytes)
T = TypeVar("T")


class Repeated(Generic[Text, T]):
    """Values by long texts, those that came first forgotten first.

    A text is found by its length and its end, and then compared as a whole: a twentieth of what a hash of it costs.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, Text], tuple[Text, T]] = {}

    def of(self, text: Text, make: Callable[[Text], T]) -> T:
        """Return what `make` makes of a text; it is called once for one that comes again and again."""
        known = self.get(text)
        return self.put(text, make(text)) if known is None else known

    def get(self, text: Text) -> T | None:
        """Return what was made of a text; None for one that is not known."""
        if len(text) < LEAST:
            return None
        kept = self._kept.get((len(text), text[-_END:]))
        return kept[1] if kept is not None and kept[0] == text else None

    def put(self, text: Text, value: T) -> T:
        """Keep what was made of a text, if it is a long one, and return it."""
        if LEAST <= len(text) <= LONGEST:
            key = len(text), text[-_END:]
            if key not in self._kept and len(self._kept) >= MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = text, value
        return value
