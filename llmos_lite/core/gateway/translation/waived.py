"""What a model's server refused of a translated request that the request may do without.

Whoever speaks the client's dialect would have taken it; for others it is a word that only some models know.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from itertools import islice
from typing import TypeVar

_Key = TypeVar("_Key", bound=tuple[str, ...])
_Told = TypeVar("_Told")
FILES = "files"
"""Stands for files that tools gave, beside words for how hard to think."""
AGAIN_SECONDS = 3600.0
"""After which a model is told again how hard to think in a word that it refused: then it may be another."""
MOST_KNOWN, LONGEST_KNOWN = 1000, 200
"""Of how many models it is known what they refused, and how long their names may be; clients make them up."""
_LOWER = {"max": "high", "xhigh": "high"}
"""What is said instead; nothing for others: OpenAI's older models and many servers know only three words."""
_WORDS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
"""What is worth to be known: clients make words up as well."""
_UNABLE = frozenset({400, 422})
_TOO_MUCH = frozenset({400, 413, 415, 422, 501})
_ABOUT = re.compile(rb"effort|reasoning|think", re.IGNORECASE)
_BESIDE, _MOST_PLACES = 12, 16
"""Bytes beside such a word that tell a quotation, and how many places are looked at."""


class GiveWayError(Exception):
    """The server refused what a request may do without, and can be asked again.

    Args:
        word: for how hard to think, that it does not take, or `FILES`.
    """

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def lowered(effort: str, without: Collection[str]) -> str:
    """Return how hard to think in a word that was not refused; empty when none is left."""
    while effort and effort in without:
        effort = _LOWER.get(effort, "")
    return effort


def refused(status: int, said: bytes, effort: str, *, files: bool = False, asked: bytes = b"") -> str:
    """Return what a refused request may do without; empty for nothing.

    Ollama answers `"llama3.2" does not support thinking`, OpenAI "Unsupported value: 'reasoning_effort' does not
    support 'xhigh' with this model". Of a file every server says something else, and often nothing.

    Args:
        status: of the refusal.
        said: its body.
        effort: how hard the model was told to think; empty for not at all.
        files: whether it had files that tools gave: every later request of the conversation has these, too.
        asked: the request, of which servers quote what they refuse.
    """
    if effort and status in _UNABLE and _is_about(said, asked):
        return effort
    return FILES if files and status in _TOO_MUCH else ""


def _is_about(said: bytes, asked: bytes) -> bool:
    """Tell whether a server speaks of thoughts in its own words, and does not only quote a person's."""
    return any(
        said[max(found.start() - _BESIDE, 0) : found.end()] not in asked
        and said[found.start() : found.end() + _BESIDE] not in asked
        for found in islice(_ABOUT.finditer(said), _MOST_PLACES)
    )


class Waived:
    """Knows for an hour what models were asked for in vain: words for how hard to think, files of a conversation.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._words: dict[tuple[str, str], tuple[frozenset[str], float]] = {}
        self._files: dict[tuple[str, str, str], tuple[int, float]] = {}

    def words(self, server: str, model: str) -> frozenset[str]:
        """Return the words that a model of a server refused."""
        words, until = self._words.get((server, model), (frozenset[str](), 0.0))
        return words if self._clock() < until else frozenset()

    def files(self, server: str, model: str, conversation: str) -> int:
        """Return how many files of a conversation a model refused: with a further one it is asked again."""
        files, until = self._files.get((server, model, conversation), (0, 0.0))
        return files if self._clock() < until else 0

    def note(self, server: str, model: str, words: Collection[str]) -> None:
        """Note that a model refused words, and took the same request without them."""
        known = self.words(server, model)
        if new := (_WORDS & set(words)) - known:
            _keep(self._words, (server, model), (known | new, self._clock() + AGAIN_SECONDS))

    def note_files(self, server: str, model: str, conversation: str, files: int) -> None:
        """Note that a model refused so many files of a conversation, and took the same request without them."""
        if files > self.files(server, model, conversation):
            _keep(self._files, (server, model, conversation), (files, self._clock() + AGAIN_SECONDS))


def _keep(known: dict[_Key, _Told], key: _Key, told: _Told) -> None:
    """Keep what is told, so that it fills no memory."""
    if sum(map(len, key)) > LONGEST_KNOWN:
        return
    if key not in known and len(known) >= MOST_KNOWN:
        del known[next(iter(known))]
    known[key] = told
