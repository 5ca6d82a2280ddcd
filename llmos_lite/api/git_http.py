"""`/git/…`: clone, fetch and push with stock git, over its smart HTTP protocol; plain ASGI, streamed both ways.

Protocol: gitprotocol-http(5), gitprotocol-v2(5). Errors are plain text, since git shows that to the person.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, cast
from urllib.parse import parse_qs

from llmos_lite.api.auth import Needs, actor_of, client_of
from llmos_lite.api.errors import (
    Message,
    MethodNotAllowed,
    Receive,
    Scope,
    Send,
    explain,
    log_unexpected,
    problem_headers,
)
from llmos_lite.core.accounts.accounts import ADMIN, Accounts
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.core.git.marketplaces import PREFIX as MARKET
from llmos_lite.core.git.marketplaces import Marketplaces
from llmos_lite.core.git.pushing import TO_REVIEW, Pushes
from llmos_lite.core.git.repositories import Repositories, Repository
from llmos_lite.core.limits import Limits
from llmos_lite.engines.git_hooks import HookPipes, install_hooks
from llmos_lite.engines.git_incoming import clear_abandoned, clear_quarantine
from llmos_lite.engines.git_serve import PIECE, GitProcess, Service, Serving, running
from llmos_lite.engines.git_wants import beyond, wants
from llmos_lite.errors import Invalid, LlmosError, NotFound, TooLarge, Unauthenticated, Unavailable
from llmos_lite.settings import Settings

log = logging.getLogger("llmos.git")

PREFIX = "/git/"
LONGEST = 3600.0
"""Seconds that one transfer may take."""
LONGEST_SILENCE = 120.0
"""Seconds in which nothing at all moves, after which a transfer is given up."""
MOST = 8
"""Transfers at once; others wait."""
_PATIENCE = 60.0
"""Seconds that they wait."""
_TALK = 4 << 20
"""Bytes of a request beside what a push brings: the refs, or the commits that a client has."""

_PATH = re.compile(r"/git/(?P<address>[a-z0-9/.-]{1,200})/(?P<what>info/refs|git-upload-pack|git-receive-pack)")
_PROTOCOL = re.compile(r"version=[0-9]")
_NEWEST = "version=2"
_LONGEST_FETCH = 8 << 20
"""Bytes of a fetch by somebody who sees only some refs: 160,000 objects by their ids."""
_KEY_ITSELF = frozenset({"", "x", "git", ADMIN})
"""User names that name nobody: git asks for one, though the key says it all."""


class Services(Protocol):
    """What the endpoint needs of an instance."""

    @property
    def settings(self) -> Settings:
        """Bounds, and where hooks are."""

    @property
    def accounts(self) -> Accounts:
        """Know who asks."""

    @property
    def limits(self) -> Limits:
        """Know how often."""

    @property
    def repositories(self) -> Repositories:
        """Know who may."""

    @property
    def marketplaces(self) -> Marketplaces:
        """Know what a volume offers."""

    @property
    def pushes(self) -> Pushes:
        """Take what is pushed."""


class _Call(NamedTuple):
    repository: Repository
    actor: Actor
    service: Service
    advertise: bool


class GitEndpoint:
    """The routes below `/git/`.

    Args:
        services: of the instance.
    """

    needs = Needs(scope=Right.GIT)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._hooks: Path | None = None
        self._places = asyncio.Semaphore(MOST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors before the first byte become plain text."""
        request_id = scope.get("state", {}).get("request_id", "")
        started = _Started(send)
        try:
            await self._answer(scope, receive, started)
        except Exception as error:
            said = explain(error)
            if started.yes:
                raise
            log_unexpected(error, said, request_id)
            await _send_text(started, said, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = await self._call(scope)
        try:
            async with self._place(), asyncio.timeout(LONGEST) as limit:
                transfer = _Transfer(scope, receive, send, limit, self._services.settings.max_push + _TALK)
                await self._transfer(call, scope, transfer)
        except TimeoutError as error:
            raise Unavailable("git.timeout", "Nothing moved for too long.", hint="Try again.") from error

    async def _transfer(self, call: _Call, scope: Scope, transfer: _Transfer) -> None:
        if call.service == "git-receive-pack" and not call.advertise:
            await self._take(call, scope, transfer)
        elif (denied := await self._denied(call, scope, transfer)) is not None:
            await transfer.refuse(call, denied)
        else:
            async with running(self._serving(call, scope)) as child:
                await transfer.run(child, call)

    async def _denied(self, call: _Call, scope: Scope, transfer: _Transfer) -> str | None:
        """Return what a fetch may not have; git itself tells that of every protocol but the newest."""
        everything = call.repository.shown == ("refs/heads",)
        if call.advertise or everything or _protocol(scope) != _NEWEST:
            return None
        wanted = wants(await transfer.ahead(_LONGEST_FETCH))
        return await asyncio.to_thread(beyond, call.repository.gitdir, wanted, call.repository.shown)

    async def _call(self, scope: Scope) -> _Call:
        """Find out who wants what; whoever is nobody learns nothing of what there is."""
        actor = await _actor(self._services.accounts, scope)
        await self._services.limits.hit(actor)
        self.needs.check(actor)
        scope.setdefault("state", {})["actor"] = actor
        found = _PATH.fullmatch(scope["path"])
        if found is None:
            raise NotFound("route.unknown", "There is no such repository that you may see.")
        advertise = found["what"] == "info/refs"
        if scope["method"] != ("GET" if advertise else "POST"):
            raise MethodNotAllowed(scope["method"], {"GET" if advertise else "POST"})
        service = _service(scope) if advertise else found["what"]
        if not advertise:
            _check_type(scope, service)
        push = service == "git-receive-pack"
        market = found["address"].startswith(MARKET)
        finder = self._services.marketplaces if market else self._services.repositories
        repository = await finder.find(actor, found["address"], push=push)
        return _Call(repository, actor, cast("Service", service), advertise)

    async def _take(self, call: _Call, scope: Scope, transfer: _Transfer) -> None:
        """Take a push: the hooks of git ask us, beside the transfer."""
        await asyncio.to_thread(clear_abandoned, call.repository.gitdir)
        self._hooks = await asyncio.to_thread(install_hooks, self._services.settings.data.absolute() / "git-hooks")
        pipes = HookPipes()
        talk: asyncio.Task[None] | None = None
        try:
            async with running(self._serving(call, scope, pipes.given)) as child:
                pipes.started()
                talk = asyncio.create_task(pipes.talk(self._services.pushes.by(call.actor, call.repository)))
                await transfer.run(child, call)
        finally:
            if talk is not None:
                await asyncio.shield(talk)  # a ref that moves is moved to the end; with git gone it asks no more
            pipes.close()
            await asyncio.to_thread(clear_quarantine, call.repository.gitdir, pipes.quarantine)

    def _serving(self, call: _Call, scope: Scope, pipes: dict[str, int] | None = None) -> Serving:
        receiving = call.service == "git-receive-pack"
        return Serving(
            gitdir=call.repository.gitdir,
            service=call.service,
            advertise=call.advertise,
            protocol=_protocol(scope),
            shown=(*call.repository.shown, TO_REVIEW) if receiving else call.repository.shown,
            hooks=self._hooks if pipes else None,
            max_pack=self._services.settings.max_push,
            pipes=pipes or {},
        )

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._places.acquire(), _PATIENCE)
        except TimeoutError:
            raise Unavailable("git.busy", f"{MOST} transfers are going on.", hint="Try again in a moment.") from None
        try:
            yield
        finally:
            self._places.release()


class _Transfer:
    """One request and its answer, both in pieces."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: asyncio.Timeout, most: int) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._limit, self._most = limit, most
        self._until = asyncio.get_running_loop().time() + LONGEST
        self._kept = list[Message]()

    async def run(self, child: GitProcess, call: _Call) -> None:
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

    async def refuse(self, call: _Call, oid: str) -> None:
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

    async def _answer(self, child: GitProcess, call: _Call) -> None:
        piece = await child.read()
        if not piece and (said := await child.failed()):  # a client that only tries whether it may push hears nothing
            log.error("%s of %s failed: %s", call.service, call.repository.ref, said)
            raise Unavailable("git.failed", "Git could not serve this repository; the server's log says why.")
        await self._send({"type": "http.response.start", "status": 200, "headers": _headers(call)})
        if call.advertise and not _protocol(self._scope).endswith("=2"):
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


class _Started:
    """Passes an answer on, and remembers that it has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.yes = send, False

    async def __call__(self, message: Message) -> None:
        self.yes = True
        await self._send(message)


async def _actor(accounts: Accounts, scope: Scope) -> Actor:
    """Return who asks: HTTP Basic with the key as the password, or a key in the headers that the API takes.

    The user name names the acting user for the admin key alone; git asks everybody for one.
    """
    headers = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
    basic = next((_basic(value) for name, value in headers if name == b"authorization"), None)
    if basic is None:
        return await actor_of(accounts, {**scope, "headers": headers})
    user, key = basic
    named = "" if user in _KEY_ITSELF or not accounts.is_admin_key(key) else user
    actor = await accounts.authenticate(key, named, client=client_of(scope))
    scope.setdefault("state", {})["actor"] = actor
    return actor


def _basic(value: bytes) -> tuple[str, str] | None:
    """Return user name and password; None for another kind of credential."""
    kind, _, rest = value.partition(b" ")
    if kind.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user = colon = password = ""
    if not colon or not password:
        raise Unauthenticated(
            "credential.missing", "This needs a credential.", hint="Give your API key as the password."
        )
    return user, password


def _service(scope: Scope) -> str:
    query = cast("bytes", scope["query_string"]).decode("latin-1")
    service = parse_qs(query).get("service", [""])[0]
    if service not in {"git-upload-pack", "git-receive-pack"}:
        raise Invalid("git.protocol", "Only git's smart HTTP protocol is spoken here.", hint="Use git 1.6.6 or newer.")
    return service


def _check_type(scope: Scope, service: str) -> None:
    """Refuse what no git sent, as a form of another site in a browser that knows the password."""
    if _header(scope, b"content-type") != f"application/x-{service}-request":
        raise Invalid("git.protocol", f"The request is no application/x-{service}-request.")


def _protocol(scope: Scope) -> str:
    found = _PROTOCOL.search(_header(scope, b"git-protocol"))
    return found.group() if found else ""


def _header(scope: Scope, wanted: bytes) -> str:
    found = next((value for name, value in scope["headers"] if name == wanted), b"")
    return cast("bytes", found).decode("latin-1")


class _Reader(Protocol):
    def __call__(self, data: bytes, *, last: bool) -> Iterator[bytes]:
        """Return a piece of a body as it is meant, in pieces."""


def _decoder(scope: Scope) -> _Reader:
    """Return what undoes the encoding of a body."""
    encoding = _header(scope, b"content-encoding").lower()
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


def _headers(call: _Call) -> list[tuple[bytes, bytes]]:
    kind = "advertisement" if call.advertise else "result"
    return [(b"content-type", f"application/x-{call.service}-{kind}".encode())]


async def _send_text(send: Send, error: LlmosError, request_id: str) -> None:
    """Answer with the sentence of an error; git shows it after `remote:`."""
    hint = "Give your API key as the password." if isinstance(error, Unauthenticated) else error.hint
    lines = [error.message, hint, f"request {request_id}" if error.status >= 500 else ""]  # noqa: PLR2004 - our mistakes
    body = "".join(f"{line}\n" for line in lines if line).encode("utf-8", "replace")
    headers = [
        *(
            (name, value)
            for name, value in problem_headers(error)
            if name not in {b"content-type", b"www-authenticate"}
        ),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b'Basic realm="llmos", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
