"""What every HTTP client for models does; run on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import uvloop

from llmos_lite.engines.http_client import (
    LARGEST_HEAD,
    MOST_BUFFERED,
    HttpClient,
    Meaning,
    PlainClient,
    Reply,
    as_it_is,
)
from llmos_lite.engines.http_tls import TlsClient
from tests.leaving import uncollected, until_gone

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-kind: Test\r\n\r\nok"


def plain(url: str, timeout: float = 5.0, meaning: Meaning = as_it_is) -> HttpClient:
    return PlainClient(urlsplit(url), timeout=timeout, meaning=meaning)


def tls(url: str, timeout: float = 5.0, meaning: Meaning = as_it_is) -> HttpClient:
    return TlsClient(url, timeout=timeout, meaning=meaning)


MakeClient = Callable[..., HttpClient]
clients = pytest.mark.parametrize("make", [plain, tls])


class Server:
    """Answers each request with the next of `answers`; None closes the connection without one."""

    def __init__(self, *answers: bytes | None, then_close: bool = False) -> None:
        self.answers = list(answers)
        self.then_close = then_close
        self.heads: list[bytes] = []
        self.url = ""
        self.connections = 0
        self.asked, self.closed = asyncio.Event(), asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self.tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # there is always one here
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.closed.set()
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        self.asked.set()
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        await reader.readexactly(int(fields.get(b"content-length", b"0")))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            return False
        writer.write(answer)
        await writer.drain()
        return not self.then_close


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


async def body(client: HttpClient, path: str = "/x") -> bytes:
    async with await client.send("POST", path, {"x-one": "1"}, b"{}") as reply:
        parts = []
        while chunk := await reply.chunk():
            parts.append(chunk)
        return b"".join(parts)


@clients
async def test_a_request_is_sent_and_its_answer_read(make: MakeClient) -> None:
    async with serving(Server(OK)) as server:
        client = make(server.url + "/v1")
        async with await client.send("POST", "/chat", {"x-one": "1"}, b"{}") as reply:
            assert (reply.status, reply.header("x-kind"), reply.header("missing")) == (200, "Test", "")
            assert await reply.chunk() == b"ok"
            assert await reply.chunk() == b""
        head = server.heads[0].lower()
        assert head.startswith(b"post /v1/chat http/1.1\r\n")
        assert b"\r\nx-one: 1\r\n" in head
        await client.close()


@clients
async def test_a_connection_is_used_again_after_a_whole_answer(make: MakeClient) -> None:
    async with serving(Server(OK)) as server:
        client = make(server.url)
        assert [await body(client) for _ in range(3)] == [b"ok"] * 3
        assert server.connections == 1
        await client.close()


@clients
async def test_requests_at_once_get_connections_of_their_own(make: MakeClient) -> None:
    async with serving(Server(OK)) as server:
        client = make(server.url)
        assert await asyncio.gather(*(body(client) for _ in range(8))) == [b"ok"] * 8
        await client.close()


@clients
async def test_a_chunked_body_is_joined(make: MakeClient) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with serving(Server(chunked)) as server:
        assert await body(make(server.url)) == b"abcde"


@clients
async def test_a_body_may_end_with_the_connection(make: MakeClient) -> None:
    async with serving(Server(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it", then_close=True)) as server:
        assert await body(make(server.url)) == b"all of it"


@clients
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhal",
        b"HTTP/1.1 200 OK\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        None,
    ],
)
async def test_a_broken_answer_is_a_connection_error(make: MakeClient, answer: bytes | None) -> None:
    async with serving(Server(answer, then_close=True)) as server:
        with pytest.raises(ConnectionError):
            await body(make(server.url))


@clients
async def test_silence_is_a_timeout_before_the_head_and_in_the_body(make: MakeClient) -> None:
    async with serving(Server(b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal")) as server:
        client = make(server.url, timeout=0.2)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await body(client)


@clients
async def test_nobody_listening_is_a_refused_connection(make: MakeClient, unused_tcp_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await body(make(f"http://127.0.0.1:{unused_tcp_port}"))


@clients
async def test_leaving_early_ends_the_request_on_the_server(make: MakeClient) -> None:
    async with serving(Server(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")) as server:
        async with asyncio.timeout(5), await make(server.url).send("POST", "/", {}, b"") as reply:
            assert await reply.chunk() == b"abc"
        async with asyncio.timeout(5):
            await server.closed.wait()


async def test_cancelling_before_the_head_ends_the_request_too() -> None:
    async with serving(Server(b"")) as server:
        task = asyncio.ensure_future(body(plain(server.url)))
        async with asyncio.timeout(5):
            await server.asked.wait()
            task.cancel()
            await server.closed.wait()


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced() -> None:
    async with serving(Server(OK, None, OK, OK)) as server:
        client = plain(server.url)
        assert [await body(client) for _ in range(3)] == [b"ok"] * 3
        assert server.connections == 2


async def test_a_request_that_began_to_be_answered_is_not_repeated() -> None:
    async with serving(Server(OK, b"HTTP/1.1 2", then_close=False)) as server:
        client = plain(server.url, timeout=0.05)
        await body(client)
        with pytest.raises(TimeoutError):
            await body(client)
        assert len(server.heads) == 2


async def test_an_interim_answer_is_passed_over() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nx-kind: hint\r\n\r\n"
    async with serving(Server(hints + OK)) as server, await plain(server.url).send("GET", "/", {}, b"") as reply:
        assert (reply.status, reply.header("x-kind")) == (200, "Test")


async def test_a_second_answer_to_one_request_is_no_answer() -> None:
    async with serving(Server(OK + b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno")) as server:
        client = plain(server.url)
        async with await client.send("GET", "/", {}, b"") as reply:
            assert reply.status == 200
            assert await reply.chunk() == b"ok"
        await body(client)
        assert server.connections == 2


async def test_half_an_answer_behind_a_whole_one_breaks_no_later_request() -> None:
    async with serving(Server(OK + b"HTTP/1.1 2", OK)) as server:
        client = plain(server.url)
        assert [await body(client) for _ in range(2)] == [b"ok"] * 2
        assert server.connections == 2


async def test_blank_lines_behind_an_answer_do_no_harm() -> None:
    async with serving(Server(OK + b"\r\n")) as server:
        client = plain(server.url)
        assert [await body(client) for _ in range(2)] == [b"ok"] * 2
        assert server.connections == 1


async def test_bytes_on_an_idle_connection_close_it() -> None:
    async with serving(Server(OK)) as server:
        client = plain(server.url)
        await body(client)
        server.writers[0].write(b"HTTP/1.1 408 Timeout\r\n\r\n")
        async with asyncio.timeout(5):
            await server.closed.wait()
        assert await body(client) == b"ok"
        assert server.connections == 2


async def test_a_head_without_end_is_refused() -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"y" * 1000) * (LARGEST_HEAD // 1000 + 2)
    async with serving(Server(endless)) as server:
        with pytest.raises(ConnectionError):
            await body(plain(server.url))


async def test_interim_heads_without_end_are_refused() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nlink: %b\r\n\r\n" % (b"x" * 1000)
    async with serving(Server(hint * (LARGEST_HEAD // 1000 + 2))) as server:
        with pytest.raises(ConnectionError):
            await body(plain(server.url))


async def test_what_stands_behind_a_body_is_no_header() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-kind: head\r\n\r\n"
    async with serving(Server(head + b"2\r\nok\r\n0\r\nx-kind: trailer\r\nx-more: 1\r\n\r\n")) as server:
        reply = await plain(server.url).send("POST", "/x", {}, b"{}")
        assert await reply.read(10) == b"ok"
        assert (reply.header("x-kind"), reply.header("x-more")) == ("head", "")
        await reply.end()


async def test_a_head_that_is_too_large_is_refused_when_it_comes_with_its_body() -> None:
    async with serving(Server(b"")) as server:
        connection = await PlainClient(urlsplit(server.url), timeout=5.0)._connected()
        news = connection.ask(b"", b"")
        connection.data_received(OK.replace(b"Test", b"x" * LARGEST_HEAD))
        await news
        assert (connection.answered, type(connection.error)) == (False, ConnectionResetError)
        async with asyncio.timeout(5):
            await server.closed.wait()


async def test_a_slow_reader_holds_the_server_back() -> None:
    size = 64 << 20
    async with serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))) as server:
        total = 0
        async with await plain(server.url).send("GET", "/", {}, b"") as reply:
            while chunk := await reply.chunk():
                assert len(chunk) < MOST_BUFFERED + (1 << 20)
                total += len(chunk)
        assert total == size


def test_it_works_on_uvloop_too() -> None:
    async def ask() -> list[bytes]:
        async with serving(Server(OK)) as server:
            client = plain(server.url)
            return [await body(client) for _ in range(3)]

    assert uvloop.run(ask()) == [b"ok"] * 3


async def test_closing_drops_the_idle_connections() -> None:
    async with serving(Server(OK)) as server:
        client = plain(server.url)
        await body(client)
        await client.close()
        async with asyncio.timeout(5):
            await server.closed.wait()


async def test_a_connection_in_use_closes_with_its_request_when_the_client_was_closed() -> None:
    async with serving(Server(OK)) as server:
        client = plain(server.url)
        async with await client.send("GET", "/", {}, b"") as reply:
            await client.close()
            assert await reply.read(9) == b"ok"
        async with asyncio.timeout(5):
            await server.closed.wait()


@clients
async def test_a_body_is_read_whole_however_it_comes(make: MakeClient) -> None:
    async with serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")) as server:
        client = make(server.url)
        for _ in range(2):
            async with await client.send("POST", "/", {}, b"") as reply:
                reading = asyncio.ensure_future(reply.read(6))
                for piece in (b"ab", b"cd", b"ef"):
                    await asyncio.sleep(0.01)
                    server.writers[0].write(piece)
                assert await reading == b"abcdef"
                assert await reply.read(6) == b""
        assert server.connections == 1
        await client.close()


@clients
async def test_of_a_body_that_is_too_long_little_more_is_read(make: MakeClient) -> None:
    size = 64 << 20
    async with serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))) as server:
        async with await make(server.url).send("POST", "/", {}, b"") as reply:
            assert 1 << 20 < len(await reply.read(1 << 20)) < size // 4
        async with asyncio.timeout(5):
            await server.closed.wait()


@clients
async def test_silence_is_a_timeout_in_a_body_that_is_read(make: MakeClient) -> None:
    async with (
        serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal")) as server,
        await make(server.url, timeout=0.2).send("POST", "/", {}, b"") as reply,
    ):
        with pytest.raises(TimeoutError):
            await reply.read(9)


async def test_silence_is_measured_anew_for_each_request() -> None:
    async with serving(Server(OK, b"")) as server:
        client, loop = plain(server.url, timeout=0.4), asyncio.get_running_loop()
        await body(client)
        await asyncio.sleep(0.3)
        began = loop.time()
        with pytest.raises(TimeoutError):
            await body(client)
        assert loop.time() - began >= 0.4
        assert server.connections == 1


@clients
async def test_an_error_is_raised_as_what_it_means(make: MakeClient, unused_tcp_port: int) -> None:
    def meaning(error: OSError) -> Exception:
        return ValueError(type(error).__name__)

    with pytest.raises(ValueError, match="ConnectionRefusedError"):
        await body(make(f"http://127.0.0.1:{unused_tcp_port}", meaning=meaning))
    async with serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal", then_close=True)) as server:
        with pytest.raises(ValueError, match="ConnectionResetError"):
            await body(make(server.url, meaning=meaning))


# -- a body that is poured ------------------------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


async def poured(reply: Reply) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    more = await reply.pour(lambda data: parts.append(data) is None)
    return b"".join(parts), more


@clients
@pytest.mark.parametrize(
    ("answer", "whole", "then_close"),
    [
        (OK, b"ok", False),
        (CHUNKED, b"abcde", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"", False),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it", b"all of it", True),
    ],
)
async def test_a_body_is_poured_to_its_end(make: MakeClient, answer: bytes, whole: bytes, *, then_close: bool) -> None:
    async with serving(Server(answer, then_close=then_close)) as server:
        client = make(server.url)
        for _ in range(2):
            async with await client.send("POST", "/", {}, b"") as reply:
                assert await poured(reply) == (whole, False)
                assert await reply.chunk() == b""
        assert server.connections == (2 if then_close else 1)
        await client.close()


@clients
async def test_who_wants_no_more_gets_the_rest_later(make: MakeClient) -> None:
    parts: list[bytes] = []

    def one(data: bytes) -> bool:
        parts.append(data)
        return False

    async with (
        serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")) as server,
        await make(server.url).send("POST", "/", {}, b"") as reply,
    ):
        for number in range(1, 5):
            waiting = asyncio.ensure_future(reply.pour(one))
            await asyncio.sleep(0)
            server.writers[0].write(b"x")
            assert await waiting
            assert parts == [b"x"] * number
        assert not await reply.pour(one)


@clients
async def test_what_the_taker_raises_is_raised_where_the_body_is_waited_for(make: MakeClient) -> None:
    def broken(data: bytes) -> bool:
        raise ValueError(data.decode())

    async def ask(server: Server) -> None:
        async with await make(server.url).send("POST", "/", {}, b"") as reply:
            asyncio.get_running_loop().call_soon(server.writers[0].write, b"half")
            await reply.pour(broken)

    async with serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")) as server, asyncio.timeout(60):
        with uncollected(Reply) as left:
            with pytest.raises(ValueError, match="half"):
                await ask(server)
            await server.closed.wait()
            await until_gone(left)  # held by the error it would be, and that by it


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_hangs_up_while_a_connection_is_made_leaves_nothing(run: Callable[..., None]) -> None:
    async def leave() -> None:
        async with serving(Server(OK)) as server:
            client = plain(server.url)
            for turns in range(1, 4):
                asking = asyncio.ensure_future(client.send("POST", "/", {}, b""))
                for _ in range(turns):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            del asking
            await until_gone(left)

    with uncollected(Reply) as left:
        run(leave())


@clients
async def test_a_body_that_is_cut_says_so_after_what_came(make: MakeClient) -> None:
    parts: list[bytes] = []
    async with serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", then_close=True)) as server:
        with pytest.raises(ConnectionError):
            async with await make(server.url).send("POST", "/", {}, b"") as reply:
                await reply.pour(lambda data: parts.append(data) is None)
    assert b"".join(parts) == b"half"


@clients
async def test_silence_in_a_body_that_is_poured_is_a_timeout(make: MakeClient) -> None:
    async with serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal")) as server:
        with pytest.raises(TimeoutError):
            async with await make(server.url, timeout=0.2).send("POST", "/", {}, b"") as reply:
                await poured(reply)


@clients
async def test_who_waits_for_a_body_can_be_cancelled(make: MakeClient) -> None:
    begun = asyncio.Event()

    async def ask(url: str) -> None:
        async with await make(url).send("POST", "/", {}, b"") as reply:
            await reply.pour(lambda _: begun.set() is None)

    async with serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal")) as server, asyncio.timeout(5):
        task = asyncio.ensure_future(ask(server.url))
        await begun.wait()
        task.cancel()
        await server.closed.wait()


async def test_a_taker_that_waits_holds_the_server_back() -> None:
    size, total = 64 << 20, 0

    def take(data: bytes) -> bool:
        nonlocal total
        assert len(data) < MOST_BUFFERED + (1 << 20)
        total += len(data)
        return False

    async with (
        serving(Server(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))) as server,
        await plain(server.url).send("GET", "/", {}, b"") as reply,
    ):
        while await reply.pour(take):
            assert total <= size
    assert total == size
