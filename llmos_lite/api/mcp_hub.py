"""The sessions of the Model Context Protocol: bounded in number, ended when idle, each usable by its owner alone.

Clients of revision 2026-07-28 need no session; those before get one when they initialize. A lost session costs a client
nothing but another handshake.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from llmos_lite.api.errors import Message, Receive, Scope, Send
from llmos_lite.api.mcp import LARGEST_MESSAGE, LARGEST_OPENING, Caller, bounded
from llmos_lite.api.mcp_server import Protocol, build

if TYPE_CHECKING:
    from llmos_lite.bootstrap import Services

MOST_SESSIONS = 2000
"""Sessions of everybody at once; about 40 KB each."""
SESSIONS_EACH = 32
"""Sessions of one person, in whichever context and with whichever key; another one ends the oldest."""
IDLE_SECONDS = 15 * 60
"""After which a session ends that nobody uses."""
SESSION, VERSION = b"mcp-session-id", b"mcp-protocol-version"


class Hub:
    """Answers what `McpEndpoint` lets in.

    Args:
        services: of the instance.
    """

    def __init__(self, services: Services) -> None:
        self.protocol: Protocol = build(services)
        self._manager = StreamableHTTPSessionManager(
            self.protocol.server,
            json_response=True,
            session_idle_timeout=IDLE_SECONDS,
            max_request_body_size=2 * LARGEST_MESSAGE,  # the endpoint counts
            max_sessions=MOST_SESSIONS,
        )
        self._sessions: dict[str, OrderedDict[str, Caller]] = {}
        self._ready, self._ending = asyncio.Event(), asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Get ready for sessions."""
        self._running = asyncio.create_task(self._run())
        await self._ready.wait()

    async def stop(self) -> None:
        """End every session."""
        self.protocol.changes.stop()
        self._ending.set()
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        async with self._manager.run():
            self._ready.set()
            await self._ending.wait()

    async def answer(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = [
            (name, value.strip(b" \t")) for name, value in scope["headers"]
        ]  # RFC 9110, 5.5; uvicorn leaves some
        state = scope.get("state", {}) | {"mcp": caller}
        scope = {**scope, "headers": headers, "state": state, "user": _owner(caller)}
        if scope["method"] == "GET":
            async with self.protocol.changes.told(caller, _session_of(scope)):
                await self._manager.handle_request(scope, receive, send)
        else:
            near = bounded(receive, LARGEST_OPENING) if _opens(scope) else receive
            await self._manager.handle_request(scope, near, self._noting(caller, send))
        if scope["method"] == "DELETE":
            self._forget(caller, _session_of(scope))

    def _noting(self, caller: Caller, send: Send) -> Send:
        """Return what notes a session that begins, and makes room for it."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:  # noqa: PLR2004
                for name, value in message["headers"]:
                    if name == SESSION:
                        await self._note(caller, value.decode())
            await send(message)

        return noting

    async def _note(self, caller: Caller, session_id: str) -> None:
        mine = self._sessions.setdefault(caller.actor.user_id, OrderedDict())
        mine[session_id] = caller
        mine.move_to_end(session_id)
        while len(mine) > SESSIONS_EACH:
            oldest, owner = mine.popitem(last=False)
            await self._end(owner, oldest)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))

    def _forget(self, caller: Caller, session_id: str) -> None:
        self._sessions.get(caller.actor.user_id, OrderedDict()).pop(session_id, None)
        self.protocol.changes.forget(session_id)

    async def _end(self, caller: Caller, session_id: str) -> None:
        """End a session as its owner would."""
        self.protocol.changes.forget(session_id)

        async def nothing(message: Message) -> None:
            """Nobody waits for the answer."""

        async def empty() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(SESSION, session_id.encode()), (b"host", b"localhost")]
        scope: Scope = {
            "type": "http",
            "method": "DELETE",
            "path": "/mcp",
            "query_string": b"",
            "headers": headers,
            "user": _owner(caller),
        }
        with suppress(Exception):  # it has ended by itself
            await self._manager.handle_request(scope, empty, nothing)


def _owner(caller: Caller) -> AuthenticatedUser:
    """Return who may use a session: the same person, in the same context, with a credential for as much."""
    actor = caller.actor
    rights = " ".join(sorted(actor.scopes))
    return AuthenticatedUser(
        AccessToken(token="", client_id=f"{actor.user_id}@{actor.volume}/{caller.team_id or ''} {rights}", scopes=[])
    )


def _opens(scope: Scope) -> bool:
    """Tell whether a request begins a session, which then holds it to its end."""
    version = dict(scope["headers"]).get(VERSION)
    known = version is None or version.decode("latin-1") in HANDSHAKE_PROTOCOL_VERSIONS
    return known and not _session_of(scope)


def _session_of(scope: Scope) -> str:
    found = (value for name, value in scope["headers"] if name == SESSION)
    return cast("bytes", next(found, b"")).decode("latin-1")
