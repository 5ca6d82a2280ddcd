"""The ASGI app: hot routes answer by themselves, everything else by FastAPI, which is loaded after the server answers.

Importing FastAPI and building its routes takes longer than everything else at start; a request that needs one of its
routes in the first moments waits for it, `/health` and `/chat` do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeAlias, cast

from llmos_lite.api.audited import Auditing, record_refusal
from llmos_lite.api.chat import ChatEndpoint
from llmos_lite.api.errors import Asgi, MethodNotAllowed, Receive, Scope, Send
from llmos_lite.api.gateway import LARGE_REQUEST, MODELS, WireEndpoint, gateway_routes, response_endpoint, words_for
from llmos_lite.api.gateway import PREFIX as API
from llmos_lite.api.git_http import PREFIX, GitEndpoint
from llmos_lite.api.health import Health, Metrics, Ready
from llmos_lite.api.hosts import Hosts, open_to
from llmos_lite.api.mcp import PATH as MCP
from llmos_lite.api.mcp import McpEndpoint
from llmos_lite.api.middleware import Edge, wrap
from llmos_lite.api.otlp import otlp_routes
from llmos_lite.api.proxies import Proxies
from llmos_lite.bootstrap import Services
from llmos_lite.errors import Forbidden, NotFound, Unauthenticated

if TYPE_CHECKING:
    from fastapi import FastAPI

PATIENCE = 1.0
"""Seconds after which what comes late is loaded though nobody has asked anything."""

_SLASHES = re.compile("/{2,}")
_NAMED = "docs/gateway.md names what there is; only the base URL of OpenAI's clients ends in /v1."
_INSTEAD = {
    "/completions": f"Send a conversation to {API}/chat/completions.",
    "/complete": f"Send a conversation to {API}/messages.",
    "/metrics": "Metrics are not taken: set OTEL_METRICS_EXPORTER to none. Traces and logs are.",
}
"""What to do instead of what clients try in vain."""

Hot: TypeAlias = dict[tuple[str, str], Asgi]


class App:
    """The whole HTTP face of one instance.

    Args:
        services: what it speaks for.

    Attributes:
        http: answers requests alone, for a server that knows of it.
        loaded: is set when everything is loaded that a server needs.

    Raises:
        Invalid: `settings.middleware`, when LLMOS_MIDDLEWARE names something that is not there.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        wires = gateway_routes(services)
        exports = otlp_routes(services)
        self._hot: Hot = {
            ("POST", "/chat"): ChatEndpoint(services),
            ("GET", "/health"): Health(),
            ("GET", "/ready"): Ready(services),
            ("GET", "/metrics"): Metrics(services),
            **wires,
            **exports,
        }
        self._git = Auditing(GitEndpoint(services), services)
        self._mcp = McpEndpoint(services)
        self._audited = Auditing(self._crud, services)
        self._paths = {path for _, path in self._hot}
        self._routes: FastAPI | None = None
        self._loading = asyncio.Lock()
        self._answered = asyncio.Event()
        self._late: asyncio.Task[None] | None = None
        self.loaded = asyncio.Event()
        self._wires = {key: one for key, one in wires.items() if isinstance(one, WireEndpoint)}
        self._missed = {
            f"{base}{path.removeprefix(API)}": (path, one.words)
            for (_, path), one in self._wires.items()
            for base in ("", 2 * API)
        }
        settings = services.settings
        self.http = Edge(
            open_to(wrap(self._answer, settings.middleware), settings.cors),
            max_body=settings.max_body,
            max_import=settings.max_import,
            proxies=Proxies(settings.trusted_proxies),
            hosts=Hosts(settings.hosts, settings.public_url),
            larger=dict.fromkeys((path for method, path in wires if method == "POST"), LARGE_REQUEST),
            words={path: one.words_of for (_, path), one in self._wires.items()}
            | {path: one.words_of for (_, path), one in exports.items()},
            first=self._answered,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "http":
            await self.http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def routes(self) -> FastAPI:
        """Return the FastAPI app with the CRUD routes, loaded on first use beside the event loop."""
        if self._routes is None:
            async with self._loading:
                if self._routes is None:
                    self._routes = await asyncio.to_thread(_load, self.services)
        return self._routes

    def _answer(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        wire = self._wires.get((scope["method"], scope["path"]))  # most of what comes, and it records by itself
        return (wire or self._other)(scope, receive, send)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(PREFIX):
            await self._git(scope, receive, send)
            return
        if scope["path"].startswith(MCP):
            await self._mcp(scope, receive, send)
            return
        if (about := response_endpoint(self.services, scope["method"], scope["path"])) is not None:
            await about(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the server leaves the body out by itself
            scope = {**scope, "method": "GET"}
        one_model = (
            scope["method"] == "GET" and scope["path"].startswith(f"{MODELS}/") and scope["path"] != f"{MODELS}/"
        )
        answer = self._hot.get((scope["method"], MODELS if one_model else scope["path"]))
        if answer is None and scope["path"] in self._paths:
            raise MethodNotAllowed(scope["method"], {method for method, path in self._hot if path == scope["path"]})
        if answer is None:
            self._check_base(scope)
            await self._audited(scope, receive, send)
            return
        try:
            await answer(scope, receive, send)
        except (Unauthenticated, Forbidden) as error:
            await record_refusal(self.services, scope, error)
            raise

    def _check_base(self, scope: Scope) -> None:
        """Raise for what clients of other APIs ask in vain, with a wrong base URL or not, in their words."""
        if scope["path"] in self._missed:
            meant, scope["state"]["words"] = self._missed[scope["path"]]
            raise NotFound(
                "route.unknown",
                f"There is nothing at {scope['path']!r}; {meant!r} is meant.",
                hint="The base URL of OpenAI's clients ends in /v1, that of Anthropic's does not.",
            )
        plain = _SLASHES.sub("/", scope["path"])
        if plain.startswith(f"{API}/") or plain == API:
            scope["state"]["words"] = words_for(scope)
            said, meant = f"There is nothing at {scope['path'][:200]!r}", plain.rstrip("/")
            if meant in self._paths:
                raise NotFound("route.unknown", f"{said}; {meant!r} is meant.", hint="Take the further slash away.")
            raise NotFound("route.unknown", f"{said}.", hint=_INSTEAD.get(meant.removeprefix(API), _NAMED))

    async def _crud(self, scope: Scope, receive: Receive, send: Send) -> None:
        await cast("Asgi", await self.routes())(scope, receive, send)

    async def start(self) -> None:
        """Start what runs by itself, and load the CRUD routes; the hot ones answer already."""
        await self.services.start()
        self._late = asyncio.create_task(self._start_late())

    async def stop(self) -> None:
        """Stop what runs by itself; everything recorded is folded into Git."""
        self.http.stopping = True
        await self.end_streams()
        if self._late is not None:
            self._late.cancel()
            await asyncio.gather(self._late, return_exceptions=True)
        await self.services.stop()

    async def end_streams(self) -> None:
        """End the answers that end only when somebody ends them."""
        await self._mcp.stop()

    async def _start_late(self) -> None:
        """Load what the first answer need not wait for; loading holds the interpreter up, so let that one go first."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), PATIENCE)
        try:
            await self.routes()
            await self.services.start_jobs()
        finally:
            self.loaded.set()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Speak the protocol of servers other than ours."""
        for kind, act in (("lifespan.startup", self.start), ("lifespan.shutdown", self.stop)):
            await receive()
            try:
                await act()
            except Exception as error:  # noqa: BLE001 - the protocol reports it
                await send({"type": f"{kind}.failed", "message": str(error)})
                return
            await send({"type": f"{kind}.complete"})


def create_app(services: Services) -> App:
    """Return the app of an instance."""
    return App(services)


def _load(services: Services) -> FastAPI:
    from llmos_lite.api.routes import build  # noqa: PLC0415 - FastAPI is loaded after the server answers

    return build(services)
