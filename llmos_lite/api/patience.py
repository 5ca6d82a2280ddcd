"""The HTTP server, without endless patience: a client that never finishes the head of a request is let go.

uvicorn waits for a head for ever, so that a few thousand idle connections (Slowloris) would take every socket; and it
takes a head of any size.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llmos_lite.api.joined import Joined

HEAD_SECONDS = 20.0
"""Seconds in which the head of a request has to be there, from the connection or from its first byte on."""
LARGEST_HEAD = 64 << 10
"""Bytes of the head of a request, its address among them."""
LARGEST_PIECE = 256 << 10
"""Bytes that the event loop reads at once: the first piece of a head may end the body before."""


class Ending(uvicorn.Server):
    """Ends what would never end by itself, as a stream of changes, before it waits for what runs.

    Args:
        config: uvicorn's.
        end: ends it.
    """

    def __init__(self, config: uvicorn.Config, end: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._end = end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        await self._end()
        await super().shutdown(sockets)


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection whose next request takes too long to begin, or too much."""

    _timer: asyncio.TimerHandle | None = None
    _before = _piece = 0

    def data_received(self, data: bytes) -> None:
        """Read on, and count what comes before the end of a head."""
        self._piece = len(data)
        super().data_received(data)
        self._before = 0 if self._timer is None else self._before + len(data)
        if self._before > LARGEST_HEAD + LARGEST_PIECE:
            self.send_400_response("The head of the request is too large.")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first head."""
        self._joined = Joined(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._joined))
        self._wait()

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        super().on_message_begin()
        if self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Stop waiting."""
        self._stop()
        if self._before + self._piece > LARGEST_HEAD:
            self._check_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and let nobody answer on."""
        self._stop()
        super().connection_lost(exc)
        self._joined.ended()

    def _check_head(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > LARGEST_HEAD:
            raise ValueError("too large")  # uvicorn answers 400, and closes

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
