"""The least a proxy can do: `python -m benchmarks._proxy PORT` passes requests to PORT and answers back as they are.

Raw asyncio on both sides, connections kept; no credential, no skills, no trace. It is the floor that Python sets.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import cast

import uvloop


def whole(buffer: bytes) -> int:
    """Return the length of the first message in `buffer` when it is complete, else 0."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = buffer[:end].lower()
    _, found, rest = head.partition(b"content-length:")
    if found:
        size = end + 4 + int(rest.partition(b"\r\n")[0])
        return size if len(buffer) >= size else 0
    if b"chunked" in head:
        last = buffer.find(b"0\r\n\r\n", end)
        return last + 5 if last >= 0 else 0
    return end + 4


class Side(asyncio.Protocol):
    """One connection; `other` is the one that gets its messages."""

    def __init__(self, proxy: Proxy, other: Side | None = None) -> None:
        self.proxy, self.other, self.buffer = proxy, other, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass a complete message on."""
        self.buffer += data
        if size := whole(self.buffer):
            message, self.buffer = self.buffer[:size], self.buffer[size:]
            if self.other is None:
                self.proxy.forward(self, message)
            else:
                client, self.other = self.other, None
                self.proxy.idle.append(self)
                client.transport.write(message)


class Proxy:
    """Clients on one side, connections to the upstream on the other."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: deque[Side] = deque()
        self.opening: set[asyncio.Task[None]] = set()

    def forward(self, client: Side, message: bytes) -> None:
        """Send a request upstream."""
        if self.idle:
            upstream = self.idle.pop()
            upstream.other = client
            upstream.transport.write(message)
        else:
            task = asyncio.ensure_future(self.open(client, message))
            self.opening.add(task)
            task.add_done_callback(self.opening.discard)

    async def open(self, client: Side, message: bytes) -> None:
        """Send it on a new connection."""
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Side(self, client), "127.0.0.1", self.port)
        upstream.transport.write(message)


async def serve(upstream: int) -> None:
    """Serve on a free port until standard input ends."""
    loop = asyncio.get_running_loop()
    proxy = Proxy(upstream)
    server = await loop.create_server(lambda: Side(proxy), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
