"""What an answer looks like on the wire: its head and first bytes in one packet, in order, whatever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvicorn

from llmos_lite.api import patience
from llmos_lite.api.errors import Asgi, Message, Receive, Scope, Send
from llmos_lite.api.exchange import Exchange
from llmos_lite.api.middleware import SECURITY, Edge
from llmos_lite.api.patience import PatientProtocol
from llmos_lite.api.straight import edge_of
from llmos_lite.api.waiting import UntilGone

HEAD = b"HTTP/1.1 200 OK\r\n"
ASKED = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
POSTED = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc"
Act = Callable[[Receive, Send], Awaitable[object]]


class Wire:
    """A transport that keeps each packet."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.closed, self.reads = False, True

    def write(self, data: bytes) -> None:
        """Keep a packet."""
        if data:
            self.packets.append(data)

    def close(self) -> None:
        """Keep the end."""
        self.closed = True

    def is_closing(self) -> bool:
        """Tell whether that was the end."""
        return self.closed

    def get_extra_info(self, name: str) -> None:
        """Tell nothing."""

    def pause_reading(self) -> None:
        """Keep it."""
        self.reads = False

    def resume_reading(self) -> None:
        """Keep it."""
        self.reads = True


def line(app: Asgi, **options: object) -> tuple[PatientProtocol, Wire]:
    """Return a connection that has begun."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none", **options)  # type: ignore[arg-type]
    config.load()
    found, wire = PatientProtocol(config, uvicorn.Server(config).server_state, {}), Wire()
    found.connection_made(wire)  # type: ignore[arg-type]
    return found, wire


def does(act: Act) -> Asgi:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await act(receive, send)

    return app


async def soon(rounds: int = 10) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


async def said(act: Act, sent: bytes = ASKED, *, rounds: int = 10, edge: bool = False) -> list[bytes]:
    """Return the packets that a client gets from an app that does something."""
    app = does(act)
    connection, wire = line(Edge(app, max_body=1000, max_import=1) if edge else app)
    connection.data_received(sent)
    await soon(rounds)
    connection.connection_lost(None)
    return wire.packets + [b"closed"] * wire.closed


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def spoken(receive: Receive, send: Send, *messages: Message) -> None:
    """Read the request, and say something."""
    while (await receive()).get("more_body"):
        pass
    for message in messages:
        await send(message)


def says(*messages: Message) -> Act:
    return lambda receive, send: spoken(receive, send, *messages)


async def test_a_head_goes_with_the_first_bytes() -> None:
    chunks = start((b"X-A", b"b")), piece(b"one", more=True), piece(b"two", more=True), piece()
    head = HEAD + b"x-a: b\r\ntransfer-encoding: chunked\r\n\r\n"
    assert await said(says(*chunks)) == [head + b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"]
    sized = start((b"content-length", b"3")), piece(b"one")
    assert await said(says(*sized)) == [HEAD + b"content-length: 3\r\n\r\none"]


async def test_a_head_without_bytes_does_not_wait_for_them() -> None:
    async def begins(_: Receive, send: Send) -> None:
        await send(start((b"content-length", b"3")))
        await asyncio.Event().wait()

    assert await said(begins) == [HEAD + b"content-length: 3\r\n\r\n"]


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_no_chunks(status: int) -> None:
    [packet] = await said(says(start(status=status), piece()))
    assert packet.startswith(b"HTTP/1.1 %d " % status)
    assert packet.endswith(b"\r\n\r\n")
    assert b"chunked" not in packet


async def test_head_gets_the_head_of_get_and_no_body() -> None:
    whole = start((b"content-length", b"3")), piece(b"one")
    assert await said(says(*whole), ASKED.replace(b"GET", b"HEAD")) == [HEAD + b"content-length: 3\r\n\r\n"]


@pytest.mark.parametrize("sent", [b"connection: close\r\n\r\n", b"\r\n"])
async def test_a_connection_that_ends_says_all_before(sent: bytes) -> None:
    asked = ASKED.replace(b"HTTP/1.1", b"HTTP/1.0") if sent == b"\r\n" else ASKED
    packets = await said(says(start((b"content-length", b"0")), piece()), asked[:-2] + sent)
    assert packets == [HEAD + b"content-length: 0\r\nconnection: close\r\n\r\n", b"closed"]
    packets = await said(says(start((b"content-length", b"0"), (b"connection", b"close")), piece()))
    assert packets == [HEAD + b"content-length: 0\r\nconnection: close\r\n\r\n", b"closed"]


async def test_a_sign_is_given_to_who_waits_for_it_before_the_body() -> None:
    head = POSTED.replace(b"\r\n\r\nabc", b"\r\nexpect: 100-continue\r\n\r\n")
    assert await said(says(start(), piece()), head) == [b"HTTP/1.1 100 Continue\r\n\r\n"]

    async def refuses(_: Receive, send: Send) -> None:
        await send(start((b"content-length", b"0"), status=401))
        await send(piece())

    packet, end = await said(refuses, head)  # the body may come, or the next request
    assert packet == b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert end == b"closed"


async def test_requests_that_come_at_once_are_answered_in_order() -> None:
    bodies: list[bytes] = []

    async def echoes(receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        bodies.append(body)
        await asyncio.sleep(0)
        await send(start((b"content-length", b"3")))
        await send(piece(body))

    packets = await said(echoes, POSTED + POSTED.replace(b"abc", b"def") + POSTED.replace(b"abc", b"ghi"))
    assert [packet[-3:] for packet in packets] == bodies == [b"abc", b"def", b"ghi"]


CHUNKED = b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"


def in_two() -> tuple[Act, asyncio.Event]:
    """Answer in two pieces, the second when one is told to."""
    go_on = asyncio.Event()

    async def act(receive: Receive, send: Send) -> None:
        await receive()
        await send(start((b"content-length", b"6")))
        await send(piece(b"one", more=True))
        await go_on.wait()
        await send(piece(b"two"))

    return act, go_on


async def test_of_requests_that_come_at_once_a_few_wait_and_the_others_stay_at_the_client() -> None:
    act, go_on = in_two()
    connection, wire = line(does(act))
    for behind in range(patience.MOST_WAITING + 1):
        connection.data_received(ASKED)
        await soon()
        assert wire.reads is (behind < patience.MOST_WAITING)
    go_on.set()
    await soon(10 * behind)
    assert wire.reads
    assert wire.packets[1::2] == [b"two"] * (behind + 1)
    connection.connection_lost(None)


async def test_a_body_that_waits_behind_an_answer_stays_at_the_client() -> None:
    act, go_on = in_two()
    connection, wire = line(does(act))
    connection.data_received(ASKED + POSTED.replace(b" 3", b" 999999") + b"x" * 99999)
    await soon()
    assert not wire.reads
    go_on.set()
    await soon()
    assert wire.reads
    connection.connection_lost(None)


async def test_half_a_head_ends_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0)
    act, go_on = in_two()
    connection, wire = line(does(act))
    connection.data_received(ASKED + ASKED[:9])
    await soon()
    assert not wire.closed
    go_on.set()
    await soon()
    assert (wire.packets[1:], wire.closed) == ([b"two"], True)
    connection.connection_lost(None)


async def test_one_piece_has_no_end_of_requests() -> None:
    connection, wire = line(does(says(start(), piece())))
    connection.data_received(ASKED * (patience.MOST_AT_ONCE + 2))
    await soon(10 * patience.MOST_AT_ONCE)
    assert len(wire.packets) == patience.MOST_AT_ONCE + 1
    assert b"connection: close" in wire.packets[-1]
    assert wire.closed


@pytest.mark.parametrize("broken", [b"\0\r\n\r\n", CHUNKED + b"x"])
@pytest.mark.parametrize("behind", [b"", ASKED])
async def test_what_is_broken_spoils_no_answer_before_it(behind: bytes, broken: bytes) -> None:
    act, go_on = in_two()
    connection, wire = line(does(act))
    connection.data_received(ASKED)
    await soon()
    connection.data_received(behind + broken)
    connection.data_received(ASKED)  # nobody answers it
    go_on.set()
    await soon()
    second = [HEAD + b"content-length: 6\r\nconnection: close\r\n\r\none", b"two"]
    assert wire.packets == [HEAD + b"content-length: 6\r\n\r\none", b"two"] + second * (behind != b"")
    assert wire.closed
    connection.connection_lost(None)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_body_that_breaks_is_refused_unless_its_answer_has_begun(*, begun: bool) -> None:
    async def early(_: Receive, send: Send) -> None:
        await send(start())
        await send(piece(b"one", more=True))
        await asyncio.Event().wait()

    connection, wire = line(does(early))
    connection.data_received(CHUNKED)
    await soon(10 * begun)
    connection.data_received(b"x")
    assert [packet[:12] for packet in wire.packets] == [b"HTTP/1.1 200" if begun else b"HTTP/1.1 400"]
    assert wire.closed
    connection.connection_lost(None)


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ((), b"Internal Server Error"),
        ((piece(b"x"),), b"Internal Server Error"),
        ((start(), start()), b"\r\n\r\n"),
        ((start(status=999),), b"Internal Server Error"),
        ((start((b"content-length", b"3")), piece(b"four")), b"\r\n\r\n"),
        ((start((b"content-length", b"3")), piece(b"1")), b"1"),
        ((start((b"a", b"b\r\nc: d")),), b"closed"),
        ((start((b"a b", b"c")),), b"closed"),
        ((start((b"content-length", b"1")), piece(b"x"), piece(b"y")), b"x"),
    ],
)
async def test_an_answer_that_is_none_ends_the_connection(messages: tuple[Message, ...], last: bytes) -> None:
    *packets, end = await said(says(*messages))
    assert end == b"closed"
    assert [*packets, end][-2 if packets else -1].endswith(last)
    assert b"c: d" not in b"".join(packets)


async def test_an_app_that_breaks_says_so_and_its_half_answer_is_not_taken_for_a_whole_one() -> None:
    async def breaks(receive: Receive, send: Send) -> None:
        await spoken(receive, send, start(), piece(b"half", more=True))
        raise ValueError

    [packet, end] = await said(breaks)
    assert (packet[-6:], end) == (b"half\r\n", b"closed")


async def test_whoever_answers_hears_of_the_end() -> None:
    heard: list[str] = []

    async def listens(receive: Receive, _: Send) -> None:
        exchange = receive.__self__  # type: ignore[attr-defined]
        assert isinstance(exchange, Exchange)
        exchange.on_end = lambda: heard.append("end")
        while (await receive())["type"] != "http.disconnect":
            pass
        heard.append("gone")

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await listens(receive, send)

    connection, _ = line(app)
    connection.data_received(ASKED)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    for _ in range(3):
        await asyncio.sleep(0)
    assert heard == ["end", "gone"]


# -- the short way -----------------------------------------------------------------------------------------------------


def at_once(*headers: tuple[bytes, bytes], wrapped: bool = False, body: bytes = b"whole") -> Act:
    """Answer the short way where there is one, and else the long one."""

    async def act(receive: Receive, send: Send) -> None:
        async def layer(message: Message) -> None:
            await send(message)

        out = layer if wrapped else send
        edge = edge_of(out)
        assert (edge is None) is wrapped
        await receive()
        if edge is None or not edge.answer(200, headers, body):
            await out(start(*headers, (b"content-length", b"%d" % len(body))))
            await out(piece(body))

    return act


async def packet_of(act: Act, sent: bytes = ASKED) -> bytes:
    packets = await said(act, sent[:-2] + b"x-request-id: one\r\n\r\n", edge=True)
    return b"".join(packets)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"content-type", b"application/json"), (b"x-llmos-trace", b"t")),
        ((b"cache-control", b"max-age=1"),),
        ((b"x-frame-options", b"SAMEORIGIN"), (b"a", b"b")),
        ((b"connection", b"close"),),
        ((b"x-request-id", b"theirs"), (b"a", b"b")),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"connection: close\r\n\r\n"])
async def test_both_ways_say_the_same(headers: tuple[tuple[bytes, bytes], ...], end: bytes) -> None:
    asked = ASKED[:-2] + end
    assert await packet_of(at_once(*headers), asked) == await packet_of(at_once(*headers, wrapped=True), asked)
    head = asked.replace(b"GET", b"HEAD")
    assert await packet_of(at_once(*headers), head) == await packet_of(at_once(*headers, wrapped=True), head)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_an_answer_has_one_id(wrapped: bool) -> None:  # noqa: FBT001
    own = await packet_of(at_once(wrapped=wrapped))
    theirs = await packet_of(at_once((b"x-request-id", b"theirs"), wrapped=wrapped))
    assert (own.count(b"x-request-id: "), theirs.count(b"x-request-id: ")) == (1, 1)
    assert b"x-request-id: one\r\n" in own
    assert b"x-request-id: theirs\r\n" in theirs


@pytest.mark.parametrize("header", [(b"a", b"b\r\nc: d"), (b"a\r\nc: d", b"b"), (b"a", b"b\nc: d")])
async def test_no_header_breaks_out_of_its_line(header: tuple[bytes, bytes]) -> None:
    assert await packet_of(at_once(header)) == b"closed"


async def test_a_status_that_http_does_not_know_is_a_mistake_on_either_way() -> None:
    async def answers(_: Receive, send: Send) -> None:
        edge = edge_of(send)
        assert edge is not None
        edge.answer(999, (), b"")

    for act in (answers, says(start(status=999), piece())):
        assert (await packet_of(act)).startswith(b"HTTP/1.1 500 ")


async def test_a_short_way_is_not_taken_twice() -> None:
    async def twice(_: Receive, send: Send) -> None:
        edge = edge_of(send)
        assert edge is not None
        assert edge.answer(200, (), b"one")
        assert not edge.answer(200, (), b"two")

    assert (await packet_of(twice)).count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("name", [b"x-a", b"X-A"])
@pytest.mark.parametrize("end", [b"\r\n", b"connection: close\r\n\r\n"])
async def test_a_stream_begins_with_the_same_head_on_either_way(name: bytes, end: bytes) -> None:
    """A name in capital letters takes a closer look."""
    packet = await packet_of(says(start((name, b"b")), piece(b"one", more=True), piece()), ASKED[:-2] + end)
    ours = b"".join(b"%b: %b\r\n" % header for header in SECURITY)
    close, closed = (b"", b"") if end == b"\r\n" else (b"connection: close\r\n", b"closed")
    head = HEAD + b"x-a: b\r\n" + ours + b"x-request-id: one\r\n" + close + b"transfer-encoding: chunked\r\n\r\n"
    assert packet == head + b"3\r\none\r\n0\r\n\r\n" + closed


async def test_who_leaves_ends_an_answer_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def waits(receive: Receive, _: Send) -> None:
        await receive()
        with UntilGone(receive):
            await asyncio.Event().wait()

    assert await said(waits, edge=True) == []
    for _ in range(3):
        await asyncio.sleep(0)
    assert (len(asyncio.all_tasks()), caplog.text) == (1, "")
