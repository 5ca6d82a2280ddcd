"""A middleware: `LLMOS_MIDDLEWARE=llmos_example.middleware:Timing` tells each client how long its answer took."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Timing:
    """Plain ASGI: it is made with the app that it wraps, and called once for each request."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, and add a header to the start of its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                took = (time.perf_counter() - began) * 1000
                message["headers"] = [*message["headers"], (b"server-timing", b"llmos;dur=%.1f" % took)]
            await send(message)

        await self.app(scope, receive, timed)
