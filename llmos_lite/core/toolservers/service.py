"""The tool servers of an instance: those of its file, and those that admins set, which hold at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, require, require_admin
from llmos_lite.core.toolservers.box import ServerTools, ToolProblem
from llmos_lite.core.toolservers.config import Rule, ToolServer
from llmos_lite.core.toolservers.grants import SIGN_IN, GrantBearer, Grants, lost, narrow, wanted
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.llm import Tool
from llmos_lite.engines.mcp_sessions import McpSession, Where
from llmos_lite.engines.sealing import Seals
from llmos_lite.errors import Conflict, LlmosError, NotFound, UpstreamTimeout
from llmos_lite.records.toolgrants import ToolGrant
from llmos_lite.records.toolservers import ToolServerRecord, ToolServerRows

LIST_SECONDS = 2.0
"""That a chat waits for servers to say what they offer; those that are slower come in with the next message."""

MOST_SESSIONS = 256
"""After which those that have ended are let go of."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server as it is shown, without what its headers say.

    Args:
        server: it.
        source: `file` or `api`.
        problem: what is wrong with it.
        sign_in: `done`, `needed` or `again`; empty for one that has not asked for it.
    """

    server: ToolServer
    source: str
    problem: str = ""
    sign_in: str = ""


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool of a server, and its rule."""

    tool: Tool
    rule: Rule


class ToolServers:
    """Knows the servers.

    Args:
        rows: what admins set.
        seals: seal their headers.
        fixed: those of the file.
        grants: the tokens of those that were signed in to.
        private: whether addresses that are not public may be called.
    """

    def __init__(
        self, rows: ToolServerRows, seals: Seals, fixed: Sequence[ToolServer], grants: Grants, *, private: bool
    ) -> None:
        self._rows, self._seals, self._fixed, self._private = rows, seals, fixed, private
        self._grants = grants
        self._servers: dict[str, ToolServer] | None = None
        self._sealed_off: list[ServerView] = []
        """Servers whose secrets cannot be read."""
        self._sessions: dict[tuple[str, str], McpSession] = {}
        self._loading, self._changing = asyncio.Lock(), asyncio.Lock()

    async def box(self, actor: Actor, team_id: str | None) -> ServerTools | None:
        """Return the tools that a chat may call, and what keeps others from it; None when there is neither."""
        servers = self._servers if self._servers is not None else await self._load()
        mine = [server.as_for(actor.user_id) for server in servers.values() if server.is_for(actor, team_id)]
        if not mine:
            return None
        asked = await asyncio.gather(*(self._offers(server) for server in mine))
        pairs = list(zip(mine, asked, strict=True))
        box = ServerTools(
            [
                (server, self._session(server), tools or [])
                for server, tools in pairs
                if not isinstance(tools, LlmosError)
            ]
        )
        box.problems += [ToolProblem.of(server.name, error) for server, error in pairs if isinstance(error, LlmosError)]
        return box if box.problems or not box.is_empty else None

    async def close(self) -> None:
        """End all sessions."""
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions), return_exceptions=True)
        await self._grants.close()

    # -- what admins do ---------------------------------------------------------------------------------------------

    async def listed(self, actor: Actor) -> list[ServerView]:
        """List the servers, for a system admin, and ask those that not everybody signs in to how they are."""
        require_admin(actor)
        servers = (await self._load()).values()
        asked = await self._asked([one for one in servers if not one.oauth.each])
        return [*await self._views(servers, asked), *self._sealed_off]

    async def usable(self, actor: Actor) -> list[ServerView]:
        """List the servers that somebody may use, whether they are signed in to, and how they are."""
        require(actor, Scope.CHAT)
        mine = [one.as_for(actor.user_id) for one in (await self._load()).values() if one.is_ever_for(actor)]
        return await self._views(mine, await self._asked(mine))

    async def known(self, name: str) -> ToolServer:
        """Return a server with its secrets.

        Raises:
            NotFound: `tool_server.unknown`.
        """
        server = (await self._load()).get(name)
        if server is None:
            raise unknown(name)
        return server

    async def found(self, actor: Actor, name: str) -> ToolServer:
        """Return a server with its secrets, for whoever may use it, and for system admins.

        Raises:
            NotFound: `tool_server.unknown`.
            Forbidden: `scope.missing`.
        """
        server = await self.known(name)
        if not allowed(actor, Verb.OVERSEE):
            require(actor, Scope.CHAT)
            if not server.is_ever_for(actor):
                raise unknown(name)
        return server

    async def renew_session(self, server: ToolServer) -> None:
        """Begin anew with a server, as with another token."""
        session = self._sessions.pop((server.name, server.owner), None)
        if session is not None:
            await session.close()

    async def forget_person(self, user_id: str) -> None:
        """Forget the tokens of somebody who has left, and whatever is connected with them."""
        servers = await self._load()
        await self._grants.forget_person(servers, user_id)
        for name, owner in [key for key in self._sessions if key[1] == user_id]:
            await self._sessions.pop((name, owner)).close()

    async def offered(self, actor: Actor, name: str) -> list[OfferedTool]:
        """Ask a server what it offers, as whoever may use it, or as a system admin.

        Raises:
            NotFound: `tool_server.unknown`.
            UpstreamFailed: as `McpSession.tools`.
        """
        server = (await self.found(actor, name)).as_for(actor.user_id)
        return [OfferedTool(tool, server.rule(tool)) for tool in await self._session(server).tools(anew=True)]

    async def put(self, actor: Actor, server: ToolServer, *, keep_client: bool = False) -> ServerView:
        """Add or change a server, as a system admin.

        At the same address it keeps the headers that it had when it comes without any, and the secret of the same
        client. Another address, or another client, ends the sign-in.

        Args:
            actor: the admin.
            server: the server.
            keep_client: whether it is signed in to as before, whatever `server.oauth` says.

        Raises:
            Invalid: `tool_server.invalid`.
            Conflict: `tool_server.in_file`.
        """
        require_admin(actor)
        self._check_free(server.name)
        async with self._changing:
            return await self._put(actor, server, keep_client=keep_client)

    async def _put(self, actor: Actor, server: ToolServer, *, keep_client: bool) -> ServerView:
        before = (await self._load()).get(server.name)
        server = (_with_secrets(server, before, keep_client=keep_client) if before is not None else server).checked()
        await self._rows.put(self._sealed(server, actor))
        await self._forget(server.name)
        if (seen := await self._seen(server)) != server:
            await self._rows.put(self._sealed(seen, actor))
        if before is not None and (before.url, before.oauth) != (server.url, server.oauth):
            await self._grants.forget_all(before)
        return (await self._views([(await self._load())[server.name]], {}))[0]

    async def remove(self, actor: Actor, name: str) -> None:
        """Take a server away, as a system admin.

        Raises:
            NotFound: `tool_server.unknown`.
            Conflict: `tool_server.in_file`.
        """
        require_admin(actor)
        self._check_free(name)
        async with self._changing:
            server = await self.known(name)
            await self._rows.delete(name)
            await self._forget(name)
            await self._grants.forget_all(server)
            await self._load()

    def _check_free(self, name: str) -> None:
        if any(one.name == name for one in self._fixed):
            raise Conflict(
                "tool_server.in_file", f"The tool server {name} is set where the server runs.", hint="Change it there."
            )

    # -- what there is ----------------------------------------------------------------------------------------------

    async def _load(self) -> Mapping[str, ToolServer]:
        async with self._loading:
            self._sealed_off = []
            found = {server.name: server for server in self._fixed}
            for row in await self._rows.all():
                if row.name not in found and (server := self._opened(row)) is not None:
                    found[row.name] = server
            self._servers = found
        return found

    async def _asked(self, servers: Sequence[ToolServer]) -> dict[tuple[str, str], LlmosError]:
        """Return what is the matter with servers, as far as they answer in `LIST_SECONDS`."""
        answers = await asyncio.gather(*(self._offers(server) for server in servers))
        found = [(one, _slow(one) if tools is None else tools) for one, tools in zip(servers, answers, strict=True)]
        return {(one.name, one.owner): error for one, error in found if isinstance(error, LlmosError)}

    async def _views(
        self, servers: Iterable[ToolServer], problems: Mapping[tuple[str, str], LlmosError]
    ) -> list[ServerView]:
        grants: dict[str, Mapping[str, ToolGrant]] = {}
        found = []
        for server in servers:
            if server.owner not in grants:
                grants[server.owner] = await self._grants.all(server.owner)
            problem = problems.get((server.name, server.owner))
            found.append(self._view(server, grants[server.owner].get(server.name), problem))
        return found

    def _view(self, server: ToolServer, grant: ToolGrant | None, problem: LlmosError | None) -> ServerView:
        fixed = any(one.name == server.name for one in self._fixed)
        sign_in = ""
        if (error := self._wanting(server, grant, problem)) is not None:
            sign_in, problem = ("again" if grant is not None and grant.secret else "needed"), error
        elif grant is not None and grant.secret:
            sign_in = "done"
        return ServerView(_shown(server), "file" if fixed else "api", _said(problem) if problem else "", sign_in)

    def _wanting(self, server: ToolServer, grant: ToolGrant | None, problem: LlmosError | None) -> LlmosError | None:
        """Return what keeps a server from being signed in to; None for one that does not want it, too."""
        if grant is not None and grant.secret:
            if grant.problem:
                return lost(server, grant.problem)
            return narrow(server, grant.scope) if grant.scope else None
        if server.owner:
            return wanted(server)
        session = self._sessions.get((server.name, server.owner))
        if problem is None and session is not None:
            problem = session.problem
        return problem if problem is not None and problem.code == SIGN_IN else None

    def _sealed(self, server: ToolServer, actor: Actor) -> ToolServerRecord:
        """Return the row of a server, whose secrets are sealed."""
        plain = msgspec.structs.replace(
            server, headers={}, oauth=msgspec.structs.replace(server.oauth, client_secret="")
        )
        headers = msgspec.json.encode(server.headers).decode()
        return ToolServerRecord(
            name=server.name,
            document=msgspec.json.encode(plain).decode(),
            secret=self._seals.seal(headers, _about(server)) if server.headers else "",
            client=self._seals.seal(server.oauth.client_secret, _of_client(server))
            if server.oauth.client_secret
            else "",
            changed=now_ms(),
            changed_by=actor.user_id,
        )

    def _opened(self, row: ToolServerRecord) -> ToolServer | None:
        server = msgspec.json.decode(row.document, type=ToolServer)
        try:
            headers = self._seals.open(row.secret, _about(server)) if row.secret else "{}"
            client = self._seals.open(row.client, _of_client(server)) if row.client else ""
        except LlmosError as error:
            self._sealed_off.append(ServerView(_shown(server), "api", _said(error)))
            return None
        return msgspec.structs.replace(
            server,
            headers=msgspec.json.decode(headers, type=dict[str, str]),
            oauth=msgspec.structs.replace(server.oauth, client_secret=client),
        )

    def _session(self, server: ToolServer) -> McpSession:
        key = server.name, server.owner
        session = self._sessions.get(key)
        if session is None:
            where = Where(
                url=server.url,
                headers=server.headers,
                command=server.command,
                environment=server.environment,
                private=self._private,
                bearer=GrantBearer(self._grants, server) if server.may_sign_in else None,
            )
            self._drop_idle()
            session = self._sessions[key] = McpSession(server.name, where)
        return session

    async def _offers(self, server: ToolServer) -> list[Tool] | LlmosError | None:
        """Return what a server offers, or what is wrong with it; None for one that is slow."""
        asking = asyncio.ensure_future(self._session(server).tools())
        await asyncio.wait([asking], timeout=LIST_SECONDS)
        if not asking.done():
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
            return None
        error = asking.exception()
        if isinstance(error, LlmosError):
            return error
        return asking.result() if error is None else []

    async def _seen(self, server: ToolServer) -> ToolServer:
        """Return a server with what the tools are that its admin names `always`, as far as it says so at once."""
        if server.oauth.each or Rule.ALWAYS not in server.tools.values():
            return server
        tools = await self._offers(server)
        return server.having_seen(tools) if isinstance(tools, list) else server

    def _drop_idle(self) -> None:
        """Let go of sessions that have ended, before there are too many of them: people come and go."""
        if len(self._sessions) >= MOST_SESSIONS:
            self._sessions = {key: one for key, one in self._sessions.items() if not one.is_idle}

    async def _forget(self, name: str) -> None:
        keys = [key for key in self._sessions if key[0] == name]
        sessions = [self._sessions.pop(key) for key in keys]
        await asyncio.gather(*(session.close() for session in sessions))


def _said(error: LlmosError) -> str:
    return f"{error.message} {error.hint}".rstrip()


def _slow(server: ToolServer) -> LlmosError:
    return UpstreamTimeout(
        "tool_server.timeout",
        f"The tool server {server.name} has not answered within {LIST_SECONDS:g} s.",
        hint="Look again in a moment, and then at the server.",
    )


def _shown(server: ToolServer) -> ToolServer:
    """Return a server without what its headers and variables say; the names of the headers stay."""
    oauth = msgspec.structs.replace(server.oauth, client_secret="")
    return msgspec.structs.replace(server, headers=dict.fromkeys(server.headers, ""), environment={}, oauth=oauth)


def _with_secrets(server: ToolServer, before: ToolServer, *, keep_client: bool) -> ToolServer:
    """Return a server with its secrets, and its tools as they were seen, where these are of the same place."""
    if before.url != server.url:
        return server
    oauth, had = server.oauth, before.oauth
    same = (oauth.client_id, oauth.issuer) == (had.client_id, had.issuer) and not oauth.client_secret
    if keep_client:
        oauth = had
    elif same:
        oauth = msgspec.structs.replace(oauth, client_secret=had.client_secret)
    return msgspec.structs.replace(server, headers=server.headers or before.headers, oauth=oauth, seen=before.seen)


def _about(server: ToolServer) -> str:
    """Return what sealed headers are bound to: a row that is changed to another address does not take them there."""
    return f"tool server {server.name} {server.url}"


def _of_client(server: ToolServer) -> str:
    """Return what the sealed secret of a client is bound to."""
    return f"client of tool server {server.name} {server.oauth.client_id} {server.oauth.issuer}"


def unknown(name: str) -> NotFound:
    """Return the error for a name that no server has."""
    return NotFound(
        "tool_server.unknown",
        f"There is no tool server {name[:64]!r}.",
        hint="`llmos tool-servers list`, or `mine`, shows all.",
    )
