"""What a model's server refused of a translated request that the request may do without.

Whoever speaks the client's dialect would have taken it; for others it is a word that only some models know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

FILES = "files"
"""Stands for files that tools gave, beside words for how hard to think."""
AGAIN_SECONDS = 3600.0
"""After which a model is told again how hard to think in a word that it refused: then it may be another."""
MOST_KNOWN, LONGEST_KNOWN = 1000, 200
"""Of how many models it is known what they refused, and how long their names may be; clients make them up."""
_LOWER = {"max": "high", "xhigh": "high"}
"""What is said instead; nothing for others: OpenAI's older models and many servers know only three words."""
_UNABLE = frozenset({400, 422})
_TOO_MUCH = frozenset({400, 413, 415, 422, 501})
_ABOUT = (b"effort", b"reasoning", b"think")


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


def refused(status: int, said: bytes, effort: str, *, files: bool = False) -> str:
    """Return what a refused request may do without; empty for nothing.

    Ollama answers `"llama3.2" does not support thinking`, OpenAI "Unsupported value: 'reasoning_effort' does not
    support 'xhigh' with this model". Of a file every server says something else, and often nothing.

    Args:
        status: of the refusal.
        said: its body.
        effort: how hard the model was told to think; empty for not at all.
        files: whether it had files that tools gave: every later request of the conversation has these, too.
    """
    lower = said.lower()
    if effort and status in _UNABLE and any(word in lower for word in _ABOUT):
        return effort
    return FILES if files and status in _TOO_MUCH else ""


class Efforts:
    """Knows in which words models were told in vain how hard to think, for an hour.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: dict[tuple[str, str], tuple[frozenset[str], float]] = {}

    def refused(self, server: str, model: str) -> frozenset[str]:
        """Return the words that a model of a server refused."""
        words, until = self._refused.get((server, model), (frozenset[str](), 0.0))
        return words if self._clock() < until else frozenset()

    def note(self, server: str, model: str, word: str) -> None:
        """Note that a model refused a word."""
        if len(model) > LONGEST_KNOWN:
            return
        words = self.refused(server, model) | {word}
        if (server, model) not in self._refused and len(self._refused) >= MOST_KNOWN:
            del self._refused[next(iter(self._refused))]
        self._refused[server, model] = (words, self._clock() + AGAIN_SECONDS)
