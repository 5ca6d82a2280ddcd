"""The HTTP server, without endless patience: a client that never finishes the head of a request is let go.

uvicorn listens and stops; its own connections wait for a head for ever, so that a few thousand idle ones (Slowloris)
would take every socket, and take a head of any size.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from llmos_lite.api.errors import Asgi
from llmos_lite.api.exchange import Exchange
from llmos_lite.api.heads import LONGEST_LENGTH, Known
from llmos_lite.api.upgrades import body_parser, framing_of

log = logging.getLogger("llmos.server")

HEAD_SECONDS = 20.0
"""Seconds in which the head of a request has to be there, from the connection or from its first byte on."""
BODY_SECONDS = 0.2
"""Seconds after which a request is taken up though not all of its short body is there."""
DRAIN_SECONDS = 30.0
"""Seconds that a client has for the rest of a body when the answer is there: many listen only after all is sent."""
LARGEST_HEAD = 64 << 10
"""Bytes of the head of a request, its address among them."""
LARGEST_PIECE = 256 << 10
"""Bytes that the event loop reads at once: the first piece of a head may end the body before."""
HURRY_SECONDS = 2.0
"""Seconds that requests have to end in when the server is told to stop a second time."""
MOST_LEARNED = 16
"""Heads that a connection learns."""
MOST_WAITING = 16
"""Requests that wait for the answers before them, from which on nothing more is read."""
MOST_AT_ONCE = 1000
"""Those that wait when one piece brings many; it is not looked for more."""
_REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"


class Ending(uvicorn.Server):
    """Ends what would never end by itself, as a stream of changes, before it waits for what runs.

    Args:
        config: uvicorn's.
        end: ends it.
    """

    def __init__(self, config: uvicorn.Config, end: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._end = end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving; when the signal comes a second time, without waiting for what runs."""
        await self._end()
        if going := len(self.server_state.tasks):
            patience = self.config.timeout_graceful_shutdown
            log.warning("waiting up to %s s for what is being answered (%d); Ctrl-C again ends it now", patience, going)
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave what runs, and the instance, as they are
            await self._hurry()

    async def _hurry(self) -> None:
        """End what runs; its traces are kept when the instance stops after it."""
        going = list(self.server_state.tasks)
        for task in going:
            task.cancel()
        if going:
            await asyncio.wait(going, timeout=HURRY_SECONDS)
        await self.lifespan.shutdown()


class PatientProtocol(asyncio.Protocol):
    """A connection: from bytes to exchanges, one after the other; closed when the next takes too long, or too much.

    It has what `uvicorn.Server` asks of one, and no WebSockets.

    Attributes:
        transport: the socket.
        flow: whether it takes and gives bytes now.
        loop: in which all of this happens.
        server_state: what the server knows of all connections.
        tasks: that answer.
    """

    transport: asyncio.Transport
    flow: FlowControl

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.loop = _loop or asyncio.get_running_loop()
        self.server_state, self.tasks, self._state = server_state, server_state.tasks, app_state
        self._app: Asgi = getattr(config.loaded_app, "http", config.loaded_app)  # an app of ours saves a layer
        self._idle_seconds = config.timeout_keep_alive
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # the request before it has its answer
        self._url, self._expects, self._length = b"", False, b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head, self._before, self._piece = True, 0, 0
        self._over = False
        self._now: Exchange | None = None
        self._last: Exchange | None = None
        self._later: deque[Exchange] = deque()
        self._known: Known | None = None
        self._learned = self._left = 0
        self._pending: Exchange | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._until: float | None = None
        self._body_by: float | None = None

    # -- the transport ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head."""
        self.transport = cast("asyncio.Transport", transport)
        self.flow = FlowControl(self.transport)
        self._ends = get_local_addr(self.transport), get_remote_addr(self.transport)
        self._scheme = "https" if is_ssl(self.transport) else "http"
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # it has what is asked of one
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Read on, and count what is no body: a head, and what stands between and behind the chunks of a body."""
        if self._over or self._left:
            self._take_more(data)
            return
        known, before = self._known, self._last
        between = before is not None and before.keep_alive and before.response_complete and not before.more
        between = between and not self._in_head
        if known is not None and between and (body := known.again(data)) is not None:
            self._take(known, body)
            return
        self._piece = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            if not self._stay(data[wish.args[0] :]):
                return
        except httptools.HttpParserError:
            self._refuse(b"Invalid HTTP request received.")
            return
        if self._pending is not None:
            self._await_body(self._pending)
        self._before += self._piece
        if self._before > LARGEST_HEAD + LARGEST_PIECE:
            self._refuse(b"The head of the request is too large.")
        elif self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)
        elif between and self._learned < MOST_LEARNED and self._last is not before:
            self._learn(data)

    def _learn(self, data: bytes) -> None:
        """Know the head of a request when it comes again, unless this client says another one with each."""
        exchange = self._last
        if exchange is not None and exchange.keep_alive and not self._later:
            self._known, self._learned = Known.of(data, exchange.scope), self._learned + 1

    def _take(self, known: Known, body: bytes) -> None:
        """Take up a request whose head came before; the parser is between two requests, and sees none of it."""
        self._until, self._left = None, known.length - len(body)
        if self._left:
            self._take_begun(known, body)
            return
        exchange = Exchange(self, known.scope(self._state.copy()), keep_alive=True, expects=False, body=body)
        exchange.known, self._last = known, exchange
        if exchange.unread > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self._start(exchange)

    def _take_begun(self, known: Known, body: bytes) -> None:
        """Take up a request whose body is still to come, as from many clients, which send the head by itself."""
        exchange = Exchange(self, known.scope(self._state.copy()), keep_alive=True, expects=False)
        exchange.known, self._last, self._pending = known, exchange, exchange
        self._length, self._expects = b"%d" % known.length, False
        if body:
            self.on_body(body)
        self._await_body(exchange)

    def _take_more(self, data: bytes) -> None:
        """Take more of the body of a request whose head came before; nothing behind the last request."""
        if self._over:
            return  # read all the same: or nobody would hear that the client goes
        left = self._left
        self._left = max(0, left - len(data))
        self.on_body(data[:left])
        if not self._left:
            self.on_message_complete()
        elif self._pending is not None:
            self._await_body(self._pending)
        if len(data) > left:
            self.data_received(data[left:])

    def _stay(self, rest: bytes) -> bool:
        """Answer a request for another protocol as any other, and take nothing after it; False when it is refused."""
        exchange = self._last
        framing = b"" if exchange is None else framing_of(exchange.scope["method"], self._headers)
        if exchange is None or not framing:
            self._end_after(exchange)
            return True
        exchange.keep_alive, exchange.more = False, True
        try:
            self._parser = body_parser(framing, self.on_body, self.on_message_complete)
            self._parser.feed_data(rest)
        except httptools.HttpParserError:
            self._refuse(b"Invalid HTTP request received.")
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and let nobody answer on."""
        del exc
        self.server_state.connections.discard(self)
        self._pending = None
        for timer in (self._head_timer, self._body_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        for exchange in dict.fromkeys((self._now, self._last)):
            if exchange is not None:
                exchange.lose()
        self._later.clear()
        self.flow.resume_writing()
        self._now = self._last = None  # these, and the parser, hold this connection: what is in a cycle stays for long
        del self._parser

    def pause_writing(self) -> None:
        """Hear that the client reads too slowly."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """Hear that it has caught up."""
        self.flow.resume_writing()

    def shutdown(self) -> None:
        """End, after the answer that is under way."""
        if self._last is None or self._last.response_complete:
            self.transport.close()
        else:
            self._last.keep_alive = False

    # -- the parser -------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        self._url, self._headers, self._in_head, self._before, self._until = b"", [], True, 0, None

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; not from behind the body, where nobody in front of us looks for one."""
        if not self._in_head:
            return
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Prepare an exchange; of several that a client sends at once, each waits for the one before."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if self._before + self._piece > LARGEST_HEAD:
            self._check_head()
        if len(self._later) >= MOST_AT_ONCE:
            raise ValueError("too many")  # the parser says so, and these are the last ones
        self._look_at(self._headers)
        before, self._last = self._last, self._exchange()
        if before is None or before.response_complete:
            self._pending = self._last
            return
        self._later.append(self._last)
        if len(self._later) >= MOST_WAITING:
            self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; too much of what nobody reads waits at the client."""
        exchange, self._before = self._last, 0
        if exchange is None or exchange.response_complete:
            return
        if exchange.take(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """Begin to answer, at the latest."""
        if self._last is not None:
            self._last.end_body()
        if self._pending is not None:
            self._start(self._pending)

    def _look_at(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._expects, self._length = False, b""
        for name, value in headers:
            if name == b"content-length":
                self._length = value
            elif name == b"expect":
                self._expects = value.lower() == b"100-continue"
        if len(self._length) > LONGEST_LENGTH:
            raise ValueError("too long")

    def _check_head(self) -> None:
        if len(self._url) + sum(len(name) + len(value) for name, value in self._headers) > LARGEST_HEAD:
            raise ValueError("too large")  # the parser says so, and the client gets 400

    def _exchange(self) -> Exchange:
        parser, url, query = self._parser, self._url, b""
        version = parser.get_http_version()
        if url[:1] != b"/" or url.find(b"?") >= 0 or url.find(b"#") >= 0:  # `in` takes a failed conversion for bytes
            parsed = httptools.parse_url(url)
            url, query = parsed.path, parsed.query or b""
        path = url.decode("ascii")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._ends[0],
            "client": self._ends[1],
            "scheme": self._scheme,
            "method": parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url,
            "query_string": query,
            "headers": self._headers,
            "state": self._state.copy(),
        }
        stays = version != "1.0" and parser.should_keep_alive()
        return Exchange(self, scope, keep_alive=stays, expects=self._expects)

    # -- the exchanges ----------------------------------------------------------------------------------------------

    def _await_body(self, exchange: Exchange) -> None:
        """Let a short body come before anybody waits for it: many clients send the head by itself."""
        if not self._length or int(self._length) > HIGH_WATER_LIMIT or self._expects:
            self._start(exchange)
        elif self._body_by is None:
            self._body_by = self.loop.time() + BODY_SECONDS
            if self._body_timer is None:
                self._body_timer = self.loop.call_later(BODY_SECONDS, self._wait_no_more)

    def _wait_no_more(self) -> None:
        """Begin without the rest of a body whose time is over; a timer for each request would cost more."""
        self._body_timer = None
        if self._pending is None or self._body_by is None:
            return
        left = self._body_by - self.loop.time()
        if left > 0:
            self._body_timer = self.loop.call_later(left, self._wait_no_more)
        else:
            self._start(self._pending)

    def _start(self, exchange: Exchange) -> None:
        self._now, self._pending, self._body_by = exchange, None, None
        task: asyncio.Task[None]
        task = self.loop.create_task(self._app(exchange.scope, exchange.receive, exchange.send))  # type: ignore[arg-type]
        exchange.task = task
        self.tasks.add(task)
        task.add_done_callback(exchange.end)

    def answered(self) -> None:
        """Go on with the next request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._later:
            self._start(self._later.popleft())
        elif not self._in_head:
            unread = self._last is not None and self._last.more
            self._until = self.loop.time() + (DRAIN_SECONDS if unread else self._idle_seconds)
            if self._idle_timer is None:
                self._idle_timer = self.loop.call_later(self._idle_seconds, self._look)
        if self.flow.read_paused:
            self.read_on()

    def read_on(self) -> None:
        """Read again, unless too much waits: a client that goes has to be heard."""
        few = len(self._later) < MOST_WAITING
        if few and (self._last is None or self._last.unread <= HIGH_WATER_LIMIT):
            self.flow.resume_reading()

    def _look(self) -> None:
        """Close the connection when its time is over; a timer for each request would cost more."""
        self._idle_timer = None
        if self._until is None:
            return
        left = self._until - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(min(left, self._idle_seconds), self._look)
        else:
            self.transport.close()

    def _give_up(self) -> None:
        """Close the connection whose next head does not come, but not in the middle of an answer."""
        if self._last is None or self._last.response_complete:
            self.transport.close()
        else:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _refuse(self, why: bytes) -> None:
        """Say what is wrong and close, or close after the answers to what came whole before it."""
        self._known = None
        last = self._last
        if last is not None and last.more and self._later:
            self._later.pop()
            self._last = last = self._later[-1] if self._later else self._now
        if last is None or last.response_complete or (last.more and not last.started):
            self.transport.write(_REFUSAL % len(why) + b"connection: close\r\n\r\n" + why)
        elif not last.more:
            self._end_after(last)
            return
        self.transport.close()

    def _end_after(self, exchange: Exchange | None) -> None:
        if exchange is not None:
            exchange.keep_alive, self._over = False, True
