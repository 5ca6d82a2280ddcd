"""The text of an answer, put together from the pieces in which a stream brings it, up to a bound."""

from __future__ import annotations

MOST_TEXT = 8 << 20
"""Characters of text, and of arguments, that are kept of an answer; as many bytes are the largest that a chat takes."""


class Texts:
    """Pieces of a text; of one that is too long its beginning is kept, and how much more there was.

    Args:
        most: characters that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._kept: list[str] = []

    def add(self, text: str) -> None:
        """Take the next piece."""
        if text and self._size < self._most:
            self._kept.append(text[: self._most - self._size])
        self._size += len(text)

    def whole(self) -> str:
        """Return what is kept, with a note behind it when that is not all."""
        more = self._size - self._most
        return "".join(self._kept) + (f"\n[characters that are not kept: {more:,}]" if more > 0 else "")
