"""What plain ASGI routes wait for: the body of a request, and a client that goes away."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self, cast

from llmos_lite.api.errors import Receive

SOON = 0.1
"""Seconds after which it is worth a task to look whether a client is still there; most answers are done by then."""


class UntilGone:
    """Cancels its body when the client goes away, so that the model stops, and then ends quietly."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._gone = receive, False
        self._later: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._later = asyncio.get_running_loop().call_later(SOON, self._look, task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
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
    """Return the body; its limit is the edge's business."""
    message = await receive()
    body = cast("bytes", message.get("body", b""))
    if not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)
