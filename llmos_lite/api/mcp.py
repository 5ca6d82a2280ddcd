"""`/mcp`, `/mcp/<team>`, `/mcp/t/<token>`: the Model Context Protocol over HTTP; who calls, in which team's context.

The protocol itself is in `mcp_hub` and what it loads. That takes longer than the whole start of a server, so it is
loaded beside the event loop when somebody first asks.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llmos_lite.api.audited import record_refusal
from llmos_lite.api.auth import Needs, actor_of
from llmos_lite.api.errors import Message, MethodNotAllowed, Receive, Scope, Send
from llmos_lite.api.links import linked_actor
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.capabilities import Purpose
from llmos_lite.core.accounts.permissions import Actor, Verb, permit
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.errors import Forbidden, Invalid, NotFound, TooLarge, Unauthenticated, Unavailable
from llmos_lite.volumes import access
from llmos_lite.volumes.access import ID, ID_LENGTH, VolumeRef

if TYPE_CHECKING:
    from llmos_lite.api.mcp_hub import Hub

PATH = "/mcp"
LARGEST_MESSAGE, LARGEST_OPENING = 1 << 20, 1 << 16
"""Bytes of a message, and of one that opens a session, which is kept for as long as that."""
METHODS = frozenset({"GET", "POST", "DELETE"})
_PLACE = re.compile(rf"{PATH}(?:/({ID.pattern}))?")
_LINK = re.compile(rf"{PATH}/t/[^/]+")
"""With a token, of which `links` left only what may be shown."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request.

    Args:
        actor: who.
        team_id: in which team's context; None for all teams of the person.
        again: asks whether the credential still holds, for what goes on for long.
    """

    actor: Actor
    team_id: str | None
    again: Callable[[], Awaitable[Caller]]


class McpEndpoint:
    """The routes.

    Args:
        services: of the instance.
    """

    needs = Needs(scope=Right.SKILLS_READ)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._origins = frozenset(name.strip().rstrip("/") for name in services.settings.cors.split(","))
        self._hub: Hub | None = None
        self._loading, self._stopped = asyncio.Lock(), False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is refused before the protocol begins is raised, for the edge to answer."""
        try:
            self._check_origin(scope)
            caller = await self._caller(scope)
            await self._services.limits.hit(caller.actor)
            self.needs.check(caller.actor)
        except (Unauthenticated, Forbidden) as error:
            await record_refusal(self._services, scope, error)
            raise
        if scope["method"] not in METHODS:
            raise MethodNotAllowed(scope["method"], METHODS)
        _check_type(scope)
        hub = await self._loaded()
        await hub.answer(caller, scope, bounded(receive, LARGEST_MESSAGE), send)

    async def stop(self) -> None:
        """End every session, and begin no other."""
        self._stopped = True
        if self._hub is not None:
            await self._hub.stop()

    async def _caller(self, scope: Scope) -> Caller:
        place = _PLACE.fullmatch(scope["path"])
        linked = place is None and _LINK.fullmatch(scope["path"]) is not None
        if not linked and (place is None or len(place[1] or "") > ID_LENGTH):
            raise NotFound("route.unknown", f"There is nothing at {scope['path'][:200]!r}.")
        if linked:
            actor = await linked_actor(self._services.capabilities, scope, Purpose.MCP)
        else:
            actor = await actor_of(self._services.accounts, scope)
        team = place[1] if place else None
        if team and Right.SKILLS_READ in actor.scopes:
            permit(actor, Verb.READ_SKILLS, VolumeRef.team(team))
            access.require(actor.principal, VolumeRef.team(team), write=False)
        return Caller(actor, team, again=lambda: self._caller(scope))

    def _check_origin(self, scope: Scope) -> None:
        """Refuse a page of another site, whatever credential it has found."""
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        own = headers.get(b"host", b"").decode("latin-1")
        if origin and _place_of(origin) != own and origin not in self._origins:
            raise Forbidden(
                "request.cross_site",
                "Pages of other sites may not speak to this server.",
                hint="Name their origin in LLMOS_CORS.",
            )

    async def _loaded(self) -> Hub:
        if self._stopped:
            raise Unavailable("server.stopping", "The server is stopping.", hint="Try again in a moment.")
        async with self._loading:
            if self._hub is None:
                hub = await asyncio.to_thread(_load, self._services)
                await hub.start()
                self._hub = hub
        return self._hub


def _place_of(origin: str) -> str | None:
    """Return host and port of an origin; None for what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _check_type(scope: Scope) -> None:
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    if scope["method"] == "POST" and not any(kind.lower().startswith(b"application/json") for kind in kinds):
        raise Invalid("request.not_json", "A message is sent as application/json.", hint="Set Content-Type.")


def bounded(receive: Receive, most: int) -> Receive:
    """Hand a body on as far as a message may be long, in bytes."""
    read = 0

    async def receiving() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise TooLarge("request.too_large", f"A message like this has at most {most:,} bytes here.", limit=most)
        return message

    return receiving


def _load(services: Services) -> Hub:
    from llmos_lite.api.mcp_hub import Hub  # noqa: PLC0415 - loads the protocol's package, most of a second

    return Hub(services)
