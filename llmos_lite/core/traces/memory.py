"""Conversations that went on lately, in memory, so that the next turn reads no disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

import msgspec

from llmos_lite.core.traces.trace import Trace, encode

MOST_BYTES = 16 << 20
"""About how many bytes of all conversations that are kept; the ones that were quiet for longest go first."""

OVERHEAD = 1000
"""Bytes of a turn beside its line."""
Key = tuple[str, str]
"""Volume and conversation."""


class _Conversation(msgspec.Struct):
    turns: list[Trace]
    size: int


class RecentConversations:
    """The turns of recent conversations, oldest first; only whole conversations are kept."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[Key, _Conversation] = OrderedDict()

    def get(self, key: Key) -> list[Trace] | None:
        """Return the turns of a conversation; None when it is not kept."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return list(kept.turns)

    def put(self, key: Key, turns: list[Trace]) -> None:
        """Keep a whole conversation."""
        self._drop(key)
        self._keep(key, _Conversation(list(turns), 0), sum(OVERHEAD + len(encode(turn)) for turn in turns))

    def add(self, trace: Trace, size: int) -> None:
        """Add a turn: to the conversation that is kept, or as the first of a new one; `size` is that of its line."""
        key = trace.volume, trace.conversation
        kept = self._kept.get(key)
        if kept is not None:
            kept.turns.append(trace)
            self._keep(key, kept, OVERHEAD + size)
        elif not trace.parent:
            self._keep(key, _Conversation([trace], 0), OVERHEAD + size)

    def forget(self, trace_ids: Collection[str]) -> None:
        """Let go of the conversations that one of these traces is a turn of."""
        for key in [key for key, kept in self._kept.items() if any(turn.id in trace_ids for turn in kept.turns)]:
            self._drop(key)

    def _keep(self, key: Key, conversation: _Conversation, more: int) -> None:
        self._kept[key] = conversation
        self._kept.move_to_end(key)
        conversation.size += more
        self._size += more
        while self._size > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= kept.size
