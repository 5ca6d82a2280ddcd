"""Conversations that went on lately, in memory, so that the next turn reads no disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from llmos_lite.core.traces.trace import Trace

MOST_BYTES = 16 << 20
"""About how many bytes of all conversations that are kept; the ones that were quiet for longest go first."""

Key = tuple[str, str]
"""Volume and conversation."""


class RecentConversations:
    """The turns of recent conversations, oldest first; only whole conversations are kept."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[Key, list[Trace]] = OrderedDict()

    def get(self, key: Key) -> list[Trace] | None:
        """Return the turns of a conversation; None when it is not kept."""
        turns = self._kept.get(key)
        if turns is None:
            return None
        self._kept.move_to_end(key)
        return list(turns)

    def put(self, key: Key, turns: list[Trace]) -> None:
        """Keep a whole conversation."""
        self._size -= sum(map(_weight, self._kept.pop(key, ())))
        self._kept[key] = list(turns)
        self._size += sum(map(_weight, turns))
        while self._size > self._most and self._kept:
            self._size -= sum(map(_weight, self._kept.popitem(last=False)[1]))

    def forget(self, trace_ids: Collection[str]) -> None:
        """Let go of the conversations that one of these traces is a turn of."""
        for key in [key for key, turns in self._kept.items() if any(turn.id in trace_ids for turn in turns)]:
            self._size -= sum(map(_weight, self._kept.pop(key)))

    def add(self, trace: Trace) -> None:
        """Add a turn: to the conversation that is kept, or as the first of a new one."""
        key = trace.volume, trace.conversation
        turns = self._kept.get(key)
        if turns is not None:
            self.put(key, [*turns, trace])
        elif not trace.parent:
            self.put(key, [trace])


def _weight(trace: Trace) -> int:
    calls = sum(len(call.arguments) + len(call.result) for call in trace.tool_calls)
    chosen = 200 * (len(trace.skills_used) + len(trace.exposures))
    return 1000 + chosen + calls + sum(len(message.content) for message in trace.messages)
