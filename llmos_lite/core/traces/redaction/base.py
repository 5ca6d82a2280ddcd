"""What a redactor is, what a finder is, and what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from llmos_lite.core.traces.trace import Event

SECRETS, PERSONAL = "secrets", "personal"
CATEGORIES = (SECRETS, PERSONAL)
SECRET = "secret"  # noqa: S105 - the word itself
"""The kind of everything that opens a door: keys, tokens, passwords, private keys."""


class Redactor(Protocol):
    """Takes out of an event what must not reach Git.

    It runs in a thread, off the answer's path, on every event that is folded or imported, and on an unfolded one that
    is read. The same event must give the same result: a fold that a crash interrupted is done again.
    """

    def redact(self, event: Event) -> Event:
        """Return the event as it may be kept."""


class KeepAll:
    """Takes nothing out."""

    def redact(self, event: Event) -> Event:
        """Return the event as it is."""
        return event


class Found(NamedTuple):
    """Something to take out: where it begins and ends in the text, and its kind (`email`, `name`, ...)."""

    start: int
    end: int
    kind: str


def counted(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Return the sum of two counts by kind, in the order of kinds."""
    return {kind: counts.get(kind, 0) + more.get(kind, 0) for kind in sorted({*counts, *more})}


@runtime_checkable
class Finder(Protocol):
    """Finds what is to be taken out of a text.

    Register one as an entry point in the group `llmos_lite.redactors`: a class without arguments, or an object.
    """

    def find(self, text: str) -> Iterable[Found]:
        """Return what is to be taken out; kinds are `[a-z]+(-[a-z]+)*`, and the same text gives the same."""
