"""A text that is being looked at, and the rules that look: each is called where one of its words stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from llmos_lite.core.traces.redaction.base import Found

SHORTEST_ESCAPE = 2


class Look:
    """One text.

    Attributes:
        text: as it is written, without disguise.
        low: the same in small letters, character by character.
        done: up to where tokens were looked for already; keeps long runs of prefixes linear.
    """

    __slots__ = ("_until", "done", "low", "text")

    def __init__(self, text: str) -> None:
        self.text, self.low = text, text.lower()
        if len(self.low) != len(text):
            self.low = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
        self.done = 0
        self._until: dict[str, int] = {}

    def first(self, what: str, start: int, until: int) -> bool:
        """Tell whether `what` was not looked for at a place yet; it then counts as done up to `until`."""
        if start < self._until.get(what, 0):
            return False
        self._until[what] = until
        return True

    def reach(self, what: str, until: int) -> None:
        """Note that `what` was looked for up to a place, wherever that began."""
        self._until[what] = max(until, self._until.get(what, 0))

    def until(self, what: str) -> int:
        """Return up to where something was looked for."""
        return self._until.get(what, 0)


Rule: TypeAlias = Callable[[Look, int, int], Iterable[Found]]
"""Is given the place of its word, and returns what it found there."""


class Rules(NamedTuple):
    """A rule and the words, in small letters, that call it."""

    words: tuple[str, ...]
    rule: Rule


def starts_here(text: str, at: int) -> bool:
    """Tell whether a word may begin at a place: no letter or digit stands before it, but that of an escape."""
    if at == 0 or not text[at - 1].isalnum():
        return True
    if at >= SHORTEST_ESCAPE and text[at - 2] == "\\" and text[at - 1] in "nrtbf":
        return True
    before = text[max(0, at - 3) : at]
    return len(before) == 3 and before[0] == "%" and all(c in "0123456789abcdefABCDEF" for c in before[1:])


def ends_here(text: str, at: int) -> bool:
    """Tell whether a word may end before a place."""
    return at >= len(text) or not text[at].isalnum()
