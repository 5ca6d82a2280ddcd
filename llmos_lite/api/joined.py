"""The head of an answer leaves together with its first bytes: one packet and one call of the system instead of two.

uvicorn writes them one after the other. What has no bytes in the same round of the event loop leaves at its end.
Whoever answers can ask to be told at once when the connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

HEAD = b"HTTP/1.1 "


class Joined:
    """A connection to a client, with as many of the methods of `asyncio.Transport` as uvicorn uses.

    Args:
        transport: writes.
        loop: whose rounds count.

    Attributes:
        on_end: called when the connection has ended; of whoever answers just now.
    """

    on_end: Callable[[], None] | None = None

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._head = transport, loop, b""
        self.get_extra_info, self.is_closing = transport.get_extra_info, transport.is_closing
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading

    def write(self, data: bytes) -> None:
        """Write; the head of an answer waits for what comes next."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(HEAD):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close the connection, when everything is written."""
        self._flush()
        self._transport.close()

    def ended(self) -> None:
        """Tell whoever answers that nobody listens any more."""
        if self.on_end is not None:
            self.on_end()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
