"""Model servers that requests are passed on to, bytes in and bytes out, in a dialect that the server speaks."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from enum import StrEnum
from typing import Protocol, Self

import msgspec

from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm_http import ModelServer, limit_of


class Wire(StrEnum):
    """An API that clients and servers speak."""

    CHAT = "chat", "/chat/completions"
    RESPONSES = "responses", "/responses"
    MESSAGES = "messages", "/messages"

    path: str
    """Where it lies below a server's base URL."""

    def __new__(cls, value: str, path: str) -> Self:
        """Make one of them."""
        wire = str.__new__(cls, value)
        wire._value_, wire.path = value, path
        return wire


SHORTEST_SECRET = 8
"""Characters of a secret that is cut out of refusals; a shorter one is none, and may be in any word, as `ollama` is."""


class Passing(msgspec.Struct, frozen=True, kw_only=True):
    """A request on its way through.

    Args:
        method: of HTTP.
        path: below the base URL, with its query.
        headers: of the client, those of the connection and our own aside.
        body: what is sent.
        own_key: whether the client's own credential is among the headers, and ours is not added.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    method: str = "POST"
    own_key: bool = False


class Upstream(Protocol):
    """One model server."""

    @property
    def name(self) -> str:
        """Return what people call it."""

    @property
    def wires(self) -> frozenset[Wire]:
        """Return what it speaks."""

    def send(self, passing: Passing) -> Awaitable[Reply]:
        """Pass a request on and return the answer as it is, which is to be ended; see `HttpClient.send`.

        Raises:
            UpstreamFailed: `model.unreachable`, `model.cut`.
            UpstreamTimeout: `model.timeout`.
        """

    async def close(self) -> None:
        """Close all connections."""


def limit_at(upstream: Upstream) -> str:
    """Return what a server calls the most tokens of an answer in chat completions: its attribute `limit`."""
    return str(getattr(upstream, "limit", "max_tokens"))


def takes_tools(upstream: Upstream) -> bool:
    """Tell whether a server can be given tools: unless it has an attribute `tools` that is false."""
    return bool(getattr(upstream, "tools", True))


class HttpUpstream:
    """A model server at a base URL.

    Args:
        name: what people call it.
        server: where it is, with its key.
        wires: what it speaks.
        limit: what it calls the most tokens of an answer in chat completions; empty tells it by its host.
    """

    def __init__(self, name: str, server: ModelServer, wires: frozenset[Wire], limit: str = "") -> None:
        self.name, self.wires, self._server = name, wires, server
        self.limit = limit or limit_of(server.base_url)
        secrets = {secret.removeprefix("Bearer ") for secret in server.secrets}
        self.hidden = [secret.encode() for secret in secrets if len(secret) >= SHORTEST_SECRET]

    @property
    def has_key(self) -> bool:
        """Tell whether it is asked with a key of ours; clients may bring their own."""
        return self._server.has_key

    def send(self, passing: Passing) -> Awaitable[Reply]:
        """Pass a request on; see `Upstream`."""
        headers = passing.headers if passing.own_key else {**passing.headers, **self._server.credential}
        return self._server.client.send(passing.method, passing.path, headers, passing.body)

    async def close(self) -> None:
        """Close all connections."""
        await self._server.close()
