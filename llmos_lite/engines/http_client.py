"""The HTTP that models are asked over: one small seam, and the client for servers without TLS.

Plain HTTP (Ollama, vLLM, llama.cpp, anything on the own network) is spoken here, on asyncio and httptools: it takes
half the CPU of a general client and, measured, ends a request at once when nobody waits for it any more. pyreqwest
0.15 lets a cancelled request run on until the head of its answer comes, so that a local model would keep computing;
it is used where it is needed, for TLS (`http_tls`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol, TypeAlias, cast
from urllib.parse import SplitResult

import httptools

CONNECT_SECONDS = 10.0
MOST_IDLE = 64
MOST_BUFFERED = 1 << 18
"""Bytes of an answer that may wait for their reader before the socket is left unread."""
LARGEST_HEAD = 1 << 16


class Reply(Protocol):
    """The head of an answer, and its body piece by piece."""

    @property
    def status(self) -> int:
        """Status code."""

    def header(self, name: str) -> str:
        """Return a header by its lower-case name; empty when it is not there."""

    def headers(self) -> Iterable[tuple[str, str]]:
        """Return every header, its name in lower case."""

    async def chunk(self) -> bytes:
        """Return the next bytes of the body, of any size; empty at its end.

        Raises:
            TimeoutError: the server was silent for too long.
            ConnectionError: the body was cut.
        """


Into: TypeAlias = Callable[[bytes], bool]
"""Takes a piece of a body; False when it wants no more for now. What it raises, ends the body."""


async def pour(reply: Reply, into: Into) -> bool:
    """Hand the body of a reply on, piece by piece, until `into` wants no more (True) or the body ends (False).

    Raises:
        TimeoutError: the server was silent for too long.
        ConnectionError: the body was cut.
    """
    own: Callable[[Into], Awaitable[bool]] | None = getattr(reply, "pour", None)
    if own is not None:  # it need not wake anybody for each piece
        return await own(into)
    while data := await reply.chunk():
        if not into(data):
            return True
    return False


class HttpClient(Protocol):
    """A pool of connections to one server."""

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> AbstractAsyncContextManager[Reply]:
        """Send a request; leaving the context early ends it on the server.

        Raises:
            ConnectionRefusedError: the server cannot be reached.
            TimeoutError: the server was silent for too long.
            ConnectionError: the connection broke.
        """

    async def close(self) -> None:
        """Close all connections."""


class PlainClient:
    """HTTP/1.1 without TLS.

    Args:
        url: where the server is; a path in it stands before every path.
        timeout: longest silence, in seconds; a connection may take `CONNECT_SECONDS`, however short that is.
    """

    def __init__(self, url: SplitResult, *, timeout: float) -> None:
        self._host, self._port = url.hostname or "", url.port or 80
        self._prefix, self._netloc = url.path, url.netloc.rpartition("@")[2]
        self._timeout = timeout
        self._idle: list[_Connection] = []

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> _Exchange:
        """Send a request; see `HttpClient`."""
        return _Exchange(self, self._written(method, path, headers, body))

    async def close(self) -> None:
        """Close the idle connections; those in use close when their request ends."""
        while self._idle:
            self._idle.pop().close()

    def _written(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"host: {self._netloc}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    async def ask(self, data: bytes) -> _Connection:
        """Return a connection that holds the head of the answer to a request.

        One that was idle, and that the server closed before it saw the request, is replaced.

        Raises:
            OSError: as `HttpClient.send` says.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                try:
                    return await connection.ask(data, self._timeout)
                except ConnectionError:
                    if connection.began:
                        raise
        return await (await self._connected()).ask(data, self._timeout)

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return (await loop.create_connection(_Connection, self._host, self._port))[1]
        except OSError as error:  # TimeoutError is one, too
            raise ConnectionRefusedError(str(error)) from None

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request, or close it when its answer was not read to the end."""
        if connection.is_reusable and len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()


class _Exchange:
    """One request and its answer."""

    def __init__(self, client: PlainClient, data: bytes) -> None:
        self._client, self._data = client, data
        self._connection: _Connection | None = None

    async def __aenter__(self) -> _Connection:
        self._connection = await self._client.ask(self._data)
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        if self._connection is not None:
            self._client.give_back(self._connection)


class _Connection(asyncio.Protocol):
    """One connection: writes a request, then reads its answer with bounded memory."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._reset()

    def _reset(self) -> None:
        self._chunks: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._chunks.append
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._into: Into | None = None
        self._full, self._spilled = False, cast("Exception | None", None)
        self._error: Exception | None = None
        self._answered = self._complete = self._keep = self.began = False
        self.status = 0

    @property
    def is_open(self) -> bool:
        """Tell whether the server still holds its end."""
        return not self._transport.is_closing() and self._error is None

    @property
    def is_reusable(self) -> bool:
        """Tell whether the answer was read to its end and the server keeps the connection."""
        return self.is_open and self._complete and self._keep and not self._chunks

    def header(self, name: str) -> str:
        """Return a header by its lower-case name."""
        return self._headers.get(name, "")

    def headers(self) -> Iterable[tuple[str, str]]:
        """Return every header, its name in lower case."""
        return self._headers.items()

    async def ask(self, data: bytes, timeout: float) -> _Connection:  # noqa: ASYNC109 - it bounds silence, not the call
        """Send a request, wait for the head of its answer, and return this connection; closed when that fails."""
        self._reset()
        self._silence = timeout
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(timeout, self._check_silence)
        self._transport.write(data)
        try:
            while not self._answered:
                await self._news()
        except BaseException:
            self.close()
            raise
        return self

    async def chunk(self) -> bytes:
        """Return the next bytes of the body, empty at its end."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._news()
        return self._gathered()

    async def pour(self, into: Into) -> bool:
        """Hand the body on as it comes; see `pour`. What came together over the network goes on together."""
        while True:
            if self._chunks and not into(self._gathered()):
                return True
            if self._complete:
                return False
            self._into, self._full, self._spilled = into, False, None
            try:
                await self._news()
            finally:
                self._into = None
            if self._spilled is not None:
                raise self._spilled
            if self._full:
                return True

    def _gathered(self) -> bytes:
        """Return what waits for its reader, and let more come."""
        data = self._emptied()
        if not self._complete and self.is_open:
            # Time that the reader took is no silence of the server.
            self._heard = self._loop.time()
            self._transport.resume_reading()
        return data

    def _emptied(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        return data

    def close(self) -> None:
        """End the connection, whatever is under way on it."""
        self._stop_timer()
        self._transport.abort()

    async def _news(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._stop_timer()
        self._error = self._error or error
        self._wake()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_silence(self) -> None:
        silent = self._loop.time() - self._heard
        if self._chunks or silent < self._silence:
            left = self._silence if self._chunks else self._silence - silent
            self._timer = self._loop.call_later(left, self._check_silence)
        else:
            self._fail(TimeoutError())

    # -- what asyncio calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; uvloop's has every method of `asyncio.Transport` and is none by class."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came; hold the server back when nobody reads."""
        self._heard = self._loop.time()
        if self._complete or self._timer is None:  # nothing was asked
            self.close()
            return
        self.began = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(ConnectionResetError("not HTTP"))
            self.close()
        if not self._chunks:
            return
        if self._into is None:
            self._buffered += len(data)
            self._wake()
            if self._buffered > MOST_BUFFERED and not self._complete and self.is_open:
                self._transport.pause_reading()
            return
        # Whoever waits in `pour` hears of nothing but the end of it.
        try:
            self._full = not self._into(self._chunks.pop() if len(self._chunks) == 1 else self._emptied())
        except Exception as error:  # noqa: BLE001 - it is raised where `pour` is waited for
            self._spilled = error
        if self._full or self._spilled is not None:
            self._into = None
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - what asyncio says adds nothing
        """End a body that ends with the connection; cut any other."""
        bounded = self.header("content-length") or "chunked" in self.header("transfer-encoding")
        if self._answered and not self._complete and not bounded and self._error is None:
            self.on_message_complete()
        elif not self._complete:
            self._fail(ConnectionResetError("cut"))

    # -- what httptools calls ---------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._head_size += len(name) + len(value)
        if self._head_size > LARGEST_HEAD:
            self._fail(ConnectionResetError("head too large"))
            self.close()
            return
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Let `ask` return, unless the head is an interim one (100 Continue, 103 Early Hints)."""
        if self._complete:  # a second answer to one request: the server is confused
            raise ConnectionResetError("not asked for")
        self.status = self._parser.get_status_code()
        if self.status >= 200:  # noqa: PLR2004 - below are the interim answers of HTTP
            self._answered = True
            self._wake()
        else:
            self._headers.clear()

    def on_message_complete(self) -> None:
        """Note the end, and whether the connection can be used again."""
        if not self._answered or self._complete:
            return
        self._complete = True
        with suppress(httptools.HttpParserError):
            self._keep = self._parser.should_keep_alive()
        self._stop_timer()
        self._wake()
