"""HTTP over TLS by pyreqwest: certificates, proxies and decompression are its business.

It is imported on the first request, not at start, and buffers streams unless told not to, which would hold the first
token back until the last one came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from llmos_lite.engines.http_client import CONNECT_SECONDS, Meaning, Reply, as_it_is

if TYPE_CHECKING:
    from pyreqwest.client import Client
    from pyreqwest.request import StreamRequest
    from pyreqwest.response import Response


class TlsClient:
    """An `HttpClient` on pyreqwest.

    Args:
        base_url: stands before every path.
        timeout: longest silence, in seconds.
        meaning: of its errors.
    """

    def __init__(self, base_url: str, *, timeout: float, meaning: Meaning = as_it_is) -> None:
        self._base_url, self._timeout, self._meaning = base_url, timeout, meaning
        self._client: Client | None = None

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a request; see `HttpClient`."""
        self._client = self._client or self._open()
        builder = self._client.request(method, self._base_url + path).headers(headers).body_bytes(body)
        request = builder.streamed_read_buffer_limit(0).build_streamed()
        try:
            return _Reply(request, await request.__aenter__(), self._meaning)
        except Exception as error:  # noqa: BLE001 - what is none of pyreqwest's is raised again
            raise self._meaning(_builtin(error)) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _open(self) -> Client:
        from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - not before the first request

        return (
            ClientBuilder()
            .follow_redirects(enable=False)  # a redirect would carry the key to somewhere else
            .connect_timeout(timedelta(seconds=min(self._timeout, CONNECT_SECONDS)))
            .read_timeout(timedelta(seconds=self._timeout))
            .error_for_status(enable=False)
            .build()
        )


class _Reply(Reply):
    def __init__(self, request: StreamRequest, response: Response, meaning: Meaning) -> None:
        self._request, self._response, self._meaning = request, response, meaning
        self.status = response.status

    def header(self, name: str) -> str:
        return self._response.get_header(name) or ""

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        items = self._response.headers.items()
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in items]

    async def chunk(self) -> bytes:
        try:
            return bytes(await self._response.body_reader.read_chunk() or b"")
        except Exception as error:  # noqa: BLE001 - what is none of pyreqwest's is raised again
            raise self._meaning(_builtin(error)) from None

    async def end(self) -> None:
        await self._request.__aexit__(None, None, None)


def _builtin(error: Exception) -> OSError:
    """Return what `HttpClient` promises for an error of pyreqwest.

    Silence before the head is a `ConnectTimeoutError` there, so a server that takes no connection is silent here, too.
    """
    from pyreqwest.exceptions import ConnectError, PyreqwestError, RequestTimeoutError  # noqa: PLC0415 - as above

    if isinstance(error, ConnectError):
        return ConnectionRefusedError(error.message)
    if isinstance(error, RequestTimeoutError):
        return TimeoutError()
    if isinstance(error, PyreqwestError):
        return ConnectionResetError(error.message)
    raise error
