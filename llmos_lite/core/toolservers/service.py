"""The tool servers of an instance: those of its file, and those that admins set, which hold at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from llmos_lite.core.accounts.permissions import Actor, require_admin
from llmos_lite.core.toolservers.box import ServerTools
from llmos_lite.core.toolservers.config import Rule, ToolServer
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.llm import Tool
from llmos_lite.engines.mcp_sessions import McpSession, Where
from llmos_lite.engines.sealing import Seals
from llmos_lite.errors import Conflict, LlmosError, NotFound
from llmos_lite.records.toolservers import ToolServerRecord, ToolServerRows

LIST_SECONDS = 2.0
"""That a chat waits for servers to say what they offer; those that are slower come in with the next message."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server as it is shown, without what its headers say."""

    server: ToolServer
    source: str
    problem: str = ""


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
        private: whether addresses that are not public may be called.
    """

    def __init__(self, rows: ToolServerRows, seals: Seals, fixed: Sequence[ToolServer], *, private: bool) -> None:
        self._rows, self._seals, self._fixed, self._private = rows, seals, fixed, private
        self._servers: dict[str, ToolServer] | None = None
        self._problems: dict[str, str] = {}
        self._sessions: dict[str, McpSession] = {}
        self._loading = asyncio.Lock()

    async def box(self, actor: Actor, team_id: str | None) -> ServerTools | None:
        """Return the tools that a chat may call; None when there are none."""
        servers = self._servers if self._servers is not None else await self._load()
        mine = [server for server in servers.values() if server.is_for(actor, team_id)]
        if not mine:
            return None
        asked = await asyncio.gather(*(self._offers(server) for server in mine))
        box = ServerTools([(server, self._session(server), tools) for server, tools in zip(mine, asked, strict=True)])
        return box if box.tools or box.asking else None

    async def close(self) -> None:
        """End all sessions."""
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions), return_exceptions=True)

    # -- what admins do ---------------------------------------------------------------------------------------------

    async def listed(self, actor: Actor) -> list[ServerView]:
        """List the servers, for a system admin."""
        require_admin(actor)
        servers = await self._load()
        fixed = {one.name for one in self._fixed}
        return [
            ServerView(_shown(one), "file" if one.name in fixed else "api", self._problems.get(one.name, ""))
            for one in servers.values()
        ]

    async def offered(self, actor: Actor, name: str) -> list[OfferedTool]:
        """Ask a server what it offers, as a system admin.

        Raises:
            NotFound: `tool_server.unknown`.
            UpstreamFailed: as `McpSession.tools`.
        """
        require_admin(actor)
        server = (await self._load()).get(name)
        if server is None:
            raise _unknown(name)
        return [OfferedTool(tool, server.rule(tool.name)) for tool in await self._session(server).tools()]

    async def put(self, actor: Actor, server: ToolServer) -> ServerView:
        """Add or change a server, as a system admin; without headers those that it had stay, at the same address.

        Raises:
            Invalid: `tool_server.invalid`.
            Conflict: `tool_server.in_file`.
        """
        require_admin(actor)
        server = server.checked()
        self._check_free(server.name)
        before = (await self._load()).get(server.name)
        if before is not None and before.url == server.url and not server.headers:
            server = msgspec.structs.replace(server, headers=before.headers)
        document = msgspec.json.encode(msgspec.structs.replace(server, headers={})).decode()
        headers = msgspec.json.encode(server.headers).decode()
        secret = self._seals.seal(headers, _about(server)) if server.headers else ""
        row = ToolServerRecord(
            name=server.name, document=document, secret=secret, changed=now_ms(), changed_by=actor.user_id
        )
        await self._rows.put(row)
        await self._forget(server.name)
        return next(view for view in await self.listed(actor) if view.server.name == server.name)

    async def remove(self, actor: Actor, name: str) -> None:
        """Take a server away, as a system admin.

        Raises:
            NotFound: `tool_server.unknown`.
            Conflict: `tool_server.in_file`.
        """
        require_admin(actor)
        self._check_free(name)
        if name not in await self._load():
            raise _unknown(name)
        await self._rows.delete(name)
        await self._forget(name)
        await self._load()

    def _check_free(self, name: str) -> None:
        if any(one.name == name for one in self._fixed):
            raise Conflict(
                "tool_server.in_file", f"The tool server {name} is set where the server runs.", hint="Change it there."
            )

    # -- what there is ----------------------------------------------------------------------------------------------

    async def _load(self) -> Mapping[str, ToolServer]:
        async with self._loading:
            self._problems = {}
            found = {server.name: server for server in self._fixed}
            for row in await self._rows.all():
                if row.name not in found and (server := self._opened(row)) is not None:
                    found[row.name] = server
            self._servers = found
        return found

    def _opened(self, row: ToolServerRecord) -> ToolServer | None:
        server = msgspec.json.decode(row.document, type=ToolServer)
        if not row.secret:
            return server
        try:
            text = self._seals.open(row.secret, _about(server))
        except LlmosError as error:
            self._problems[server.name] = error.message
            return None
        return msgspec.structs.replace(server, headers=msgspec.json.decode(text, type=dict[str, str]))

    def _session(self, server: ToolServer) -> McpSession:
        session = self._sessions.get(server.name)
        if session is None:
            where = Where(
                url=server.url,
                headers=server.headers,
                command=server.command,
                environment=server.environment,
                private=self._private,
            )
            session = self._sessions[server.name] = McpSession(server.name, where)
        return session

    async def _offers(self, server: ToolServer) -> list[Tool]:
        """Return what a server offers; nothing for one that is slow or broken, of which the log says more."""
        asking = asyncio.ensure_future(self._session(server).tools())
        await asyncio.wait([asking], timeout=LIST_SECONDS)
        if not asking.done():
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
            return []
        return asking.result() if asking.exception() is None else []

    async def _forget(self, name: str) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            await session.close()


def _shown(server: ToolServer) -> ToolServer:
    """Return a server without what its headers and variables say; the names of the headers stay."""
    return msgspec.structs.replace(server, headers=dict.fromkeys(server.headers, ""), environment={})


def _about(server: ToolServer) -> str:
    """Return what sealed headers are bound to: a row that is changed to another address does not take them there."""
    return f"tool server {server.name} {server.url}"


def _unknown(name: str) -> NotFound:
    return NotFound("tool_server.unknown", f"There is no tool server {name[:64]!r}.")
