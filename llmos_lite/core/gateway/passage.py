"""A stream on its way from a model to a client: what comes goes out in the same moment, and nobody is woken for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

from llmos_lite.core.gateway.pieces import Straight
from llmos_lite.core.gateway.reading import LARGEST_ANSWER, Reading, too_large
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm_http import END_SECONDS
from llmos_lite.engines.sse import EVENT_ENDS, ended_lines, lacks_ends, whole_events
from llmos_lite.errors import LlmosError

_TEXT = rb'(?:[^"\\\r\n]++|\\[^\r\n])*+'
_WORDS = re.compile(rb'"(?:content|reasoning_content|text)"\s*:\s*"(%b)"' % _TEXT)
"""The first words in an event; in JSON the quotes of a text are escaped, so that only a key and its value read so."""
_is_text = re.compile(_TEXT).fullmatch
_NEVER = b"\0"
"""What no event begins with."""
MOST_LEARNED = 8


def always(data: bytes) -> bool:
    """Let all events pass that differ from these in their words alone."""
    del data
    return True


class Passage:
    """One stream, of which nothing but whole events goes on: a client that saw half of one could not read an error.

    Args:
        reply: of the model's server.
        reading: reads every event of it.
        shown: makes of whole events what the client gets; may raise what a dialect raises.
        straight: the short way to the client.
        passes: tells whether events that differ from one in its words alone may pass without `shown`.

    Attributes:
        ended: whether what came last ends the answer.
    """

    def __init__(
        self,
        reply: Reply,
        reading: Reading,
        shown: Callable[[bytes], bytes] | None,
        straight: Straight,
        passes: Callable[[bytes], bool],
    ) -> None:
        self._reply, self._reading, self._shown, self._straight = reply, reading, shown, straight
        self._held, self._begun, self._until = b"", bytearray(), 0.0
        self._lacks_ends = self._has_ends = False
        self._passes, self._learned = passes, 0
        self._before, self._after, self._start, self._behind = _NEVER, b"", 0, 0
        self.ended = False

    async def held(self) -> bytes | None:
        """Wait for the next piece that cannot go out by itself; None at the end of the stream.

        It waits for a client that reads slowly, or ends the answer, which the trace comes before. What comes behind
        that end is waited for only a moment, and nothing that goes wrong there is an error: the answer is whole.

        Raises:
            UpstreamFailed: `model.garbage`; `model.cut`, see `Reply.pour`.
            UpstreamTimeout: `model.timeout`.
        """
        if not self.ended:
            return self._held if await self._reply.pour(self._take) else None
        if self._reply.spent:
            return None
        self._until = self._until or asyncio.get_running_loop().time() + END_SECONDS
        with suppress(OSError, LlmosError):
            async with asyncio.timeout_at(self._until):
                if await self._reply.pour(self._take):
                    return self._held
        return None

    def close(self) -> bytes:
        """Take the end of the stream, and return what the client gets of a last event that nothing ends but this."""
        last = bytes(self._begun)
        self._reading.close(last)
        if not last or not self._reading.ended:
            return b""
        if self._shown is None:
            return last
        return b"" if self.ended else self._shown(last.rstrip(b"\r\n") + b"\n\n")

    def _take(self, data: bytes) -> bool:
        """Take what came; an event that differs from the one before in its words alone is not looked at."""
        reading, size = self._reading, len(data)
        if (
            data.startswith(self._before)
            and data.endswith(self._after)
            and _is_text(data, self._start, size - self._behind) is not None
            and reading.total + size < reading.full
        ):
            reading.total += size
            reading.waiting.append(data)
            if self._straight(data):
                return True
            self._held = data
            return False
        self._before = _NEVER
        goes_on = self._look_at(data)
        if goes_on and self._learned < MOST_LEARNED:
            self._learn(data)
        return goes_on

    def _learn(self, data: bytes) -> None:
        """Know events that differ from this one in their words alone, when it is one, and says nothing but these."""
        if self._begun or not data.endswith(b"\n\n") or data.find(b"\n\n") != len(data) - 2 or data.find(b"\r") >= 0:
            return
        words = _WORDS.search(data)
        if words is not None and self._passes(data) and not self._reading.is_sign(data):
            self._before, self._after = data[: words.start(1)], data[words.end(1) :]
            self._start, self._behind = len(self._before), len(self._after)
            self._learned += 1

    def _look_at(self, data: bytes) -> bool:
        if self._begun or not self._has_ends or not data.endswith(EVENT_ENDS):
            data = self._events(data)
            if not data:
                return True
        self.ended = self._reading.take(data)
        shown = data if self._shown is None else self._shown(data)
        if not self.ended and (not shown or self._straight(shown)):
            return True
        self._held = shown
        return False

    def _events(self, data: bytes) -> bytes:
        """Return the whole events that there are now; the first of all shows how the server ends them."""
        self._lacks_ends = self._lacks_ends or lacks_ends(self._begun, data)
        data = (ended_lines if self._lacks_ends else whole_events)(self._begun, data)
        if len(self._begun) > LARGEST_ANSWER:
            raise too_large()
        self._has_ends = not self._lacks_ends and b"data:" in data
        return data
