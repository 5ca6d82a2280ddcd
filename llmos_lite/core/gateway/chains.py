"""What conversations are known by: one hash for each of their beginnings.

A client sends all of a conversation with every turn. To hash 300 kB was a third of such a request; what stood in the
request before is compared instead, in a tenth of the time, and only what is new is hashed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

Stable: TypeAlias = Callable[[msgspec.Raw], bytes]
"""Returns an item without what moves from turn to turn; the same for the same bytes."""

FEWEST = 6
"""Items of a conversation that is worth it."""
MOST_BYTES = 32 << 20
_ITEM, _ALONE = 150, 3
"""Bytes that an item takes beside its own, and for how many items a conversation counts by itself."""
_END = 64


class _Key(NamedTuple):
    """Conversations that may be one; the first item by its length and its end, since it may be long."""

    start: bytes
    stable: Stable
    length: int
    end: bytes


class _Known(NamedTuple):
    items: Sequence[bytes]
    links: Sequence[bytes]
    size: int


class Chains:
    """Hashes conversations; for one event loop.

    Args:
        most: bytes of requests that are remembered, those that came lately.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._size = most, 0
        self._known: OrderedDict[_Key, _Known] = OrderedDict()

    def of(self, items: Sequence[msgspec.Raw], start: bytes, stable: Stable) -> list[bytes]:
        """Return the same as `links`."""
        if len(items) < FEWEST:
            return links(items, start, stable)
        written = [bytes(item) for item in items]
        key = _Key(start, stable, len(written[0]), written[0][-_END:])
        known = self._known.pop(key, None)
        chain: list[bytes] = []
        if known is not None:
            self._size -= known.size
            chain += known.links[: _beginning(known.items, written)]
            written[: len(chain)] = known.items[: len(chain)]  # which keeps one of each, not two
        chain += links(items[len(chain) :], chain[-1] if chain else start, stable)
        self._keep(key, written, chain)
        return chain

    def forget(self) -> None:
        """Forget all that was said."""
        self._known.clear()
        self._size = 0

    def _keep(self, key: _Key, items: Sequence[bytes], chain: Sequence[bytes]) -> None:
        size = sum(map(len, items)) + _ITEM * (len(items) + _ALONE)
        if size > self._most:  # for it all others would go, and it as well
            return
        self._known[key] = _Known(items, chain, size)
        self._size += size
        while self._size > self._most:
            self._size -= self._known.popitem(last=False)[1].size


def _beginning(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Return how many items both begin with."""
    same = 0
    for item, its in zip(one, other, strict=False):
        if item != its:
            break
        same += 1
    return same


def links(items: Iterable[msgspec.Raw], start: bytes = b"", stable: Stable = bytes) -> list[bytes]:
    """Return one hash for each beginning of a conversation, the shortest first: 16 bytes, chained.

    Args:
        items: as the client wrote them.
        start: what tells apart conversations that read the same.
        stable: see `Stable`.
    """
    found, last = [], start
    for item in items:
        last = hashlib.blake2b(last + stable(item), digest_size=16).digest()
        found.append(last)
    return found
