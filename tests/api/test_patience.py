"""A connection that never gets to a request is let go; one that works is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from llmos_lite.api import patience
from llmos_lite.api.errors import Asgi, Message, Receive, Scope, Send
from llmos_lite.api.middleware import Edge
from llmos_lite.api.waiting import UntilGone, read_body

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
    async with _listening(_app) as found:
        yield found


@asynccontextmanager
async def _listening(app: Asgi, idle: float = 5) -> AsyncIterator[int]:
    config = uvicorn.Config(app, http=patience.PatientProtocol, lifespan="off", log_config=None, ws="none")
    config.timeout_keep_alive = idle  # type: ignore[assignment]  # shorter than a second
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


async def test_an_idle_connection_ends_and_one_that_is_used_does_not() -> None:
    async with _listening(_app, idle=0.4) as port, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):
            writer.write(HEAD + b"\r\n")
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.2)
        assert await reader.read() == b""
        writer.close()


async def test_an_answer_may_take_longer_than_a_connection_may_be_idle() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.3)
        await _app(scope, receive, send)

    async with _listening(slow, idle=0.1) as port, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(HEAD + b"\r\n")
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("behind", [b"\r\n", b"x"])
async def test_bytes_that_are_no_request_keep_no_connection(monkeypatch: pytest.MonkeyPatch, behind: bytes) -> None:
    monkeypatch.setattr(patience, "DRAIN_SECONDS", 0.1)
    monkeypatch.setattr(patience, "BODY_SECONDS", 0)
    async with _listening(_refuses, idle=0.1) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 9\r\n" * (behind == b"x") + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(behind)
        assert await reader.read() == b""
        writer.close()


async def test_an_answer_may_come_before_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """And before the end of the next head; both come later than a connection may be idle."""
    monkeypatch.setattr(patience, "BODY_SECONDS", 0)
    async with _listening(_refuses, idle=0.01) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for sent in (HEAD + b"Content-Length: 3\r\n\r\n", b"abc" + HEAD + b"\r\n" + HEAD, b"\r\n"):
            writer.write(sent)
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b""
        writer.close()


async def _refuses(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


HEADS = b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\nExpect: 100-continue\r\n"


@pytest.mark.parametrize("patient", [True, False])
@pytest.mark.parametrize("lines", HEADS)
async def test_a_body_that_comes_after_the_head_is_read(
    monkeypatch: pytest.MonkeyPatch, lines: bytes, *, patient: bool
) -> None:
    begun: list[float] = []
    monkeypatch.setattr(patience, "BODY_SECONDS", 30 if patient else 0.01)

    async def echoes(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(asyncio.get_running_loop().time())
        assert (scope["method"], await read_body(receive)) == ("POST", b"abc")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with _listening(Edge(echoes, max_body=10, max_import=1)) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(HEAD.replace(b"GET", b"POST") + lines + b"\r\n")
            await asyncio.sleep(0.1)
            sent = asyncio.get_running_loop().time()
            writer.write(b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in lines else b"abc")
            assert b" 204" in (await reader.readuntil(b"\r\n\r\n")).replace(b" 100", await _rest(reader, lines))
        writer.close()
    assert (begun[-1] >= sent) is (patient and lines == HEADS[0])


async def _rest(reader: asyncio.StreamReader, lines: bytes) -> bytes:
    return await reader.readuntil(b"\r\n\r\n") if b"Expect" in lines else b""


async def test_who_leaves_before_the_body_is_answered_by_nobody() -> None:
    connections: list[object] = []

    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        connections.append((scope, receive, send))

    async with _listening(never) as port, asyncio.timeout(20):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + HEADS[0] + b"\r\nab")
        await writer.drain()
        writer.close()
        await asyncio.sleep(patience.BODY_SECONDS * 2)
    assert not connections


async def test_who_asks_for_another_protocol_gets_an_ordinary_answer(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + HEAD + b"\r\n")
    async with asyncio.timeout(30):
        said = await reader.read()
    assert (said.count(b"204"), said.count(b"connection: close")) == (1, 1)
    writer.close()


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n"
BODIES = {
    b"Content-Length: 3\r\n": b"abc",
    b"Transfer-Encoding: chunked\r\n": b"1\r\na\r\n2\r\nbc\r\n0\r\nx: y\r\n\r\n",
    b"Content-Length: 3\r\nExpect: 100-continue\r\n": b"abc",
    b"Content-Length: 0\r\n": b"",
}


@pytest.mark.parametrize("first", [b"", HEAD + b"\r\n"])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("lines", BODIES)
@pytest.mark.parametrize("wish", [b"h2c", b"websocket"])
async def test_a_body_behind_a_wish_for_another_protocol_is_read(
    wish: bytes, lines: bytes, first: bytes, *, split: bool
) -> None:
    bodies: list[bytes] = []

    async with _listening(_noting(bodies)) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        asked = first + HEAD.replace(b"GET", b"POST") + UPGRADE % wish + lines + b"\r\n" + BODIES[lines]
        for piece in [asked[at : at + 1] for at in range(len(asked))] if split else [asked + HEAD + b"\r\n"]:
            writer.write(piece)
            await asyncio.sleep(0)
        said = await reader.read()
        writer.close()
    assert bodies == [b""] * bool(first) + [b"" if b"Length: 0" in lines else b"abc"]
    assert said.count(b" 204 ") == len(bodies)
    assert said.count(b"connection: close") == 1


def _noting(bodies: list[bytes]) -> Asgi:
    """An app that keeps the bodies it gets."""

    async def notes(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        bodies.append(await read_body(receive))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    return notes


@pytest.mark.parametrize(
    ("lines", "behind"),
    [(b"Transfer-Encoding: gzip\r\n", b"abc"), (b"Transfer-Encoding: chunked\r\n", b"x\r\n")],
)
async def test_a_body_without_an_end_is_refused_behind_such_a_wish_too(lines: bytes, behind: bytes) -> None:
    bodies: list[bytes] = []
    async with _listening(_noting(bodies)) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD.replace(b"GET", b"POST") + UPGRADE % b"h2c" + lines + b"\r\n" + behind)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    assert bodies == []


async def test_what_follows_connect_is_no_body() -> None:
    bodies: list[bytes] = []
    async with _listening(_noting(bodies)) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc" + HEAD + b"\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 ") == 1
        writer.close()
    assert bodies in ([], [b""])


async def test_the_address_of_a_request_is_read_as_it_was_sent() -> None:
    seen: list[tuple[str, bytes, bytes]] = []

    async def notes(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["path"], scope["raw_path"], scope["query_string"]))
        await _app(scope, receive, send)

    asked = [b"/a/b", b"/a%2Fb?c=%20d", b"//a;b@c:1", b"/?a?b", b"http://x:1/y?z", b"/a%00", b"*"]
    async with _listening(notes) as port, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for url in asked:
            writer.write(HEAD.replace(b"GET /", b"OPTIONS " + url) + b"\r\n")
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert seen == [
        ("/a/b", b"/a/b", b""),
        ("/a/b", b"/a%2Fb", b"c=%20d"),
        ("//a;b@c:1", b"//a;b@c:1", b""),
        ("/", b"/", b"a?b"),
        ("/y", b"/y", b"z"),
        ("/a\0", b"/a%00", b""),
        ("*", b"*", b""),
    ]


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X: " + b"x" * patience.LARGEST_HEAD + b"\r\n\r\n",
        HEAD + b"X: " + b"x" * (patience.LARGEST_HEAD + 2 * patience.LARGEST_PIECE),
        HEAD + b"X: x\r\n" * patience.LARGEST_HEAD,
        b"GET /" + b"x" * (patience.LARGEST_HEAD + 2 * patience.LARGEST_PIECE),
    ],
    ids=["whole", "one value", "many", "address"],
)
async def test_a_head_that_is_too_large_is_refused(port: int, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionResetError):  # it was still sending
            assert b"400 Bad Request" in await reader.readline()
    writer.close()


async def test_a_large_body_is_no_large_head(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b"x" * (patience.LARGEST_HEAD + 2 * patience.LARGEST_PIECE)
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    writer.write(HEAD.replace(b"GET", b"POST") + length + body + HEAD + b"\r\n")
    async with asyncio.timeout(30):
        for _ in range(2):
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def test_requests_that_come_at_once_are_no_large_head(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    one = HEAD + b"X: " + b"x" * 1000 + b"\r\n\r\n"
    writer.write(one * 700)
    async with asyncio.timeout(30):
        for _ in range(700):
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
    writer.close()


CHUNKED = HEAD.replace(b"GET", b"POST") + HEADS[1] + b"\r\n0\r\n"


async def test_what_stands_behind_a_body_is_no_header() -> None:
    seen: list[list[bytes]] = []

    async def notes(scope: Scope, receive: Receive, send: Send) -> None:
        await _app(scope, receive, send)
        seen.append([name for name, _ in scope["headers"]])

    async with _listening(notes) as port, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED + b"Authorization: Bearer x\r\n\r\n" + HEAD + b"\r\n")
        for _ in range(2):
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert seen == [[b"host", b"transfer-encoding"], [b"host"]]


@pytest.mark.parametrize("piece", [b"a: b\r\n", b"a: ", b"\r\n"])
async def test_what_stands_behind_a_body_comes_to_an_end(port: int, piece: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(CHUNKED + piece * ((patience.LARGEST_HEAD + 3 * patience.LARGEST_PIECE) // len(piece)))
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionResetError):  # it was still sending
            assert b"400 Bad Request" in await reader.read()
    writer.close()


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length: " + b"0" * 5000 + b"3\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"X: y\n Content-Length: 3\r\n",
        b"X: a\x00b\r\n",
    ],
)
async def test_a_request_that_can_be_read_in_two_ways_is_refused(port: int, lines: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD.replace(b"GET", b"POST") + lines + b"\r\n3\r\nabc\r\n0\r\n\r\n")
    async with asyncio.timeout(30):
        said = await reader.read()
    assert said.startswith(b"HTTP/1.1 400")
    assert said.count(b"HTTP/1.1") == 1
    writer.close()


@pytest.mark.parametrize("wrapped", [False, True])
async def test_an_answer_ends_at_once_when_its_client_goes(*, wrapped: bool) -> None:
    """Also where somebody's own layer keeps us from hearing of the connection's end."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, send

        async def layer() -> Message:
            return await receive()

        await read_body(receive)
        with UntilGone(layer if wrapped else receive):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    async with _listening(Edge(waits, max_body=1000, max_import=1000)) as port, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        await begun.wait()
        writer.close()
        await ended.wait()


async def test_a_client_that_was_gone_before_is_noticed_too() -> None:
    lost, ended = asyncio.Event(), asyncio.Event()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, send
        await read_body(receive)
        while (await receive())["type"] != "http.disconnect":
            pass
        lost.set()
        with UntilGone(receive):
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    async with _listening(Edge(late, max_body=1000, max_import=1000)) as port, asyncio.timeout(10):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        writer.close()
        await lost.wait()
        await ended.wait()
