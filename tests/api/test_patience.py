"""A connection that never gets to a request is let go; one that works is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn

from llmos_lite.api import patience
from llmos_lite.api.errors import Receive, Scope, Send

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await receive()
    await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.3)
    config = uvicorn.Config(_app, http=patience.PatientProtocol, lifespan="off", log_config=None, ws="none")
    config.load()
    state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: patience.PatientProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("said", [b"", b"GET / HT", HEAD])
async def test_a_head_that_never_ends_is_not_waited_for(port: int, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_a_slow_second_head_is_not_waited_for_either(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"\r\n")
    async with asyncio.timeout(30):
        assert b"204" in await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        assert await reader.read() == b""
    writer.close()


async def test_requests_one_after_another_are_answered(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(HEAD + b"\r\n")
        async with asyncio.timeout(30):
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
    writer.close()
