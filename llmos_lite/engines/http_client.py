"""The HTTP that models are asked over: one small seam, and the client for servers without TLS.

Plain HTTP (Ollama, vLLM, llama.cpp, anything on the own network) is spoken here, on asyncio and httptools: it takes
half the CPU of a general client and, measured, ends a request at once when nobody waits for it any more. pyreqwest
0.15 lets a cancelled request run on until the head of its answer comes, so that a local model would keep computing;
it is used where it is needed, for TLS (`http_tls`).
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Protocol, Self, TypeAlias, cast
from urllib.parse import SplitResult

import httptools

CONNECT_SECONDS = 10.0
MOST_IDLE = 64
MOST_BUFFERED = 1 << 18
"""Bytes of an answer that may wait for their reader before the socket is left unread."""
LARGEST_HEAD = 1 << 16
PACKINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})
"""How a server may pack a body, also where nobody asked for it."""
JOINED = 1 << 14
"""Bytes of a body from which on it is not copied behind its head."""

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)

Into: TypeAlias = Callable[[bytes], bool]
"""Takes a piece of a body; False when it wants no more for now. What it raises, ends the body."""
Meaning: TypeAlias = Callable[[OSError], Exception]
"""Says what an error of the connection means to whoever asks: that is what the client raises."""


def as_it_is(error: OSError) -> Exception:
    """Return an error as it is."""
    return error


class Reply(ABC):
    """The head of an answer, and its body piece by piece; as a context it ends with it.

    What is said here to be raised, a client raises as what it means; see `HttpClient`.
    """

    __slots__ = ()
    status: int

    @property
    def spent(self) -> bool:
        """Tell whether the body is known to have been read to its end."""
        return False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.end()

    @abstractmethod
    def header(self, name: str) -> str:
        """Return a header by its lower-case name; empty when it is not there."""

    @abstractmethod
    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """Return every header, its name in lower case."""

    @abstractmethod
    async def chunk(self) -> bytes:
        """Return the next bytes of the body, of any size; empty at its end.

        Raises:
            TimeoutError: the server was silent for too long.
            ConnectionError: the body was cut.
        """

    @abstractmethod
    async def end(self) -> None:
        """End the request, on the server, too, when its body was not read to the end; to be called once."""

    async def read(self, most: int) -> bytes:
        """Return the rest of the body, or more than `most` bytes of one that is longer; see `chunk`."""
        parts: list[bytes] = []
        size = 0

        def take(data: bytes) -> bool:
            nonlocal size
            parts.append(data)
            size += len(data)
            return size <= most

        await self.pour(take)
        return b"".join(parts)

    async def pour(self, into: Into) -> bool:
        """Hand the body on, piece by piece, until `into` wants no more (True) or the body ends (False); see `chunk`."""
        while data := await self.chunk():
            if not into(data):
                return True
        return False


def told_wait(reply: Reply) -> float | None:
    """Return how many seconds a server wants to be left alone; None when it does not say so in a way that is known.

    Azure says milliseconds, others seconds, with or without a fraction, or a date.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = reply.header(name).strip()
        if _SECONDS.fullmatch(said):
            return float(said) * unit
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


class HttpClient(Protocol):
    """A pool of connections to one server."""

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Awaitable[Reply]:
        """Send a request and return its answer, which is to be ended; whoever stops waiting ends it on the server.

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
        meaning: of its errors.
    """

    def __init__(self, url: SplitResult, *, timeout: float, meaning: Meaning = as_it_is) -> None:
        self._host, self._port = url.hostname or "", url.port or 80
        self._prefix, netloc = url.path, url.netloc.rpartition("@")[2]
        self._fixed = f" HTTP/1.1\r\nhost: {netloc}\r\ncontent-length: "
        self.timeout, self.meaning = timeout, meaning
        self.idle: list[_Connection] = []
        self.most_idle = MOST_IDLE

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a request; see `HttpClient`. A connection that the server closed before it saw it is replaced."""
        head = f"{method} {self._prefix}{path}{self._fixed}{len(body)}\r\n"
        for name, value in headers.items():
            head += f"{name}: {value}\r\n"
        data = f"{head}\r\n".encode("latin-1")
        while True:
            kept = bool(self.idle)
            connection = self.idle.pop() if kept else await self._connected()
            try:
                await connection.ask(data, body)
            except BaseException:
                connection.close()
                raise
            if connection.answered:
                return connection if connection.packing not in PACKINGS else self._unpacked(connection)
            connection.close()
            error = connection.error or ConnectionResetError("cut")
            if not kept or connection.began or not isinstance(error, ConnectionError):
                raise self.meaning(error) from None

    def _unpacked(self, connection: _Connection) -> Reply:
        from llmos_lite.engines.http_packed import Unpacked  # noqa: PLC0415 - it needs what stands here

        return Unpacked(connection, self.meaning)

    async def close(self) -> None:
        """Close the idle connections; those in use close when their request ends."""
        self.most_idle = 0
        while self.idle:
            self.idle.pop().close()

    async def _connected(self) -> _Connection:
        loop, connection = asyncio.get_running_loop(), _Connection(self)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: connection, self._host, self._port)
        except BaseException as error:
            connection.let_go()  # uvloop tells it of no end, and stays bound to it, when nobody waits for it any more
            vars(connection).pop("_transport", None)
            if not isinstance(error, OSError):  # TimeoutError is one, too
                raise
            raise self.meaning(ConnectionRefusedError(str(error))) from None
        return connection


class _Connection(asyncio.Protocol, Reply):
    """One connection: writes a request, then reads its answer with bounded memory, and is that answer."""

    _transport: asyncio.Transport
    _waiter: asyncio.Future[None] | None
    _into: Into | None
    _spilled: Exception | None

    def __init__(self, client: PlainClient) -> None:
        self._client, self._loop = client, asyncio.get_running_loop()
        self._chunks: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self._chunks.append
        self._headers: dict[bytes, bytes] = {}
        self._parser = httptools.HttpResponseParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self.error: OSError | None = None
        self.answered = self.began = False
        self._complete = True  # nothing is asked yet

    def ask(self, head: bytes, body: bytes) -> Awaitable[None]:
        """Send a request; what it returns comes with the head of the answer, or with an `error`."""
        self._headers.clear()
        self._chunks.clear()
        self._size = self._buffered = self.status = 0
        self._into = self._spilled = self.error = None
        self.answered = self.began = self._complete = self._keep = self._paused = self._full = False
        self._heard = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._client.timeout, self._check_silence)
        if self._transport.is_closing():
            self.error = ConnectionResetError("closed")
        elif len(body) < JOINED:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        return self._news()

    def header(self, name: str) -> str:
        """Return a header by its lower-case name."""
        return self._headers.get(name.encode("latin-1"), b"").decode("latin-1")

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """Return every header, its name in lower case."""
        return self._headers.items()

    @property
    def packing(self) -> bytes:
        """Return how the body is packed; empty for not at all."""
        return self._headers.get(b"content-encoding", b"")

    @property
    def spent(self) -> bool:
        """Tell whether the body was read to its end."""
        return self._complete and not self._chunks

    async def chunk(self) -> bytes:
        """Return the next bytes of the body, empty at its end."""
        while not self._chunks:
            if self._complete:
                return b""
            self._check()
            await self._news()
        return self._gathered()

    async def read(self, most: int) -> bytes:
        """Return the rest of the body; see `Reply`. Most of them are there with their head."""
        return self._emptied() if self._complete else await super().read(most)

    async def pour(self, into: Into) -> bool:
        """Hand the body on as it comes; see `Reply`. What came together over the network goes on together."""
        while True:
            if self._chunks and not into(self._gathered()):
                return True
            if self._complete:
                return False
            self._check()
            self._into, self._full, self._spilled = into, False, None
            try:
                await self._news()
            finally:
                self._into = None
            self._raise_spilled()
            if self._full:
                return True

    def _raise_spilled(self) -> None:
        if self._spilled is not None:
            try:
                raise self._spilled
            finally:
                self._spilled = None  # once raised it leads to this connection, which would hold itself

    async def end(self) -> None:
        """Keep the connection for the next request, or close it when its answer was not read to the end."""
        client, reusable = self._client, self._keep and self.error is None and not self._chunks
        if reusable and len(client.idle) < client.most_idle and not self._transport.is_closing():
            client.idle.append(self)
        else:
            self.close()

    def close(self) -> None:
        """End the connection, whatever is under way on it."""
        self._stop_timer()
        self._transport.abort()

    def let_go(self) -> None:
        """Let go of the parser, which holds this connection, and so what came and was not read: a cycle."""
        vars(self).pop("_parser", None)

    # -- whoever waits ----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.error is not None:
            raise self._client.meaning(self.error)

    def _news(self) -> asyncio.Future[None]:
        """Return what comes with the head, with more of the body, with its end, or with an error."""
        self._waiter = waiter = self._loop.create_future()
        if self.error is not None:
            waiter.set_result(None)
        return waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _gathered(self) -> bytes:
        """Return what waits for its reader, and let more come."""
        data = self._emptied()
        if not self._complete and self.error is None:
            # Time that the reader took is no silence of the server.
            self._heard = self._loop.time()
            if self._paused and not self._transport.is_closing():
                self._transport.resume_reading()
            self._paused = False
        return data

    def _emptied(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        return data

    def _fail(self, error: OSError) -> None:
        self._stop_timer()
        self.error = self.error or error
        self._wake()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_silence(self) -> None:
        """Look whether the server was silent for too long; the timer goes on from one request to the next."""
        self._timer = None
        if self._complete:
            return
        left = self._client.timeout - (0.0 if self._chunks else self._loop.time() - self._heard)
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_silence)
        else:
            self._fail(TimeoutError())

    # -- what asyncio calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; uvloop's has every method of `asyncio.Transport` and is none by class."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came; wake whoever waits for it, and hold the server back when nobody does."""
        if self._complete:  # nothing was asked
            self.close()
            return
        self._heard = self._loop.time()
        self.began = True
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:  # or what was raised below
            self._break_off("not HTTP")
        if self._into is None:
            if self.answered:
                self._wake()
                if not self._complete:
                    self._hold_back(len(data))
            elif self._size > LARGEST_HEAD:
                self._break_off("head too large")
            return
        # Whoever waits in `pour` hears of nothing but the end of it.
        chunks = self._chunks
        try:
            if chunks:
                self._full = not self._into(chunks.pop() if len(chunks) == 1 else self._emptied())
        except Exception as error:  # noqa: BLE001 - it is raised where `pour` is waited for
            self._spilled = error
        if self._complete or self._full or self._spilled is not None:
            self._into = None
            self._wake()

    def _break_off(self, why: str) -> None:
        self._fail(ConnectionResetError(why))
        self.close()

    def _hold_back(self, size: int) -> None:
        self._buffered += size
        if self._buffered > MOST_BUFFERED and not self._transport.is_closing():
            self._transport.pause_reading()
            self._paused = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - what asyncio says adds nothing
        """End a body that ends with the connection; cut any other."""
        self._stop_timer()
        bounded = b"content-length" in self._headers or "chunked" in self.header("transfer-encoding")
        if self.answered and not self._complete and not bounded and self.error is None:
            self._complete = True
            self._wake()
        elif not self._complete:
            self._fail(ConnectionResetError("cut"))
        self.let_go()

    # -- what httptools calls ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Use the connection no more when a second answer begins behind a whole one: half of it stays in the parser."""
        if self._complete:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; not from behind the body, where there may be any number."""
        if not self.answered:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Let the answer begin, unless the head is an interim one (100 Continue, 103 Early Hints)."""
        if self._complete:  # a second answer to one request: the server is confused
            raise ConnectionResetError("not asked for")
        self.status = self._parser.get_status_code()
        if self.status >= 200:  # noqa: PLR2004 - below are the interim answers of HTTP
            if self._size > LARGEST_HEAD:
                self._check_head()
            self.answered = True
        else:
            self._headers.clear()

    def _check_head(self) -> None:
        if sum(len(name) + len(value) for name, value in self._headers.items()) > LARGEST_HEAD:
            raise ConnectionResetError("head too large")

    def on_message_complete(self) -> None:
        """Note the end, and whether the connection can be used again."""
        if self.answered and not self._complete:
            self._complete = True
            self._keep = self._parser.should_keep_alive()
