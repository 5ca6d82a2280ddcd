"""Whether a text quotes an erased trace, told by hashes of its phrases, so that the text itself need not be kept.

A phrase is six words in a row; a shorter line counts as a whole. Of a very large erasure all goals are marked, and of
the rest a sample of the phrases, the same ones in every text: a passage of some lines is still found.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Iterator, Sequence
from typing import Self

from llmos_lite.core.traces.state import TraceState

PHRASE = 6
"""Words in a row that two texts hardly share by accident."""
MOST_PHRASES = 2000
"""Phrases of one text that are marked: its first pages."""
MOST_MARKS = 1_000_000
"""About 100 MB while an erasure runs, and 8 MB in what is noted of it."""
PER_TRACE = 500
"""Phrases that a trace has as a rule."""
WIDTH = 8
SALT = 16

_WORD = re.compile(r"\w+")


class Marks:
    """Hashes of the phrases of texts.

    Args:
        salt: of this erasure, so that no list of known phrases finds them.
        hashes: what was marked before.
        traces: how many will be marked; of many, a sample of their phrases is.
    """

    def __init__(self, salt: bytes = b"", hashes: Iterator[int] | None = None, *, traces: int = 1) -> None:
        self._salt = salt or secrets.token_bytes(SALT)
        self._hashes = set(hashes or ())
        self._every = 1 + traces * PER_TRACE // MOST_MARKS

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return what `pack` made."""
        places = range(SALT, len(packed), WIDTH)
        return cls(packed[:SALT], (int.from_bytes(packed[place : place + WIDTH], "big") for place in places))

    def pack(self) -> bytes:
        """Return everything as bytes."""
        return self._salt + b"".join(mark.to_bytes(WIDTH, "big") for mark in sorted(self._hashes))

    def add(self, text: str, *, every: int = 1) -> None:
        """Mark the phrases of a text, and the lines that are shorter than one.

        Args:
            text: what is to be found again.
            every: mark one in so many of its phrases; the words decide which.
        """
        short = [phrase for line in text.splitlines() for phrase in phrases(line) if phrase.count(" ") < PHRASE]
        for phrase in dict.fromkeys((*phrases(text), *short[:MOST_PHRASES])):
            if every == 1 or zlib.crc32(phrase.encode("utf-8", "replace")) % every == 0:
                self._hashes.add(self._hash(phrase))

    def add_traces(self, states: Sequence[TraceState]) -> None:
        """Mark several traces."""
        for state in states:
            self.add_trace(state)

    def add_trace(self, state: TraceState) -> None:
        """Mark what was said in a trace, and what was said of it."""
        trace = state.trace
        self.add(trace.goal)
        for text in (
            *(message.content for message in trace.messages if message.role != "system"),
            *(part for call in trace.tool_calls for part in (call.arguments, call.result)),
            *(part for given in state.feedback for part in (given.note, given.kept)),
        ):
            self.add(text, every=self._every)

    def quoted(self, text: str) -> list[str]:
        """Return the marked phrases that a text holds."""
        return [phrase for phrase in phrases(text) if self._hash(phrase) in self._hashes]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def _hash(self, phrase: str) -> int:
        digest = hashlib.blake2b(phrase.encode("utf-8", "replace"), digest_size=WIDTH, key=self._salt).digest()
        return int.from_bytes(digest, "big")


def phrases(text: str) -> Sequence[str]:
    """Return every six words in a row, in lower case; all of the words of a text that has fewer."""
    words = _WORD.findall(text.lower())[: MOST_PHRASES + PHRASE]
    if len(words) <= PHRASE:
        return [" ".join(words)] if words else []
    return [" ".join(words[place : place + PHRASE]) for place in range(len(words) - PHRASE + 1)]
