"""How many tokens a request had whose provider gives no counts, as in a stream whose client asked for none."""

from __future__ import annotations

import re

from llmos_lite.core.gateway.asked import Asked
from llmos_lite.engines.llm import Completion

BYTES = 4
"""Of a token, in English and in JSON."""
PICTURE = 1000
"""Tokens of a picture or a file, whose bytes say little: providers count 85 to 1,600 for a picture."""
LARGE = 64 << 10
"""Bytes of a request, from which on it is looked through for such."""
_FILE = re.compile(rb'"(?:data:[^",]{1,200},)?[A-Za-z0-9+/\\_-]{1000,}+={0,2}"')


def by_length(size: int, asked: Asked, done: Completion | None) -> tuple[int, int]:
    """Return tokens of a request and of its answer.

    Args:
        size: bytes of the request.
        asked: what it asks.
        done: the answer, as far as it came; thoughts that lead to no words are not in it.
    """
    if size > LARGE:
        files = [file for raw in asked.fields.values() for file in _FILE.findall(raw)]
        size += PICTURE * BYTES * len(files) - sum(map(len, files))
    return size // BYTES, 0 if done is None else of_answer(done)


def of_answer(done: Completion) -> int:
    """Return tokens of an answer, as far as it came."""
    calls = sum(len(call.name) + len(call.arguments) for call in done.tool_calls)
    return (len(done.text.encode()) + calls) // BYTES
