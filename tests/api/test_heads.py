"""Heads that come again on a connection are read once; each request is what it would be on a connection of its own."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.api.errors import Receive, Scope, Send
from llmos_lite.api.exchange import Exchange
from llmos_lite.api.gateway import _head_of
from llmos_lite.api.heads import LARGEST_KEPT, Known
from llmos_lite.api.middleware import Edge, Request
from tests.api.test_exchange import line, soon

HEAD = b"POST /v1/a?b=c HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\nContent-Length: %d\r\nX-A: b\r\n\r\n"
Heard = list[tuple[dict[str, Any], bytes, bool]]


def post(body: bytes = b"abc", head: bytes = HEAD) -> bytes:
    return head % len(body) + body


async def heard(*pieces: bytes, edge: bool = False) -> tuple[Heard, list[bytes], bool]:
    """Return what an app hears of pieces, whether it was of a head that was known, and the answers; closed or not."""
    found: Heard = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        layer = receive.__self__  # type: ignore[attr-defined]
        exchange = layer.exchange if isinstance(layer, Request) else layer
        found.append(({name: scope[name] for name in scope if name != "state"}, body, exchange.known is not None))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    connection, wire = line(Edge(app, max_body=1000, max_import=1) if edge else app)
    for piece in pieces:
        connection.data_received(piece)
        await soon()
    connection.connection_lost(None)
    await soon()
    return found, wire.packets, wire.closed


async def test_a_head_that_comes_again_is_known_whatever_the_length_of_its_body() -> None:
    found, packets, closed = await heard(*map(post, (b"", b"one", b"two", b"a" * 100_000)))
    assert [(body, known) for _, body, known in found] == [
        (b"", False), (b"one", False), (b"two", True), (b"a" * 100_000, True),
    ]  # fmt: skip
    assert [dict(scope["headers"])[b"content-length"] for scope, *_ in found] == [b"0", b"3", b"3", b"100000"]
    assert len(packets) == 4
    assert not closed


AGAIN = post()
NEXT = [
    AGAIN,
    post(b"a longer one"),
    AGAIN + b"d",
    AGAIN[:-1],
    AGAIN[:40],
    AGAIN + AGAIN,
    b"\r\n" + AGAIN,
    AGAIN.replace(b"Bearer k", b"Bearer l"),
    AGAIN.replace(b"Bearer k", b""),
    AGAIN.replace(b"X-A: b", b"X-A: b\r\nX-C: d"),
    AGAIN.replace(b"X-A: b", b"Content-Length: 3"),
    AGAIN.replace(b"X-A: b", b"Transfer-Encoding: chunked"),
    AGAIN.replace(b"X-A: b", b"Connection: close"),
    AGAIN.replace(b"POST", b"HEAD"),
    AGAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    AGAIN.replace(b"\r\n\r\n", b"\n\n"),
    *(AGAIN.replace(b": 3", b": " + length) for length in (b"", b"+3", b"-3", b" 3", b"3 ", b"3,3", b"0x3", b"03")),
    AGAIN.replace(b": 3", b": " + b"9" * 18),
    AGAIN.replace(b": 3", b": " + b"0" * 18 + b"3"),
    AGAIN.replace(b": 3", b": 3\r\n"),
]


async def alike(*pieces: bytes, edge: bool = False) -> None:
    """Check that requests behind some with a known head are what they are without these."""
    known, fresh = await heard(AGAIN, AGAIN, *pieces, edge=edge), await heard(AGAIN, *pieces, edge=edge)
    assert [one[:2] for one in known[0][2:]] == [one[:2] for one in fresh[0][1:]]
    assert [len(packet) for packet in known[1][2:]] == [len(packet) for packet in fresh[1][1:]]
    assert known[2] == fresh[2]


@pytest.mark.parametrize("sent", NEXT)
@pytest.mark.parametrize("edge", [False, True])
async def test_what_follows_is_read_as_on_a_connection_of_its_own(sent: bytes, *, edge: bool) -> None:
    await alike(sent, edge=edge)
    await alike(sent, AGAIN, edge=edge)


@given(at=st.integers(0, len(AGAIN)), size=st.integers(0, 3), put=st.binary(max_size=3))
def test_no_byte_of_a_head_is_overlooked(at: int, size: int, put: bytes) -> None:
    asyncio.run(alike(AGAIN[:at] + put + AGAIN[at + size :]))


@given(cuts=st.lists(st.integers(0, 2 * len(AGAIN)), max_size=4), at_once=st.booleans(), edge=st.booleans())
def test_a_body_may_come_after_its_head(cuts: list[int], *, at_once: bool, edge: bool) -> None:
    data = AGAIN + post(b"defg")
    edges = sorted({0, *(len(AGAIN),) * (not at_once), *cuts, len(data)})
    asyncio.run(alike(*(data[start:end] for start, end in pairwise(edges)), edge=edge))


async def test_a_head_that_comes_by_itself_is_known_too() -> None:
    head, body = AGAIN[:-3], b"abc"
    found, packets, _ = await heard(head, body, head, body, head, body, head, b"a", b"bc" + AGAIN)
    assert [(body, known) for _, body, known in found] == [
        (b"abc", False), (b"abc", False), (b"abc", True), (b"abc", True), (b"abc", False),
    ]  # fmt: skip
    assert len(packets) == 5


@pytest.mark.parametrize("behind", [b"", b"a", b"abc"])
async def test_no_line_in_a_body_makes_a_head(behind: bytes) -> None:
    """A parser that took lines without CR for a head would end it before the body that looks like one."""
    body = b"\r\nContent-Length: 99\r\n\r\n" + behind
    sent = b"POST / HTTP/1.1\nHost: localhost\nContent-Length: 99\n\n" + body
    assert Known.of(sent, {"headers": [(b"host", b"localhost"), (b"content-length", b"99")]}) is None


@pytest.mark.parametrize(
    "lines",
    [b"Expect: 100-continue", b"Transfer-Encoding: chunked", b"Upgrade: h2c", b"Content-Length: 3",
     b"X-Long: " + b"a" * LARGEST_KEPT, b"X-Folded: a\r\n content-length: 3"],
)  # fmt: skip
def test_a_body_that_comes_in_another_way_is_for_the_parser(lines: bytes) -> None:
    sent = AGAIN.replace(b"X-A: b", lines)
    lines_of_head = sent.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    names = [line.partition(b":")[0].lower() for line in lines_of_head if line[:1] != b" "]
    assert Known.of(sent, {"headers": [(name, b"3" if name == b"content-length" else b"") for name in names]}) is None


async def test_whoever_changes_what_is_given_on_is_believed() -> None:
    """Middleware of the user may put another credential into the same list."""
    connection, _ = line(Edge(lambda *_: asyncio.sleep(0), max_body=9, max_import=1))  # type: ignore[arg-type]
    scope: Scope = {"type": "http", "path": "/", "headers": [(b"content-length", b"3"), (b"x-api-key", b"mine")]}
    exchange = Exchange(connection, scope, keep_alive=True, expects=False)
    exchange.known = Known(scope, b"", b"")
    request = Request(scope, exchange.receive, exchange.send)
    assert _head_of(scope, request).given().key == "mine"
    assert _head_of(scope, request) is exchange.known
    scope["headers"][1] = (b"x-api-key", b"theirs")
    assert _head_of(scope, request).given().key == "theirs"


async def test_a_client_with_another_head_each_time_is_not_learned_for_ever() -> None:
    heads = [HEAD.replace(b"X-A: b", b"X-A: %d" % number) for number in range(40)]
    pieces = [post(head=head) for head in heads for _ in range(2)]
    found, _, _ = await heard(*pieces)
    assert sum(known for *_, known in found) < len(heads) / 2
