"""What clients hold that do not read: 200 of them, each asking for a streamed answer of 100 MB.

The model may go on only as far as buffers reach, and of what went on the trace keeps a part. When the clients hang up,
everything is given back to the next ones.
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import Row
from benchmarks._server import Server, serving
from benchmarks.chat import http, write_skills

CLIENTS, WORDS = 200, "Write it all down."
ANSWER = 100 << 20
LOTS = 4
STALLED = 3.0
"""Seconds without a byte that went on."""
BUFFER = 1 << 16
"""Bytes that the kernel keeps for a client, and for the model's side of a connection, about."""
EVENT = b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"content": "lorem ipsum " * 300}}]}).encode()
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Flood:
    """A model server whose answers are long."""

    sent: int = 0
    streams: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write one answer, as fast as it is taken."""
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            asked = WORDS.encode() in body  # the server asks by itself, too
            self.streams += asked
            writer.write(HEAD)
            for _ in range(ANSWER // len(EVENT) if asked else 0):
                writer.write(CHUNK)
                await writer.drain()
                self.sent += len(EVENT)
                self.moved.set()
        writer.close()

    async def stalls(self, streams: int) -> None:
        """Wait until so many answers have begun and nothing went on for a while."""
        while self.streams < streams or self.moved.is_set():
            self.moved.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.moved.wait(), STALLED)


def run() -> list[Row]:
    """Measure an idle server, one that all clients wait at, and one that they have left."""
    return asyncio.run(_run())


async def _run() -> list[Row]:
    flood = Flood()
    model = await asyncio.start_server(flood.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{model.sockets[0].getsockname()[1]}/v1"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        await asyncio.to_thread(_fill, data)
        starting = serving(data, LLMOS_LLM_URL=url, LLMOS_LLM_MODEL="flood", LLMOS_LOG_LEVEL="error")
        server = await asyncio.to_thread(starting.__enter__)
        try:
            sizes = await _sizes(server, flood)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
    model.close()
    return _rows(sizes, flood)


def _fill(data: Path) -> None:
    data.mkdir()
    write_skills(data)


async def _sizes(server: Server, flood: Flood) -> list[float]:
    """Return the resident memory before the clients come, and with each lot of them."""
    sizes = []
    for turn in range(1 + LOTS):
        clients = [await _client(server) for _ in range(1 if turn == 0 else CLIENTS)]
        await flood.stalls(flood.streams + 1 if turn == 0 else 1 + turn * CLIENTS)
        sizes.append(await asyncio.to_thread(server.resident))
        for client in clients:
            client.close()
        await asyncio.to_thread(_recorded, server, flood.streams)
    return sizes


def _recorded(server: Server, streams: int) -> None:
    """Wait until all answers that were left have their traces."""
    while server.ask("GET", "/traces?limit=1")["total"] != streams:
        time.sleep(1)


async def _client(server: Server) -> socket.socket:
    """Ask, and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    client.setblocking(False)  # noqa: FBT003 - how a socket is told
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", server.port))
    body = {"model": "flood", "messages": [{"role": "user", "content": WORDS}], "stream": True}
    await loop.sock_sendall(client, http("/v1/chat/completions", body, server.headers))
    return client


def _rows(sizes: list[float], flood: Flood) -> list[Row]:
    each = flood.sent / max(flood.streams, 1) / (1 << 20)
    return [
        Row(f"memory of a client that reads nothing ({CLIENTS} at once)", (sizes[1] - sizes[0]) / CLIENTS, unit="MB",
            target="value <= 3"),
        Row("what a model sends of 100 MB to it", each, unit="MB", target="value <= 12"),
        Row(f"memory with lot {LOTS} of them, against the one before", sizes[LOTS], sizes[-2], unit="MB",
            target="ratio <= 1.1"),
    ]  # fmt: skip
