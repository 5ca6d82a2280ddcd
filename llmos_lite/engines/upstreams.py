"""Which model server a request goes to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Protocol

from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm_anthropic import AnthropicModel, is_anthropic
from llmos_lite.engines.llm_http import HttpModel
from llmos_lite.engines.llm_openai import OpenAIModel
from llmos_lite.engines.upstream import HttpUpstream, Passing, Upstream, Wire
from llmos_lite.settings import Settings

_OPENAI = frozenset({Wire.CHAT, Wire.RESPONSES})


class Route(NamedTuple):
    """Where a request goes: the server, how it calls the model, and what is spoken with it."""

    upstream: Upstream
    model: str
    wire: Wire


class Sent(NamedTuple):
    """A request that was taken: where it went, and the answer, whose status may be a refusal."""

    route: Route
    reply: Reply


class Upstreams(Protocol):
    """The model servers of an instance."""

    def send(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> AbstractAsyncContextManager[Sent]:
        """Send a request to whoever has the model; leaving the context early ends it there.

        Args:
            model: as the client calls it; empty takes the usual one.
            wire: what the client speaks.
            make: writes the request for a route.

        Raises:
            UpstreamFailed: `model.unreachable`, `model.cut`.
            UpstreamTimeout: `model.timeout`.
        """

    async def close(self) -> None:
        """Close all connections."""


def spoken(upstream: Upstream, wire: Wire) -> Wire:
    """Return what is spoken with a server: what the client speaks when the server does, too, else what it prefers."""
    return wire if wire in upstream.wires else next(one for one in Wire if one in upstream.wires)


class OneUpstream:
    """A single model server for every model.

    Args:
        upstream: the server.
        model: the usual one.
    """

    def __init__(self, upstream: Upstream, model: str = "") -> None:
        self._upstream, self._model = upstream, model

    @asynccontextmanager
    async def send(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> AsyncGenerator[Sent, None]:
        """Send a request; see `Upstreams`."""
        route = Route(self._upstream, model or self._model, spoken(self._upstream, wire))
        async with self._upstream.send(make(route)) as reply:
            yield Sent(route, reply)

    async def close(self) -> None:
        """Close all connections."""
        await self._upstream.close()


def open_upstream(settings: Settings) -> Upstream | None:
    """Return the model server that the settings name, None when they name none; nothing is connected to yet.

    Raises:
        Invalid: `settings.invalid`, for a URL that is none.
    """
    name, url = settings.llm_provider, settings.llm_url
    if name not in {"auto", "openai", "anthropic"} or (name == "auto" and not url):
        return None
    key, timeout = settings.llm_key, settings.llm_timeout
    made: HttpModel
    if name == "anthropic" or is_anthropic(url):
        made, wires = AnthropicModel(url, key=key, timeout=timeout), frozenset({Wire.MESSAGES})
    else:
        made, wires = OpenAIModel(url or "https://api.openai.com/v1", key=key, timeout=timeout), _OPENAI
    return HttpUpstream(name, made.server, wires)
