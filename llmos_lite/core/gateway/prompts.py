"""Where long system prompts of clients were kept: an agent sends the same 20 kB with each of its conversations.

Kept in memory only: after a restart a prompt is kept once more. A trace of another month is not relied upon, since
months are archived, and end, one by one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Container

from llmos_lite.core.traces.trace import Trace

LEAST = 1000
"""Characters of a prompt that is worth it; a shorter one stands in every conversation."""
MOST = 2000


class Prompts:
    """Which trace holds a prompt.

    Args:
        most: prompts that are remembered, those that came lately.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    def holder(self, volume: str, prompt: str, at: int, erased: Container[str]) -> str:
        """Return the trace that holds a prompt; empty for none.

        Args:
            volume: where the trace has to lie.
            prompt: its hash.
            at: when it is needed, in milliseconds.
            erased: traces that hold nothing any more.
        """
        key = volume, prompt, _month(at)
        found = self._kept.get(key, "")
        if not found or found in erased:
            return ""
        self._kept.move_to_end(key)
        return found

    def keep(self, trace: Trace) -> None:
        """Remember a trace that is durable, if it holds a prompt."""
        first = trace.messages[0] if trace.messages else None
        if first is None or first.role != "system" or len(first.content) < LEAST:
            return
        self._kept[trace.volume, trace.system, _month(trace.time)] = trace.id
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def forget(self, trace_ids: Container[str]) -> None:
        """Rely on traces no more that go, also on those whose time is over, which nobody erased."""
        for key in [key for key, trace_id in self._kept.items() if trace_id in trace_ids]:
            del self._kept[key]


def _month(at: int) -> str:
    return time.strftime("%Y-%m", time.gmtime(at / 1000))
