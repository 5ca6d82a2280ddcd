"""What an answer that fails leaves behind: nothing that only the collector of garbage finds, which seldom comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from llmos_lite.api.errors import Receive, Scope, Send
from llmos_lite.api.exchange import Exchange
from llmos_lite.api.middleware import Edge, Request
from llmos_lite.api.patience import PatientProtocol
from llmos_lite.core.gateway.passage import Passage
from llmos_lite.core.gateway.reading import LARGEST_ANSWER, Reading
from llmos_lite.core.telemetry.service import Export
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.engines.http_client import Reply
from llmos_lite.errors import StorageFailed
from tests.gating import PATHS, PHOTOS, Gate, gate, request, served
from tests.leaving import uncollected, until_gone
from tests.upstream import Upstream

HELD = (Reading, Reply, Passage, Exchange, PatientProtocol, Request, Export)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
FAILURE = b'data: {"error": {"message": "overloaded"}}'
PIECE = b"data: %b\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"content": "lorem " * 10_000}}]}).encode()


@asynccontextmanager
async def saying(data: Path, said: bytes) -> AsyncIterator[tuple[Gate, int]]:
    """The app, and a model server that says the same to everybody."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        writer.write(said)
        writer.close()

    model = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = Upstream(port=model.sockets[0].getsockname()[1])
    async with model, gate(data, upstream) as here, served(here) as port:
        yield here, port


async def ask(here: Gate, port: int, path: str, body: bytes, more: str = "") -> bytes:
    """Ask on a connection of its own; return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {here.key}\r\nx-llmos-user: alice\r\n"
    kind = "" if "content-type" in more else "content-type: application/json\r\n"
    length = f"{more}{kind}connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(f"{head}{length}".encode() + body)
    try:
        return await reader.read()
    finally:
        writer.close()


@contextmanager
def nothing_left() -> Iterator[Callable[[], Awaitable[None]]]:
    """Let nothing be collected; what is yielded waits until nothing of the requests is there."""
    with uncollected(*HELD) as left:
        yield lambda: until_gone(left)


@pytest.mark.parametrize("wire", ["chat", "messages"])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(FAILURE + b"\n\n", id="failed"),
        pytest.param(FAILURE, id="failed at the end"),
        pytest.param(PIECE * (LARGEST_ANSWER // len(PIECE) + 2), id="too large"),
        pytest.param(b"data: {]\n\n", id="garbage"),
    ],
)
async def test_a_stream_that_fails(tmp_path: Path, wire: str, said: bytes) -> None:
    body = json.dumps({"model": "plain", "stream": True, **request(wire, PHOTOS)}).encode()
    async with saying(tmp_path, STREAM + said) as (here, port):
        with nothing_left() as wait:
            assert b"error" in await ask(here, port, PATHS[wire], body)
            await wait()


@pytest.mark.parametrize("more", ["", "content-encoding: gzip\r\n"])
async def test_telemetry_that_cannot_be_read(tmp_path: Path, more: str) -> None:
    async with saying(tmp_path, b"") as (here, port):
        with nothing_left() as wait:
            assert b" 400 " in await ask(here, port, "/v1/traces", b"{]", more)
            await wait()


@pytest.mark.parametrize(("body", "code"), [(b"{]", b"request.not_json"), (b"[" * 100_000, b"request.too_deep")])
async def test_a_body_that_cannot_be_read(tmp_path: Path, body: bytes, code: bytes) -> None:
    async with saying(tmp_path, b"") as (here, port):
        with nothing_left() as wait:
            assert code in await ask(here, port, "/skills", body)
            await wait()


async def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    async with saying(tmp_path, b"") as (here, port):
        with nothing_left() as wait:
            more = "content-type: application/x-git-upload-pack-request\r\n"
            assert b" 404 " in await ask(here, port, "/git/users/nobody.git/git-upload-pack", b"", more)
            await wait()


async def test_a_chat_whose_trace_cannot_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object, **_more: object) -> None:
        raise StorageFailed("storage.full", "The disk is full.")

    body = json.dumps({"message": PHOTOS}).encode()
    async with saying(tmp_path, STREAM + PIECE + b"data: [DONE]\n\n") as (here, port):
        monkeypatch.setattr(TraceLog, "record", full)
        with nothing_left() as wait:
            assert b"storage.full" in await ask(here, port, "/chat", body, "accept: text/event-stream\r\n")
            await wait()


async def test_half_an_answer(tmp_path: Path) -> None:
    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("a mistake")

    async with saying(tmp_path, b"") as (here, _):
        here.client.app = Edge(half, max_body=9, max_import=9)
        async with served(here) as port:
            with nothing_left() as wait:
                await ask(here, port, "/", b"")
                await wait()
