"""Somebody signs in to a tool server: by a browser that goes to the server's provider and comes back, once.

The way is bound to three things: a random state that is good for one use, a browser in which whoever began it is signed
in here (or a credential of theirs, when the address is brought back by hand), and the address of the one tool server
that it was begun for. The second keeps somebody who is sent a link from signing in for the sender; the last keeps a
code of one provider from another one that only claims to have sent the browser (RFC 9700, section 4.4), also where
providers do not say who they are.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from llmos_lite.core.accounts.keys import digest_of
from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, require, require_admin
from llmos_lite.core.toolservers.config import ToolServer, is_name
from llmos_lite.core.toolservers.grants import Grants, SignedIn
from llmos_lite.core.toolservers.service import ToolServers, unknown
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.oauth import (
    LONGEST_SCOPE,
    AuthorizationServer,
    GrantRefused,
    OAuthClient,
    Tokens,
    client_document,
)
from llmos_lite.engines.sealing import Seals
from llmos_lite.errors import Conflict, Forbidden, LlmosError, NotFound, RateLimited, Unauthenticated, UpstreamFailed
from llmos_lite.records.toolgrants import ToolGrantRows, ToolSignIn

SECONDS = 10 * 60
"""How long a sign-in may take."""
MOST_BEGUN = 10
"""Sign-ins of one person that may be on their way."""
_SAID = 200


class _Way(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed when a browser comes back."""

    server: AuthorizationServer
    client: OAuthClient
    verifier: str
    redirect_uri: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A sign-in that has begun.

    Args:
        url: to open in a browser; empty when the client signed in as itself, which is all there is to do.
        address: the provider's own, for a browser that does not reach this instance: where it ends is handed in.
        issuer: who signs in.
        scope: what is asked for.
        redirect_uri: where the browser comes back to.
        expires: when it is too late, in ms since the epoch.
    """

    url: str
    address: str
    issuer: str
    scope: str
    redirect_uri: str
    expires: int


class SignIns:
    """Signs in to tool servers.

    Args:
        servers: the tool servers.
        grants: where tokens go.
        rows: who is on the way.
        seals: seal what is needed when they come back.
        public: address by which browsers reach this instance.
        may: tells whether somebody still may finish a sign-in for an owner, or for everybody where that is empty.
        clock: ms since the epoch.
    """

    def __init__(
        self,
        servers: ToolServers,
        grants: Grants,
        rows: ToolGrantRows,
        seals: Seals,
        *,
        public: str,
        may: Callable[[str, str], Awaitable[bool]],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._servers, self._grants, self._rows, self._seals = servers, grants, rows, seals
        self._public, self._may, self._clock = public, may, clock

    async def begin(self, actor: Actor, name: str) -> Begun:
        """Find who signs in for a server, and return where a browser goes.

        A system admin signs in for everybody; where everybody has tokens of their own, whoever may use the server.

        Raises:
            Forbidden: `role.missing`, `scope.missing`.
            NotFound: `tool_server.unknown`.
            Conflict: `tool_server.open`, `tool_server.has_credential`, `tool_server.no_registration`.
            RateLimited: `tool_server.sign_ins`.
            UpstreamFailed: `tool_server.oauth`, `tool_server.sign_in`, `address.unknown`.
            UpstreamTimeout: `tool_server.oauth_timeout`.
            Invalid: `address.private`.
        """
        server = await self._whose(actor, name)
        if not server.may_sign_in:
            raise Conflict(
                "tool_server.has_credential",
                f"{name} is a program, or has a credential in its headers.",
                hint="Remove it, and set it again without a token.",
            )
        if server.oauth.as_itself:
            return await self._as_itself(server)
        await self._check_few(actor)
        scope = server.oauth.scope or await self._grants.wanted_scope(server)
        found = await self._grants.speaker.find(server, issuer=server.oauth.issuer)
        found = msgspec.structs.replace(found, scope=server.oauth.scope or _union(found.scope, scope))
        return await self._begun(actor, server, found)

    async def open(self, actor: Actor | None, name: str, state: str, cookie: str) -> tuple[str, str]:
        """Return where the browser that opened a link goes, and what its cookie is.

        Args:
            actor: who is signed in here in that browser.
            name: of the tool server.
            state: of the link.
            cookie: what the browser carries already; the one that opened the link may open it again.

        Raises:
            Unauthenticated: `tool_server.sign_in_first`.
            Forbidden: `tool_server.sign_in_unknown`.
        """
        row = await self._on_the_way(name, state)
        if actor is None:
            raise Unauthenticated(
                "tool_server.sign_in_first",
                f"Sign in here as {row.started_by}, and open the link again.",
                hint=f"Or without this page: llmos tool-servers sign-in {name} --by-hand",
            )
        if actor.user_id != row.started_by:
            raise _unknown("Somebody else began this sign-in.")
        if not row.browser:
            cookie = secrets.token_urlsafe(32)
            if not await self._rows.bind(row.state, _digest(cookie)):
                raise _unknown("Another browser opened this link.")
        elif not _same(row.browser, cookie):
            raise _unknown("Another browser opened this link.")
        return self._way(await self._server(row), row).address, cookie

    async def finish(self, name: str, given: Mapping[str, str], cookie: str) -> str:
        """Take a browser back, and return the id of the admin who began.

        Args:
            name: of the tool server.
            given: the query of the address that it came back to.
            cookie: what it carries.

        Raises:
            Forbidden: `tool_server.sign_in_unknown`, `tool_server.sign_in_declined`, `role.missing`.
            UpstreamFailed: `tool_server.oauth`, `tool_server.sign_in_refused`.
            UpstreamTimeout: `tool_server.oauth_timeout`.
        """
        row = await self._on_the_way(name, given.get("state", ""))
        if not _same(row.browser, cookie):
            raise _unknown("This browser did not begin this sign-in.")
        if not await self._may(row.started_by, row.owner):
            raise Forbidden("role.missing", "Whoever began this sign-in may not finish it any more.")
        return await self._finished(row, given)

    async def finish_by_hand(self, actor: Actor, name: str, address: str) -> str:
        """Take the address that a browser ended at, from whoever began.

        Raises:
            LlmosError: as `finish`.
        """
        await self._whose(actor, name)
        given = dict(parse_qsl(urlsplit(address).query))
        row = await self._on_the_way(name, given.get("state", ""))
        if row.started_by != actor.user_id:
            raise _unknown("Somebody else began this sign-in.")
        return await self._finished(row, given)

    async def end(self, actor: Actor, name: str, user_id: str = "") -> None:
        """Forget the tokens of a server: everybody's, one's own, or those of somebody else, as a system admin.

        Raises:
            NotFound: `tool_server.unknown`.
            Forbidden: `role.missing`, `scope.missing`.
        """
        if user_id and user_id != actor.user_id:
            _check_admin(actor)
        try:
            server = await self._whose(actor, name)
        except NotFound:  # taken out of the file where the server runs; its tokens are still here
            if not (allowed(actor, Verb.OVERSEE) and await self._grants.clear(name)):
                raise
            return
        server = server.as_for(user_id or actor.user_id)
        await self._grants.forget(server)
        await self._servers.renew_session(server)

    def document(self, name: str) -> dict[str, object]:
        """Return what this instance is to the provider of a server, for providers that read that where its id says.

        Raises:
            NotFound: `tool_server.unknown`, for what no server could be called.
        """
        if not is_name(name):
            raise unknown(name)
        return client_document(self._client_id(name), self._redirect_uri(name))

    async def _check_few(self, actor: Actor) -> None:
        """Refuse somebody who begins and never finishes: each sign-in may register a client at a provider."""
        if await self._rows.count_begun(actor.user_id, now=self._clock()) >= MOST_BEGUN:
            raise RateLimited(
                "tool_server.sign_ins",
                f"{MOST_BEGUN} of your sign-ins to tool servers are on their way.",
                hint=f"Finish one of them, or wait {SECONDS // 60} minutes.",
                retry_after=SECONDS,
            )

    async def _whose(self, actor: Actor, name: str) -> ToolServer:
        """Return a server as somebody signs in to it.

        Raises:
            NotFound: `tool_server.unknown`, also for one that somebody may not use.
            Forbidden: `role.missing`, `scope.missing`.
        """
        server = await self._servers.found(actor, name)
        if server.oauth.each:
            require(actor, Scope.CHAT)
        else:
            _check_admin(actor)
        return server.as_for(actor.user_id)

    async def _server(self, row: ToolSignIn) -> ToolServer:
        return (await self._servers.known(row.name)).as_for(row.owner)

    # -- the way out ------------------------------------------------------------------------------------------------

    async def _as_itself(self, server: ToolServer) -> Begun:
        signed = await self._grants.anew(server)
        await self._servers.renew_session(server)
        found = signed.server
        return Begun(url="", address="", issuer=found.issuer, scope=found.scope, redirect_uri="", expires=0)

    async def _begun(self, actor: Actor, server: ToolServer, found: AuthorizationServer) -> Begun:
        found.check_browsers()
        redirect_uri = self._redirect_uri(server.name)
        client = await self._client(server, found, redirect_uri)
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        address = found.address(client, redirect_uri, state=state, verifier=verifier)
        way = _Way(server=found, client=client, verifier=verifier, redirect_uri=redirect_uri, address=address)
        until, digest = self._clock() + SECONDS * 1000, _digest(state)
        sealed = self._seals.seal(msgspec.json.encode(way).decode(), _about(digest, server))
        row = ToolSignIn(
            state=digest,
            name=server.name,
            owner=server.owner,
            secret=sealed,
            until=until,
            started_by=actor.user_id,
        )
        await self._rows.begin(row, now=self._clock())
        link = f"{self._public}/tool-servers/{quote(server.name)}/sign-in?state={state}"
        return Begun(
            url=link,
            address=address,
            issuer=found.issuer,
            scope=found.scope,
            redirect_uri=redirect_uri,
            expires=until,
        )

    async def _client(self, server: ToolServer, found: AuthorizationServer, redirect_uri: str) -> OAuthClient:
        """Return whom the server's provider knows us by: as set, by a document of ours, or by registering."""
        said = server.oauth
        if said.client_id:
            return found.client(said.client_id, said.client_secret)
        if found.documents and self._public.startswith("https://"):
            return OAuthClient(id=self._client_id(server.name))
        if found.register:
            return await self._grants.speaker.register(found, redirect_uri)
        raise Conflict(
            "tool_server.no_registration",
            f"{found.issuer[:_SAID]} lets nobody register a client by itself.",
            hint=f"Register one there that comes back to {redirect_uri}, and set it with --client-id.",
        )

    def _redirect_uri(self, name: str) -> str:
        return f"{self._public}/tool-servers/{quote(name, safe='')}/callback"

    def _client_id(self, name: str) -> str:
        return f"{self._public}/tool-servers/{quote(name, safe='')}/client"

    # -- the way back -----------------------------------------------------------------------------------------------

    async def _on_the_way(self, name: str, state: str) -> ToolSignIn:
        row = await self._rows.on_the_way(_digest(state))
        if row is None or row.name != name or row.until <= self._clock():
            raise _unknown("This sign-in has not begun here, was finished, or took too long.")
        return row

    def _way(self, server: ToolServer, row: ToolSignIn) -> _Way:
        try:
            return msgspec.json.decode(self._seals.open(row.secret, _about(row.state, server)), type=_Way)
        except LlmosError:
            raise _unknown("The tool server has changed meanwhile.") from None

    async def _finished(self, row: ToolSignIn, given: Mapping[str, str]) -> str:
        """Spend a sign-in, whatever comes of it, and keep the tokens."""
        server = await self._server(row)
        way = self._way(server, row)
        if not await self._rows.spend(row.state):
            raise _unknown("This sign-in was finished.")
        way.server.check_answer(given.get("iss"))
        if "error" in given or not given.get("code"):
            said = "".join(char for char in given.get("error", "no code") if char.isprintable())[:_SAID]
            raise Forbidden(
                "tool_server.sign_in_declined",
                f"The sign-in to {row.name} came to nothing: {said}.",
                hint="Begin again.",
            )
        tokens = await self._exchanged(row.name, way, given["code"])
        await self._grants.keep(server, SignedIn(server=way.server, client=way.client, tokens=tokens), row.started_by)
        await self._servers.renew_session(server)
        return row.started_by

    async def _exchanged(self, name: str, way: _Way, code: str) -> Tokens:
        try:
            return await self._grants.speaker.exchange(
                way.server, way.client, code=code, verifier=way.verifier, redirect_uri=way.redirect_uri
            )
        except GrantRefused as refusal:
            raise UpstreamFailed(
                "tool_server.sign_in_refused",
                f"{way.server.issuer[:_SAID]} gives no token for {name} ({refusal.code}).",
                hint="Begin again.",
            ) from None


def _check_admin(actor: Actor) -> None:
    require(actor, Scope.ADMIN)
    require_admin(actor)


def _digest(secret: str) -> str:
    return digest_of(secret).hex()


def _same(digest: str, secret: str) -> bool:
    return bool(digest) and compare_digest(digest, _digest(secret))


def _about(digest: str, server: ToolServer) -> str:
    return f"way {digest} to tool server {server.name} {server.url} {server.owner}"


def _union(scope: str, more: str) -> str:
    """Return scopes with further ones: what was allowed stays allowed."""
    return " ".join(dict.fromkeys([*scope.split(), *more.split()]))[:LONGEST_SCOPE]


def _unknown(said: str) -> Forbidden:
    return Forbidden("tool_server.sign_in_unknown", said, hint="Begin again: llmos tool-servers sign-in NAME")
