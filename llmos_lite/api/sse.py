"""Server-sent events as an answer: no text can break out of its event, and a silent model does not look dead."""

from __future__ import annotations

import asyncio

from llmos_lite.api.errors import Send
from llmos_lite.api.straight import edge_of, straight_to

HEARTBEAT = b": keep-alive\n\n"
HEARTBEAT_SECONDS = 15.0
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
)


def sse_event(name: str, data: bytes) -> bytes:
    """Return one event.

    Args:
        name: our own name of the event.
        data: JSON; its encoder escapes CR and LF, and any that are left become lines of their own.
    """
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.splitlines())
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


class EventStream:
    """An answer of events.

    Args:
        send: of the request.
        seconds: longest time without a byte; a comment fills it.
    """

    def __init__(self, send: Send, *, seconds: float = HEARTBEAT_SECONDS) -> None:
        self._send, self._straight, self._seconds = send, straight_to(edge_of(send)), seconds
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._last = 0.0
        self.started = False

    async def start(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head of the answer."""
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *headers]})
        self._last = self._loop.time()
        self._timer = self._loop.call_later(self._seconds, self._check)

    async def event(self, name: str, data: bytes) -> None:
        """Send one event; waits while the client reads too slowly."""
        self._last = self._loop.time()
        await self._send({"type": "http.response.body", "body": sse_event(name, data), "more_body": True})

    def at_once(self, name: str, data: bytes) -> bool:
        """Send one event unless that has to wait, and tell which."""
        if not self._straight(sse_event(name, data)):
            return False
        self._last = self._loop.time()
        return True

    async def end(self) -> None:
        """End the answer."""
        self.close()
        if self._beat is not None:
            await asyncio.wait([self._beat])
        await self._send({"type": "http.response.body", "body": b""})

    def close(self) -> None:
        """Stop the heartbeat."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        silent = self._loop.time() - self._last
        if silent >= self._seconds and (self._beat is None or self._beat.done()):
            message = {"type": "http.response.body", "body": HEARTBEAT, "more_body": True}
            self._beat = asyncio.ensure_future(self._send(message))
            self._last, silent = self._loop.time(), 0.0
        self._timer = self._loop.call_later(max(self._seconds - silent, 0.0), self._check)
