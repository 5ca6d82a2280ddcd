"""`/git/…`: clone, fetch and push with stock git, over its smart HTTP protocol; plain ASGI, streamed both ways.

Protocol: gitprotocol-http(5), gitprotocol-v2(5). Errors are plain text, since git shows that to the person.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, cast
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
from llmos_lite.api.git_transfer import LONGEST, Call, Transfer, header_of, protocol_of
from llmos_lite.core.accounts.accounts import ADMIN, Accounts
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.core.git.marketplaces import PREFIX as MARKET
from llmos_lite.core.git.marketplaces import Marketplaces
from llmos_lite.core.git.pushing import TO_REVIEW, Pushes
from llmos_lite.core.git.repositories import Repositories
from llmos_lite.core.limits import Limits
from llmos_lite.engines.git_hooks import HookPipes, install_hooks
from llmos_lite.engines.git_incoming import clear_abandoned, clear_quarantine
from llmos_lite.engines.git_serve import Service, Serving, running
from llmos_lite.engines.git_wants import beyond, wants
from llmos_lite.errors import Invalid, LlmosError, NotFound, Unauthenticated, Unavailable
from llmos_lite.settings import Settings

log = logging.getLogger("llmos.git")

PREFIX = "/git/"
MOST = 8
"""Transfers at once; others wait."""
_PATIENCE = 60.0
"""Seconds that they wait."""
_TALK = 4 << 20
"""Bytes of a request beside what a push brings: the refs, or the commits that a client has."""

_PATH = re.compile(r"/git/(?P<address>[a-z0-9/.-]{1,200})/(?P<what>info/refs|git-upload-pack|git-receive-pack)")
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
            if started.yes:
                raise
            await _fail(started, error, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = await self._call(scope)
        try:
            async with self._place(), asyncio.timeout(LONGEST) as limit:
                transfer = Transfer(scope, receive, send, limit, self._services.settings.max_push + _TALK)
                await self._transfer(call, scope, transfer)
        except TimeoutError as error:
            raise Unavailable("git.timeout", "Nothing moved for too long.", hint="Try again.") from error

    async def _transfer(self, call: Call, scope: Scope, transfer: Transfer) -> None:
        if call.service == "git-receive-pack" and not call.advertise:
            await self._take(call, scope, transfer)
        elif (denied := await self._denied(call, scope, transfer)) is not None:
            await transfer.refuse(call, denied)
        else:
            async with running(self._serving(call, scope)) as child:
                await transfer.run(child, call)

    async def _denied(self, call: Call, scope: Scope, transfer: Transfer) -> str | None:
        """Return what a fetch may not have; git itself tells that of every protocol but the newest."""
        everything = call.repository.shown == ("refs/heads",)
        if call.advertise or everything or protocol_of(scope) != _NEWEST:
            return None
        wanted = wants(await transfer.ahead(_LONGEST_FETCH))
        return await asyncio.to_thread(beyond, call.repository.gitdir, wanted, call.repository.shown)

    async def _call(self, scope: Scope) -> Call:
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
        return Call(repository, actor, cast("Service", service), advertise)

    async def _take(self, call: Call, scope: Scope, transfer: Transfer) -> None:
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

    def _serving(self, call: Call, scope: Scope, pipes: dict[str, int] | None = None) -> Serving:
        receiving = call.service == "git-receive-pack"
        return Serving(
            gitdir=call.repository.gitdir,
            service=call.service,
            advertise=call.advertise,
            protocol=protocol_of(scope),
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
    if header_of(scope, b"content-type") != f"application/x-{service}-request":
        raise Invalid("git.protocol", f"The request is no application/x-{service}-request.")


async def _fail(send: Send, error: Exception, request_id: str) -> None:
    said = explain(error)  # not where it was caught: there it would hold itself, and the request
    log_unexpected(error, said, request_id)
    await _send_text(send, said, request_id)


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
