"""What surrounds every request: its id, the limit of its body, security headers, errors; and the user's own middleware.

Pure ASGI: nothing here buffers, and a stream passes through byte for byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable, Iterable, Mapping
from random import getrandbits
from types import MethodType

from uvicorn.protocols.http.httptools_impl import HEADER_RE

from llmos_lite.api.errors import Asgi, Message, Receive, Scope, Send, Words, explain, log_unexpected, send_problem
from llmos_lite.api.exchange import Exchange
from llmos_lite.api.heads import Marks
from llmos_lite.api.hosts import Hosts
from llmos_lite.api.links import kept_private, lift
from llmos_lite.api.proxies import Proxies
from llmos_lite.errors import Invalid, NotFound, TooLarge, Unavailable

LARGE_SKILLS = 256 << 20
"""Largest archive of skills, in bytes."""

LARGE_TELEMETRY = 16 << 20
"""Largest export of telemetry, in bytes: batches carry whole conversations."""

DRAINED = 256 << 20
DRAIN_SECONDS = 10
"""How much of a refused body is read and thrown away, and for how long: most clients listen only when they have sent
everything, and would see a reset connection instead of the answer."""

SILENCE = 60
"""Seconds without a piece of a body after which nobody waits for the rest."""
SLOWEST = 1024
"""Bytes a second that a body has to bring on the whole, after the first `SILENCE` seconds."""
PROBED = "/health"
"""Answers under any name: whoever looks after containers asks it under names of its own, and it tells nothing."""

OWN_BOUNDS = "/git/"
"""Where a body is bounded by who reads it: git has to hear of a push that is too large in its own words."""

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer a form would send Origin: null
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_OURS = b"".join(b"%b: %b\r\n" % header for header in SECURITY)
_SPECIAL = frozenset({b"connection", b"content-length", b"transfer-encoding", *(name for name, _ in SECURITY)})
"""Headers of an answer that change what we say ourselves."""
_ID = b"x-request-id"
MOST_KNOWN = 1000
"""Names of headers that are known by heart: a model's server makes some of them up."""
_begun: dict[bytes, bytes] = {}


class Edge:
    """The outermost layer.

    Args:
        app: what answers.
        max_body: largest body of a request, in bytes.
        max_import: largest body of an import, in bytes.
        proxies: those that say who the client is; None for none.
        hosts: names under which it answers; None for any.
        larger: bounds of other bodies, by path.
        words: return how errors of a request are told where no problem document is expected, by path.
        first: is set when the first request was answered.
    """

    def __init__(
        self,
        app: Asgi,
        *,
        max_body: int,
        max_import: int,
        proxies: Proxies | None = None,
        hosts: Hosts | None = None,
        larger: Mapping[str, int] | None = None,
        words: Mapping[str, Callable[[Scope], Words]] | None = None,
        first: asyncio.Event | None = None,
    ) -> None:
        self._app, self._max_body, self._hosts, self._first = app, max_body, hosts, first
        self._proxies = proxies or None
        self._larger = {"/traces/import": max_import, "/skills/install": LARGE_SKILLS}
        self._larger |= dict.fromkeys(("/v1/traces", "/v1/logs"), max(max_body, LARGE_TELEMETRY))
        self._larger |= {path: max(bound, max_body) for path, bound in (larger or {}).items()}
        self._words = words or {}
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong becomes a problem document."""
        if self._proxies is not None:
            self._proxies.place_client(scope)
        request = Request(scope, receive, send)
        try:
            limit = 1 << 60 if scope["path"].startswith(OWN_BOUNDS) else self._larger.get(scope["path"], self._max_body)
            request.check(limit, self._hosts)
            await (_refuse if self.stopping else self._app)(scope, request.receive, request.send)
        except Exception as error:
            if words := self._words.get(scope["path"]):
                scope["state"].setdefault("words", words(scope))
            if not await request.fail(error):
                raise  # the server drops the connection, so that half an answer is not taken for a whole one
        finally:
            if self._first is not None:
                self._first.set()
                self._first = None


class Request:
    """One request on its way through the edge.

    Attributes:
        exchange: what lies beneath, when that is a connection of our own server.
        id: of the request.
    """

    __slots__ = (
        "_finished",
        "_limit",
        "_marks",
        "_more",
        "_read",
        "_receive",
        "_secret",
        "_send",
        "_started",
        "_waited",
        "exchange",
        "id",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        found = receive.__self__ if type(receive) is MethodType else None
        self.exchange = found if type(found) is Exchange and send == found.send else None
        self._started = self._finished = False
        self._more = True
        self._read = self._limit = 0
        self._waited = 0.0
        self._secret = "_" in scope["path"] and lift(scope)
        known = None if self.exchange is None else self.exchange.known
        self._marks = Marks(scope["headers"]) if known is None else known.marks
        self.id = self._marks.id or f"{getrandbits(64):016x}"
        if "state" not in scope:
            scope["state"] = {}
        scope["state"]["request_id"] = self.id

    def check(self, limit: int, hosts: Hosts | None) -> None:
        """Refuse what no path of ours has, what means another server, and a body that says itself that it is too large.

        A router lets a line feed at the end of a path pass, and the audit log does not.
        """
        self._limit = limit
        if not self._marks.fine:
            self._check_names(hosts)
        for value in self._marks.lengths:
            if not value.isdigit():
                raise Invalid("request.invalid", "The header Content-Length is not a number.")
            if len(value) > 18 or int(value) > limit:  # noqa: PLR2004 - more digits than any disk has bytes
                raise _too_large(limit)

    def _check_names(self, hosts: Hosts | None) -> None:
        path = self.scope["path"]
        if not path.isprintable():
            raise NotFound("route.unknown", f"There is nothing at {path[:200]!r}.")
        if hosts is not None and path != PROBED:
            hosts.check(self._marks.host)
        self._marks.fine = True

    async def receive(self) -> Message:
        """Hand the next piece of the body on, and count it."""
        message = await self._next()
        if self._read > self._limit:
            raise _too_large(self._limit)
        return message

    def body(self) -> bytes | None:
        """Return the whole body, when it is there and nothing of it was taken yet; None otherwise."""
        body = None if self.exchange is None else self.exchange.body()
        if body is None:
            return None
        self._read, self._more = len(body), False
        if self._read > self._limit:
            raise _too_large(self._limit)
        return body

    async def _next(self) -> Message:
        clock = asyncio.get_running_loop().time
        since = clock()
        try:
            async with asyncio.timeout(self._patience() if self._more else None):
                message = await self._receive()
        except TimeoutError:
            raise Invalid("request.slow", "The body came too slowly.", hint="Send it again, in one go.") from None
        self._waited += clock() - since
        self._read += len(message.get("body", b""))
        self._more = bool(message.get("more_body"))
        return message

    def _patience(self) -> float:
        """Return how many seconds the next piece may take; those that we take ourselves do not count."""
        return SILENCE + min(0.0, self._read / SLOWEST - self._waited)

    async def send(self, message: Message) -> None:
        """Hand a piece of the answer on, with our headers before the first."""
        if message["type"] == "http.response.start":
            self._started = True
            given = message.get("headers", ())
            lines = None if self.exchange is None else self._lines(given)
            if self.exchange is not None and lines is not None and self.exchange.begin(message["status"], lines):
                return
            headers = _with_security(given, self.id)
            message = {**message, "headers": kept_private(headers) if self._secret else headers}
        elif not message.get("more_body"):
            self._finished = True
        await self._send(message)

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write a whole answer at once; False, with nothing written, when it has to go the long way.

        Args:
            status: of the answer.
            headers: without its length, their names in lower case.
            body: all of it.
        """
        lines = None if self.exchange is None else self._lines(headers, b"content-length: %d\r\n" % len(body))
        if self.exchange is None or lines is None:
            return False
        self._started = self._finished = self.exchange.whole(status, lines, body)
        return self._started

    def _lines(self, headers: Iterable[tuple[bytes, bytes]], more: bytes = b"") -> bytes | None:
        """Return the headers of an answer as they are written, with ours; None when that takes a closer look."""
        if self._secret:
            return None
        lines = values = b""
        own = b"%b: %b\r\n" % (_ID, self.id.encode())
        for name, value in headers:
            start = _begun.get(name) or _line(name)
            if not start:
                return None
            lines += b"%b%b\r\n" % (start, value)
            values += value
            if name == _ID:
                own = b""
        if not values.decode("latin-1").isprintable():
            return None
        return b"%b%b%b%b" % (lines, more, _OURS, own)

    async def fail(self, error: Exception) -> bool:
        """Answer with the problem that an exception stands for; False when half of another answer is out.

        It does not raise the exception: that would hold itself from here, with all that the request held.
        """
        said = explain(error)
        log_unexpected(error, said, self.id)
        if self._started:
            return self._finished
        if isinstance(said, TooLarge):
            await self._drain()
        await send_problem(self.send, said, self.id, words=self.scope["state"].get("words"))
        return True

    async def _drain(self) -> None:
        """Throw the rest of the body away, within bounds; a client that asked first (`Expect`) has sent none."""
        if any(name == b"expect" for name, _ in self.scope["headers"]):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._more and self._read < DRAINED:
                    await self._next()


def _line(name: bytes) -> bytes:
    """Return how the line of a header begins, and remember it; empty for a name that takes a closer look."""
    if name in _SPECIAL or name != name.lower() or HEADER_RE.search(name):
        return b""
    if len(_begun) < MOST_KNOWN:
        _begun[name] = name + b": "
    return name + b": "


def _with_security(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    given += [header for header in SECURITY if header[0] not in names]
    if _ID not in names:  # a model's server has ids of its own, and two of them would be read as one
        given.append((_ID, request_id.encode()))
    return given


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse what comes after the end was asked for."""
    del scope, receive, send
    raise Unavailable("server.stopping", "The server is stopping.", hint="Try again in a moment.")


def _too_large(limit: int) -> TooLarge:
    return TooLarge("request.too_large", f"The body of a request has at most {limit:,} bytes here.", limit=limit)


def wrap(app: Asgi, names: str) -> Asgi:
    """Put the user's middleware around an app, the first name outermost.

    Args:
        app: the app.
        names: `package.module:Class`, comma-separated; each is called with the app and gives an app.

    Raises:
        Invalid: `settings.middleware`, when a name leads nowhere.
    """
    for name in reversed([part.strip() for part in names.split(",") if part.strip()]):
        module, colon, attribute = name.partition(":")
        try:
            if not (colon and module and attribute):
                raise ValueError("it is not of the form package.module:Class")  # noqa: TRY301
            app = getattr(importlib.import_module(module), attribute)(app)
        except Exception as error:
            raise Invalid(
                "settings.middleware",
                f"LLMOS_MIDDLEWARE names {name!r}, which cannot be used: {error}.",
                hint="Name an ASGI middleware class as package.module:Class, importable by the server.",
            ) from error
    return app
