"""Numbers of lines, found without counting from the start each time."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property


class Lines:
    """The lines of a text.

    Args:
        text: the text; a lone carriage return ends no line.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def of(self, place: int) -> int:
        """Return the number of the line, from 1, in which a place is."""
        return bisect_right(self._starts, place)

    @cached_property
    def _starts(self) -> list[int]:
        starts, place = [0], self._text.find("\n")
        while place >= 0:
            starts.append(place + 1)
            place = self._text.find("\n", place + 1)
        return starts
