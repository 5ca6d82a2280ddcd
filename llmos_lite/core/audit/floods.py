"""Floods of refusals: the first of a kind is written at once, those like it within a minute become one row that counts.

So neither somebody who tries keys all day nor a broken client fills the disk: at most `MOST` kinds a minute are told
apart, and everything beyond them is one kind more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from llmos_lite.core.audit.chain import Draft

WINDOW = 60.0
"""Seconds in which refusals of a kind are counted."""
MOST = 60
"""Kinds of refusals that are told apart in one window."""


@dataclass(slots=True)
class _Kind:
    until: float
    last: Draft
    more: int = 0


class Floods:
    """Counts refusals.

    Args:
        clock: seconds, as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def take(self, draft: Draft) -> list[Draft]:
        """Return what is to be written now: this refusal, when it is the first of its kind, and counts that are due."""
        due = self.due()
        key: tuple[str, ...] = (draft.client, draft.actor, draft.credential, draft.action, draft.code)
        if key not in self._kinds and len(self._kinds) >= MOST:
            key, draft = ("others",), replace(draft, actor="", owner="", credential="", client="", target="", about="")
        kind = self._kinds.get(key)
        if kind is None:
            self._kinds[key] = _Kind(self._clock() + WINDOW, draft)
            return [*due, draft]
        kind.more += 1
        kind.last = draft
        return due

    def due(self, *, everything: bool = False) -> list[Draft]:
        """Return a row for each kind whose window has ended (or for every kind), with how many more there were."""
        now = self._clock()
        ended = {key: kind for key, kind in self._kinds.items() if everything or kind.until <= now}
        for key in ended:
            del self._kinds[key]
        return [_counted(kind) for kind in ended.values() if kind.more]


def _counted(kind: _Kind) -> Draft:
    return replace(kind.last, detail={**(kind.last.detail or {}), "times": str(kind.more)})
