"""`/v1/…`: the APIs of OpenAI and Anthropic, for clients of theirs; plain ASGI, since every answer passes here."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from llmos_lite.api.audited import Services as Recording
from llmos_lite.api.audited import record_refusal
from llmos_lite.api.auth import Needs, actor_by, actor_of
from llmos_lite.api.errors import Receive, Scope, Send, Words
from llmos_lite.api.heads import Head
from llmos_lite.api.middleware import Request as Edge
from llmos_lite.api.straight import edge_of, straight_to
from llmos_lite.api.waiting import UntilGone, read_body, unpacked
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.core.gateway.behind import About
from llmos_lite.core.gateway.pieces import Out, Piece, Request, Whole
from llmos_lite.core.gateway.problems import anthropic_problem, openai_problem
from llmos_lite.core.gateway.service import Gateway
from llmos_lite.core.providers.service import ModelEntry, Providers
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Forbidden, NotFound, Unauthenticated

PREFIX = "/v1"
MODELS = f"{PREFIX}/models"
LARGE_REQUEST = 64 << 20
"""Bytes of a request with pictures in it: Anthropic takes 32 MB, OpenAI 50 MB of pictures."""
_ABOUT = re.compile(rf"{PREFIX}{Wire.RESPONSES.path}/([A-Za-z0-9_-]{{1,200}})((?:/cancel|/input_items)?)")
_ASKED_ABOUT = frozenset({("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")})
_OPENAI, _ANTHROPIC = Words(openai_problem), Words(anthropic_problem)
_encode = msgspec.json.Encoder().encode


class Services(Recording, Protocol):
    """What the routes need of an instance."""

    @property
    def accounts(self) -> Accounts:
        """Know who asks."""

    @property
    def gateway(self) -> Gateway:
        """Answers."""

    @property
    def providers(self) -> Providers:
        """Know the models."""


class WireEndpoint:
    """One of the routes that a model answers.

    Args:
        services: of the instance.
        wire: what is spoken here.
    """

    needs = Needs(scope=Right.CHAT, delegates=True)

    def __init__(self, services: Services, wire: Wire) -> None:
        self._accounts, self._gateway, self._wire, self._services = services.accounts, services.gateway, wire, services
        self.words = Words(services.gateway.dialects[wire].problem)

    def words_of(self, scope: Scope) -> Words:
        """Return how errors of a request are told."""
        del scope
        return self.words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is refused before the first byte is raised, and said in the client's words."""
        edge = edge_of(send)
        near = edge if edge is not None and receive == edge.receive else None
        try:
            actor, request = await self._asked(scope, receive, edge, near)
            with UntilGone(receive, near):
                out = _Out(send)
                await self.answer(actor, request, out)
                whole = out.whole
                if whole is None:
                    await send({"type": "http.response.body"})
                elif edge is None or not edge.answer(*whole):
                    await _send_whole(send, whole)
        except (Unauthenticated, Forbidden) as error:
            await record_refusal(self._services, scope, error)
            raise

    async def _asked(
        self, scope: Scope, receive: Receive, edge: Edge | None, near: Edge | None
    ) -> tuple[Actor, Request]:
        state, head = scope["state"], _head_of(scope, edge)
        state["words"] = self.words
        actor = self.needs.check(await actor_by(self._accounts, scope, head.given()))
        body = None if near is None else near.body()
        if body is None:
            body = await read_body(receive)
        if packing := head.packing():
            body = await unpacked(body, packing, LARGE_REQUEST)
        query = scope["query_string"].decode("latin-1")
        return actor, Request(body, head.steering, query, state["request_id"], straight_to(edge))

    def answer(self, actor: Actor, request: Request, out: Out) -> Awaitable[None]:
        """Hand the answer out: whole, or its head and then its bytes."""
        return self._gateway.pass_on(actor, self._wire, request, out)


def _head_of(scope: Scope, edge: Edge | None) -> Head:
    """Return the headers of a request; those that its connection knows, unless somebody changed them on the way."""
    known = None if edge is None or edge.exchange is None else edge.exchange.known
    return known if known is not None and known.headers == scope["headers"] else Head(scope["headers"])


class _Out:
    """Writes one answer, but for its end, and keeps one that comes whole."""

    __slots__ = ("_send", "begun", "whole")

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False
        self.whole: Whole | None = None

    async def __call__(self, piece: Piece) -> None:
        if isinstance(piece, bytes):
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            return
        self.begun = True
        if isinstance(piece, Whole):
            self.whole = piece
        else:
            await self._send({"type": "http.response.start", "status": piece.status, "headers": piece.headers})


async def _send_whole(send: Send, whole: Whole) -> None:
    headers = [*whole.headers, (b"content-length", b"%d" % len(whole.body))]
    await send({"type": "http.response.start", "status": whole.status, "headers": headers})
    await send({"type": "http.response.body", "body": whole.body})


class PlainEndpoint(WireEndpoint):
    """A route whose requests pass on without skills and traces.

    Args:
        services: of the instance.
        path: where it lies at the server.
    """

    def __init__(self, services: Services, path: str) -> None:
        super().__init__(services, Wire.CHAT)
        self._path = path

    def answer(self, actor: Actor, request: Request, out: Out) -> Awaitable[None]:
        """Hand the answer out."""
        return self._gateway.plain(actor, self._path, request, out)


class ResponseEndpoint(WireEndpoint):
    """A route about one response that is made in the background.

    Args:
        services: of the instance.
        about: what is asked.
    """

    def __init__(self, services: Services, about: About) -> None:
        super().__init__(services, Wire.RESPONSES)
        self._about = about

    def answer(self, actor: Actor, request: Request, out: Out) -> Awaitable[None]:
        """Hand the answer out."""
        return self._gateway.behind.pass_on(actor, self._about, request, out)


def response_endpoint(services: Services, method: str, path: str) -> ResponseEndpoint | None:
    """Return what answers a request about a response; None for another request."""
    found = _ABOUT.fullmatch(path)
    if found is None or (method, found[2]) not in _ASKED_ABOUT:
        return None
    return ResponseEndpoint(services, About(method, found[1], found[2]))


class CountEndpoint(WireEndpoint):
    """`/v1/messages/count_tokens`: an estimate, since a client asks this for itself."""

    def __init__(self, services: Services) -> None:
        super().__init__(services, Wire.MESSAGES)

    async def answer(self, actor: Actor, request: Request, out: Out) -> None:
        """Hand the answer out."""
        body = await self._gateway.count_tokens(actor, request)
        await out(Whole(200, [(b"content-type", b"application/json")], body))


class ModelsEndpoint:
    """`/v1/models`, and `/v1/models/NAME`: what there is, in the form that the client's API has.

    Args:
        services: of the instance.
    """

    needs = Needs(scope=Right.CHAT, delegates=True)

    def __init__(self, services: Services) -> None:
        self._accounts, self._providers = services.accounts, services.providers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        del receive
        words = words_for(scope)
        scope.setdefault("state", {})["words"] = words
        self.needs.check(await actor_of(self._accounts, scope))
        found = await self._providers.models()
        is_anthropic = words is _ANTHROPIC
        if name := scope["path"].removeprefix(MODELS).removeprefix("/"):
            told = (_anthropic_model if is_anthropic else _openai_model)(_named(found, name))
        else:
            told = (_anthropic_list if is_anthropic else _openai_list)(found)
        body = _encode(told)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def words_for(scope: Scope) -> Words:
    """Return how an error is told on a route that is not of one API alone: Anthropic's clients name their version."""
    return _ANTHROPIC if any(name == b"anthropic-version" for name, _ in scope["headers"]) else _OPENAI


def _named(found: Sequence[ModelEntry], name: str) -> ModelEntry:
    """Return the model of a name.

    Raises:
        NotFound: `model.unknown`.
    """
    entry = next((one for one in found if one.name == name), None)
    if entry is None:
        raise NotFound("model.unknown", f"No provider lists a model {name[:100]!r}.", hint=f"GET {MODELS} lists all.")
    return entry


def _openai_model(one: ModelEntry) -> dict[str, object]:
    return {"id": one.name, "object": "model", "created": 0, "owned_by": one.provider}


def _openai_list(found: Sequence[ModelEntry]) -> dict[str, object]:
    return {"object": "list", "data": list(map(_openai_model, found))}


def _anthropic_model(one: ModelEntry) -> dict[str, object]:
    return {"type": "model", "id": one.name, "display_name": one.name, "created_at": "1970-01-01T00:00:00Z"}


def _anthropic_list(found: Sequence[ModelEntry]) -> dict[str, object]:
    ends = {"first_id": found[0].name, "last_id": found[-1].name} if found else {"first_id": None, "last_id": None}
    return {"data": list(map(_anthropic_model, found)), "has_more": False, **ends}


Endpoint: TypeAlias = WireEndpoint | ModelsEndpoint


def gateway_routes(services: Services) -> dict[tuple[str, str], Endpoint]:
    """Return the routes by method and path."""
    wires: dict[tuple[str, str], Endpoint] = {
        ("POST", PREFIX + wire.path): WireEndpoint(services, wire) for wire in Wire
    }
    return wires | {
        ("POST", f"{PREFIX}/embeddings"): PlainEndpoint(services, "/embeddings"),
        ("POST", f"{PREFIX}/messages/count_tokens"): CountEndpoint(services),
        ("GET", MODELS): ModelsEndpoint(services),
    }
