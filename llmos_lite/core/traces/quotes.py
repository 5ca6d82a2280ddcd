"""Whether a text quotes an erased trace, told by hashes of its phrases, so that the text itself need not be kept.

A phrase is six words in a row; a shorter text counts as a whole.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Self

from llmos_lite.core.traces.state import TraceState

PHRASE = 6
"""Words in a row that two texts hardly share by accident."""
MOST_PHRASES = 2000
"""Phrases of one text that are marked: its first pages."""
WIDTH = 8
SALT = 16

_WORD = re.compile(r"\w+")


class Marks:
    """Hashes of the phrases of texts.

    Args:
        salt: of this erasure, so that no list of known phrases finds them.
        hashes: what was marked before.
    """

    def __init__(self, salt: bytes = b"", hashes: Iterator[bytes] | None = None) -> None:
        self._salt = salt or secrets.token_bytes(SALT)
        self._hashes = set(hashes or ())

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Return what `pack` made."""
        places = range(SALT, len(packed), WIDTH)
        return cls(packed[:SALT], (packed[place : place + WIDTH] for place in places))

    def pack(self) -> bytes:
        """Return everything as bytes."""
        return self._salt + b"".join(sorted(self._hashes))

    def add(self, text: str) -> None:
        """Mark the phrases of a text, and the lines that are shorter than one."""
        for line in (" ".join(text.split()), *text.splitlines()):
            self._hashes.update(self._hash(phrase) for phrase in phrases(line))

    def add_traces(self, states: Sequence[TraceState]) -> None:
        """Mark several traces."""
        for state in states:
            self.add_trace(state)

    def add_trace(self, state: TraceState) -> None:
        """Mark what was said in a trace, and what was said of it."""
        trace = state.trace
        for text in (
            trace.goal,
            *(message.content for message in trace.messages if message.role != "system"),
            *(part for call in trace.tool_calls for part in (call.arguments, call.result)),
            *(part for given in state.feedback for part in (given.note, given.kept)),
        ):
            self.add(text)

    def quoted(self, text: str) -> list[str]:
        """Return the marked phrases that a text holds."""
        return [phrase for phrase in phrases(text) if self._hash(phrase) in self._hashes]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def _hash(self, phrase: str) -> bytes:
        return hashlib.blake2b(phrase.encode("utf-8", "replace"), digest_size=WIDTH, key=self._salt).digest()


def phrases(text: str) -> Sequence[str]:
    """Return every six words in a row, in lower case; all of the words of a text that has fewer."""
    words = _WORD.findall(text.lower())[: MOST_PHRASES + PHRASE]
    if len(words) <= PHRASE:
        return [" ".join(words)] if words else []
    return [" ".join(words[place : place + PHRASE]) for place in range(len(words) - PHRASE + 1)]
