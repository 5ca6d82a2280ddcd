"""HTTP to MCP servers, and to whoever signs in for them; loaded with the first connection.

A server is called at the addresses that its name had when these were looked at (`engines/addresses.py`), redirects lead
nowhere, and no more bytes come in than are bounded: what is compressed is refused, since a few bytes could be many.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

import httpx2
from mcp.client.auth.utils import extract_field_from_www_auth

from llmos_lite.engines.addresses import resolve
from llmos_lite.engines.mcp_sessions import FORGOTTEN
from llmos_lite.engines.oauth import LONGEST_SCOPE, Bearer, Refusal

CONNECT_SECONDS = 5.0
READ_SECONDS = 300.0
MOST_CONNECTIONS = 100
_PORTS = {"http": 80, "https": 443}
_REFUSED, _FORBIDDEN, _UNKNOWN = 401, 403, 404
_SESSION = "mcp-session-id"
_FORGOTTEN = {"jsonrpc": "2.0", "id": None, "error": {"code": FORGOTTEN, "message": "The session is not known."}}


def open_http(
    *,
    private: bool,
    most: int,
    headers: Mapping[str, str] | None = None,
    bearer: Bearer | None = None,
    read: float = READ_SECONDS,
    reuse: bool = True,
) -> httpx2.AsyncClient:
    """Return a client; it is closed by whoever asked for it.

    Args:
        private: whether addresses that are not public may be called.
        most: bytes of one answer.
        headers: sent with each request.
        bearer: gives the token of each request.
        read: seconds of silence.
        reuse: whether connections are kept. They belong to an address; of several hosts, two at one address would share
            what only one of them has proved.
    """
    return httpx2.AsyncClient(
        transport=_Pinned(private=private, most=most, reuse=reuse),
        headers={**(headers or {}), "accept-encoding": "identity"},
        auth=_Bearing(bearer) if bearer is not None else None,
        timeout=httpx2.Timeout(CONNECT_SECONDS, read=read),
        follow_redirects=False,
        trust_env=False,
    )


class _Pinned(httpx2.AsyncHTTPTransport):
    """Calls the addresses that were looked at, and reads no more than is bounded."""

    def __init__(self, *, private: bool, most: int, reuse: bool) -> None:
        limits = httpx2.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=20 if reuse else 0)
        super().__init__(verify=ssl.create_default_context(), limits=limits)
        self._private, self._most = private, most

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host, port = request.url.host, request.url.port or _PORTS[request.url.scheme]
        addresses = await asyncio.to_thread(resolve, host, port, private=self._private)
        request.headers["host"] = request.url.netloc.decode()
        request.extensions = {**request.extensions, "sni_hostname": host}
        asked, request.url = request.url, request.url.copy_with(host=addresses[0])
        try:
            response = await super().handle_async_request(request)
        finally:
            request.url = asked  # a second try, with another token, looks at the name again
        if response.status_code == _UNKNOWN and request.method == "POST" and _SESSION in request.headers:
            await response.aclose()
            return httpx2.Response(_UNKNOWN, json=_FORGOTTEN)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.ReadError("the answer is compressed, which was not asked for")
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - of an asynchronous transport
        response.stream = _Bounded(response.stream, self._most)
        return response


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner, self._most = inner, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._inner:
            size += len(piece)
            if size > self._most:
                raise httpx2.ReadError(f"the answer is larger than {self._most >> 10} KiB")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bearing(httpx2.Auth):
    """Gives each request its token; one that is refused is tried once more, with a token that was renewed."""

    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Yield the request, and once more when it was refused."""
        token = await self._bearer.token()
        _put(request, token)
        response = yield request
        if response.status_code == _REFUSED and token:
            token = await self._bearer.renewed(token)
            if token:
                _put(request, token)
                response = yield request
        if response.status_code in {_REFUSED, _FORBIDDEN}:
            await self._bearer.refused(_refusal(response), token)


def _refusal(response: httpx2.Response) -> Refusal:
    asked = response.headers.get("www-authenticate", "")
    found = {name: extract_field_from_www_auth(response, name) or "" for name in ("error", "scope")}
    return Refusal(
        status=response.status_code,
        bearer=not asked or "bearer" in asked.lower(),
        error=found["error"],
        scope=found["scope"][:LONGEST_SCOPE],
    )


def _put(request: httpx2.Request, token: str) -> None:
    if token:
        request.headers["authorization"] = f"Bearer {token}"
