"""Pieces of a stream take a short way to the client where nothing of anybody lies between, in order and held back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from llmos_lite.api.errors import Asgi, Receive, Scope, Send
from llmos_lite.api.straight import straight_to
from llmos_lite.core.gateway import passage
from llmos_lite.core.gateway.pieces import Straight, never
from tests.gating import PATHS, PHOTOS, WIRES, Gate, gate, request, served
from tests.upstream import Upstream


@pytest.fixture
def straight(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what went the short way."""
    sizes: list[int] = []
    taken = passage.Passage._take

    def counted(self: passage.Passage, data: bytes) -> bool:
        went = taken(self, data)
        if went:
            sizes.append(len(data))
        return went

    monkeypatch.setattr(passage.Passage, "_take", counted)
    return sizes


async def over_the_wire(port: int, here: Gate, wire: str, model: str) -> bytes:
    """Return the body that a client gets, without the framing of chunks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"model": model, "stream": True, **request(wire, PHOTOS)}).encode()
    head = f"POST {PATHS[wire]} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {here.key}\r\n"
    writer.write(f"{head}x-llmos-user: alice\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    assert b"chunked" in await reader.readuntil(b"\r\n\r\n")
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    writer.close()
    return b"".join(parts)


@pytest.mark.parametrize("wire", WIRES)
async def test_the_short_way_brings_the_same_bytes(wire: str, here: Gate, straight: list[int]) -> None:
    long = (await here.ask(wire, PHOTOS, model="plain-c40-i1", stream=True)).body
    assert not straight
    async with served(here) as port:
        assert await over_the_wire(port, here, wire, "plain-c40-i1") == long
    assert straight
    assert [trace.ended for trace in await here.traces()] == ["complete"] * 2
    first, second = await here.traces()
    assert first.messages[-1] == second.messages[-1]


async def test_middleware_of_the_user_sees_every_piece(
    fresh_copy: Path, upstream: Upstream, straight: list[int]
) -> None:
    async with gate(fresh_copy, upstream, middleware=f"{__name__}:Louder") as here, served(here) as port:
        assert b"LOREM" in await over_the_wire(port, here, "chat", "plain-c40-i1")
    assert not straight


class Louder:
    """Middleware that changes what passes."""

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def louder(message: dict[str, object]) -> None:
            body = message.get("body", b"")
            assert isinstance(body, bytes)
            await send({**message, "body": body.replace(b"lorem", b"LOREM")} if body else message)

        await self._app(scope, receive, louder)


async def test_no_other_server_has_a_short_way() -> None:
    async def send(message: object) -> None:
        del message

    way: Straight = straight_to(send)
    assert way is never
    assert not way(b"x")
