"""A model that answers at once: `python -m benchmarks._upstream` prints its port and serves until its input ends.

It speaks just enough of OpenAI's dialect for `POST …/chat/completions` and `GET …/models`, on raw asyncio, in a process
of its own, so that what it costs is not in the figures of the server. A stream comes in 20 chunks, 5 ms apart.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "model": "instant",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Done. " * 40}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 80, "total_tokens": 180},
    }
).encode()
CHUNKS, APART = 20, 0.005
"""Pieces of a stream, and seconds between two."""
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MODELS = b'{"object":"list","data":[{"id":"instant","object":"model"}]}'


def response(body: bytes) -> bytes:
    """Return a whole HTTP response."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    base = {"id": "x", "object": "chat.completion.chunk", "model": "instant", "choices": [choice]}
    return _chunk(b"data: " + json.dumps(base).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_LAST = _event({}, "stop") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
PIECES = [*(_event({"content": "Done. "}) for _ in range(CHUNKS)), _LAST]


class Instant(asyncio.Protocol):
    """One connection: a response for each request that is complete."""

    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - what create_server hands over
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request whose body has come."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            _, found, rest = head.partition(b"content-length:")
            size = end + 4 + (int(rest.partition(b"\r\n")[0]) if found else 0)
            if len(self.buffer) < size:
                return
            message, self.buffer = self.buffer[:size], self.buffer[size:]
            if b'"stream":true' in message or b'"stream": true' in message:
                self.transport.write(STREAM)
                self._go_on(iter(PIECES))
            else:
                self.transport.write(response(MODELS if head.startswith(b"get") else ANSWER))

    def _go_on(self, pieces: Iterator[bytes]) -> None:
        """Send the next piece of a stream, and the one after it later."""
        piece = next(pieces, b"")
        if piece and not self.transport.is_closing():
            self.transport.write(piece)
            asyncio.get_running_loop().call_later(APART, self._go_on, pieces)


async def serve() -> None:
    """Serve on a free port until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Instant, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
