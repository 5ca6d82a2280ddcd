"""The least a proxy can do: `python -m benchmarks._proxy PORT` passes requests to PORT and answers back as they are.

Raw asyncio on both sides, connections kept; no credential, no skills, no trace. It is the floor that Python sets. With
`--work` it does the least of a gateway's work as well, the same for every request: it hashes the key, reads the body,
puts 2 kB before its messages, writes it anew, and appends question and answer to a file every 50 ms. Nobody waits for
that, nothing is chosen, and there are neither people nor limits.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import sys
import tempfile
from collections import deque
from typing import IO, cast

import msgspec
import uvloop

KEY = hashlib.sha256(b"a key").digest()
SKILL = {"role": "system", "content": "x" * 2000}
FLUSH_SECONDS = 0.05


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
                self.proxy.answer(client, message)


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

    def answer(self, client: Side, message: bytes) -> None:
        """Send an answer back."""
        client.transport.write(message)


class WorkingProxy(Proxy):
    """One that does the least of the work; `file` takes the traces."""

    def __init__(self, port: int, file: IO[bytes]) -> None:
        super().__init__(port)
        self.file = file
        self.asked: dict[Side, object] = {}
        self.traces: list[bytes] = []

    def forward(self, client: Side, message: bytes) -> None:
        """Check the key, and send the request with the skill."""
        end = message.index(b"\r\n\r\n") + 4
        _, _, rest = message[:end].partition(b"Authorization: Bearer ")
        hmac.compare_digest(hashlib.sha256(rest.partition(b"\r\n")[0]).digest(), KEY)
        body = msgspec.json.decode(message[end:])
        self.asked[client] = body["messages"]
        new = msgspec.json.encode({**body, "messages": [SKILL, *body["messages"]]})
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: model\r\nContent-Type: application/json\r\n"
        super().forward(client, b"%bContent-Length: %d\r\n\r\n%b" % (head, len(new), new))

    def answer(self, client: Side, message: bytes) -> None:
        """Send an answer back, and note what was said."""
        if not self.traces:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        said = message[message.index(b"\r\n\r\n") + 4 :]
        self.traces.append(msgspec.json.encode({"asked": self.asked.pop(client), "answer": said}))
        super().answer(client, message)

    def flush(self) -> None:
        """Append the traces to the file."""
        self.file.write(b"\n".join(self.traces))
        self.file.flush()
        os.fdatasync(self.file.fileno())
        self.traces.clear()


async def serve(upstream: int, file: IO[bytes], *, works: bool) -> None:
    """Serve on a free port until standard input ends."""
    loop = asyncio.get_running_loop()
    proxy = WorkingProxy(upstream, file) if works else Proxy(upstream)
    server = await loop.create_server(lambda: Side(proxy), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with tempfile.TemporaryFile() as traces:
        uvloop.run(serve(int(sys.argv[1]), traces, works="--work" in sys.argv))
