"""One request on a connection of ours, and its answer: what lies between the parser of HTTP and the app.

It speaks ASGI, and has a short way for whoever has the whole answer at once. The head of an answer leaves together with
its first bytes: one packet and one call of the system instead of two. What has no bytes in the same round of the event
loop leaves at its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE
from uvicorn.server import ServerState

from llmos_lite.api.errors import Message, Scope

if TYPE_CHECKING:
    from llmos_lite.api.heads import Known

log = logging.getLogger("uvicorn.error")

BODILESS = frozenset({204, 304})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
MOST_SIZES = 1 << 10
_SIZES = [b"%x\r\n" % size for size in range(MOST_SIZES)]
"""The lines before chunks, most of which are small."""
_CLOSE = b"connection: close\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"
_BROKEN = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21"), (b"connection", b"close")]


class Line(Protocol):
    """The connection of an exchange."""

    transport: asyncio.Transport
    flow: FlowControl
    loop: asyncio.AbstractEventLoop
    tasks: set[asyncio.Task[None]]
    server_state: ServerState

    def answered(self) -> None:
        """Go on with the next request."""

    def read_on(self) -> None:
        """Read again, unless too much waits."""


class Exchange:
    """One request and its answer.

    Args:
        line: the connection.
        scope: what ASGI says of the request.
        keep_alive: whether the connection stays open afterwards.
        expects: whether the client waits for a sign before it sends the body.
        body: when all of it is there; None when it is still to come.

    Attributes:
        known: its head, when the connection had the same one before.
        task: answers; None before and after, or each answer would stay in a cycle, with all that it held.
        on_end: called when the connection ends before the answer.
        disconnected: whether the connection has ended.
        unread: how many bytes of the body wait.
        more: whether something of the body is still to come.
        started: whether the answer has begun.
        response_complete: whether everything is said.
        chunked_encoding: whether the answer goes in pieces of any number; None before its head.
    """

    __slots__ = (
        "_expects",
        "_fresh",
        "_head",
        "_left",
        "_line",
        "_news",
        "_parts",
        "chunked_encoding",
        "disconnected",
        "flow",
        "keep_alive",
        "known",
        "more",
        "on_end",
        "response_complete",
        "scope",
        "started",
        "task",
        "transport",
        "unread",
    )

    def __init__(self, line: Line, scope: Scope, *, keep_alive: bool, expects: bool, body: bytes | None = None) -> None:
        self._line, self.transport, self.flow = line, line.transport, line.flow
        self.scope, self.keep_alive, self._expects = scope, keep_alive, expects
        self.on_end: Callable[[], object] | None = None
        self.known: Known | None = None
        self.task: asyncio.Task[None] | None = None
        self.disconnected = self.started = self.response_complete = False
        self._news: asyncio.Event | None = None
        self._fresh, self.more = body is not None, body is None
        self._parts: list[bytes] = [] if body is None else [body]
        self.unread, self._left = 0 if body is None else len(body), 0
        self.chunked_encoding: bool | None = None
        self._head = b""

    # -- what the connection tells ----------------------------------------------------------------------------------

    def take(self, data: bytes) -> int:
        """Take a piece of the body; return how much waits to be read."""
        self._parts.append(data)
        self.unread += len(data)
        self._fresh = True
        if self._news is not None:
            self._news.set()
        return self.unread

    def end_body(self) -> None:
        """Note that the body is there."""
        self.more = False
        self._fresh = True
        if self._news is not None:
            self._news.set()

    def lose(self) -> None:
        """Note that the connection has ended."""
        self.disconnected = not self.response_complete
        if self._news is not None:
            self._news.set()
        if self.on_end is not None:
            self.on_end()

    def end(self, task: asyncio.Task[None]) -> None:
        """Look after what an app leaves that has ended, well or not."""
        self._line.tasks.discard(task)
        self.task = None
        cancelled = task.cancelled()
        error = None if cancelled else task.exception()
        if error is None and (self.disconnected or (self.response_complete and not cancelled)):
            return
        log.error("An answer was not finished.", exc_info=error)
        if self.started:
            self._close()
        elif not self.disconnected:
            self.start(500, _BROKEN)
            self.piece(b"Internal Server Error", more=False)

    # -- ASGI -------------------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next piece of the body, or that the client is gone."""
        if self._expects and not self.transport.is_closing():
            self._expects = False
            self.transport.write(CONTINUE)
        while not (self._fresh or self.disconnected or self.response_complete):
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._taken(), "more_body": self.more}

    async def send(self, message: Message) -> None:
        """Write the head of the answer, or a piece of its body."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = "http.response.body" if self.started else "http.response.start"
        if message["type"] != kind or self.response_complete:
            raise RuntimeError(f"{message['type']!r} does not come here in an answer.")
        if self.started:
            self.piece(message.get("body", b""), more=message.get("more_body", False))
        else:
            self.start(message["status"], message.get("headers", ()))

    # -- the short way ----------------------------------------------------------------------------------------------

    def body(self) -> bytes | None:
        """Return the whole body, when it is there and nothing of it was taken yet; None with nothing done otherwise."""
        if self.more or not self._fresh or self._expects or self.disconnected or self.response_complete:
            return None
        return self._taken()

    def whole(self, status: int, lines: bytes, body: bytes) -> bool:
        """Write a whole answer at once; False, with nothing written, when it has to go the long way.

        Args:
            status: of the answer.
            lines: its headers as they are written, the length of the body among them.
            body: all of it.
        """
        if not self._is_plain() or self.flow.write_paused:
            return False
        close = b"" if self.keep_alive else _CLOSE
        said = b"%b%b%b\r\n%b" % (STATUS_LINE[status], lines, close, body)
        self.started = True
        self.transport.write(said)
        self._complete()
        return True

    def begin(self, status: int, lines: bytes) -> bool:
        """Begin an answer in pieces, as `whole`; their number and size is nobody's business."""
        if not self._is_plain() or status in BODILESS:
            return False
        close = b"" if self.keep_alive else _CLOSE
        head = b"%b%b%b%b\r\n" % (STATUS_LINE[status], lines, close, _CHUNKED)
        self.started = self.chunked_encoding = True
        self._hold(head)
        return True

    def _is_plain(self) -> bool:
        if self.started or self.disconnected or self._expects or self.scope["method"] == "HEAD":
            return False
        return not self._line.server_state.default_headers

    def straight(self, data: bytes) -> bool:
        """Write a piece of an answer in pieces at once; False, with nothing written, when that must wait."""
        if self.flow.write_paused or self.disconnected or self.response_complete or not self.chunked_encoding:
            return False
        size = len(data)
        line = _SIZES[size] if size < MOST_SIZES else b"%x\r\n" % size
        self.transport.write(b"".join((self._head, line, data, b"\r\n")))
        self._head = b""
        return True

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin an answer; its head waits for what comes next."""
        lines, closes = [STATUS_LINE[status]], False
        if self._expects and self.more:
            self.keep_alive = False  # nobody knows whether the body comes now, or the next request
        self.started, self._expects = True, False
        for given, value in (*self._line.server_state.default_headers, *headers):
            name = _checked(given, value)
            if name == b"content-length" and self.chunked_encoding is None:
                self._left, self.chunked_encoding = int(value), False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self._left, self.chunked_encoding = 0, True
            elif name == b"connection":
                closes = closes or b"close" in [token.strip() for token in value.lower().split(b",")]
            lines.append(b"%b: %b\r\n" % (name, value))
        self.keep_alive = self.keep_alive and not closes
        if not self.keep_alive and not closes:
            lines.append(_CLOSE)
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in BODILESS:
            self.chunked_encoding = True
            lines.append(_CHUNKED)
        self._hold(b"".join((*lines, b"\r\n")))

    def piece(self, data: bytes, *, more: bool) -> None:
        """Write a piece of the body of an answer that has begun."""
        if self.scope["method"] == "HEAD":
            self._left = 0
        elif self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            self._write(chunk if more else chunk + LAST_CHUNK)
        else:
            self._left -= len(data)
            if self._left < 0:
                raise RuntimeError("Response content longer than Content-Length")
            self._write(data)
        if not more and self._left:
            raise RuntimeError("Response content shorter than Content-Length")
        if not more:
            self._complete()

    def _write(self, data: bytes) -> None:
        """Write bytes as they are, after the head where that still waits."""
        if self._head:
            data, self._head = self._head + data, b""
        self.transport.write(data)

    def _taken(self) -> bytes:
        body = b"".join(self._parts)
        self._parts, self.unread, self._fresh = [], 0, False
        if self.flow.read_paused:
            self._line.read_on()
        return body

    def _hold(self, head: bytes) -> None:
        """Let a head wait for what comes next."""
        self._head = head
        self._line.loop.call_soon(self._flush)

    def _complete(self) -> None:
        self.response_complete = True
        self._parts, self.unread = [], 0
        if self._news is not None:
            self._news.set()
        if not self.keep_alive:
            self._close()
        self._line.answered()

    def _close(self) -> None:
        self._flush()
        self.transport.close()

    def _flush(self) -> None:
        if self._head:
            self._write(b"")


def _checked(name: bytes, value: bytes) -> bytes:
    """Return the name of a header in lower case; what would break the head is a mistake of whoever answers."""
    if HEADER_RE.search(name):
        raise RuntimeError("Invalid HTTP header name.")
    if HEADER_VALUE_RE.search(value):
        raise RuntimeError("Invalid HTTP header value.")
    return name.lower()
