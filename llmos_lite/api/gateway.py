"""`/v1/…`: the APIs of OpenAI and Anthropic, for clients of theirs; plain ASGI, since every answer passes here."""

from __future__ import annotations

from contextlib import aclosing
from typing import Protocol

from llmos_lite.api.auth import Needs, actor_of
from llmos_lite.api.errors import Receive, Scope, Send
from llmos_lite.api.waiting import UntilGone, read_body
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.core.gateway.service import Gateway, Head, Request
from llmos_lite.engines.upstream import Wire

PREFIX = "/v1"


class Services(Protocol):
    """What the routes need of an instance."""

    @property
    def accounts(self) -> Accounts:
        """Know who asks."""

    @property
    def gateway(self) -> Gateway:
        """Answers."""


class WireEndpoint:
    """One of the routes that a model answers.

    Args:
        services: of the instance.
        wire: what is spoken here.
    """

    needs = Needs(scope=Right.CHAT, delegates=True)

    def __init__(self, services: Services, wire: Wire) -> None:
        self._accounts, self._gateway, self._wire = services.accounts, services.gateway, wire
        self._words = services.gateway.dialects[wire].problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is refused before the first byte is raised, and said in the client's words."""
        state = scope.setdefault("state", {})
        state["words"] = self._words
        actor = self.needs.check(await actor_of(self._accounts, scope))
        body = await read_body(receive)
        request = Request(body, scope["headers"], scope["query_string"].decode("latin-1"), state.get("request_id", ""))
        async with UntilGone(receive), aclosing(self._gateway.pass_on(actor, self._wire, request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Head):
                    await send({"type": "http.response.start", "status": piece.status, "headers": piece.headers})
                else:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def gateway_routes(services: Services) -> dict[tuple[str, str], WireEndpoint]:
    """Return the routes by method and path."""
    return {("POST", PREFIX + wire.path): WireEndpoint(services, wire) for wire in Wire}
