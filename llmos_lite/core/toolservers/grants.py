"""What tool servers have let us do: tokens, sealed, and renewed by one of all nodes at a time.

A refresh token may be good for one use only (OAuth 2.1, section 4.3.1), and two uses end the sign-in. So whoever renews
holds a lease in the row; all others wait for what comes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from llmos_lite.core.toolservers.config import ToolServer
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.oauth import AuthorizationServer, GrantRefused, OAuthClient, Refusal, Tokens
from llmos_lite.engines.sealing import Seals
from llmos_lite.errors import LlmosError, UpstreamFailed, UpstreamTimeout
from llmos_lite.records.toolgrants import ToolGrant, ToolGrantRows

if TYPE_CHECKING:
    from llmos_lite.engines.mcp_oauth import OAuthSpeaker

log = logging.getLogger("llmos.tools")

EARLY_MS = 30_000
"""Before its end a token is renewed, since a call takes time."""
LEASE_MS = 30_000
"""Longer than a renewal may take."""
LOOK = 0.1
"""Seconds between two looks at what another node renews."""
REVOKE_SECONDS = 5.0
SIGN_IN = "tool_server.sign_in"
REFUSED = "refused"
"""The problem of tokens that the tool server itself does not take."""


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in as it is kept, sealed."""

    server: AuthorizationServer
    client: OAuthClient
    tokens: Tokens


class Grants:
    """Keeps the tokens of tool servers.

    Args:
        rows: where they are.
        seals: seal them.
        private: whether authorization servers may be in a private network.
        clock: ms since the epoch.
    """

    def __init__(self, rows: ToolGrantRows, seals: Seals, *, private: bool, clock: Callable[[], int] = now_ms) -> None:
        self._rows, self._seals, self._private, self._clock = rows, seals, private, clock
        self._renewals: dict[tuple[str, str], asyncio.Task[str]] = {}
        self._speaker: OAuthSpeaker | None = None

    @property
    def speaker(self) -> OAuthSpeaker:
        """Who speaks to authorization servers."""
        if self._speaker is None:
            from llmos_lite.engines.mcp_oauth import OAuthSpeaker  # noqa: PLC0415 - slow to import, and seldom needed

            self._speaker = OAuthSpeaker(private=self._private, clock=lambda: self._clock() / 1000)
        return self._speaker

    async def all(self, owner: str) -> dict[str, ToolGrant]:
        """Return what an owner has, by the name of the tool server."""
        return {row.name: row for row in await self._rows.all(owner=owner)}

    async def token(self, server: ToolServer) -> str:
        """Return the token of a server, renewed when it is due; empty without a sign-in.

        Raises:
            UpstreamFailed: `tool_server.sign_in`, when the sign-in does not hold any more; `tool_server.oauth`.
            UpstreamTimeout: `tool_server.oauth_timeout`.
        """
        row = await self._row(server)
        signed = self._opened(server, row)
        if row is not None and row.problem and signed is not None:
            raise lost(server, row.problem)
        if signed is None:
            return await self.renewed(server, "") if server.oauth.as_itself else ""
        if 0 < signed.tokens.expires <= self._clock() + EARLY_MS:
            return await self.renewed(server, signed.tokens.access)
        return signed.tokens.access

    async def renewed(self, server: ToolServer, stale: str) -> str:
        """Return the token that comes after one; a chat that goes away meanwhile does not lose it.

        Raises:
            LlmosError: as `token`.
        """
        token, key = stale, (server.name, server.owner)
        for _ in range(2):  # one that runs already may be for an earlier token
            task = self._renewals.get(key)
            if task is None or task.done():
                task = self._renewals[key] = asyncio.ensure_future(self._renew(server, stale))
                task.add_done_callback(lambda done: self._renewed(key, done))
            token = await asyncio.shield(task)
            if token != stale:
                break
        return token

    async def refused(self, server: ToolServer, refusal: Refusal, token: str) -> LlmosError | None:
        """Take note that a server refused a request, and return what there is to say of it."""
        if refusal.status == 401:  # noqa: PLR2004 - the token is not taken, or there is none
            if not token:
                return wanted(server) if refusal.bearer else None
            row = await self._row(server)
            signed = self._opened(server, row)
            if row is not None and signed is not None and signed.tokens.access == token and not server.oauth.as_itself:
                log.warning("the tool server %s does not take its token", server.name)
                await self._rows.fail(row, REFUSED)
            return lost(server, REFUSED)
        if refusal.error != "insufficient_scope":
            return None
        await self._rows.want(server.name, server.owner, refusal.scope)
        return narrow(server, refusal.scope)

    async def anew(self, server: ToolServer) -> SignedIn:
        """Sign a client in as itself, whatever token it has.

        Raises:
            LlmosError: as `token`.
        """
        signed = self._opened(server, await self._row(server))
        await self.renewed(server, signed.tokens.access if signed is not None else "")
        signed = self._opened(server, await self._row(server))
        if signed is None:
            raise wanted(server)
        return signed

    async def wanted_scope(self, server: ToolServer) -> str:
        """Return what a server asked for besides, since it was signed in to."""
        row = await self._row(server)
        return row.scope if row is not None else ""

    async def keep(self, server: ToolServer, signed: SignedIn, by: str) -> None:
        """Keep the tokens of a sign-in."""
        await self._rows.put(server.name, server.owner, self._sealed(server, signed), at=self._clock(), by=by)

    async def clear(self, name: str) -> bool:
        """Forget the tokens of a server that is not known any more; False when there are none."""
        known = bool(await self._rows.all(name))
        await self._rows.delete(name)
        return known

    async def forget(self, server: ToolServer) -> None:
        """Forget the tokens of one owner, here and, as far as it can be asked, where they come from."""
        row = await self._row(server)
        await self._rows.delete(server.name, server.owner)
        signed = self._opened(server, row)
        await self._take_back([signed] if signed is not None else [])

    async def forget_all(self, server: ToolServer) -> None:
        """Forget the tokens of all owners."""
        rows = await self._rows.all(server.name)
        await self._rows.delete(server.name)
        found = [self._opened(msgspec.structs.replace(server, owner=row.owner), row) for row in rows]
        await self._take_back([one for one in found if one is not None])

    async def forget_person(self, servers: Mapping[str, ToolServer], owner: str) -> None:
        """Forget the tokens of one owner, of whatever server, and what was begun to get some."""
        rows = await self._rows.all(owner=owner)
        await self._rows.delete_of(owner)
        known = [(servers[row.name].as_for(owner), row) for row in rows if row.name in servers]
        found = [self._opened(server, row) for server, row in known]
        await self._take_back([one for one in found if one is not None])

    async def close(self) -> None:
        """Wait for what is being renewed: a token that nobody keeps is lost."""
        await asyncio.gather(*self._renewals.values(), return_exceptions=True)

    async def _row(self, server: ToolServer) -> ToolGrant | None:
        return await self._rows.get(server.name, server.owner)

    async def _take_back(self, ended: Sequence[SignedIn]) -> None:
        """Ask for the end of tokens that nobody keeps any more; where nobody can be asked they end by themselves."""
        asked = [self.speaker.revoke(one.server, one.client, one.tokens) for one in ended]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REVOKE_SECONDS):
                await asyncio.gather(*asked, return_exceptions=True)

    # -- renewing ---------------------------------------------------------------------------------------------------

    def _renewed(self, key: tuple[str, str], task: asyncio.Task[str]) -> None:
        if self._renewals.get(key) is task:
            del self._renewals[key]
        if not task.cancelled():
            task.exception()  # whoever waited has heard of it

    async def _renew(self, server: ToolServer, stale: str) -> str:
        holder, ends = secrets.token_hex(16), self._clock() + 2 * LEASE_MS
        while True:
            ask = self._rows.ensure if server.oauth.as_itself else self._rows.get
            row = await ask(server.name, server.owner)
            signed = self._opened(server, row)
            if row is None or (signed is None and not server.oauth.as_itself):
                return ""  # signed out meanwhile
            if row.problem:
                raise lost(server, row.problem)
            if signed is not None and signed.tokens.access != stale:
                return signed.tokens.access
            now = self._clock()
            if await self._rows.take(row, holder, now=now, until=now + LEASE_MS):
                return await self._under_lease(server, row, signed, holder)
            if now > ends:
                raise UpstreamTimeout("tool_server.oauth_timeout", f"The token of {server.name} is not renewed.")
            await asyncio.sleep(LOOK)

    async def _under_lease(self, server: ToolServer, row: ToolGrant, signed: SignedIn | None, holder: str) -> str:
        try:
            fresh = await self._fresh(server, signed)
        except GrantRefused as refusal:
            log.warning("the sign-in to the tool server %s is not renewed: %s", server.name, refusal.code)
            problem = "" if server.oauth.as_itself else refusal.code
            await self._rows.release(row, holder, problem=problem)
            raise lost(server, refusal.code) from None
        except BaseException:
            await self._rows.release(row, holder)
            raise
        if await self._rows.renew(row, holder, self._sealed(server, fresh), at=self._clock()):
            return fresh.tokens.access
        now = self._opened(server, await self._row(server))
        if now is not None:  # somebody signed in meanwhile
            return now.tokens.access
        await self._take_back([fresh])
        return ""

    async def _fresh(self, server: ToolServer, signed: SignedIn | None) -> SignedIn:
        """Return a sign-in with new tokens.

        Raises:
            GrantRefused: there are none.
            LlmosError: whoever gives them could not be asked.
        """
        if server.oauth.as_itself:
            said = server.oauth
            found = await self.speaker.find(server, issuer=said.issuer, scope=said.scope)
            client = found.client(said.client_id, said.client_secret)
            return SignedIn(server=found, client=client, tokens=await self.speaker.as_itself(found, client))
        if signed is None or not signed.tokens.refresh:
            raise GrantRefused("ended")
        tokens = await self.speaker.refresh(signed.server, signed.client, signed.tokens)
        return msgspec.structs.replace(signed, tokens=tokens)

    # -- sealing ----------------------------------------------------------------------------------------------------

    def _sealed(self, server: ToolServer, signed: SignedIn) -> str:
        return self._seals.seal(msgspec.json.encode(signed).decode(), _about(server))

    def _opened(self, server: ToolServer, row: ToolGrant | None) -> SignedIn | None:
        """Return what a row holds for a server; nothing when it was for another address of it."""
        if row is None or not row.secret:
            return None
        try:
            return msgspec.json.decode(self._seals.open(row.secret, _about(server)), type=SignedIn)
        except (LlmosError, msgspec.DecodeError):
            return None


class GrantBearer:
    """Gives the requests to one server their token; a `Bearer`.

    Args:
        grants: where tokens are.
        server: the server.
    """

    def __init__(self, grants: Grants, server: ToolServer) -> None:
        self._grants, self._server = grants, server
        self.problem: LlmosError | None = None

    async def token(self) -> str:
        """Return a token that should hold; empty when there is none."""
        try:
            return await self._grants.token(self._server)
        except LlmosError as error:
            self.problem = error.fresh()
            return ""

    async def renewed(self, stale: str) -> str:
        """Return another token than one that was refused; empty when there is none."""
        try:
            return await self._grants.renewed(self._server, stale)
        except LlmosError as error:
            self.problem = error.fresh()
            return ""

    async def refused(self, refusal: Refusal, token: str) -> None:
        """Take note of a refusal."""
        self.problem = self.problem or await self._grants.refused(self._server, refusal, token)


def wanted(server: ToolServer) -> UpstreamFailed:
    """Return the error for a server that nobody has signed in to."""
    return _problem(server, "sign_in", f"The tool server {server.name} wants to be signed in to.")


def lost(server: ToolServer, why: str) -> UpstreamFailed:
    """Return the error for a sign-in that does not hold any more."""
    said = f"The sign-in to the tool server {server.name} does not hold any more ({why})."
    return _problem(server, "sign_in", said, again=True)


def narrow(server: ToolServer, scope: str) -> UpstreamFailed:
    """Return the error for a sign-in that is for less than a server wants."""
    said = f"The tool server {server.name} wants more than it was signed in to for ({scope or 'it does not say what'})."
    return _problem(server, "scope", said, again=True)


def _problem(server: ToolServer, kind: str, said: str, *, again: bool = False) -> UpstreamFailed:
    who = "Sign in" if server.oauth.each else "A system admin signs in"
    hint = f"{who}{' again' if again else ''}: llmos tool-servers sign-in {server.name}"
    return UpstreamFailed(f"tool_server.{kind}", said, hint=hint, server=server.name)


def _about(server: ToolServer) -> str:
    """Return what sealed tokens are bound to: a server that moves does not take them along."""
    return f"sign-in to tool server {server.name} {server.url} {server.owner}"
