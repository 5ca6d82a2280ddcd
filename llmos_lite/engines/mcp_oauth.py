"""Signing in to MCP servers by OAuth 2.1: finding who signs in, registering, and getting tokens.

MCP's authorization specification of 2025-11-25: protected resource metadata (RFC 9728), authorization server metadata
(RFC 8414 and OpenID Connect Discovery), PKCE with S256, resource indicators (RFC 8707), client registration (RFC 7591)
or a client's document, refresh tokens, client credentials. What metadata and registrations mean is the `mcp` package's
business; its `OAuthClientProvider` waits in one process for a person, and forgets at the end of it where tokens are
refreshed, so the steps are taken one by one here. Loaded with the first sign-in.

Whatever these servers say is taken as hostile: addresses are looked at before each request, plain HTTP is for private
networks that an operator allowed, redirects are not followed, sizes and the time for all of it are bounded, and what
they say in errors is not repeated but for a code.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import httpx2
import msgspec
from mcp.client.auth import OAuthRegistrationError
from mcp.client.auth import utils as said
from mcp.client.auth.oauth2 import check_registration_usable
from mcp.shared.auth import OAuthClientMetadata, OAuthMetadata, OAuthToken, ProtectedResourceMetadata
from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import LATEST_PROTOCOL_VERSION
from pydantic import AnyUrl, ValidationError

from llmos_lite.engines.mcp_http import open_http
from llmos_lite.engines.oauth import (
    CLIENT_NAME,
    GRANTS,
    AuthorizationServer,
    GrantRefused,
    OAuthClient,
    Tokens,
    unusable,
)
from llmos_lite.errors import Conflict, LlmosError, UpstreamTimeout

PATIENCE = 20.0
"""Seconds for finding who signs in, and for getting a token."""
SILENCE = 10.0
LARGEST = 1 << 18
"""Bytes of one answer."""
LONGEST_TOKEN = 16 << 10
_METHODS = ("client_secret_post", "client_secret_basic", "none")
"""The one that `/revoke` of the `mcp` package takes is first."""
_LATER = frozenset({"server_error", "slow_down", "temporarily_unavailable"})
"""What is no word about a grant."""
_CODE = re.compile(r"[a-z_]{1,40}")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")
_OK, _CREATED, _MOVED, _BAD, _UNAUTHENTICATED, _BROKEN = 200, 201, 300, 400, 401, 500
_ASKING = {"accept": "application/json", MCP_PROTOCOL_VERSION_HEADER: LATEST_PROTOCOL_VERSION}
_HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": LATEST_PROTOCOL_VERSION,
        "capabilities": {},
        "clientInfo": {"name": CLIENT_NAME, "version": "1"},
    },
}


class ToolServerAt(Protocol):
    """Where a tool server is, and what is set of signing in to it."""

    @property
    def url(self) -> str:
        """Of its endpoint."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Sent to it with each request."""


class OAuthSpeaker:
    """Speaks to authorization servers.

    Args:
        private: whether addresses that are not public, and `http://`, are taken.
        clock: seconds since the epoch.
        patience: seconds for one step.
    """

    def __init__(self, *, private: bool, clock: Callable[[], float] = time.time, patience: float = PATIENCE) -> None:
        self._private, self._clock, self._patience = private, clock, patience

    async def find(self, server: ToolServerAt, *, issuer: str = "", scope: str = "") -> AuthorizationServer:
        """Return who signs in for a tool server.

        Args:
            server: the tool server.
            issuer: the one that it has to be; empty for whomever the server names first.
            scope: what is asked for; empty for what the server asks for.

        Raises:
            Conflict: `tool_server.open`, when the server wants no sign-in.
            UpstreamFailed: `tool_server.oauth`, `tool_server.unreachable`, `address.unknown`.
            UpstreamTimeout: `tool_server.oauth_timeout`.
            Invalid: `address.private`.
        """
        async with self._asking() as http:
            refusal = await self._refusal(http, server)
            resource = await self._resource(http, server.url, refusal)
            if resource is None and refusal.status_code != _UNAUTHENTICATED:
                raise _no_refusal(refusal.status_code)
            metadata = await self._metadata(http, server.url, resource, issuer)
        return self._known(server.url, resource, metadata, scope or _scope(refusal, resource, metadata))

    async def register(self, server: AuthorizationServer, redirect_uri: str) -> OAuthClient:
        """Return what an authorization server knows us by from now on.

        Raises:
            UpstreamFailed: `tool_server.oauth`.
            UpstreamTimeout: `tool_server.oauth_timeout`.
        """
        method = next((one for one in _METHODS if one in server.methods), None)
        wanted = OAuthClientMetadata.model_validate(
            {
                "redirect_uris": [AnyUrl(redirect_uri)],
                "token_endpoint_auth_method": method,
                "grant_types": list(GRANTS),
                "client_name": CLIENT_NAME,
                "application_type": "web",
                "scope": server.scope or None,
            }
        )
        async with self._asking() as http:
            body = wanted.model_dump(by_alias=True, mode="json", exclude_none=True)
            response = await self._sent(http, "POST", server.register, json=body)
            try:
                found = await said.handle_registration_response(response)
                check_registration_usable(found)
            except (OAuthRegistrationError, UnicodeDecodeError):
                raise unusable(f"{_host(server.register)} registers no client{_status(response)}") from None
        usual = "client_secret_basic" if found.client_secret else "none"
        return OAuthClient(
            id=found.client_id, secret=found.client_secret or "", method=found.token_endpoint_auth_method or usual
        )

    async def exchange(
        self, server: AuthorizationServer, client: OAuthClient, *, code: str, verifier: str, redirect_uri: str
    ) -> Tokens:
        """Return the tokens for a code.

        Raises:
            GrantRefused: the code does not hold, or the client.
            UpstreamFailed: `tool_server.oauth`.
            UpstreamTimeout: `tool_server.oauth_timeout`.
        """
        form = {"code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
        return await self._token(server, client, {"grant_type": "authorization_code"} | form)

    async def refresh(self, server: AuthorizationServer, client: OAuthClient, old: Tokens) -> Tokens:
        """Return the tokens that come after old ones; without a new refresh token the old one stays.

        Raises:
            GrantRefused: the refresh token does not hold any more.
            UpstreamFailed: `tool_server.oauth`.
            UpstreamTimeout: `tool_server.oauth_timeout`.
        """
        fresh = await self._token(server, client, {"grant_type": "refresh_token", "refresh_token": old.refresh})
        return fresh if fresh.refresh else msgspec.structs.replace(fresh, refresh=old.refresh)

    async def as_itself(self, server: AuthorizationServer, client: OAuthClient) -> Tokens:
        """Return a token for a client that signs in as itself (RFC 6749, section 4.4).

        Raises:
            GrantRefused: the client does not hold.
            UpstreamFailed: `tool_server.oauth`.
            UpstreamTimeout: `tool_server.oauth_timeout`.
        """
        form = {"grant_type": "client_credentials"} | ({"scope": server.scope} if server.scope else {})
        return await self._token(server, client, form)

    async def revoke(self, server: AuthorizationServer, client: OAuthClient, tokens: Tokens) -> None:
        """Take tokens back, where that is possible (RFC 7009).

        Raises:
            LlmosError: it could not be asked.
        """
        if not server.revoke:
            return
        hint = "refresh_token" if tokens.refresh else "access_token"
        form = {"token": tokens.refresh or tokens.access, "token_type_hint": hint}
        form, headers = _identified(client, form)
        async with self._asking() as http:
            await self._sent(http, "POST", server.revoke, data=form, headers=headers)

    # -- who signs in -----------------------------------------------------------------------------------------------

    async def _refusal(self, http: httpx2.AsyncClient, server: ToolServerAt) -> httpx2.Response:
        """Return what the server says to somebody without a token; of a body nothing is read."""
        self._check(server.url)
        headers = {**server.headers, "accept": "application/json, text/event-stream"}
        async with http.stream("POST", server.url, json=_HELLO, headers=headers) as response:
            if response.status_code >= _BROKEN:
                raise unusable(f"the tool server answered {response.status_code}")
            return response

    async def _resource(
        self, http: httpx2.AsyncClient, url: str, refusal: httpx2.Response
    ) -> ProtectedResourceMetadata | None:
        named = said.extract_resource_metadata_from_www_auth(refusal)
        for address in said.build_protected_resource_metadata_discovery_urls(named, url):
            response = await self._sent(http, "GET", address)
            if response.status_code >= _BROKEN:
                raise unusable(f"{_host(address)} answered {response.status_code}")
            if (found := await said.handle_protected_resource_response(response)) is not None:
                if not check_resource_allowed(resource_url_from_server_url(url), str(found.resource)):
                    raise unusable(f"its metadata are of {str(found.resource)[:200]!r}")
                return found
        return None

    async def _metadata(
        self, http: httpx2.AsyncClient, url: str, resource: ProtectedResourceMetadata | None, issuer: str
    ) -> OAuthMetadata:
        named = [str(one) for one in resource.authorization_servers] if resource is not None else []
        wanted = _chosen(named or [_origin(url)], issuer)
        for address in said.build_oauth_authorization_server_metadata_discovery_urls(wanted if named else None, url):
            response = await self._sent(http, "GET", address)
            goes_on, found = await said.handle_auth_metadata_response(response)
            if not goes_on:
                raise unusable(f"{_host(address)} answered {response.status_code}")
            if found is not None:
                if not said.issuers_match(str(found.issuer), wanted):
                    raise unusable(f"{wanted[:200]} calls itself {str(found.issuer)[:200]!r}")
                return found
        raise unusable(f"{_host(wanted)} has no metadata of an authorization server")

    def _known(
        self, url: str, resource: ProtectedResourceMetadata | None, found: OAuthMetadata, scope: str
    ) -> AuthorizationServer:
        endpoints = (
            found.authorization_endpoint,
            found.token_endpoint,
            found.registration_endpoint,
            found.revocation_endpoint,
        )
        authorize, token, register, revoke = (self._check(str(one)) if one else "" for one in endpoints)
        methods = tuple(found.token_endpoint_auth_methods_supported or ())
        if methods and set(_METHODS).isdisjoint(methods):
            raise _no_method(str(found.issuer), methods)
        return AuthorizationServer(
            issuer=str(found.issuer),
            authorize=authorize,
            token=token,
            register=register,
            revoke=revoke,
            resource=str(resource.resource) if resource is not None else resource_url_from_server_url(url),
            scope=scope,
            pkce="S256" in (found.code_challenge_methods_supported or ()),
            names_itself=bool(found.authorization_response_iss_parameter_supported),
            documents=bool(found.client_id_metadata_document_supported),
            methods=methods,
        )

    # -- tokens -----------------------------------------------------------------------------------------------------

    async def _token(self, server: AuthorizationServer, client: OAuthClient, form: dict[str, str]) -> Tokens:
        form, headers = _identified(client, form | {"resource": server.resource})
        async with self._asking() as http:
            response = await self._sent(http, "POST", server.token, data=form, headers=headers)
        code = _code(response)
        if (
            code and code not in _LATER and response.status_code in {_OK, _BAD, _UNAUTHENTICATED}
        ):  # GitHub says no with 200
            raise GrantRefused(code)
        if response.status_code not in {_OK, _CREATED}:
            raise unusable(f"{_host(server.token)} answered {response.status_code} {code}".rstrip())
        try:
            found = OAuthToken.model_validate_json(response.content)
        except ValidationError:
            kind = _kind(response)
            what = f"a token of the kind {kind}, and only Bearer is known here" if kind else "no token"
            raise unusable(f"{_host(server.token)} gave {what}") from None
        if not _fits(found.access_token) or not _fits(found.refresh_token or "x"):
            raise unusable(f"{_host(server.token)} gave a token that cannot be sent")
        lasts = found.expires_in
        expires = round((self._clock() + max(0, lasts)) * 1000) if lasts is not None else 0
        return Tokens(access=found.access_token, refresh=found.refresh_token or "", expires=expires)

    # -- HTTP -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Hand out a client for one step, whose requests share no connection: each host proves who it is."""
        try:
            async with (
                asyncio.timeout(self._patience),
                open_http(private=self._private, most=LARGEST, read=SILENCE, reuse=False) as http,
            ):
                yield http
        except (TimeoutError, httpx2.TimeoutException):
            raise UpstreamTimeout(
                "tool_server.oauth_timeout", "Signing in to the tool server takes too long.", hint="Try again later."
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise unusable(f"a connection failed ({type(error).__name__})") from None

    async def _sent(self, http: httpx2.AsyncClient, method: str, url: str, **more: Any) -> httpx2.Response:  # noqa: ANN401 - httpx2's
        self._check(url)
        return await http.request(method, url, **{"headers": _ASKING} | more)

    def _check(self, url: str) -> str:
        """Return an address that may be called, or shown.

        Raises:
            UpstreamFailed: `tool_server.oauth`.
        """
        try:
            parts = urlsplit(url)
            odd = not parts.hostname or "@" in parts.netloc or parts.fragment or parts.port == 0
        except ValueError:
            odd = True
        if odd or parts.scheme not in {"http", "https"}:
            raise unusable(f"it names the address {url[:200]!r}")
        if parts.scheme == "http" and not self._private:
            error = unusable(f"{_host(url)} is called without encryption")
            error.hint = "An operator may allow http:// with LLMOS_ALLOW_PRIVATE_URLS=on."
            raise error
        return url


def _chosen(named: list[str], issuer: str) -> str:
    if not issuer:
        return named[0]
    found = next((one for one in named if said.issuers_match(one, issuer)), None)
    if found is None:
        raise unusable(f"the tool server names {named[0][:200]}, and its client belongs to {issuer[:200]}")
    return found


def _scope(refusal: httpx2.Response, resource: ProtectedResourceMetadata | None, metadata: OAuthMetadata) -> str:
    """Return what the tool server asks for; all that its authorization server could give would be too much."""
    asked = said.extract_scope_from_www_auth(refusal)
    if asked is None and (resource is None or resource.scopes_supported is None):
        return ""
    return said.get_client_metadata_scopes(asked, resource, metadata, list(GRANTS)) or ""


def _identified(client: OAuthClient, form: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return a form and headers that say who asks (RFC 6749, section 2.3.1)."""
    headers, form = {"accept": "application/json"}, form | {"client_id": client.id}
    if client.method == "client_secret_basic" and client.secret:
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    elif client.secret:
        form["client_secret"] = client.secret
    return form, headers


def _code(response: httpx2.Response) -> str:
    """Return what an answer calls its error (RFC 6749, section 5.2); empty when it does not say."""
    try:
        found = msgspec.json.decode(response.content, type=dict[str, object]).get("error")
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    return found if isinstance(found, str) and _CODE.fullmatch(found) else ""


def _kind(response: httpx2.Response) -> str:
    """Return which kind a token is that is no bearer token, as DPoP (RFC 9449); empty for none."""
    try:
        kind = msgspec.json.decode(response.content, type=dict[str, object]).get("token_type")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    odd = isinstance(kind, str) and kind.lower() != "bearer" and _WORD.fullmatch(kind)
    return str(kind) if odd else ""


def _no_method(issuer: str, methods: Sequence[str]) -> LlmosError:
    """Return the error for a server that takes a client's word in no way of ours; the specification asks for none."""
    named = ", ".join([one for one in methods if _WORD.fullmatch(one)][:5]) or "something else"
    error = unusable(f"{_host(issuer)} knows a client only by {named}, and here is only {', '.join(_METHODS)}")
    error.hint = "Have its operator allow one of these; or set a token for the tool server: --token-file."
    return error


def _fits(token: str) -> bool:
    return 0 < len(token) <= LONGEST_TOKEN and token.isascii() and token.isprintable() and " " not in token


def _status(response: httpx2.Response) -> str:
    ok = response.status_code in {_OK, _CREATED}
    return "" if ok else f": it answered {response.status_code} {_code(response)}".rstrip()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _no_refusal(status: int) -> LlmosError:
    if status >= _MOVED:
        return unusable(f"the tool server answered {status}")
    return Conflict("tool_server.open", "The tool server does not ask to be signed in to.")


def _host(url: str) -> str:
    return (urlsplit(url).netloc or url)[:200]
