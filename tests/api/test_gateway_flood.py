"""A client that reads nothing while the model floods holds no memory beyond a bound, and can still hang up."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llmos_lite.api.exchange import Exchange
from llmos_lite.api.patience import PatientProtocol
from llmos_lite.core.gateway.reading import LARGEST_ANSWER, Reading
from llmos_lite.engines.http_client import MOST_BUFFERED, Reply
from tests.gating import PHOTOS, Gate, gate, request, served
from tests.leaving import uncollected, until_gone
from tests.upstream import Upstream

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"lorem " * 2000)
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SMALL = 1 << 16
KERNEL = 12 << 20
"""What Linux lets the two sockets of the server hold: at most 6 MiB that came in and 4 MiB that goes out."""
HELD = (Reading, Reply, Exchange, PatientProtocol)
STALLED = 1.0
"""Seconds without a byte that went on."""


@dataclass
class Flood(Upstream):
    """A model server whose answer never ends."""

    sent: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        try:
            while True:
                writer.write(CHUNK)
                await writer.drain()
                self.sent += len(EVENT)
                self.moved.set()
        except ConnectionError:
            self.ended.set()
        finally:
            writer.close()

    async def stalls(self) -> None:
        """Wait until nothing went on for a while."""
        while self.moved.is_set():
            self.moved.clear()
            try:
                async with asyncio.timeout(STALLED):
                    await self.moved.wait()
            except TimeoutError:
                return


@asynccontextmanager
async def flooding(data: Path) -> AsyncIterator[tuple[Gate, Flood]]:
    flood = Flood()
    server = await asyncio.start_server(flood.serve, "127.0.0.1", 0)
    flood.port = server.sockets[0].getsockname()[1]
    async with server, gate(data, flood) as here:
        yield here, flood


async def ask(here: Gate, port: int) -> socket.socket:
    """Ask for a stream, and read nothing."""
    loop, client = asyncio.get_running_loop(), socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    client.settimeout(0.0)
    await loop.sock_connect(client, ("127.0.0.1", port))
    body = json.dumps({"model": "plain", "stream": True, **request("chat", PHOTOS)}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {here.key}\r\nX-LLMOS-User: alice\r\n"
    await loop.sock_sendall(client, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return client


async def test_a_client_that_does_not_read_stops_the_model_and_holds_little(tmp_path: Path) -> None:
    async with flooding(tmp_path) as (here, flood), served(here) as port:
        client = await ask(here, port)
        await flood.moved.wait()
        await flood.stalls()
        assert flood.sent < KERNEL + 4 * MOST_BUFFERED < LARGEST_ANSWER
        client.close()
        async with asyncio.timeout(30):
            await flood.ended.wait()


async def test_a_client_that_hangs_up_leaves_nothing_to_the_collector(tmp_path: Path) -> None:
    """What stays in a cycle waits for the collector of garbage, which seldom comes to a server."""
    async with flooding(tmp_path) as (here, flood), served(here) as port:
        with uncollected(*HELD) as left:
            for _ in range(3):
                client = await ask(here, port)
                await flood.moved.wait()
                client.close()
                async with asyncio.timeout(30):
                    await flood.ended.wait()
                flood.ended.clear()
                flood.moved.clear()
            await until_gone(left)
