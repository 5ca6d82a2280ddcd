"""A real authorization server and a real MCP server that wants its tokens, both of the `mcp` package, over HTTP.

The server of tokens keeps no secrets: what it gave, and to whom, is there for a test to look at and to spoil.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
)
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.beside import beside

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]
SCOPE = "pages:read"


@dataclass
class Authority(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """An authorization server that lets everybody in; refresh tokens are good for one use.

    Attributes:
        lasts: seconds of a token.
        instead: answers of a path, in the place of its own.
        says: metadata in the place of its own.
        names_itself: whether it sends `iss` back.
        forms: what came to `/token`.
        seen: paths that were asked.
        held: renewals wait for it.
    """

    port: int = 0
    lasts: int = 3600
    instead: dict[str, Answer] = field(default_factory=dict)
    says: dict[str, Any] = field(default_factory=dict)
    names_itself: bool = True
    clients: dict[str, OAuthClientInformationFull] = field(default_factory=dict)
    codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    access: dict[str, AccessToken] = field(default_factory=dict)
    refresh: dict[str, RefreshToken] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)
    reused: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    held: asyncio.Event | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def texts(self) -> list[str]:
        """Everything that nobody else may see."""
        return [*self.codes, *self.access, *self.refresh, *self.spent, *self.secrets]

    @property
    def secrets(self) -> list[str]:
        return [client.client_secret for client in self.clients.values() if client.client_secret]

    def expire(self) -> None:
        """End every token that opens the tool server, and leave those that renew it."""
        self.access.clear()

    def revoke(self) -> None:
        """End everything."""
        self.access.clear()
        self.refresh.clear()

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = AuthorizationCode(
            code=secrets.token_urlsafe(24),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=True,
            resource=params.resource,
        )
        self.codes[code.code] = code
        back = {"code": code.code, "state": params.state or ""} | ({"iss": self.issuer} if self.names_itself else {})
        return f"{params.redirect_uri}?{urlencode(back)}"

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        found = self.codes.get(authorization_code)
        return found if found is not None and found.client_id == client.client_id else None

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        self.spent.add(authorization_code.code)
        return self.give(client.client_id, authorization_code.scopes, authorization_code.resource)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        if refresh_token in self.spent:
            self.reused.append(refresh_token)
            self.revoke()
        found = self.refresh.get(refresh_token)
        return found if found is not None and found.client_id == client.client_id else None

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        self.asked.set()
        if self.held is not None:
            await self.held.wait()
        self.spent.add(self.refresh.pop(refresh_token.token).token)
        return self.give(client.client_id, scopes, refresh_token.resource)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        """End all that this client has."""
        self.access = {name: one for name, one in self.access.items() if one.client_id != token.client_id}
        self.refresh = {name: one for name, one in self.refresh.items() if one.client_id != token.client_id}

    def give(self, client_id: str, scopes: list[str], resource: str | None, *, renews: bool = True) -> OAuthToken:
        access, refresh, ends = secrets.token_urlsafe(24), secrets.token_urlsafe(24), int(time.time()) + self.lasts
        said: dict[str, Any] = {"client_id": client_id, "scopes": scopes, "resource": resource}
        self.access[access] = AccessToken(token=access, expires_at=ends, **said)
        if renews:
            self.refresh[refresh] = RefreshToken(token=refresh, **said)
        return OAuthToken(
            access_token=access,
            expires_in=self.lasts,
            scope=" ".join(scopes),
            refresh_token=refresh if renews else None,
        )

    # -- HTTP -------------------------------------------------------------------------------------------------------

    def app(self) -> ASGIApp:
        """Return it as an app."""
        options = ClientRegistrationOptions(enabled=True, valid_scopes=[SCOPE, "pages:write"], default_scopes=[SCOPE])
        exactly = AuthSettings.model_validate({"issuer_url": self.issuer, "resource_server_url": None})
        routes = create_auth_routes(self, exactly.issuer_url, None, options, RevocationOptions(enabled=True))
        whole = Starlette(routes=routes)

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope["path"]
            self.seen.append(path)
            if path in self.instead:
                await self.instead[path](scope, receive, send)
            elif path == "/token":
                await self._token(whole, scope, receive, send)
            elif self.says and path.startswith("/.well-known/"):
                await said(self._metadata())(scope, receive, send)
            else:
                await whole(scope, receive, send)

        return answered

    def _metadata(self) -> dict[str, Any]:
        own = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": [SCOPE, "pages:write"],
        }
        return {name: value for name, value in (own | self.says).items() if value is not None}

    async def _token(self, whole: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        form = dict(parse_qsl(body.decode()))
        self.forms.append(form)
        if form["grant_type"] == "client_credentials":
            await self._as_itself(form, scope, receive, send)
            return
        sent = False

        async def again() -> dict[str, Any]:
            nonlocal sent
            if sent:
                return dict(await receive())
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await whole(scope, again, send)

    async def _as_itself(self, form: dict[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        """The one grant that the package's server does not know."""
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        pair = base64.b64decode(headers.get("authorization", "Basic ").removeprefix("Basic ")).decode()
        name, _, secret = pair.partition(":")
        client = self.clients.get(name)
        if client is None or client.client_secret != secret:
            await said({"error": "invalid_client"}, 401)(scope, receive, send)
            return
        token = self.give(name, form.get("scope", SCOPE).split(), form.get("resource"), renews=False)
        await said(token.model_dump(mode="json", exclude_none=True))(scope, receive, send)


class Verifier:
    """How the tool server asks."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def verify_token(self, token: str) -> AccessToken | None:
        return self._authority.access.get(token)


@dataclass
class Guarded:
    """A tool server that wants tokens, and what it was called with."""

    authority: Authority
    port: int = 0
    calls: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    instead: dict[str, Answer] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def resource(self) -> str:
        """Path of its metadata."""
        return "/.well-known/oauth-protected-resource/mcp"

    def app(self) -> ASGIApp:
        """Return it as an app."""
        server = MCPServer(
            "wiki",
            auth=AuthSettings.model_validate(
                {
                    "issuer_url": self.authority.issuer,
                    "resource_server_url": self.url,
                    "required_scopes": [SCOPE],
                    "validate_token_resource": True,
                }
            ),
            token_verifier=Verifier(self.authority),
        )

        @server.tool()
        def search(query: str) -> str:
            """Search the wiki"""
            self.calls.append(query)
            return f"found {query}"

        return server.streamable_http_app(json_response=True)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ASGIApp]:
        """Serve it, with what was put in its place."""
        whole = self.app()

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
                if scope["path"] in self.instead:
                    await self.instead[scope["path"]](scope, receive, send)
                    return
            await whole(scope, receive, send)

        yield answered


@asynccontextmanager
async def guarded() -> AsyncIterator[Guarded]:
    """Run a tool server and who signs in for it, on two ports of this machine."""
    async with AsyncExitStack() as stack:
        sockets = [stack.enter_context(listening()) for _ in range(2)]
        ports = [one.getsockname()[1] for one in sockets]
        host = Guarded(Authority(port=ports[0]), port=ports[1])
        await stack.enter_async_context(running(host.authority.app(), sockets[0]))
        app = await stack.enter_async_context(host.serving())
        await stack.enter_async_context(running(app, sockets[1]))
        yield host


@contextmanager
def guarded_beside() -> Iterator[Guarded]:
    """Run them in a thread, for what has an event loop of its own."""
    with beside(guarded()) as host:
        yield host


async def browse(address: str) -> str:
    """Open an address as a browser does, and return where it is sent."""
    async with httpx2.AsyncClient() as client:
        reply = await client.get(address)
    assert reply.status_code == 302, reply.text
    return reply.headers["location"]


def client(name: str, secret: str, *redirects: str) -> OAuthClientInformationFull:
    """Return a client that an authority may know beforehand."""
    return OAuthClientInformationFull.model_validate(
        {
            "client_id": name,
            "client_secret": secret or None,
            "redirect_uris": list(redirects) or None,
            "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
            "scope": f"{SCOPE} pages:write",
        }
    )


def query_of(address: str) -> dict[str, str]:
    """Return the query of an address."""
    return dict(parse_qsl(urlsplit(address).query))


def path_of(address: str) -> str:
    """Return an address without its host, as the app in this process is asked."""
    parts = urlsplit(address)
    return f"{parts.path}?{parts.query}"


def said(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:  # noqa: ANN401 - any JSON
    """Return an answer of JSON, or of bytes."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        begin = {"type": "http.response.start", "status": status}
        await send(begin | {"headers": [(b"content-type", b"application/json"), *more]})
        await send({"type": "http.response.body", "body": text})

    return answer


async def silent(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Say nothing until the other side goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def listening(host: str = "127.0.0.1") -> socket.socket:
    """Return a socket on a free port."""
    made = socket.socket()
    made.bind((host, 0))
    return made


@asynccontextmanager
async def running(app: ASGIApp, at: socket.socket, keys: Path | None = None) -> AsyncIterator[None]:
    """Serve an app; over TLS with the `cert.pem` and `key.pem` of a folder."""
    tls = {} if keys is None else {"ssl_certfile": keys / "cert.pem", "ssl_keyfile": keys / "key.pem"}
    config = uvicorn.Config(app, log_level="critical", access_log=False, interface="asgi3", **tls)  # type: ignore[arg-type]  # paths
    config.load()
    running = uvicorn.Server(config)
    running.lifespan = config.lifespan_class(config)
    await running.lifespan.startup()
    await running.startup(sockets=[at])
    try:
        yield
    finally:
        running.force_exit = True
        await running.shutdown(sockets=[at])
        await running.lifespan.shutdown()
