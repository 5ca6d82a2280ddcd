"""What plain ASGI routes wait for: the body of a request, and a client that goes away."""

from __future__ import annotations

import asyncio
import zlib
from types import TracebackType
from typing import Self, cast

from llmos_lite.api.errors import Receive
from llmos_lite.api.middleware import Request
from llmos_lite.api.straight import edge_of
from llmos_lite.errors import Invalid, TooLarge

_PACKED = frozenset({b"gzip", b"x-gzip", b"deflate"})

SOON = 0.1
"""Seconds after which it is worth a task to look whether a client is still there; most answers are done by then.

On a connection of ours nobody has to look: its end is heard.
"""


class UntilGone:
    """Cancels its body when the client goes away, so that the model stops, and then ends quietly.

    Args:
        receive: of ASGI.
        edge: our own, when it is known already that nothing lies between it and `receive`.
    """

    __slots__ = ("_exchange", "_gone", "_later", "_receive", "_watch")

    def __init__(self, receive: Receive, edge: Request | None = None) -> None:
        self._receive, self._gone = receive, False
        edge = edge or edge_of(receive)
        exchange = None if edge is None else edge.exchange
        self._exchange = None if exchange is None or exchange.disconnected else exchange
        self._later: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        if self._exchange is not None and (answering := self._exchange.task) is not None:
            self._exchange.on_end = answering.cancel  # it ends quietly
        else:
            self._exchange = None
            task = cast("asyncio.Task[None]", asyncio.current_task())
            self._later = asyncio.get_running_loop().call_later(SOON, self._look, task)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._exchange is not None:
            self._exchange.on_end = None
            return False
        if self._later is not None:
            self._later.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if not self._gone:
            return False
        task = cast("asyncio.Task[None]", asyncio.current_task())
        return task.uncancel() == 0 and isinstance(error, asyncio.CancelledError)

    def _look(self, task: asyncio.Task[None]) -> None:
        self._watch = asyncio.create_task(self._wait(task))

    async def _wait(self, task: asyncio.Task[None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        task.cancel()


async def read_body(receive: Receive) -> bytes:
    """Return the body; its limit is the edge's business.

    Raises:
        Invalid: `request.cut`, which nobody hears: the client went away in the middle of it.
    """
    edge = edge_of(receive)
    body = None if edge is None else edge.body()
    return await _read(receive) if body is None else body


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("request.cut", "The client went away before the whole body had come.")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def unpacked(body: bytes, how: bytes, limit: int) -> bytes:
    """Return a body that a client has packed.

    Args:
        body: as it came.
        how: it is packed, as the client says.
        limit: most bytes that it may have unpacked.

    Raises:
        Invalid: `request.encoding`, for one that is packed in a way that is not known here, or that is broken.
        TooLarge: `request.too_large`.
    """
    if how not in _PACKED:
        said = f"A request that is packed with {how.decode('latin-1')[:50]!r} cannot be read here."
        raise Invalid("request.encoding", said, hint="Send it unpacked, or with gzip.")
    return await asyncio.to_thread(_unpacked, body, limit)


def _unpacked(body: bytes, limit: int) -> bytes:
    reader = zlib.decompressobj(32 + zlib.MAX_WBITS)  # gzip or zlib, as its head says
    try:
        found = reader.decompress(body, limit + 1)
    except zlib.error:
        found = b""
    if len(found) > limit:
        raise TooLarge("request.too_large", f"Unpacked, the body of a request has at most {limit:,} bytes here.")
    if not reader.eof:
        raise Invalid("request.encoding", "The body of the request is not packed as its header says.")
    return found
