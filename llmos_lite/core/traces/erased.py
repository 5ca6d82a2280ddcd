"""What is hidden at once, and stays away: traces whose erasure was asked for in this process, or was not finished."""

from __future__ import annotations

from collections.abc import Iterable

from llmos_lite.core.traces.cutting import TOMBSTONE
from llmos_lite.core.traces.trace import Event


class Erased:
    """The ids of erased traces; what comes of them later, as feedback that was on its way, is dropped.

    Attributes:
        ids: of all of them.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def add(self, trace_ids: Iterable[str]) -> None:
        """Hide traces from now on."""
        self.ids.update(trace_ids)

    def __contains__(self, trace_id: object) -> bool:
        return trace_id in self.ids

    def hides(self, event: Event) -> bool:
        """Tell whether an event is about an erased trace, and not its tombstone."""
        return event.trace_id in self.ids and event.kind != TOMBSTONE
