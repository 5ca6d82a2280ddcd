"""Pieces of a stream take a short way to the client where nothing of anybody lies between, in order and held back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from llmos_lite.api.errors import Asgi, Receive, Scope, Send
from llmos_lite.api.straight import edge_of, straight_to
from llmos_lite.core.chat.turn import Turn
from llmos_lite.core.gateway import passage
from llmos_lite.core.gateway.pieces import Straight, never
from tests.gating import PATHS, PHOTOS, WIRES, Gate, gate, request, served
from tests.upstream import WORD, Upstream


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


async def over_the_wire(port: int, here: Gate, path: str, body: dict[str, object]) -> bytes:
    """Return the body that a client gets, without the framing of chunks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {here.key}\r\n"
    writer.write(f"{head}x-llmos-user: alice\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw)
    assert b"chunked" in await reader.readuntil(b"\r\n\r\n")
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    writer.close()
    return b"".join(parts)


def asked(wire: str) -> dict[str, object]:
    return {"model": "plain-c40-i1", "stream": True, **request(wire, PHOTOS)}


@pytest.mark.parametrize("wire", WIRES)
async def test_the_short_way_brings_the_same_bytes(wire: str, here: Gate, straight: list[int]) -> None:
    long = (await here.ask(wire, PHOTOS, model="plain-c40-i1", stream=True)).body
    assert not straight
    async with served(here) as port:
        assert await over_the_wire(port, here, PATHS[wire], asked(wire)) == long
    assert straight
    assert [trace.ended for trace in await here.traces()] == ["complete"] * 2
    first, second = await here.traces()
    assert first.messages[-1] == second.messages[-1]


@pytest.mark.parametrize("disclosure", ["bodies", "catalog"])
async def test_a_chat_takes_the_short_way_too(
    fresh_copy: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, disclosure: str
) -> None:
    went: list[str] = []
    took = Turn.took

    def counted(self: Turn, text: str) -> bool:
        went.extend([text] if (straight := took(self, text)) else [])
        return straight

    monkeypatch.setattr(Turn, "took", counted)
    async with gate(fresh_copy, upstream, llm_model="plain-c40-i1") as here, served(here) as port:
        body = {"message": PHOTOS, "stream": True, "disclosure": disclosure}
        events = [event.split(b"\n") for event in (await over_the_wire(port, here, "/chat", body)).split(b"\n\n")[:-1]]
        trace = await here.trace()
    texts = [json.loads(data[6:])["text"] for name, data in events if name == b"event: delta"]
    assert 30 < len(went) < 40 + (disclosure == "bodies")
    assert "".join(texts) == trace.answer == WORD * 40
    assert [name for name, _ in events if name != b"event: delta"] == [b"event: start", b"event: done"]


async def test_middleware_of_the_user_sees_every_piece(
    fresh_copy: Path, upstream: Upstream, straight: list[int]
) -> None:
    async with gate(fresh_copy, upstream, middleware=f"{__name__}:Louder") as here, served(here) as port:
        assert b"LOREM" in await over_the_wire(port, here, PATHS["chat"], asked("chat"))
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

    way: Straight = straight_to(edge_of(send))
    assert way is never
    assert not way(b"x")
