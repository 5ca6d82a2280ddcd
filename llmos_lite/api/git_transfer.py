"""One transfer of git: a request and its answer, in pieces, from and to a process of git."""

from __future__ import annotations

import asyncio
import logging
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol, cast

from llmos_lite.api.errors import Message, Receive, Scope, Send
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.git.repositories import Repository
from llmos_lite.engines.git_serve import PIECE, GitProcess, Service
from llmos_lite.errors import Invalid, TooLarge, Unavailable

log = logging.getLogger("llmos.git")

LONGEST = 3600.0
"""Seconds that one transfer may take."""
LONGEST_SILENCE = 120.0
"""Seconds in which nothing at all moves, after which a transfer is given up."""
_PROTOCOL = re.compile(r"version=[0-9]")


class Call(NamedTuple):
    """Who wants what of a repository; `advertise` for the refs that come first."""

    repository: Repository
    actor: Actor
    service: Service
    advertise: bool


class Transfer:
    """One request and its answer, both in pieces."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: asyncio.Timeout, most: int) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._limit, self._most = limit, most
        self._until = asyncio.get_running_loop().time() + LONGEST
        self._kept = list[Message]()

    async def run(self, child: GitProcess, call: Call) -> None:
        """Feed the child and hand its answer on; ends with the answer, or when the client goes away."""
        self._alive()
        feeding = asyncio.create_task(self._feed(child))
        answering = asyncio.create_task(self._answer(child, call))
        try:
            await asyncio.wait({feeding, answering}, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done() and not answering.done():
                feeding.result()  # it ends first only with an error, or since the client is gone
                return
            await answering
        finally:
            for task in (feeding, answering):
                task.cancel()
            await asyncio.gather(feeding, answering, return_exceptions=True)

    async def ahead(self, most: int) -> bytes:
        """Return the whole body, which is passed on afterwards as it came."""
        read, body, size, more = _decoder(self._scope), b"", 0, True
        while more:
            message = await self._receive()
            self._kept.append(message)
            more, size = message.get("more_body", False), size + len(message.get("body", b""))
            for piece in read(message.get("body", b""), last=not more):
                body += piece
                if max(size, len(body)) > most:
                    raise TooLarge("git.too_large", f"A fetch has at most {most:,} bytes here.")
        self._kept.reverse()
        return body

    async def refuse(self, call: Call, oid: str) -> None:
        """Say as git does that there is no such object."""
        line = f"ERR upload-pack: not our ref {oid}"
        await self._send({"type": "http.response.start", "status": 200, "headers": _headers(call)})
        await self._send({"type": "http.response.body", "body": f"{len(line) + 4:04x}{line}".encode()})

    async def _next(self) -> Message:
        return self._kept.pop() if self._kept else await self._receive()

    async def _feed(self, child: GitProcess) -> None:
        """Pass the body on; returns when the client is gone."""
        read, listening = _decoder(self._scope), True
        size, more = 0, True
        while more:
            message = await self._next()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
            for piece in read(message.get("body", b""), last=not more):
                size += len(piece)
                if size > self._most:
                    raise TooLarge("git.too_large", f"A push has at most {self._most:,} bytes here.")
                listening = listening and await child.feed(piece)
                self._alive()
            if not listening:
                break
        child.finish()
        await self._gone()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _answer(self, child: GitProcess, call: Call) -> None:
        piece = await child.read()
        if not piece and (said := await child.failed()):  # a client that only tries whether it may push hears nothing
            log.error("%s of %s failed: %s", call.service, call.repository.ref, said)
            raise Unavailable("git.failed", "Git could not serve this repository; the server's log says why.")
        await self._send({"type": "http.response.start", "status": 200, "headers": _headers(call)})
        if call.advertise and not protocol_of(self._scope).endswith("=2"):
            lead = f"# service={call.service}\n"
            await self._pass(f"{len(lead) + 4:04x}{lead}0000".encode())
        while piece:
            await self._pass(piece)
            piece = await child.read()
        said = await child.failed()
        if said:
            log.info("%s of %s: %s", call.service, call.repository.ref, said[-500:])
        await self._send({"type": "http.response.body", "body": b""})

    async def _pass(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        self._alive()

    def _alive(self) -> None:
        """Something moved: the silence begins anew."""
        now = asyncio.get_running_loop().time()
        self._limit.reschedule(min(now + LONGEST_SILENCE, self._until))


def protocol_of(scope: Scope) -> str:
    """Return which version of git's protocol a client speaks; empty for the first."""
    found = _PROTOCOL.search(header_of(scope, b"git-protocol"))
    return found.group() if found else ""


def header_of(scope: Scope, wanted: bytes) -> str:
    """Return a header of a request; empty when it is not there."""
    found = next((value for name, value in scope["headers"] if name == wanted), b"")
    return cast("bytes", found).decode("latin-1")


class _Reader(Protocol):
    def __call__(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        """Return a piece of a body as it is meant, in pieces."""


def _decoder(scope: Scope) -> _Reader:
    """Return what undoes the encoding of a body."""
    encoding = header_of(scope, b"content-encoding").lower()
    if encoding in {"gzip", "x-gzip"}:
        return _Gzip()
    if encoding not in {"", "identity"}:
        raise Invalid("git.encoding", "The body may be compressed with gzip, and with nothing else.")
    return _as_it_is


def _as_it_is(data: bytes, *, last: bool) -> Iterator[bytes]:
    del last
    if data:
        yield data


class _Gzip:
    """Unpacks in small pieces, so that a bomb fills no memory."""

    def __init__(self) -> None:
        self._gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def __call__(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        try:
            while data:
                yield self._gzip.decompress(data, PIECE)
                data = self._gzip.unconsumed_tail
        except zlib.error as error:
            raise Invalid("git.encoding", "The body is no gzip.") from error
        if last and not self._gzip.eof:
            raise Invalid("git.encoding", "The body ends in the middle.")


def _headers(call: Call) -> list[tuple[bytes, bytes]]:
    kind = "advertisement" if call.advertise else "result"
    return [(b"content-type", f"application/x-{call.service}-{kind}".encode())]
